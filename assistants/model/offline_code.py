"""The pandas code that the offline model writes: a first look at a table, then what its user asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from lockstitch.assistants.model.offline_tables import OVERVIEW, Column, Table

Unit = Literal["day", "week", "month", "quarter", "year"]
Statistic = Literal["sum", "mean", "median", "max", "min", "count"]
ChartKind = Literal["bar", "line", "pie"]

NOTE = "Note:"
"""What begins a printed line that tells of a restriction."""
MOST_GROUPS = 50
"""Groups that are printed; charts show fewer."""
_MOST_IN_CHART = 30
_MOST_COLUMNS = 100
"""Columns that a first look tells of: what code may print is limited."""

_PERIODS: dict[Unit, tuple[str, str]] = {
    "day": ("D", "%Y-%m-%d"),
    "week": ("W", "week of %Y-%m-%d"),
    "month": ("M", "%b %Y"),
    "quarter": ("Q", "%Y Q%q"),
    "year": ("Y", "%Y"),
}
"""The code of each unit's periods in pandas, and how a period is written."""

_TEXT_OPTIONS = 'encoding="utf-8-sig", encoding_errors="replace", skipinitialspace=True'
_JSON_LINES = frozenset({".jsonl", ".ndjson"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be found out about a table.

    ``measures`` are the columns that are multiplied and then added up; none: rows are counted. Without ``group`` and
    ``unit`` there is one number for the whole table.
    """

    table: Table
    title: str
    measures: tuple[Column, ...] = ()
    statistic: Statistic = "sum"
    group: Column | None = None
    unit: Unit | None = None
    keeps_order: bool = False
    """Whether groups that are not dates stay in the order of the file; if not, the largest comes first."""
    chart: ChartKind | None = None
    picture: str = ""
    """The path of the chart."""
    remark: str = ""
    """What the user has to know about the choice of columns, in a sentence."""


def look_code(path: str) -> str:
    """Code that loads a table, shows its beginning and prints its columns with examples."""
    is_text = _is_text(path)
    lines = ["import json", "", "import pandas as pd", ""]
    if is_text:
        lines += [
            f'with open({path!r}, encoding="utf-8-sig", errors="replace") as file:',
            "    header = file.readline()",
            'separator = max(",;\\t|", key=header.count)',
        ]
    lines += _load(path, "separator")
    return "\n".join(
        [
            *lines,
            'print(f"{len(table)} rows and {len(table.columns)} columns")',
            "print(table.head().to_string(index=False))",
            "",
            "columns = {}",
            f"for name, column in list(table.items())[:{_MOST_COLUMNS}]:",
            "    values = column.dropna().astype(str).unique()",
            '    columns[name] = {"dtype": str(column.dtype), "examples": [value[:40] for value in values[:20]]}',
            f'overview = {{"rows": len(table), {_SEPARATOR if is_text else ""}"columns": columns}}',
            f'print("{OVERVIEW}", json.dumps(overview))',
        ]
    )


_SEPARATOR = '"separator": separator, '


def summary_code(table: Table) -> str:
    """Code that describes each column in a line."""
    lines = ["import pandas as pd", "", *_load(table.path, repr(table.separator))]
    for column in table.columns:
        lines += _describe(column)
    return "\n".join(lines)


def plan_code(plan: Plan) -> str:
    """Code that groups and adds up what a plan names, prints it and draws the chart."""
    needs_calendar = plan.unit is not None and plan.group is not None and plan.group.kind == "month"
    lines = ["import calendar", ""] if needs_calendar else []
    lines += ["import matplotlib.pyplot as plt"] if plan.chart else []
    lines += ["import pandas as pd", "", *_load(plan.table.path, repr(plan.table.separator)), *_values(plan)]
    if plan.group is None:
        result = f"round(values.{plan.statistic}(), 2)" if plan.measures else "len(table)"
        return "\n".join([*lines, f"result = {result}", f'print({plan.title!r}, f"{{result:,}}", sep=": ")'])
    lines += [*_groups(plan), "", *_totals(plan), *_print_totals(plan)]
    return "\n".join([*lines, *_draw(plan)])


def _is_text(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() not in {*_JSON_LINES, ".xlsx"}


def _load(path: str, separator: str) -> Iterator[str]:
    if _is_text(path):
        yield f"table = pd.read_csv({path!r}, sep={separator}, {_TEXT_OPTIONS})"
    elif path.lower().endswith(".xlsx"):
        yield f"table = pd.read_excel({path!r})"
    else:
        yield f"table = pd.read_json({path!r}, lines=True)"
    yield "table.columns = [str(name).strip() for name in table.columns]"


def _describe(column: Column) -> Iterator[str]:
    name = repr(column.name)
    if column.kind == "number":
        yield f"values = {_number(column)}"
        yield f'print({name}, f"sum {{values.sum():,}}, mean {{values.mean():,.2f}}, from {{values.min():,}} to "'
        yield '      f"{values.max():,}", sep=": ")'
    elif column.kind == "date":
        yield f"values = {_date(column)}"
        yield f'print({name}, f"dates from {{values.min():%Y-%m-%d}} to {{values.max():%Y-%m-%d}}", sep=": ")'
    else:
        yield f"values = {_text(column)}"
        yield f'print({name}, f"{{values.nunique()}} different values, most often {{values.mode().iloc[0]}}", sep=": ")'


def _values(plan: Plan) -> Iterator[str]:
    if plan.measures:
        yield f"values = {' * '.join(map(_number, plan.measures))}"


def _number(column: Column) -> str:
    plain = f"table[{column.name!r}]"
    if column.is_stored_as_number:
        return plain
    if column.has_decimal_commas:
        cleaned = f'{plain}.astype(str).str.replace(r"[^\\d,-]", "", regex=True).str.replace(",", ".")'
    else:
        cleaned = f'{plain}.astype(str).str.replace(r"[^\\d.-]", "", regex=True)'
    return f'pd.to_numeric({cleaned}, errors="coerce")'


def _date(column: Column) -> str:
    form = column.date_format or "mixed"
    return f'pd.to_datetime(table[{column.name!r}].astype(str), format={form!r}, errors="coerce")'


def _text(column: Column) -> str:
    return f'table[{column.name!r}].astype("string").str.strip().fillna("(empty)")'


def _groups(plan: Plan) -> Iterator[str]:
    group = plan.group
    assert group is not None  # noqa: S101 - asked for only where there is a group
    if plan.unit is None:
        yield f"groups = {_text(group)}"
        return
    period, _ = _PERIODS[plan.unit]
    if group.kind == "date":
        yield f"dates = {_date(group)}"
    elif group.is_stored_as_number:
        yield f"months = table[{group.name!r}].map(dict(enumerate(calendar.month_abbr)))"
    else:
        yield f"months = table[{group.name!r}].astype(str).str.strip().str[:3].str.title()"
    if group.kind == "month" and plan.table.year is None:
        yield "groups = months.where(months.isin(calendar.month_abbr[1:]))"
        return
    if group.kind == "month" and plan.table.year is not None:
        year = f'table[{plan.table.year.name!r}].astype(str).str.extract(r"(\\d{{4}})")[0]'
        yield f'dates = pd.to_datetime(months + " " + {year}, format="%b %Y", errors="coerce")'
    yield f'groups = dates.dt.to_period("{period}")'


def _totals(plan: Plan) -> Iterator[str]:
    kept = ", sort=False" if plan.unit is None and plan.keeps_order else ""
    if plan.measures:
        yield f"totals = values.groupby(groups{kept}).{plan.statistic}().round(2)"
        yield "left_out = int((groups.isna() | values.isna()).sum())"
    else:
        yield f"totals = groups.groupby(groups{kept}).size()"
        yield "left_out = int(groups.isna().sum())"
    if plan.unit is None:
        if not plan.keeps_order:
            yield "totals = totals.sort_values(ascending=False)"
    elif plan.group is not None and plan.group.kind == "month" and plan.table.year is None:
        yield "totals = totals.reindex([month for month in calendar.month_abbr if month in totals.index])"
    else:
        yield f'totals.index = totals.index.strftime("{_PERIODS[plan.unit][1]}")'


def _print_totals(plan: Plan) -> Iterator[str]:
    yield f"print({plan.title!r})"
    yield f"for label, total in totals.head({MOST_GROUPS}).items():"
    yield '    print(f"{label}: {total:,}")'
    yield f"if len(totals) > {MOST_GROUPS}:"
    yield f'    print(f"{NOTE} these are the first {MOST_GROUPS} of {{len(totals)}} groups.")'
    yield "if left_out:"
    yield f'    print(f"{NOTE} {{left_out}} of {{len(table)}} rows were left out: a value in them cannot be read.")'


def _draw(plan: Plan) -> Iterator[str]:
    if plan.chart is None:
        return
    yield ""
    yield f"shown = totals.head({_MOST_IN_CHART})"
    yield "figure, axes = plt.subplots(figsize=(9, 5))"
    yield "labels = [str(label) for label in shown.index]"
    match plan.chart:
        case "pie":
            yield 'axes.pie(shown, labels=labels, autopct="%.1f%%")'
        case "line":
            yield 'axes.plot(labels, shown, marker="o")'
        case "bar":
            yield "axes.bar(labels, shown)"
    yield f"axes.set_title({plan.title!r})"
    if plan.chart != "pie":
        yield f"axes.set_ylabel({_axis(plan)!r})"
        yield 'axes.tick_params(axis="x", rotation=45)'
    yield "figure.tight_layout()"
    yield f"figure.savefig({plan.picture!r}, dpi=150)"
    yield "plt.close(figure)"
    yield f"if len(totals) > {_MOST_IN_CHART}:"
    yield f'    print(f"{NOTE} the chart shows the first {_MOST_IN_CHART} of {{len(totals)}} groups.")'


def _axis(plan: Plan) -> str:
    return " times ".join(column.name for column in plan.measures) or "rows"
