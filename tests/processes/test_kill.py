"""kill -9 at bad moments: nothing is lost, nothing is done twice, watchers see every event once."""

import asyncio
import os
import signal
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from lockstitch.starter.contract import NewMessage, RunEvent, RunPolicy, ThreadRunRequest
from lockstitch.tools import ToolRegistry

COUNTS = """
    SELECT count(*), count(DISTINCT file_seq || '-' || position),
        (SELECT sum(length(vectors)) / (2 * 256) FROM vector_store_vectors WHERE vector_store_id = :store)
    FROM vector_store_chunks WHERE vector_store_id = :store
"""
QUICK = RunPolicy(heartbeat_timeout=timedelta(seconds=2))


@pytest.fixture
async def assistant_id(client, stack, monkeypatch):
    monkeypatch.setenv("RECORDED_STEPS_FOLDER", str(stack.data_dir))
    monkeypatch.syspath_prepend(Path(__file__).parent / "handlers")
    definitions = ToolRegistry.load(["recorded_steps"], entry_points=False).definitions()
    assistant = await client.beta.assistants.create(model="script", tools=definitions)
    return assistant.id


def request(assistant_id: str, text: str) -> ThreadRunRequest:
    return ThreadRunRequest(assistant_id=assistant_id, messages=[NewMessage(role="user", content=text)], policy=QUICK)


async def collect(events) -> list[RunEvent]:
    return [event async for event in events]


def text_of(events: list[RunEvent]) -> str:
    deltas = [event.data["delta"]["content"][0] for event in events if event.event == "thread.message.delta"]
    return "".join(delta["text"]["value"] for delta in deltas)


async def test_a_worker_killed_while_a_handler_runs_loses_nothing_and_repeats_no_finished_call(
    stack, starter, assistant_id, eventually
):
    run_id = await starter.start(request(assistant_id, "Take two steps."))
    watching = asyncio.create_task(collect(starter.stream(run_id)))
    second = stack.data_dir / f"second_step.{run_id}"
    await eventually(lambda: asyncio.to_thread(second.exists))

    os.kill(stack.pid("worker"), signal.SIGKILL)
    result = await starter.result(run_id)
    events = await watching

    assert result.status == "completed"
    assert [(call.name, call.attempts) for call in result.tool_calls] == [("first_step", 1), ("second_step", 2)]
    assert len((stack.data_dir / f"first_step.{run_id}").read_text().splitlines()) == 1
    keys = second.read_text().splitlines()
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert text_of(events) == "Both steps are done."


async def test_a_worker_killed_in_the_middle_of_a_stream_tells_one_consistent_story(stack, starter, assistant_id):
    """Watchers see the broken message end and a new one, whole; so does one who comes back with a cursor."""
    run_id = await starter.start(request(assistant_id, "Tell a long story."))
    before, after = [], []
    async for event in starter.stream(run_id):
        before.append(event)
        if event.event == "thread.message.delta" and len(before) > 20:
            break
    os.kill(stack.pid("worker"), signal.SIGKILL)
    after = await collect(starter.stream(run_id, after=before[-1].seq))
    result = await starter.result(run_id)

    events = before + after
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert {event.attempt for event in events} == {1, 2}
    names = [event.event for event in events]
    assert names.count("thread.message.created") == 2
    assert names.count("thread.message.incomplete") == names.count("thread.message.completed") == 1
    second_attempt = [event for event in events if event.attempt == 2]
    assert text_of(second_attempt) == result.last_message_text
    assert len(result.message_ids) == 1


async def test_a_server_killed_while_a_client_watches_is_reconnected_to_without_gap_or_repeat(
    stack, starter, assistant_id
):
    run_id = await starter.start(request(assistant_id, "Tell a long story."))
    events = []
    async for event in starter.stream(run_id):
        events.append(event)
        if len(events) == 15:
            os.kill(stack.pid("server"), signal.SIGKILL)

    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert events[-1].event == "thread.run.completed"


async def test_the_temporal_server_killed_during_a_run_loses_nothing(stack, starter, assistant_id):
    run_id = await starter.start(request(assistant_id, "Tell a long story."))
    async for _ in starter.stream(run_id):
        break
    os.kill(stack.pid("temporal"), signal.SIGKILL)
    events = await collect(starter.stream(run_id))

    assert events[-1].event == "thread.run.completed"
    assert (await starter.result(run_id)).status == "completed"


@pytest.mark.timeout(300)  # a slow machine has much to do
@pytest.mark.long
async def test_a_worker_killed_while_it_ingests_a_thousand_files_loses_none_and_repeats_none(stack, client, eventually):
    texts = [f"Document {number}.\n" + "Something else is said here. " * 100 for number in range(1000)]
    store = await client.vector_stores.create()
    file_ids = [
        (await client.files.create(file=(f"{number}.txt", text.encode()), purpose="assistants")).id
        for number, text in enumerate(texts)
    ]
    batch = await client.vector_stores.file_batches.create(store.id, file_ids=file_ids)

    async def half_way() -> bool:
        counts = (await client.vector_stores.retrieve(store.id)).file_counts
        return counts.completed >= 300 and counts.in_progress >= 100

    await eventually(half_way)
    os.kill(stack.pid("worker"), signal.SIGKILL)
    done = await client.vector_stores.file_batches.poll(batch.id, vector_store_id=store.id)

    assert (done.status, done.file_counts.completed, done.file_counts.total) == ("completed", 1000, 1000)
    for number in (0, 317, 999):
        page = await client.vector_stores.files.content(file_ids[number], vector_store_id=store.id)
        assert page.data[0].text == texts[number]
    [first, *_] = (await client.vector_stores.search(store.id, query="document 317")).data
    assert first.filename == "317.txt"
    assert indexed(stack.data_dir / "lockstitch.db", store.id) == (1000, 1000, 1000)


def indexed(database: Path, store_id: str) -> tuple[int, int, int]:
    """Count the chunks of a store, the places in files that they take, and their vectors."""
    with closing(sqlite3.connect(database)) as connection:
        [counted] = connection.execute(COUNTS, {"store": store_id})
    return counted
