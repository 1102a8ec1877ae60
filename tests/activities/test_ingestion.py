"""Ingesting files as an activity: what breaks one file stops no other, and is told."""

import asyncio

import pytest
from structlog.testing import capture_logs
from temporalio.testing import ActivityEnvironment

from lockstitch.activities.ingestion import FILES_AT_ONCE, IngestedSlice, IngestionActivities, IngestSlice
from lockstitch.assistants.ingestion.parsing import MAX_BYTES, TextParser
from lockstitch.assistants.store import files, vector_store_files, vector_stores
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import PageCursor
from lockstitch.assistants.store.vector_store_files import AddedFile
from lockstitch.errors import StoreUnavailable

NOW = 1_700_000_000


class FaultyParser:
    """Breaks over some files in a way that nobody foresaw, and tells which files it saw."""

    def __init__(self, breaks_over=(), meanwhile=None):
        self.seen = []
        self._breaks_over = breaks_over
        self._meanwhile = meanwhile

    async def parse(self, filename, content):
        self.seen.append(filename)
        if self._meanwhile is not None:
            await self._meanwhile(filename)
        if filename in self._breaks_over:
            raise RecursionError("too deep")
        return await TextParser().parse(filename, content)


@pytest.fixture
async def vector_store(database):
    return (await database.write(lambda c: vector_stores.create(c, {"project_id": "default"}, NOW)))["id"]


@pytest.fixture
def batch(database, vector_store):
    """Add a batch of files, by name and content, and return its id."""

    async def add(contents, size=None):
        def write(connection):
            added = []
            for name, content in contents.items():
                values = {"id": f"file-{name}", "created_at": NOW, "purpose": "assistants", "filename": name}
                files.create(connection, {**values, "bytes": size or len(content)}, [content])
                added.append(AddedFile(f"file-{name}"))
            return vector_store_files.add_batch(connection, vector_store, added, NOW)["id"]

        return await database.write(write)

    return add


@pytest.fixture
def ingest(database):
    """Carry the activity out as a worker would, until there is nothing left; return what each time came of it."""

    async def run(batch_id, parser=None):
        activities, slices = IngestionActivities(database, parser or TextParser()), []
        while not slices or slices[-1].more:
            slices.append(await ActivityEnvironment().run(activities.ingest_files, IngestSlice(ingestion_id=batch_id)))
        return slices

    return run


@pytest.fixture
def outcomes(database, vector_store):
    """Tell by name what became of each file."""

    async def read():
        page = await database.read(lambda c: vector_store_files.listed(c, vector_store, PageCursor(100), None))
        return {row["id"].removeprefix("file-"): (row["status"], row["last_error"]) for row in page.rows}

    return read


async def test_files_are_ingested_and_those_that_are_refused_say_why(batch, ingest, outcomes):
    batch_id = await batch({"a.txt": b"Apples", "b.exe": b"MZ", "c.txt": b""})

    assert await ingest(batch_id) == [IngestedSlice(files=3, more=False)]
    found = await outcomes()
    assert found["a.txt"] == ("completed", None)
    assert [found[name][1]["code"] for name in ("b.exe", "c.txt")] == ["unsupported_file", "invalid_file"]


async def test_an_activity_takes_so_many_files_and_says_that_there_are_more(batch, ingest, outcomes):
    batch_id = await batch({f"{n}.txt": b"Apples" for n in range(FILES_AT_ONCE + 1)})

    assert await ingest(batch_id) == [
        IngestedSlice(files=FILES_AT_ONCE, more=True), IngestedSlice(files=1, more=False),
    ]  # fmt: skip
    assert {status for status, _ in (await outcomes()).values()} == {"completed"}


async def test_a_file_over_which_the_parser_breaks_is_tried_three_times_and_given_up(batch, ingest, outcomes):
    batch_id, parser = await batch({"a.txt": b"a", "b.txt": b"b", "c.txt": b"c"}), FaultyParser({"b.txt"})
    with capture_logs() as logs:
        await ingest(batch_id, parser)

    assert parser.seen == ["a.txt", "b.txt", "b.txt", "b.txt", "c.txt"]
    error = {"code": "server_error", "message": "The file could not be processed: RecursionError."}
    assert await outcomes() == {"a.txt": ("completed", None), "b.txt": ("failed", error), "c.txt": ("completed", None)}
    assert [log["attempt"] for log in logs if log["event"] == "file_not_ingested"] == [1, 2, 3]


async def test_a_file_that_is_too_large_is_refused_unread(batch, ingest, outcomes):
    batch_id, parser = await batch({"a.txt": b"a"}, size=MAX_BYTES + 1), FaultyParser()
    await ingest(batch_id, parser)

    assert parser.seen == []
    assert (await outcomes())["a.txt"][1]["message"].startswith(f"The file has {MAX_BYTES + 1} bytes")


async def test_a_batch_that_is_cancelled_stops_after_the_file_at_work(database, vector_store, batch, ingest, outcomes):
    async def cancel(_filename):
        await database.write(lambda c: vector_store_files.cancel_batch(c, vector_store, batch_id, NOW))

    batch_id, parser = await batch({"a.txt": b"a", "b.txt": b"b"}), FaultyParser(meanwhile=cancel)
    await ingest(batch_id, parser)

    assert parser.seen == ["a.txt"]
    assert await outcomes() == {"a.txt": ("cancelled", None), "b.txt": ("cancelled", None)}


async def test_a_store_that_is_deleted_stops_its_ingestion(database, vector_store, batch, ingest):
    async def delete(_filename):
        await database.write(lambda c: vector_stores.delete_store(c, vector_store))

    batch_id, parser = await batch({"a.txt": b"a", "b.txt": b"b"}), FaultyParser(meanwhile=delete)

    assert await ingest(batch_id, parser) == [IngestedSlice(files=1, more=False)]
    assert parser.seen == ["a.txt"]


async def test_a_database_that_is_away_is_no_fault_of_the_file(database, batch, tmp_path):
    batch_id = await batch({"a.txt": b"a"})
    async with Database(f"sqlite:///{tmp_path / 'other.db'}") as broken:
        await broken.write(lambda c: c.exec_driver_sql("DROP TABLE vector_store_files"))
        activities = IngestionActivities(broken, TextParser())
        with pytest.raises(StoreUnavailable):
            await ActivityEnvironment().run(activities.ingest_files, IngestSlice(ingestion_id=batch_id))


async def test_the_event_loop_goes_on_while_a_large_file_is_divided(batch, ingest, outcomes):
    """What parses and divides runs on a thread: others are served meanwhile."""
    batch_id, turns = await batch({"large.txt": b"A sentence about apples, pears and plums. " * 60_000}), 0
    ingesting = asyncio.create_task(ingest(batch_id))
    while not ingesting.done():
        await asyncio.sleep(0)
        turns += 1

    assert (await outcomes())["large.txt"] == ("completed", None)
    assert turns > 100
