"""The files of vector stores: how they get in, what became of them, and batches of them.

Who adds files writes them down as ``in_progress`` together with the command that starts their ingestion. The ingestion
asks for one file after the other (`begin_next`), and what it makes of a file counts only while that is still wanted:
a file that was cancelled, taken out or added anew meanwhile is left as it is.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Integer, column, func, select, update, values
from sqlalchemy.exc import IntegrityError

from lockstitch.assistants import refusals
from lockstitch.assistants.store import commands, files, rows, vector_stores
from lockstitch.assistants.store.rows import Page, PageCursor, Row
from lockstitch.assistants.store.schema import files as uploaded
from lockstitch.assistants.store.schema import vector_store_batches, vector_store_chunks, vector_store_files
from lockstitch.assistants.store.vector_stores import FileCounts
from lockstitch.starter.identifiers import new_hex_id, new_id
from lockstitch.starter.ingestion import Ingestion

MAX_FILES = 10_000
"""So many files may a store hold."""

MAX_ATTEMPTS = 3
"""A file under which the ingestion died so often is not tried again: it may be what kills the worker."""

DEFAULT_CHUNKING = {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}

_GAVE_UP = {
    "code": "server_error",
    "message": f"The file could not be processed: {MAX_ATTEMPTS} attempts did not come to an end.",
}


@dataclass(frozen=True, slots=True)
class AddedFile:
    """A file to add to a store."""

    file_id: str
    chunking_strategy: Mapping[str, Any] = field(default_factory=lambda: DEFAULT_CHUNKING)
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file's text that begins at the character ``start``, and its words as they are compared."""

    start: int
    text: str
    words: Sequence[str]


def add(
    connection: Connection,
    vector_store_id: str,
    added: Collection[AddedFile],
    now: int,
    *,
    project: str | None = None,
    ingestion_id: str | None = None,
) -> None:
    """Add files to a store, and write down the command that has them ingested; one that is there is ingested anew.

    Raises `ApiError`: 404 for a store or a file that does not exist, 400 where the store has expired or gets too full.
    """
    store = vector_stores.open_for_change(connection, vector_store_id, now, project=project)
    wanted = {each.file_id: each for each in added}
    for file_id in wanted:
        files.get(connection, file_id, project=store["project_id"])
        rows.remove(connection, vector_store_files, vector_store_id=vector_store_id, id=file_id)
    if _total(connection, vector_store_id) + len(wanted) > MAX_FILES:
        raise refusals.vector_store_full(vector_store_id, MAX_FILES)
    ingestion = Ingestion(
        ingestion_id=ingestion_id or new_id("ingestion"), vector_store_id=vector_store_id, files=len(wanted)
    )
    new = [_new_file(ingestion, each, now) for each in wanted.values()]
    try:
        rows.put(connection, vector_store_files, *new)
    except IntegrityError as error:  # where writers do not take turns, a file may have been deleted meanwhile
        raise refusals.no_file(next(iter(wanted))) from error
    commands.add(connection, ingestion.ingestion_id, "ingest", ingestion.model_dump(mode="json"))


def _total(connection: Connection, vector_store_id: str) -> int:
    mine = vector_store_files.c.vector_store_id == vector_store_id
    return connection.scalar(select(func.count()).select_from(vector_store_files).where(mine)) or 0


def _new_file(ingestion: Ingestion, added: AddedFile, now: int) -> dict[str, Any]:
    return {
        "id": added.file_id,
        "vector_store_id": ingestion.vector_store_id,
        "ingestion_id": ingestion.ingestion_id,
        "created_at": now,
        "status": "in_progress",
        "last_error": None,
        "chunking_strategy": dict(added.chunking_strategy),
        "attributes": dict(added.attributes),
        "attempts": 0,
        "usage_bytes": 0,
        "chunk_count": 0,
        "word_count": 0,
        "embedder": None,
    }


def get(connection: Connection, vector_store_id: str, file_id: str, *, project: str | None = None) -> Row:
    """Return a file of the store; raises `ApiError` (404)."""
    vector_stores.find(connection, vector_store_id, project=project)
    row = rows.get(connection, vector_store_files, vector_store_id=vector_store_id, id=file_id)
    if row is None:
        raise refusals.no_vector_store_file(file_id, vector_store_id)
    return row


def holds(connection: Connection, vector_store_id: str, file_id: str) -> bool:
    """Tell whether the file is in the store, whatever became of it there."""
    return rows.get(connection, vector_store_files, vector_store_id=vector_store_id, id=file_id) is not None


def listed(
    connection: Connection, vector_store_id: str, cursor: PageCursor, status: str | None, *, project: str | None = None
) -> Page:
    """Return a page of the store's files, of one status only where it is given; raises `ApiError` (404)."""
    vector_stores.find(connection, vector_store_id, project=project)
    of = [vector_store_files.c.vector_store_id == vector_store_id]
    return rows.page(connection, vector_store_files, cursor, of, _of_status(status))


def _of_status(status: str | None) -> list[ColumnElement[bool]]:
    return [] if status is None else [vector_store_files.c.status == status]


def set_attributes(
    connection: Connection, vector_store_id: str, file_id: str, attributes: Row, *, project: str | None = None
) -> Row:
    """Replace the attributes of a file and return it; raises `ApiError` (404)."""
    row = get(connection, vector_store_id, file_id, project=project)
    return rows.change(connection, vector_store_files, {"seq": row["seq"]}, {"attributes": attributes}) or row


def remove(connection: Connection, vector_store_id: str, file_id: str, *, project: str | None = None) -> None:
    """Take a file out of the store; the file itself stays. Raises `ApiError` (404)."""
    row = get(connection, vector_store_id, file_id, project=project)
    rows.remove(connection, vector_store_files, seq=row["seq"])


def text_of(connection: Connection, vector_store_id: str, file_id: str, *, project: str | None = None) -> str:
    """Return the text of a file of a store; empty until its ingestion is through. Raises `ApiError` (404)."""
    file = get(connection, vector_store_id, file_id, project=project)
    whole, end = [], 0
    for chunk in rows.find(connection, vector_store_chunks, "position", file_seq=file["seq"]):
        whole.append(chunk["text"][max(end - chunk["start"], 0) :])
        end = max(end, chunk["start"] + len(chunk["text"]))
    return "".join(whole)


# Only files that are ``completed`` have chunks.


def attributes_of(connection: Connection, vector_store_id: str) -> list[tuple[int, Row]]:
    """Return the number and the attributes of each file of the store that can be searched."""
    columns = vector_store_files.c
    query = select(columns.seq, columns.attributes)
    query = query.where(columns.vector_store_id == vector_store_id, columns.status == "completed")
    return [(seq, attributes) for seq, attributes in connection.execute(query)]


def size_of_text(connection: Connection, vector_store_id: str) -> tuple[int, int]:
    """Return how many chunks the store has, and how many words they have together."""
    columns = vector_store_files.c
    query = select(func.sum(columns.chunk_count), func.sum(columns.word_count))
    chunks, words = connection.execute(query.where(columns.vector_store_id == vector_store_id)).one()
    return int(chunks or 0), int(words or 0)


def chunks_at(connection: Connection, places: Collection[tuple[int, int]]) -> list[Row]:
    """Return chunks by the number of their file and their position in it."""
    if not places:
        return []
    chunks = vector_store_chunks.c
    # A join: SQLite has no use for its index where pairs of columns are looked for in a list.
    wanted = values(column("file_seq", BigInteger), column("position", Integer)).data(list(places)).cte("wanted")
    same = (chunks.file_seq == wanted.c.file_seq) & (chunks.position == wanted.c.position)
    query = select(chunks.seq, chunks.file_seq, chunks.position, chunks.text, chunks.words)
    return rows.fetch(connection, query.select_from(wanted.join(vector_store_chunks, same)))


def by_seq(connection: Connection, seqs: Collection[int]) -> dict[int, Row]:
    """Return files of stores by their numbers: ``seq``, ``id``, ``filename`` and ``attributes``."""
    columns = vector_store_files.c
    query = select(columns.seq, columns.id, columns.attributes, uploaded.c.filename)
    query = query.join_from(vector_store_files, uploaded, uploaded.c.id == columns.id).where(columns.seq.in_(seqs))
    return {row["seq"]: row for row in rows.fetch(connection, query)} if seqs else {}


# Batches


def add_batch(
    connection: Connection,
    vector_store_id: str,
    added: Collection[AddedFile],
    now: int,
    *,
    project: str | None = None,
) -> Row:
    """Add files as one batch and return it, as `batch` does; raises what `add` raises."""
    vector_stores.open_for_change(connection, vector_store_id, now, project=project)
    values = {
        "id": new_hex_id("vsfb"),
        "vector_store_id": vector_store_id,
        "created_at": now,
        "cancelled_at": None,
    }
    row = rows.add(connection, vector_store_batches, values)
    add(connection, vector_store_id, added, now, project=project, ingestion_id=row["id"])
    return _with_counts(connection, row)


def batch(connection: Connection, vector_store_id: str, batch_id: str, *, project: str | None = None) -> Row:
    """Return a batch with its ``status`` and ``file_counts``; raises `ApiError` (404)."""
    vector_stores.find(connection, vector_store_id, project=project)
    row = rows.get(connection, vector_store_batches, id=batch_id, vector_store_id=vector_store_id)
    if row is None:
        raise refusals.no_file_batch(batch_id, vector_store_id)
    return _with_counts(connection, row)


def batch_files(
    connection: Connection,
    vector_store_id: str,
    batch_id: str,
    cursor: PageCursor,
    status: str | None,
    *,
    project: str | None = None,
) -> Page:
    """Return a page of the batch's files, of one status only where it is given; raises `ApiError` (404)."""
    batch(connection, vector_store_id, batch_id, project=project)
    of = [vector_store_files.c.ingestion_id == batch_id]
    return rows.page(connection, vector_store_files, cursor, of, _of_status(status))


def cancel_batch(
    connection: Connection, vector_store_id: str, batch_id: str, now: int, *, project: str | None = None
) -> Row:
    """Cancel the files of the batch that are not done, and return the batch.

    Cancelling again changes nothing. Raises `ApiError`: 404, and 400 where all files are done.
    """
    row = batch(connection, vector_store_id, batch_id, project=project)
    if row["status"] == "cancelled":
        return row
    if row["status"] != "in_progress":
        raise refusals.batch_not_cancellable(row["status"])
    waiting = (vector_store_files.c.ingestion_id == batch_id, vector_store_files.c.status == "in_progress")
    connection.execute(update(vector_store_files).where(*waiting).values(status="cancelled"))
    rows.overwrite(connection, vector_store_batches, {"id": batch_id}, {"cancelled_at": now})
    return batch(connection, vector_store_id, batch_id)


def _with_counts(connection: Connection, row: Row) -> Row:
    counts = _batch_counts(connection, row["id"])
    done = "completed" if row["cancelled_at"] is None else "cancelled"
    return {**row, "file_counts": counts, "status": "in_progress" if counts["in_progress"] else done}


def _batch_counts(connection: Connection, batch_id: str) -> FileCounts:
    counts = vector_stores.no_files()
    status = vector_store_files.c.status
    query = select(status, func.count()).where(vector_store_files.c.ingestion_id == batch_id).group_by(status)
    for name, count in connection.execute(query):
        counts[name] = count
        counts["total"] += count
    return counts


# Ingestion


def begin_next(connection: Connection, ingestion_id: str, lane: int, lanes: int) -> Row | None:
    """Begin an attempt at the next file that waits in a lane; ``None`` where none does.

    Lanes share the files of an ingestion out among themselves by their number, so no two get the same one. A file
    whose attempts are used up is given up.
    """
    columns = vector_store_files.c
    waiting = (columns.ingestion_id == ingestion_id, columns.status == "in_progress", columns.seq % lanes == lane)
    query = select(vector_store_files).where(*waiting).order_by(columns.seq).limit(1)
    while found := rows.fetch(connection, query):
        [file] = found
        if file["attempts"] < MAX_ATTEMPTS:
            return _change_waiting(connection, file, {"attempts": file["attempts"] + 1})
        fail(connection, file, _GAVE_UP)
    return None


def complete(connection: Connection, file: Row, chunks: Sequence[Chunk], embedder: str | None = None) -> bool:
    """Put a file's text into its store; ``False`` where it is not wanted any more, and nothing is stored.

    ``embedder`` made the vectors of the chunks, which belong to the same transaction (`VectorIndex.put`).
    """
    values = {
        "status": "completed",
        "embedder": embedder,
        "usage_bytes": sum(len(chunk.text.encode()) for chunk in chunks),
        "chunk_count": len(chunks),
        "word_count": sum(len(chunk.words) for chunk in chunks),
    }
    if _change_waiting(connection, file, values) is None:
        return False
    rows.put(connection, vector_store_chunks, *_chunk_rows(file, chunks))
    return True


def _chunk_rows(file: Row, chunks: Sequence[Chunk]) -> Iterator[Row]:
    for position, chunk in enumerate(chunks):
        yield {
            "vector_store_id": file["vector_store_id"],
            "file_seq": file["seq"],
            "position": position,
            "start": chunk.start,
            "text": chunk.text,
            "words": " ".join(chunk.words),
        }


def put_back(connection: Connection, file: Row) -> None:
    """Take an attempt back that failed for a reason which has nothing to do with the file."""
    _change_waiting(connection, file, {"attempts": max(file["attempts"] - 1, 0)})


def fail(connection: Connection, file: Row, last_error: Row) -> bool:
    """Say why a file is not in its store; ``False`` where it is not wanted any more."""
    return _change_waiting(connection, file, {"status": "failed", "last_error": last_error}) is not None


def _change_waiting(connection: Connection, file: Row, values: Row) -> Row | None:
    # SQLite gives a free number away again, so the number alone may mean a file that was added later.
    where = {"seq": file["seq"], "ingestion_id": file["ingestion_id"], "status": "in_progress"}
    return rows.change(connection, vector_store_files, where, values)


def next_outdated(connection: Connection, embedder: str, after: int) -> Row | None:
    """Return the next completed file, by its number, whose vectors another embedder made, or nobody."""
    columns = vector_store_files.c
    outdated = (columns.status == "completed", columns.embedder.is_distinct_from(embedder), columns.seq > after)
    found = rows.fetch(connection, select(vector_store_files).where(*outdated).order_by(columns.seq).limit(1))
    return found[0] if found else None


def texts_of_chunks(connection: Connection, file: Row) -> list[str]:
    """Return the text of each chunk of a file, in their order."""
    return [chunk["text"] for chunk in rows.find(connection, vector_store_chunks, "position", file_seq=file["seq"])]


def embedded(connection: Connection, file: Row, embedder: str) -> bool:
    """Say who made the vectors of a completed file; ``False`` where it is not there any more."""
    where = {"seq": file["seq"], "ingestion_id": file["ingestion_id"], "status": "completed"}
    return rows.change(connection, vector_store_files, where, {"embedder": embedder}) is not None


def count_in_progress(connection: Connection) -> int:
    """Return how many files of all vector stores wait for their ingestion or are in it."""
    return connection.scalar(select(func.count()).where(vector_store_files.c.status == "in_progress")) or 0


def stranded(connection: Connection, before: int, limit: int) -> list[Ingestion]:
    """Return ingestions with files that wait since a time, so many at most: somebody may have ended their workflows."""
    columns = vector_store_files.c
    query = (
        select(columns.ingestion_id, columns.vector_store_id, func.count().label("files"))
        .where(columns.status == "in_progress", columns.created_at < before)
        .group_by(columns.ingestion_id, columns.vector_store_id)
        .limit(limit)
    )
    return [Ingestion(**row) for row in rows.fetch(connection, query)]
