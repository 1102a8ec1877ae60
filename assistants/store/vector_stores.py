"""Vector stores. Where a ``project`` is given, only what belongs to it exists.

What a store holds is counted when it is asked for, so that counts are right whoever writes at the same time. Whether it
has expired is told by the clock; what it held goes a little later (`remove_expired`).
"""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, select

from lockstitch.assistants import refusals
from lockstitch.assistants.store import rows
from lockstitch.assistants.store.rows import Page, PageCursor, Row
from lockstitch.assistants.store.schema import vector_store_files, vector_stores
from lockstitch.starter.identifiers import new_hex_id

DAY_SECONDS = 86_400

ACTIVITY_SECONDS = 60
"""A store that was used so lately is not written down as used once more."""

FileCounts = dict[str, int]

_COLUMNS = ("name", "description", "metadata", "expires_after")


def create(connection: Connection, values: Row, now: int) -> Row:
    """Add a store; ``values`` may hold ``project_id``, ``name``, ``description``, ``metadata``, ``expires_after``."""
    given = {name: values[name] for name in _COLUMNS if values.get(name) is not None}
    columns = {"name": None, "description": None, "metadata": {}, "expires_after": None} | given
    row = rows.add_last(
        connection,
        vector_stores,
        columns
        | {
            "id": new_hex_id("vs"),
            "project_id": values["project_id"],
            "created_at": now,
            "last_active_at": now,
            "expires_at": expiry(columns["expires_after"], now),
        },
    )
    return with_counts(connection, [row], now)[0]


def expiry(expires_after: Mapping[str, Any] | None, last_active_at: int) -> int | None:
    """Return when a store expires."""
    return None if expires_after is None else last_active_at + int(expires_after["days"]) * DAY_SECONDS


def is_expired(row: Row, now: int) -> bool:
    """Tell whether the store has expired."""
    return row["expires_at"] is not None and row["expires_at"] <= now


def is_usable(connection: Connection, vector_store_id: str, now: int) -> bool:
    """Tell whether there is such a store that has not expired."""
    row = rows.get(connection, vector_stores, id=vector_store_id)
    return row is not None and not is_expired(row, now)


def find(connection: Connection, vector_store_id: str, *, project: str | None = None) -> Row:
    """Return the store without counts; raises `ApiError` (404)."""
    row = rows.get(connection, vector_stores, id=vector_store_id, **rows.of_project(project))
    if row is None:
        raise refusals.no_vector_store(vector_store_id)
    return row


def get(connection: Connection, vector_store_id: str, now: int, *, project: str | None = None) -> Row:
    """Return the store with ``status``, ``file_counts`` and ``usage_bytes``; raises `ApiError` (404)."""
    return with_counts(connection, [find(connection, vector_store_id, project=project)], now)[0]


def listed(connection: Connection, cursor: PageCursor, now: int, *, project: str) -> Page:
    """Return a page of the project's stores, as `get` returns one."""
    page = rows.page(connection, vector_stores, cursor, [vector_stores.c.project_id == project])
    return Page(with_counts(connection, page.rows, now), page.has_more)


def change(connection: Connection, vector_store_id: str, values: Row, now: int, *, project: str | None = None) -> Row:
    """Write new values into a store and return it; raises `ApiError` (404; 400 for the expiry of an expired one)."""
    before = find(connection, vector_store_id, project=project)
    changed = {name: values[name] for name in _COLUMNS if name in values}
    if "expires_after" in changed:
        if is_expired(before, now):
            raise refusals.vector_store_expired(vector_store_id)
        changed["expires_at"] = expiry(changed["expires_after"], before["last_active_at"])
    if changed:
        rows.overwrite(connection, vector_stores, {"id": vector_store_id}, changed)
    return get(connection, vector_store_id, now, project=project)


def delete_store(connection: Connection, vector_store_id: str, *, project: str | None = None) -> None:
    """Delete the store with all that it holds; the files stay. Raises `ApiError` (404)."""
    if not rows.remove(connection, vector_stores, id=vector_store_id, **rows.of_project(project)):
        raise refusals.no_vector_store(vector_store_id)


def open_for_change(connection: Connection, vector_store_id: str, now: int, *, project: str | None = None) -> Row:
    """Say that the store is being used and return it; whoever else would change what it holds waits until the end.

    Raises `ApiError`: 404, and 400 where it has expired.
    """
    row = find(connection, vector_store_id, project=project)
    if is_expired(row, now):
        raise refusals.vector_store_expired(vector_store_id)
    return _touched(connection, row, now)


def open_for_search(connection: Connection, vector_store_id: str, now: int, *, project: str | None = None) -> bool:
    """Check that the store can be searched, and tell whether that has to be written down (`touch`).

    Raises `ApiError`: 404, and 400 where it has expired.
    """
    row = find(connection, vector_store_id, project=project)
    if is_expired(row, now):
        raise refusals.vector_store_expired(vector_store_id)
    return bool(row["last_active_at"] < now - ACTIVITY_SECONDS)


def touch(connection: Connection, vector_store_id: str, now: int) -> None:
    """Write down that the store was used, which moves its expiry; one that was deleted meanwhile is left alone."""
    row = rows.get(connection, vector_stores, id=vector_store_id)
    if row is not None and not is_expired(row, now):
        _touched(connection, row, now)


def _touched(connection: Connection, row: Row, now: int) -> Row:
    values = {"last_active_at": now, "expires_at": expiry(row["expires_after"], now)}
    changed = rows.change(connection, vector_stores, {"id": row["id"]}, values)
    if changed is None:  # where writers do not take turns, it may have been deleted
        raise refusals.no_vector_store(row["id"])
    return changed


def remove_expired(connection: Connection, now: int, limit: int) -> int:
    """Empty the stores that have expired, so many at most, and return how many had something in them."""
    holding = select(vector_store_files.c.vector_store_id).distinct()
    expired = select(vector_stores.c.id).where(vector_stores.c.expires_at <= now, vector_stores.c.id.in_(holding))
    ids = list(connection.scalars(expired.order_by(vector_stores.c.seq).limit(limit)))
    if ids:
        connection.execute(delete(vector_store_files).where(vector_store_files.c.vector_store_id.in_(ids)))
    return len(ids)


def with_counts(connection: Connection, stores: Collection[Row], now: int) -> list[Row]:
    """Return the stores with what they hold, counted."""
    counts, usage = _held(connection, [row["id"] for row in stores])
    return [
        {
            **row,
            "file_counts": counts[row["id"]],
            "usage_bytes": usage[row["id"]],
            "status": _status(row, counts[row["id"]], now),
        }
        for row in stores
    ]


def _status(row: Row, counts: FileCounts, now: int) -> str:
    if is_expired(row, now):
        return "expired"
    return "in_progress" if counts["in_progress"] else "completed"


def _held(connection: Connection, ids: Collection[str]) -> tuple[dict[str, FileCounts], dict[str, int]]:
    counts, usage = {store_id: no_files() for store_id in ids}, dict.fromkeys(ids, 0)
    columns = vector_store_files.c
    query = (
        select(columns.vector_store_id, columns.status, func.count(), func.sum(columns.usage_bytes))
        .where(columns.vector_store_id.in_(ids))
        .group_by(columns.vector_store_id, columns.status)
    )
    for store_id, status, count, size in connection.execute(query) if ids else ():
        counts[store_id][status] = count
        counts[store_id]["total"] += count
        usage[store_id] += int(size)
    return counts, usage


def no_files() -> FileCounts:
    """Return the counts of something that holds no files."""
    return dict.fromkeys(("in_progress", "completed", "failed", "cancelled", "total"), 0)
