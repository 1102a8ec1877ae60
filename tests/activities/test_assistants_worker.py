"""A worker whose runs execute on an Assistants server, from the starter to the result."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import uuid4

import openai
import pytest
from temporalio.client import Client

from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.store import event_log, upstream_runs
from lockstitch.assistants.store.database import Database
from lockstitch.config import Config
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, ThreadRunRequest
from lockstitch.testing.assistants_upstream import (
    AssistantsUpstream,
    ExpireRun,
)
from lockstitch.tests.activities.own_server import own_server_on
from lockstitch.tests.activities.stories import check_story
from lockstitch.tools import ToolRegistry, tool
from lockstitch.worker import build_workers, open_remote_backends


@tool
def find(n: int) -> str:
    """Find something."""
    return f"found {n}"


@asynccontextmanager
async def worker_on(temporal: Client, database: Database, runner: Any, **settings: Any) -> AsyncIterator[Starter]:
    config = Config(**{"task_queue": f"test-{uuid4()}", **settings})
    tools = ToolRegistry([find])
    async with AsyncExitStack() as stack:
        starter = await stack.enter_async_context(Starter(temporal, task_queue=config.task_queue))
        remote = await stack.enter_async_context(open_remote_backends(config, database, tools))
        options: Any = {"remote": remote, "workflow_runner": runner}
        for worker in build_workers(temporal, config, database, ScriptedModel(SCRIPT), tools, **options):
            await stack.enter_async_context(worker)
        yield starter


async def assistant_on(url: str) -> str:
    async with openai.AsyncOpenAI(base_url=url, api_key="none") as sdk:
        return str((await sdk.beta.assistants.create(model="test")).id)


def asking(assistant_id: str) -> ThreadRunRequest:
    messages = [NewMessage(role="user", content="Well?")]
    return ThreadRunRequest(assistant_id=assistant_id, messages=messages, backend="assistants")


FIND = {"round": 0, "call": [{"name": "find", "arguments": {"n": 7}, "call_id": "call_a"}]}
SCRIPT = [FIND, {"round": 1, "say": "Seven."}]


@pytest.mark.parametrize("fault", [None, ExpireRun(on="submit_tool_outputs", at="now")])
async def test_a_worker_carries_a_run_to_its_end_though_it_has_to_be_replaced(
    temporal, database, workflow_sandbox, fault
):
    async with AssistantsUpstream(SCRIPT) as server:
        request = asking(await assistant_on(server.base_url))
        server.inject(*[fault] if fault else [])
        async with worker_on(temporal, database, workflow_sandbox, assistants_url=server.base_url) as starter:
            run_id = await starter.start(request)
            result = await starter.result(run_id)
        events = await database.read(lambda connection: event_log.after(connection, run_id, 0))

    check_story(events)
    assert (result.status, result.last_message_text) == ("completed", "Seven.")
    assert [call.outcome for call in result.tool_calls] == (["succeeded", "reused"] if fault else ["succeeded"])
    assert len(server.runs()) == (2 if fault else 1)
    assert "thread.run.requires_action" not in [event.event for event in events]


async def test_a_worker_may_have_its_own_server_as_upstream(temporal, database, workflow_sandbox):
    """Both runs, the one that carries and the one that is carried, stand in one database."""
    queue = f"test-{uuid4()}"
    async with own_server_on(temporal, database, queue) as url:
        request = asking(await assistant_on(url))
        settings = {"task_queue": queue, "assistants_url": url}
        async with worker_on(temporal, database, workflow_sandbox, **settings) as starter:
            run_id = await starter.start(request)
            result = await starter.result(run_id)
    events = await database.read(lambda connection: event_log.after(connection, run_id, 0))
    carried = await database.read(lambda connection: upstream_runs.latest(connection, run_id))
    of_carried = await database.read(lambda connection: event_log.after(connection, carried["upstream_id"], 0))

    check_story(events)
    check_story(of_carried)
    assert (result.status, result.last_message_text) == ("completed", "Seven.")
    for told in (events, of_carried):
        steps = [json.loads(event.data) for event in told if event.event == "thread.run.step.completed"]
        assert [len(step["step_details"].get("tool_calls", ())) for step in steps] == [1, 0]


async def test_a_worker_without_the_backend_says_what_to_set(temporal, database, workflow_sandbox):
    async with worker_on(temporal, database, workflow_sandbox) as starter:
        run_id = await starter.start(asking("asst_1"))
        result = await starter.result(run_id)
    events = await database.read(lambda connection: event_log.after(connection, run_id, 0))

    assert result.status == "failed"
    assert "This worker has no backend 'assistants', only local: set the URL" in result.last_error.message
    assert [event.event for event in events] == ["error"]
