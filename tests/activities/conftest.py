"""A server that speaks the Assistants API and fails on demand, and the backend on it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import openai
import pytest

from lockstitch.activities.backends.assistants.api import AssistantsApi
from lockstitch.activities.backends.assistants.backend import AssistantsBackend
from lockstitch.activities.backends.base import Patience
from lockstitch.activities.event_recorder import EventRecorder
from lockstitch.activities.messages import RunRef, RunStop
from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import LoggedEvent
from lockstitch.errors import UpstreamError
from lockstitch.starter.contract import NewMessage, ThreadRunRequest, ToolOutput
from lockstitch.testing.assistants_upstream import (
    AssistantsUpstream,
    Fault,
)
from lockstitch.tests.activities.stories import check_story

TURN = {
    "round": 0,
    "say": "Let me look.",
    "call": [{"name": "find", "arguments": {"n": 1}, "call_id": "call_a"}, {"name": "price", "call_id": "call_b"}],
}
SCRIPT = [TURN, {"round": 1, "say": "It costs nine euros."}]
OUTPUTS = {"call_a": "found", "call_b": "9 euros"}


@dataclass
class SkippedTime:
    """A clock that nobody waits for."""

    now: float = 0.0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@dataclass
class Client:
    """The backend, its server, and what a worker does with them."""

    server: AssistantsUpstream
    backend: AssistantsBackend
    database: Database
    assistant_id: str
    metadata: dict[str, str] = field(default_factory=dict)

    def request(self, **values: Any) -> ThreadRunRequest:
        asked = {"assistant_id": self.assistant_id, "backend": "assistants", **values}
        if "thread_id" not in asked:
            asked["messages"] = [NewMessage(role="user", content="Well?")]
        return ThreadRunRequest(**asked)

    async def create(self, **values: Any) -> RunRef:
        return await self.backend.create("run_1", self.request(**values))

    async def follow(self, run: RunRef, attempt: int = 1, break_after: int | None = None) -> RunStop:
        """Follow a run to its stop, or until it has told ``break_after`` things."""
        async with (
            EventRecorder(self.database, run.run_id, attempt) as recorder,
            aclosing(self.backend.follow(run, 1, attempt, Patience())) as progress,
        ):
            told = 0
            async for happened in progress:
                await recorder.record(happened)
                told += 1
                if told == break_after:
                    return RunStop(run=run, status="in_progress")
        return await self.backend.retrieve(run)

    async def submit(self, run: RunRef, outputs: dict[str, str] | None = None) -> None:
        given = OUTPUTS if outputs is None else outputs
        await self.backend.submit(
            run, [ToolOutput(tool_call_id=call_id, output=text) for call_id, text in given.items()], []
        )

    async def until_accepted(self, step: Callable[[], Any]) -> Any:
        """Do what Temporal does with an activity that failed in a way that may pass."""
        while True:
            try:
                return await step()
            except UpstreamError as error:
                if not error.retryable:
                    raise

    async def carry(self, run: RunRef) -> RunStop:
        """Carry a run through its round to its end."""
        stop = await self.follow(run)
        assert [call.call_id for call in stop.calls] == ["call_a", "call_b"]
        await self.submit(run)
        return await self.follow(run)

    async def events(self, run_id: str = "run_1") -> list[LoggedEvent]:
        events = await self.database.read(lambda connection: event_log.after(connection, run_id, 0))
        check_story(events)
        return events

    async def names(self) -> list[str]:
        return [event.event.removeprefix("thread.") for event in await self.events()]

    def upstream_run(self, **metadata: str) -> dict[str, Any]:
        [run] = self.server.runs(metadata=metadata)
        return run


Connect = Callable[..., AbstractAsyncContextManager[Client]]


@pytest.fixture
def connect(database: Database) -> Connect:
    """Open the backend on a server that follows a script, and to which faults happen."""

    @asynccontextmanager
    async def open_it(
        *faults: Fault,
        script: Sequence[Any] = SCRIPT,
        handled: Sequence[str] = (),
        time: SkippedTime | None = None,
        **options: Any,
    ) -> AsyncIterator[Client]:
        async with AssistantsUpstream(script, poll_after=timedelta(milliseconds=100), **options) as server:
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key=options.get("api_key", "none")) as client:
                assistant = await client.beta.assistants.create(model="test")
            server.inject(*faults)
            skipping = {} if time is None else {"clock": time.clock, "sleep": time.sleep}
            api = AssistantsApi(base_url=server.base_url, api_key=options.get("api_key", ""))
            backend = AssistantsBackend(database, api, handled, **skipping)
            try:
                yield Client(server, backend, database, assistant.id)
            finally:
                await backend.aclose()

    return open_it
