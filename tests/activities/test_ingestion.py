"""Ingesting files as an activity: what breaks one file stops no other, and is told."""

import asyncio
from datetime import timedelta

import httpx2
import numpy as np
import openai
import pytest
from structlog.testing import capture_logs
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from lockstitch import telemetry
from lockstitch.activities.ingestion import FILES_AT_ONCE, IngestedSlice, IngestionActivities, IngestSlice
from lockstitch.assistants.ingestion.parsing import MAX_BYTES, TextParser
from lockstitch.assistants.search.semantics import Semantics, open_vector_index
from lockstitch.assistants.store import files, vector_store_files, vector_stores
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import PageCursor
from lockstitch.assistants.store.vector_store_files import AddedFile
from lockstitch.errors import EmbedderUnavailable, StoreUnavailable
from lockstitch.starter.ingestion import EmbedSlice

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

    async def run(batch_id, parser=None, semantics=None):
        activities, slices = IngestionActivities(database, parser or TextParser(), semantics), []
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


def counted(outcome: str) -> float:
    return telemetry.registry.get_sample_value("lockstitch_files_ingested_total", {"outcome": outcome}) or 0


async def test_files_are_ingested_and_those_that_are_refused_say_why(batch, ingest, outcomes):
    batch_id = await batch({"a.txt": b"Apples", "b.exe": b"MZ", "c.txt": b""})
    before = {outcome: counted(outcome) for outcome in ("ingested", "refused", "gave_up")}

    assert await ingest(batch_id) == [IngestedSlice(files=3, more=False)]
    assert {outcome: counted(outcome) - before[outcome] for outcome in before} == {
        "ingested": 1, "refused": 2, "gave_up": 0,
    }  # fmt: skip
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
    before = counted("gave_up")
    with capture_logs() as logs:
        await ingest(batch_id, parser)

    assert counted("gave_up") == before + 1
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


class Embedder:
    """Makes a vector of each text, unless it is told to fail; counts what it was asked for."""

    def __init__(self, name="test", failure=None, meanwhile=None):
        self.name = name
        self.asked = []
        self.failure = failure
        self._meanwhile = meanwhile

    async def embed_passages(self, texts):
        self.asked += texts
        if self._meanwhile is not None:
            await self._meanwhile()
        if self.failure is not None:
            raise EmbedderUnavailable(self.name, self.failure)
        return np.array([[1.0, 0.0]] * len(texts), dtype=np.float32)


def refusal(status, message):
    request = httpx2.Request("POST", "http://vectors/v1/embeddings")
    response = httpx2.Response(status, request=request, headers={"retry-after": "7"})
    return openai.APIStatusError(message, response=response, body=None)


@pytest.fixture
def semantics(database):
    async def make(*arguments, **options):
        return Semantics(Embedder(*arguments, **options), await open_vector_index(database, upgrades=True))

    return make


@pytest.fixture
def embedded(database, vector_store):
    """Tell by name who made the vectors of each file, and how many vectors there are in the space of each embedder."""

    async def read(*embedders):
        index = await open_vector_index(database, upgrades=True)
        page = await database.read(lambda c: vector_store_files.listed(c, vector_store, PageCursor(100), None))
        spaces = [
            await database.read(lambda c, space=f"{name}/2d": index.nearest(c, vector_store, space, X, limit=100))
            for name in embedders
        ]
        return {row["id"].removeprefix("file-"): row["embedder"] for row in page.rows}, [len(each) for each in spaces]

    return read


X = np.array([1.0, 0.0], dtype=np.float32)


async def test_files_get_vectors_with_their_text(batch, ingest, embedded, semantics):
    batch_id, meaning = await batch({"a.txt": b"Apples", "b.txt": b"Pears", "c.exe": b"MZ"}), await semantics()
    await ingest(batch_id, semantics=meaning)

    assert sorted(meaning.embedder.asked) == ["Apples", "Pears"]
    assert await embedded("test") == ({"a.txt": "test", "b.txt": "test", "c.exe": None}, [2])


async def test_an_embedder_that_is_away_is_no_fault_of_the_file(batch, ingest, outcomes, semantics):
    """However often it is tried, no attempt counts, and Temporal is told when to try again."""
    batch_id, meaning = await batch({"a.txt": b"Apples"}), await semantics(failure=refusal(503, "Overloaded."))
    for _ in range(4):
        with pytest.raises(ApplicationError, match="embeddings endpoint answered 503: Overloaded") as raised:
            await ingest(batch_id, semantics=meaning)
        assert (raised.value.non_retryable, raised.value.next_retry_delay) == (False, timedelta(seconds=7))
    meaning.embedder.failure = None
    await ingest(batch_id, semantics=meaning)

    assert (await outcomes())["a.txt"] == ("completed", None)


async def test_an_embedder_that_refuses_fails_the_file_and_says_what_to_check(batch, ingest, outcomes, semantics):
    batch_id, meaning = await batch({"a.txt": b"Apples"}), await semantics(failure=refusal(401, "No such key."))
    await ingest(batch_id, semantics=meaning)

    message = "The embeddings endpoint answered 401: No such key. Check LOCKSTITCH_EMBEDDINGS_API_KEY."
    assert (await outcomes())["a.txt"] == ("failed", {"code": "server_error", "message": message})
    assert len(meaning.embedder.asked) == 1


async def test_a_file_that_is_not_wanted_any_more_gets_no_vectors(
    database, vector_store, batch, ingest, embedded, semantics
):
    async def cancel():
        await database.write(lambda c: vector_store_files.cancel_batch(c, vector_store, batch_id, NOW))

    batch_id = await batch({"a.txt": b"Apples"})
    await ingest(batch_id, semantics=await semantics(meanwhile=cancel))

    assert await embedded("test") == ({"a.txt": None}, [0])


async def embed_anew(database, semantics):
    activities = IngestionActivities(database, TextParser(), semantics)
    return await ActivityEnvironment().run(activities.embed_files, EmbedSlice())


async def test_vectors_of_another_embedder_are_made_anew_once(database, batch, ingest, embedded, semantics):
    await ingest(await batch({"a.txt": b"Apples", "b.txt": b"Pears"}), semantics=await semantics("old"))
    await ingest(await batch({"c.txt": b"Plums", "d.exe": b"MZ"}))
    new = await semantics("new")

    assert (await embed_anew(database, new)).more is False
    assert new.embedder.asked == ["Apples", "Pears", "Plums"]
    assert await embedded("old", "new") == ({"a.txt": "new", "b.txt": "new", "c.txt": "new", "d.exe": None}, [0, 3])
    await embed_anew(database, new)
    assert len(new.embedder.asked) == 3


async def test_files_whose_vectors_are_refused_keep_those_that_they_have(database, batch, ingest, embedded, semantics):
    await ingest(await batch({"a.txt": b"Apples", "b.txt": b"Pears"}), semantics=await semantics("old"))
    done = await embed_anew(database, await semantics("new", failure=refusal(400, "Too long.")))

    assert (done.refused, done.more) == (2, False)
    assert await embedded("old", "new") == ({"a.txt": "old", "b.txt": "old"}, [2, 0])


async def test_a_file_that_is_taken_out_while_it_is_embedded_anew_leaves_nothing(
    database, vector_store, batch, ingest, embedded, semantics
):
    async def take_out():
        await database.write(lambda c: vector_store_files.remove(c, vector_store, "file-a.txt"))

    await ingest(await batch({"a.txt": b"Apples"}), semantics=await semantics("old"))
    await embed_anew(database, await semantics("new", meanwhile=take_out))

    assert await embedded("old", "new") == ({}, [0, 0])
