"""What a Temporal namespace needs before runs can be carried in it: search attributes and schedules."""

from contextlib import suppress
from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
)

from lockstitch.activities.adoption import Sweep
from lockstitch.activities.housekeeping import Chores
from lockstitch.starter.search_attributes import ensure_search_attributes
from lockstitch.workflows.adoption import AdoptionSweep
from lockstitch.workflows.housekeeping import Housekeeping

SWEEP_EVERY = timedelta(seconds=30)
"""How often stranded runs are looked for."""

CHORES_EVERY = timedelta(minutes=1)
"""How often files and vector stores that have expired are removed."""


async def ensure_namespace(client: Client, task_queue: str) -> None:
    """Register the search attributes and make the schedules that are missing; raises `SearchAttributesMissing`."""
    await ensure_search_attributes(client)
    await _ensure_sweep(client, task_queue)
    await _ensure_housekeeping(client, task_queue)


async def _ensure_sweep(client: Client, task_queue: str) -> None:
    """Make the schedule that sweeps for stranded runs, where the namespace does not have it yet."""
    action = ScheduleActionStartWorkflow(
        AdoptionSweep.run, Sweep(), id=f"adoption-sweep-{task_queue}", task_queue=task_queue
    )
    note = "Takes over runs that nobody carries."
    await _ensure_schedule(client, f"adoption-{task_queue}", action, SWEEP_EVERY, note)


async def _ensure_housekeeping(client: Client, task_queue: str) -> None:
    """Make the schedule that removes what has expired, where the namespace does not have it yet."""
    action = ScheduleActionStartWorkflow(
        Housekeeping.run, Chores(), id=f"housekeeping-round-{task_queue}", task_queue=task_queue
    )
    note = "Removes files and vector stores that have expired."
    await _ensure_schedule(client, f"housekeeping-{task_queue}", action, CHORES_EVERY, note)


async def _ensure_schedule(
    client: Client, schedule_id: str, action: ScheduleActionStartWorkflow, every: timedelta, note: str
) -> None:
    schedule = Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
        state=ScheduleState(note=note),
    )
    with suppress(ScheduleAlreadyRunningError):
        await client.create_schedule(schedule_id, schedule)
