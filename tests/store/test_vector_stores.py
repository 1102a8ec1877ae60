"""Vector stores: what they hold is counted, whoever writes meanwhile; and they expire."""

import asyncio

import pytest
from sqlalchemy import func, select

from lockstitch.assistants.store import commands, files, vector_store_files, vector_stores
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import PageCursor
from lockstitch.assistants.store.schema import vector_store_chunks
from lockstitch.assistants.store.vector_store_files import MAX_ATTEMPTS, AddedFile, Chunk
from lockstitch.errors import ApiError

NOW = 1_700_000_000
DAY = 86_400
CHUNKS = [Chunk(0, "Apples are red.", ["apple", "are", "red"]), Chunk(7, "are red. Yes.", ["are", "red", "ye"])]
BROKEN = {"code": "invalid_file", "message": "Broken."}


@pytest.fixture
async def vector_store(store):
    return (await store.write(vector_stores.create, {"project_id": "default"}, NOW))["id"]


@pytest.fixture
def upload(store):
    """Add so many files to the store of files and return their ids."""

    async def send(count):
        values = {"created_at": NOW, "purpose": "assistants", "filename": "a.txt", "bytes": 1}
        ids = [f"file-{n}" for n in range(count)]
        for file_id in ids:
            await store.write(files.create, {"id": file_id, **values}, [b"x"])
        return ids

    return send


@pytest.fixture
def batch_of(store, vector_store, upload):
    """Add so many files as a batch and return its id."""

    async def add(count):
        added = [AddedFile(file_id) for file_id in await upload(count)]
        return (await store.write(vector_store_files.add_batch, vector_store, added, NOW))["id"]

    return add


async def counts_of(store, vector_store):
    counts = (await store.read(vector_stores.get, vector_store, NOW))["file_counts"]
    return {name: count for name, count in counts.items() if count}


async def chunks_in(store):
    return await store.read(lambda connection: connection.scalar(select(func.count()).select_from(vector_store_chunks)))


async def test_files_wait_with_one_command_until_they_are_ingested(store, vector_store, batch_of):
    batch_id = await batch_of(3)
    [command] = await store.read(commands.undelivered, older_than_seconds=0)

    assert (command["kind"], command["subject_id"]) == ("ingest", batch_id)
    assert command["payload"] == {"ingestion_id": batch_id, "vector_store_id": vector_store, "files": 3}
    assert await counts_of(store, vector_store) == {"in_progress": 3, "total": 3}


async def test_files_end_in_every_way_and_are_counted(store, vector_store, batch_of):
    batch_id = await batch_of(3)
    first = await store.write(vector_store_files.begin_next, batch_id, 0, 1)
    assert await store.write(vector_store_files.complete, first, CHUNKS)
    second = await store.write(vector_store_files.begin_next, batch_id, 0, 1)
    assert await store.write(vector_store_files.fail, second, BROKEN)
    await store.write(vector_store_files.cancel_batch, vector_store, batch_id, NOW)

    ended = {"completed": 1, "failed": 1, "cancelled": 1, "total": 3}
    assert await counts_of(store, vector_store) == ended
    batch = await store.read(vector_store_files.batch, vector_store, batch_id)
    assert {name: count for name, count in batch["file_counts"].items() if count} == ended
    found = await store.read(vector_stores.get, vector_store, NOW)
    assert (found["status"], found["usage_bytes"]) == ("completed", sum(len(chunk.text) for chunk in CHUNKS))
    assert await store.write(vector_store_files.begin_next, batch_id, 0, 1) is None


async def test_the_text_of_a_file_is_whole_again(store, vector_store, batch_of):
    file = await store.write(vector_store_files.begin_next, await batch_of(1), 0, 1)
    await store.write(vector_store_files.complete, file, CHUNKS)

    assert await store.read(vector_store_files.text_of, vector_store, file["id"]) == "Apples are red. Yes."


async def test_lanes_share_the_files_out(store, batch_of):
    batch_id = await batch_of(7)
    begun = {}
    for lane in range(3):
        begun[lane] = []
        while (file := await store.write(vector_store_files.begin_next, batch_id, lane, 3)) is not None:
            begun[lane].append(file["id"])
            await store.write(vector_store_files.fail, file, BROKEN)

    assert sorted(file_id for ids in begun.values() for file_id in ids) == [f"file-{n}" for n in range(7)]
    assert max(len(ids) for ids in begun.values()) <= 3


async def test_a_file_that_never_comes_to_an_end_is_given_up(store, vector_store, batch_of):
    batch_id = await batch_of(2)
    begun = [await store.write(vector_store_files.begin_next, batch_id, 0, 1) for _ in range(MAX_ATTEMPTS + 1)]

    assert [(file["id"], file["attempts"]) for file in begun] == [
        ("file-0", 1), ("file-0", 2), ("file-0", 3), ("file-1", 1),
    ]  # fmt: skip
    given_up = await store.read(vector_store_files.get, vector_store, "file-0")
    assert (given_up["status"], given_up["last_error"]["code"]) == ("failed", "server_error")


@pytest.mark.parametrize("meanwhile", ["cancelled", "taken out", "added again", "deleted", "store deleted"])
async def test_what_is_made_of_a_file_that_is_not_wanted_any_more_is_thrown_away(
    store, vector_store, batch_of, meanwhile
):
    batch_id = await batch_of(1)
    file = await store.write(vector_store_files.begin_next, batch_id, 0, 1)
    match meanwhile:
        case "cancelled":
            await store.write(vector_store_files.cancel_batch, vector_store, batch_id, NOW)
        case "taken out":
            await store.write(vector_store_files.remove, vector_store, "file-0")
        case "added again":
            await store.write(vector_store_files.add, vector_store, [AddedFile("file-0")], NOW)
        case "deleted":
            await store.write(files.delete, "file-0")
        case "store deleted":
            await store.write(vector_stores.delete_store, vector_store)

    assert not await store.write(vector_store_files.complete, file, CHUNKS)
    assert not await store.write(vector_store_files.fail, file, BROKEN)
    assert await chunks_in(store) == 0


async def test_counts_are_right_while_writers_race(store, vector_store, batch_of, database):
    """Lanes of two processes complete, one cancels and one takes files out, all at once; every file ends once."""
    batch_id = await batch_of(60)
    async with Database(database.url) as another:

        async def work(through, lane):
            while True:
                file = await through.write(lambda c: vector_store_files.begin_next(c, batch_id, lane, 4))
                if file is None:
                    return
                await through.write(lambda c, file=file: vector_store_files.complete(c, file, CHUNKS))
                await asyncio.sleep(0)

        async def take_out():
            for n in range(0, 60, 7):
                await another.write(lambda c, n=n: vector_store_files.remove(c, vector_store, f"file-{n}"))

        async def cancel():
            while (await counts_of(store, vector_store)).get("completed", 0) < 10:
                await asyncio.sleep(0)
            await another.write(lambda c: vector_store_files.cancel_batch(c, vector_store, batch_id, NOW))

        lanes = [work(through, lane) for lane, through in enumerate([database, another, database, another])]
        await asyncio.gather(*lanes, take_out(), cancel())

    counts = await counts_of(store, vector_store)
    listed = await store.read(vector_store_files.listed, vector_store, PageCursor(100), None)
    assert counts["total"] == len(listed.rows) == 60 - len(range(0, 60, 7))
    assert counts["completed"] + counts.get("cancelled", 0) == counts["total"]
    assert await chunks_in(store) == counts["completed"] * len(CHUNKS)


async def test_a_file_of_a_batch_that_does_not_exist_leaves_nothing_behind(store, vector_store, upload):
    [file_id] = await upload(1)
    with pytest.raises(ApiError, match="No such File object: file-unknown"):
        await store.write(
            vector_store_files.add_batch, vector_store, [AddedFile(file_id), AddedFile("file-unknown")], NOW
        )

    assert await counts_of(store, vector_store) == {}
    assert await store.read(commands.undelivered, older_than_seconds=0) == []


async def test_commands_that_were_written_deep_inside_are_collected(store, vector_store, upload):
    added = [AddedFile(file_id) for file_id in await upload(1)]
    _, written = await store.write(
        commands.collect, lambda connection: vector_store_files.add(connection, vector_store, added, NOW)
    )
    await store.write(vector_store_files.add, vector_store, added, NOW)

    assert [command["kind"] for command in written] == ["ingest"]
    assert len(await store.read(commands.undelivered, older_than_seconds=0)) == 2


# Expiry


async def expiring(store, days=1):
    values = {"project_id": "default", "expires_after": {"anchor": "last_active_at", "days": days}}
    return await store.write(vector_stores.create, values, NOW)


async def test_a_store_expires_so_long_after_it_was_last_used(store):
    made = await expiring(store)
    await store.write(vector_stores.touch, made["id"], NOW + DAY // 2)

    later = NOW + DAY
    assert (await store.read(vector_stores.get, made["id"], later))["status"] == "completed"
    expired = await store.read(vector_stores.get, made["id"], later + DAY // 2)
    assert (expired["status"], expired["expires_at"]) == ("expired", later + DAY // 2)


async def test_an_expired_store_does_not_come_back_by_being_used(store):
    made = await expiring(store)
    late = NOW + 2 * DAY
    await store.write(vector_stores.touch, made["id"], late)
    for use in (vector_stores.open_for_search, vector_stores.open_for_change):
        with pytest.raises(ApiError, match="is expired"):
            await store.write(use, made["id"], late)

    assert (await store.read(vector_stores.get, made["id"], late))["status"] == "expired"


async def test_use_is_written_down_once_a_minute(store):
    made = await expiring(store)

    assert not await store.read(vector_stores.open_for_search, made["id"], NOW + 60)
    assert await store.read(vector_stores.open_for_search, made["id"], NOW + 61)


async def test_what_an_expired_store_holds_is_removed(store, upload):
    made, kept = await expiring(store), await expiring(store, days=300)
    added = [AddedFile(file_id) for file_id in await upload(2)]
    for one in (made, kept):
        await store.write(vector_store_files.add, one["id"], added, NOW)

    assert await store.write(vector_stores.remove_expired, NOW + 2 * DAY, 10) == 1
    assert await store.write(vector_stores.remove_expired, NOW + 2 * DAY, 10) == 0
    assert await counts_of(store, made["id"]) == {}
    assert (await counts_of(store, kept["id"]))["total"] == 2


async def test_files_that_expired_are_removed_wherever_they_are(store, vector_store, upload):
    await upload(2)
    end = 2_000_000_000
    values = {"created_at": NOW, "purpose": "assistants", "filename": "a.txt", "bytes": 1, "expires_at": end}
    await store.write(files.create, {"id": "file-short", **values}, [b"x"])
    await store.write(vector_store_files.add, vector_store, [AddedFile("file-short"), AddedFile("file-1")], NOW)

    assert await store.write(files.remove_expired, end - 1, 10) == 0
    assert await store.write(files.remove_expired, end, 10) == 1
    assert await counts_of(store, vector_store) == {"in_progress": 1, "total": 1}


async def test_ingestions_that_were_left_behind_are_found(store, vector_store, batch_of):
    batch_id = await batch_of(2)

    assert await store.read(vector_store_files.stranded, NOW, 10) == []
    [found] = await store.read(vector_store_files.stranded, NOW + 1, 10)
    assert (found.ingestion_id, found.vector_store_id, found.files) == (batch_id, vector_store, 2)
