"""Threads and messages over HTTP."""

import openai
import pytest

from lockstitch.assistants.store import commands


async def test_a_thread_begins_with_the_messages_it_was_created_with(client):
    thread = await client.beta.threads.create(
        messages=[{"role": "user", "content": "One"}, {"role": "assistant", "content": "Two"}],
        metadata={"topic": "numbers"},
    )
    messages = await client.beta.threads.messages.list(thread.id, order="asc")

    assert thread.id.startswith("thread_")
    assert thread.metadata == {"topic": "numbers"}
    assert [(message.role, message.content[0].text.value) for message in messages.data] == [
        ("user", "One"),
        ("assistant", "Two"),
    ]


async def test_a_thread_can_be_created_without_a_body(http):
    answer = await http.post("/v1/threads")

    assert answer.status_code == 200
    assert answer.json()["tool_resources"] == answer.json()["metadata"] == {}


async def test_modifying_a_thread_replaces_its_metadata(client, thread, file_id):
    resources = {"code_interpreter": {"file_ids": [file_id]}}
    await client.beta.threads.update(thread.id, tool_resources=resources)
    changed = await client.beta.threads.update(thread.id, metadata={"a": "b"})

    assert changed.metadata == {"a": "b"}
    assert changed.to_dict()["tool_resources"] == resources
    assert (await client.beta.threads.retrieve(thread.id)).to_dict() == changed.to_dict()


async def test_a_deleted_thread_is_gone_with_its_messages(client, thread):
    assert (await client.beta.threads.delete(thread.id)).object == "thread.deleted"
    with pytest.raises(openai.NotFoundError, match=f"No thread found with id '{thread.id}'"):
        await client.beta.threads.messages.list(thread.id)


async def test_deleting_a_thread_cancels_its_active_run(client, server, run, read_stream):
    await client.beta.threads.delete(run.thread_id)

    frames = await read_stream(f"/v1/runs/{run.id}/events")
    assert [frame.event for frame in frames][-2:] == ["thread.run.cancelled", "done"]
    left = await server.database.read(lambda connection: commands.undelivered(connection, older_than_seconds=0))
    assert [command for command in left if command["subject_id"] == run.id] == []


async def test_a_message_takes_text_and_images(client, thread, file_id):
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
        {"type": "image_file", "image_file": {"file_id": file_id}},
    ]
    message = await client.beta.threads.messages.create(thread.id, role="user", content=parts)

    text, url, file = message.to_dict()["content"]
    assert text == {"type": "text", "text": {"value": "What is this?", "annotations": []}}
    assert url == parts[1]
    assert file == {"type": "image_file", "image_file": {"file_id": file_id, "detail": "auto"}}


async def test_attachments_are_echoed_as_sent(client, thread, file_id):
    attachments = [{"file_id": file_id, "tools": [{"type": "file_search"}]}]
    message = await client.beta.threads.messages.create(
        thread.id, role="user", content="See this", attachments=attachments
    )

    assert message.to_dict()["attachments"] == attachments


async def test_messages_of_one_run_can_be_listed_alone(client, run, worker):
    await worker.say(run.id)
    listed = await client.beta.threads.messages.list(run.thread_id, run_id=run.id)

    [message] = listed.data
    assert (message.run_id, message.role, message.content[0].text.value) == (run.id, "assistant", "Hello there")


async def test_only_the_metadata_of_a_message_changes(client, thread):
    created = await client.beta.threads.messages.create(thread.id, role="user", content="Hi")
    changed = await client.beta.threads.messages.update(created.id, thread_id=thread.id, metadata={"seen": "yes"})

    assert changed.to_dict() == {**created.to_dict(), "metadata": {"seen": "yes"}}


async def test_a_deleted_message_is_gone(client, thread):
    [message] = (await client.beta.threads.messages.list(thread.id)).data
    await client.beta.threads.messages.delete(message.id, thread_id=thread.id)

    assert (await client.beta.threads.messages.list(thread.id)).data == []


async def test_a_thread_takes_no_message_while_a_run_is_active(client, run, worker):
    text = f"Can't add messages to {run.thread_id} while a run {run.id} is active."
    with pytest.raises(openai.BadRequestError, match=text):
        await client.beta.threads.messages.create(run.thread_id, role="user", content="And?")

    await worker.say(run.id)
    added = await client.beta.threads.messages.create(run.thread_id, role="user", content="And?")
    assert added.content[0].text.value == "And?"
