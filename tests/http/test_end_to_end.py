"""The server and a real worker, as programs written for the Assistants API meet them."""

from contextlib import AsyncExitStack
from uuid import uuid4

import openai
import pytest

from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.config import Config
from lockstitch.tools import ToolRegistry, tool
from lockstitch.worker import build_workers


@tool
async def lookup_order(number: int) -> dict[str, object]:
    """Look up an order."""
    return {"order": number, "status": "shipped"}


@pytest.fixture
async def sdk(another_server, temporal):
    """The SDK on a server whose runs are done by a worker that has one handler."""
    queue, tools = f"test-{uuid4()}", ToolRegistry([lookup_order])
    async with another_server(task_queue=queue) as server:
        config = Config(task_queue=queue)
        async with AsyncExitStack() as stack:
            for worker in build_workers(temporal, config, server.database, OfflineModel(), tools):
                await stack.enter_async_context(worker)
            sdk = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0)
            yield await stack.enter_async_context(sdk)


async def test_a_handler_is_called_and_its_output_streamed_into_the_answer(sdk):
    definitions = ToolRegistry([lookup_order]).definitions()
    assistant = await sdk.beta.assistants.create(model="test", tools=definitions)
    thread = await sdk.beta.threads.create(messages=[{"role": "user", "content": "Look up order 17."}])
    async with sdk.beta.threads.runs.stream(thread_id=thread.id, assistant_id=assistant.id) as stream:
        [message] = await stream.get_final_messages()
        run = stream.current_run

    assert run.status == "completed"
    assert "shipped" in message.content[0].text.value
    steps = await sdk.beta.threads.runs.steps.list(run.id, thread_id=thread.id, order="asc")
    assert [step.type for step in steps.data] == ["tool_calls", "message_creation"]


async def test_a_function_without_a_handler_waits_for_the_client(sdk):
    function = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    assistant = await sdk.beta.assistants.create(model="test", tools=[{"type": "function", "function": function}])
    run = await sdk.beta.threads.create_and_run_poll(
        assistant_id=assistant.id, thread={"messages": [{"role": "user", "content": "Weather in Oslo?"}]}
    )
    assert run.status == "requires_action"

    calls = run.required_action.submit_tool_outputs.tool_calls
    done = await sdk.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id,
        thread_id=run.thread_id,
        tool_outputs=[{"tool_call_id": call.id, "output": "7 C"} for call in calls],
    )
    messages = await sdk.beta.threads.messages.list(run.thread_id, run_id=run.id)
    assert done.status == "completed"
    assert "7 C" in messages.data[0].content[0].text.value


async def test_a_run_that_waits_for_outputs_can_be_cancelled(sdk, eventually):
    function = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    assistant = await sdk.beta.assistants.create(model="test", tools=[{"type": "function", "function": function}])
    run = await sdk.beta.threads.create_and_run_poll(
        assistant_id=assistant.id, thread={"messages": [{"role": "user", "content": "Weather in Oslo?"}]}
    )
    await sdk.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)

    async def ended():
        found = await sdk.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)
        return found if found.status != "cancelling" else None

    assert (await eventually(ended)).status == "cancelled"
