"""What has waited longest is listed first, however small the limit, as a Temporal server of its own tells it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.common import SearchAttributePair, TypedSearchAttributes

from lockstitch.starter import contract
from lockstitch.starter.earliest_runs import earliest_runs
from lockstitch.starter.escalations import ESCALATIONS_MEMO, Escalation

OPEN_RUNS = f"WorkflowType = '{contract.THREAD_RUN}' AND ExecutionStatus = 'Running'"
NOW = datetime.now(UTC)


@pytest.fixture
def started(own_temporal, eventually):
    """Start a run for each set of search attributes, one after the other, and wait until all are listed."""

    async def start(*runs: Mapping, memos: list[Mapping[str, Any]] | None = None) -> list[str]:
        run_ids = [f"run_{uuid4().hex}" for _ in runs]
        for number, attributes in enumerate(runs):
            pairs = TypedSearchAttributes([SearchAttributePair(key, value) for key, value in attributes.items()])
            options = {"id": run_ids[number], "task_queue": "nobody", "search_attributes": pairs}
            await own_temporal.start_workflow(contract.THREAD_RUN, **options, memo=memos[number] if memos else None)

        async def all_are_listed() -> bool:
            return {run.id async for run in own_temporal.list_workflows(OPEN_RUNS)} == set(run_ids)

        await eventually(all_are_listed)
        return run_ids

    return start


def asked(opened_at: datetime) -> Escalation:
    return Escalation(
        id=f"esc_{uuid4().hex}", run_id="run_1", call_id="call_1", tool="refund", reason="approval",
        detail="It wants an approval.", opened_at=opened_at, deadline=opened_at + timedelta(days=1), on_deadline="deny",
    )  # fmt: skip


async def test_of_more_escalations_than_are_wanted_the_oldest_are_listed(starter, started):
    escalations = [asked(NOW - timedelta(minutes=age)) for age in (30, 50, 20, 40, 10, 5)]
    memos = [{ESCALATIONS_MEMO: [escalation]} for escalation in escalations]
    await started(*[{contract.NEEDS_ATTENTION: True}] * len(memos), memos=memos)

    oldest_first = sorted(escalations, key=lambda escalation: escalation.opened_at)
    assert await starter.escalations(limit=2) == oldest_first[:2]
    assert await starter.escalations() == oldest_first


@pytest.mark.parametrize("most", [4, 10, 100])
async def test_of_more_runs_than_are_read_the_earliest_are(own_temporal, starter, started, most):
    run_ids = await started(*[{contract.STATUS: "queued"}] * 30)
    found = {run.id async for run in earliest_runs(own_temporal, OPEN_RUNS, "StartTime", most)}

    assert min(most, 30) <= len(found) <= most + most // 4
    assert found == set(run_ids[: len(found)])


async def test_the_earliest_by_any_moment_are_found_even_where_most_have_the_same(own_temporal, starter, started):
    ages = [*[timedelta(hours=1)] * 20, timedelta(days=40), timedelta(days=9000)]
    run_ids = await started(*[{contract.DEADLINE: NOW - age} for age in ages])
    found = {run.id async for run in earliest_runs(own_temporal, OPEN_RUNS, contract.DEADLINE.name, 4)}

    assert set(run_ids[-2:]) <= found


async def test_runs_past_their_deadline_are_listed_with_the_longest_overdue_first(starter, started):
    minutes = (3, 90, -60, 20, 0.5)
    deadlines = [NOW - timedelta(minutes=late) for late in minutes]
    statuses = ("queued", "in_progress", "queued", "queued", "queued")
    pairs = zip(deadlines, statuses, strict=True)
    run_ids = await started(*[{contract.DEADLINE: deadline, contract.STATUS: status} for deadline, status in pairs])

    overdue = await starter.overdue()
    assert [run.run_id for run in overdue] == [run_ids[place] for place in (1, 3, 0, 4)]
    assert overdue[0].deadline == deadlines[1]
    assert [run.run_id for run in await starter.overdue(limit=2)] == [run_ids[1], run_ids[3]]
    assert [run.run_id for run in await starter.overdue(status="queued", limit=1)] == [run_ids[3]]
    assert await starter.overdue(thread_id="it's") == []


async def test_a_run_that_has_ended_is_not_overdue(starter, started, own_temporal, eventually):
    [run_id] = await started({contract.DEADLINE: NOW - timedelta(hours=1)})
    assert len(await starter.overdue()) == 1
    await own_temporal.get_workflow_handle(run_id).terminate()

    async def none_is_overdue() -> bool:
        return await starter.overdue() == []

    await eventually(none_is_overdue)
