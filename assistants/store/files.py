"""Uploaded files: what is known of them, and their bytes in chunks.

Where a ``project`` is given, only what belongs to it exists.
"""

import time
from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, Connection, Table, Text, cast, insert, or_, select

from lockstitch.assistants import refusals
from lockstitch.assistants.store import rows
from lockstitch.assistants.store.rows import Page, PageCursor, Row
from lockstitch.assistants.store.schema import assistants, file_chunks, files, threads

CHUNK_BYTES = 1024 * 1024

AT_ONCE = 20
"""So many expired files make room for a new one, at most; housekeeping removes the rest."""


def create(connection: Connection, values: Row, chunks: Iterable[bytes]) -> Row:
    """Add a file with its content, which comes in pieces of at most `CHUNK_BYTES`, whole each time it is asked for.

    Files that have expired make room for it.
    """
    remove_expired(connection, int(time.time()), AT_ONCE)
    row = rows.add(connection, files, {"status": "processed", "expires_at": None} | dict(values))
    for position, data in enumerate(chunks):
        connection.execute(insert(file_chunks).values(file_id=row["id"], position=position, data=data))
    return rows.move_last(connection, files, row)


def find(connection: Connection, file_id: str, *, project: str | None = None) -> Row | None:
    """Return what is known of the file, ``None`` where there is none, or none any more."""
    row = rows.get(connection, files, id=file_id, **rows.of_project(project))
    expired = row is not None and row["expires_at"] is not None and row["expires_at"] <= int(time.time())
    return None if expired else row


def get(connection: Connection, file_id: str, *, project: str | None = None) -> Row:
    """Return what is known of the file; raises `ApiError` (404), also where it has expired."""
    row = find(connection, file_id, project=project)
    if row is None:
        raise refusals.no_file(file_id)
    return row


def check(connection: Connection, file_ids: Iterable[str], *, project: str) -> None:
    """Raise `ApiError` (404) unless all the files exist."""
    for file_id in dict.fromkeys(file_ids):
        get(connection, file_id, project=project)


def existing(connection: Connection, file_ids: Collection[str]) -> set[str]:
    """Return those of the files that are still there."""
    if not file_ids:
        return set()
    return set(connection.scalars(select(files.c.id).where(files.c.id.in_(file_ids), _has_not_expired())))


def chunk(connection: Connection, file_id: str, position: int) -> bytes | None:
    """Return chunk number ``position`` of the file's bytes, ``None`` behind the last."""
    where = (file_chunks.c.file_id == file_id, file_chunks.c.position == position)
    return connection.scalar(select(file_chunks.c.data).where(*where))


def content(connection: Connection, file_id: str, *, project: str | None = None) -> bytes:
    """Return the whole content; raises `ApiError` (404)."""
    get(connection, file_id, project=project)
    query = select(file_chunks.c.data).where(file_chunks.c.file_id == file_id).order_by(file_chunks.c.position)
    return b"".join(connection.scalars(query))


def listed(connection: Connection, cursor: PageCursor, purpose: str | None = None, *, project: str) -> Page:
    """Return a page of the project's files, of one purpose only where it is given."""
    only = [_has_not_expired()]
    if purpose is not None:
        only.append(files.c.purpose == purpose)
    return rows.page(connection, files, cursor, [files.c.project_id == project], only)


def delete(connection: Connection, file_id: str, *, project: str | None = None) -> None:
    """Delete the file and its content, and take it out of all vector stores and lists; raises `ApiError` (404)."""
    get(connection, file_id, project=project)
    if not remove(connection, file_id):
        raise refusals.no_file(file_id)


def remove_expired(connection: Connection, now: int, limit: int) -> int:
    """Delete files that have expired, so many at most, and return how many there were."""
    expired = select(files.c.id).where(files.c.expires_at <= now).order_by(files.c.expires_at).limit(limit)
    ids = list(connection.scalars(expired))
    for file_id in ids:
        remove(connection, file_id)
    return len(ids)


def remove(connection: Connection, file_id: str) -> bool:
    """Do what `delete` does and tell whether there was such a file."""
    for table in (assistants, threads):
        _take_out_of_lists(connection, table, file_id)
    return rows.remove(connection, files, id=file_id)


def _take_out_of_lists(connection: Connection, table: Table, file_id: str) -> None:
    """Take a file out of what the code interpreter of assistants or threads may read."""
    named = cast(table.c.tool_resources, Text).contains(file_id, autoescape=True)
    for row in rows.fetch(connection, select(table.c.id, table.c.tool_resources).where(named)):
        resources = row["tool_resources"]
        listed = resources.get("code_interpreter", {}).get("file_ids", [])
        left = {"file_ids": [each for each in listed if each != file_id]}
        rows.overwrite(connection, table, {"id": row["id"]}, {"tool_resources": resources | {"code_interpreter": left}})


def _has_not_expired() -> ColumnElement[bool]:
    return or_(files.c.expires_at.is_(None), files.c.expires_at > int(time.time()))
