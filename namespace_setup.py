"""What a Temporal namespace needs before runs can be carried in it: search attributes and schedules."""

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
    ScheduleUpdate,
    ScheduleUpdateInput,
)

from lockstitch import telemetry
from lockstitch.activities.adoption import Sweep
from lockstitch.activities.housekeeping import Chores
from lockstitch.starter.payload_check import (
    check_open_runs,
    check_payload_keys,
    housekeeping_schedule,
    inputs_of,
    see_readable,
)
from lockstitch.starter.payload_keys import PLAIN, key_id_of
from lockstitch.starter.search_attributes import ensure_search_attributes
from lockstitch.workflows.adoption import AdoptionSweep
from lockstitch.workflows.housekeeping import Housekeeping

SWEEP_EVERY = timedelta(seconds=30)
"""How often stranded runs are looked for."""

CHORES_EVERY = timedelta(minutes=1)
"""How often files and vector stores that have expired are removed."""


async def ensure_namespace(client: Client, task_queue: str) -> None:
    """Register the search attributes and make the schedules that are missing.

    Raises `SearchAttributesMissing`, and `PayloadKeyMissing` and `PayloadUnreadable`, before anything is changed, where
    the client does not read what is there; then `OpenRunUnreadable`.
    """
    await check_payload_keys(client, task_queue)
    await ensure_search_attributes(client)
    await _ensure_sweep(client, task_queue)
    await _ensure_housekeeping(client, task_queue)
    await check_open_runs(client, task_queue)


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
    await _ensure_schedule(client, housekeeping_schedule(task_queue), action, CHORES_EVERY, note)


async def _ensure_schedule(
    client: Client, schedule_id: str, action: ScheduleActionStartWorkflow, every: timedelta, note: str
) -> None:
    schedule = Schedule(
        action=action,
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
        state=ScheduleState(note=note),
    )
    try:
        await client.create_schedule(schedule_id, schedule)
    except ScheduleAlreadyRunningError:
        await _keep_readable(client, schedule_id, action)


async def _keep_readable(client: Client, schedule_id: str, action: ScheduleActionStartWorkflow) -> None:
    """Encrypt the input of a schedule with the key that is the first now, for it would else need an old one for ever.

    Who has other keys sees it there (`check_payload_keys`).
    """
    handle = client.get_schedule_handle(schedule_id)
    present = inputs_of((await handle.describe()).schedule.action)
    await see_readable(client, present)
    wanted = await client.data_converter.encode(action.args)
    if [key_id_of(payload) for payload in present] == [key_id_of(payload) for payload in wanted]:
        return

    async def with_new_input(update: ScheduleUpdateInput) -> ScheduleUpdate:
        described = update.description.schedule
        assert isinstance(described.action, ScheduleActionStartWorkflow)  # noqa: S101 - it starts a workflow, as ours do
        described.action.args = wanted
        return ScheduleUpdate(described)

    await handle.update(with_new_input)
    telemetry.log.info("payload_key_changed", schedule=schedule_id, key=key_id_of(wanted[0]) or PLAIN)
