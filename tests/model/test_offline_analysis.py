"""The offline model analyses tables: the code that it writes is run on real files."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
from PIL import Image

from lockstitch.assistants.model.built_in_tools import CODE_INTERPRETER, FILE_SEARCH
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    DataFile,
    FunctionCall,
    FunctionTool,
    Message,
    ModelTurn,
    NamedFunction,
    TextDelta,
    ToolRound,
    TurnFinished,
)
from lockstitch.tests.model.code_runner import CodeRunner

CHART = "Analyze this CSV and create a chart of sales by month"
MAIL = FunctionTool("send_mail", "Writes to a person.", {"type": "object", "properties": {}})
ORDERS = """order_date,region,product,units,sales
2025-01-03,North,Tea,1,10
2025-02-11,South,Tea,2,20
2025-02-12,North,Coffee,3,60.5
2025-04-01,South,Coffee,4,80
"""


@pytest.fixture(scope="module")
def runner() -> Iterator[CodeRunner]:
    code_runner = CodeRunner()
    yield code_runner
    code_runner.close()


class Desk:
    """Lets the offline model take the turns of one run and runs the code that it asks for."""

    def __init__(self, runner: CodeRunner, folder: Path) -> None:
        self._runner = runner
        self.folder = folder

    async def ask(self, said: str, **files: str | bytes) -> str:
        """The answer; keyword arguments are files, ``sales_csv`` for sales.csv."""
        for name, content in files.items():
            encoded = content if isinstance(content, bytes) else content.encode()
            (self.folder / ".".join(name.rsplit("_", 1))).write_bytes(encoded)
        paths = [f"/mnt/data/{path.name}" for path in sorted(self.folder.iterdir())]
        rounds: tuple[ToolRound, ...] = ()
        while True:
            text, calls, _ = await take(turn(said, *paths, rounds=rounds))
            if not calls:
                return text.removeprefix("Offline model: ")
            assert len(rounds) < 2
            output = self._runner.run(calls[0][1]["code"], self.folder)
            rounds += (ToolRound((FunctionCall("call_1", *dump(calls[0]), output),)),)


@pytest.fixture
def desk(runner: CodeRunner, tmp_path: Path) -> Desk:
    return Desk(runner, tmp_path)


def turn(
    said: str, *paths: str, tools: tuple[FunctionTool, ...] = (CODE_INTERPRETER, FILE_SEARCH), **more: Any
) -> ModelTurn:
    files = tuple(DataFile(path, 100) for path in paths)
    return ModelTurn("offline", "", (Message("user", (said,)),), tools=tools, data_files=files, **more)


def dump(call: tuple[str, dict[str, str]]) -> tuple[str, str]:
    return call[0], json.dumps(call[1])


async def take(asked: ModelTurn) -> tuple[str, list[tuple[str, dict[str, str]]], TurnFinished]:
    """The text, the calls with their arguments, and the end of a turn."""
    events = [event async for event in OfflineModel().stream(asked)]
    calls = []
    for started in (event for event in events if isinstance(event, CallStarted)):
        parts = [event.delta for event in events if isinstance(event, ArgumentsDelta) and event.index == started.index]
        calls.append((started.name, json.loads("".join(parts))))
    assert isinstance(events[-1], TurnFinished)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), calls, events[-1]


async def called(asked: ModelTurn) -> list[str]:
    return [name for name, _ in (await take(asked))[1]]


async def test_a_csv_is_analysed_and_drawn_month_by_month(desk: Desk) -> None:
    text = await desk.ask(CHART, sales_data_csv=ORDERS)

    assert "sales_data.csv has 4 rows and the columns order_date, region, product, units, sales." in text
    assert "Sales by month: Jan 2025 10, Feb 2025 80.5, Apr 2025 80." in text
    assert "The highest is Feb 2025 with 80.5, the lowest Jan 2025 with 10." in text
    assert text.endswith("[sales_by_month.png](sandbox:/mnt/data/sales_by_month.png)")
    with Image.open(desk.folder / "sales_by_month.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 1000


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("Month,Revenue\nMarch,5\nJanuary,10\nMarch,2.5\n", "Jan 10, Mar 7.5."),
        ("month,sales\n12,4\n2,1\n", "Feb 1, Dec 4."),
        ("month,year,sales\n1,2025,7\n2,2024,6\n", "Feb 2024 6, Jan 2025 7."),
        ("Month,Sales\nJan-25,7\nDec-24,6\n", "Dec 2024 6, Jan 2025 7."),
        ("period,net sales ($)\n2024-02,5\n2024-01,9\n", "Jan 2024 9, Feb 2024 5."),
        ("Date;Umsatz\n31.01.2024;1.200,50\n02.02.2024;900,00\n", "Jan 2024 1,200.5, Feb 2024 900."),
        ("Date\tSales\n13/01/2024\t$1,000.00\n02/02/2024\t$3.50\n", "Jan 2024 1,000, Feb 2024 3.5."),
        ("Date,Sales\n01/13/2024,1\n02/02/2024,2\n", "Jan 2024 1, Feb 2024 2."),
        ("Date,Sales\n01/01/2024,1\n01/02/2024,2\n01/03/2024,3\n", "Jan 2024 1, Feb 2024 2, Mar 2024 3."),
        ("date,sales\n20240105,5\n20240205,8\n", "Jan 2024 5, Feb 2024 8."),
        ('date,sales\n"January 5, 2024",5\n"February 1, 2024",6\n', "Jan 2024 5, Feb 2024 6."),
        ("Date,Quantity,Unit Price\n2024-01-05,2,3.5\n2024-02-05,1,4\n", "Jan 2024 7, Feb 2024 4."),
        ("\ufeffdate, sales\n2024-01-05T10:00:00, 5\n2024-02-05T11:00:00, 6\n", "Jan 2024 5, Feb 2024 6."),
    ],
)
async def test_months_and_amounts_are_found_however_they_are_written(desk: Desk, table: str, told: str) -> None:
    text = await desk.ask(CHART, sales_data_csv=table)

    assert f"by month: {told}" in text
    assert (desk.folder / "sales_by_month.png").exists()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("What is the average of sales per region?", "Average sales by region: South 50, North 35.25."),
        ("Which month had the highest sales?", "The highest is Feb 2025 with 80.5"),
        ("Show the sales by quarter", "Sales by quarter: 2025 Q1 90.5, 2025 Q2 80."),
        ("How many units per product?", "Units by product: Coffee 7, Tea 3."),
        ("Count of orders by region", "Rows by region: North 2, South 2."),
        ("What are the total sales?", "Total sales: 170.5."),
        ("How many rows has the table?", "Total Rows: 4."),
        ("Summarise orders.csv", "sales: sum 170.5, mean 42.62, from 10.0 to 80.0"),
        ("Draw a pie chart of sales by product", "[sales_by_product.png](sandbox:/mnt/data/sales_by_product.png)"),
        ("Plot the sales over time", "[sales_by_month.png](sandbox:/mnt/data/sales_by_month.png)"),
        ("Plot the data", "You named no column of numbers; I took sales. Sales by month:"),
        ("A line chart of monthly revenue", "No column is called 'revenue'; I took sales."),
    ],
)
async def test_the_words_of_the_message_name_columns_and_statistics(desk: Desk, asked: str, told: str) -> None:
    assert told in await desk.ask(asked, orders_csv=ORDERS)


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("name,age\nAda,36\n", "has 1 row and the columns name, age. It has no column of dates or months"),
        ("month,cost,units\nJan,1,2\n", "no column with the name 'sales'; the columns with numbers are cost, units."),
        ("month,remark\nJan,good\n", "no column with the name 'sales'; no column has numbers."),
        ("date,sales\n", "has 0 rows and the columns date, sales. There is nothing to add up."),
        ("", "The code failed: pandas.errors.EmptyDataError: No columns to parse from file."),
    ],
)
async def test_what_a_table_does_not_have_is_said_and_not_made_up(desk: Desk, table: str, told: str) -> None:
    text = await desk.ask(CHART, sales_data_csv=table)

    assert told in text
    assert "sandbox:" not in text


async def test_years_in_a_column_of_their_own_stay_in_order(desk: Desk) -> None:
    table = "year,region,sales\n2023,North,5\n2024,North,9\n2023,South,1\n"

    assert "Sales by year: 2023 6, 2024 9." in await desk.ask("Which year had the highest sales?", sales_csv=table)


async def test_rows_that_cannot_be_read_are_counted(desk: Desk) -> None:
    table = "date,sales\n2024-01-05,5\nsoon,7\n2024-01-06,9\n2024-02-06,\n"
    text = await desk.ask(CHART, sales_data_csv=table)

    assert "Sales by month: Jan 2024 14, Feb 2024 0." in text
    assert "2 of 4 rows were left out: a value in them cannot be read." in text


async def test_many_groups_are_not_all_listed(desk: Desk) -> None:
    rows = "".join(f"city {number},{number}\n" for number in range(100, 160))
    text = await desk.ask("Chart of sales by city", sales_csv=f"city,sales\n{rows}")

    assert "city 159 159, city 158 158" in text
    assert "and 26 more." in text
    assert "These are the first 50 of 60 groups. The chart shows the first 30 of 60 groups." in text
    assert "The highest" not in text


async def test_workbooks_and_json_lines_are_tables_too(desk: Desk) -> None:
    table = pandas.DataFrame({"date": pandas.to_datetime(["2024-01-05", "2024-02-05"]), "sales": [1, 2]})
    workbook = io.BytesIO()
    table.to_excel(workbook, index=False)
    lines = table.astype({"date": str}).to_json(orient="records", lines=True)

    told = "Sales by month: Jan 2024 1, Feb 2024 2."
    assert told in await desk.ask("Sales by month in book.xlsx", book_xlsx=workbook.getvalue())
    assert told in await desk.ask("Sales by month in lines.jsonl", lines_jsonl=lines)


async def test_the_file_that_the_message_names_is_read(desk: Desk) -> None:
    files = {"costs_2024_csv": "month,amount\nJan,1\n", "sales_2024_csv": "month,amount\nJan,2\n"}

    assert (await desk.ask("Chart of the amount by month in costs_2024.csv", **files)).startswith("costs_2024.csv")
    assert (await desk.ask("Chart of our sales by month", **files)).startswith("sales_2024.csv")


async def test_names_that_look_like_code_are_only_names(desk: Desk) -> None:
    table = 'month,"sales {1/0} ""\'"\nJan,5\nFeb,6\n'

    assert "by month: Jan 5, Feb 6." in await desk.ask(CHART, sales_data_csv=table)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("What is 17 * 23?", "17 * 23 = 391."),
        ("2+2=?", "2 + 2 = 4."),
        ("Calculate (2+3)^2 / 5, please", "(2 + 3) ** 2 / 5 = 5."),
        ("What's 15% of 80?", "15 / 100 * 80 = 12."),
        ("How much is 1,200 divided by 7?", "1200 / 7 = 171.42857142857142."),
        ("Run this: ```python\nprint('hello')\n```", "The code printed: hello"),
        ("Run this: ```python\n1 / 0\n```", "The code failed: ZeroDivisionError: division by zero."),
    ],
)
async def test_sums_and_given_code_are_run(desk: Desk, asked: str, told: str) -> None:
    assert await desk.ask(asked) == told


@pytest.mark.parametrize(
    "said", ["Hello", "Thank you!", "My number is 555-1234-99", "It was on 2024-01-05", "I have 2 cats and 3 dogs"]
)
async def test_other_messages_run_no_code(said: str) -> None:
    assert await called(turn(said, "/mnt/data/sales.csv", tools=(CODE_INTERPRETER,))) == []


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        ((), "There is nothing to analyse: no file is here to read."),
        (("/mnt/data/a.png",), "of the files here (a.png), none is a table that I can read."),
    ],
)
async def test_without_a_table_there_is_nothing_to_analyse(paths: tuple[str, ...], told: str) -> None:
    text, calls, _ = await take(turn(CHART, *paths))

    assert told in text
    assert not calls


async def test_functions_of_the_client_are_called_beside_code(desk: Desk) -> None:
    tools = (CODE_INTERPRETER, MAIL)
    both = turn(f"{CHART} and mail it", "/mnt/data/sales.csv", tools=tools)
    later = turn(f"{CHART}, then mail it", "/mnt/data/sales.csv", tools=tools)

    assert await called(both) == ["code_interpreter", "send_mail"]
    assert await called(later) == ["code_interpreter"]


async def test_a_tool_choice_is_kept(desk: Desk) -> None:
    path = "/mnt/data/sales.csv"
    forced = NamedFunction("code_interpreter")

    assert await called(turn(CHART, path, tool_choice="none")) == []
    assert await called(turn(CHART, path, tools=(CODE_INTERPRETER, MAIL), tool_choice=NamedFunction("send_mail"))) == [
        "send_mail"
    ]
    assert (await take(turn("Hello", tool_choice=forced)))[1] == [("code_interpreter", {"code": "print('Hello')"})]


async def test_code_that_is_too_long_is_cut_at_the_budget() -> None:
    asked = turn(CHART, "/mnt/data/sales.csv", max_completion_tokens=20)
    events = [event async for event in OfflineModel().stream(asked)]

    assert isinstance(events[-1], TurnFinished)
    assert events[-1].reason == "length"
    assert events[-1].usage.completion_tokens == 20


async def test_output_that_is_not_what_the_code_prints_is_told_as_it_is() -> None:
    output = "The session was lost; it has begun anew."
    lost = (ToolRound((FunctionCall("call_1", "code_interpreter", "{}", output),)),)
    text, calls, _ = await take(turn(CHART, "/mnt/data/sales.csv", rounds=lost))

    assert not calls
    assert text == f"Offline model: The code gave no overview of sales.csv; it printed: {output}"
