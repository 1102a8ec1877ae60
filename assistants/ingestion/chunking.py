"""Text in chunks that overlap."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lockstitch.assistants.model.tokens import count_tokens
from lockstitch.assistants.search.words import words_of
from lockstitch.assistants.store.vector_store_files import Chunk
from lockstitch.errors import FileRefused

MAX_TOKENS = 5_000_000
"""So many tokens may a file have (Assistants API)."""

_SEGMENTS_PER_CHUNK = 8
"""A sentence that is longer than such a part of a chunk is cut, so that chunks overlap by nearly what was asked for."""

_LONGEST_TOKEN = 32
"""Hardly a token has more characters than that."""

# A line with the empty ones behind it, or a sentence.
_SEGMENT = re.compile(r"[^\n]*?(?:[.!?]['\")\]]*[ \t]+|\n\s*|$)")


@dataclass(frozen=True, slots=True)
class _Segment:
    """A piece of text that is not divided any more, where it begins, and how many tokens it is."""

    start: int
    text: str
    tokens: int


def chunks_of(text: str, strategy: Mapping[str, Any], *, max_tokens: int = MAX_TOKENS) -> list[Chunk]:
    """Divide a text at the ends of lines and sentences, or between words where those are long.

    ``strategy`` is a static chunking strategy of the API: no chunk has more tokens than it says, and no two that follow
    each other have more in common than it says. Raises `FileRefused` for a text with more than ``max_tokens``.
    """
    limits = strategy["static"]
    most, overlap = limits["max_chunk_size_tokens"], limits["chunk_overlap_tokens"]
    segments = list(_segments(text, most // _SEGMENTS_PER_CHUNK, max_tokens))
    chunks, first = [], 0
    while first < len(segments):
        end, size = first, 0
        while end < len(segments) and size + segments[end].tokens <= most:
            size += segments[end].tokens
            end += 1
        chunks.append(_chunk(segments[first:end]))
        if end == len(segments):
            break
        first = _back(segments, first, end, overlap)
    return chunks


def _back(segments: list[_Segment], first: int, end: int, overlap: int) -> int:
    """Return where the next chunk begins: before ``end`` by at most the overlap, and behind ``first``."""
    begin, common = end, 0
    while begin - 1 > first and common + segments[begin - 1].tokens <= overlap:
        begin -= 1
        common += segments[begin].tokens
    return begin


def _chunk(segments: list[_Segment]) -> Chunk:
    text = "".join(segment.text for segment in segments)
    return Chunk(segments[0].start, text, words_of(text))


def _segments(text: str, most: int, max_tokens: int) -> Iterator[_Segment]:
    start = total = 0
    for found in _SEGMENT.finditer(text):
        for piece, tokens in _pieces(found[0], most):
            total += tokens
            if total > max_tokens:
                raise FileRefused("invalid_file", f"The file has more than {max_tokens} tokens.")
            yield _Segment(start, piece, tokens)
            start += len(piece)


def _pieces(text: str, most: int) -> Iterator[tuple[str, int]]:
    """Cut a text in two, near its middle and between words if there are any, until no piece has too many tokens."""
    if not text:
        return
    if len(text) <= most * _LONGEST_TOKEN:  # beyond that, counting would only confirm it
        tokens = count_tokens(text)
        if tokens <= most or len(text) == 1:
            yield text, tokens
            return
    middle = len(text) // 2
    cut = text.rfind(" ", 1, middle)  # the blank goes with the word behind it, as in the vocabulary
    if cut < middle // 2:
        cut = middle
    yield from _pieces(text[:cut], most)
    yield from _pieces(text[cut:], most)
