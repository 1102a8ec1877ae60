"""Follows a run of an Assistants server to its next stop: by its stream while there is one, else by reading it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta

from sqlalchemy import Connection

from lockstitch.activities.backends.assistants import rounds
from lockstitch.activities.backends.assistants.api import EventStream, JsonObject, StreamEvent
from lockstitch.activities.backends.assistants.reading import RunReader
from lockstitch.activities.backends.assistants.story import STOPS, Story
from lockstitch.activities.backends.base import Progress
from lockstitch.activities.backends.patience import SignsOfLife
from lockstitch.activities.messages import RunRef
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.errors import UpstreamError, UpstreamRunBroken

LOOK_AFTER = timedelta(seconds=15)
"""A stream on which nothing comes for so long may be dead: the run is read to see whether it goes on."""


class RunFollower:
    """Follows one run. The story is what watchers know; each progress adds to it when it is yielded."""

    def __init__(self, reader: RunReader, run: RunRef, story: Story, life: SignsOfLife) -> None:
        self._reader = reader
        self._run = run
        self._story = story
        self._life = life
        self._has_stopped = False

    async def follow(self, stream: EventStream | None) -> AsyncGenerator[Progress, None]:
        """Yield what is new until the run has stopped; raises `UpstreamRunBroken` where it hangs or vanished."""
        if stream is not None:
            try:
                async for progress in self._hear(stream):
                    yield progress
            finally:
                await stream.aclose()
        while not self._has_stopped:
            async for progress in self._look():
                yield progress

    # --- by its stream

    async def _hear(self, stream: EventStream) -> AsyncGenerator[Progress, None]:
        """Yield what the stream tells; without a stop where it ends before the run has, or leaves something out."""
        status = "queued"
        while (heard := await self._next(stream, status)) is not None:
            if stopped := _stopped(heard):
                if not self._story.lacks(stopped):
                    yield self._stop(stopped)
                return
            status = _status(heard) or status
            events = self._story.hear(heard.event, heard.data)
            self._life.saw(status, self._story.told)
            if events:
                yield _telling(events)

    async def _next(self, stream: EventStream, status: str) -> StreamEvent | None:
        """Return the next event; ``None`` where none will come, or the run has gone on without the stream."""
        receiving = asyncio.ensure_future(stream.next())
        try:
            while True:
                wait = min(LOOK_AFTER, max(self._life.left(status), timedelta(0)))
                if await self._comes_within(receiving, wait):
                    return receiving.result()
                upstream_run = (await self._reader.read(self._run)).run
                if upstream_run["status"] in STOPS:
                    return None
                status = upstream_run["status"]
                self._life.saw(status, self._story.told)
                if self._life.left(status) <= timedelta(0):
                    return None
        except UpstreamError:
            return None
        finally:
            receiving.cancel()
            # Waiting for it, not awaiting it: when this activity is cancelled meanwhile, that must not get lost.
            await asyncio.wait((receiving,))
            if not receiving.cancelled():
                receiving.exception()  # has been dealt with, or comes too late

    async def _comes_within(self, receiving: "asyncio.Future[StreamEvent | None]", wait: timedelta) -> bool:
        sleeping = asyncio.ensure_future(self._reader.sleep(wait.total_seconds()))
        try:
            await asyncio.wait((receiving, sleeping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
        return receiving.done()

    # --- by reading it

    async def _look(self) -> AsyncGenerator[Progress, None]:
        """Read the run, yield what is new, and wait until it is worth while to read it again."""
        polled = await self._reader.read(self._run)
        status = polled.run["status"]
        steps, messages = await self._parts(status)
        if events := self._story.catch_up(polled.run, steps, messages):
            yield _telling(events)
        if status in STOPS:
            yield self._stop(polled.run)
            return
        self._life.saw(status, self._story.told)
        left = self._life.left(status)
        if left > timedelta(0):
            await self._reader.sleep(min(polled.poll_after, left).total_seconds())
        elif status == "cancelling":  # whoever cancelled it will not wait longer
            yield self._stop({**polled.run, "status": "cancelled", "cancelled_at": self._reader.now()})
        else:
            raise UpstreamRunBroken(self._run.upstream_id, self._life.problem(status))

    async def _parts(self, status: str) -> tuple[list[JsonObject], list[JsonObject]]:
        """Read what may be new in a run with this status."""
        if status in STOPS:
            return await self._reader.parts(self._run)
        if status != "in_progress":
            return [], []
        return await self._reader.parts(self._run, self._story.awaits_message)

    # --- its stop

    def _stop(self, upstream_run: JsonObject) -> Progress:
        """Take note that the run has stopped, and write down what it asks for."""
        self._has_stopped = True
        step_id = self._story.round_step_id(upstream_run) or ""
        calls = self._story.calls(upstream_run, step_id)
        events = self._story.stop(upstream_run, self._reader.now())

        def record(connection: Connection) -> Sequence[NewEvent]:
            rounds.record_round(connection, self._run, step_id, calls)
            return events

        return record


def _telling(events: list[NewEvent]) -> Progress:
    return lambda _connection: events


def _status(heard: StreamEvent) -> str | None:
    return heard.data.get("status") if heard.is_about_the_run else None


def _stopped(heard: StreamEvent) -> JsonObject | None:
    """Return the run where the event says that it has stopped."""
    return heard.data if _status(heard) in STOPS else None
