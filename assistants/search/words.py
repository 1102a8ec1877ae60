"""Text as words in the form in which they are compared: what chunks keep, and what queries are made of."""

import re
import unicodedata
from collections.abc import Iterator

# A letter of a script that puts no blanks between words is a word of its own.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")

MAX_WORD_LENGTH = 64
"""Longer words, such as encoded data, are cut: nobody looks for them, and no index has room for any length."""


def words_of(text: str) -> list[str]:
    """Return the words in order: without case, accents and the English plural's ending, at underscores apart."""
    return [_singular(word)[:MAX_WORD_LENGTH] for word in _WORD.findall(_plain(text))]


def _plain(text: str) -> str:
    """Return the text without case and accents."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return unicodedata.normalize("NFC", "".join(_without_accents(decomposed)))


def _without_accents(decomposed: str) -> Iterator[str]:
    # Marks belong to the letter in many scripts; in Latin, Greek and Cyrillic people leave them out when they search.
    base = ""
    for character in decomposed:
        if not unicodedata.combining(character):
            base = character
        elif base < "\u0530":
            continue
        yield character


def _singular(word: str) -> str:
    """Cut the ending of an English plural, by the rules of Harman's "S stemmer" (1991)."""
    if not word.endswith("s") or len(word) < 4 or not word.isascii():
        return word
    if word.endswith("ies") and word[-4] not in "ae":
        return word[:-3] + "y"
    if word.endswith("es") and word[-3] not in "aeo":
        return word[:-1]
    return word if word.endswith(("us", "ss")) else word[:-1]
