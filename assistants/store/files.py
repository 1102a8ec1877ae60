"""Uploaded files: what is known of them, and their bytes in chunks."""

from collections.abc import Callable, Iterator

from sqlalchemy import Connection, insert, select

from lockstitch.assistants import refusals
from lockstitch.assistants.store import rows
from lockstitch.assistants.store.rows import Page, PageCursor, Row
from lockstitch.assistants.store.schema import file_chunks, files

CHUNK_BYTES = 1024 * 1024


def create(connection: Connection, values: Row, chunks: Callable[[], Iterator[bytes]]) -> Row:
    """Add a file with its content; ``chunks`` begins it anew, in pieces of at most `CHUNK_BYTES`."""
    row = rows.add(connection, files, {"status": "processed", "expires_at": None} | dict(values))
    for position, data in enumerate(chunks()):
        connection.execute(insert(file_chunks).values(file_id=row["id"], position=position, data=data))
    return rows.move_last(connection, files, row)


def get(connection: Connection, file_id: str) -> Row:
    """Return what is known of the file; raises `ApiError` (404)."""
    row = rows.get(connection, files, id=file_id)
    if row is None:
        raise refusals.no_file(file_id)
    return row


def chunk(connection: Connection, file_id: str, position: int) -> bytes | None:
    """Return chunk number ``position`` of the file's bytes, ``None`` behind the last."""
    where = (file_chunks.c.file_id == file_id, file_chunks.c.position == position)
    return connection.scalar(select(file_chunks.c.data).where(*where))


def content(connection: Connection, file_id: str) -> bytes:
    """Return the whole content; raises `ApiError` (404)."""
    get(connection, file_id)
    query = select(file_chunks.c.data).where(file_chunks.c.file_id == file_id).order_by(file_chunks.c.position)
    return b"".join(connection.scalars(query))


def listed(connection: Connection, cursor: PageCursor, purpose: str | None = None) -> Page:
    """Return a page of the files, of one purpose only where it is given."""
    return rows.page(connection, files, cursor, [] if purpose is None else [files.c.purpose == purpose])


def delete(connection: Connection, file_id: str) -> None:
    """Delete the file and its content; raises `ApiError` (404)."""
    if not rows.remove(connection, files, id=file_id):
        raise refusals.no_file(file_id)
