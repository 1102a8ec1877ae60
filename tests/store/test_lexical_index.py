"""The index of words, as every kind of database must have it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstitch.assistants.search.query import Query, Search
from lockstitch.assistants.search.words import words_of
from lockstitch.assistants.store import files, vector_store_files, vector_stores
from lockstitch.assistants.store.lexical_index import index_of
from lockstitch.assistants.store.rows import PageCursor
from lockstitch.assistants.store.vector_store_files import AddedFile, Chunk

NOW = 1_700_000_000


@pytest.fixture
def fill(store):
    """Make a vector store with files of one chunk each and return its id."""

    async def make(**texts):
        vector_store = (await store.write(vector_stores.create, {"project_id": "default"}, NOW))["id"]
        for name, text in texts.items():
            file_id = f"file-{name}-{vector_store[3:9]}"
            values = {"id": file_id, "created_at": NOW, "purpose": "assistants", "filename": name, "bytes": 1}
            await store.write(files.create, values, iter([]))
            await store.write(vector_store_files.add, vector_store, [AddedFile(file_id)], NOW)
            row = await store.read(vector_store_files.get, vector_store, file_id)
            await store.write(vector_store_files.complete, row, [Chunk(0, text, words_of(text))])
        return vector_store

    return make


@pytest.fixture
def found(store):
    """Search and return the names of the files."""

    async def look(vector_store, *texts, **options):
        results = await Search().search(store.database, [vector_store], Query(texts, **options))
        return [result.filename for result in results]

    return look


async def test_words_are_counted_within_one_store(store, fill):
    one = await fill(a="Apples are red", b="Bananas are yellow")
    two = await fill(c="Apples and apples")

    def count(connection, vector_store, word):
        return index_of(connection).count(connection, vector_store, word)

    assert [await store.read(count, one, word) for word in ("apple", "are", "banana", "plum")] == [1, 2, 1, 0]
    assert [await store.read(count, two, word) for word in ("apple", "are")] == [1, 0]


async def test_chunks_with_any_of_the_words_are_found_in_their_own_store_and_files(store, fill):
    vector_store = await fill(a="Apples are red", b="Bananas are yellow", c="Plums")
    await fill(d="Apples elsewhere")

    def find(connection, words, **options):
        return index_of(connection).find(connection, vector_store, words, **{"limit": 10, **options})

    chunks = await store.read(find, ["apple", "banana", "nothing"])
    assert sorted(chunk["text"] for chunk in chunks) == ["Apples are red", "Bananas are yellow"]
    assert len(await store.read(find, ["are"], limit=1)) == 1
    [second] = await store.read(find, ["are"], file_seqs=[chunks[1]["file_seq"]])
    assert second["seq"] == chunks[1]["seq"]
    assert await store.read(find, ["are"], file_seqs=[]) == []


async def test_where_words_are_rare_chunks_that_have_none_of_them_are_not_looked_at(store, fill):
    vector_store = await fill(a="Apples are red", b="Bananas are yellow", c="Cherries are red")

    def find(connection):
        return index_of(connection).find(connection, vector_store, ["are", "red"], rare=["red"], limit=10)

    assert sorted(chunk["text"] for chunk in await store.read(find)) == ["Apples are red", "Cherries are red"]


async def test_chunks_are_found_by_their_places(store, fill):
    vector_store = await fill(a="Apples", b="Bananas")
    [(a, _), (b, _)] = await store.read(vector_store_files.attributes_of, vector_store)
    found = await store.read(vector_store_files.chunks_at, [(b, 0), (a, 0), (a, 1)])

    assert sorted((chunk["file_seq"], chunk["text"]) for chunk in found) == [(a, "Apples"), (b, "Bananas")]
    assert await store.read(vector_store_files.chunks_at, []) == []


async def test_the_index_forgets_what_is_deleted_in_every_way(store, fill, found):
    vector_store = await fill(a="Apples", b="More apples", c="Still apples")
    cursor = PageCursor(descending=False)
    [first, second, third] = (await store.read(vector_store_files.listed, vector_store, cursor, None)).rows
    await store.write(vector_store_files.remove, vector_store, first["id"])
    assert sorted(await found(vector_store, "apple")) == ["b", "c"]
    await store.write(files.delete, second["id"])
    assert await found(vector_store, "apple") == ["c"]
    await store.write(vector_stores.delete_store, vector_store)

    def count(connection):
        return index_of(connection).count(connection, vector_store, "apple")

    assert await store.read(count) == 0
    assert (await store.read(files.get, third["id"]))["filename"] == "c"


async def test_a_score_does_not_depend_on_what_others_keep(store, fill):
    vector_store = await fill(a="Apples are red", b="Bananas are yellow")
    before = await Search().search(store.database, [vector_store], Query(["red apples"]))
    for _ in range(3):
        await fill(x="red red red", y="apple apple", z="red apples")

    assert await Search().search(store.database, [vector_store], Query(["red apples"])) == before


async def test_equals_come_in_the_order_in_which_they_were_added(fill, found):
    vector_store = await fill(b="Apples", a="Apples", c="Apples")

    assert await found(vector_store, "apples") == ["b", "a", "c"]
    assert await found(vector_store, "apples", limit=2) == ["b", "a"]


async def test_the_best_of_several_queries_counts(fill, found):
    vector_store = await fill(a="Apples are red", b="Bananas are yellow")

    assert await found(vector_store, "bananas yellow", "are") == ["b", "a"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=60))
async def test_no_text_means_anything_to_the_database(store, text):
    """Whatever is looked for, no error and nothing but words."""

    def look(connection):
        words = words_of(text) or ["nothing"]
        index = index_of(connection)
        return index.find(connection, "vs_none", words, limit=1), [index.count(connection, "vs_none", w) for w in words]

    chunks, _ = await store.read(look)
    assert chunks == []
