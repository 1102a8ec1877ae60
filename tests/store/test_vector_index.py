"""The index of vectors, as every kind of database must have it, and that nothing of what is deleted stays in it."""

import numpy as np
import pytest
from sqlalchemy import text

from lockstitch.assistants.search.semantics import open_vector_index
from lockstitch.assistants.store import files, vector_store_files, vector_stores
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.vector_index import ChunkPlace, PgvectorIndex
from lockstitch.assistants.store.vector_store_files import AddedFile, Chunk
from lockstitch.errors import PgvectorMissing

NOW = 1_700_000_000
SPACE = "test/2d"


@pytest.fixture
async def index(database):
    return await open_vector_index(database, upgrades=True)


@pytest.fixture
async def vector_store(store):
    return (await store.write(vector_stores.create, {"project_id": "default"}, NOW))["id"]


@pytest.fixture
def add(store, index):
    """Put a file with vectors at so many degrees into a store, and return its row there."""

    async def put(vector_store, name, *degrees, space=SPACE):
        values = {"id": f"file-{name}", "created_at": NOW, "purpose": "assistants", "filename": name, "bytes": 1}
        if not await store.read(files.find, values["id"]):
            await store.write(files.create, values, iter([]))
        await store.write(vector_store_files.add, vector_store, [AddedFile(values["id"])], NOW)
        row = await store.read(vector_store_files.get, vector_store, values["id"])
        chunks = [Chunk(at, "Some text", ["some", "text"]) for at in range(len(degrees))]
        await store.write(vector_store_files.complete, row, chunks, "test")
        await store.write(index.put, row, space, np.array([at(each) for each in degrees]))
        return row["seq"]

    return put


@pytest.fixture
def nearest(store, index, vector_store):
    """Return the places that are nearest to so many degrees."""

    async def look(degrees, limit=10, space=SPACE, **options):
        return await store.read(index.nearest, vector_store, space, at(degrees), limit=limit, **options)

    return look


def at(degrees):
    """The vector of length 1 in a direction."""
    radians = np.radians(degrees)
    return np.array([np.cos(radians), np.sin(radians)], dtype=np.float32)


def places(found):
    return [tuple(each.place) for each in found]


async def test_the_nearest_come_first_with_their_similarity(add, nearest, vector_store):
    a, b = await add(vector_store, "a", 10, 80), await add(vector_store, "b", 40)

    found = await nearest(0)
    assert places(found) == [(a, 0), (b, 0), (a, 1)]
    assert [each.similarity for each in found] == pytest.approx(np.cos(np.radians([10, 40, 80])), abs=1e-3)
    assert places(await nearest(90, limit=1)) == [(a, 1)]


async def test_only_the_store_the_space_and_the_files_that_are_meant_are_looked_at(add, nearest, store, vector_store):
    other = (await store.write(vector_stores.create, {"project_id": "default"}, NOW))["id"]
    a, b = await add(vector_store, "a", 10), await add(vector_store, "b", 20)
    await add(other, "c", 0)
    await add(vector_store, "d", 0, space="other/2d")

    assert places(await nearest(0)) == [(a, 0), (b, 0)]
    assert places(await nearest(0, file_seqs=[b])) == [(b, 0)]
    assert await nearest(0, file_seqs=[]) == []
    assert await nearest(0, space="nobody/2d") == []


async def test_similarities_are_told_of_chunks_that_have_vectors(add, store, index, vector_store):
    a, b = await add(vector_store, "a", 0, 60), await add(vector_store, "b", 0, space="other/2d")
    asked = [ChunkPlace(a, 1), ChunkPlace(a, 2), ChunkPlace(b, 0), ChunkPlace(99, 0)]

    found = await store.read(index.similarities, vector_store, SPACE, at(0), asked)
    assert found == {ChunkPlace(a, 1): pytest.approx(0.5, abs=1e-3)}
    assert await store.read(index.similarities, vector_store, SPACE, at(0), []) == {}


async def test_what_comes_and_goes_is_seen_at_once_whoever_writes_it(add, nearest, database, vector_store):
    """Also where a number is given away again, which SQLite does with the largest one."""
    a, b = await add(vector_store, "a", 10), await add(vector_store, "b", 20)
    assert places(await nearest(0)) == [(a, 0), (b, 0)]

    async with Database(database.url) as another_process:
        await another_process.write(lambda c: vector_store_files.remove(c, vector_store, "file-b"))
    c = await add(vector_store, "c", 30)
    found = await nearest(0)
    assert places(found) == [(a, 0), (c, 0)]
    assert found[1].similarity == pytest.approx(np.cos(np.radians(30)), abs=1e-3)

    again = await add(vector_store, "a", 50)
    assert places(await nearest(0)) == [(c, 0), (again, 0)]


async def test_vectors_that_are_put_again_take_the_place_of_the_others(add, nearest, store, index, vector_store):
    a = await add(vector_store, "a", 10, 20)
    row = await store.read(vector_store_files.get, vector_store, "file-a")
    await store.write(index.put, row, "other/2d", np.array([at(70), at(80)]))

    assert await nearest(0) == []
    assert places(await nearest(90, space="other/2d")) == [(a, 1), (a, 0)]


@pytest.mark.parametrize(
    "forget",
    [
        lambda c, vector_store: vector_store_files.remove(c, vector_store, "file-a"),
        lambda c, vector_store: files.delete(c, "file-a"),
        lambda c, vector_store: vector_stores.delete_store(c, vector_store),
        lambda c, vector_store: vector_stores.remove_expired(c, NOW + 2 * vector_stores.DAY_SECONDS, 10),
    ],
    ids=["taken out of the store", "file deleted", "store deleted", "store expired"],
)
async def test_deletion_leaves_neither_text_nor_words_nor_vectors(add, store, database_kind, vector_store, forget):
    expiry = {"expires_after": {"anchor": "last_active_at", "days": 1}}
    await store.write(vector_stores.change, vector_store, expiry, NOW)
    await add(vector_store, "a", 10, 20)
    assert await store.read(held, database_kind) > 0
    await store.write(forget, vector_store)

    assert await store.read(held, database_kind) == 0


def held(connection, database_kind):
    """Count what the tables hold of the text of files; on PostgreSQL the words are in the table of chunks."""
    rows = sum(connection.scalar(text(f"SELECT count(*) FROM {table}")) for table in _TABLES)
    if database_kind == "postgresql":
        return rows
    words = "SELECT count(*) FROM vector_store_words WHERE vector_store_words MATCH 'text'"
    return rows + connection.scalar(text(words))


_TABLES = ("vector_store_chunks", "vector_store_vectors")


@pytest.mark.on_database("postgresql")
async def test_a_postgresql_without_the_table_says_what_makes_it(store):
    await store.write(lambda c: c.execute(text("DROP TABLE vector_store_vectors")))
    with pytest.raises(PgvectorMissing, match=r"no table vector_store_vectors; `lockstitch db upgrade`"):
        await open_vector_index(store.database, upgrades=False)


@pytest.mark.on_database("postgresql")
async def test_a_postgresql_that_lets_nobody_make_extensions_says_so(store):
    def make_as_somebody(connection):
        connection.execute(text("DROP EXTENSION vector CASCADE"))
        connection.execute(text("DROP TABLE vector_store_vectors"))
        connection.execute(text("CREATE ROLE somebody"))
        connection.execute(text("SET LOCAL ROLE somebody"))
        PgvectorIndex().prepare(connection, upgrades=True)

    with pytest.raises(PgvectorMissing, match=r"permission denied.*CREATE EXTENSION vector"):
        await store.write(make_as_somebody)


@pytest.mark.on_database("postgresql")
async def test_a_table_that_is_missing_is_made_by_whoever_embeds_first(store):
    await store.write(lambda c: c.execute(text("DROP TABLE vector_store_vectors")))
    await open_vector_index(store.database, upgrades=True)

    assert await store.read(lambda c: c.scalar(text("SELECT count(*) FROM vector_store_vectors"))) == 0
