"""What a Temporal namespace needs before runs can be carried in it: search attributes and schedules."""

from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
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
from temporalio.service import RPCError, RPCStatusCode

from lockstitch import telemetry
from lockstitch.activities.adoption import Sweep
from lockstitch.activities.housekeeping import Chores
from lockstitch.errors import SearchAttributesMissing
from lockstitch.starter import contract
from lockstitch.starter.payload_check import (
    check_open_runs,
    check_payload_keys,
    housekeeping_schedule,
    inputs_of,
    see_readable,
)
from lockstitch.starter.payload_keys import PLAIN, key_id_of
from lockstitch.workflows.adoption import AdoptionSweep
from lockstitch.workflows.housekeeping import Housekeeping

_REFUSALS = (
    RPCStatusCode.INVALID_ARGUMENT,  # it has as many as it may have
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNIMPLEMENTED,
)

SWEEP_EVERY = timedelta(seconds=30)
"""How often stranded runs are looked for."""

CHORES_EVERY = timedelta(minutes=1)
"""How often files and vector stores that have expired are removed."""


async def ensure_namespace(client: Client, task_queue: str) -> None:
    """Register the search attributes and make the schedules that are missing.

    Raises `PayloadKeyMissing` and `PayloadUnreadable`, before anything is changed, where the client does not read what
    is there; then `OpenRunUnreadable`.
    """
    await check_payload_keys(client, task_queue)
    await _ensure_search_attributes(client)
    await _ensure_sweep(client, task_queue)
    await _ensure_housekeeping(client, task_queue)
    await check_open_runs(client, task_queue)


async def _ensure_search_attributes(client: Client) -> None:
    """Register the search attributes of runs, where the namespace does not have them yet."""
    service, namespace = client.operator_service, client.namespace
    missing = await _missing_search_attributes(client)
    if not missing:
        return
    try:
        await service.add_search_attributes(AddSearchAttributesRequest(namespace=namespace, search_attributes=missing))
    except RPCError as error:
        if error.status not in _REFUSALS:
            raise
        kinds = {name: _type_name(kind) for name, kind in missing.items()}
        raise SearchAttributesMissing(namespace, kinds, error.message) from error


async def _missing_search_attributes(client: Client) -> dict[str, IndexedValueType.ValueType]:
    """Return the search attributes of runs that the namespace does not have, with their types."""
    wanted = {key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in contract.SEARCH_ATTRIBUTES}
    try:
        request = ListSearchAttributesRequest(namespace=client.namespace)
        known = (await client.operator_service.list_search_attributes(request)).custom_attributes
    except RPCError as error:
        if error.status not in _REFUSALS:
            raise
        return {name: kind for name, kind in wanted.items() if not await can_be_searched_by(client, name)}
    return {name: kind for name, kind in wanted.items() if name not in known}


async def can_be_searched_by(client: Client, attribute: str) -> bool:
    """Tell whether the namespace has a search attribute, where nobody may ask for their list."""
    try:
        await client.count_workflows(f"{attribute} IS NULL")
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            return False
        raise
    return True


def _type_name(kind: IndexedValueType.ValueType) -> str:
    """Return the type of a search attribute as Temporal's command line takes it, such as ``KeywordList``."""
    words = IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").split("_")
    return "".join(word.capitalize() for word in words)


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
