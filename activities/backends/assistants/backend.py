"""Runs of another server that speaks the Assistants API: Azure, a gateway, one that you host, or one of ours.

The API has no keys for requests that may be repeated and no way to take up a stream again. So a run is marked in its
metadata and found by it, outputs are sent only after the run was read, and what a stream did not tell is read.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Literal
from weakref import WeakValueDictionary

from sqlalchemy import Connection

from lockstitch.activities.backends.assistants import bodies
from lockstitch.activities.backends.assistants.api import AssistantsApi, EventStream, JsonObject
from lockstitch.activities.backends.assistants.creation import RunCreator
from lockstitch.activities.backends.assistants.following import RunFollower
from lockstitch.activities.backends.assistants.reading import RoundCall, RunReader
from lockstitch.activities.backends.assistants.stop import ended_stop
from lockstitch.activities.backends.assistants.story import ENDED_BY_ITSELF, Story
from lockstitch.activities.backends.base import Patience, Progress
from lockstitch.activities.backends.patience import SignsOfLife
from lockstitch.activities.messages import CallFailure, RequestedCall, RunRef, RunStop
from lockstitch.activities.upstream_errors import refusal
from lockstitch.assistants.store import event_log, tool_calls, upstream_runs
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.errors import UpstreamError
from lockstitch.starter.contract import LastError, RunStatus, ThreadRunRequest, ToolOutput

ENDING_WITHIN = timedelta(seconds=5)
"""How long `AssistantsBackend.end` waits for the server to end a run that was cancelled."""


class AssistantsBackend:
    """Runs of an Assistants server. ``handled`` knows the functions for which this worker has handlers.

    ``clock`` tells seconds that only grow and ``sleep`` waits for some, so that a test need not.
    """

    name = "assistants"

    def __init__(
        self,
        database: Database,
        api: AssistantsApi,
        handled: Container[str],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._api = api
        self._reader = RunReader(api, database, handled, clock, sleep)
        self._creator = RunCreator(self._reader)
        self._handled = handled
        self._clock = clock
        # The answer to what `create`, `submit` and `replace` sent, for the `follow` that comes next.
        self._streams: dict[str, EventStream] = {}
        self._creating: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def __repr__(self) -> str:
        return f"AssistantsBackend({self._api!r}, open_streams={len(self._streams)})"

    async def aclose(self) -> None:
        """Close the connections; may be called twice."""
        for run_id in list(self._streams):
            await self._drop_stream(run_id)
        await self._api.aclose()

    async def create(self, run_id: str, request: ThreadRunRequest) -> RunRef:
        """Create the run and, where the request brings messages, its thread; or find it, or take it over."""
        async with self._creating.setdefault(run_id, asyncio.Lock()):
            run, stream = await self._creator.create(run_id, request)
            await self._keep_stream(run_id, stream)
            return run

    async def follow(self, run: RunRef, turn: int, attempt: int, patience: Patience) -> AsyncGenerator[Progress, None]:
        """Follow the run to its next stop. The server counts no turns: where the run stands says what is to be told."""
        stream = self._streams.pop(run.run_id, None)
        story = await self._reader.story(run)
        if story.has_ended:
            if stream is not None:
                await stream.aclose()
            return
        follower = RunFollower(self._reader, run, story, SignsOfLife(patience, self._clock))
        async with aclosing(follower.follow(stream)) as progress:
            async for happened in progress:
                yield happened

    async def submit(self, run: RunRef, outputs: Sequence[ToolOutput], failures: Sequence[CallFailure]) -> None:
        """Store outputs from outside and the error outputs, and give the run those of its round, if it waits for them.

        Raises `UpstreamRunBroken` where the run vanished.
        """
        await self._drop_stream(run.run_id)
        await self._database.write(lambda connection: _store_outputs(connection, run.run_id, outputs, failures))
        given = await self._outputs_to_give(run)
        if not given:
            return
        try:
            _, stream = await self._api.submit(run.thread_id, run.upstream_id, given)
        except UpstreamError as error:
            if refusal(error) != "outputs_not_accepted" or await self._outputs_to_give(run) == given:
                raise
            return
        await self._keep_stream(run.run_id, stream)

    async def retrieve(self, run: RunRef) -> RunStop:
        """Tell where the run stands; raises `UpstreamRunBroken` where it vanished."""
        story = await self._reader.story(run)
        if not story.has_ended:
            upstream_run = (await self._reader.read(run)).run
            if upstream_run["status"] not in (*ENDED_BY_ITSELF, "cancelled"):
                return await self._open_stop(run, upstream_run)
            story = await self._tell_all(run, upstream_run)  # whoever watches must learn the end
        return ended_stop(run, story)

    async def replace(self, run: RunRef, request: ThreadRunRequest, number: int, patience: Patience) -> RunRef:
        """End the run upstream and create another on its thread, or find it.

        A run that has ended by itself meanwhile is returned as it is: there is nothing left to replace.
        """
        made = run.model_copy(update={"upstream_id": "", "replacement": number})
        body = bodies.new_run(run.run_id, number, request)
        known = await self._database.read(lambda connection: upstream_runs.find(connection, run.run_id, number))
        if known is not None and (found := await self._creator.find(made)) is not None:
            return found
        ended = await self._reader.end(run, patience.cancelling)
        if ended is not None and ended["status"] in ENDED_BY_ITSELF:
            return run
        await self._reader.tell(run, lambda story: story.abandon(self._reader.now()))
        await self._database.write(
            lambda connection: upstream_runs.intend(connection, run.run_id, number, run.thread_id)
        )
        created, stream = await self._creator.create_on_thread(made, body)
        await self._keep_stream(run.run_id, stream)
        return created

    async def stranded_runs(self, thread_id: str, grace: timedelta) -> Sequence[str]:
        """Return the ids of the thread's runs that have waited for outputs for longer than ``grace``, but for ours."""
        before = self._reader.now() - grace.total_seconds()
        return [
            str(run["id"])
            for run in await self._api.newest_runs(thread_id)
            if run["status"] == "requires_action"
            and (run.get("started_at") or run["created_at"]) < before
            and not bodies.is_of_lockstitch(run)
        ]

    async def end(
        self, run: RunRef, status: Literal["cancelled", "failed", "expired"], last_error: LastError | None
    ) -> RunStop:
        """End the run upstream and here; one that was never created has ended all the same.

        Watchers are told even where the server is out of reach; then this raises, so that it is tried again.
        """
        await self._drop_stream(run.run_id)
        try:
            known = await self._carried(run)
        except UpstreamError:
            await self._close(run, status, last_error)
            raise
        if known is None:
            return await self._close(run, status, last_error)
        if await self._database.read(lambda connection: event_log.is_closed(connection, run.run_id)):
            # An attempt that could not find out whether there is a run told watchers that it ended; nothing follows.
            await self._reader.end(known, ENDING_WITHIN)
            return RunStop(run=known, status=status, last_error=last_error)
        upstream_run: JsonObject | None = None
        parts: tuple[list[JsonObject], list[JsonObject]] = ([], [])

        async def tell() -> Story:
            now = self._reader.now()
            return await self._reader.tell(
                known, lambda story: _ending(story, status, last_error, upstream_run, parts, now)
            )

        try:
            upstream_run = await self._reader.end(known, ENDING_WITHIN)
            if upstream_run is not None and not (await self._reader.story(known)).has_ended:
                parts = await self._reader.parts(known)
        except UpstreamError:
            await tell()
            raise
        story = await tell()
        return ended_stop(known, story) if story.run_object else await self._close(known, status, last_error)

    async def _keep_stream(self, run_id: str, stream: EventStream | None) -> None:
        await self._drop_stream(run_id)
        if stream is not None:
            self._streams[run_id] = stream

    async def _drop_stream(self, run_id: str) -> None:
        if (stream := self._streams.pop(run_id, None)) is not None:
            await stream.aclose()

    async def _outputs_to_give(self, run: RunRef) -> list[JsonObject]:
        """Return the outputs for which the run waits, all of them; none where it waits for none or one is missing."""
        upstream_run = (await self._reader.read(run)).run
        if upstream_run["status"] != "requires_action":
            return []
        calls = await self._reader.round(run, upstream_run)
        if any(call.row["output"] is None for call in calls):
            return []
        return [{"tool_call_id": call.pending.upstream_id, "output": call.row["output"]} for call in calls]

    async def _open_stop(self, run: RunRef, upstream_run: JsonObject) -> RunStop:
        status = upstream_run["status"]
        if status == "expired":
            return RunStop(run=run, status=status, broken=f"The run {run.upstream_id} expired upstream.")
        if status != "requires_action":
            return RunStop(run=run, status=status)
        calls = [_requested(call) for call in await self._reader.round(run, upstream_run)]
        # While handlers work, there is nothing that anybody outside could do.
        asks = any(call.name not in self._handled for call in calls)
        return RunStop(run=run, status="requires_action" if asks else "in_progress", calls=calls)

    async def _tell_all(self, run: RunRef, upstream_run: JsonObject) -> Story:
        """Tell everything of a run that has ended."""
        steps, messages = await self._reader.parts(run)
        now = self._reader.now()
        return await self._reader.tell(
            run, lambda story: [*story.catch_up(upstream_run, steps, messages), *story.stop(upstream_run, now)]
        )

    async def _carried(self, run: RunRef) -> RunRef | None:
        """Return the run with what carries it upstream now, whether or not whoever asks knows; ``None`` for nothing."""
        row = await self._database.read(lambda connection: upstream_runs.latest(connection, run.run_id))
        if row is not None:
            newest = run.model_copy(
                update={"thread_id": row["thread_id"], "upstream_id": "", "replacement": row["number"]}
            )
            if (found := await self._creator.find(newest)) is not None:
                return found
        return run if run.upstream_id else None

    async def _close(self, run: RunRef, status: RunStatus, last_error: LastError | None) -> RunStop:
        """Tell watchers of a run of which there is nothing to show that it has ended."""
        reason = last_error.message if last_error else f"The run ended as {status} before it was created."
        await self._database.write(lambda connection: event_log.close(connection, run.run_id, reason))
        return RunStop(run=run, status=status, last_error=last_error)


def _store_outputs(
    connection: Connection, run_id: str, outputs: Sequence[ToolOutput], failures: Sequence[CallFailure]
) -> None:
    for output in outputs:
        tool_calls.record_output(connection, run_id, output.tool_call_id, output.output, "answered")
    for failure in failures:
        tool_calls.record_output(connection, run_id, failure.call_id, failure.output, failure.outcome)


def _requested(call: RoundCall) -> RequestedCall:
    return RequestedCall(call_id=call.pending.call_id, name=call.pending.name, outcome=call.row["outcome"])


def _ending(
    story: Story,
    status: RunStatus,
    last_error: LastError | None,
    upstream_run: JsonObject | None,
    parts: tuple[list[JsonObject], list[JsonObject]],
    now: int,
) -> list[NewEvent]:
    """Return what tells the end of a run, as it ended by itself or else as ``status`` says."""
    events = [] if upstream_run is None else story.catch_up(upstream_run, *parts)
    if upstream_run is not None and upstream_run["status"] in ENDED_BY_ITSELF:
        return [*events, *story.stop(upstream_run, now)]
    return [*events, *story.end(status, last_error, now)]
