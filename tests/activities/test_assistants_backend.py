"""Runs on an Assistants server at which things go wrong: nothing is lost, and nothing happens twice."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import openai
import pytest
from temporalio.client import Client as TemporalClient

from lockstitch import telemetry
from lockstitch.activities.backends.assistants import AssistantsBackend
from lockstitch.activities.backends.assistants_api import AssistantsApi
from lockstitch.activities.backends.base import Patience
from lockstitch.activities.event_recorder import EventRecorder
from lockstitch.activities.messages import CallFailure, RunRef, RunStop
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.store import event_log, tool_calls, upstream_runs
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import LoggedEvent
from lockstitch.config import Config
from lockstitch.errors import ApiError, UpstreamError, UpstreamRunBroken
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, ThreadRunRequest, ToolOutput
from lockstitch.testing.assistants_upstream import (
    AssistantsUpstream,
    BreakConnection,
    DropStream,
    ExpireRun,
    FailRequest,
    Fault,
    HangInCancelling,
    LoseAnswer,
    LoseRun,
    RepeatEvent,
    StayInProgress,
    StayQueued,
    StreamError,
    WrongThreadLock,
)
from lockstitch.tests.activities.stories import check_story, told_texts
from lockstitch.tools import ToolRegistry, tool
from lockstitch.worker import build_workers, open_remote_backends

TURN = {
    "round": 0,
    "say": "Let me look.",
    "call": [{"name": "find", "arguments": {"n": 1}, "call_id": "call_a"}, {"name": "price", "call_id": "call_b"}],
}
SCRIPT = [TURN, {"round": 1, "say": "It costs nine euros."}]
OUTPUTS = {"call_a": "found", "call_b": "9 euros"}
EVENTS_OF_A_TURN = 20
"""More than a turn of the script has, so that every place in its stream is tried."""


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


# --- streams


def broken_streams() -> list[Any]:
    kinds: list[Any] = []
    for after in range(EVENTS_OF_A_TURN):
        kinds.append(pytest.param(DropStream(after_events=after, times=2), id=f"dropped-after-{after}"))
        kinds.append(pytest.param(RepeatEvent(event=after + 1, times=2), id=f"repeated-{after + 1}"))
    return [*kinds, pytest.param(StreamError(after_events=9, times=2), id="error-after-9")]


@pytest.mark.parametrize("fault", broken_streams())
async def test_whatever_happens_to_a_stream_the_story_is_whole_and_told_once(connect, fault):
    async with connect(fault) as client:
        run = await client.create()
        stop = await client.carry(run)
        events = await client.events()
        messages = client.server.messages(run.thread_id)[1:]

        count = Counter(event.event for event in events)
        assert (stop.status, stop.message_ids) == ("completed", [message["id"] for message in messages])
        assert stop.last_message_text == "It costs nine euros."
        assert told_texts(events) == {message["id"]: message["content"][0]["text"]["value"] for message in messages}
        assert count["thread.run.requires_action"] == count["thread.run.completed"] == 1
        assert count["thread.run.queued"] == count["thread.run.in_progress"] == 2
        assert count["thread.run.step.completed"] == count["thread.run.step.created"] == 3
        assert client.server.journal.accepted() == {"call_a": 1, "call_b": 1}


async def test_what_an_attempt_that_broke_off_has_told_is_gone_on_with(connect):
    """The message was told up to its middle; the next attempt tells the rest of it and ends it."""
    async with connect(script=[{"say": "One two three four."}]) as client:
        run = await client.create()
        await client.follow(run, break_after=7)
        halfway = told_texts(await client.events())
        stop = await client.follow(run, attempt=2)
        events = await client.events()

    assert list(halfway.values()) == ["One two "]
    assert told_texts(events) == {stop.message_ids[0]: "One two three four."}
    assert [event.event for event in events].count("thread.message.created") == 1


async def test_watchers_see_one_run_under_its_own_id(connect):
    async with connect() as client:
        run = await client.create(metadata={"ticket": "17"})
        await client.carry(run)
        told = [(event.event, json.loads(event.data)) for event in await client.events()]
        upstream_run = client.upstream_run()

    runs = [data for event, data in told if event.startswith("thread.run.") and ".step." not in event]
    parts = [data for event, data in told if data["object"] in ("thread.run.step", "thread.message")]
    assert {data["id"] for data in runs} == {"run_1"} == {data["run_id"] for data in parts}
    assert all(data["metadata"] == {"ticket": "17", "lockstitch_upstream_run": run.upstream_id} for data in runs)
    marks = {"lockstitch_run": "run_1", "lockstitch_number": "0"}
    assert upstream_run["metadata"] == {"ticket": "17", **marks}


# --- create


@pytest.mark.parametrize(
    "fault",
    [
        LoseAnswer(on="create_thread"),
        LoseAnswer(on="create_run"),
        BreakConnection(on="create_run"),
        DropStream(on="create_run", after_events=0),
        FailRequest(on="create_run", status=500),
        FailRequest(on=("create_thread", "list_runs"), status=503, times=3),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_a_run_whose_creation_broke_off_is_created_once(connect, fault):
    async with connect(fault) as client:
        run = await client.until_accepted(client.create)
        stop = await client.carry(run)

        assert stop.status == "completed"
        assert [it["id"] for it in client.server.runs()] == [run.upstream_id]
        assert await client.create() == run
        assert len(client.server.runs()) == 1


async def test_all_parameters_of_a_run_are_passed_on(connect):
    function = {"type": "function", "function": {"name": "find", "description": "Finds."}}
    parameters = {
        "model": "other",
        "instructions": "Be brief.",
        "additional_instructions": "Be kind.",
        "additional_messages": [{"role": "user", "content": "And?"}],
        "tools": [function],
        "tool_choice": {"type": "function", "function": {"name": "find"}},
        "parallel_tool_calls": False,
        "temperature": 0.5,
        "top_p": 0.25,
        "reasoning_effort": "low",
        "max_prompt_tokens": 1000,
        "max_completion_tokens": 500,
        "truncation_strategy": {"type": "last_messages", "last_messages": 3},
        "response_format": {"type": "json_object"},
    }
    async with connect() as client:
        await client.create(**parameters)
        [asked] = client.server.journal.of("create_run")

    sent = {name: value for name, value in asked.body.items() if name in parameters}
    assert sent == {**parameters, "tools": [{**function, "function": {**function["function"], **_FILLED_IN}}]}


_FILLED_IN = {"parameters": {"type": "object", "properties": {}}, "strict": False}


async def test_metadata_without_room_for_the_marks_is_refused_before_anything_is_created(connect):
    async with connect() as client:
        with pytest.raises(ApiError, match="may have 14 entries of metadata, and this one has 16"):
            await client.create(metadata={f"key_{number}": "x" for number in range(16)})

        assert [request.operation for request in client.server.journal] == ["create_assistant"]


async def test_a_thread_that_another_run_holds_is_tried_again_until_it_is_free(connect):
    async with connect(StayQueued(on="create_run")) as client:
        foreign = await client.backend.create("run_0", client.request())
        with pytest.raises(UpstreamError, match="already has an active run") as locked:
            await client.create(thread_id=foreign.thread_id)
        await client.backend.end(foreign, "cancelled", None)
        run = await client.create(thread_id=foreign.thread_id)

    assert (locked.value.retryable, locked.value.code) == (True, "server_error")
    assert run.upstream_id != foreign.upstream_id


async def test_a_lock_that_the_server_names_wrongly_passes(connect):
    async with connect(WrongThreadLock()) as client:
        run = await client.until_accepted(client.create)

        assert [it["id"] for it in client.server.runs()] == [run.upstream_id]


# --- submit


@pytest.mark.parametrize(
    "fault",
    [
        LoseAnswer(on="submit_tool_outputs"),
        BreakConnection(on="submit_tool_outputs"),
        DropStream(on="submit_tool_outputs", after_events=0),
        FailRequest(on="submit_tool_outputs", status=500),
        FailRequest(on="submit_tool_outputs", status=429, times=2, retry_after_ms=1),
    ],
    ids=lambda fault: type(fault).__name__,
)
async def test_outputs_are_accepted_once_whatever_becomes_of_the_answer(connect, fault):
    async with connect(fault) as client:
        run = await client.create()
        await client.follow(run)
        await client.until_accepted(lambda: client.submit(run))
        stop = await client.follow(run, attempt=2)

        assert stop.status == "completed"
        assert client.server.journal.accepted() == {"call_a": 1, "call_b": 1}


async def test_a_repeated_submission_does_not_answer_a_later_round_that_numbers_its_calls_anew(connect):
    call = {"name": "find", "call_id": "call_a"}
    script = [{"round": 0, "call": [call]}, {"round": 1, "call": [call]}, {"round": 2, "say": "Done."}]
    async with connect(LoseAnswer(on="submit_tool_outputs"), script=script) as client:
        run = await client.create()
        await client.follow(run)
        await client.until_accepted(lambda: client.submit(run, {"call_a": "first"}))
        await client.server.reached(run.upstream_id, "requires_action")
        await client.submit(run, {"call_a": "first"})
        [second] = (await client.follow(run)).calls
        await client.submit(run, {second.call_id: "second"})
        stop = await client.follow(run)
        given = [it.outputs[0] for it in client.server.journal.submissions(run.upstream_id) if it.accepted]

    assert (stop.status, second.call_id) == ("completed", "call_a~0")
    assert [(it.tool_call_id, it.output) for it in given] == [("call_a", "first"), ("call_a", "second")]


async def test_a_failure_is_given_as_an_output_that_says_so(connect):
    async with connect(handled=("find", "price")) as client:
        run = await client.create()
        stop = await client.follow(run)
        failures = [
            CallFailure(call_id="call_a", message="the shop is closed"),
            CallFailure(call_id="call_b", message="nobody agreed", outcome="denied"),
        ]
        await client.backend.submit(run, [], failures)
        [submission] = client.server.journal.submissions()

    assert stop.status == "in_progress"
    assert [it.output for it in submission.outputs] == ["Error: the shop is closed", "Denied: nobody agreed"]


async def test_outputs_for_a_run_that_expired_are_not_an_error(connect):
    async with connect(ExpireRun(on="submit_tool_outputs", at="now")) as client:
        run = await client.create()
        await client.follow(run)
        await client.submit(run)
        stop = await client.follow(run)
        names = await client.names()

    assert (stop.status, stop.broken) == ("expired", f"The run {run.upstream_id} expired upstream.")
    assert client.server.journal.accepted() == {}
    assert "run.expired" not in names


# --- errors


@pytest.mark.parametrize(
    ("fault", "retryable", "wait", "says"),
    [
        ({"status": 429, "retry_after": timedelta(seconds=7)}, True, timedelta(seconds=7), "answered 429"),
        ({"status": 500, "retry_after_ms": 20}, True, timedelta(milliseconds=20), "answered 500"),
        ({"status": 503, "should_retry": False}, False, None, "answered 503"),
        ({"status": 401, "message": "No."}, False, None, "No. Check LOCKSTITCH_ASSISTANTS_API_KEY"),
        ({"status": 403}, False, None, "Check LOCKSTITCH_ASSISTANTS_API_KEY"),
        ({"status": 408}, True, None, "answered 408"),
        ({"status": 409}, True, None, "answered 409"),
    ],
)
async def test_an_error_says_whether_and_when_to_try_again_and_what_to_do(connect, fault, retryable, wait, says):
    async with connect(FailRequest(on="create_thread", **fault)) as client:
        with pytest.raises(UpstreamError, match=says) as failed:
            await client.create()

    assert str(failed.value).startswith("The Assistants server ")
    assert (failed.value.retryable, failed.value.retry_after) == (retryable, wait)


async def test_requests_are_counted_by_operation_and_code_and_the_first_token_is_timed(connect):
    def counted(operation: str, code: str) -> float:
        return telemetry.UPSTREAM_REQUESTS.labels("assistants", operation, code)._value.get()

    before = counted("create_run", "200"), counted("submit_tool_outputs", "429")
    first_tokens = telemetry.TIME_TO_FIRST_TOKEN.labels("assistants")._sum.get()
    async with connect(FailRequest(on="submit_tool_outputs", status=429)) as client:
        run = await client.create()
        await client.follow(run)
        with pytest.raises(UpstreamError):
            await client.submit(run)

    assert (counted("create_run", "200"), counted("submit_tool_outputs", "429")) == (before[0] + 1, before[1] + 1)
    assert telemetry.TIME_TO_FIRST_TOKEN.labels("assistants")._sum.get() > first_tokens


# --- runs that hang or vanish


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (StayQueued(), "stayed queued for 2 minutes."),
        (StayInProgress(), "gave no sign of life for 5 minutes."),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_run_that_hangs_is_broken_when_patience_is_over(connect, fault, problem, streamed):
    time = SkippedTime()
    faults = [fault] if streamed else [fault, LoseAnswer(on="create_run")]
    async with connect(*faults, time=time) as client:
        client.server.set_poll_after(timedelta(seconds=10))
        run = await client.create()
        with pytest.raises(UpstreamRunBroken, match=problem) as broken:
            await client.follow(run)

    assert broken.value.upstream_id == run.upstream_id
    assert timedelta(minutes=2) <= timedelta(seconds=time.now) < timedelta(minutes=6)


async def test_a_run_that_hangs_in_cancelling_counts_as_cancelled(connect):
    time = SkippedTime()
    async with connect(StayInProgress(), HangInCancelling(), time=time) as client:
        run = await client.create()
        async with openai.AsyncOpenAI(base_url=client.server.base_url, api_key="none") as sdk:
            await sdk.beta.threads.runs.cancel(run.upstream_id, thread_id=run.thread_id)
        stop = await client.follow(run)
        names = await client.names()

    assert (stop.status, stop.broken, names[-2:]) == ("cancelled", None, ["run.cancelling", "run.cancelled"])
    assert timedelta(minutes=1) <= timedelta(seconds=time.now) < timedelta(minutes=3)


@pytest.mark.parametrize("ask", ["follow", "retrieve", "submit"])
async def test_a_run_that_vanished_is_broken(connect, ask):
    async with connect(DropStream(after_events=6)) as client:
        run = await client.create()
        client.server.inject(LoseRun(on="retrieve_run"))
        asked = {"follow": client.follow, "retrieve": client.backend.retrieve, "submit": client.submit}
        with pytest.raises(UpstreamRunBroken, match=f"The run {run.upstream_id} upstream vanished"):
            await asked[ask](run)


async def test_a_run_is_read_again_when_its_stream_falls_silent(connect):
    """The stream of a run that was held tells nothing; that the run is over is found by looking after it."""
    time = SkippedTime()
    async with connect(StayInProgress(), time=time) as client:
        run = await client.create()
        client.server.inject(ExpireRun(on="retrieve_run", at="now"))
        stop = await client.follow(run)

    assert stop.status == "expired"


# --- replacement


async def test_a_run_that_expired_is_replaced_once_and_what_was_computed_is_known(connect):
    async with connect(ExpireRun(on="submit_tool_outputs", at="now")) as client:
        run = await client.create(additional_messages=[{"role": "user", "content": "Be quick."}])
        await client.follow(run)
        await client.submit(run)
        client.server.inject(LoseAnswer(on="create_run"))
        request = client.request(additional_messages=[{"role": "user", "content": "Be quick."}])
        made = await client.backend.replace(run, request, 1, Patience())
        again = await client.backend.replace(run, request, 1, Patience())
        stop = await client.follow(made, attempt=2)
        reused = await client.database.write(
            lambda connection: tool_calls.recognise_repeats(connection, "run_1", made.upstream_id)
        )
        await client.submit(made, {})
        ended = await client.follow(made)
        [asked] = client.server.journal.of("create_run", run_id=made.upstream_id)
        upstream_run = client.upstream_run(lockstitch_run="run_1", lockstitch_number="1")

    assert made == again == run.model_copy(update={"upstream_id": upstream_run["id"], "replacement": 1})
    assert [call.call_id for call in stop.calls] == ["call_a~1", "call_b~1"] == reused
    assert (ended.status, ended.last_message_text) == ("completed", "It costs nine euros.")
    assert "additional_messages" not in asked.body
    assert client.server.journal.accepted(made.upstream_id) == {"call_a": 1, "call_b": 1}
    assert (await client.names()).count("run.completed") == 1


async def test_what_a_run_left_open_that_vanished_is_closed_before_another_one_is_told(connect):
    async with connect(script=[{"say": "One two three."}]) as client:
        run = await client.create()
        await client.follow(run, break_after=5)
        client.server.lose(run.upstream_id)
        with pytest.raises(UpstreamRunBroken):
            await client.follow(run, attempt=2)
        made = await client.backend.replace(run, client.request(), 1, Patience())
        stop = await client.follow(made)
        names = await client.names()

    closed = names.index("message.incomplete")
    assert names[closed + 1] == "run.step.failed"
    assert names.index("message.completed") > closed
    assert (stop.status, names.count("run.in_progress"), names.count("run.queued")) == ("completed", 1, 1)


async def test_a_run_that_has_ended_by_itself_needs_no_replacement(connect):
    async with connect(script=[{"say": "One two three."}]) as client:
        run = await client.create()
        await client.server.reached(run.upstream_id, "completed")

        assert await client.backend.replace(run, client.request(), 1, Patience()) == run
        assert (await client.follow(run)).status == "completed"
        assert len(client.server.runs()) == 1


async def test_a_run_that_stays_in_cancelling_holds_its_thread_and_the_replacement_is_tried_again(connect):
    time = SkippedTime()
    async with connect(StayInProgress(), HangInCancelling(), time=time) as client:
        client.server.set_poll_after(timedelta(seconds=10))
        run = await client.create()
        with pytest.raises(UpstreamError, match="already has an active run") as locked:
            await client.backend.replace(run, client.request(), 1, Patience())
        waited = time.now
        client.server.cancel_done(run.upstream_id)
        made = await client.backend.replace(run, client.request(), 1, Patience())
        stop = await client.follow(made)

    assert locked.value.retryable
    assert timedelta(seconds=waited) >= timedelta(minutes=1)
    assert stop.status == "requires_action"


# --- end


async def test_a_run_is_ended_that_was_created_without_anybody_knowing(connect):
    async with connect(LoseAnswer(on="create_run"), FailRequest(on="list_runs", status=503)) as client:
        with pytest.raises(UpstreamError):
            await client.create()
        unknown = RunRef(run_id="run_1", thread_id="", assistant_id=client.assistant_id, backend="assistants")
        stop = await client.backend.end(unknown, "expired", None)

        assert stop.status == "expired"
        assert [it["status"] for it in client.server.runs()] == ["cancelled"]
        assert (await client.names())[-1] == "run.expired"


async def test_watchers_learn_the_end_of_a_run_though_its_server_is_out_of_reach(connect):
    async with connect() as client:
        run = await client.create()
        await client.follow(run)
        client.server.inject(FailRequest(on="retrieve_run", status=503))
        with pytest.raises(UpstreamError):
            await client.backend.end(run, "cancelled", None)
        told = await client.names()
        stop = await client.backend.end(run, "cancelled", None)

        assert told[-1] == "run.cancelled"
        assert await client.names() == told
        assert stop.status == "cancelled" == client.upstream_run()["status"]


async def test_a_run_that_was_never_created_has_ended_all_the_same(connect):
    async with connect() as client:
        unknown = RunRef(run_id="run_1", thread_id="", assistant_id=client.assistant_id, backend="assistants")
        stop = await client.backend.end(unknown, "cancelled", None)
        again = await client.backend.end(unknown, "cancelled", None)
        events = await client.database.read(lambda connection: event_log.after(connection, "run_1", 0))

    assert stop == again
    assert [event.event for event in events] == ["error"]


# --- addressing and adoption


async def test_azure_is_addressed_under_its_resource_with_a_version_and_a_key(database):
    async with AssistantsUpstream(SCRIPT, api_key="secret") as server:
        api = AssistantsApi(base_url=server.origin, api_key="secret", api_version="2024-05-01-preview")
        backend = AssistantsBackend(database, api, ())
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="secret") as sdk:
            assistant = await sdk.beta.assistants.create(model="test")
        request = ThreadRunRequest(
            assistant_id=assistant.id, messages=[NewMessage(role="user", content="Hi")], backend="assistants"
        )
        run = await backend.create("run_1", request)
        await backend.aclose()
        asked = [it for it in server.journal if it.operation in ("create_thread", "create_run")]

    assert [it.path for it in asked] == ["/openai/threads", f"/openai/threads/{run.thread_id}/runs"]
    assert [it.status for it in asked] == [200, 200]


async def test_a_run_that_others_created_is_taken_over_where_it_stands(connect):
    async with connect() as client:
        async with openai.AsyncOpenAI(base_url=client.server.base_url, api_key="none") as sdk:
            thread = await sdk.beta.threads.create(messages=[{"role": "user", "content": "Well?"}])
            theirs = await sdk.beta.threads.runs.create(thread.id, assistant_id=client.assistant_id)
        await client.server.reached(theirs.id, "requires_action")
        run = await client.create(thread_id=thread.id, adopted_run_id=theirs.id)
        stop = await client.backend.retrieve(run)
        names = await client.names()
        await client.submit(run)
        ended = await client.follow(run)
        marked = client.upstream_run(lockstitch_run="run_1")
        row = await client.database.read(lambda connection: upstream_runs.latest(connection, "run_1"))

    assert (run.upstream_id, marked["id"], row["upstream_id"]) == (theirs.id, theirs.id, theirs.id)
    assert [call.call_id for call in stop.calls] == ["call_a", "call_b"]
    assert names[-1] == "run.requires_action"
    assert (ended.status, len(ended.message_ids)) == ("completed", 2)


async def test_a_run_that_is_taken_over_may_have_ended(connect):
    async with connect(script=[{"say": "Hello."}]) as client:
        theirs = await client.backend.create("run_0", client.request())
        await client.server.reached(theirs.upstream_id, "completed")
        run = await client.create(thread_id=theirs.thread_id, adopted_run_id=theirs.upstream_id)
        stop = await client.backend.retrieve(run)

        assert (stop.status, stop.last_message_text) == ("completed", "Hello.")
        assert (await client.names())[-1] == "run.completed"


async def test_a_run_that_is_not_there_cannot_be_taken_over(connect):
    async with connect() as client:
        theirs = await client.backend.create("run_0", client.request())
        with pytest.raises(ApiError, match="There is no run run_unknown on the thread"):
            await client.create(thread_id=theirs.thread_id, adopted_run_id="run_unknown")


# --- in a worker


@tool
def find(n: int) -> str:
    """Find something."""
    return f"found {n}"


@asynccontextmanager
async def worker_on(
    temporal: TemporalClient, config: Config, database: Database, runner: Any
) -> AsyncIterator[Starter]:
    tools = ToolRegistry([find])
    async with AsyncExitStack() as stack:
        starter = await stack.enter_async_context(Starter(temporal, task_queue=config.task_queue))
        remote = await stack.enter_async_context(open_remote_backends(config, database, tools))
        options: Any = {"remote": remote, "workflow_runner": runner}
        for worker in build_workers(temporal, config, database, OfflineModel(), tools, **options):
            await stack.enter_async_context(worker)
        yield starter


FIND = {"round": 0, "call": [{"name": "find", "arguments": {"n": 7}, "call_id": "call_a"}]}


@pytest.mark.parametrize("fault", [None, ExpireRun(on="submit_tool_outputs", at="now")])
async def test_a_worker_carries_a_run_to_its_end_though_it_has_to_be_replaced(
    temporal, database, workflow_sandbox, fault
):
    async with AssistantsUpstream([FIND, {"round": 1, "say": "Seven."}]) as server:
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none") as sdk:
            assistant = await sdk.beta.assistants.create(model="test")
        server.inject(*[fault] if fault else [])
        config = Config(task_queue=f"test-{uuid4()}", assistants_url=server.base_url)
        async with worker_on(temporal, config, database, workflow_sandbox) as starter:
            messages = [NewMessage(role="user", content="Well?")]
            request = ThreadRunRequest(assistant_id=assistant.id, messages=messages, backend="assistants")
            run_id = await starter.start(request)
            result = await starter.result(run_id)
        events = await database.read(lambda connection: event_log.after(connection, run_id, 0))

    check_story(events)
    replaced = isinstance(fault, ExpireRun)
    assert (result.status, result.last_message_text) == ("completed", "Seven.")
    assert [call.outcome for call in result.tool_calls] == (["succeeded", "reused"] if replaced else ["succeeded"])
    assert len(server.runs()) == (2 if replaced else 1)
    assert "thread.run.requires_action" not in [event.event for event in events]


async def test_a_worker_without_the_backend_says_what_to_set(temporal, database, workflow_sandbox):
    config = Config(task_queue=f"test-{uuid4()}")
    async with worker_on(temporal, config, database, workflow_sandbox) as starter:
        request = ThreadRunRequest(assistant_id="asst_1", thread_id="thread_1", backend="assistants")
        run_id = await starter.start(request)
        result = await starter.result(run_id)
    events = await database.read(lambda connection: event_log.after(connection, run_id, 0))

    assert result.status == "failed"
    assert "This worker has no backend 'assistants', only local: set the URL" in result.last_error.message
    assert [event.event for event in events] == ["error"]
