"""What the Temporal server has of a thread's runs: every execution, and what they started."""

from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import workflow
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from lockstitch.errors import TemporalKeeps
from lockstitch.starter import contract
from lockstitch.starter.thread_traces import ThreadTraces

WAIT = timedelta(seconds=60)


@workflow.defn(name="DeliverNotification")
class Notification:
    """One that is still being tried."""

    @workflow.run
    async def run(self) -> None:
        await workflow.wait_condition(lambda: False)


@workflow.defn(name=contract.THREAD_RUN)
class LongRun:
    """A run that tells somebody, leaves its history behind twice, and ends."""

    @workflow.run
    async def run(self, round_number: int) -> None:
        if round_number == 0:
            child = f"notify-{workflow.info().workflow_id}"
            policy = workflow.ParentClosePolicy.ABANDON
            await workflow.start_child_workflow(Notification.run, id=child, parent_close_policy=policy)
        if round_number < 2:
            workflow.continue_as_new(round_number + 1)


@pytest.fixture
async def long_run(temporal, eventually):
    """A thread's long run that has ended; returns the ids of both."""
    thread_id, run_id, queue = f"thread_{uuid4().hex}", f"run_{uuid4().hex}", f"test-{uuid4()}"
    attributes = TypedSearchAttributes([SearchAttributePair(contract.THREAD, thread_id)])
    runner = UnsandboxedWorkflowRunner()
    async with Worker(temporal, task_queue=queue, workflows=[LongRun, Notification], workflow_runner=runner):
        await temporal.execute_workflow(LongRun.run, 0, id=run_id, task_queue=queue, search_attributes=attributes)
        traces = ThreadTraces(temporal, WAIT)

        async def all_show() -> bool:
            return len(await traces.executions([run_id])) == 4

        await eventually(all_show)
        yield thread_id, run_id


async def test_all_executions_of_a_run_and_what_it_started_are_found_and_deleted(temporal, long_run):
    thread_id, run_id = long_run
    traces = ThreadTraces(temporal, WAIT)
    found = await traces.executions(await traces.run_ids(thread_id))

    assert await traces.run_ids(thread_id) == {run_id}
    assert [it.workflow_id for it in found] == [f"notify-{run_id}", run_id, run_id, run_id]  # the run goes last
    assert len({it.run_id for it in found}) == 4
    await traces.delete(found)
    assert (await traces.executions([run_id]), await traces.run_ids(thread_id)) == ([], set())
    assert await traces.newest(run_id) is await traces.newest(f"notify-{run_id}") is None
    await traces.delete(found)  # which are gone


async def test_workflows_that_the_server_still_shows_after_the_patience_are_told_of(temporal, long_run):
    _, run_id = long_run
    impatient = ThreadTraces(temporal, timedelta(0))
    *_, one_of_three = await impatient.executions([run_id])

    # The run's other two executions stay, so it is still shown however fast the server is.
    with pytest.raises(
        TemporalKeeps, match=r"still shows 1 workflows after 0 s, and goes on deleting them\. Purge the"
    ):
        await impatient.delete([one_of_three])
