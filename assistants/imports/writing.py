"""Puts saved objects into the store, each thread whole or not at all."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy import Connection

from lockstitch.assistants.imports.reading import MOST_PROBLEMS, Export, SavedThread, load
from lockstitch.assistants.store import rows
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import assistants, files, messages, threads
from lockstitch.errors import ImportRefused

MESSAGES_AT_ONCE = 500


@dataclass(slots=True)
class Imported:
    """What became of the saved objects."""

    added: Counter[str] = field(default_factory=Counter)
    """How many of each kind are new: assistants, threads, messages."""
    there_before: Counter[str] = field(default_factory=Counter)
    """How many were in the store and are left as they are there; a thread that was there keeps its messages."""
    missing_files: list[str] = field(default_factory=list)
    """Files of which messages speak and that are not in the store."""


async def write_export(database: Database, export: Export, project: str) -> Imported:
    """Store what is not there yet; carried out again after it broke off, it does the rest.

    Raises `ImportRefused` where an id is taken by something else; nothing is stored then.
    """
    taken = await database.read(lambda connection: list(islice(_taken(connection, export, project), MOST_PROBLEMS)))
    if taken:
        raise ImportRefused(taken)
    imported = Imported()
    by_age = sorted(export.assistants.values(), key=lambda saved: saved.created_at)
    for saved in by_age:
        row = load(saved.place).row(project)
        added = await database.write(lambda connection, row=row: _add(connection, row))  # type: ignore[misc]
        _count(imported, "assistants", added)
    for thread_id, thread in _oldest_first(export):
        row = _thread_row(thread_id, thread, project)
        added = await database.write(
            lambda connection, row=row, thread=thread: _add_thread(connection, row, thread, project),  # type: ignore[misc]
            long=True,
        )
        _count(imported, "threads", added)
        _count(imported, "messages", added, len(thread.messages))
    imported.missing_files = await database.read(lambda connection: _missing(connection, export.file_ids))
    return imported


def _taken(connection: Connection, export: Export, project: str) -> Iterator[str]:
    for table, saved_ids in ((assistants, export.assistants), (threads, export.threads)):
        for saved_id in saved_ids:
            there = rows.get(connection, table, id=saved_id)
            if there is not None and there["project_id"] != project:
                yield f"{saved_id} belongs to the project {there['project_id']!r}."
    for thread_id, thread in export.threads.items():
        for message in thread.messages:
            there = rows.get(connection, messages, id=message.id)
            if there is not None and there["thread_id"] != thread_id:
                yield f"{message.id} is a message of the thread {there['thread_id']}."


def _count(imported: Imported, kind: str, added: bool, number: int = 1) -> None:
    (imported.added if added else imported.there_before)[kind] += number


def _oldest_first(export: Export) -> Iterator[tuple[str, SavedThread]]:
    def created_at(entry: tuple[str, SavedThread]) -> int:
        thread = entry[1]
        return load(thread.place).created_at if thread.place else min(m.created_at for m in thread.messages)

    yield from sorted(export.threads.items(), key=created_at)


def _thread_row(thread_id: str, thread: SavedThread, project: str) -> Row:
    """Return the thread's row; one of which only messages were saved began with the first of them."""
    if thread.place is not None:
        return load(thread.place).row(project)
    began = min(message.created_at for message in thread.messages)
    return {"id": thread_id, "project_id": project, "created_at": began, "tool_resources": {}, "metadata": {}}


def _add(connection: Connection, row: Row) -> bool:
    if rows.get(connection, assistants, id=row["id"]) is not None:
        return False
    rows.put(connection, assistants, row)
    return True


def _add_thread(connection: Connection, row: Row, thread: SavedThread, project: str) -> bool:
    if rows.get(connection, threads, id=row["id"]) is not None:
        return False
    rows.put(connection, threads, row)
    batch: list[Row] = []
    for place in thread.in_order():
        batch.append(load(place).row(project))
        if len(batch) == MESSAGES_AT_ONCE:
            rows.put(connection, messages, *batch)
            batch = []
    if batch:
        rows.put(connection, messages, *batch)
    return True


def _missing(connection: Connection, file_ids: set[str]) -> list[str]:
    return [file_id for file_id in sorted(file_ids) if rows.get(connection, files, id=file_id) is None]
