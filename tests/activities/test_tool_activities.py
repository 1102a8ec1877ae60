"""One tool call as an activity: what is recorded, what is tried again, and what the model reads."""

import asyncio
import threading
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from lockstitch.activities.messages import CallTool, RunRef, ToolCallDone
from lockstitch.activities.tool_calls import ToolActivities
from lockstitch.assistants.store import tool_calls
from lockstitch.tools import ToolContext, ToolRegistry, tool

RUN = RunRef(run_id="run_1", thread_id="thread_1", assistant_id="asst_1", tenant="acme")


@pytest.fixture
def call(database):
    """Call a handler as a worker would, on a call whose arguments are in the store."""

    async def run(handler, arguments: str = "{}", environment: ActivityEnvironment | None = None) -> ToolCallDone:
        [activity] = ToolActivities(database, ToolRegistry([handler])).activities()
        name = handler.__lockstitch_tool__.name
        if await stored(database) is None:
            row = {"run_id": "run_1", "call_id": "call_1", "thread_id": "thread_1", "step_id": "step_1"}
            made = row | {"position": 0, "name": name, "arguments": arguments}
            await database.write(lambda connection: tool_calls.add(connection, [made]))
        message = CallTool(run=RUN, call_id="call_1", name=name)
        return await (environment or ActivityEnvironment()).run(activity, message)

    return run


async def stored(database):
    return await database.read(lambda connection: tool_calls.get(connection, "run_1", "call_1"))


async def failing(call, handler, **options) -> ApplicationError:
    with pytest.raises(ApplicationError) as failed:
        await call(handler, **options)
    return failed.value


async def test_the_output_is_in_the_store_and_not_in_the_result(call, database):
    @tool
    async def find(number: int) -> dict[str, int]:
        return {"found": number}

    done = await call(find, '{"number": 17}')
    row = await stored(database)

    assert (done.call_id, done.outcome, done.attempts, done.error) == ("call_1", "succeeded", 1, None)
    assert (row["output"], row["outcome"], row["attempts"]) == ('{"found":17}', "succeeded", 1)


async def test_an_output_that_is_recorded_is_not_computed_again(call, database):
    calls = []

    @tool
    async def charge() -> str:
        calls.append("charged")
        return "receipt 1"

    first = await call(charge)
    again = await call(charge)

    assert calls == ["charged"]
    assert (again.outcome, again.attempts) == (first.outcome, 1)
    assert again.duration == first.duration


async def test_an_output_that_came_from_outside_is_not_computed(call, database):
    @tool
    async def find() -> str:
        raise AssertionError

    row = {"run_id": "run_1", "call_id": "call_1", "thread_id": "thread_1", "step_id": "step_1", "position": 0}
    await database.write(lambda connection: tool_calls.add(connection, [row | {"name": "find", "arguments": "{}"}]))
    await database.write(lambda it: tool_calls.record_output(it, "run_1", "call_1", "known", "answered"))

    assert (await call(find)).outcome == "answered"


async def test_the_handler_learns_which_call_it_answers(call):
    seen: list[ToolContext] = []

    @tool(timeout=timedelta(seconds=30))
    async def find(context: ToolContext) -> str:
        seen.append(context)
        return "ok"

    await call(find)

    [context] = seen
    assert (context.run_id, context.thread_id, context.call_id) == ("run_1", "thread_1", "call_1")
    assert (context.tool, context.tenant, context.attempt) == ("find", "acme", 1)
    assert timedelta(seconds=20) < context.remaining <= timedelta(seconds=30)


async def test_attempts_are_counted_over_workers_and_the_last_one_is_final(call, database):
    @tool(max_attempts=3)
    async def broken() -> str:
        raise ConnectionError("the bank did not answer")

    failures = [await failing(call, broken) for _ in range(3)]

    assert [failure.details for failure in failures] == [(1,), (2,), (3,)]
    assert [failure.non_retryable for failure in failures] == [False, False, True]
    assert {failure.message for failure in failures} == {"ConnectionError: the bank did not answer"}
    assert {failure.type for failure in failures} == {"ConnectionError"}
    assert (await stored(database))["output"] is None


async def test_an_error_that_is_not_worth_another_try_is_final_at_once(call):
    @tool(max_attempts=3, non_retryable=(LookupError,))
    async def broken() -> str:
        raise KeyError("no such order")

    failure = await failing(call, broken)

    assert (failure.non_retryable, failure.details, failure.type) == (True, (1,), "KeyError")
    assert failure.message == "KeyError: 'no such order'"


async def test_an_error_without_words_is_named(call):
    @tool
    async def broken() -> str:
        raise ConnectionResetError

    assert (await failing(call, broken)).message == "ConnectionResetError"


async def test_arguments_that_do_not_fit_are_an_output_that_the_model_reads(call, database):
    calls = []

    @tool
    async def find(number: int) -> str:
        calls.append(number)
        return "found"

    done = await call(find, '{"number": "many"}')
    row = await stored(database)

    assert (done.outcome, row["outcome"], calls) == ("invalid_arguments", "invalid_arguments", [])
    assert row["output"] == done.error
    assert row["output"].startswith("Error: Invalid arguments for 'find': ")
    assert "number" in row["output"]


async def test_a_sync_handler_runs_in_a_thread_and_may_send_heartbeats(call):
    beats, threads = asyncio.Queue(), []

    @tool
    def find(context: ToolContext) -> str:
        threads.append(threading.current_thread())
        context.heartbeat("half way")
        return "found"

    environment = ActivityEnvironment()
    environment.on_heartbeat = beats.put_nowait
    await call(find, environment=environment)

    assert threads[0] is not threading.main_thread()
    assert await asyncio.wait_for(beats.get(), 5) == "half way"


async def test_a_handler_that_takes_too_long_is_stopped_and_tried_again(call):
    stopped = asyncio.Event()

    @tool(timeout=timedelta(milliseconds=30), retry_safe=True)
    async def slow() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return "never"

    failure = await failing(call, slow)

    assert stopped.is_set()
    assert failure.message == "TimeoutError: it did not finish within 0.03 s"
    assert not failure.non_retryable


async def test_a_timeout_of_the_handlers_own_is_told_in_its_words(call):
    @tool
    async def slow() -> str:
        raise TimeoutError("the bank is slow")

    assert (await failing(call, slow)).message == "TimeoutError: the bank is slow"


async def test_a_sync_handler_that_takes_too_long_is_given_up(call):
    release = threading.Event()

    @tool(timeout=timedelta(milliseconds=30))
    def slow() -> str:
        release.wait(10)
        return "late"

    failure = await failing(call, slow)
    release.set()

    assert "did not finish within 0.03 s" in failure.message


async def test_a_cancelled_call_ends_its_handler_and_records_nothing(call, database):
    began, ended = asyncio.Event(), asyncio.Event()

    @tool
    async def long() -> str:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return "never"

    environment = ActivityEnvironment()
    calling = asyncio.create_task(call(long, environment=environment))
    await asyncio.wait_for(began.wait(), 5)
    environment.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling

    assert ended.is_set()
    assert (await stored(database))["output"] is None


async def test_a_handler_that_answers_after_another_did_changes_nothing(call, database):
    @tool
    async def find() -> str:
        await database.write(lambda it: tool_calls.record_output(it, "run_1", "call_1", "first", "answered"))
        return "second"

    done = await call(find)

    assert (await stored(database))["output"] == "first"
    assert done.outcome == "answered"


async def test_an_error_is_told_in_a_form_that_can_be_sent_and_stored(call):
    """The names of files may hold what is no text, and some errors quote a whole answer."""

    @tool
    async def broken() -> str:
        raise OSError("no file data/\udcff.csv" + "x" * 1_000_000)

    failure = await failing(call, broken)

    assert failure.message.startswith("OSError: no file data/?.csvxxx")
    assert len(failure.message.encode()) < 5000


async def test_arguments_that_did_not_fit_are_told_again_when_the_answer_was_lost(call):
    @tool
    async def find(number: int) -> str:
        return "found"

    first, again = [await call(find, '{"number": "many"}') for _ in range(2)]

    assert first.error
    assert (again.outcome, again.error) == (first.outcome, first.error)


async def test_a_call_that_the_run_does_not_have_is_an_error_for_good(database):
    @tool
    async def find() -> str:
        return "found"

    [activity] = ToolActivities(database, ToolRegistry([find])).activities()
    with pytest.raises(ApplicationError, match="The run has no tool call 'call_1'") as failed:
        await ActivityEnvironment().run(activity, CallTool(run=RUN, call_id="call_1", name="find"))
    assert failed.value.non_retryable
