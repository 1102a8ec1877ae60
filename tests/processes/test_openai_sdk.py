"""Programs written against the Assistants API: the stock SDK, with nothing but its environment set."""

import json

import pytest
from openai import AsyncAssistantEventHandler

GET_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
async def assistant(client):
    return await client.beta.assistants.create(model="script", tools=[GET_WEATHER], instructions="Be brief.")


@pytest.fixture
async def thread(client):
    thread = await client.beta.threads.create()
    await client.beta.threads.messages.create(thread.id, role="user", content="How is the weather?")
    return thread


def outputs_for(run) -> list[dict[str, str]]:
    calls = run.required_action.submit_tool_outputs.tool_calls
    return [
        {"tool_call_id": call.id, "output": f"In {json.loads(call.function.arguments)['city']}: fair."}
        for call in calls
    ]


async def test_create_and_poll_then_submit_and_poll(client, assistant, thread):
    run = await client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
    assert run.status == "requires_action"
    assert run.usage is None

    run = await client.beta.threads.runs.submit_tool_outputs_and_poll(
        run_id=run.id, thread_id=thread.id, tool_outputs=outputs_for(run)
    )
    messages = await client.beta.threads.messages.list(thread.id)
    steps = await client.beta.threads.runs.steps.list(run.id, thread_id=thread.id)

    assert run.status == "completed"
    assert [message.role for message in messages.data] == ["assistant", "user"]
    assert messages.data[0].content[0].text.value == "Cold in Oslo, warm in Rome."
    assert [step.type for step in steps.data] == ["message_creation", "tool_calls"]
    outputs = [call.function.output for call in steps.data[1].step_details.tool_calls]
    assert outputs == ["In Oslo: fair.", "In Rome: fair."]


class Handler(AsyncAssistantEventHandler):
    def __init__(self):
        super().__init__()
        self.seen = []
        self.text = ""
        self.asking = None

    async def on_event(self, event):
        self.seen.append(event.event)
        if event.event == "thread.run.requires_action":
            self.asking = event.data

    async def on_text_delta(self, delta, snapshot):
        self.text += delta.value or ""


async def test_stream_with_an_event_handler_and_a_streamed_submission(client, assistant, thread):
    first, second = Handler(), Handler()
    async with client.beta.threads.runs.stream(
        thread_id=thread.id, assistant_id=assistant.id, event_handler=first
    ) as stream:
        await stream.until_done()
    async with client.beta.threads.runs.submit_tool_outputs_stream(
        run_id=first.asking.id, thread_id=thread.id, tool_outputs=outputs_for(first.asking), event_handler=second
    ) as stream:
        await stream.until_done()
        final = await stream.get_final_run()

    assert first.seen[:3] == ["thread.run.created", "thread.run.queued", "thread.run.in_progress"]
    assert first.seen[-1] == "thread.run.requires_action"
    assert second.seen[:3] == ["thread.run.step.completed", "thread.run.queued", "thread.run.in_progress"]
    assert second.seen[-1] == "thread.run.completed"
    assert second.text == "Cold in Oslo, warm in Rome."
    assert final.status == "completed"


async def test_create_and_run_poll(client, assistant):
    run = await client.beta.threads.create_and_run_poll(
        assistant_id=assistant.id, thread={"messages": [{"role": "user", "content": "Hello."}]}
    )
    messages = await client.beta.threads.messages.list(run.thread_id, order="asc")

    assert run.status == "completed"
    assert [message.content[0].text.value for message in messages.data] == ["Hello.", "Hello there."]


async def test_cancelling_a_run_that_waits_for_outputs(client, assistant, thread, eventually):
    run = await client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
    cancelling = await client.beta.threads.runs.cancel(run.id, thread_id=thread.id)

    async def ended():
        now = await client.beta.threads.runs.retrieve(run.id, thread_id=thread.id)
        return now if now.status == "cancelled" else None

    cancelled = await eventually(ended)

    assert cancelling.status == "cancelling"
    assert cancelled.cancelled_at
    again = await client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
    assert again.status == "requires_action"  # the thread's lock is free


async def test_a_file_comes_back_as_it_was_uploaded(client):
    uploaded = await client.files.create(file=("notes.txt", b"line one\nline two\n"), purpose="assistants")
    content = await client.files.content(uploaded.id)
    listed = [file.id async for file in client.files.list(purpose="assistants")]

    assert content.content == b"line one\nline two\n"
    assert uploaded.id in listed
    assert (await client.files.delete(uploaded.id)).deleted
