"""Who answers a function call: a handler that the project may use, or the client; with a real worker."""

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import openai
import pytest

from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.store import keys, projects
from lockstitch.assistants.store.keys import NewKey
from lockstitch.config import Config
from lockstitch.starter.contract import NewMessage, ThreadRunRequest
from lockstitch.tools import ToolRegistry, tool
from lockstitch.worker import build_workers

CLIENT, HANDLERS = {"lockstitch.tools": "client"}, {"lockstitch.tools": "handlers"}


@dataclass
class Shop:
    """A server and a worker with one handler, which remembers the orders that it looked up."""

    server: Any
    sdk: openai.AsyncOpenAI
    worker: Any
    tools: list[dict[str, Any]]
    looked_up: list[int] = field(default_factory=list)

    async def run(self, metadata: Any = None, assistant_metadata: Any = None) -> Any:
        """Ask for an order, which takes one call of the function."""
        assistant = await self.sdk.beta.assistants.create(
            model="test", tools=self.tools, metadata=assistant_metadata or openai.omit
        )
        return await self.sdk.beta.threads.create_and_run(
            assistant_id=assistant.id,
            metadata=metadata or openai.omit,
            thread={"messages": [{"role": "user", "content": "Look up order 17."}]},
        )

    async def stop_of(self, run: Any) -> str:
        """Wait until the run has stopped and return how."""
        stopped = await self.sdk.beta.threads.runs.poll(run.id, thread_id=run.thread_id, poll_interval_ms=20)
        return str(stopped.status)

    async def allow(self, project: str, handlers: projects.Handlers) -> None:
        """Say which handlers a project may use."""
        await self.server.database.write(lambda connection: projects.allow(connection, project, handlers))


@pytest.fixture
def open_shop(another_server, temporal):
    @asynccontextmanager
    async def opened(project: str | None = None, handlers: projects.Handlers = ()):
        looked_up: list[int] = []

        @tool
        async def lookup_order(number: int) -> str:
            """Look up an order."""
            looked_up.append(number)
            return "shipped"

        queue, tools = f"test-{uuid4()}", ToolRegistry([lookup_order])
        async with another_server(task_queue=queue) as server:
            worker, *_ = build_workers(temporal, Config(task_queue=queue), server.database, OfflineModel(), tools)
            secret = "any" if project is None else await new_key(server.database, project, handlers)
            async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=secret, max_retries=0) as sdk:
                yield Shop(server, sdk, worker, tools.definitions(), looked_up)

    return opened


async def new_key(database, project, handlers):
    def create(connection):
        projects.create(connection, project, 0, handlers)
        return keys.create(connection, NewKey(project), int(time.time()))[1]

    return await database.write(create)


@pytest.mark.parametrize(
    ("run", "assistant", "stop"),
    [
        (None, None, "completed"),
        (CLIENT, None, "requires_action"),
        (None, CLIENT, "requires_action"),
        (HANDLERS, CLIENT, "completed"),
        (CLIENT, HANDLERS, "requires_action"),
    ],
)
async def test_without_keys_handlers_answer_unless_the_run_or_else_the_assistant_wants_it(
    open_shop, run, assistant, stop
):
    async with open_shop() as shop, shop.worker:
        assert await shop.stop_of(await shop.run(run, assistant)) == stop
        assert shop.looked_up == ([17] if stop == "completed" else [])


async def test_what_the_client_answers_goes_on_and_no_handler_is_called(open_shop):
    async with open_shop() as shop, shop.worker:
        run = await shop.run(CLIENT)
        assert await shop.stop_of(run) == "requires_action"
        found = await shop.sdk.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)
        outputs = [{"tool_call_id": call.id, "output": "lost"} for call in
                   found.required_action.submit_tool_outputs.tool_calls]  # fmt: skip
        await shop.sdk.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=outputs)
        assert await shop.stop_of(run) == "completed"
        [message] = (await shop.sdk.beta.threads.messages.list(run.thread_id, run_id=run.id)).data

    assert "lost" in message.content[0].text.value
    assert shop.looked_up == []


@pytest.mark.parametrize(
    ("handlers", "stop"),
    [
        ((), "requires_action"),
        (("find", "price"), "requires_action"),
        (("lookup_order",), "completed"),
        (None, "completed"),
    ],
)
async def test_a_project_uses_the_handlers_that_it_may(open_shop, handlers, stop):
    async with open_shop("acme", handlers) as shop, shop.worker:
        assert await shop.stop_of(await shop.run()) == stop
        assert shop.looked_up == ([17] if stop == "completed" else [])


async def test_a_run_cannot_allow_itself_what_its_project_may_not(open_shop):
    async with open_shop("acme") as shop, shop.worker:
        assert await shop.stop_of(await shop.run(HANDLERS, HANDLERS)) == "requires_action"
        assert shop.looked_up == []


async def test_a_run_that_was_accepted_keeps_what_was_allowed_then(open_shop):
    async with open_shop("acme") as shop:
        forbidden = await shop.run()
        await shop.allow("acme", None)
        allowed = await shop.run()
        await shop.allow("acme", ())
        async with shop.worker:
            assert [await shop.stop_of(run) for run in (forbidden, allowed)] == ["requires_action", "completed"]
    assert shop.looked_up == [17]


async def test_runs_of_the_starter_may_use_every_handler_unless_their_client_answers(open_shop, eventually):
    async with open_shop("acme") as shop, shop.worker:
        starter = shop.server.services.starter
        assistant = await shop.sdk.beta.assistants.create(model="test", tools=shop.tools)
        asked = [NewMessage(role="user", content="Look up order 17.")]
        first = ThreadRunRequest(assistant_id=assistant.id, messages=asked)
        assert (await starter.run(first)).status == "completed"

        waiting = await starter.start(first.model_copy(update={"metadata": CLIENT}))

        async def pending():
            return (await starter.snapshot(waiting)).pending_calls

        assert [call.name for call in await eventually(pending)] == ["lookup_order"]
        assert (await starter.snapshot(waiting)).escalations == []
    assert shop.looked_up == [17]


async def test_a_word_that_says_nothing_is_refused_wherever_it_stands(http, client, assistant, thread, run):
    wrong = {"metadata": {"lockstitch.tools": "Client"}}
    answers = [
        await http.post("/v1/assistants", json={"model": "m", **wrong}),
        await http.post(f"/v1/assistants/{assistant.id}", json=wrong),
        await http.post("/v1/threads/runs", json={"assistant_id": assistant.id, **wrong}),
        await http.post(f"/v1/threads/{run.thread_id}/runs/{run.id}", json=wrong),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()["error"]) == (
            400,
            {
                "message": "Invalid value: 'Client'. Supported values are: 'handlers' and 'client'.",
                "type": "invalid_request_error",
                "param": "metadata.lockstitch.tools",
                "code": "invalid_value",
            },
        )
