"""Ingestion as a workflow: bounded, small in history, and never lost."""

import time
from datetime import timedelta
from uuid import uuid4

import pytest

from lockstitch.activities.housekeeping import Chores, ChoresDone
from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.embedding.static import StaticVectors
from lockstitch.assistants.search.semantics import Semantics, open_vector_index
from lockstitch.assistants.store import files, schema, vector_store_files, vector_stores, webhook_deliveries
from lockstitch.assistants.store.vector_store_files import AddedFile
from lockstitch.workflows.housekeeping import Housekeeping

NOW = 1_700_000_000
AT_ONCE = Chores(stranded_after=timedelta(seconds=-5))


def add_batch(connection, count, now=NOW):
    store = vector_stores.create(connection, {"project_id": "default"}, now)["id"]
    values = {"created_at": now, "purpose": "assistants", "filename": "a.txt", "bytes": 6}
    added = []
    for number in range(count):
        files.create(connection, {"id": f"file-{number}-{store[3:9]}", **values}, [b"Apples"])
        added.append(AddedFile(f"file-{number}-{store[3:9]}"))
    return store, vector_store_files.add_batch(connection, store, added, now)["id"]


@pytest.fixture
def counts(database):
    """Count the files of a store by status, those statuses only that some have."""

    async def read(store_id):
        row = await database.read(lambda connection: vector_stores.get(connection, store_id, NOW))
        return {name: count for name, count in row["file_counts"].items() if count}

    return read


async def deliver(lockstitch):
    await CommandDelivery(lockstitch.database, lockstitch.starter).sweep(older_than_seconds=0)


@pytest.mark.long
async def test_a_batch_of_two_thousand_files_keeps_a_small_history(engine, database, counts):
    store_id, batch_id = await database.write(lambda connection: add_batch(connection, 2000), long=True)
    async with engine([]) as lockstitch:
        await deliver(lockstitch)
        handle = lockstitch.temporal.get_workflow_handle(batch_id)
        done = await handle.result()
        events = [event async for event in handle.fetch_history_events()]

    assert done == 2000
    assert await counts(store_id) == {"completed": 2000, "total": 2000}
    assert len(events) < 1000


async def test_files_that_were_accepted_while_no_worker_was_there_are_ingested(engine, database, counts, temporal):
    store_id, batch_id = await database.write(lambda connection: add_batch(connection, 3))
    queue = f"test-{uuid4()}"
    async with engine([], task_queue=queue, workers=False) as lockstitch:
        await deliver(lockstitch)
        await deliver(lockstitch)
    assert await counts(store_id) == {"in_progress": 3, "total": 3}
    async with engine([], task_queue=queue):
        await temporal.get_workflow_handle(batch_id).result()

    assert await counts(store_id) == {"completed": 3, "total": 3}


async def test_an_ingestion_whose_workflow_was_terminated_is_started_again(engine, database, counts, eventually):
    store_id, batch_id = await database.write(lambda connection: add_batch(connection, 3))
    queue = f"test-{uuid4()}"
    async with engine([], task_queue=queue, workers=False) as lockstitch:
        await deliver(lockstitch)
        await lockstitch.temporal.get_workflow_handle(batch_id).terminate("an operator's mistake")
    async with engine([], task_queue=queue) as lockstitch:
        done = await chores(lockstitch)

        async def completed():
            return (await counts(store_id)).get("completed") == 3

        await eventually(completed)
    assert done == ChoresDone(ingestions_started=1)


async def chores(lockstitch):
    return await lockstitch.temporal.execute_workflow(
        Housekeeping.run, AT_ONCE, id=f"chores-{uuid4()}", task_queue=lockstitch.task_queue
    )


async def test_what_has_expired_is_removed(engine, database, counts):
    def expire(connection):
        store_id, batch_id = add_batch(connection, 30)
        vector_store_files.cancel_batch(connection, store_id, batch_id, NOW)
        days = {"expires_after": {"anchor": "last_active_at", "days": 1}}
        vector_stores.change(connection, store_id, days, NOW)
        values = {"created_at": NOW, "purpose": "assistants", "filename": "a.txt", "bytes": 1}
        for number in range(50):
            files.create(connection, {"id": f"file-old-{number}", **values}, [b"x"])
        old = schema.files.c.id.startswith("file-old-")
        connection.execute(schema.files.update().where(old).values(expires_at=NOW))  # a new file would make room
        return store_id

    store_id = await database.write(expire)
    async with engine([]) as lockstitch:
        assert await chores(lockstitch) == ChoresDone(files_removed=50, vector_stores_emptied=1)
        assert await chores(lockstitch) == ChoresDone()

    assert await counts(store_id) == {}


async def test_the_log_of_webhook_deliveries_goes_back_thirty_days(engine, database):
    def deliver_once(connection, days: int) -> None:
        sent = {"message_id": "msg_1", "event": "escalation.opened", "target": "https://a", "attempt": 1}
        outcome = {"delivered": True, "status": 200, "error": None, "duration_ms": 1}
        at = int(time.time()) - days * 86_400
        row = {"escalation_id": f"esc_{days}", "run_id": "run_1", **sent, **outcome, "at": at}
        webhook_deliveries.add(connection, row)

    for days in (31, 29):
        await database.write(lambda connection, it=days: deliver_once(connection, it))
    async with engine([]) as lockstitch:
        assert await chores(lockstitch) == ChoresDone(deliveries_removed=1)

    left = await database.read(lambda connection: webhook_deliveries.of_run(connection, "run_1"))
    assert [row["escalation_id"] for row in left] == ["esc_29"]


async def test_an_ingestion_is_no_run(engine, database):
    _, batch_id = await database.write(lambda connection: add_batch(connection, 1))
    async with engine([]) as lockstitch:
        await deliver(lockstitch)
        await lockstitch.temporal.get_workflow_handle(batch_id).result()
        assert batch_id not in [run.run_id for run in await lockstitch.starter.list()]


async def test_files_get_vectors_once_there_is_an_embedder(engine, database, eventually):
    """Durably: the housekeeping finds what is missing, and a workflow works through it."""
    _, batch_id = await database.write(lambda connection: add_batch(connection, 3))
    async with engine([]) as lockstitch:
        await deliver(lockstitch)
        await lockstitch.temporal.get_workflow_handle(batch_id).result()
        assert await chores(lockstitch) == ChoresDone()

    embedder = StaticVectors.load()
    semantics = Semantics(embedder, await open_vector_index(database, upgrades=True))
    async with engine([], semantics=semantics) as lockstitch:
        assert await chores(lockstitch) == ChoresDone(embeds_anew=True)
        await lockstitch.temporal.get_workflow_handle(f"embed-anew-{lockstitch.task_queue}").result()
        assert await chores(lockstitch) == ChoresDone()
    assert await database.read(lambda c: vector_store_files.next_outdated(c, embedder.name, 0)) is None
