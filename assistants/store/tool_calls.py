"""The tool calls of runs and what became of each. An output is written once and never changed."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, insert, select

from lockstitch.assistants.store import rows
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import tool_calls


def add(connection: Connection, calls: Sequence[Row]) -> None:
    """Record the calls of a step, which have no output yet."""
    connection.execute(insert(tool_calls), [dict(call) for call in calls])


def get(connection: Connection, run_id: str, call_id: str) -> Row | None:
    """Return one call."""
    return rows.get(connection, tool_calls, *_is(run_id, call_id))


def begin_attempt(connection: Connection, run_id: str, call_id: str) -> Row | None:
    """Count one more attempt of a handler and return the call; a call that has an output is left as it is."""
    values = {"attempts": tool_calls.c.attempts + 1}
    begun = rows.change(connection, tool_calls, [*_is(run_id, call_id), tool_calls.c.output.is_(None)], values)
    return begun or get(connection, run_id, call_id)


def record_output(
    connection: Connection,
    run_id: str,
    call_id: str,
    output: str,
    outcome: str,
    duration: timedelta = timedelta(0),
) -> bool:
    """Write the call's output; ``False`` where it already has one, which then stays."""
    values = {"output": output, "outcome": outcome, "duration_ms": round(duration.total_seconds() * 1000)}
    where = [*_is(run_id, call_id), tool_calls.c.output.is_(None)]
    return rows.change(connection, tool_calls, where, values) is not None


def of_steps(connection: Connection, step_ids: Collection[str]) -> Mapping[str, list[Row]]:
    """Return the calls of each of the steps, in the order in which the model made them."""
    found: dict[str, list[Row]] = {step_id: [] for step_id in step_ids}
    if found:
        query = select(tool_calls).where(tool_calls.c.step_id.in_(step_ids)).order_by(tool_calls.c.position)
        for call in rows.find(connection, query):
            found[call["step_id"]].append(call)
    return found


def unanswered(connection: Connection, run_id: str) -> list[str]:
    """Return the ids of the run's calls that have no output."""
    query = select(tool_calls.c.call_id).where(tool_calls.c.run_id == run_id, tool_calls.c.output.is_(None))
    return list(connection.scalars(query.order_by(tool_calls.c.position)))


def _is(run_id: str, call_id: str) -> tuple[Any, Any]:
    return tool_calls.c.run_id == run_id, tool_calls.c.call_id == call_id
