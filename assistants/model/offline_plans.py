"""What a message asks of a table: which column is added up, by which other, and whether it is drawn."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import PurePosixPath

from lockstitch.assistants.model.offline_code import ChartKind, Plan, Statistic, Unit
from lockstitch.assistants.model.offline_tables import Column, Table
from lockstitch.assistants.model.wording import STOP_WORDS, Word, word_set, words

DATA_FOLDER = PurePosixPath("/mnt/data")

_CHARTS = word_set("chart plot graph diagram histogram visualise visualize visualisation visualization draw")
_CHART_KINDS: Mapping[str, ChartKind] = {"line": "line", "trend": "line", "pie": "pie", "bar": "bar"}
_UNITS: Mapping[str, Unit] = {
    "day": "day",
    "daily": "day",
    "date": "day",
    "week": "week",
    "weekly": "week",
    "month": "month",
    "monthly": "month",
    "time": "month",
    "quarter": "quarter",
    "quarterly": "quarter",
    "year": "year",
    "yearly": "year",
    "annual": "year",
    "annually": "year",
}
_STATISTICS: Mapping[str, Statistic] = {
    "average": "mean",
    "mean": "mean",
    "median": "median",
    "maximum": "max",
    "max": "max",
    "minimum": "min",
    "min": "min",
    "count": "count",
    "many": "count",
    "number": "count",
    "total": "sum",
    "sum": "sum",
}
_STATISTIC_NAMES: Mapping[Statistic, str] = {
    "sum": "",
    "mean": "Average ",
    "median": "Median ",
    "max": "Largest ",
    "min": "Smallest ",
    "count": "",
}
_DATA_WORDS = word_set(
    "analyse analyze analysis csv spreadsheet excel statistic stat dataset table column row summarise summarize "
    "summary total average mean median maximum minimum"
)
_SURE_DATA_WORDS = word_set("analyse analyze csv spreadsheet excel dataset chart plot graph histogram")
_SUPERLATIVES = word_set("most least highest lowest largest smallest best worst top bottom")
_BY = word_set("by per each over")
_MONEY = word_set("sale sell sold revenue turnover amount income proceed earning")
"""Words that people use for one another in tables of sales, by their stems."""
_AMOUNTS, _PRICES = word_set("quantity qty unit count sold piece"), word_set("price rate")
_NO_MEASURES = (
    _CHARTS
    | _CHART_KINDS.keys()
    | _UNITS.keys()
    | _DATA_WORDS
    | _STATISTICS.keys()
    | _BY
    | _SUPERLATIVES
    | word_set("create data file please attached uploaded")
)
"""Words of a request that are not what is measured."""
_FILE_NAME = re.compile(r"\S+\.(?:csv|tsv|txt|xlsx|jsonl|ndjson)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NotPossible:
    """The table does not have what is asked for; ``reason`` is a sentence that says what it lacks and has."""

    reason: str


def is_about_data(message: str, *, surely: bool = False) -> bool:
    """Whether a message speaks of analysing something; ``surely``: whatever files there are."""
    said = _said(message)
    stems = {word.stem for word in said}
    if surely:
        return bool(stems & _SURE_DATA_WORDS)
    return bool(stems & (_DATA_WORDS | _CHARTS | _SUPERLATIVES) or _after_by(said))


def data_place(message: str) -> int:
    """Where a message begins to speak of analysing something; 0 where it does not say so."""
    return next((word.start for word in words(message) if word.stem in _DATA_WORDS | _CHARTS), 0)


def chart_wanted(message: str) -> bool:
    """Whether a message asks for a picture."""
    return any(word.stem in _CHARTS for word in _said(message))


def plan_for(message: str, table: Table) -> Plan | NotPossible | None:
    """What to do with a table; ``None``: describe its columns, because nothing more is asked for."""
    return _Planner(message, table).plan()


def _said(message: str) -> Sequence[Word]:
    return tuple(words(_FILE_NAME.sub(" ", message)))


def _after_by(said: Sequence[Word]) -> tuple[Word, ...]:
    """The words that say what to group by: "by month", "per product category", "for each region", "over time"."""
    for place, word in enumerate(said[:-1]):
        if word.text not in _BY:
            continue
        after = tuple(takewhile(_is_name, dropwhile(lambda each: not _is_name(each), said[place + 1 :])))[:2]
        if after and (word.text != "over" or after[0].stem in _UNITS):
            return after
    return ()


def _is_name(word: Word) -> bool:
    return word.text not in STOP_WORDS and word.stem not in _CHARTS


class _Planner:
    """Finds the columns of one table that one message speaks of."""

    def __init__(self, message: str, table: Table) -> None:
        self._table = table
        self._said = _said(message)
        self._by = _after_by(self._said)
        self._asked = self._asked_measure()
        self._wants_chart = chart_wanted(message)
        self._statistic = next((_STATISTICS[word.text] for word in self._said if word.text in _STATISTICS), None)

    def plan(self) -> Plan | NotPossible | None:
        """Put group and measures together, or say what is missing."""
        group, unit = self._group()
        if group is None and self._by:
            return self._no_group()
        if group is None and self._wants_chart:
            group, unit = self._default_group()
        measures = self._measures(group)
        if isinstance(measures, NotPossible):
            return measures
        if group is None and self._statistic is None:
            return None
        if group is None and not measures and self._statistic != "count":
            return None
        return self._planned(group, unit, measures)

    def _planned(self, group: Column | None, unit: Unit | None, measures: tuple[Column, ...]) -> Plan:
        statistic = self._statistic or "sum"
        if statistic == "count" and measures:  # "how many units": their sum
            statistic = "sum"
        return Plan(
            table=self._table,
            title=_capitalised(_title(measures, statistic, group, unit)),
            measures=measures,
            statistic=statistic,
            group=group,
            unit=unit,
            keeps_order=bool(group and group.stems & _UNITS.keys()),
            chart=self._chart_kind() if group and self._wants_chart else None,
            picture=str(DATA_FOLDER / _picture_name(self._asked, measures, statistic, group, unit)),
            remark=self._remark(measures),
        )

    def _chart_kind(self) -> ChartKind:
        named = next((_CHART_KINDS[word.stem] for word in self._said if word.stem in _CHART_KINDS), None)
        over_time = any(word.text == "time" for word in self._by)
        return named or ("line" if over_time else "bar")

    def _group(self) -> tuple[Column | None, Unit | None]:
        """The column to group by, and the unit of time where it is one of dates."""
        said = self._by or self._said
        unit = next((unit for word in said if (unit := self._unit(word))), None)
        column = self._named_best(said) if self._by else self._named_best(said, "text")
        if column is None and unit == "year":
            column = self._table.year
        if column is not None and column.kind not in ("date", "month"):
            return column, None
        dates = None if unit is None else self._of_time(unit)
        return (dates, unit) if dates else (None, None)

    def _unit(self, word: Word) -> Unit | None:
        """The unit that a word names; "date" and "time" name one after "by" only."""
        return None if word.text in ("date", "time") and not self._by else _UNITS.get(word.stem)

    def _of_time(self, unit: Unit) -> Column | None:
        """The column that tells the unit of each row."""
        months = self._table.of_kind("month")
        if months and (unit == "month" or (self._table.year and unit in ("quarter", "year"))):
            return months[0]
        dates = self._table.of_kind("date")
        named = [column for column in dates if column.stems & {word.stem for word in self._said}]
        return next(iter([*named, *dates]), None)

    def _default_group(self) -> tuple[Column | None, Unit | None]:
        """What a chart is drawn by when nobody says it: months, else the column of text with the fewest values."""
        column = self._of_time("month")
        if column is not None:
            return column, "month"
        texts = self._table.of_kind("text")
        return min(texts, key=lambda text: len(set(text.examples)), default=None), None

    def _named_best(self, said: Sequence[Word], *kinds: str) -> Column | None:
        """The column whose name has most of its words among those that were said; of several, the last one said."""
        places = {word.stem: word.start for word in said}
        scored = [
            (len(named) / len(column.stems), max(places[stem] for stem in named), column)
            for column in self._table.columns
            if (named := column.stems & places.keys()) and (not kinds or column.kind in kinds)
        ]
        return max(scored, key=lambda each: each[:2])[2] if scored else None

    def _measures(self, group: Column | None) -> tuple[Column, ...] | NotPossible:
        """The columns of numbers that are asked about; two are multiplied, with none rows are counted."""
        numbers = [column for column in self._table.numbers if column is not group]
        named = self._named_best(self._said, "number")
        counts = self._statistic == "count"
        if named is not None and named in numbers and not (counts and self._asked is None):
            return (named,)
        if counts:
            return ()
        if self._asked is not None and self._asked.stem in _MONEY and (money := _money(numbers)):
            return money
        if len(numbers) == 1:
            return (numbers[0],)
        if self._asked is not None and (self._by or self._statistic or self._wants_chart):
            return _no_measure(self._asked, numbers)
        return _money(numbers) or tuple(numbers[:1]) if self._wants_chart else ()

    def _asked_measure(self) -> Word | None:
        """The word that says what is wanted, such as "sales": the last one before "by month"."""
        end = self._by[0].start if self._by else None
        before = [word for word in self._said if end is None or word.start < end]
        return next((word for word in reversed(before) if word.telling and word.stem not in _NO_MEASURES), None)

    def _no_group(self) -> NotPossible:
        dates = any(word.stem in _UNITS for word in self._by)
        wanted = "dates or months" if dates else f"the name {' '.join(word.text for word in self._by)!r}"
        return NotPossible(f"It has no column of {wanted}, so there is nothing to group by.")

    def _remark(self, measures: Sequence[Column]) -> str:
        """A sentence that says which columns stand for a word of the user's that names none."""
        asked = self._asked
        said = {word.stem for word in self._said}
        if not measures or any(said & column.stems for column in measures):
            return ""
        names = " times ".join(column.name for column in measures)
        why = f"No column is called {asked.text!r}" if asked else "You named no column of numbers"
        return f"{why}; I took {names}. "


def _money(numbers: Sequence[Column]) -> tuple[Column, ...]:
    """The column of what was earned, else those of amounts and prices."""
    direct = [column for column in numbers if column.stems & (_MONEY | {"total"})]
    if direct:
        return (direct[0],)
    prices = [column for column in numbers if column.stems & _PRICES]
    amounts = [column for column in numbers if column.stems & _AMOUNTS and column not in prices]
    return (amounts[0], prices[0]) if amounts and prices else ()


def _no_measure(asked: Word, numbers: Sequence[Column]) -> NotPossible:
    names = ", ".join(column.name for column in numbers)
    has = f"the columns with numbers are {names}. Say which one you mean" if numbers else "no column has numbers"
    return NotPossible(f"It has no column with the name {asked.text!r}; {has}.")


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _title(measures: Sequence[Column], statistic: Statistic, group: Column | None, unit: Unit | None) -> str:
    what = " times ".join(column.name for column in measures) or "Rows"
    by = f" by {unit or (group.name if group else '')}" if group else ""
    return f"{_STATISTIC_NAMES[statistic] or ('' if group else 'Total ')}{what}{by}"


def _picture_name(
    asked: Word | None, measures: Sequence[Column], statistic: Statistic, group: Column | None, unit: Unit | None
) -> str:
    """A name such as ``sales_by_month.png``, after the user's words where they say what is drawn."""
    named = measures[0].name if measures else "rows"
    what = asked.text if asked is not None and measures else named
    by = unit or (group.name if group else "all")
    return re.sub(r"\W+", "_", f"{_STATISTIC_NAMES[statistic]}{what} by {by}".lower()).strip("_") + ".png"
