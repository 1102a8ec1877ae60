"""The tool calls of runs and what became of each. An output is written once and never changed."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import Connection, bindparam, select, update

from lockstitch.assistants.store import rows
from lockstitch.assistants.store.prepared import Prepared
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import tool_calls

_BEGIN_ATTEMPT = Prepared(
    update(tool_calls)
    .where(
        tool_calls.c.run_id == bindparam("run"),
        tool_calls.c.call_id == bindparam("call"),
        tool_calls.c.output.is_(None),
    )
    .values(attempts=tool_calls.c.attempts + 1)
    .returning(tool_calls)
)
_UNANSWERED = Prepared(
    select(tool_calls.c.call_id)
    .where(tool_calls.c.run_id == bindparam("run"), tool_calls.c.output.is_(None))
    .order_by(tool_calls.c.position)
)


def add(connection: Connection, calls: Sequence[Row]) -> None:
    """Record the calls of a step, which have no output yet."""
    rows.put(connection, tool_calls, *calls)


def get(connection: Connection, run_id: str, call_id: str) -> Row | None:
    """Return one call."""
    return rows.get(connection, tool_calls, run_id=run_id, call_id=call_id)


def begin_attempt(connection: Connection, run_id: str, call_id: str) -> Row | None:
    """Count one more attempt of a handler and return the call; a call that has an output is left as it is."""
    return _BEGIN_ATTEMPT.one(connection, {"run": run_id, "call": call_id}) or get(connection, run_id, call_id)


def record_output(
    connection: Connection,
    run_id: str,
    call_id: str,
    output: str,
    outcome: str,
    duration: timedelta = timedelta(0),
) -> bool:
    """Write the call's output; ``False`` where it already has one, which then stays."""
    return settle(connection, run_id, call_id, output, outcome, duration) is not None


def settle(
    connection: Connection,
    run_id: str,
    call_id: str,
    output: str,
    outcome: str,
    duration: timedelta = timedelta(0),
) -> Row | None:
    """Do what `record_output` does and return the call; ``None`` where it already has an output."""
    values = {"output": output, "outcome": outcome, "duration_ms": round(duration.total_seconds() * 1000)}
    return rows.change(connection, tool_calls, {"run_id": run_id, "call_id": call_id, "output": None}, values)


def of_steps(connection: Connection, step_ids: Collection[str]) -> Mapping[str, list[Row]]:
    """Return the calls of each of the steps, in the order in which the model made them."""
    found: dict[str, list[Row]] = {step_id: [] for step_id in step_ids}
    if found:
        for call in rows.find(connection, tool_calls, "position", step_id=frozenset(step_ids)):
            found[call["step_id"]].append(call)
    return found


def unanswered(connection: Connection, run_id: str) -> list[str]:
    """Return the ids of the run's calls that have no output."""
    return [call["call_id"] for call in _UNANSWERED.all(connection, {"run": run_id})]
