"""What concerns all runs and workers together, as a Temporal server of its own tells it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.errors import TemporalUnreachable
from lockstitch.starter import contract
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import RunPolicy, ThreadRunRequest
from lockstitch.starter.fleet import Fleet
from lockstitch.tests.temporal_server import started_temporal


async def start_with_status_since(client: Client, status: str, *ages: float) -> None:
    """Start runs that look as if they had had ``status`` for so many seconds."""
    for age in ages:
        since = datetime.now(UTC) - timedelta(seconds=age)
        attributes: Mapping = {contract.STATUS: status, contract.STATUS_SINCE: since}
        pairs = TypedSearchAttributes([SearchAttributePair(key, value) for key, value in attributes.items()])
        await client.start_workflow(
            contract.THREAD_RUN, id=f"run_{uuid4()}", task_queue="nobody", search_attributes=pairs
        )


async def count_becomes(eventually, starter: Starter, status: str, number: int) -> None:
    async def counted() -> bool:
        return await starter.count(status) == number

    await eventually(counted)


def age(since: datetime | None) -> float:
    assert since is not None
    return (datetime.now(UTC) - since).total_seconds()


REQUEST = ThreadRunRequest(assistant_id="asst_1", thread_id="thread_1")


async def test_a_run_that_nobody_has_taken_up_has_been_queued_since_it_was_started(starter, eventually):
    before = datetime.now(UTC)
    await starter.start(REQUEST)
    between = datetime.now(UTC)
    await starter.start(REQUEST)
    await count_becomes(eventually, starter, "queued", 2)

    assert before - timedelta(milliseconds=1) <= await starter.fleet.oldest("queued") <= between
    assert await starter.fleet.oldest("requires_action") is None


@pytest.mark.parametrize("ages", [range(30), [*range(30), 400], [5000, *range(30)], [7] * 30])
async def test_the_oldest_of_many_runs_is_found_with_few_queries(starter, own_temporal, eventually, ages):
    await start_with_status_since(own_temporal, "in_progress", *ages)
    await count_becomes(eventually, starter, "in_progress", len(ages))

    found = age(await Fleet(own_temporal, "nobody", page=4).oldest("in_progress"))
    assert max(ages) - max(2, max(ages) / 50) <= found <= max(ages) + 20


async def test_a_run_that_was_terminated_is_not_open(starter, own_temporal, eventually):
    run_id = await starter.start(REQUEST)
    await count_becomes(eventually, starter, "queued", 1)
    await own_temporal.get_workflow_handle(run_id).terminate()
    await count_becomes(eventually, starter, "queued", 0)

    assert await starter.fleet.oldest("queued") is None


async def test_a_run_is_overdue_a_minute_after_its_deadline(starter, own_temporal, eventually):
    late = datetime.now(UTC) - timedelta(seconds=90)
    for deadline in (late, late + timedelta(seconds=60)):
        pairs = TypedSearchAttributes([SearchAttributePair(contract.DEADLINE, deadline)])
        options = {"id": f"run_{uuid4()}", "task_queue": "nobody", "search_attributes": pairs}
        await own_temporal.start_workflow(contract.THREAD_RUN, **options)

    async def one_is_overdue() -> bool:
        return await starter.fleet.overdue() == 1

    await eventually(one_is_overdue)


async def test_a_run_shows_when_its_time_is_up(starter, own_temporal):
    run_id = await starter.start(REQUEST.model_copy(update={"policy": RunPolicy(deadline=timedelta(hours=1))}))
    shown = (await own_temporal.get_workflow_handle(run_id).describe()).typed_search_attributes

    assert shown[contract.DEADLINE] - shown[contract.STATUS_SINCE] == timedelta(hours=1)


async def test_a_run_may_have_more_time_than_there_are_dates(starter, own_temporal):
    run_id = await starter.start(REQUEST.model_copy(update={"policy": RunPolicy(deadline=timedelta(days=9_000_000))}))
    shown = (await own_temporal.get_workflow_handle(run_id).describe()).typed_search_attributes

    assert shown[contract.DEADLINE].year == 9999


async def test_tasks_that_no_worker_takes_are_a_backlog_without_pollers(starter, eventually):
    await starter.start(REQUEST)

    async def waits() -> bool:
        state = await starter.fleet.queue("runs", "workflow")
        return (state.pollers, state.backlog) == (0, 1)

    await eventually(waits)


async def refused_once_too_many(client: Client) -> bool:
    """Tell whether the server refuses to count because it was asked too often."""
    asked = CountWorkflowExecutionsRequest(namespace=client.namespace)
    try:
        await client.workflow_service.count_workflow_executions(asked)
    except RPCError as error:
        return error.status is RPCStatusCode.RESOURCE_EXHAUSTED
    return False


async def test_a_server_whose_quota_for_queries_is_used_up_answers_all_the_same(eventually):
    async with started_temporal("frontend.namespaceRPS.visibility=1") as client:
        await eventually(lambda: refused_once_too_many(client))
        for _ in range(50):  # many more than the quota of one a second gives back meanwhile
            await Fleet(client, "nobody").check()


async def test_a_server_that_is_gone_does_not_answer():
    async with started_temporal() as client:
        fleet = Fleet(client, "nobody")
        await fleet.check()
    began = datetime.now(UTC)
    with pytest.raises(TemporalUnreachable):
        await fleet.check()
    assert age(began) < 4
