"""Runs and their steps over HTTP; what a worker does is done by hand."""

import asyncio

import openai
import pytest

OUTPUTS = [{"tool_call_id": "call_b", "output": "warm"}, {"tool_call_id": "call_a", "output": "cold"}]


async def test_a_run_is_accepted_and_its_workflow_started(client, server, run):
    snapshot = await server.services.starter.snapshot(run.id)

    assert (run.status, run.object, run.required_action, run.usage) == ("queued", "thread.run", None, None)
    assert run.expires_at == run.created_at + 600
    assert (snapshot.status, snapshot.thread_id) == ("queued", run.thread_id)


async def test_the_parameters_of_a_run_take_the_place_of_the_assistants(client, assistant, thread):
    run = await client.beta.threads.runs.create(
        thread.id,
        assistant_id=assistant.id,
        model="other",
        instructions="Be brief.",
        additional_instructions="Be kind.",
        additional_messages=[{"role": "user", "content": "More"}],
        temperature=0.1,
        tools=[{"type": "function", "function": {"name": "g"}}],
        tool_choice={"type": "function", "function": {"name": "g"}},
        truncation_strategy={"type": "last_messages", "last_messages": 3},
        max_prompt_tokens=500,
        metadata={"a": "b"},
        parallel_tool_calls=False,
    )
    messages = await client.beta.threads.messages.list(thread.id)

    assert (run.model, run.instructions, run.temperature) == ("other", "Be brief.\nBe kind.", 0.1)
    assert run.tools[0].function.parameters == {"type": "object", "properties": {}}
    assert run.to_dict()["tool_choice"] == {"type": "function", "function": {"name": "g"}}
    assert (run.truncation_strategy.last_messages, run.max_prompt_tokens) == (3, 500)
    assert (run.metadata, run.parallel_tool_calls) == ({"a": "b"}, False)
    assert messages.data[0].content[0].text.value == "More"


async def test_a_thread_has_one_active_run_at_a_time(client, assistant, run, worker):
    with pytest.raises(openai.BadRequestError, match=f"Thread {run.thread_id} already has an active run {run.id}"):
        await client.beta.threads.runs.create(run.thread_id, assistant_id=assistant.id)

    await worker.say(run.id)
    second = await client.beta.threads.runs.create(run.thread_id, assistant_id=assistant.id)
    assert [found.id for found in (await client.beta.threads.runs.list(run.thread_id)).data] == [second.id, run.id]


async def test_polling_is_told_when_to_ask_again_until_the_run_has_ended(http, run, worker):
    path = f"/v1/threads/{run.thread_id}/runs/{run.id}"
    assert (await http.get(path)).headers["openai-poll-after-ms"] == "500"

    await worker.say(run.id)
    ended = await http.get(path)
    assert "openai-poll-after-ms" not in ended.headers
    assert ended.json()["usage"]["total_tokens"] == 9
    assert (ended.json()["status"], ended.json()["expires_at"]) == ("completed", None)


async def test_a_run_that_asks_for_outputs_goes_on_when_it_has_all_of_them(client, run, worker):
    await worker.ask(run.id)
    asking = await client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)
    calls = asking.required_action.submit_tool_outputs.tool_calls
    queued = await client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=OUTPUTS)
    [step] = (await client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id)).data

    assert asking.status == "requires_action"
    assert [(call.id, call.function.arguments) for call in calls] == [
        ("call_a", '{"city":"Oslo"}'),
        ("call_b", '{"city":"Rome"}'),
    ]
    assert (queued.status, queued.required_action) == ("queued", None)
    assert [call.function.output for call in step.step_details.tool_calls] == ["cold", "warm"]
    await worker.say(run.id, number=2)
    assert (await client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)).status == "completed"


async def test_some_of_the_outputs_are_refused_and_nothing_is_stored(client, run, worker):
    await worker.ask(run.id)
    text = r"Expected tool outputs for call_ids \['call_a', 'call_b'\], got \['call_a'\]"
    with pytest.raises(openai.BadRequestError, match=text):
        await client.beta.threads.runs.submit_tool_outputs(
            run.id, thread_id=run.thread_id, tool_outputs=[{"tool_call_id": "call_a", "output": "cold"}]
        )

    found = await client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)
    [step] = (await client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id)).data
    assert found.status == "requires_action"
    assert [call.function.output for call in step.step_details.tool_calls] == [None, None]


async def test_outputs_that_are_sent_twice_are_refused_the_second_time(client, run, worker):
    await worker.ask(run.id)
    await client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=OUTPUTS)

    with pytest.raises(openai.BadRequestError, match='Runs in status "queued" do not accept tool outputs'):
        await client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=OUTPUTS)


@pytest.mark.parametrize("asks_first", [False, True])
async def test_a_run_is_cancelled_while_it_is_open(client, run, worker, asks_first):
    if asks_first:
        await worker.ask(run.id)
    cancelling = await client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    again = await client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
    await worker.end(run.id, "cancelled")
    cancelled = await client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)

    assert (cancelling.status, again.status, cancelling.required_action) == ("cancelling", "cancelling", None)
    assert cancelled.status == "cancelled"
    assert cancelled.cancelled_at >= cancelled.created_at
    with pytest.raises(openai.BadRequestError, match="Cannot cancel run with status 'cancelled'"):
        await client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)


async def test_a_failed_run_says_why(client, run, worker):
    await worker.end(run.id, "failed", last_error={"code": "server_error", "message": "Sorry, something went wrong."})
    failed = await client.beta.threads.runs.retrieve(run.id, thread_id=run.thread_id)

    assert (failed.status, failed.last_error.code) == ("failed", "server_error")
    assert failed.failed_at is not None


async def test_the_metadata_of_a_run_changes_unless_it_is_being_worked_on(client, run, worker):
    changed = await client.beta.threads.runs.update(run.id, thread_id=run.thread_id, metadata={"a": "b"})
    assert changed.metadata == {"a": "b"}

    await worker.take_turn(run.id, [])
    with pytest.raises(openai.BadRequestError, match="Cannot update run with status 'in_progress'"):
        await client.beta.threads.runs.update(run.id, thread_id=run.thread_id, metadata={"a": "c"})


async def test_a_thread_and_its_run_are_created_together(client, assistant):
    run = await client.beta.threads.create_and_run(
        assistant_id=assistant.id,
        thread={"messages": [{"role": "user", "content": "Hi"}], "metadata": {"of": "thread"}},
        metadata={"of": "run"},
    )
    thread = await client.beta.threads.retrieve(run.thread_id)

    assert (run.status, run.metadata, thread.metadata) == ("queued", {"of": "run"}, {"of": "thread"})


async def test_nothing_is_left_of_a_run_that_was_refused(client, thread):
    helper = await client.beta.assistants.create(model="test", tools=[{"type": "code_interpreter"}])
    with pytest.raises(openai.BadRequestError, match="The tool 'code_interpreter' is not available") as caught:
        await client.beta.threads.runs.create(thread.id, assistant_id=helper.id)

    assert (caught.value.param, caught.value.code) == ("assistant_id", "unsupported_tool")
    assert (await client.beta.threads.runs.list(thread.id)).data == []
    allowed = await client.beta.threads.runs.create(thread.id, assistant_id=helper.id, tools=[])
    assert allowed.tools == []


async def test_a_thread_without_a_question_needs_instructions(client, assistant):
    thread = await client.beta.threads.create()
    with pytest.raises(openai.BadRequestError) as caught:
        await client.beta.threads.runs.create(thread.id, assistant_id=assistant.id)

    assert caught.value.code == "invalid_thread"
    run = await client.beta.threads.runs.create(thread.id, assistant_id=assistant.id, instructions="Greet me.")
    assert run.status == "queued"


async def test_steps_are_read_one_by_one_and_as_a_list(client, run, worker):
    await worker.ask(run.id)
    await client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=OUTPUTS)
    await worker.say(run.id, number=2)
    listed = await client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id, limit=1, order="asc")
    walked = [step async for step in listed]
    found = await client.beta.threads.runs.steps.retrieve(walked[0].id, thread_id=run.thread_id, run_id=run.id)

    assert [step.type for step in walked] == ["tool_calls", "message_creation"]
    assert [step.status for step in walked] == ["completed", "completed"]
    assert found.to_dict() == walked[0].to_dict()


async def test_the_sdk_polls_a_run_to_its_end(client, assistant, thread, worker, eventually):
    async def runs_of_the_thread():
        return (await client.beta.threads.runs.list(thread.id)).data

    created = client.beta.threads.runs.create_and_poll(thread_id=thread.id, assistant_id=assistant.id)
    polling = asyncio.create_task(created)
    [run] = await eventually(runs_of_the_thread)
    await worker.say(run.id)

    assert (await polling).status == "completed"
