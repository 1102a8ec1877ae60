"""What the server has accepted reaches the Temporal server, sooner or later."""

import pytest
from temporalio.testing import WorkflowEnvironment

from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.store import commands, runs, threads
from lockstitch.dev import temporal_binary
from lockstitch.errors import RunNotFound
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import SEARCH_ATTRIBUTES, NewMessage, RunParameters, ThreadRunRequest
from lockstitch.starter.identifiers import new_id
from lockstitch.starter.payloads import data_converter

OUTPUTS = [{"tool_call_id": "call_a", "output": "1"}, {"tool_call_id": "call_b", "output": "2"}]


@pytest.fixture
def history_of(temporal):
    """Read what the Temporal server knows of a run."""

    async def read(run_id):
        return [event async for event in temporal.get_workflow_handle(run_id).fetch_history_events()]

    return read


async def waiting(server, run_id):
    left = await server.database.read(lambda connection: commands.undelivered(connection, older_than_seconds=0))
    return [command["kind"] for command in left if command["subject_id"] == run_id]


def accept_a_run(connection, run_id, assistant_id):
    """Do what the server does before it dies."""
    thread = threads.create(connection, {}, 1)
    threads.add_message(connection, thread["id"], NewMessage(role="user", content="Hi"), 1)
    runs.create(connection, runs.NewRun(run_id, thread["id"], assistant_id, RunParameters(), 1))
    request = ThreadRunRequest(thread_id=thread["id"], assistant_id=assistant_id)
    commands.add(connection, run_id, "start", request.model_dump(mode="json"))


async def test_a_run_whose_server_died_after_accepting_it_is_started_by_the_sweep(server, assistant):
    run_id = new_id("run")
    await server.database.write(lambda connection: accept_a_run(connection, run_id, assistant.id))
    with pytest.raises(RunNotFound):
        await server.services.starter.snapshot(run_id)
    assert await waiting(server, run_id) == ["start"]

    await server.services.delivery.sweep(older_than_seconds=0)

    assert (await server.services.starter.snapshot(run_id)).status == "queued"
    assert await waiting(server, run_id) == []


async def test_a_cancellation_waits_for_the_start_that_it_follows(server, client, assistant, history_of):
    run_id = new_id("run")
    await server.database.write(lambda connection: accept_a_run(connection, run_id, assistant.id))
    row = await server.database.read(lambda connection: runs.find(connection, run_id))
    await client.beta.threads.runs.cancel(run_id, thread_id=row["thread_id"])
    assert await waiting(server, run_id) == ["start", "cancel"]

    await server.services.delivery.sweep(older_than_seconds=0)

    kinds = [event.WhichOneof("attributes") for event in await history_of(run_id)]
    assert "workflow_execution_cancel_requested_event_attributes" in kinds
    assert await waiting(server, run_id) == []


async def test_outputs_are_announced_by_their_ids_alone(server, client, run, worker, history_of):
    await worker.ask(run.id)
    await client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=OUTPUTS)

    [signal] = [
        event.workflow_execution_signaled_event_attributes
        for event in await history_of(run.id)
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    assert signal.signal_name == "answer"
    assert b'"stored_call_ids":["call_a","call_b"]' in signal.input.payloads[0].data
    assert await waiting(server, run.id) == []


async def test_the_workflow_gets_ids_and_policy_and_no_content(server, client, assistant, history_of):
    secret = "what the user said"
    run = await client.beta.threads.create_and_run(
        assistant_id=assistant.id, instructions=secret, thread={"messages": [{"role": "user", "content": secret}]}
    )

    assert secret.encode() not in (await history_of(run.id))[0].SerializeToString()


async def test_a_cancelled_run_is_cancelled_in_temporal(server, client, run, history_of):
    await client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)

    kinds = [event.WhichOneof("attributes") for event in await history_of(run.id)]
    assert "workflow_execution_cancel_requested_event_attributes" in kinds


async def test_a_run_is_accepted_while_the_temporal_server_is_away(another_server, assistant_on, http):
    environment = await WorkflowEnvironment.start_local(
        data_converter=data_converter,
        dev_server_existing_path=temporal_binary(),
        search_attributes=SEARCH_ATTRIBUTES,
        dev_server_extra_args=["--log-level", "never"],
    )
    async with another_server(environment.client) as server:
        await environment.shutdown()
        body = {"assistant_id": await assistant_on(server), "instructions": "Hi"}
        created = await http.post(f"{server.url}/v1/threads/runs", json=body)
        ready = await http.get(f"{server.url}/readyz", timeout=20)

        assert (created.status_code, created.json()["status"]) == (200, "queued")
        assert await waiting(server, created.json()["id"]) == ["start"]
        assert ready.status_code == 503
        assert list(ready.json()["problems"]) == ["temporal"]


async def test_a_namespace_that_does_not_know_our_attributes_loses_no_run(another_server, assistant_on, http):
    async with (
        await WorkflowEnvironment.start_local(
            data_converter=data_converter,
            dev_server_existing_path=temporal_binary(),
            dev_server_extra_args=["--log-level", "never"],
        ) as environment,
        another_server(environment.client) as server,
    ):
        body = {"assistant_id": await assistant_on(server), "instructions": "Hi"}
        created = await http.post(f"{server.url}/v1/threads/runs", json=body)

        assert created.status_code == 200
        assert await waiting(server, created.json()["id"]) == ["start"]


@pytest.fixture
def assistant_on(http):
    """Create an assistant on a server of one's own."""

    async def create(server):
        return (await http.post(f"{server.url}/v1/assistants", json={"model": "test"})).json()["id"]

    return create


async def test_the_sweep_goes_on_by_itself(another_server, assistant_on, eventually):
    async with another_server() as server:
        run_id, assistant_id = new_id("run"), await assistant_on(server)
        await server.database.write(lambda connection: accept_a_run(connection, run_id, assistant_id))
        old = {"created_at": 0.0}
        await server.database.write(lambda connection: connection.execute(commands.commands.update().values(old)))
        starter: Starter = server.services.starter
        async with CommandDelivery(server.database, starter):

            async def nothing_waits():
                return await waiting(server, run_id) == []

            await eventually(nothing_waits)
        assert (await starter.snapshot(run_id)).run_id == run_id
