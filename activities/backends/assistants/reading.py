"""Reads runs of an Assistants server, cancels them, and tells what is new of them."""

import time
from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection

from lockstitch.activities.backends.assistants import rounds, story_log
from lockstitch.activities.backends.assistants.api import AssistantsApi, PolledRun
from lockstitch.activities.backends.assistants.rounds import PendingCall
from lockstitch.activities.backends.assistants.story import Story
from lockstitch.activities.messages import RunRef
from lockstitch.activities.upstream_errors import refusal
from lockstitch.assistants import objects
from lockstitch.assistants.store import tool_calls
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import UpstreamError, UpstreamRunBroken

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RoundCall:
    """A call of the round at which a run has stopped, and what the store knows of it."""

    pending: PendingCall
    row: Row


@dataclass(frozen=True, slots=True)
class RunReader:
    """What all parts of the backend need: the server, the store, and the time.

    ``handled`` knows the functions that have a handler here. ``clock`` tells seconds that only grow, ``sleep`` waits
    for some.
    """

    api: AssistantsApi
    database: Database
    handled: Container[str]
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]

    def now(self) -> int:
        """Return the time as objects have it."""
        return int(time.time())

    async def story(self, run: RunRef) -> Story:
        """Return what watchers of the run were told."""
        return await self.database.read(lambda connection: story_log.read_story(connection, run, self.handled))

    async def tell(self, run: RunRef, news: Callable[[Story], Sequence[NewEvent]]) -> Story:
        """Tell what is new and return the whole story."""
        return await self.database.write(
            lambda connection: story_log.tell(connection, run, self.handled, news), long=True
        )

    async def read(self, run: RunRef) -> PolledRun:
        """Read the run; raises `UpstreamRunBroken` where there is none any more."""
        try:
            return await self.api.run(run.thread_id, run.upstream_id)
        except UpstreamError as error:
            if error.status == 404:
                raise UpstreamRunBroken(run.upstream_id, "vanished.") from error
            raise

    async def parts(
        self, run: RunRef, wants_messages: Callable[[Sequence[JsonObject]], bool] = lambda _steps: True
    ) -> tuple[list[JsonObject], list[JsonObject]]:
        """Read the run's steps and, where these say so, its messages; what has vanished with the run has none."""
        try:
            steps = await self.api.steps(run.thread_id, run.upstream_id)
            messages = await self.api.messages(run.thread_id, run.upstream_id) if wants_messages(steps) else []
        except UpstreamError as error:
            if error.status == 404:
                return [], []
            raise
        return steps, messages

    async def round(self, run: RunRef, upstream_run: JsonObject) -> list[RoundCall]:
        """Return the calls for which the run asks outputs; from now on they are in the store.

        Raises `UpstreamError` for a run that asks for something else.
        """
        if not rounds.requested_calls(upstream_run):
            asked = (upstream_run.get("required_action") or {}).get("type")
            raise UpstreamError(
                f"The run {run.upstream_id} upstream asks for an action of the kind {asked!r}, and only tool outputs "
                "can be given; create its assistant with function tools only.",
                retryable=False,
            )
        newest = await self.api.newest_step(run.thread_id, run.upstream_id)
        step_id = rounds.round_step_id(upstream_run, [newest] if newest else [])
        if step_id is None:
            steps = await self.api.steps(run.thread_id, run.upstream_id)
            step_id = rounds.round_step_id(upstream_run, steps) or ""
        return await self.database.write(lambda connection: _record(connection, run, step_id, upstream_run))

    async def cancel(self, run: RunRef) -> None:
        """Ask the server to cancel the run; one that has ended or vanished is left as it is."""
        try:
            await self.api.cancel(run.thread_id, run.upstream_id)
        except UpstreamError as error:
            if error.status != 404 and refusal(error) != "not_cancellable":
                raise

    async def end(self, run: RunRef, within: timedelta) -> JsonObject | None:
        """End the run and return it as it is ``within`` this time; ``None`` where it vanished."""
        began = self.clock()
        try:
            polled = await self.read(run)
            if polled.run["status"] not in objects.ENDED:
                await self.cancel(run)
                polled = await self.read(run)
            while polled.run["status"] not in objects.ENDED and self.clock() - began < within.total_seconds():
                await self.sleep(polled.poll_after.total_seconds())
                polled = await self.read(run)
        except UpstreamRunBroken:
            return None
        return polled.run


def _record(connection: Connection, run: RunRef, step_id: str, upstream_run: JsonObject) -> list[RoundCall]:
    names = story_log.read_names(connection, run)
    calls = rounds.pending_calls(upstream_run, step_id, names)
    rounds.record_round(connection, run, step_id, calls)
    rows = [tool_calls.get(connection, run.run_id, call.call_id) for call in calls]
    return [RoundCall(call, row) for call, row in zip(calls, rows, strict=True) if row is not None]
