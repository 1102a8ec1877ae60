"""Runs on an Assistants server at which things go wrong: nothing is lost, and nothing happens twice."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from lockstitch import telemetry
from lockstitch.activities.messages import CallFailure
from lockstitch.errors import ApiError, UpstreamError
from lockstitch.testing.assistants_upstream import (
    BreakConnection,
    DropStream,
    ExpireRun,
    FailRequest,
    LoseAnswer,
    RepeatEvent,
    StayQueued,
    StreamError,
    WrongThreadLock,
)
from lockstitch.tests.activities.stories import told_texts

EVENTS_OF_A_TURN = 20
"""More than a turn of the script has, so that every place in its stream is tried."""


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
