"""Whether this process reads what the others wrote: seen on one payload that every namespace with a worker has."""

from collections.abc import Sequence
from datetime import timedelta

from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client, ScheduleActionStartWorkflow
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.errors import OpenRunUnreadable, PayloadKeyMissing
from lockstitch.starter.contract import THREAD_RUN
from lockstitch.starter.payload_keys import is_encrypted, key_id_of

_TIMEOUT = timedelta(seconds=10)
_OPEN_RUNS_LOOKED_AT = 10
_NOTHING_TO_SEE = (
    RPCStatusCode.NOT_FOUND,
    RPCStatusCode.PERMISSION_DENIED,
    RPCStatusCode.UNIMPLEMENTED,  # Temporal's server for tests has no schedules
)


def housekeeping_schedule(task_queue: str) -> str:
    """Return the id of the schedule whose input is looked at; a worker keeps it encrypted with its first key."""
    return f"housekeeping-{task_queue}"


async def check_payload_keys(client: Client, task_queue: str) -> None:
    """See that the client reads payloads of its namespace.

    Raises `PayloadKeyMissing` and `PayloadUnreadable`. Before the first worker there is nothing to look at.
    """
    handle = client.get_schedule_handle(housekeeping_schedule(task_queue))
    try:
        described = await handle.describe(rpc_timeout=_TIMEOUT)
    except RPCError as error:
        if error.status in _NOTHING_TO_SEE:
            return
        raise
    await see_readable(client, inputs_of(described.schedule.action))


async def check_open_runs(client: Client, task_queue: str) -> None:
    """See that the client reads runs which are open and were begun before the first key was the first one.

    Looks at some of them, as the server's search knows them. Raises `OpenRunUnreadable`, and as `check_payload_keys`.
    """
    described = await client.get_schedule_handle(housekeeping_schedule(task_queue)).describe(rpc_timeout=_TIMEOUT)
    changed_at = described.info.last_updated_at
    if changed_at is None:
        return
    terms = {"WorkflowType =": THREAD_RUN, "ExecutionStatus =": "Running", "TaskQueue =": task_queue.replace("'", "''")}
    terms["StartTime <"] = changed_at.isoformat()
    query = " AND ".join(f"{name} '{value}'" for name, value in terms.items())
    async for run in client.list_workflows(query, limit=_OPEN_RUNS_LOOKED_AT, page_size=_OPEN_RUNS_LOOKED_AT):
        try:
            await see_readable(client, await _input(client, run.id, run.run_id))
        except PayloadKeyMissing as error:
            raise OpenRunUnreadable(run.id, error.key_id) from error


async def _input(client: Client, run_id: str, execution_id: str) -> Sequence[Payload]:
    """Return the input of a run as the server has it."""
    first = await client.workflow_service.get_workflow_execution_history(
        GetWorkflowExecutionHistoryRequest(
            namespace=client.namespace,
            execution=WorkflowExecution(workflow_id=run_id, run_id=execution_id),
            maximum_page_size=1,
        )
    )
    started = [event.workflow_execution_started_event_attributes for event in first.history.events]
    return started[0].input.payloads if started else ()


async def see_readable(client: Client, payloads: Sequence[Payload]) -> None:
    """See that the client reads payloads; raises `PayloadKeyMissing` and `PayloadUnreadable`."""
    codec = client.data_converter.payload_codec
    for payload in filter(is_encrypted, payloads):
        if codec is None:
            raise PayloadKeyMissing(key_id_of(payload))
        await codec.decode([payload])


def inputs_of(action: object) -> Sequence[Payload]:
    """Return the payloads that a schedule starts its workflow with, as they came from the server."""
    args = action.args if isinstance(action, ScheduleActionStartWorkflow) else ()
    return [arg for arg in args if isinstance(arg, Payload)]
