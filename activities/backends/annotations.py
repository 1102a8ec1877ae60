"""Finds what an answer points to, while it is being written: passages that it cites, files that code made; pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

LINK = "sandbox:/mnt/data/"
"""How models link to a file that code made."""

_LONGEST = 400
"""Characters of a mark or a link; what is longer is text."""

_BEGINNING = re.compile(f"【|{LINK}")
_MARK = re.compile(r"【[^【】\n]*】")
_END_OF_LINK = re.compile(r"[)\]\n\"<>`]")


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to point to: ids of files, by the marks of passages and by paths below ``/mnt/data``."""

    passages: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


class Piece(NamedTuple):
    """A piece of an answer; ``annotation`` where it points to something."""

    text: str
    annotation: dict[str, Any] | None = None


class AnnotatedText:
    """An answer that grows; what could be the beginning of a mark or a link is held back until it is known to be one.

    Only what points to something that is there is annotated; any other mark or link is text.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._held = ""
        self._told: list[str] = []
        self._length = 0
        self.annotations: list[dict[str, Any]] = []

    def __repr__(self) -> str:
        return f"AnnotatedText({self._length} characters, {len(self.annotations)} annotations)"

    @property
    def value(self) -> str:
        """The text so far, without what is held back."""
        return "".join(self._told)

    def feed(self, text: str) -> list[Piece]:
        """Take more text and return the pieces that can be told."""
        self._held += text
        return [self._told_piece(piece) for piece in self._pieces(whole=False)]

    def close(self) -> list[Piece]:
        """Return what was held back: nothing comes any more."""
        return [self._told_piece(piece) for piece in self._pieces(whole=True)]

    def _told_piece(self, piece: Piece) -> Piece:
        start, self._length = self._length, self._length + len(piece.text)
        self._told.append(piece.text)
        if piece.annotation is None:
            return piece
        annotation = {**piece.annotation, "text": piece.text, "start_index": start, "end_index": self._length}
        self.annotations.append(annotation)
        return Piece(piece.text, annotation)

    def _pieces(self, *, whole: bool) -> Iterator[Piece]:
        while self._held:
            found = _BEGINNING.search(self._held)
            if found is None:
                yield from self._take(len(self._held) - (0 if whole else _begun_link(self._held)))
                return
            yield from self._take(found.start())
            piece = self._mark(whole) if found[0] == "【" else self._link(whole)
            if piece is None:
                return
            self._held = self._held[len(piece.text) :]
            yield piece

    def _take(self, length: int) -> Iterator[Piece]:
        if length:
            text, self._held = self._held[:length], self._held[length:]
            yield Piece(text)

    def _mark(self, whole: bool) -> Piece | None:
        """Return what is held, a mark or its first character; ``None`` where more is needed to know."""
        found = _MARK.match(self._held)
        if found is None:
            could_be = not whole and len(self._held) < _LONGEST and not re.search(r"[【\n]", self._held[1:])
            return None if could_be else Piece(self._held[0])
        file_id = self._sources.passages.get(found[0])
        if file_id is None:
            return Piece(found[0])
        return Piece(found[0], {"type": "file_citation", "file_citation": {"file_id": file_id}})

    def _link(self, whole: bool) -> Piece | None:
        end = _END_OF_LINK.search(self._held, len(LINK))
        if end is None and not whole and len(self._held) < _LONGEST:
            return None
        linked = self._held[: end.start()] if end else self._held
        for candidate in (linked, linked[: len(LINK)] + linked[len(LINK) :].split(" ")[0].rstrip(".,;:!?")):
            path = candidate.removeprefix("sandbox:")
            file_id = self._sources.files.get(path) or self._sources.files.get(unquote(path))
            if file_id is not None:
                return Piece(candidate, {"type": "file_path", "file_path": {"file_id": file_id}})
        return Piece(LINK)


def _begun_link(text: str) -> int:
    """Return how many characters at the end of a text could be the beginning of a link."""
    return next((length for length in range(len(LINK) - 1, 0, -1) if text.endswith(LINK[:length])), 0)
