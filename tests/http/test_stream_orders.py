"""The order of events, case by case, as the real API was recorded or its guide has it."""

import pytest

from lockstitch.assistants.model.turn import ArgumentsDelta, CallStarted, TextDelta, TurnFinished

OUTPUTS = [{"tool_call_id": "call_a", "output": "cold"}, {"tool_call_id": "call_b", "output": "warm"}]
ERROR = {"code": "rate_limit_exceeded", "message": "Rate limit reached; try again in 5 seconds."}
BEGUN = ["run.created", "run.queued", "run.in_progress"]
STEP = ["run.step.created", "run.step.in_progress"]
MESSAGE = [*STEP, "message.created", "message.in_progress"]
SAID = [*MESSAGE, "message.delta", "message.completed", "run.step.completed"]
ASKED = [*BEGUN, *STEP, "run.step.delta", "run.requires_action"]
CUT_OFF = [TextDelta("Well,"), TurnFinished("length")]
CUT_OFF_AMONG_CALLS = [CallStarted(0, "call_a", "f"), ArgumentsDelta(0, '{"a'), TurnFinished("length")]
FILTERED = [TextDelta("Well,"), TurnFinished("content_filter")]
TELLS_THEN_CALLS = [TextDelta("Let me look."), CallStarted(0, "call_a", "f"), TurnFinished("tool_calls")]
END_ERROR = {"status": "failed", "last_error": ERROR}


def take(turn, **options):
    return ("take_turn", {"turn": turn, **options})


# What happens to a run, and the events that tell it; a row of deltas counts as one.
CASES = {
    "answered": ([("say", {})], [*BEGUN, *SAID, "run.completed"]),
    "answered after a round of calls": (
        [("ask", {}), ("submit", {}), ("say", {"number": 2})],
        [*ASKED, "run.step.completed", "run.queued", "run.in_progress", *SAID, "run.completed"],
    ),
    "two rounds of calls": (
        [("ask", {}), ("submit", {}), take([CallStarted(0, "call_c", "f"), TurnFinished("tool_calls")], number=2)],
        [*ASKED, "run.step.completed", "run.queued", *ASKED[2:]],
    ),
    "a message before the calls": (
        [take(TELLS_THEN_CALLS)],
        [*BEGUN, *SAID, *STEP, "run.step.delta", "run.requires_action"],
    ),
    "cut off": ([take(CUT_OFF)], [*BEGUN, *SAID[:-2], "message.incomplete", "run.step.completed", "run.incomplete"]),
    "cut off among its calls": (
        [take(CUT_OFF_AMONG_CALLS)],
        [*BEGUN, *STEP, "run.step.delta", "run.step.completed", "run.incomplete"],
    ),
    "filtered": ([take(FILTERED)], [*BEGUN, *SAID[:-2], "message.incomplete", "run.step.completed", "run.failed"]),
    "cancelled before it began": (
        [("cancel", {}), ("end", {"status": "cancelled"})],
        [*BEGUN[:2], "run.cancelling", "run.cancelled"],
    ),
    "cancelled while it answers": (
        [("begin_to_say", {}), ("cancel", {}), ("end", {"status": "cancelled"})],
        [*BEGUN, *SAID[:-2], "run.cancelling", "message.incomplete", "run.step.cancelled", "run.cancelled"],
    ),
    "cancelled while it waits": (
        [("ask", {}), ("cancel", {}), ("end", {"status": "cancelled"})],
        [*ASKED, "run.cancelling", "run.step.cancelled", "run.cancelled"],
    ),
    "expired before it began": ([("end", {"status": "expired"})], [*BEGUN[:2], "run.expired"]),
    "expired while it answers": (
        [("begin_to_say", {}), ("end", {"status": "expired"})],
        [*BEGUN, *SAID[:-2], "message.incomplete", "run.step.expired", "run.expired"],
    ),
    "expired while it waits": (
        [("ask", {}), ("end", {"status": "expired"})],
        [*ASKED, "run.step.expired", "run.expired"],
    ),
    "failed while it answers": (
        [("begin_to_say", {}), ("end", END_ERROR)],
        [*BEGUN, *SAID[:-2], "message.incomplete", "run.step.failed", "run.failed"],
    ),
}


@pytest.fixture
def happen(client, worker, run):
    """Do one thing after the other to a run."""

    async def do(happenings):
        for name, options in happenings:
            if name == "cancel":
                await client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
            elif name == "submit":
                path = {"run_id": run.id, "thread_id": run.thread_id}
                await client.beta.threads.runs.submit_tool_outputs(**path, tool_outputs=OUTPUTS)
            else:
                await getattr(worker, name)(run.id, **options)

    return do


def one_for_each_row_of_deltas(frames):
    told = [frame.event.removeprefix("thread.") for frame in frames]
    return [name for at, name in enumerate(told) if not (at and name.endswith("delta") and told[at - 1] == name)]


@pytest.mark.parametrize("case", CASES)
async def test_events_come_in_order(run, happen, read_stream, worker, case):
    happenings, expected = CASES[case]
    await happen(happenings)
    path = f"/v1/threads/{run.thread_id}/runs/{run.id}"
    asks = expected[-1] == "run.requires_action"
    if asks:
        await worker.end(run.id, "expired")
    told = one_for_each_row_of_deltas(await read_stream(f"{path}/events"))

    assert told[: len(expected)] == expected
    assert asks or told == [*expected, "done"]


async def test_the_events_of_a_run_that_failed_carry_why_and_when(run, happen, read_stream):
    await happen([("begin_to_say", {}), ("end", END_ERROR)])
    told = {frame.event: frame.data for frame in await read_stream(f"/v1/runs/{run.id}/events")}

    assert told["thread.message.incomplete"]["incomplete_details"] == {"reason": "run_failed"}
    assert told["thread.message.incomplete"]["content"] == []
    assert told["thread.run.step.failed"]["last_error"] == told["thread.run.failed"]["last_error"] == ERROR
    assert told["thread.run.failed"]["failed_at"] == told["thread.run.step.failed"]["failed_at"] is not None


async def test_a_step_has_fewer_error_codes_than_its_run(client, run, happen):
    refused = {"code": "invalid_prompt", "message": "No."}
    await happen([("begin_to_say", {}), ("end", {"status": "failed", "last_error": refused})])
    found = await client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)
    [step] = (await client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id)).data

    assert (found.last_error.code, step.last_error.code) == ("invalid_prompt", "server_error")


async def test_what_expires_says_so_in_the_run_the_step_and_the_message(client, run, happen):
    await happen([("begin_to_say", {}), ("end", {"status": "expired"})])
    found = await client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)
    [step] = (await client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id)).data
    [message] = (await client.beta.threads.messages.list(run.thread_id, run_id=run.id)).data

    assert (found.status, found.expires_at) == ("expired", run.expires_at)
    assert (step.status, step.to_dict()["expires_at"]) == ("expired", None)
    assert step.expired_at is not None
    assert (message.status, message.incomplete_details.reason) == ("incomplete", "run_expired")


async def test_a_step_says_when_it_expires_only_in_the_stream(run, happen, read_stream):
    await happen([("say", {})])
    steps = [it.data for it in await read_stream(f"/v1/runs/{run.id}/events") if ".step." in it.event]

    assert [step["expires_at"] for step in steps] == [run.expires_at] * 3


async def test_the_deltas_of_parallel_calls_tell_which_call_they_belong_to(run, happen, read_stream):
    await happen([("ask", {}), ("end", {"status": "expired"})])
    frames = await read_stream(f"/v1/runs/{run.id}/events")
    calls = [it.data["delta"]["step_details"]["tool_calls"][0] for it in frames if it.event.endswith("step.delta")]

    first = {"index": 0, "type": "function"}
    assert calls[:3] == [
        {**first, "id": "call_a", "function": {"name": "get_weather", "arguments": "", "output": None}},
        {**first, "function": {"arguments": '{"city":'}},
        {**first, "function": {"arguments": '"Oslo"}'}},
    ]
    assert [(call["index"], call.get("id")) for call in calls[3:]] == [(1, "call_b"), (1, None)]
