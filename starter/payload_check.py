"""Whether this process reads what the others wrote: seen on one payload that every namespace with a worker has."""

from collections.abc import Sequence
from datetime import timedelta

from temporalio.api.common.v1 import Payload
from temporalio.client import Client, ScheduleActionStartWorkflow
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.errors import PayloadKeyMissing
from lockstitch.starter.payload_keys import is_encrypted, key_id_of

_TIMEOUT = timedelta(seconds=10)


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
        if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.PERMISSION_DENIED):
            return
        raise
    await see_readable(client, inputs_of(described.schedule.action))


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
