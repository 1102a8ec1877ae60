"""Encrypted payloads: what the Temporal server sees of a run, and what happens to keys that come, go and differ."""

import base64
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetWorkflowExecutionHistoryRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.converter import DataConverter

from lockstitch.errors import OpenRunUnreadable, PayloadKeyMissing, PayloadUnreadable
from lockstitch.history_replay import Sample, from_folder, from_server, replay, save
from lockstitch.namespace_setup import ensure_namespace
from lockstitch.starter.client import Starter, connect_temporal
from lockstitch.starter.escalations import Decision, Escalation
from lockstitch.starter.payload_keys import PayloadKeys
from lockstitch.starter.payloads import PayloadSettings, data_converter_with
from lockstitch.starter.temporal_server import TemporalServer
from lockstitch.tools import ToolContext, tool

K1, K2 = (f"{key_id}:{base64.b64encode(os.urandom(32)).decode()}" for key_id in ("k1", "k2"))
ANOTHER_K1 = f"k1:{base64.b64encode(os.urandom(32)).decode()}"

Connect = Callable[..., Any]


@pytest.fixture
def server(temporal) -> Callable[..., TemporalServer]:
    """The Temporal server of the tests, with keys."""
    address = temporal.service_client.config.target_host
    return lambda *keys: TemporalServer(address, payloads=PayloadSettings(keys=keys))


@pytest.fixture
def connect(server) -> Connect:
    return lambda *keys: connect_temporal(server(*keys))


@tool(max_attempts=1, on_failure="escalate")
async def refund_order(order: int) -> str:
    """Refund an order."""
    raise ValueError(f"secret sentence about {order}")


ENCRYPTED = base64.b64encode(b"binary/encrypted").decode()


async def seen_by_the_server(client: Client, run_id: str) -> list[Message]:
    """Return the history of a run and what is shown of it, as the Temporal server has them."""
    execution = WorkflowExecution(workflow_id=run_id)
    request = GetWorkflowExecutionHistoryRequest(namespace="default", execution=execution)
    history = await client.workflow_service.get_workflow_execution_history(request)
    assert not history.next_page_token
    shown = await client.workflow_service.describe_workflow_execution(
        DescribeWorkflowExecutionRequest(namespace="default", execution=execution)
    )
    return [history, shown]


def readable_payloads(value: Any, path: str = "") -> Iterator[str]:
    """Yield where payloads are that are not encrypted."""
    if isinstance(value, list):
        value = {str(number): it for number, it in enumerate(value)}
    if isinstance(value, dict):
        if value.get("metadata", {}).get("encoding", ENCRYPTED) != ENCRYPTED:
            yield f"{path}: {value}"
        for name, it in value.items():
            yield from readable_payloads(it, f"{path}.{name}")


async def open_escalation(starter: Starter, run_id: str) -> Escalation | None:
    return next((it for it in await starter.escalations(run_id) if it.is_open), None)


async def test_the_temporal_server_sees_no_text_of_a_run_and_its_people_do(engine, connect, eventually):
    """Neither the message, nor what a handler's error says, nor the escalation, nor the decision."""
    async with engine([refund_order], client=await connect(K1)) as lockstitch:
        request = await lockstitch.request("Refund order 17, secret wish.", metadata={"secret": "metadata"})
        run_id = await lockstitch.starter.start(request)
        escalation = await eventually(lambda: open_escalation(lockstitch.starter, run_id))
        [listed] = await lockstitch.starter.list(thread_id=(await lockstitch.starter.snapshot(run_id)).thread_id)
        decision = Decision(escalation_id=escalation.id, action="answer", output="secret output", by="secret name")
        await lockstitch.starter.decide(run_id, decision)
        result = await lockstitch.starter.result(run_id)
        seen = await seen_by_the_server(lockstitch.temporal, run_id)

    assert "secret sentence about 17" in escalation.detail
    assert listed.run_id == run_id
    assert (result.status, result.escalations[0].decision.by) == ("completed", "secret name")
    assert "secret output" in result.last_message_text
    assert not any(b"secret" in message.SerializeToString() for message in seen)
    found = [where for message in seen for where in readable_payloads(MessageToDict(message))]
    assert [where for where in found if ".searchAttributes." not in where] == []


async def test_a_failure_reaches_the_starter_as_it_was(engine, connect):
    @tool(max_attempts=2, initial_interval=timedelta(milliseconds=10))
    async def look_up(context: ToolContext) -> str:
        """Look something up."""
        if context.attempt == 1:
            raise LookupError("secret reason")
        return "found"

    async with engine([look_up], client=await connect(K1)) as lockstitch:
        result = await lockstitch.starter.run(await lockstitch.request("Look it up."))

    assert (result.status, result.tool_calls[0].attempts) == ("completed", 2)


async def test_runs_go_on_when_keys_come_are_exchanged_and_go(engine, connect, eventually):
    """A run that began without keys, and was carried by workers with each set of keys in turn, ends well."""

    @tool(approval=True)
    async def ship_order(order: int) -> str:
        """Ship an order."""
        return f"shipped {order}"

    async with engine([ship_order]) as lockstitch:
        run_ids = [await lockstitch.starter.start(await lockstitch.request("Ship order 17."))]
        await eventually(lambda: open_escalation(lockstitch.starter, run_ids[0]))
    for keys in (["plain", K1], [K1], [K1, K2], [K2, K1], ["plain", K2, K1]):
        client = await connect(*keys)
        async with engine([ship_order], client=client, task_queue=lockstitch.task_queue) as lockstitch:
            for run_id in run_ids:
                assert await open_escalation(lockstitch.starter, run_id)
            run_ids.append(await lockstitch.starter.start(await lockstitch.request("Ship order 17.")))
            await eventually(lambda starter=lockstitch.starter: open_escalation(starter, run_ids[-1]))
    client = await connect("plain", K2, K1)
    async with engine([ship_order], client=client, task_queue=lockstitch.task_queue) as lockstitch:
        for run_id in run_ids:
            escalation = await open_escalation(lockstitch.starter, run_id)
            await lockstitch.starter.decide(run_id, Decision(escalation_id=escalation.id, action="approve"))
            assert (await lockstitch.starter.result(run_id)).status == "completed"


async def test_a_run_whose_key_is_missing_waits_for_it(engine, connect, eventually):
    """Its workflow task is tried again until the key is there; the run does not fail."""
    async with engine([], client=await connect(K1), workers=False) as lockstitch:
        run_id = await lockstitch.starter.start(await lockstitch.request("Hello."))
    async with engine([], client=await connect(K2), task_queue=lockstitch.task_queue):
        handle = lockstitch.temporal.get_workflow_handle(run_id)

        async def a_task_failed() -> bool:
            events = (await handle.fetch_history()).events
            return any(event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED for event in events)

        await eventually(a_task_failed)
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    async with engine([], client=await connect(K2, K1), task_queue=lockstitch.task_queue) as lockstitch:
        assert (await lockstitch.starter.result(run_id)).status == "completed"


async def test_histories_are_kept_encrypted_and_replay_with_their_keys_only(engine, connect, tmp_path):
    client = await connect(K1)
    async with engine([], client=client) as lockstitch:
        run_id = (await lockstitch.starter.run(await lockstitch.request("A secret wish."))).run_id
    [written] = [
        save(sampled.history, tmp_path)
        async for sampled in from_server(client, Sample(query=f"WorkflowId = '{run_id}'"))
    ]

    def converted(*keys: str) -> DataConverter:
        return data_converter_with(PayloadKeys.parse(keys), None, 0)

    [fine] = [it async for it in replay(from_folder(tmp_path), converted(K2, K1))]
    [broken] = [it async for it in replay(from_folder(tmp_path), converted(K2))]
    assert "secret" not in written.read_text()
    assert (fine.workflow_id, fine.problem) == (run_id, None)
    assert "encrypted with the key 'k1'" in broken.problem


# --- who has other keys


async def connected(server: TemporalServer, task_queue: str) -> None:
    async with await Starter.connect(server, task_queue=task_queue):
        pass


async def test_whoever_has_other_keys_than_the_workers_is_told_when_it_connects(server, connect):
    queue = f"test-{uuid4()}"
    await ensure_namespace(await connect(K1), queue)

    await connected(server(K1), queue)
    await connected(server(K2, K1), queue)
    await connected(server("plain", K1), queue)
    with pytest.raises(PayloadKeyMissing, match="with the key 'k1', and LOCKSTITCH_PAYLOAD_KEYS has none"):
        await connected(server(), queue)
    with pytest.raises(PayloadKeyMissing, match="with the key 'k1', and LOCKSTITCH_PAYLOAD_KEYS has only k2"):
        await connected(server(K2), queue)
    with pytest.raises(PayloadUnreadable, match="it is another key, or the payload was changed"):
        await connected(server(ANOTHER_K1), queue)


async def test_a_worker_with_other_keys_changes_nothing(server, connect):
    queue = f"test-{uuid4()}"
    await ensure_namespace(await connect(K1), queue)

    for keys, error in (((), PayloadKeyMissing), ((K2,), PayloadKeyMissing), ((ANOTHER_K1,), PayloadUnreadable)):
        with pytest.raises(error):
            await ensure_namespace(await connect(*keys), queue)
    await connected(server(K1), queue)


async def test_a_worker_with_a_new_key_puts_it_to_use(server, connect):
    """So that the old key is needed for as long as there are old runs, and no longer."""
    queue = f"test-{uuid4()}"
    await ensure_namespace(await connect(), queue)
    await connected(server(), queue)
    for keys, missing in (((K1,), ()), ((K2, K1), (K1,)), (("plain", K2), None)):
        await ensure_namespace(await connect(*keys), queue)
        if missing is not None:
            with pytest.raises(PayloadKeyMissing):
                await connected(server(*missing), queue)
        await connected(server(keys[0] if keys[0] != "plain" else K1), queue)


async def test_a_worker_that_lost_the_key_of_an_open_run_is_told_which(server, connect, engine, eventually):
    """The old key was taken away too early; the run waits, and nobody works until somebody looks at it."""
    first, both, alone = await connect(K1), await connect(K2, K1), await connect(K2)
    async with engine([], client=first, workers=False) as lockstitch:
        queue = lockstitch.task_queue
        await ensure_namespace(first, queue)
        run_id = await lockstitch.starter.start(await lockstitch.request("Hello."))

        async def listed() -> bool:  # the server's search follows a moment later
            return run_id in [run.run_id for run in await lockstitch.starter.list(status="queued")]

        await eventually(listed)
        await ensure_namespace(both, queue)
    with pytest.raises(OpenRunUnreadable, match="needs the key 'k1'") as refused:
        await ensure_namespace(alone, queue)
    await ensure_namespace(both, queue)
    await first.get_workflow_handle(refused.value.run_id).terminate()

    assert refused.value.run_id == run_id


async def test_what_schedules_start_is_readable_after_a_rotation(engine, connect, eventually):
    """The sweep and the housekeeping run with the new key alone."""
    async with engine([], client=await connect(K1)) as lockstitch:
        await ensure_namespace(lockstitch.temporal, lockstitch.task_queue)
        await ensure_namespace(await connect(K2, K1), lockstitch.task_queue)
    client = await connect(K2)
    async with engine([], client=client, task_queue=lockstitch.task_queue) as lockstitch:
        for schedule, workflow in (("housekeeping", "housekeeping-round"), ("adoption", "adoption-sweep")):
            handle = client.get_schedule_handle(f"{schedule}-{lockstitch.task_queue}")
            await handle.trigger()

            async def started(handle=handle) -> str | None:
                actions = (await handle.describe()).info.recent_actions
                return actions[-1].action.workflow_id if actions else None

            workflow_id = await eventually(started)
            assert workflow_id.startswith(f"{workflow}-{lockstitch.task_queue}")
            await client.get_workflow_handle(workflow_id).result()
