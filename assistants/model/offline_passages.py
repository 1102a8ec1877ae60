"""When the offline model searches files, and how it answers from the passages that it found."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from lockstitch.assistants.model.built_in_tools import FILE_SEARCH
from lockstitch.assistants.model.turn import ModelTurn
from lockstitch.assistants.model.wording import STOP_WORDS, subjects, word_set, words

_MARK = re.compile(r"^(?P<mark>【\d+:\d+†[^】\n]+】)[ \t]*$", re.MULTILINE)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]?\s+(?=[^\sa-z])|\n\s*\n|\n(?=\s*(?:[-*•#|]|\d+[.)]))")
_ASKING = word_set(
    "what who whom whose when where which why how describe explain find search look summarise summarize list tell "
    "give show compare according"
)
_ABOUT_FILES = word_set("file document doc passage knowledge source upload attachment manual handbook report")
_SILENT_WORDS = STOP_WORDS - word_set("call need return returned returns value values")
"""Words that tell nothing in a question, or in a passage."""
_SENTENCES = 3
_HEADING_WORDS = 6
_LONGEST = 400
"""Characters of one sentence that an answer repeats."""
_ENOUGH = 0.3
"""The share of the question's weight that the words of a sentence and its passage must have."""
_NEARLY_AS_GOOD = 0.6
_FROM_PASSAGE = 0.25
"""What a word counts that only the rest of the sentence's passage has."""
_ROOT = 6
"""Letters of a word that count: with them "deliver" and "delivery" are one."""


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    mark: str
    roots: frozenset[str]
    passage_roots: frozenset[str]


def next_query(turn: ModelTurn, *, others_fit: bool) -> str | None:
    """What to search for in this turn; ``None`` where the message asks nothing, or was searched for already.

    Where another tool fits the message (``others_fit``), files are searched only if the message speaks of them.
    """
    message = " ".join(turn.last_user_text.split())
    stems = {word.stem for word in words(message)}
    asks = "?" in message or bool(stems & _ASKING)
    if turn.outputs_of(FILE_SEARCH.name) or not asks or not subjects(message):
        return None
    return message if stems & _ABOUT_FILES or not others_fit else None


def passages_answer(turn: ModelTurn) -> str | None:
    """The sentences that answer best, each with the mark of its passage; ``None`` where no files were searched."""
    outputs = turn.outputs_of(FILE_SEARCH.name)
    if not outputs:
        return None
    sentences = [sentence for output in outputs for sentence in _sentences(output)]
    if not sentences:
        said = " ".join(outputs[-1].split())
        return f"The search found no passage that answers this{f'. It said: {said}' if said else '.'}"
    best = _best(_roots(turn.last_user_text), sentences)
    if not best:
        return "The search found passages, but none of them answers the question."
    return " ".join(f"{_clipped(sentence.text)}{sentence.mark}" for sentence in best)


def _sentences(output: str) -> Iterator[_Sentence]:
    """Every sentence of every passage; a passage follows the line that has its mark.

    Headings and questions answer nothing; their words count for the sentence below them.
    """
    _, *parts = _MARK.split(output)
    for mark, passage in zip(parts[::2], parts[1::2], strict=True):
        passage_roots, above = _roots(passage), ""
        texts = [text for text in map(_tidied, _SENTENCE_END.split(passage)) if text]
        for text in texts:
            if _is_heading(text) and text is not texts[-1]:
                above = text
            else:
                yield _Sentence(text, mark, _roots(f"{above} {text}"), passage_roots)
                above = ""


def _is_heading(text: str) -> bool:
    is_short = len(text.split()) <= _HEADING_WORDS and not re.search(r"[\d.!:;,|]", text)
    return text.endswith("?") or is_short


def _tidied(text: str) -> str:
    return " ".join(text.replace("**", "").split()).lstrip("-*•#|> ").rstrip("| ")


def _roots(text: str) -> frozenset[str]:
    numbers = re.findall(r"\d[\w.-]*\w|\d", text.lower())
    return frozenset(
        [
            *(word.stem[:_ROOT] for word in words(text) if len(word.text) > 1 and word.text not in _SILENT_WORDS),
            *numbers,
        ]
    )


def _best(question: Collection[str], sentences: Sequence[_Sentence]) -> list[_Sentence]:
    """The best sentences in their own order; words that few sentences have count more than common ones."""
    found = Counter(root for sentence in sentences for root in sentence.roots)
    weights = {root: math.log(1 + len(sentences) / (found[root] or 1)) for root in question}
    whole = sum(weights.values())
    scores = {place: _score(weights, sentence) for place, sentence in enumerate(sentences) if sentence.roots}
    best = max(scores.values(), default=0.0)
    if not whole or best < _ENOUGH * whole:
        return []
    ranked = sorted(scores, key=lambda place: -scores[place])
    chosen: dict[str, int] = {}
    for place in ranked:
        if scores[place] >= max(_NEARLY_AS_GOOD * best, _ENOUGH * whole) and len(chosen) < _SENTENCES:
            chosen.setdefault(sentences[place].text, place)  # overlapping passages repeat sentences
    return [sentences[place] for place in sorted(chosen.values())]


def _score(weights: dict[str, float], sentence: _Sentence) -> float:
    own = sum(weight for root, weight in weights.items() if root in sentence.roots)
    beside = sum(weight for root, weight in weights.items() if root in sentence.passage_roots - sentence.roots)
    return own + _FROM_PASSAGE * beside if own else 0.0


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST].rpartition(" ")[0] + " ..."
