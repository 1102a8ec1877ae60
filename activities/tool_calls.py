"""Call one registered handler; turn its result, or what was wrong with the call, into a tool output."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection
from temporalio import activity
from temporalio.exceptions import ApplicationError

from lockstitch import telemetry
from lockstitch.activities.heartbeats import heartbeats
from lockstitch.activities.messages import CallTool, ToolCallDone
from lockstitch.assistants.store import tool_calls
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import ArgumentsInvalid
from lockstitch.starter.contract import ToolOutcome
from lockstitch.tools import Tool, ToolContext, ToolRegistry

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
            with telemetry.log_context(run_id=call.run.run_id, thread_id=call.run.thread_id, call_id=call.call_id):
                async with heartbeats():
                    return await self._call(tool, call)

        return call_tool

    async def _call(self, tool: Tool, call: CallTool) -> ToolCallDone:
        run_id, call_id = call.run.run_id, call.call_id
        row = await self._database.write(lambda connection: tool_calls.begin_attempt(connection, run_id, call_id))
        if row is None:
            raise ApplicationError(f"The run has no tool call {call_id!r}.", type="server_error", non_retryable=True)
        if row["output"] is not None:  # an earlier attempt got as far as recording it
            return _done(row)
        began = time.monotonic()
        outcome: ToolOutcome = "succeeded"
        try:
            output = await self._run_handler(tool, call, row)
        except ArgumentsInvalid as error:
            output, outcome = f"Error: {error}", "invalid_arguments"
        except Exception as error:
            raise self._failure(tool, error, row["attempts"], began) from error
        duration = timedelta(seconds=time.monotonic() - began)
        telemetry.tool_call_ended(tool.name, outcome, duration)
        recorded = await self._database.write(
            lambda connection: _record(connection, run_id, call_id, output, outcome, duration)
        )
        return _done(recorded)

    async def _run_handler(self, tool: Tool, call: CallTool, row: Row) -> str:
        context = ToolContext(
            run_id=call.run.run_id,
            thread_id=call.run.thread_id,
            assistant_id=call.run.assistant_id,
            call_id=call.call_id,
            tool=tool.name,
            tenant=call.run.tenant,
            attempt=row["attempts"],
            deadline=datetime.now(UTC) + tool.policy.timeout,
            heartbeat=activity.heartbeat,
            log=telemetry.log.bind(tool=tool.name, attempt=row["attempts"]),
        )
        limit = asyncio.timeout(tool.policy.timeout.total_seconds())
        try:
            async with limit:
                return await tool.call(row["arguments"], context)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeoutError(f"it did not finish within {tool.policy.timeout.total_seconds():g} s") from error

    def _failure(self, tool: Tool, error: Exception, attempts: int, began: float) -> ApplicationError:
        said = _sayable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
        final = isinstance(error, tool.non_retryable) or attempts >= tool.policy.max_attempts
        duration = timedelta(seconds=time.monotonic() - began)
        telemetry.tool_call_ended(tool.name, "failed" if final else "retried", duration)
        telemetry.log.warning("tool_call_failed", tool=tool.name, attempt=attempts, final=final, error=said)
        return ApplicationError(said, attempts, type=type(error).__name__, non_retryable=final)


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


def _done(row: Row) -> ToolCallDone:
    return ToolCallDone(
        call_id=row["call_id"],
        outcome=row["outcome"],
        attempts=row["attempts"],
        duration=timedelta(milliseconds=row["duration_ms"]),
        error=row["output"] if row["outcome"] == "invalid_arguments" else None,
    )
