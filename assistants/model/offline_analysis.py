"""When the offline model runs code, which, and what it says about what the code printed.

A table is analysed in two calls: the first looks at it, the second does what the user's words and the table's columns
allow. What they do not allow is said, and nothing is made up.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from lockstitch.assistants.model.built_in_tools import CODE_INTERPRETER
from lockstitch.assistants.model.offline_arithmetic import calculation
from lockstitch.assistants.model.offline_code import MOST_GROUPS, NOTE, Plan, look_code, plan_code, summary_code
from lockstitch.assistants.model.offline_plans import NotPossible, chart_wanted, is_about_data, plan_for
from lockstitch.assistants.model.offline_tables import Table, is_table, read_overview
from lockstitch.assistants.model.turn import DataFile, ModelTurn
from lockstitch.assistants.model.wording import subjects, word_set

_GIVEN_CODE = re.compile(r"```(?:python|py)\n(?P<code>.+?)```", re.DOTALL)
_SAVED = re.compile(r"^Saved: (?P<link>sandbox:\S.*)$", re.MULTILINE)
_TRACEBACK = "Traceback (most recent call last)"
_LISTED = 24
"""Groups that an answer lists."""
_NAMED = 20
"""Columns that an answer names."""
_QUOTED = 500
"""Characters of what code printed that an answer repeats."""
_SAYS_NOTHING = word_set("data file table sheet csv tsv xlsx new copy final")
"""Words of a file's name that do not tell what it is about."""


def next_code(turn: ModelTurn) -> str | None:
    """The code to run in this turn; ``None`` where there is none to run, or no more."""
    outputs = turn.outputs_of(CODE_INTERPRETER.name)
    given = _GIVEN_CODE.search(turn.last_user_text)
    sum_ = None if given else calculation(turn.last_user_text)
    if given or sum_:
        code = given["code"].strip() if given else f"print({sum_})"
        return None if outputs else code
    path = _table_in_question(turn)
    if path is None or len(outputs) > 1:
        return None
    return _second_code(turn, path, outputs[0]) if outputs else look_code(path)


def code_answer(turn: ModelTurn) -> str | None:
    """What the run's code has found out, in words; ``None`` where no code was run and none was missed."""
    outputs = turn.outputs_of(CODE_INTERPRETER.name)
    path = _table_in_question(turn)
    if not outputs:
        return _nothing_to_read(turn)
    failure = _failure(outputs[-1])
    if failure:
        return f"The code failed: {failure}."
    sum_ = calculation(turn.last_user_text)
    if sum_ or path is None or _GIVEN_CODE.search(turn.last_user_text):
        return _sentence(_printed(outputs[-1]), sum_) + _links(outputs)
    table = read_overview(path, outputs[0])
    if table is None:
        return f"The code gave no overview of {PurePosixPath(path).name}; it printed: {_printed(outputs[0])}"
    return f"{_introduction(table)} {_findings(turn, table, outputs)}{_links(outputs)}"


def _table_in_question(turn: ModelTurn) -> str | None:
    """The path of the table that the user's message is about."""
    message = turn.last_user_text
    tables = [file for file in turn.data_files if is_table(file.path)]
    named = [file for file in tables if PurePosixPath(file.path).name.lower() in message.lower()]
    if named:
        return named[-1].path
    about = [file for file in tables if is_about_data(message) or _shared_words(file, message)]
    return max(about, key=lambda file: _shared_words(file, message)).path if about else None


def _shared_words(file: DataFile, message: str) -> int:
    told = subjects(PurePosixPath(file.path).stem).keys() - _SAYS_NOTHING
    return len(told & subjects(message).keys())


def _second_code(turn: ModelTurn, path: str, output: str) -> str | None:
    """The code after the first look; ``None`` where the look failed or the table does not have what is wanted."""
    table = None if _failure(output) else read_overview(path, output)
    if table is None or not table.rows:
        return None
    plan = plan_for(turn.last_user_text, table)
    if isinstance(plan, NotPossible):
        return None
    return summary_code(table) if plan is None else plan_code(plan)


def _nothing_to_read(turn: ModelTurn) -> str | None:
    """That a chart or an analysis was asked for, and there is no table for it."""
    is_offered = any(tool.name == CODE_INTERPRETER.name for tool in turn.tools)
    if not is_offered or not is_about_data(turn.last_user_text, surely=True):
        return None
    names = ", ".join(PurePosixPath(file.path).name for file in turn.data_files)
    there = f"of the files here ({names}), none is a table that I can read" if names else "no file is here to read"
    return f"There is nothing to analyse: {there}."


def _introduction(table: Table) -> str:
    columns = ", ".join(column.name for column in table.columns[:_NAMED])
    if len(table.columns) > _NAMED:
        columns += f" and {len(table.columns) - _NAMED} more"
    return f"{table.file_name} has {table.rows:,} row{'' if table.rows == 1 else 's'} and the columns {columns}."


def _findings(turn: ModelTurn, table: Table, outputs: Sequence[str]) -> str:
    if not table.rows:
        return "There is nothing to add up."
    plan = plan_for(turn.last_user_text, table)
    if isinstance(plan, NotPossible):
        return plan.reason
    if len(outputs) == 1:
        return "The code that was to follow was not run."
    if plan is None:
        return f"{'. '.join(_lines(outputs[-1]))}.{_missing_chart(turn)}"
    return f"{plan.remark}{_told_totals(plan, outputs[-1])}{'' if plan.chart else _missing_chart(turn)}"


def _missing_chart(turn: ModelTurn) -> str:
    no_chart = " No chart was drawn: the table has nothing to group by."
    return no_chart if chart_wanted(turn.last_user_text) else ""


def _told_totals(plan: Plan, output: str) -> str:
    lines = _lines(output)
    notes = [line.removeprefix(NOTE).strip().capitalize() for line in lines if line.startswith(NOTE)]
    found = [line.rpartition(": ") for line in lines if not line.startswith(NOTE)]
    totals = [(label, _number(value)) for label, _, value in found if label and _is_number(value)]
    if not totals:
        return f"The code found no values; it printed: {_printed(output)}"
    if plan.group is None:
        return f"{totals[0][0]}: {totals[0][1]:,}."
    listed = ", ".join(f"{label} {value:,}" for label, value in totals[:_LISTED])
    more = f", and {len(totals) - _LISTED} more" if len(totals) > _LISTED else ""
    sentences = [f"{plan.title}: {listed}{more}."]
    if 1 < len(totals) < MOST_GROUPS:
        high, low = max(totals, key=lambda each: each[1]), min(totals, key=lambda each: each[1])
        same = "All are the same." if high[1] == low[1] else ""
        sentences.append(same or f"The highest is {high[0]} with {high[1]:,}, the lowest {low[0]} with {low[1]:,}.")
    return " ".join([*sentences, *notes])


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?[\d,]+(\.\d+)?(e[+-]\d+)?", text) is not None


def _number(text: str) -> int | float:
    value = float(text.replace(",", ""))
    return int(value) if value.is_integer() else value


def _sentence(printed: str, sum_: str | None) -> str:
    if sum_ and printed:
        return f"{sum_} = {_number(printed) if _is_number(printed) else printed}."
    return f"The code printed: {printed}" if printed else "The code printed nothing."


def _failure(output: str) -> str | None:
    """The error with which code ended, without its traceback."""
    if _TRACEBACK not in output:
        return None
    lines = _lines(output[output.index(_TRACEBACK) :])
    return lines[-1].rstrip(".") if len(lines) > 1 else "it raised an error"


def _lines(output: str) -> list[str]:
    """What code printed, without the lines that tell of its files."""
    return [line for line in _SAVED.sub("", output).splitlines() if line.strip()]


def _printed(output: str) -> str:
    text = "\n".join(_lines(output)).strip()
    return text if len(text) <= _QUOTED else text[:_QUOTED].rstrip() + "..."


def _links(outputs: Sequence[str]) -> str:
    """Links to every file that code made, each once."""
    found = dict.fromkeys(match["link"].strip() for output in outputs for match in _SAVED.finditer(output))
    return "".join(_link(link) for link in found)


def _link(link: str) -> str:
    return f"\n\n[{PurePosixPath(link.removeprefix('sandbox:')).name}]({link})"
