"""Reads saved objects from files, one JSON object a line, and checks them all before anything is stored."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from lockstitch.assistants.imports.exported import ExportedAssistant, ExportedMessage, ExportedObject, ExportedThread
from lockstitch.errors import ImportRefused

_KINDS: dict[str, TypeAdapter[ExportedObject]] = {
    "assistant": TypeAdapter(ExportedAssistant),
    "thread": TypeAdapter(ExportedThread),
    "thread.message": TypeAdapter(ExportedMessage),
}
_TAGS = re.compile(r"\.(text|image_file|image_url|refusal|function|code_interpreter|file_search)(?=\.)")
MOST_PROBLEMS = 20
"""So many problems are told at a time; who mends them finds the others with the next try."""


class Place(NamedTuple):
    """Where a saved object is found again, so that memory does not have to hold it."""

    path: Path
    offset: int
    position: int | None
    """Its number in the list that stands on the line, ``None`` where it stands there alone."""


class Saved(NamedTuple):
    """An assistant or a message: its id, when it was created, and where it is found."""

    id: str
    created_at: int
    place: Place


@dataclass(slots=True)
class SavedThread:
    """A thread and its messages; where only those were saved, there is no ``place``."""

    place: Place | None = None
    messages: list[Saved] = field(default_factory=list)

    def in_order(self) -> Iterator[Place]:
        """Yield where its messages are found, oldest first.

        Times are whole seconds. Of the same second the order of the file counts, and the API lists the newest first
        unless it is told otherwise: which way round the file goes is seen from its first and last message.
        """
        newest_first = bool(self.messages) and self.messages[0].created_at > self.messages[-1].created_at
        told = reversed(self.messages) if newest_first else self.messages
        for message in sorted(told, key=lambda message: message.created_at):
            yield message.place


@dataclass(slots=True)
class Export:
    """What was saved, checked and indexed."""

    assistants: dict[str, Saved] = field(default_factory=dict)
    threads: dict[str, SavedThread] = field(default_factory=dict)
    file_ids: set[str] = field(default_factory=set)
    """The files of which messages speak."""


def read_export(paths: Sequence[Path]) -> Export:
    """Read and check every object; raises `ImportRefused`, which tells what is wrong with which lines."""
    index = _Index()
    for path in paths:
        try:
            with path.open("rb") as file:
                index.read(path, file)
        except OSError as error:
            raise ImportRefused([f"{path}: {error.strerror or error}."]) from error
    if index.problems:
        raise ImportRefused(index.problems)
    return index.export


class _Index:
    def __init__(self) -> None:
        self.export = Export()
        self.problems: list[str] = []
        self._seen: set[str] = set()

    def read(self, path: Path, lines: Any) -> None:
        offset = 0
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._read_line(f"{path}:{number}", Place(path, offset, None), line)
            if len(self.problems) >= MOST_PROBLEMS:
                return
            offset += len(line)

    def _read_line(self, where: str, place: Place, line: bytes) -> None:
        try:
            for position, value in _objects(line):
                self._take(_checked(value), place._replace(position=position))
        except ValueError as error:
            self.problems.append(f"{where}: {error}")

    def _take(self, found: ExportedObject, place: Place) -> None:
        if found.id in self._seen:
            raise ValueError(f"{found.id} was there before.")
        self._seen.add(found.id)
        match found:
            case ExportedAssistant():
                self.export.assistants[found.id] = Saved(found.id, found.created_at, place)
            case ExportedThread():
                self.export.threads.setdefault(found.id, SavedThread()).place = place
            case ExportedMessage():
                thread = self.export.threads.setdefault(found.thread_id, SavedThread())
                thread.messages.append(Saved(found.id, found.created_at, place))
                self.export.file_ids |= found.file_ids


def load(place: Place) -> ExportedObject:
    """Read one object again."""
    for position, value in _parsed_line(place.path, place.offset):
        if position == place.position:
            return _checked(value)
    raise ImportRefused([f"{place.path} was changed while it was imported."])


@lru_cache(maxsize=4)  # pages of a list are read once for all of their objects
def _parsed_line(path: Path, offset: int) -> list[tuple[int | None, Any]]:
    with path.open("rb") as file:
        file.seek(offset)
        return list(_objects(file.readline()))


def _objects(line: bytes) -> Iterator[tuple[int | None, Any]]:
    """Yield the objects of a line: the one that stands there, or those of a page of a list."""
    try:
        value = from_json(line)
    except ValueError as error:
        raise ValueError(f"this is not JSON: {error}.") from error
    if isinstance(value, dict) and value.get("object") == "list" and isinstance(value.get("data"), list):
        yield from enumerate(value["data"])
    else:
        yield None, value


def _checked(value: Any) -> ExportedObject:
    if not isinstance(value, dict):
        raise ValueError("this is no object of the API; each line is one JSON object, or a page of a list.")
    kind = value.get("object")
    if not isinstance(kind, str) or kind not in _KINDS:
        problem = "there is no 'object'" if kind is None else f"{kind!r} is not imported"
        raise ValueError(f"{problem}; 'object' is one of {', '.join(map(repr, _KINDS))}.")
    try:
        return _KINDS[kind].validate_python(value, strict=True)
    except ValidationError as error:
        raise ValueError(_told(value, error)) from error


def _told(value: Any, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = _TAGS.sub("", ".".join(str(part) for part in first["loc"]))
    return f"{value.get('id', value['object'])}: {place}: {first['msg']}."
