"""What the calls of all built-in tools have in common: one attempt, one output, told as it is written."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection
from temporalio.exceptions import ApplicationError

from lockstitch import telemetry
from lockstitch.activities.messages import ToolCallDone, UseBuiltInTool
from lockstitch.activities.tool_calls import done
from lockstitch.assistants.store import event_log, runs, tool_calls
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.rows import Row
from lockstitch.starter.contract import ToolOutcome


@dataclass(frozen=True, slots=True)
class BegunCall:
    """A call that is being carried out, and the run that made it."""

    call: Row
    run: Row
    began: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class BuiltInResult:
    """What a call came to: ``output`` for the model, ``shown`` for clients.

    ``write`` writes what belongs to it, and ``deltas`` are what watchers of the run are told before the step ends.
    """

    output: str
    shown: Mapping[str, Any]
    outcome: ToolOutcome = "succeeded"
    deltas: tuple[Mapping[str, Any], ...] = ()
    write: Callable[[Connection], None] | None = None


async def begin(database: Database, call: UseBuiltInTool) -> BegunCall | ToolCallDone:
    """Begin one more attempt of a call; what an earlier one recorded stands."""
    run_id, call_id = call.run.run_id, call.call_id

    def read(connection: Connection) -> tuple[Row | None, Row | None]:
        return tool_calls.begin_attempt(connection, run_id, call_id), runs.find(connection, run_id)

    row, run = await database.write(read)
    if row is None or run is None:
        raise ApplicationError(f"The run has no tool call {call_id!r}.", type="server_error", non_retryable=True)
    return done(row) if row["output"] is not None else BegunCall(row, run)


async def finish(database: Database, begun: BegunCall, result: BuiltInResult) -> ToolCallDone:
    """Record what the call came to, all of it or nothing, and return what the workflow is told."""
    duration = timedelta(seconds=time.monotonic() - begun.began)
    run_id, call_id = begun.run["id"], begun.call["call_id"]

    def write(connection: Connection) -> Row:
        event_log.lock(connection, run_id)
        settled = tool_calls.settle(
            connection, run_id, call_id, result.output, result.outcome, duration, dict(result.shown)
        )
        if settled is None:  # by an attempt that was taken for dead
            known = tool_calls.get(connection, run_id, call_id)
            assert known is not None  # noqa: S101 - calls are never deleted
            return known
        if result.write is not None:
            result.write(connection)
        if result.deltas and runs.find_status(connection, run_id) in _WATCHED:
            told = [NewEvent("thread.run.step.delta", dict(delta)) for delta in result.deltas]
            event_log.append(connection, run_id, told)
        return settled

    telemetry.tool_call_ended(begun.call["name"], result.outcome, duration)
    return done(await database.write(write, long=True))


_WATCHED = ("queued", "in_progress", "requires_action")
