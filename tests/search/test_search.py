"""Searches by words and by meaning: what each finds, and that neither loses what the other found."""

import pytest
from structlog.testing import capture_logs

from lockstitch.assistants.embedding.static import StaticVectors
from lockstitch.assistants.search.filters import Comparison
from lockstitch.assistants.search.query import MANY, Query, Search, rarest
from lockstitch.assistants.search.semantics import Semantics, open_vector_index
from lockstitch.assistants.search.words import words_of
from lockstitch.assistants.store import files, vector_store_files, vector_stores
from lockstitch.assistants.store.vector_store_files import AddedFile, Chunk

NOW = 1_700_000_000
REFUNDS = "A refund is paid within fourteen days after the goods came back."
PARKING = "Employees park their cars behind the building."
ERROR = "Error LS-4711 means that the card reader has lost its connection."
QUESTION = "How long until customers get their money returned?"


class Renamed:
    """The same vectors under another name, as of another model."""

    def __init__(self, embedder):
        self.name = "another model"
        self.embed_passages = embedder.embed_passages
        self.embed_query = embedder.embed_query


@pytest.fixture(scope="module")
def embedder():
    return StaticVectors.load()


@pytest.fixture
async def semantics(database, embedder):
    return Semantics(embedder, await open_vector_index(database, upgrades=True))


@pytest.fixture
def fill(database, semantics):
    """Make a vector store with files of one chunk each, by name; with vectors unless they are not asked for."""

    async def make(texts, *, embeds=True, attributes=None):
        def add(connection):
            store_id = vector_stores.create(connection, {"project_id": "default"}, NOW)["id"]
            for name, text in texts.items():
                values = {"id": f"file-{name}", "created_at": NOW, "purpose": "assistants", "filename": name}
                if files.find(connection, values["id"]) is None:
                    files.create(connection, {**values, "bytes": 1}, [])
                added = AddedFile(values["id"], attributes=(attributes or {}).get(name, {}))
                vector_store_files.add(connection, store_id, [added], NOW)
                row = vector_store_files.get(connection, store_id, values["id"])
                vector_store_files.complete(connection, row, [Chunk(0, text, words_of(text))])
                if embeds:
                    semantics.put(connection, row, vectors[name])
            return store_id

        made = await semantics.embedder.embed_passages(list(texts.values()))
        vectors = {name: made[[at]] for at, name in enumerate(texts)}
        return await database.write(add)

    return make


async def names(search, database, stores, *texts, **options):
    return [found.filename for found in await search.search(database, stores, Query(texts, **options))]


async def test_a_question_finds_its_answer_though_they_have_no_word_in_common(database, semantics, fill):
    store = await fill({"parking": PARKING, "refunds": REFUNDS, "error": ERROR})

    assert (await names(Search(semantics), database, [store], QUESTION))[0] == "refunds"
    assert await names(Search(), database, [store], QUESTION) != ["refunds"]


async def test_a_rare_identifier_is_found_by_its_words(database, semantics, fill):
    others = {f"error-{n}": f"Error LS-{n} means that the scanner has lost its power." for n in range(4700, 4711)}
    store = await fill({**others, "error": ERROR})

    [first, *_] = await Search(semantics).search(database, [store], Query(["LS-4711"]))
    assert first.filename == "error"
    assert 0.5 < first.score <= 1


async def test_scores_lie_between_nothing_and_one_and_the_threshold_leaves_out_what_is_less(database, semantics, fill):
    store = await fill({"parking": PARKING, "refunds": REFUNDS, "error": ERROR})
    search = Search(semantics)

    everything = await search.search(database, [store], Query([REFUNDS]))
    assert everything[0].filename == "refunds"
    assert all(0 <= found.score <= 1 for found in everything)
    assert everything[0].score > 0.85
    assert await names(search, database, [store], REFUNDS, threshold=0.8) == ["refunds"]
    assert await names(search, database, [store], REFUNDS, threshold=1.0) == []


async def test_filters_hold_for_what_is_found_by_its_meaning(database, semantics, fill):
    store = await fill({"parking": PARKING, "refunds": REFUNDS}, attributes={"parking": {"topic": "office"}})

    office = Comparison(type="eq", key="topic", value="office")
    assert await names(Search(semantics), database, [store], QUESTION, condition=office) == ["parking"]


async def test_several_stores_are_searched_as_one_and_a_file_in_both_is_found_once(database, semantics, fill):
    one = await fill({"parking": PARKING, "refunds": REFUNDS})
    two = await fill({"refunds": REFUNDS, "error": ERROR})
    search = Search(semantics)

    assert sorted(await names(search, database, [one, two, one], QUESTION)) == ["error", "parking", "refunds"]
    assert (await names(search, database, [one, two], "LS-4711", limit=1)) == ["error"]


async def test_what_another_embedder_made_is_not_compared_and_words_still_find_it(database, semantics, fill):
    store = await fill({"parking": PARKING, "refunds": REFUNDS})
    search = Search(Semantics(Renamed(semantics.embedder), semantics.index))

    words_alone = await Search().search(database, [store], Query(["refund goods"]))
    with capture_logs() as logs:
        assert await search.search(database, [store], Query(["refund goods"])) == words_alone
    [missing] = [log for log in logs if log["event"] == "vectors_missing"]
    assert (missing["vector_store_id"], missing["space"]) == (store, "another model/256d")
    assert await names(search, database, [store], QUESTION) == await names(Search(), database, [store], QUESTION)


async def test_chunks_without_vectors_are_judged_by_their_words(database, semantics, fill):
    store = await fill({"refunds": REFUNDS}, embeds=False)

    [found] = await Search(semantics).search(database, [store], Query(["refund"]))
    assert [found] == await Search().search(database, [store], Query(["refund"]))


@pytest.mark.parametrize(
    ("having", "rare"),
    [
        ({"the": 100, "refund": 3}, ["refund", "the"]),
        ({"the": MANY, "refund": 3}, ["refund"]),
        ({"the": 3 * MANY, "a": 2 * MANY}, ["a"]),
        ({"nothing": 0, "the": 2 * MANY}, ["the"]),
        ({"nothing": 0}, []),
    ],
)
def test_where_many_chunks_have_words_of_a_query_the_rarest_choose(having, rare):
    assert rarest(having) == rare


@pytest.mark.parametrize("asked", ["", "   ", "?!"])
async def test_a_query_without_words_finds_nothing(database, semantics, fill, asked):
    store = await fill({"refunds": REFUNDS})

    assert await names(Search(semantics), database, [store], asked) == []


async def test_a_store_without_files_has_nothing_to_find(database, semantics, fill):
    assert await names(Search(semantics), database, [await fill({})], QUESTION) == []
