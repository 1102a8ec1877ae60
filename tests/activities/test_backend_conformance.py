"""What every backend promises, whatever runs behind it: another backend is one more factory in `BACKENDS`.

A factory gets what the model says, as a script of the scripted model, the names of functions with handlers, and how
the upstream fails at first. Every backend of ours gets a run of its own, whether the upstream is the model, a scripted
server, or a server and a worker of this project.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import openai
import pytest
from temporalio.client import Client

from lockstitch.activities.backends.assistants.api import AssistantsApi
from lockstitch.activities.backends.assistants.backend import AssistantsBackend
from lockstitch.activities.backends.base import Backend, Patience
from lockstitch.activities.backends.local import LocalBackend
from lockstitch.activities.event_recorder import EventRecorder
from lockstitch.activities.messages import CallFailure, RunRef, RunStop
from lockstitch.activities.upstream_errors import translate
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.store import assistants, event_log, tool_calls
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import LoggedEvent
from lockstitch.config import Config
from lockstitch.errors import ApiError, UpstreamError, UpstreamRunBroken
from lockstitch.starter.contract import OPEN_STATUSES, LastError, NewMessage, ThreadRunRequest, ToolOutput
from lockstitch.starter.identifiers import new_id
from lockstitch.testing.assistants_upstream import AssistantsUpstream, FailRequest
from lockstitch.tests.activities.own_server import own_server_on
from lockstitch.tests.activities.stories import ENDINGS, check_story
from lockstitch.tools import ToolRegistry
from lockstitch.worker import build_workers

ANSWER = {"say": "One two three four.", "usage": {"prompt_tokens": 11, "completion_tokens": 5}}
CALLS = {
    "round": 0,
    "say": "Let me look.",
    "call": [{"name": "find", "arguments": {"n": 1}, "call_id": "call_a"}, {"name": "price", "call_id": "call_b"}],
}
ROUND = [CALLS, {"round": 1, **ANSWER}]


@dataclass
class Upstream:
    """A backend, and what a worker does with it."""

    backend: Backend
    database: Database
    assistant_id: str
    runs: list[RunRef] = field(default_factory=list)

    def request(self, **values: Any) -> ThreadRunRequest:
        """Ask something on a new thread."""
        messages = [NewMessage(role="user", content="Well?")]
        return ThreadRunRequest(assistant_id=self.assistant_id, messages=messages, **values)

    async def create(self, **values: Any) -> RunRef:
        """Create a run."""
        return await self.backend.create(new_id("run"), self.request(**values))

    async def follow(self, run: RunRef, turn: int = 1, attempt: int = 1, break_after: int | None = None) -> RunStop:
        """Follow a turn to its end, or until it has told ``break_after`` things, and record what it told."""
        async with (
            EventRecorder(self.database, run.run_id, attempt) as recorder,
            aclosing(self.backend.follow(run, turn, attempt, Patience())) as progress,
        ):
            told = 0
            async for happened in progress:
                await recorder.record(happened)
                told += 1
                if told == break_after:
                    break
        return await self.backend.retrieve(run)

    async def submit(self, run: RunRef, **outputs: str) -> None:
        """Give outputs to the calls that have these ids."""
        given = [ToolOutput(tool_call_id=call_id, output=output) for call_id, output in outputs.items()]
        await self.backend.submit(run, given, [])

    async def events(self, run: RunRef) -> list[LoggedEvent]:
        """Return what watchers were told, which is checked to make sense."""
        events = await self.database.read(lambda connection: event_log.after(connection, run.run_id, 0))
        check_story(events)
        return events

    async def names(self, run: RunRef) -> list[str]:
        """Return the names of the events but for deltas."""
        names = [event.event.removeprefix("thread.") for event in await self.events(run)]
        return [name for name in names if not name.endswith("delta")]


def standing_messages(events: Sequence[LoggedEvent]) -> list[str]:
    """Return the ids of the messages that a watcher holds for completed in the end."""
    last_word = {json.loads(event.data)["id"]: event.event for event in events}
    return [owner for owner, event in last_word.items() if event == "thread.message.completed"]


BackendFactory = Callable[..., AbstractAsyncContextManager[Upstream]]


@dataclass
class Setting:
    """What a test asks of a backend, and where it runs."""

    database: Database
    temporal: Client
    script: list[Any]
    handled: Collection[str]
    failing: dict[str, Any] | None


def assistant_columns() -> dict[str, Any]:
    return {"model": "test", "tools": [], "tool_resources": {}, "metadata": {}}


@asynccontextmanager
async def local(setting: Setting) -> AsyncIterator[Upstream]:
    script = setting.script
    if setting.failing is not None:
        script = [{**script[0], "fail": {**setting.failing, "times": 1}}, *script[1:]]
    row = await setting.database.write(lambda connection: assistants.create(connection, assistant_columns(), 0))
    backend = LocalBackend(setting.database, ScriptedModel(script), setting.handled)
    yield Upstream(backend, setting.database, row["id"])


@asynccontextmanager
async def scripted_server(setting: Setting) -> AsyncIterator[Upstream]:
    """The backend `assistants` on a server that does what tests say."""
    async with AssistantsUpstream(setting.script, poll_after=timedelta(milliseconds=100)) as server:
        if setting.failing is not None:
            retry_after = timedelta(seconds=setting.failing.pop("retry_after_seconds"))
            server.inject(FailRequest(on="create_run", retry_after=retry_after, **setting.failing))
        async with on_server(setting, server.base_url) as upstream:
            yield upstream


@asynccontextmanager
async def own_server(setting: Setting) -> AsyncIterator[Upstream]:
    """The backend `assistants` on this project's own server and worker, with everything in one database."""
    if setting.failing is not None:
        pytest.skip("its worker asks the model again by itself, so that whoever uses the server sees no failure")
    queue = f"test-{uuid4()}"
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(own_server_on(setting.temporal, setting.database, queue))
        parts = (setting.temporal, Config(task_queue=queue), setting.database, ScriptedModel(setting.script))
        for worker in build_workers(*parts, ToolRegistry()):
            await stack.enter_async_context(worker)
        yield await stack.enter_async_context(on_server(setting, url))


@asynccontextmanager
async def on_server(setting: Setting, url: str) -> AsyncIterator[Upstream]:
    async with openai.AsyncOpenAI(base_url=url, api_key="anything", max_retries=0) as client:
        assistant = await client.beta.assistants.create(model="test")
    backend = AssistantsBackend(setting.database, AssistantsApi(base_url=url, api_key=""), setting.handled)
    try:
        yield Upstream(backend, setting.database, assistant.id)
    finally:
        await backend.aclose()


BACKENDS = {"local": local, "assistants on a scripted server": scripted_server, "assistants on our own": own_server}


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, database: Database, temporal: Client) -> BackendFactory:
    """Open a backend whose model says what a script says."""
    factory = BACKENDS[request.param]

    def open_it(*script: Any, handled: Collection[str] = (), failing: dict[str, Any] | None = None) -> Any:
        return factory(Setting(database, temporal, list(script or [ANSWER]), handled, failing))

    return open_it


# --- create


async def test_creating_again_finds_the_run_that_was_created(backend):
    async with backend() as upstream:
        request = upstream.request()
        first = await upstream.backend.create("run_1", request)
        again = await upstream.backend.create("run_1", request)
        names = await upstream.names(first)

    assert first == again
    assert (first.run_id, first.backend) == ("run_1", upstream.backend.name)
    assert names == ["created", "run.created", "run.queued"]


async def test_two_attempts_that_create_at_the_same_time_get_one_run(backend):
    async with backend() as upstream:
        request = upstream.request()
        created = await asyncio.gather(*(upstream.backend.create("run_1", request) for _ in range(3)))

    assert created == [created[0]] * 3


async def test_where_a_run_stands_that_was_created_can_be_told_before_it_is_followed(backend):
    """One upstream waits for somebody who follows the run, another goes on by itself."""
    async with backend() as upstream:
        run = await upstream.create()
        before = await upstream.backend.retrieve(run)
        stop = await upstream.follow(run)
        names = await upstream.names(run)

    assert before == stop or (before.status in OPEN_STATUSES and before.message_ids == [])
    assert (stop.status, names[:3]) == ("completed", ["created", "run.created", "run.queued"])


async def test_a_run_of_an_unknown_assistant_is_refused_for_good(backend):
    async with backend() as upstream:
        request = upstream.request().model_copy(update={"assistant_id": "asst_unknown"})
        with pytest.raises((ApiError, UpstreamError)) as refused:
            await upstream.backend.create("run_1", request)

    assert isinstance(refused.value, ApiError) or not refused.value.retryable


# --- follow


async def test_following_ends_when_the_run_has_completed(backend):
    async with backend() as upstream:
        run = await upstream.create()
        stop = await upstream.follow(run)
        names = await upstream.names(run)

    assert (stop.status, stop.last_message_text, len(stop.message_ids)) == ("completed", "One two three four.", 1)
    assert (stop.usage.prompt_tokens, stop.usage.completion_tokens, stop.usage.total_tokens) == (11, 5, 16)
    assert names[-5:] == [
        "message.created",
        "message.in_progress",
        "message.completed",
        "run.step.completed",
        "run.completed",
    ]


@pytest.mark.parametrize("handled", [(), ("find",), ("find", "price")])
async def test_following_ends_at_a_round_of_calls_and_only_outsiders_are_asked_to_act(backend, handled):
    async with backend(*ROUND, handled=handled) as upstream:
        run = await upstream.create()
        stop = await upstream.follow(run)
        names = await upstream.names(run)

    asks = len(handled) < 2
    assert stop.status == ("requires_action" if asks else "in_progress")
    assert ("run.requires_action" in names) == asks
    assert [(call.call_id, call.name, call.outcome) for call in stop.calls] == [
        ("call_a", "find", None),
        ("call_b", "price", None),
    ]


async def test_a_turn_that_is_recorded_is_not_taken_again(backend):
    async with backend(*ROUND) as upstream:
        run = await upstream.create()
        stop = await upstream.follow(run)
        before = await upstream.events(run)
        again = await upstream.follow(run, attempt=2)

        assert again == stop
        assert await upstream.events(run) == before


async def test_an_answer_that_is_cut_off_is_incomplete(backend):
    async with backend({"say": "One two", "finish": "length"}) as upstream:
        run = await upstream.create()
        stop = await upstream.follow(run)
        names = await upstream.names(run)

    assert (stop.status, stop.last_message_text) == ("incomplete", "One two")
    assert "message.incomplete" in names


async def test_an_upstream_that_fails_says_so_and_is_asked_again(backend):
    failing = {"status": 503, "message": "Overloaded.", "retry_after_seconds": 2}
    async with backend(failing=failing) as upstream:
        request = upstream.request()
        with pytest.raises(Exception, match="Overloaded") as failed:
            await upstream.follow(await upstream.backend.create("run_1", request))
        run = await upstream.backend.create("run_1", request)
        stop = await upstream.follow(run, attempt=2)

    error = translate(failed.value)
    assert (error.status, error.retryable, error.retry_after) == (503, True, timedelta(seconds=2))
    assert stop.status == "completed"


@pytest.mark.parametrize("told", range(1, 8))
async def test_an_attempt_that_breaks_off_leaves_one_finished_message_and_one_story(backend, told):
    async with backend() as upstream:
        run = await upstream.create()
        await upstream.follow(run, break_after=told)
        stop = await upstream.follow(run, attempt=2)
        events = await upstream.events(run)

    count = Counter(event.event for event in events)
    assert (stop.status, stop.last_message_text) == ("completed", "One two three four.")
    assert standing_messages(events) == stop.message_ids
    assert count["thread.message.completed"] == count["thread.run.in_progress"] == count["thread.run.completed"] == 1
    assert count["thread.message.incomplete"] == count["thread.run.step.failed"] == count["thread.message.created"] - 1
    assert stop.usage.total_tokens == 16


@pytest.mark.parametrize("told", range(4, 12))
async def test_an_attempt_that_breaks_off_among_its_calls_leaves_each_call_and_message_once(backend, told):
    async with backend(*ROUND) as upstream:
        run = await upstream.create()
        broken = await upstream.follow(run, break_after=told)
        stop = await upstream.follow(run, attempt=2)
        await upstream.submit(run, call_a="found", call_b="9 euros")
        ended = await upstream.follow(run, turn=2)
        events = await upstream.events(run)

    assert broken.status in OPEN_STATUSES
    assert (stop.status, [call.call_id for call in stop.calls]) == ("requires_action", ["call_a", "call_b"])
    assert standing_messages(events) == ended.message_ids
    assert len(ended.message_ids) == 2
    assert [event.event for event in events].count("thread.run.requires_action") == 1


async def test_a_broken_attempt_is_not_part_of_what_the_model_is_asked_again(backend):
    """The usage that is reported is that of the prompt, which grows with every message in it."""
    said = {"say": "Let me look.", "call": [{"name": "find", "call_id": "call_a"}]}
    async with backend(said) as upstream:
        whole, broken = await upstream.create(), await upstream.create()
        expected = await upstream.follow(whole)
        await upstream.follow(broken, break_after=7)
        stop = await upstream.follow(broken, attempt=2)

    assert stop.usage == expected.usage


# --- submit


async def test_a_run_goes_on_with_its_outputs_and_completes(backend):
    async with backend(*ROUND) as upstream:
        run = await upstream.create()
        await upstream.follow(run)
        await upstream.submit(run, call_a="found", call_b="9 euros")
        stop = await upstream.follow(run, turn=2)
        done = [event for event in await upstream.events(run) if event.event == "thread.run.step.completed"]

    assert (stop.status, stop.calls, len(stop.message_ids)) == ("completed", [], 2)
    details = [json.loads(event.data)["step_details"] for event in done]
    [outputs] = [[call["function"]["output"] for call in it["tool_calls"]] for it in details if "tool_calls" in it]
    assert outputs == ["found", "9 euros"]


async def test_outputs_that_are_given_again_change_nothing(backend):
    async with backend(*ROUND) as upstream:
        run = await upstream.create()
        await upstream.follow(run)
        await upstream.submit(run, call_a="found", call_b="9 euros")
        before = await upstream.events(run)
        await upstream.submit(run, call_a="lost", call_b="0 euros")
        assert await upstream.events(run) == before

        await upstream.follow(run, turn=2)
        ended = await upstream.events(run)
        await upstream.submit(run, call_a="lost", call_b="0 euros")
        assert await upstream.events(run) == ended


async def test_a_turn_that_breaks_off_after_outputs_is_taken_again_with_the_same_outputs(backend):
    async with backend(*ROUND) as upstream:
        run = await upstream.create()
        await upstream.follow(run)
        for attempt, break_after in ((1, 5), (2, None)):
            await upstream.submit(run, call_a="found", call_b="9 euros")
            stop = await upstream.follow(run, 2, attempt, break_after)
        names = await upstream.names(run)

    assert (stop.status, len(stop.message_ids)) == ("completed", 2)
    assert names.count("run.queued") == names.count("run.in_progress") == 2


async def test_outputs_of_handlers_and_failures_are_given_too(backend):
    async with backend(*ROUND, handled=("find",)) as upstream:
        run = await upstream.create()
        await upstream.follow(run)
        await upstream.database.write(
            lambda connection: tool_calls.record_output(connection, run.run_id, "call_a", "found", "succeeded")
        )
        await upstream.backend.submit(run, [], [CallFailure(call_id="call_b", message="the shop is closed")])
        stop = await upstream.follow(run, turn=2)
        call = await upstream.database.read(lambda connection: tool_calls.get(connection, run.run_id, "call_b"))

    assert stop.status == "completed"
    assert (call["output"], call["outcome"]) == ("Error: the shop is closed", "failed")


# --- retrieve and end


async def test_a_run_that_does_not_exist_is_told_to_have_ended(backend):
    """A run of our own was deleted with its thread; another one's is broken, and a new one can take its place."""
    async with backend() as upstream:
        run = (await upstream.create()).model_copy(update={"run_id": "run_unknown", "upstream_id": "run_unknown"})
        with suppress(UpstreamRunBroken):
            stop = await upstream.backend.retrieve(run)
            assert (stop.status in ENDINGS, stop.last_error is not None) == (True, True)
        ended = await upstream.backend.end(run, "expired", None)

    assert ended.status in ENDINGS


async def bring_to(upstream: Upstream, status: str) -> RunRef:
    run = await upstream.create()
    if status != "queued":
        await upstream.follow(run, break_after=4 if status == "in_progress" else None)
    if status == "completed":
        await upstream.submit(run, call_a="found", call_b="9 euros")
        await upstream.follow(run, turn=2)
    return run


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("status", ["queued", "in_progress", "requires_action", "completed"])
async def test_a_run_ends_whatever_it_is_doing_and_once(backend, status, ending):
    async with backend(*ROUND) as upstream:
        run = await bring_to(upstream, status)
        error = LastError(code="server_error", message="enough") if ending == "failed" else None
        stop = await upstream.backend.end(run, ending, error)
        events = await upstream.events(run)
        again = await upstream.backend.end(run, "cancelled", None)

        expected = "completed" if status == "completed" else ending
        assert (stop.status, stop.calls, again) == (expected, [], stop)
        assert stop.last_error == (error if status != "completed" else None)
        assert events[-1].event == f"thread.run.{expected}"
        assert await upstream.events(run) == events


async def test_a_run_that_has_ended_is_not_followed_and_takes_no_outputs(backend):
    async with backend(*ROUND) as upstream:
        run = await bring_to(upstream, "requires_action")
        ended = await upstream.backend.end(run, "cancelled", None)
        before = await upstream.events(run)
        await upstream.submit(run, call_a="found", call_b="9 euros")

        assert await upstream.follow(run, turn=2) == ended
        assert await upstream.events(run) == before
