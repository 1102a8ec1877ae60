"""A run from request to end, on a real Temporal server with a real worker."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.store.schema import threads
from lockstitch.errors import AnswerRefused, RunFinished, RunNotFound
from lockstitch.starter.contract import DEADLINE, STATUS, STATUS_SINCE, RunPolicy, ThreadRunRequest, ToolOutput
from lockstitch.tools import ToolContext, tool

QUICKLY = {"initial_interval": timedelta(milliseconds=20), "max_interval": timedelta(milliseconds=50)}


@tool
async def lookup_order(number: int) -> dict[str, object]:
    """Look up an order."""
    return {"order": number, "status": "shipped"}


@tool
async def weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


async def test_a_run_calls_its_tool_and_answers_from_the_output(engine):
    async with engine([lookup_order]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Look up order 17."))

    assert result.status == "completed"
    assert "shipped" in result.last_message_text
    [call] = result.tool_calls
    assert (call.name, call.outcome, call.attempts) == ("lookup_order", "succeeded", 1)
    assert result.usage.total_tokens == result.usage.prompt_tokens + result.usage.completion_tokens > 0


async def test_the_event_log_tells_the_run_in_the_order_of_the_real_api(engine):
    async with engine([lookup_order]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Look up order 17."))
        names = await lockstitch.event_names(result.run_id)

    assert names == [
        "created", "run.created", "run.queued", "run.in_progress",
        "run.step.created", "run.step.in_progress", "run.step.delta", "run.step.completed",
        "run.step.created", "run.step.in_progress",
        "message.created", "message.in_progress", "message.delta", "message.completed",
        "run.step.completed", "run.completed",
    ]  # fmt: skip


async def test_the_calls_of_a_round_run_at_the_same_time(engine):
    meeting = asyncio.Barrier(2)

    @tool(timeout=timedelta(seconds=5))
    async def lookup_price(item: str) -> str:
        """Look up a price."""
        await meeting.wait()
        return "9 euros"

    @tool(timeout=timedelta(seconds=5))
    async def lookup_stock(item: str) -> str:
        """Look up the stock."""
        await meeting.wait()
        return "4 pieces"

    async with engine([lookup_price, lookup_stock]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request('Price and stock of "tent"?'))

    assert [call.outcome for call in result.tool_calls] == ["succeeded", "succeeded"]


async def test_calls_that_depend_on_each_other_take_one_round_each(engine):
    async with engine([lookup_order, weather]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Look up order 17, then the weather in Paris."))
        names = await lockstitch.event_names(result.run_id)

    assert [call.name for call in result.tool_calls] == ["lookup_order", "weather"]
    assert names.count("run.step.delta") == 2


async def test_a_handler_that_fails_once_is_called_again_with_the_same_idempotency_key(engine):
    keys = []

    @tool(**QUICKLY)
    async def refund(order: int, context: ToolContext) -> str:
        """Refund an order."""
        keys.append((context.attempt, context.idempotency_key))
        if context.attempt == 1:
            raise ConnectionError("the bank did not answer")
        return "refunded"

    async with engine([refund]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Refund order 17."))

    assert (result.tool_calls[0].outcome, result.tool_calls[0].attempts) == ("succeeded", 2)
    assert [attempt for attempt, _ in keys] == [1, 2]
    assert keys[0][1] == keys[1][1] == f"{result.run_id}:{result.tool_calls[0].call_id}"


@tool(max_attempts=2, **QUICKLY)
def broken_refund(order: int) -> str:
    """Refund an order."""
    raise ConnectionError("the bank did not answer")


async def test_a_handler_that_fails_for_good_becomes_an_error_that_the_model_sees(engine):
    async with engine([broken_refund]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Refund order 17."))

    assert result.status == "completed"
    assert (result.tool_calls[0].outcome, result.tool_calls[0].attempts) == ("failed", 2)
    assert "the bank did not answer" in result.last_message_text


async def test_a_handler_that_fails_for_good_ends_the_run_where_the_policy_says_so(engine):
    async with engine([broken_refund]) as lockstitch:
        policy = RunPolicy(on_tool_failure="fail_run")
        result = await lockstitch.starter.run(await lockstitch.request("Refund order 17.", policy))
        names = await lockstitch.event_names(result.run_id)

    assert result.status == "failed"
    assert "the bank did not answer" in result.last_error.message
    assert names[-2:] == ["run.step.failed", "run.failed"]


async def test_arguments_that_do_not_fit_go_back_to_the_model_without_calling_the_handler(engine):
    model = ScriptedModel(
        [
            {"round": 0, "call": [{"name": "lookup_order", "arguments": '{"number": "many"}'}]},
            {"round": 1, "say": "I see."},
        ]
    )
    async with engine([lookup_order], model) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Look up an order."))

    [call] = result.tool_calls
    assert call.outcome == "invalid_arguments"
    assert "number" in call.error


async def test_a_handler_that_takes_too_long_is_given_up(engine):
    @tool(timeout=timedelta(milliseconds=50), max_attempts=1, retry_safe=True)
    async def slow_report(topic: str) -> str:
        """Write a report."""
        await asyncio.Event().wait()
        return "never"

    async with engine([slow_report]) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request('Write a report on "tents".'))

    assert result.tool_calls[0].outcome == "failed"
    assert "did not finish within 0.05 s" in result.tool_calls[0].error


async def test_a_call_without_a_handler_waits_for_an_answer_from_outside(engine, eventually):
    async with engine([]) as lockstitch:
        request = await lockstitch.request("Look up order 17.", tools=[lookup_order.__lockstitch_tool__.definition()])
        run_id = await lockstitch.starter.start(request)
        waiting = await eventually(lambda: _waiting(lockstitch, run_id))
        with pytest.raises(AnswerRefused, match="does not wait for call_unknown"):
            await lockstitch.starter.answer(run_id, [ToolOutput(tool_call_id="call_unknown", output="?")])
        output = ToolOutput(tool_call_id=waiting.pending_calls[0].call_id, output="It is lost at sea.")
        await lockstitch.starter.answer(run_id, [output])
        result = await lockstitch.starter.result(run_id)
        with pytest.raises(RunFinished, match="completed"):
            await lockstitch.starter.answer(run_id, [output])

    assert (result.status, result.tool_calls[0].outcome) == ("completed", "answered")
    assert "lost at sea" in result.last_message_text


async def _waiting(lockstitch, run_id):
    snapshot = await lockstitch.starter.snapshot(run_id)
    return snapshot if snapshot.pending_calls else None


async def test_operators_see_since_when_a_run_has_its_status(engine, eventually):
    async with engine([]) as lockstitch:
        request = await lockstitch.request("Look up order 17.", tools=[lookup_order.__lockstitch_tool__.definition()])
        run_id = await lockstitch.starter.start(request)
        handle = lockstitch.temporal.get_workflow_handle(run_id)
        began = (await handle.describe()).start_time
        waiting = await eventually(lambda: _waiting(lockstitch, run_id))
        shown = (await handle.describe()).typed_search_attributes
        oldest = await eventually(lambda: lockstitch.starter.fleet.oldest("requires_action"))
        await lockstitch.starter.answer(
            run_id, [ToolOutput(tool_call_id=waiting.pending_calls[0].call_id, output="It is lost at sea.")]
        )
        await lockstitch.starter.result(run_id)
        at_the_end = (await handle.describe()).typed_search_attributes

    assert shown[STATUS] == "requires_action"
    assert began < shown[STATUS_SINCE] < at_the_end[STATUS_SINCE]
    assert oldest <= shown[STATUS_SINCE] < shown[DEADLINE]
    assert at_the_end[STATUS] == "completed"


async def test_cancelling_reaches_the_handler_and_ends_the_run(engine):
    began, ended = asyncio.Event(), asyncio.Event()

    @tool
    async def long_search(topic: str) -> str:
        """Search for long."""
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    async with engine([long_search]) as lockstitch:
        run_id = await lockstitch.starter.start(await lockstitch.request('Search for "tents".'))
        await began.wait()
        await lockstitch.starter.cancel(run_id)
        result = await lockstitch.starter.result(run_id)
        await asyncio.wait_for(ended.wait(), 20)
        names = await lockstitch.event_names(run_id)

    assert (result.status, result.tool_calls[0].outcome) == ("cancelled", "unanswered")
    assert names[-2:] == ["run.step.cancelled", "run.cancelled"]


async def test_a_run_that_is_open_at_its_deadline_expires(engine):
    async with engine([]) as lockstitch:
        definition = lookup_order.__lockstitch_tool__.definition()
        policy = RunPolicy(deadline=timedelta(seconds=1))
        request = await lockstitch.request("Look up order 17.", policy, tools=[definition])
        result = await lockstitch.starter.run(request)
        names = await lockstitch.event_names(result.run_id)

    assert result.status == "expired"
    assert names[-2:] == ["run.step.expired", "run.expired"]


@pytest.mark.parametrize("busy", ["model", "handler"])
async def test_a_run_that_is_busy_at_its_deadline_expires(engine, busy):
    @tool
    async def long_search(topic: str) -> str:
        """Search for long."""
        await asyncio.Event().wait()
        return "never"

    model = ScriptedModel([{"say": "never", "delay_seconds": 60}]) if busy == "model" else None
    async with engine([long_search], model) as lockstitch:
        policy = RunPolicy(deadline=timedelta(seconds=1), heartbeat_timeout=timedelta(seconds=1))
        result = await lockstitch.starter.run(await lockstitch.request('Search for "tents".', policy))
        names = await lockstitch.event_names(result.run_id)

    assert result.status == "expired"
    assert names[-1] == "run.expired"


async def test_a_run_whose_model_is_down_until_the_deadline_expires(engine):
    down = {"status": 503, "code": "server_error", "message": "overloaded"}
    model = ScriptedModel([{"say": "never", "fail": down}])
    async with engine([], model) as lockstitch:
        policy = RunPolicy(deadline=timedelta(seconds=2), upstream_attempts=100)
        result = await lockstitch.starter.run(await lockstitch.request("Hello.", policy))

    assert result.status == "expired"


async def test_a_model_that_fails_for_a_moment_is_asked_again(engine):
    failing = {"status": 503, "code": "server_error", "message": "overloaded", "retry_after_seconds": 0, "times": 1}
    model = ScriptedModel([{"say": "Here I am.", "fail": failing}])
    async with engine([], model) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Hello."))

    assert (result.status, result.last_message_text) == ("completed", "Here I am.")


async def test_a_turn_that_broke_in_its_middle_is_fenced_and_taken_again(engine):
    """Watchers see the broken message end and a new one begin; the thread keeps the finished one only."""
    failing = {"status": 500, "code": "server_error", "message": "gone", "after_deltas": 2, "times": 1}
    model = ScriptedModel([{"say": "One two three four.", "fail": failing}])
    async with engine([], model) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Count."))
        events = await lockstitch.events(result.run_id)
        names = [event.event.removeprefix("thread.") for event in events]

    assert result.last_message_text == "One two three four."
    assert len(result.message_ids) == 1
    if "message.incomplete" in names:  # where the broken attempt got as far as being recorded
        assert names.index("run.step.failed") == names.index("message.incomplete") + 1
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


async def test_a_model_that_refuses_fails_the_run_with_the_reason(engine):
    refusing = {"status": 401, "code": "invalid_api_key", "message": "Incorrect API key provided."}
    model = ScriptedModel([{"say": "?", "fail": refusing}])
    async with engine([], model) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Hello."))

    assert result.status == "failed"
    assert "Incorrect API key provided." in result.last_error.message


async def test_a_run_of_an_unknown_assistant_fails_and_leaves_nothing_but_the_error(engine):
    async with engine([]) as lockstitch:
        request = (await lockstitch.request("Hello.")).model_copy(update={"assistant_id": "asst_unknown"})
        result = await lockstitch.starter.run(request)
        events = await lockstitch.events(result.run_id)
        threads_left = await lockstitch.database.read(
            lambda connection: connection.scalar(select(func.count(threads.c.id)))
        )

    assert threads_left == 0
    assert (result.status, result.last_error.message) == ("failed", "No assistant found with id 'asst_unknown'.")
    assert [(event.seq, event.event) for event in events] == [(1, "error")]


async def test_the_same_key_means_the_same_run(engine):
    async with engine([]) as lockstitch:
        request = await lockstitch.request("Hello.")
        first = await lockstitch.starter.run(request, key="order-17")
        again = await lockstitch.starter.run(request, key="order-17")
        other = await lockstitch.starter.start(request.model_copy(update={"tenant": "b"}), key="order-17")
        await lockstitch.starter.result(other)

    assert first == again
    assert other != first.run_id


async def test_a_run_starts_without_a_worker_and_is_carried_out_when_one_comes(engine):
    async with engine([], workers=False) as without:
        run_id = await without.starter.start(await without.request("Hello."))
        assert (await without.starter.snapshot(run_id)).status == "queued"
        async with engine([], task_queue=without.task_queue) as lockstitch:
            result = await lockstitch.starter.result(run_id)

    assert result.status == "completed"


async def test_an_unknown_run_is_said_to_be_unknown(engine):
    async with engine([], workers=False) as lockstitch:
        for action in (lockstitch.starter.snapshot, lockstitch.starter.result, lockstitch.starter.cancel):
            with pytest.raises(RunNotFound, match="No run found with id 'run_unknown'"):
                await action("run_unknown")


async def test_a_run_on_a_busy_thread_is_refused_and_the_first_one_goes_on(engine, eventually):
    async with engine([]) as lockstitch:
        definition = lookup_order.__lockstitch_tool__.definition()
        first = await lockstitch.starter.start(await lockstitch.request("Look up order 17.", tools=[definition]))
        waiting = await eventually(lambda: _waiting(lockstitch, first))
        second = await lockstitch.starter.run(
            ThreadRunRequest(assistant_id=waiting.assistant_id, thread_id=waiting.thread_id)
        )
        output = ToolOutput(tool_call_id=waiting.pending_calls[0].call_id, output="found")
        await lockstitch.starter.answer(first, [output])
        result = await lockstitch.starter.result(first)

    assert second.last_error.message == f"Thread {waiting.thread_id} already has an active run {first}."
    assert result.status == "completed"
