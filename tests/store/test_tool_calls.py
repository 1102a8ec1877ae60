"""Tool calls: an output is written once, and attempts are counted until it is."""

import asyncio
from datetime import timedelta

from lockstitch.assistants.store import steps, tool_calls
from lockstitch.assistants.store.database import Database


async def test_the_first_output_stays(store):
    run = await store.run("in_progress")
    took = timedelta(milliseconds=1500)
    record = tool_calls.record_output

    assert await store.write(record, run["id"], "call_a", "first", "succeeded", took) is True
    assert await store.write(record, run["id"], "call_a", "second", "answered") is False
    call = await store.read(tool_calls.get, run["id"], "call_a")
    assert (call["output"], call["outcome"], call["duration_ms"]) == ("first", "succeeded", 1500)


async def test_of_outputs_that_race_exactly_one_is_written(store):
    run = await store.run("in_progress")
    async with Database(store.database.url) as other:

        def record(output: str):
            return lambda connection: tool_calls.record_output(connection, run["id"], "call_a", output, "answered")

        databases = (store.database, other) * 4
        written = await asyncio.gather(*(it.write(record(str(place))) for place, it in enumerate(databases)))

    assert written.count(True) == 1
    assert (await store.read(tool_calls.get, run["id"], "call_a"))["output"] == str(written.index(True))


async def test_attempts_are_counted_until_there_is_an_output(store):
    run = await store.run("in_progress")
    counted = [(await store.write(tool_calls.begin_attempt, run["id"], "call_a"))["attempts"] for _ in range(2)]
    await store.write(tool_calls.record_output, run["id"], "call_a", "done", "succeeded")
    again = await store.write(tool_calls.begin_attempt, run["id"], "call_a")

    assert counted == [1, 2]
    assert (again["attempts"], again["output"]) == (2, "done")


async def test_an_empty_output_is_an_output(store):
    run = await store.run("in_progress", calls=["call_a"])
    await store.write(tool_calls.record_output, run["id"], "call_a", "", "answered")

    assert await store.read(tool_calls.unanswered, run["id"]) == []
    assert await store.write(tool_calls.record_output, run["id"], "call_a", "later", "answered") is False


async def test_an_unknown_call_is_begun_by_nobody(store):
    run = await store.run("in_progress")

    assert await store.write(tool_calls.begin_attempt, run["id"], "call_unknown") is None
    assert await store.write(tool_calls.record_output, run["id"], "call_unknown", "?", "answered") is False


async def test_the_same_call_id_in_two_runs_means_two_calls(store):
    first, second = await store.run("in_progress"), await store.run("in_progress")
    await store.write(tool_calls.record_output, first["id"], "call_a", "of the first", "succeeded")

    assert await store.read(tool_calls.unanswered, first["id"]) == ["call_b"]
    assert await store.read(tool_calls.unanswered, second["id"]) == ["call_a", "call_b"]


async def test_the_calls_of_steps_come_in_the_order_of_the_model(store):
    run = await store.run("in_progress", calls=["call_z", "call_a", "call_m"])
    [step] = await store.read(steps.open_steps, run["id"])
    found = await store.read(tool_calls.of_steps, [step["id"], "step_unknown"])

    assert [call["call_id"] for call in found[step["id"]]] == ["call_z", "call_a", "call_m"]
    assert found["step_unknown"] == []
    assert await store.read(tool_calls.of_steps, []) == {}


async def test_of_a_call_that_failed_a_replacement_knows_the_attempts_though_the_model_was_told_of_it(store):
    """Its handler may have taken effect, so it keeps its key and is not called as if for the first time."""
    run = await store.run("in_progress", calls=("call_a",))
    await store.write(tool_calls.begin_attempt, run["id"], "call_a")
    await store.write(tool_calls.record_output, run["id"], "call_a", "Error: nobody knows", "failed")
    first = await store.read(tool_calls.get, run["id"], "call_a")
    same = {name: first[name] for name in ("run_id", "thread_id", "step_id", "position", "name", "arguments")}
    await store.write(tool_calls.add, [{**same, "call_id": "call_b", "upstream_id": "run_new"}])

    reused = await store.write(tool_calls.recognise_repeats, run["id"], "run_new")
    call = await store.write(tool_calls.begin_attempt, run["id"], "call_b")

    assert reused == []
    assert (call["repeats"], call["output"], call["attempts"]) == ("call_a", None, 2)
    assert tool_calls.earlier_outcome_is_unknown(call)


async def test_what_others_have_named_may_be_long(store):
    """Gateways make ids of several hundred characters, and models invent names of functions."""
    long = "x" * 1000
    call = {"run_id": "run_1", "thread_id": long, "step_id": "step_1", "position": 0, "arguments": "{}"}
    await store.write(tool_calls.add, [call | {"call_id": long, "name": long, "upstream_id": long}])

    kept = await store.read(tool_calls.get, "run_1", long)
    assert (kept["name"], kept["upstream_id"], kept["thread_id"]) == (long, long, long)
