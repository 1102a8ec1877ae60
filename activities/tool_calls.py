"""Call one registered handler; turn its result, or what was wrong with the call, into a tool output."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection
from temporalio import activity
from temporalio.exceptions import ApplicationError

from lockstitch import telemetry, tracing
from lockstitch.activities.heartbeats import heartbeats
from lockstitch.activities.messages import OUTCOME_UNKNOWN, CallTool, ToolCallDone
from lockstitch.assistants.store import tool_calls
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import ArgumentsInvalid
from lockstitch.starter.contract import ToolOutcome
from lockstitch.tools import Tool, ToolContext, ToolRegistry

T = TypeVar("T")

LONGEST_MESSAGE = 4096
"""Characters of an error's message that are told."""


class ToolActivities:
    """One activity for each registered tool, named ``tool.<name>``."""

    def __init__(self, database: Database, tools: ToolRegistry) -> None:
        self._database = database
        self._tools = tools

    def activities(self) -> list[Callable[..., Any]]:
        """Return the activities, to be given to a worker."""
        return [self._activity(self._tools[name]) for name in self._tools]

    def _activity(self, tool: Tool) -> Callable[..., Any]:
        @activity.defn(name=f"tool.{tool.name}")
        async def call_tool(call: CallTool) -> ToolCallDone:
            ids = {"run_id": call.run.run_id, "thread_id": call.run.thread_id, "call_id": call.call_id}
            with telemetry.log_context(**ids), heartbeats():
                return await self._call(tool, call)

        return call_tool

    async def _call(self, tool: Tool, call: CallTool) -> ToolCallDone:
        run_id, call_id = call.run.run_id, call.call_id
        row = await self._database.write(lambda connection: tool_calls.begin_attempt(connection, run_id, call_id))
        if row is None:
            raise ApplicationError(f"The run has no tool call {call_id!r}.", type="server_error", non_retryable=True)
        if row["output"] is not None:  # an earlier attempt got as far as recording it
            return done(row)
        began = time.monotonic()
        outcome: ToolOutcome = "succeeded"
        try:
            known = await self._reconciled(tool, call, row)
            output = await self._run(tool, call, row, tool.call) if known is None else known
        except ArgumentsInvalid as error:
            output, outcome = f"Error: {error}", "invalid_arguments"
        except _OutcomeUnknown as unknown:
            raise _unknown(tool, str(unknown), row["attempts"]) from unknown
        except Exception as error:
            raise await self._failure(tool, call, error, row["attempts"], began) from error
        duration = timedelta(seconds=time.monotonic() - began)
        telemetry.tool_call_ended(tool.name, outcome, duration)
        recorded = await self._database.write(
            lambda connection: _record(connection, run_id, call_id, output, outcome, duration)
        )
        return done(recorded)

    async def _reconciled(self, tool: Tool, call: CallTool, row: Row) -> str | None:
        """Return the output of an earlier attempt that took effect and did not tell; ``None`` to call the handler."""
        decided = call.despite_unknown_outcome and activity.info().attempt == 1  # later attempts were not decided about
        if tool.policy.retry_safe or decided or not tool_calls.earlier_outcome_is_unknown(row):
            return None
        if tool.reconcile is None:
            raise _OutcomeUnknown("its worker died or its time ran out, so it may or may not have taken effect")
        try:
            output = await self._run(tool, call, row, tool.reconcile_call)
        except Exception as error:
            raise _OutcomeUnknown(f"and reconcile could not tell: {_said(error)}") from error
        telemetry.log.info("tool_call_reconciled", tool=tool.name, attempt=row["attempts"], done=output is not None)
        return output

    async def _run(self, tool: Tool, call: CallTool, row: Row, function: Callable[..., Awaitable[T]]) -> T:
        context = ToolContext(
            run_id=call.run.run_id,
            thread_id=call.run.thread_id,
            assistant_id=call.run.assistant_id,
            call_id=call.call_id,
            tool=tool.name,
            tenant=call.run.tenant,
            original_call_id=row["repeats"],
            attempt=row["attempts"],
            deadline=datetime.now(UTC) + tool.policy.timeout,
            heartbeat=activity.heartbeat,
            log=telemetry.log.bind(tool=tool.name, attempt=row["attempts"]),
        )
        limit = asyncio.timeout(tool.policy.timeout.total_seconds())
        try:
            async with limit:
                with tracing.span(f"execute_tool {tool.name}", _told_of_call(call, tool, row)):
                    return await function(row["arguments"], context)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise _OutOfTime(f"it did not finish within {tool.policy.timeout.total_seconds():g} s") from error

    async def _failure(
        self, tool: Tool, call: CallTool, error: Exception, attempts: int, began: float
    ) -> ApplicationError:
        """Take note of how the attempt ended and return what tells Temporal whether to try again."""
        said = _said(error)
        used_up = attempts - call.earlier_attempts >= tool.policy.max_attempts
        if isinstance(error, _OutOfTime) and not tool.policy.retry_safe:
            # What was given up may still take effect: the next attempt asks reconcile, or a person is asked.
            if used_up or tool.reconcile is None:
                return _unknown(tool, str(error), attempts)
        else:
            await self._database.write(
                lambda connection: tool_calls.end_attempt(connection, call.run.run_id, call.call_id, attempts)
            )
        final = isinstance(error, tool.non_retryable) or used_up
        duration = timedelta(seconds=time.monotonic() - began)
        telemetry.tool_call_ended(tool.name, "failed" if final else "retried", duration)
        telemetry.log.warning("tool_call_failed", tool=tool.name, attempt=attempts, final=final, error=said)
        return ApplicationError(said, attempts, type=said.partition(":")[0], non_retryable=final)


class _OutcomeUnknown(Exception):
    """Nobody knows whether an earlier attempt took effect; the message ends the sentence that says so."""


class _OutOfTime(TimeoutError):
    """The handler did not finish within its timeout."""


def _unknown(tool: Tool, why: str, attempts: int) -> ApplicationError:
    telemetry.tool_call_ended(tool.name, OUTCOME_UNKNOWN, timedelta(0))
    telemetry.log.warning("tool_call_outcome_unknown", tool=tool.name, attempt=attempts, error=why)
    said = _sayable(f"The outcome of {tool.name!r} is unknown: {why}.")
    return ApplicationError(said, attempts, type=OUTCOME_UNKNOWN, non_retryable=True)


def _said(error: Exception) -> str:
    kind = "TimeoutError" if isinstance(error, _OutOfTime) else type(error).__name__
    return _sayable(f"{kind}: {error}" if str(error) else kind)


def _sayable(text: str) -> str:
    """Return what Temporal and the store can carry of a message: not too much, and no half of a character."""
    clipped = text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}..."
    return clipped.encode(errors="replace").decode()


def _record(
    connection: Connection, run_id: str, call_id: str, output: str, outcome: ToolOutcome, duration: timedelta
) -> Row:
    """Write the output unless there is one, and return the call with the one that stays."""
    settled = tool_calls.settle(connection, run_id, call_id, output, outcome, duration)
    row = settled or tool_calls.get(connection, run_id, call_id)
    assert row is not None  # noqa: S101 - its attempt was counted, and calls are never deleted
    return row


def _told_of_call(call: CallTool, tool: Tool, row: Row) -> dict[str, tracing.Value]:
    """Return what a span says of a call, in the names of OpenTelemetry's conventions for generative AI."""
    return {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool.name,
        "gen_ai.tool.call.id": call.call_id,
        "gen_ai.tool.type": "function",
        "lockstitch.run.id": call.run.run_id,
        "lockstitch.thread.id": call.run.thread_id,
        "lockstitch.attempt": row["attempts"],
    }


def done(row: Row) -> ToolCallDone:
    """Return what the workflow is told of a call that has an output."""
    return ToolCallDone(
        call_id=row["call_id"],
        outcome=row["outcome"],
        attempts=row["attempts"],
        duration=timedelta(milliseconds=row["duration_ms"]),
        error=row["output"] if row["outcome"] == "invalid_arguments" else None,
    )
