"""What a message gives: quoted strings, dates, numbers, names and other values, each with its place."""

import re
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import product
from typing import Literal

from lockstitch.assistants.model.wording import STOP_WORDS, Word, words

ClueKind = Literal["quoted", "email", "url", "date", "time", "uuid", "identifier", "number", "name", "opening"]
"""``name`` is a run of capitalised words, ``opening`` a capitalised word that begins a sentence."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<month>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?"
    r"|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4})"
_YEAR_UNLESS_SAID = 2026
"""A message such as "since March" names no year, and the answer must not depend on the clock."""

_PATTERNS: tuple[tuple[ClueKind, re.Pattern[str]], ...] = (
    ("quoted", re.compile(r"```(?:\w*\n)?(?P<value>.+?)```", re.DOTALL)),
    ("quoted", re.compile(r"`(?P<value>[^`]+)`")),
    ("quoted", re.compile(r'"(?P<value>[^"]+)"|“(?P<curly>[^”]+)”|«(?P<angled>[^»]+)»')),
    ("quoted", re.compile(r"(?<!\w)'(?P<value>[^']+(?:'\w[^']*)*)'(?!\w)")),
    ("email", re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")),
    ("url", re.compile(r"https?://[^\s<>\"')]*[^\s<>\"').,;:!?]")),
    ("date", re.compile(r"(?<!\d)(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})(?!\d)")),
    ("date", re.compile(rf"\b{_MONTH} {_DAY}(?:,? {_YEAR})?\b(?![-\d])")),
    ("date", re.compile(rf"\b{_DAY} (?:of )?{_MONTH}(?:,? {_YEAR})?\b")),
    ("date", re.compile(rf"\b{_MONTH}(?: {_YEAR}\b)?")),
    ("time", re.compile(r"(?:\b|(?<=T))(?P<value>[01]?\d:[0-5]\d|2[0-3]:[0-5]\d)(?::\d\d)?Z?\b")),
    ("uuid", re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b")),
    ("identifier", re.compile(r"\b(?=[\w-]*[A-Za-z])(?=[\w-]*\d)[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*\b")),
    ("number", re.compile(r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w)")),
    ("name", re.compile(r"\b[A-ZÀ-ÖØ-Þ][\w'-]*(?: [A-ZÀ-ÖØ-Þ][\w'-]*)*")),
)
_READ = 20_000
"""Characters of a message that are searched for values."""


@dataclass(slots=True, eq=False)
class Clue:
    """A value that a message gives; ``owner`` is the path of the property that the words beside it name."""

    kind: ClueKind
    text: str
    start: int
    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    day: date | None = None
    owner: str | None = None
    used: bool = False


def as_number(text: str) -> int | float:
    """The value of a number with or without separators of thousands."""
    plain = text.replace(",", "")
    return float(plain) if "." in plain else int(plain)


class Clues:
    """All values that a message gives, in order; each is taken once unless nothing else is left."""

    def __init__(self, message: str) -> None:
        self.message = message[:_READ]
        self.words = tuple(words(self.message))
        self._clues = sorted(_find(self.message, self.words), key=lambda clue: clue.start)
        self._assigned: set[str] = set()

    @property
    def left(self) -> int:
        """How many clues were not taken yet."""
        return sum(not clue.used for clue in self._clues)

    def take(
        self,
        kinds: Collection[ClueKind],
        fits: Callable[[Clue], bool],
        owner: str,
        again: bool = False,
    ) -> Clue | None:
        """Take the first clue of the first kind that has one which fits and belongs to no other property.

        What the words beside it give to ``owner`` goes before everything else. With ``again``, clues that
        were taken before may be taken once more.
        """
        for wanted, kind in product((owner, None), kinds):
            for clue in self._clues:
                if clue.kind == kind and clue.owner == wanted and (again or not clue.used) and fits(clue):
                    clue.used = True
                    return clue
        return None

    def reserve(self, kinds: Collection[ClueKind], names: Mapping[str, frozenset[str]]) -> None:
        """Give values of these kinds to the properties that the words before them, or the one after, name.

        ``names`` maps a property's path to the stems of its name.
        """
        without = {path: stems for path, stems in names.items() if all(clue.owner != path for clue in self._clues)}
        for side in ("before", "after"):
            for clue in self._clues:
                if clue.kind in kinds and not clue.owner and not clue.used:
                    beside: frozenset[str] = getattr(clue, side)
                    clue.owner = next((path for path, stems in without.items() if stems & beside), None)
                    without.pop(clue.owner or "", None)

    def assigned(self, name: str, fits: Callable[[str], bool]) -> str | None:
        """The value that the message gives in the form ``name=value`` or ``name: value``, once."""
        spelled = re.escape(name).replace("_", "[_ ]")
        value = r"\"([^\"]*)\"|'([^']*)'|([^\s,;]*[^\s,;.!?])"
        found = re.search(rf"(?<!\w){spelled}\s*[=:]\s*(?:{value})", self.message, re.IGNORECASE)
        if not name or not found or name in self._assigned:
            return None
        text = next(group for group in found.groups() if group is not None)
        if not fits(text):
            return None
        self._assigned.add(name)
        for clue in self._clues:
            clue.used |= found.start() <= clue.start < found.end()
        return text

    def mentions(self, phrase: str) -> int | None:
        """Where the message has ``phrase`` as whole words, whatever their case."""
        spelled = r"[\s_-]+".join(re.escape(part) for part in re.split(r"[\s_-]+", phrase.strip()) if part)
        flags = re.IGNORECASE if len(phrase) > 2 else re.NOFLAG
        found = re.search(rf"(?<!\w){spelled}(?!\w)", self.message, flags) if spelled else None
        return found.start() if found else None


def _find(message: str, message_words: tuple[Word, ...]) -> list[Clue]:
    """Every clue, the more telling kinds first; what one kind took is blanked for the kinds after it."""
    found: list[Clue] = []
    rest = message
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(rest):
            found += _names(match, message) if kind == "name" else _clue(kind, match, message_words)
        rest = pattern.sub(lambda match: "\x00" * len(match.group()), rest)
    return found


def _clue(kind: ClueKind, match: re.Match[str], message_words: tuple[Word, ...]) -> list[Clue]:
    groups = match.groupdict()
    text = next((groups[name] for name in ("value", "curly", "angled") if groups.get(name)), match.group())
    before, after = _beside(match, message_words)
    day = _day(groups) if kind == "date" else None
    if kind == "date" and day is None:
        return []
    return [Clue(kind, text.strip(), match.start(), before, after, day)]


def _beside(match: re.Match[str], message_words: tuple[Word, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """The stems of the two words before and of the word after a match."""
    first = bisect_left(message_words, match.start(), key=lambda word: word.start)
    after = bisect_left(message_words, match.end(), key=lambda word: word.start)
    sides = message_words[max(first - 2, 0) : first], message_words[after : after + 1]
    before_stems, after_stems = (frozenset(word.stem for word in side) for side in sides)
    return before_stems, after_stems


def _day(groups: dict[str, str | None]) -> date | None:
    month = groups["month"] or ""
    number = int(month) if month.isdigit() else _MONTHS.index(month[:3].lower()) + 1
    try:
        return date(int(groups.get("year") or _YEAR_UNLESS_SAID), number, int(groups.get("day") or 1))
    except ValueError:
        return None


def _names(match: re.Match[str], message: str) -> list[Clue]:
    """Capitalised words; the one that begins a sentence is a clue of its own kind."""
    phrase, start = match.group(), match.start()
    before = message[:start].rstrip(" \"'“(")
    kind: ClueKind = "name"
    clues = []
    if not before or before[-1] in ".!?:\n":
        kind = "opening"
        opening, _, others = phrase.partition(" ")
        if others:
            clues.append(Clue("name", others, start + len(opening) + 1))
        phrase = opening
    if phrase.lower() not in STOP_WORDS and phrase != "I":
        clues.append(Clue(kind, phrase, start))
    return clues
