"""What the store has of a thread, in every table, and how it is removed for good.

A thread that is deleted over HTTP leaves behind what watchers still read and what no foreign key reaches: event logs,
tool calls, deliveries of webhooks. Purging takes that too. It goes in steps, each a transaction of its own that may be
done again, and the thread itself goes last: whoever was interrupted finds the rest by it.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Column, Connection, Select, Text, cast, func, select, text

from lockstitch.assistants.store import files, rows, threads
from lockstitch.assistants.store.schema import (
    assistants,
    code_files,
    code_sessions,
    commands,
    messages,
    run_events,
    run_logs,
    run_steps,
    runs,
    tool_calls,
    upstream_runs,
    vector_store_batches,
    vector_store_files,
    vector_stores,
    webhook_deliveries,
)
from lockstitch.assistants.store.schema import files as files_table
from lockstitch.assistants.store.schema import threads as threads_table

_OF_RUN: dict[str, Column[Any]] = {
    "run_events": run_events.c.run_id,
    "run_logs": run_logs.c.run_id,
    "tool_calls": tool_calls.c.run_id,
    "upstream_runs": upstream_runs.c.run_id,
    "webhook_deliveries": webhook_deliveries.c.run_id,
    "commands": commands.c.subject_id,
    "run_steps": run_steps.c.run_id,
    "runs": runs.c.id,
}
"""The column of each table that says of which run a row is; in this order they are emptied."""

_OF_THREAD: dict[str, Column[Any]] = {
    "messages": messages.c.thread_id,
    "code_files": code_files.c.thread_id,
    "code_sessions": code_sessions.c.thread_id,
    "threads": threads_table.c.id,
}

_FIRST_EVENT = "thread.run.created"

Removal = Callable[[Connection, str], None]
"""Removes the object with this id."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """What the store has of a thread: its runs, what goes with it, and how many rows that is, by table."""

    run_ids: frozenset[str] = frozenset()
    active_run_id: str | None = None
    file_ids: tuple[str, ...] = ()
    """Files that code of its runs made and, where they were asked for, those that its user had uploaded for it."""
    vector_store_ids: tuple[str, ...] = ()
    """Only where files were asked for: those that nobody else names."""
    ingestion_ids: frozenset[str] = frozenset()
    counts: dict[str, int] = field(default_factory=dict)


def holdings(connection: Connection, thread_id: str, run_ids: Collection[str], *, with_files: bool) -> Holdings:
    """Return what there is; ``run_ids`` are runs that are known from elsewhere to be on the thread.

    ``with_files`` adds what users uploaded for this thread and nothing else: files, and the vector stores of its
    tools. What an assistant, another thread or another vector store uses stays.
    """
    if connection.dialect.name == "postgresql":  # texts are looked through that no index covers
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    known = frozenset(run_ids) | _run_ids(connection, thread_id)
    stores = tuple(_own_stores(connection, thread_id)) if with_files else ()
    wanted = _made_files(connection, thread_id, known)
    if with_files:
        wanted |= _given_files(connection, thread_id, stores)
    found = tuple(file for file in sorted(wanted) if _is_only_used_here(connection, file, thread_id, stores))
    counts = {name: _count(connection, column, known) for name, column in _OF_RUN.items()}
    counts |= {name: _count(connection, column, [thread_id]) for name, column in _OF_THREAD.items()}
    counts |= {"files": len(found), "vector_stores": len(stores)}
    ingestions = frozenset(_ingestion_ids(connection, stores))
    active = threads.active_run_id(connection, thread_id)
    return Holdings(known, active, found, stores, ingestions, counts)


def remove_run(connection: Connection, run_id: str) -> None:
    """Remove a run with its steps, calls, events, deliveries and commands, open or not."""
    for column in _OF_RUN.values():
        rows.remove(connection, column.table, **{column.name: run_id})


def remove_file(connection: Connection, file_id: str) -> None:
    """Remove a file with its content, from all lists too."""
    files.remove(connection, file_id)


def remove_vector_store(connection: Connection, vector_store_id: str) -> None:
    """Remove a vector store with what it holds of its files, and the commands that would bring more in."""
    for ingestion_id in _ingestion_ids(connection, [vector_store_id]):
        rows.remove(connection, commands, subject_id=ingestion_id)
    rows.remove(connection, vector_stores, id=vector_store_id)


def remove_thread(connection: Connection, thread_id: str) -> set[str]:
    """Remove the thread and its messages, unless runs are on it that nobody has removed: their ids are returned."""
    rows.locked(connection, threads_table, id=thread_id)
    left = _run_ids(connection, thread_id)
    if not left:
        for column in _OF_THREAD.values():
            rows.remove(connection, column.table, **{column.name: thread_id})
    return left


def forget_words(connection: Connection) -> None:
    """Take words that were removed out of SQLite's index, which keeps a deleted word until its parts are merged."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("INSERT INTO vector_store_words (vector_store_words) VALUES ('optimize')"))


def _run_ids(connection: Connection, thread_id: str) -> set[str]:
    """Return the runs that any table knows to be on the thread."""
    queries: list[Select[Any]] = [
        select(runs.c.id).where(runs.c.thread_id == thread_id),
        select(tool_calls.c.run_id).where(tool_calls.c.thread_id == thread_id).distinct(),
        select(upstream_runs.c.run_id).where(upstream_runs.c.thread_id == thread_id).distinct(),
    ]
    if rows.get(connection, threads_table, id=thread_id) is None:
        # Of a run that went with its thread and called no tool, only the log is left, and the thread's id in its text.
        names_it = run_events.c.data.contains(f'"{thread_id}"', autoescape=True)
        queries.append(select(run_events.c.run_id).where(run_events.c.event == _FIRST_EVENT, names_it))
    return {run_id for query in queries for run_id in connection.scalars(query)}


def _count(connection: Connection, column: Column[Any], ids: Collection[str]) -> int:
    return connection.scalar(select(func.count()).select_from(column.table).where(column.in_(ids))) or 0


def _made_files(connection: Connection, thread_id: str, run_ids: Collection[str]) -> set[str]:
    """Return the files that code of the runs has made: those that it wrote, and its figures."""
    made = set(connection.scalars(select(code_files.c.file_id).where(code_files.c.thread_id == thread_id)))
    figures = select(tool_calls.c.result).where(tool_calls.c.run_id.in_(run_ids), tool_calls.c.result.is_not(None))
    for result in connection.scalars(figures):
        made |= set(_values(result, "image"))
    # Where the thread is gone already, what its answers link to is all that tells of files.
    finished = select(run_events.c.data).where(
        run_events.c.run_id.in_(run_ids), run_events.c.event == "thread.message.completed"
    )
    for data in connection.scalars(finished.where(run_events.c.data.contains('"file_path"'))):
        made |= set(_values(from_json(data), "file_path"))
    return made


def _given_files(connection: Connection, thread_id: str, store_ids: Collection[str]) -> set[str]:
    """Return the files that came with messages, that the thread's tools have, and those in its own vector stores."""
    given = set()
    query = select(messages.c.attachments, messages.c.content).where(messages.c.thread_id == thread_id)
    for attachments, content in connection.execute(query):
        given |= {each["file_id"] for each in attachments} | set(_values(content, "image_file"))
    for resources in connection.scalars(select(threads_table.c.tool_resources).where(threads_table.c.id == thread_id)):
        given |= set(resources.get("code_interpreter", {}).get("file_ids", []))
    held = select(vector_store_files.c.id).where(vector_store_files.c.vector_store_id.in_(store_ids))
    return given | set(connection.scalars(held))


def _own_stores(connection: Connection, thread_id: str) -> Iterator[str]:
    """Yield the vector stores of the thread's tools that neither an assistant nor another thread names."""
    thread = rows.get(connection, threads_table, id=thread_id)
    named = [] if thread is None else thread["tool_resources"].get("file_search", {}).get("vector_store_ids", [])
    for store_id in named:
        if not any(
            _names(connection, each.c.tool_resources, store_id, but=thread_id) for each in (threads_table, assistants)
        ):
            yield store_id


def _is_only_used_here(connection: Connection, file_id: str, thread_id: str, store_ids: Collection[str]) -> bool:
    """Tell whether there is such a file and no other thread, assistant or vector store uses it."""
    if rows.get(connection, files_table, id=file_id) is None:
        return False
    elsewhere = [
        threads_table.c.tool_resources,
        assistants.c.tool_resources,
        messages.c.attachments,
        messages.c.content,
    ]
    if any(_names(connection, column, file_id, but=thread_id) for column in elsewhere):
        return False
    held = select(vector_store_files.c.seq).where(
        vector_store_files.c.id == file_id, vector_store_files.c.vector_store_id.not_in(store_ids)
    )
    return connection.scalar(held.limit(1)) is None


def _names(connection: Connection, column: Column[Any], object_id: str, *, but: str) -> bool:
    """Tell whether a row that is not of the thread ``but`` names the object in a JSON column."""
    table = column.table
    owner = table.c.thread_id if table is messages else table.c.id
    named = cast(column, Text).contains(f'"{object_id}"', autoescape=True)
    return connection.scalar(select(table.c.seq).where(named, owner != but).limit(1)) is not None


def _ingestion_ids(connection: Connection, store_ids: Collection[str]) -> set[str]:
    """Return the ids of the workflows that brought files into the stores."""
    single = select(vector_store_files.c.ingestion_id).where(vector_store_files.c.vector_store_id.in_(store_ids))
    batches = select(vector_store_batches.c.id).where(vector_store_batches.c.vector_store_id.in_(store_ids))
    return {*connection.scalars(single), *connection.scalars(batches)}


def _values(found: Any, key: str) -> Iterator[str]:
    """Yield the file ids of all objects that stand under ``key`` anywhere in a JSON value."""
    if isinstance(found, list):
        for each in found:
            yield from _values(each, key)
    elif isinstance(found, dict):
        inner = found.get(key)
        if isinstance(inner, dict) and isinstance(inner.get("file_id"), str):
            yield inner["file_id"]
        for each in found.values():
            yield from _values(each, key)
