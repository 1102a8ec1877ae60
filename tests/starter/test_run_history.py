"""How a run went, read from the history that the Temporal server keeps."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.worker import Worker

from lockstitch.errors import RunNotFound
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import STATUS, TENANT
from lockstitch.starter.payloads import data_converter
from lockstitch.starter.run_history import HistoryReader
from lockstitch.tools import tool

RECORDED = Path(__file__).parents[1] / "workflows" / "histories"


async def read(*names: str) -> Any:
    reader = HistoryReader(data_converter)
    for name in names:
        text = (RECORDED / f"{name}.json").read_text()
        for event in WorkflowHistory.from_json("run_1", text).events:
            await reader.read(event)
    return reader.history(is_whole=True)


async def test_a_recorded_run_has_its_statuses_turns_calls_and_what_came_from_outside():
    history = await read("mixed_round")

    assert history.statuses[0].status == "queued"
    assert history.statuses[-1].status == "completed"
    names = [activity.name for activity in history.activities]
    assert names[0] == "start_run"
    assert "submit_tool_outputs" in names
    assert [note.kind for note in history.notes] == ["answer"]
    assert {activity.outcome for activity in history.activities} == {"completed"}
    for activity in history.activities:
        assert activity.scheduled_at <= activity.started_at <= activity.ended_at


async def test_a_run_that_left_its_history_behind_is_read_as_one():
    """The numbers of events and activities begin anew in each execution."""
    once, twice = await read("handled_tool"), await read("handled_tool", "handled_tool")

    assert len(twice.activities) == 2 * len(once.activities)
    assert all(activity.outcome == "completed" for activity in twice.activities)


async def test_a_cancelled_run_shows_that_somebody_asked_for_it():
    history = await read("cancelled_while_waiting")

    assert "cancel_requested" in [note.kind for note in history.notes]
    assert history.statuses[-1].status == "cancelled"


async def test_what_a_newer_server_writes_is_passed_over():
    reader = HistoryReader(data_converter)
    await reader.read(HistoryEvent())

    assert reader.history(is_whole=True).activities == []


async def test_an_attempt_that_is_under_way_or_waited_for_is_shown_as_such(engine, eventually):
    goes_on, fails = asyncio.Event(), [True]

    @tool(initial_interval=timedelta(seconds=60), max_interval=timedelta(seconds=60))
    async def slow_step(step: int) -> str:
        """Take a step."""
        if fails:
            raise ConnectionError("Not yet.")
        await goes_on.wait()
        return "done"

    async with engine([slow_step]) as lockstitch:
        run_id = await lockstitch.starter.start(await lockstitch.request("Take step 1."))

        async def waiting() -> Any:
            found = (await lockstitch.starter.history(run_id)).activities[1:]
            return found[0] if found and found[0].next_attempt_at else None

        call = await eventually(waiting)
        assert (call.name, call.outcome, call.attempts, call.started_at) == ("tool.slow_step", "pending", 2, None)
        assert call.failure == "ConnectionError: Not yet."
        assert call.summary.startswith("slow_step call_")
        await lockstitch.starter.cancel(run_id)
        await lockstitch.starter.result(run_id)
        history = await lockstitch.starter.history(run_id)

    assert (history.activities[1].outcome, history.is_whole) == ("cancelled", True)


@workflow.defn(name="ThreadRun", sandboxed=False)
class LeavesItsHistoryBehind:
    @workflow.run
    async def run(self, more: int) -> None:
        await workflow.sleep(0.001)
        if more:
            workflow.continue_as_new(more - 1)


async def test_a_run_that_left_its_history_behind_is_one_run_with_one_history(temporal, eventually):
    tenant, queue = f"tenant-{uuid4()}", f"test-{uuid4()}"
    attributes = TypedSearchAttributes([SearchAttributePair(TENANT, tenant), SearchAttributePair(STATUS, "queued")])
    options = {"task_queue": queue, "search_attributes": attributes}
    async with Worker(temporal, task_queue=queue, workflows=[LeavesItsHistoryBehind]), Starter(temporal) as starter:
        await temporal.execute_workflow("ThreadRun", 2, id=f"run_{uuid4().hex}", **options)

        async def listed() -> Any:
            found = await starter.list(tenant=tenant)
            return found if found and found[0].ended_at else None

        [run] = await eventually(listed)
        history = await starter.history(run.run_id)

    assert [note.kind for note in history.notes] == ["continued", "continued"]
    assert [change.status for change in history.statuses] == ["queued"]
    assert history.is_whole


async def test_a_run_that_was_terminated_is_not_counted_as_open(temporal, eventually):
    attributes = TypedSearchAttributes([SearchAttributePair(STATUS, "cancelling")])
    options = {"task_queue": f"test-{uuid4()}", "search_attributes": attributes}
    async with Starter(temporal) as starter:

        async def counted(number: int) -> bool:
            return await starter.count("cancelling") == number

        await eventually(lambda: counted(0))
        run = await temporal.start_workflow("ThreadRun", 0, id=f"run_{uuid4().hex}", **options)
        await eventually(lambda: counted(1))
        await run.terminate()
        await eventually(lambda: counted(0))


async def test_a_run_that_does_not_exist_has_no_history(engine):
    async with engine([], workers=False) as lockstitch:
        with pytest.raises(RunNotFound):
            await lockstitch.starter.history("run_unknown")
