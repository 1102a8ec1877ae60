"""Which runs upstream carry a run: written down before they are created, so that they can be found again."""

from sqlalchemy import Connection, bindparam, select

from lockstitch.assistants.store import rows
from lockstitch.assistants.store.prepared import Prepared
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import upstream_runs

_LATEST = Prepared(
    select(upstream_runs)
    .where(upstream_runs.c.run_id == bindparam("run"))
    .order_by(upstream_runs.c.number.desc())
    .limit(1)
)


def find(connection: Connection, run_id: str, number: int) -> Row | None:
    """Return the run upstream that carries the run first (0) or as its replacement ``number``.

    Its ``upstream_id`` is ``None`` where nobody knows yet whether it was created.
    """
    return rows.get(connection, upstream_runs, run_id=run_id, number=number)


def latest(connection: Connection, run_id: str) -> Row | None:
    """Return the run upstream that carries the run now."""
    return _LATEST.one(connection, {"run": run_id})


def intend(connection: Connection, run_id: str, number: int, thread_id: str) -> Row:
    """Take note that a run will be created on the thread; where one was intended before, that stands."""
    known = find(connection, run_id, number)
    if known is not None:
        return known
    values = {"run_id": run_id, "number": number, "thread_id": thread_id, "upstream_id": None}
    return rows.add(connection, upstream_runs, values)


def created(connection: Connection, run_id: str, number: int, upstream_id: str) -> str:
    """Take note of the id of the run that was created; returns the one that stands, which is the first."""
    where = {"run_id": run_id, "number": number, "upstream_id": None}
    if rows.overwrite(connection, upstream_runs, where, {"upstream_id": upstream_id}):
        return upstream_id
    known = find(connection, run_id, number)
    assert known is not None  # noqa: S101 - it was intended before it was created
    return str(known["upstream_id"])
