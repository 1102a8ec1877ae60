"""Runs of our own server: threads in the store, turns by the model that this worker has."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Container, Sequence
from contextlib import aclosing
from typing import Any, Literal

from sqlalchemy import Connection

from lockstitch.activities.backends.base import Patience, Progress
from lockstitch.activities.backends.conversation import read_turn
from lockstitch.activities.backends.inline_text import clip
from lockstitch.activities.backends.local_turn import TurnWriter
from lockstitch.activities.backends.made_so_far import MadeSoFar, read_made
from lockstitch.activities.backends.traced import traced_turn
from lockstitch.activities.backends.truncation import fit, prompt_tokens, surely_fits
from lockstitch.activities.messages import CallFailure, RequestedCall, RunRef, RunStop
from lockstitch.assistants import objects, refusals
from lockstitch.assistants.model.context_windows import context_window
from lockstitch.assistants.model.turn import Model, ModelTurn
from lockstitch.assistants.store import assistants, code_sessions, event_log, runs, steps, threads, tool_calls
from lockstitch.assistants.store.answerers import RunHandlers
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import UpstreamError
from lockstitch.starter.contract import (
    OPEN_STATUSES,
    LastError,
    RunStatus,
    ThreadRunRequest,
    ToolOutput,
    Usage,
    new_thread_id,
)

_ANSWER_TOKENS = 4096
"""Room that is kept for an answer of which nobody said how long it may be."""

_DELETED = LastError(code="invalid_request_error", message="The run was deleted with its thread.")


class LocalBackend:
    """Runs in the store. ``handled`` knows the functions for which this worker has handlers."""

    name = "local"

    def __init__(
        self,
        database: Database,
        model: Model,
        handled: Container[str],
        context_tokens: int | None = None,
        *,
        runs_code: bool = False,
    ) -> None:
        """Take turns with ``model``, which takes ``context_tokens`` at once; ``None``: as its name says.

        ``runs_code`` says that there are workers that run code.
        """
        self._database = database
        self._model = model
        self._handled = handled
        self._context_tokens = context_tokens
        self._runs_code = runs_code

    async def create(self, run_id: str, request: ThreadRunRequest) -> RunRef:
        """Create the run and, where the request brings messages, its thread; or find it."""
        run = await self._find(run_id) if request.thread_id else None
        if run is None and request.adopted_run_id is not None:
            raise refusals.no_run(request.adopted_run_id)
        if run is None:
            run = await self._database.write(lambda connection: self._created(connection, run_id, request))
        return _reference(run, request.tenant)

    async def follow(self, run: RunRef, turn: int, attempt: int, patience: Patience) -> AsyncGenerator[Progress, None]:
        """Take model turn number ``turn``, unless it has been taken. Nothing hangs here, so no patience is needed."""
        next_turn = await self._database.read(lambda connection: _next_turn(connection, run.run_id, turn))
        if next_turn is None:
            return
        row, broken, request, made = next_turn
        if time.time() >= row["expires_at"] + 1:  # accepted, and then nobody was there to begin it
            await self._database.write(lambda connection: _end(connection, run, "expired", None))
            return
        request, fits = await self._fitted(row, request)
        taken = {call.call_id for tool_round in request.rounds for call in tool_round.calls}
        handled = RunHandlers(row, self._handled)
        writer = TurnWriter(row, turn, handled=handled, taken=taken, broken=broken, made=made)
        yield writer.begin
        if request.max_completion_tokens == 0 or not fits:
            yield writer.out_of_tokens
            return
        async with aclosing(traced_turn(self._model, request, self.name, attempt)) as events:
            async for event in events:
                for progress in writer.write(event):
                    yield progress

    async def submit(self, run: RunRef, outputs: Sequence[ToolOutput], failures: Sequence[CallFailure]) -> None:
        """Store outputs from outside and the error outputs, and queue the run if nothing is missing."""
        await self._database.write(lambda connection: _submit(connection, run.run_id, outputs, failures))

    async def retrieve(self, run: RunRef) -> RunStop:
        """Tell where the run stands."""
        return await self._database.read(lambda connection: _stop(connection, run, self._handled))

    async def replace(self, run: RunRef, request: ThreadRunRequest, number: int, patience: Patience) -> RunRef:
        """Refuse: the runs here are our own, and none can vanish or hang."""
        raise UpstreamError("A run of the backend 'local' cannot be replaced.", retryable=False)

    async def end(
        self, run: RunRef, status: Literal["cancelled", "failed", "expired"], last_error: LastError | None
    ) -> RunStop:
        """End the run in the store; one that was never created has ended all the same."""
        await self._database.write(lambda connection: _end(connection, run, status, last_error))
        gone = await self._find(run.run_id) is None
        return RunStop(run=run, status=status, last_error=last_error) if gone else await self.retrieve(run)

    async def _fitted(self, run: Row, turn: ModelTurn) -> tuple[ModelTurn, bool]:
        """Return the turn with the messages for which there is room, and whether the run's budget allows it."""
        budget, window = _prompt_budget(run), self._prompt_window(turn)
        most = min((limit for limit in (budget, window) if limit is not None), default=None)
        if most is None or surely_fits(turn, most):
            return turn, True
        if run["truncation_strategy"]["type"] == "auto":
            turn = await asyncio.to_thread(fit, turn, most)
        return turn, budget is None or await asyncio.to_thread(prompt_tokens, turn) <= budget

    def _prompt_window(self, turn: ModelTurn) -> int | None:
        """Return how many tokens the prompt may have so that the model has room for its answer."""
        window = self._context_tokens or context_window(turn.model)
        if window is None:
            return None
        wanted = _ANSWER_TOKENS if turn.max_completion_tokens is None else turn.max_completion_tokens
        return window - min(wanted, window // 4)

    def _created(self, connection: Connection, run_id: str, request: ThreadRunRequest) -> Row:
        if created_meanwhile := runs.find(connection, run_id):  # by an attempt that was taken for dead
            return created_meanwhile
        now, leading_events, thread_id = int(time.time()), [], request.thread_id
        if thread_id is None:
            thread = _add_thread(connection, run_id, request, now)
            thread_id = thread["id"]
            leading_events.append(NewEvent("thread.created", objects.thread(thread)))
        lifetime = math.ceil(request.policy.deadline.total_seconds())
        new = runs.NewRun(run_id, thread_id, request.assistant_id, request, now, lifetime, runs_code=self._runs_code)
        return runs.create(connection, new, leading_events)

    async def _find(self, run_id: str) -> Row | None:
        return await self._database.read(lambda connection: runs.find(connection, run_id))


def _next_turn(connection: Connection, run_id: str, turn: int) -> tuple[Row, list[Row], ModelTurn, MadeSoFar] | None:
    """Return the run, the steps that a broken attempt left open, the turn, and what the run's tools gave so far.

    ``None`` where there is no turn to take.
    """
    row = runs.find(connection, run_id)
    if row is None or row["turns"] >= turn or row["status"] not in ("queued", "in_progress"):
        return None
    run_steps = steps.of_run(connection, run_id)
    broken = [step for step in run_steps if step["status"] == "in_progress"]
    return row, broken, read_turn(connection, row, run_steps), read_made(connection, row, run_steps)


def _end(connection: Connection, run: RunRef, status: RunStatus, last_error: LastError | None) -> None:
    if runs.find(connection, run.run_id) is None:
        # Never created, or deleted with its thread: there is no run to show, but whoever watches must learn the end.
        event_log.close(connection, run.run_id, last_error.message if last_error else _DELETED.message)
        return
    values = {} if last_error is None else {"last_error": _told(last_error)}
    runs.end(connection, run.run_id, status, int(time.time()), **values)


def _told(error: LastError) -> dict[str, str]:
    """Return the error of a run with one of the codes that the API has."""
    known = error.code in ("server_error", "rate_limit_exceeded", "invalid_prompt")
    return {"code": error.code if known else "invalid_prompt", "message": error.message}


def _add_thread(connection: Connection, run_id: str, request: ThreadRunRequest, now: int) -> Row:
    project = assistants.get(connection, request.assistant_id)["project_id"]
    thread = threads.create(connection, {"id": new_thread_id(run_id), "project_id": project}, now)
    for message in request.messages or ():
        threads.add_message(connection, thread["id"], message, now)
    return thread


def _reference(run: Row, tenant: str) -> RunRef:
    return RunRef(
        run_id=run["id"],
        thread_id=run["thread_id"],
        assistant_id=run["assistant_id"],
        upstream_id=run["id"],
        tenant=tenant,
    )


def _prompt_budget(run: Row) -> int | None:
    """Return what is left of the tokens that the prompts of all turns of the run may have."""
    budget: int | None = run["max_prompt_tokens"]
    return None if budget is None else budget - int(run["usage"].get("prompt_tokens", 0))


def _submit(
    connection: Connection, run_id: str, outputs: Sequence[ToolOutput], failures: Sequence[CallFailure]
) -> None:
    event_log.lock(connection, run_id)
    for output in outputs:
        tool_calls.record_output(connection, run_id, output.tool_call_id, output.output, "answered")
    for failure in failures:
        tool_calls.record_output(connection, run_id, failure.call_id, failure.output, failure.outcome)
    runs.resume(connection, run_id, int(time.time()))


def _stop(connection: Connection, run: RunRef, handled: Container[str]) -> RunStop:
    row = runs.find(connection, run.run_id)
    if row is None:
        return RunStop(run=run, status="cancelled", last_error=_DELETED)
    if row["status"] in OPEN_STATUSES:  # what the run wrote is told once, at its end: a history has to stay small
        calls = _open_round(connection, row, RunHandlers(row, handled))
        return RunStop(
            run=_reference(row, run.tenant),
            status=row["status"],
            calls=calls,
            usage=_usage(row["usage"]),
            turns=row["turns"],
        )
    message_ids = threads.message_ids_of_run(connection, run.run_id)
    text = threads.message_text(connection, message_ids[-1]) if message_ids else None
    return RunStop(
        run=_reference(row, run.tenant),
        status=row["status"],
        message_ids=message_ids,
        last_message_text=None if text is None else clip(text),
        last_message_truncated=text is not None and clip(text) != text,
        usage=_usage(row["usage"]),
        last_error=None if row["last_error"] is None else LastError.model_validate(row["last_error"]),
    )


def _open_round(connection: Connection, run: Row, handled: RunHandlers) -> list[RequestedCall]:
    open_steps = [step["id"] for step in steps.open_steps(connection, run["id"]) if step["type"] == "tool_calls"]
    found = tool_calls.of_steps(connection, open_steps)
    calls = [call for step_id in open_steps for call in found[step_id]]
    runs_code = any(call["type"] == "code_interpreter" for call in calls)
    session_queue = code_sessions.queue_of(connection, run["thread_id"]) if runs_code else None
    return [_requested(call, handled, session_queue) for call in calls]


def _requested(call: Row, handled: RunHandlers, session_queue: str | None) -> RequestedCall:
    requested = RequestedCall(call_id=call["call_id"], name=call["name"], outcome=call["outcome"])
    if call["type"] == "function":
        requested.client_answers = handled.is_for_client(call["name"])
    else:
        requested.built_in = call["type"]
    if call["type"] == "code_interpreter":
        requested.session_queue = session_queue
    return requested


def _usage(usage: dict[str, Any]) -> Usage:
    total = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
    return Usage.model_validate({**usage, "total_tokens": total})
