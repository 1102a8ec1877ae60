"""How text is taken apart and put together: words, their stems, and tool outputs as sentences."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


def word_set(text: str) -> frozenset[str]:
    """The words of a list that is written as one text."""
    return frozenset(text.split())


STOP_WORDS = word_set("""
    a about after all also an and any are as at be been before but by call can could did do does each
    for from function get give given gives has have her his how if into is it its let like make may me
    more must my need not now of off on once one only or our out over please return returned returns
    same shall she should show so some tell than thank thanks that the their them then there these they
    this those to tool under until up us use used user uses using value want was were what when where
    which while who whose why will with would you your
""")

_WORD = re.compile(r"[^\W\d_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_STREAMED = re.compile(r"^\s+|\S+\s*")
_LISTED = 10
"""Items of a list that an answer shows."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text in lower case, where it begins, and its stem."""

    text: str
    start: int

    @property
    def stem(self) -> str:
        """The word without a plural's ending, so that "sales" and "sale" are one."""
        if self.text.endswith("ies") and len(self.text) > 4:
            return self.text[:-3] + "y"
        if self.text.endswith(("sses", "shes", "ches", "xes")):
            return self.text[:-2]
        if self.text.endswith("s") and not self.text.endswith("ss") and len(self.text) > 3:
            return self.text[:-1]
        return self.text

    @property
    def telling(self) -> bool:
        """Whether the word says anything about a subject."""
        return len(self.text) >= 3 and self.text not in STOP_WORDS


def words(text: str) -> Iterator[Word]:
    """The words of ``text`` in order; ``snake_case`` and ``camelCase`` are taken apart."""
    for match in _WORD.finditer(text):
        start = match.start()
        for part in _HUMP.split(match.group()):
            yield Word(part.lower(), start)
            start += len(part)


def subjects(text: str) -> dict[str, int]:
    """The stems of the telling words of ``text``, each with the position of its first mention."""
    found: dict[str, int] = {}
    for word in words(text):
        if word.telling:
            found.setdefault(word.stem, word.start)
    return found


def streamed_words(text: str) -> list[str]:
    """``text`` in pieces of one word with the white space that follows it."""
    return _STREAMED.findall(text)


def output_sentence(name: str, output: str) -> str:
    """What the function ``name`` gave back, as a sentence: ``name: key value, key value`` and a full stop."""
    value = _parsed(output)
    error = _error_in(value)
    text = f"{name} failed: {error}" if error else f"{name}: {_phrase(value)}"
    return text if text.endswith((".", "!", "?")) else text + "."


def _parsed(output: str) -> Any:
    try:
        return json.loads(output)
    except ValueError:
        return output.strip()


def _error_in(value: Any) -> str | None:
    match value:
        case {"error": {"message": str(message)}} | {"error": str(message)} if message:
            return message
        case {"error": error} if error:
            return _phrase(error)
        case str() if value.lower().startswith("error:"):
            return value[len("error:") :].strip() or "error"
    return None


def _phrase(value: Any) -> str:
    match value:
        case dict():
            return ", ".join(f"{_readable(key)} {_nested(item)}" for key, item in value.items()) or "nothing"
        case list():
            shown = "; ".join(_nested(item) for item in value[:_LISTED]) or "nothing"
            return shown if len(value) <= _LISTED else f"{shown}; and {len(value) - _LISTED} more"
        case None | "":
            return "nothing"
        case bool():
            return "yes" if value else "no"
    return str(value)


def _nested(value: Any) -> str:
    return f"({_phrase(value)})" if isinstance(value, dict | list) and value else _phrase(value)


def _readable(key: str) -> str:
    return key.replace("_", " ")
