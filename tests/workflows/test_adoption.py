"""Runs of our own store that nobody carries are found and go on."""

import time
from datetime import timedelta
from uuid import uuid4

import pytest

from lockstitch.activities.adoption import Sweep
from lockstitch.assistants.store import commands, runs, threads
from lockstitch.assistants.store.runs import NewRun
from lockstitch.starter.contract import NewMessage, RunParameters, RunPolicy, ToolOutput
from lockstitch.tools import tool
from lockstitch.workflows.adoption import AdoptionSweep

AT_ONCE = Sweep(grace=timedelta(seconds=-5))


@tool
async def lookup_order(number: int) -> str:
    """Look up an order."""
    return f"order {number} was shipped"


@pytest.fixture
def stranded(eventually):
    """Start a run, wait until it waits for an output, and take its workflow away."""

    async def strand(lockstitch) -> str:
        policy = RunPolicy(on_missing_handler="wait")
        definition = lookup_order.__lockstitch_tool__.definition()
        request = await lockstitch.request("Look up order 17.", policy, tools=[definition])
        run_id = await lockstitch.starter.start(request)

        await eventually(lambda: pending_calls(lockstitch, run_id))
        await lockstitch.temporal.get_workflow_handle(run_id).terminate("an operator's mistake")
        return run_id

    return strand


async def pending_calls(lockstitch, run_id):
    return (await lockstitch.starter.snapshot(run_id)).pending_calls


async def sweep(lockstitch):
    handle = await lockstitch.temporal.start_workflow(
        AdoptionSweep.run, AT_ONCE, id=f"sweep-{uuid4()}", task_queue=lockstitch.task_queue
    )
    return await handle.result()


async def test_a_run_whose_workflow_was_terminated_goes_on_where_it_was(engine, stranded, eventually):
    async with engine([]) as lockstitch:
        run_id = await stranded(lockstitch)

        async def adopted() -> bool:  # the server's search needs a moment to know that the workflow is gone
            return (await sweep(lockstitch)).adopted == [run_id]

        await eventually(adopted)
        [pending] = await eventually(lambda: pending_calls(lockstitch, run_id))
        await lockstitch.starter.answer(run_id, [ToolOutput(tool_call_id=pending.call_id, output="Lost at sea.")])
        result = await lockstitch.starter.result(run_id)
        names = await lockstitch.event_names(run_id)

    assert (result.run_id, result.status, result.tool_calls[0].outcome) == (run_id, "completed", "answered")
    assert names.count("run.created") == names.count("run.completed") == 1


async def test_a_worker_that_has_the_handler_answers_the_run_that_was_left_behind(engine, stranded, eventually):
    async with engine([]) as lockstitch:
        run_id = await stranded(lockstitch)
    async with engine([lookup_order], task_queue=lockstitch.task_queue) as another:

        async def adopted() -> bool:
            return (await sweep(another)).adopted == [run_id]

        await eventually(adopted)
        result = await another.starter.result(run_id)

    assert (result.status, result.tool_calls[0].outcome) == ("completed", "succeeded")


async def test_a_run_that_is_carried_is_left_alone(engine, eventually):
    async with engine([]) as lockstitch:
        definition = lookup_order.__lockstitch_tool__.definition()
        request = await lockstitch.request(
            "Look up order 17.", RunPolicy(on_missing_handler="wait"), tools=[definition]
        )
        run_id = await lockstitch.starter.start(request)

        await eventually(lambda: pending_calls(lockstitch, run_id))
        found = await sweep(lockstitch)
        await lockstitch.starter.cancel(run_id)
        await lockstitch.starter.result(run_id)

    assert found.adopted == []


async def test_a_run_that_is_past_its_deadline_ends_as_expired(engine):
    async with engine([]) as lockstitch:
        run_id = await bare_row(lockstitch, created_at=int(time.time()) - 700)
        await sweep(lockstitch)
        result = await lockstitch.starter.result(run_id)

    assert result.status == "expired"


async def test_a_run_whose_start_is_still_to_be_delivered_is_not_stranded(engine):
    async with engine([]) as lockstitch:
        run_id = await bare_row(lockstitch, created_at=int(time.time()))
        await lockstitch.database.write(lambda it: commands.add(it, run_id, "start", {}))
        found = await sweep(lockstitch)

    assert found.adopted == []


async def test_a_run_that_was_being_cancelled_is_cancelled(engine):
    async with engine([]) as lockstitch:
        run_id = await bare_row(lockstitch, created_at=int(time.time()))
        row = await lockstitch.database.read(lambda it: runs.find(it, run_id))
        await lockstitch.database.write(lambda it: runs.begin_cancel(it, row["thread_id"], run_id))
        await sweep(lockstitch)
        result = await lockstitch.starter.result(run_id)

    assert result.status == "cancelled"


async def bare_row(lockstitch, created_at: int) -> str:
    """Write a run into the store as a process does that dies before anything else."""
    assistant_id = await lockstitch.assistant()
    run_id = f"run_{uuid4().hex[:24]}"

    def create(connection) -> None:
        thread = threads.create(connection, {}, created_at)
        threads.add_message(connection, thread["id"], NewMessage(role="user", content="Hello."), created_at)
        runs.create(connection, NewRun(run_id, thread["id"], assistant_id, RunParameters(), created_at))

    await lockstitch.database.write(create)
    return run_id
