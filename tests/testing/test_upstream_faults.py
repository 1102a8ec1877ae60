"""Each fault does what it says, to the request that it says, and the journal tells it."""

from contextlib import suppress
from datetime import timedelta

import pytest
from openai import APIConnectionError, APIError, APIStatusError, BadRequestError, NotFoundError

from lockstitch.errors import FaultInvalid
from lockstitch.testing.assistants_upstream import (
    BreakConnection,
    DelayAnswer,
    DropStream,
    ExpireRun,
    FailRequest,
    HangInCancelling,
    LoseAnswer,
    LoseRun,
    RepeatEvent,
    StayInProgress,
    StayQueued,
    StreamError,
    WrongThreadLock,
)
from lockstitch.testing.upstream.faults import KINDS, fault_as_json, fault_from_json


async def names_of(stream):
    return [event.event.removeprefix("thread.") async for event in stream]


async def read_into(read, stream):
    async for event in stream:
        read.append(event)


async def asked(upstream, asking):
    run = await asking.create()
    await upstream.reached(run.id, "requires_action")
    return run


# --- instead of carrying a request out


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_request_fails_before_it_is_carried_out(upstream, asking, status):
    upstream.inject(FailRequest(on="create_run", status=status, retry_after=timedelta(seconds=2), retry_after_ms=1500))
    with pytest.raises(APIStatusError) as failed:
        await asking.create()

    headers = failed.value.response.headers
    assert (failed.value.status_code, headers["retry-after"], headers["retry-after-ms"]) == (status, "2", "1500")
    assert "x-should-retry" not in headers
    assert upstream.runs() == []
    assert (await asking.create()).status == "queued"
    assert [(it.status, it.carried_out, it.faults) for it in upstream.journal.of("create_run")] == [
        (status, False, ["FailRequest"]),
        (200, True, []),
    ]


async def test_a_refusal_has_the_body_and_the_headers_that_it_is_given(upstream, asking):
    body = {"error": {"message": "No.", "type": "policy", "param": "model", "code": "not_allowed"}}
    upstream.inject(FailRequest(on="create_run", status=403, body=body, should_retry=False))
    with pytest.raises(APIStatusError) as refused:
        await asking.create()

    assert refused.value.response.json() == body
    assert refused.value.response.headers["x-should-retry"] == "false"


async def test_a_connection_breaks_before_anything_is_done(upstream, asking):
    upstream.inject(BreakConnection(on="create_run"))
    with pytest.raises(APIConnectionError):
        await asking.create()

    assert upstream.runs() == []
    assert upstream.journal[-1].status is None


async def test_a_thread_is_said_to_be_locked_though_it_is_free(upstream, asking):
    upstream.inject(WrongThreadLock(), WrongThreadLock(on="create_message", active_run_id="run_x"))
    with pytest.raises(BadRequestError, match=f"Thread {asking.thread_id} already has an active run run_"):
        await asking.create()
    with pytest.raises(BadRequestError, match=f"Can't add messages to {asking.thread_id} while a run run_x is active"):
        await asking.client.beta.threads.messages.create(asking.thread_id, role="user", content="Hi")

    assert upstream.runs() == []


# --- to the run


async def test_a_run_stays_queued_until_it_is_resumed(upstream, asking):
    upstream.inject(StayQueued())
    run = await asking.create()

    assert (await asking.retrieve(run.id)).status == "queued"
    upstream.resume(run.id)
    assert (await upstream.reached(run.id, "requires_action"))["started_at"] is not None


@pytest.mark.parametrize("fault", [StayQueued, StayInProgress])
async def test_a_run_stays_as_it_is_after_its_outputs(upstream, asking, fault):
    upstream.inject(fault(on="submit_tool_outputs"))
    run = await asked(upstream, asking)
    await asking.submit(run.id)
    held = await upstream.reached(run.id, "queued" if fault is StayQueued else "in_progress")

    assert (await asking.retrieve(run.id)).status == held["status"]
    upstream.resume(run.id)
    await upstream.reached(run.id, "completed")


async def test_a_run_that_stays_in_progress_can_be_cancelled(upstream, asking):
    upstream.inject(StayInProgress())
    run = await asking.create()
    await upstream.reached(run.id, "in_progress")
    await asking.cancel(run.id)

    await upstream.reached(run.id, "cancelled")


async def test_a_run_hangs_in_cancelling_until_the_cancellation_is_done(upstream, asking):
    upstream.inject(HangInCancelling())
    run = await asked(upstream, asking)

    assert (await asking.cancel(run.id)).status == "cancelling"
    assert (await asking.cancel(run.id)).status == "cancelling"
    with pytest.raises(BadRequestError, match='Runs in status "cancelling" do not accept tool outputs'):
        await asking.submit(run.id)
    upstream.cancel_done(run.id)
    assert (await asking.retrieve(run.id)).cancelled_at is not None


async def test_a_run_expires_as_soon_as_it_needs_outputs(upstream, asking):
    upstream.inject(ExpireRun())
    run = await asking.create()
    await upstream.reached(run.id, "expired")

    assert [step["status"] for step in upstream.steps(run.id)] == ["completed", "expired"]
    with pytest.raises(BadRequestError, match='Runs in status "expired" do not accept tool outputs'):
        await asking.submit(run.id)


async def test_a_run_expires_in_the_moment_in_which_its_outputs_come(upstream, asking):
    upstream.inject(ExpireRun(on="submit_tool_outputs", at="now"))
    run = await asked(upstream, asking)
    with pytest.raises(BadRequestError, match='Runs in status "expired" do not accept tool outputs'):
        await asking.submit(run.id)

    assert upstream.journal.accepted(run.id) == {}


async def test_a_run_expires_in_the_middle_of_its_answer(upstream, asking):
    upstream.inject(ExpireRun(on="submit_tool_outputs", at="mid_turn"))
    run = await asked(upstream, asking)
    names = await names_of(await asking.submit(run.id, stream=True))

    assert names[-4:] == ["message.delta", "message.incomplete", "run.step.expired", "run.expired"]
    assert upstream.messages(asking.thread_id)[-1]["incomplete_details"] == {"reason": "run_expired"}


async def test_a_run_vanishes_and_its_thread_is_free(upstream, asking):
    upstream.inject(LoseRun(nth=2))
    run = await asked(upstream, asking)
    await asking.retrieve(run.id)
    for _ in range(2):
        with pytest.raises(NotFoundError, match=f"No run found with id '{run.id}'"):
            await asking.retrieve(run.id)

    assert (await asking.create()).status == "queued"
    assert upstream.run(run.id)["status"] == "requires_action"


# --- to the answer


async def test_the_answer_to_a_creation_is_lost_and_the_run_goes_on(upstream, asking):
    upstream.inject(LoseAnswer(on="create_run"))
    with pytest.raises(APIConnectionError):
        await asking.create(metadata={"ticket": "17"})

    [run] = upstream.runs(metadata={"ticket": "17"})
    await upstream.reached(run["id"], "requires_action")
    assert (upstream.journal[-1].carried_out, upstream.journal[-1].status) == (True, None)


async def test_the_answer_to_outputs_is_lost_and_they_are_accepted_once(upstream, asking):
    upstream.inject(LoseAnswer(on="submit_tool_outputs"))
    run = await asked(upstream, asking)
    with pytest.raises(APIConnectionError):
        await asking.submit(run.id)
    await upstream.reached(run.id, "completed")
    with pytest.raises(BadRequestError, match='Runs in status "completed" do not accept tool outputs'):
        await asking.submit(run.id)

    assert upstream.journal.accepted(run.id) == {"call_a": 1, "call_b": 1}
    assert [submission.accepted for submission in upstream.journal.submissions(run.id)] == [True, False]


async def test_an_answer_comes_too_late_for_the_client(upstream, asking):
    upstream.inject(DelayAnswer(on="create_run"))
    impatient = asking.client.with_options(timeout=0.05)
    with pytest.raises(APIConnectionError):
        await impatient.beta.threads.runs.create(asking.thread_id, assistant_id=asking.assistant_id)

    assert (await upstream.journal.received("create_run")).carried_out
    upstream.release_answers()


async def test_an_answer_is_held_until_it_is_released(upstream, asking, background):
    upstream.inject(DelayAnswer(on="create_run"))
    creating = background(asking.create())
    request = await upstream.journal.received("create_run")

    assert not creating.done()
    upstream.release_answers()
    assert (await creating).id == request.run_id


# --- to a stream


@pytest.mark.parametrize("events", [0, 1, 5])
async def test_a_stream_breaks_off_and_the_run_goes_on(upstream, asking, events):
    upstream.inject(DropStream(after_events=events))
    read = []
    with pytest.raises(APIConnectionError):
        await read_into(read, await asking.create(stream=True))

    assert len(read) == events
    [run] = upstream.runs()
    await upstream.reached(run["id"], "requires_action")


async def test_a_stream_repeats_an_event(upstream, asking):
    upstream.inject(RepeatEvent(event="thread.message.delta"), RepeatEvent(on="submit_tool_outputs", event=1))
    names = await names_of(await asking.create(stream=True))
    [run] = upstream.runs()
    submitted = await names_of(await asking.submit(run["id"], stream=True))

    assert names.count("message.delta") == 4  # three words, one of them twice
    assert submitted[:3] == ["run.step.completed", "run.step.completed", "run.queued"]


async def test_a_stream_ends_with_an_error_that_the_sdk_raises(upstream, asking):
    upstream.inject(StreamError(after_events=2, message="Something broke."))
    with pytest.raises(APIError, match="Something broke"):
        await names_of(await asking.create(stream=True))


# --- when


async def test_a_fault_happens_from_its_nth_request_on_and_so_many_times(upstream, asking):
    upstream.inject(FailRequest(on="retrieve_thread", nth=2, times=2))
    for _ in range(5):
        with suppress(APIStatusError):
            await asking.client.beta.threads.retrieve(asking.thread_id)

    assert [it.status for it in upstream.journal.of("retrieve_thread")] == [200, 500, 500, 200, 200]
    assert [(it["fitted"], it["happened"]) for it in upstream.planned_faults] == [(5, 2)]


async def test_faults_of_one_kind_happen_one_after_the_other(upstream, asking):
    upstream.inject(*(FailRequest(on="create_run", status=status) for status in (500, 503)), StayQueued())
    for _ in range(2):
        with pytest.raises(APIStatusError):
            await asking.create()
    await asking.create()

    assert [(it.status, it.faults) for it in upstream.journal.of("create_run")] == [
        (500, ["FailRequest"]),
        (503, ["FailRequest"]),
        (200, ["StayQueued"]),
    ]


@pytest.mark.parametrize(
    "narrowed",
    [{"metadata": {"ticket": "17"}}, {"matching": lambda request: request.body["metadata"]["ticket"] == "17"}],
    ids=["metadata", "matching"],
)
async def test_a_fault_can_be_for_some_requests_only(upstream, asking, narrowed):
    upstream.inject(FailRequest(on=("create_run", "list_runs"), **narrowed))
    first = await asking.create(metadata={"ticket": "16", "shop": "1"})
    upstream.expire(first.id)
    with pytest.raises(APIStatusError):
        await asking.create(metadata={"ticket": "17", "shop": "1"})


async def test_a_fault_can_be_for_one_run(upstream, asking, ask):
    other = await ask(upstream)
    mine, theirs = await asked(upstream, asking), await asked(upstream, other)
    upstream.inject(FailRequest(on="retrieve_run", run_id=mine.id, times=None))

    assert (await other.retrieve(theirs.id)).id == theirs.id
    for _ in range(2):
        with pytest.raises(APIStatusError):
            await asking.retrieve(mine.id)
    upstream.clear_faults()
    assert (await asking.retrieve(mine.id)).id == mine.id


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_fault_is_the_same_after_it_was_written_as_json(kind):
    fault = kind(on="create_run", nth=2, times=None, metadata={"a": "b"})

    assert fault_from_json(fault_as_json(fault)) == fault


def test_a_fault_in_json_has_its_times_in_seconds():
    described = {"fault": "FailRequest", "on": ["create_run"], "status": 429, "retry_after": 1.5}

    assert fault_from_json(described) == FailRequest(on=("create_run",), status=429, retry_after=timedelta(seconds=1.5))


@pytest.mark.parametrize(
    ("described", "problem"),
    [
        ({"fault": "Explode"}, "'Explode' cannot be used: there is none of this name, only FailRequest, "),
        ({"fault": "LoseAnswer"}, "on: Field required"),
        ({"fault": "LoseAnswer", "on": "create_run", "often": 1}, "often: Unexpected keyword argument"),
        ({"fault": "LoseAnswer", "on": "create_world"}, "Input should be 'create_assistant'"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(described, problem):
    with pytest.raises(FaultInvalid, match=problem):
        fault_from_json(described)
