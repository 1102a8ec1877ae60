"""The event log of runs: what happened in which order, for every backend.

Each run's events count from 1 without a gap. The events that tell what the upstream said come from one
writer at a time: who claims the log draws a fence, and every earlier writer is refused from then on.
"""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Integer, bindparam, insert, select, update

from lockstitch.assistants.store import rows
from lockstitch.assistants.store.announcements import announced
from lockstitch.assistants.store.prepared import Prepared, json_text
from lockstitch.assistants.store.schema import run_events, run_logs
from lockstitch.errors import WriterFenced

JsonObject = dict[str, Any]

ERROR = "error"
"""The event that ends a log without a run that has ended."""


class NewEvent(NamedTuple):
    """An event to append: the name of a stream event of the Assistants API, and its object."""

    event: str
    data: JsonObject


class LoggedEvent(NamedTuple):
    """An event of the log; ``data`` is JSON text, and ``recorded_at`` in seconds since 1970 where it is known."""

    seq: int
    event: str
    data: str
    attempt: int
    recorded_at: float | None = None


_THIS_RUN = run_logs.c.run_id == bindparam("run")
_DRAW_FENCE = Prepared(update(run_logs).where(_THIS_RUN).values(fence=run_logs.c.fence + 1).returning(run_logs.c.fence))
_ADVANCE = (
    update(run_logs)
    .where(_THIS_RUN)
    .values(last_seq=run_logs.c.last_seq + bindparam("count", type_=Integer))
    .returning(run_logs.c.last_seq, announced(run_logs.c.run_id))
)
_ADVANCE_ANY = Prepared(_ADVANCE)
_ADVANCE_FENCED = Prepared(_ADVANCE.where(run_logs.c.fence == bindparam("drawn")))
_OPEN = Prepared(
    insert(run_logs).returning(run_logs.c.last_seq, announced(run_logs.c.run_id)), ["run_id", "last_seq", "fence"]
)
_LAST_SEQ = Prepared(select(run_logs.c.last_seq).where(_THIS_RUN))
_AFTER = (
    select(run_events.c.seq, run_events.c.event, run_events.c.data, run_events.c.attempt, run_events.c.recorded_at)
    .where(run_events.c.run_id == bindparam("run"), run_events.c.seq > bindparam("after"))
    .order_by(run_events.c.seq)
    .limit(bindparam("most"))
)


def lock(connection: Connection, run_id: str, *, fence: int | None = None) -> None:
    """Let nobody else change what belongs to the run until the transaction ends; a run without a log has nothing yet.

    Whoever changes more than one row of a run begins with this, and locks the thread before it where it has to, so
    that no two wait for each other. With a ``fence``, those whom `append` would refuse need not begin: raises
    `WriterFenced` then.
    """
    if rows.writes_alone(connection):
        return
    row = rows.locked(connection, run_logs, run_id=run_id)
    if fence is not None and (row is None or row["fence"] != fence):
        raise WriterFenced(run_id)


def claim(connection: Connection, run_id: str) -> int:
    """Take over the run's log and return the fence to append with; raises `WriterFenced` where it was closed."""
    if is_closed(connection, run_id):
        raise WriterFenced(run_id)
    fence = _DRAW_FENCE.value(connection, {"run": run_id})
    if fence is None:
        fence = 1
        rows.put(connection, run_logs, {"run_id": run_id, "last_seq": 0, "fence": fence})
    return int(fence)


def append(
    connection: Connection,
    run_id: str,
    events: Sequence[NewEvent],
    *,
    fence: int | None = None,
    attempt: int = 1,
) -> None:
    """Append ``events`` in order.

    ``fence`` is what `claim` returned; without one, the events do not depend on who speaks to the upstream.
    Raises `WriterFenced` when another writer has claimed the log since.
    """
    advance = _ADVANCE_ANY if fence is None else _ADVANCE_FENCED
    last = advance.value(connection, {"run": run_id, "count": len(events), "drawn": fence})
    if last is None:
        raise WriterFenced(run_id)
    _put(connection, run_id, events, first=last - len(events) + 1, attempt=attempt)


def begin(connection: Connection, run_id: str, events: Sequence[NewEvent]) -> None:
    """Open the log of a new run with its first events."""
    _OPEN.one(connection, {"run_id": run_id, "last_seq": len(events), "fence": 0})
    _put(connection, run_id, events, first=1, attempt=1)


def _put(connection: Connection, run_id: str, events: Sequence[NewEvent], *, first: int, attempt: int) -> None:
    same = {"run_id": run_id, "attempt": attempt, "recorded_at": time.time()}
    entries = [
        same | {"seq": seq, "event": name, "data": json_text(data)} for seq, (name, data) in enumerate(events, first)
    ]
    if entries:
        rows.put(connection, run_events, *entries)


def close(connection: Connection, run_id: str, reason: str) -> None:
    """End the log of a run of which there is nothing to show, with the API's event ``error``; nothing follows it."""
    if not is_closed(connection, run_id):
        error = {"message": reason, "type": "invalid_request_error", "param": None, "code": None}
        append(connection, run_id, [NewEvent(ERROR, {"error": error})], fence=claim(connection, run_id))


def is_closed(connection: Connection, run_id: str) -> bool:
    """Tell whether the log ends with the event ``error``."""
    last = after(connection, run_id, last_seq(connection, run_id) - 1)
    return bool(last) and last[-1].event == ERROR


def after(connection: Connection, run_id: str, seq: int, *, limit: int = 500) -> list[LoggedEvent]:
    """Return up to ``limit`` events that follow number ``seq``, oldest first."""
    found = connection.execute(_AFTER, {"run": run_id, "after": seq, "most": limit})
    return [LoggedEvent(*row) for row in found]


def last_seq(connection: Connection, run_id: str) -> int:
    """Return the number of the run's last event, 0 where there is none."""
    return _LAST_SEQ.value(connection, {"run": run_id}) or 0


def exists(connection: Connection, run_id: str) -> bool:
    """Tell whether the run has a log."""
    return _LAST_SEQ.value(connection, {"run": run_id}) is not None
