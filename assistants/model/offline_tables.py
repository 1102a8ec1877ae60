"""What the offline model learns from a first look at a table: its columns, and what each of them holds."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from lockstitch.assistants.model.wording import words

ColumnKind = Literal["number", "date", "month", "text"]
"""``month`` is a column of months without their years: names, or numbers from 1 to 12."""

OVERVIEW = "Overview:"
"""What begins the line in which a first look tells what it found, as a JSON object."""

_TABLES = frozenset({".csv", ".tsv", ".txt", ".xlsx", ".jsonl", ".ndjson"})
_ENOUGH = 0.75
"""The share of a column's examples that must be of one form."""

_MONTH_NAME = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_MONTH = re.compile(_MONTH_NAME, re.IGNORECASE)
_SHORT_DATE = re.compile(r"(?P<first>\d{1,2})(?P<mark>[/.-])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})")
_MONTH_AND_YEAR = re.compile(r"[A-Za-z]{3}(?P<mark>[-/ ']{1,2})\d{2}")
_DATE = re.compile(
    r"\d{4}([-/.])\d{1,2}(\1\d{1,2})?([ T]\d.*)?"
    r"|\d{1,2}([-/.])\d{1,2}\4(\d{4}|\d{2})( \d.*)?"
    rf"|(\d{{1,2}}[ -])?{_MONTH_NAME}([ -]\d{{1,2}},)?[ -]'?(\d{{4}}|\d{{2}})"
    rf"|\d{{4}}[ -]{_MONTH_NAME}",
    re.IGNORECASE,
)
_DAY_WITHOUT_MARKS = re.compile(r"(19|20)\d{2}[01]\d[0-3]\d")
_CURRENCY = r"(?:[A-Z]{3}|[$€£¥₹%]|kr\.?)?"
_NUMBER = re.compile(rf"{_CURRENCY}\s*[-+]?\s*{_CURRENCY}\s*\d[\d.,'\s]*\s*{_CURRENCY}")
_DECIMAL_COMMA = re.compile(r"\d,\d{1,2}\D*$|\d\.\d{3},\d")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, with some of its values as text."""

    name: str
    kind: ColumnKind
    dtype: str
    examples: tuple[str, ...]

    @property
    def stems(self) -> frozenset[str]:
        """The stems of the words of its name."""
        return frozenset(word.stem for word in words(self.name))

    @property
    def is_stored_as_number(self) -> bool:
        """Whether pandas has read numbers; if not, numbers are written with signs or separators."""
        return _is_numeric(self.dtype)

    @property
    def has_decimal_commas(self) -> bool:
        """Whether its numbers are written like 1.234,50."""
        return any(_DECIMAL_COMMA.search(example) for example in self.examples)

    @property
    def date_format(self) -> str | None:
        """The one form that its dates are written in, where that has to be told; ``None``: it tells itself."""
        if self.examples and all(map(_MONTH_AND_YEAR.fullmatch, self.examples)):
            return f"%b{self.examples[0][3:-2]}%y"
        found = [match for match in map(_SHORT_DATE.fullmatch, self.examples) if match]
        if not found or len(found) < _ENOUGH * len(self.examples):
            return None
        mark, year = found[0]["mark"], "%Y" if len(found[0]["year"]) == 4 else "%y"
        return f"%d{mark}%m{mark}{year}" if _is_day_first(found) else f"%m{mark}%d{mark}{year}"


@dataclass(frozen=True, slots=True)
class Table:
    """A table in a file, as a first look found it; ``separator`` is that of a text file's columns."""

    path: str
    rows: int
    columns: tuple[Column, ...]
    separator: str | None = None

    @property
    def file_name(self) -> str:
        """The name of its file, without the folder."""
        return PurePosixPath(self.path).name

    def of_kind(self, *kinds: ColumnKind) -> list[Column]:
        """Its columns of these kinds, in the order of the kinds."""
        return [column for kind in kinds for column in self.columns if column.kind == kind]

    @property
    def numbers(self) -> list[Column]:
        """The columns whose numbers can be added up: neither years nor identifiers."""
        return [column for column in self.of_kind("number") if not column.stems & {"year", "id"}]

    @property
    def year(self) -> Column | None:
        """The column that has the years of its months."""
        return next((column for column in self.of_kind("number", "text") if column.stems == {"year"}), None)


def is_table(path: str) -> bool:
    """Whether a file of this name holds a table that pandas reads."""
    return PurePosixPath(path).suffix.lower() in _TABLES


def read_overview(path: str, output: str) -> Table | None:
    """Read what a first look printed; ``None`` if it did not come to its end."""
    lines = [line for line in output.splitlines() if line.startswith(OVERVIEW)]
    if not lines:
        return None
    try:
        found = json.loads(lines[-1].removeprefix(OVERVIEW))
    except ValueError:  # cut off by the limit of what code may print
        return None
    columns = tuple(_column(name, seen) for name, seen in found["columns"].items())
    return Table(path, found["rows"], columns, found.get("separator"))


def _column(name: str, seen: Mapping[str, Any]) -> Column:
    examples = tuple(example.strip() for example in seen["examples"])
    return Column(name, _kind(name, seen["dtype"], examples), seen["dtype"], examples)


def _kind(name: str, dtype: str, examples: Sequence[str]) -> ColumnKind:
    if dtype.startswith("datetime"):
        return "date"
    stems = {word.stem for word in words(name)}
    if _is_numeric(dtype):
        if stems == {"month"} and _mostly(example.removesuffix(".0") in _MONTH_NUMBERS for example in examples):
            return "month"
        are_days = "date" in stems and _mostly(_DAY_WITHOUT_MARKS.fullmatch(example) for example in examples)
        return "date" if are_days else "number"
    if _mostly(_MONTH.fullmatch(example) for example in examples):
        return "month"
    if _mostly(_DATE.fullmatch(example) for example in examples):
        return "date"
    return "number" if _mostly(_NUMBER.fullmatch(example) for example in examples) else "text"


_MONTH_NUMBERS = frozenset(str(number) for number in range(1, 13))


def _is_numeric(dtype: str) -> bool:
    return dtype.lower().startswith(("int", "uint", "float"))


def _mostly(found: Iterable[object]) -> bool:
    answers = [bool(each) for each in found]
    return bool(answers) and sum(answers) >= _ENOUGH * len(answers)


def _is_day_first(dates: Sequence[re.Match[str]]) -> bool:
    """Whether dates such as 05/01/2026 begin with the day.

    Where none of the numbers is too large for a month, dates of which only the second number changes are the first
    days of months; other dates are read with the month first, unless they are written with full stops.
    """
    first, second = [{int(date[part]) for date in dates} for part in ("first", "second")]
    if max(first) > 12 or max(second) > 12:
        return max(first) > 12
    return dates[0]["mark"] == "." or (len(first) == 1 and len(second) > 1)
