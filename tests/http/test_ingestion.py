"""The SDK's helpers for vector stores, on a server with a real worker."""

import io

import pytest

REFUNDS = b"Refunds are paid within ten days.\n\nWrite to the desk in Oslo for a refund of more than 100 euro."
PARKING = b"# Parking\n\nThe garage closes at ten. Visitors park on deck 2."
PAGE = b"<html><style>b {color: red}</style><body><h1>Canteen</h1><p>Open <b>until</b> two.</p></body></html>"
OPENING = "Öffnungszeiten: Montag bis Freitag.".encode("utf-16")
SMALL_CHUNKS = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 20}}


@pytest.fixture
async def sdk(ingesting):
    return ingesting


@pytest.fixture
async def store(sdk):
    return await sdk.vector_stores.create(name="Handbook")


@pytest.fixture
def upload(sdk):
    """Upload a file and return its id."""

    async def send(name, content):
        return (await sdk.files.create(file=(name, content), purpose="assistants")).id

    return send


@pytest.fixture
async def handbook(sdk, store):
    """A store with three files in it."""
    files = [("refunds.txt", REFUNDS), ("parking.md", PARKING), ("canteen.html", PAGE)]
    batch = await sdk.vector_stores.file_batches.upload_and_poll(store.id, files=files)
    assert (batch.status, batch.file_counts.completed, batch.file_counts.total) == ("completed", 3, 3)
    return store.id


async def test_a_file_is_ingested_while_the_sdk_waits(sdk, store, upload):
    file_id = await upload("refunds.txt", REFUNDS)
    created = await sdk.vector_stores.files.create(vector_store_id=store.id, file_id=file_id, attributes={"year": 2024})
    done = await sdk.vector_stores.files.poll(file_id, vector_store_id=store.id)
    found = await sdk.vector_stores.retrieve(store.id)

    assert (created.status, created.usage_bytes, created.attributes) == ("in_progress", 0, {"year": 2024})
    assert (done.status, done.usage_bytes, done.last_error) == ("completed", len(REFUNDS), None)
    assert done.chunking_strategy.to_dict() == {
        "type": "static",
        "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400},
    }
    assert (found.status, found.usage_bytes, found.file_counts.completed) == ("completed", len(REFUNDS), 1)


async def test_every_helper_that_uploads_and_polls_works(sdk, store, upload):
    files, batches = sdk.vector_stores.files, sdk.vector_stores.file_batches
    added = await files.upload(vector_store_id=store.id, file=("a.txt", b"Apples are red."))
    polled = [
        await files.poll(added.id, vector_store_id=store.id),
        await files.upload_and_poll(vector_store_id=store.id, file=("b.txt", io.BytesIO(b"Bananas are yellow."))),
        await files.create_and_poll(await upload("c.txt", b"Cherries are red."), vector_store_id=store.id),
    ]
    together = await batches.create_and_poll(
        store.id, file_ids=[await upload(f"{n}.txt", b"Dates are brown.") for n in range(3)], attributes={"set": "d"}
    )
    listed = [file async for file in batches.list_files(together.id, vector_store_id=store.id, limit=2)]
    found = await batches.retrieve(together.id, vector_store_id=store.id)

    assert [each.status for each in polled] == ["completed"] * 3
    assert (found.status, found.file_counts.completed, found.file_counts.total) == ("completed", 3, 3)
    assert [file.attributes for file in listed] == [{"set": "d"}] * 3
    assert (await sdk.vector_stores.retrieve(store.id)).file_counts.total == 6


async def test_a_store_can_begin_with_files_and_is_in_progress_until_they_are_in(sdk, upload, eventually):
    file_ids = [await upload(f"{n}.txt", REFUNDS) for n in range(3)]
    created = await sdk.vector_stores.create(file_ids=file_ids, chunking_strategy=SMALL_CHUNKS)

    async def completed():
        found = await sdk.vector_stores.retrieve(created.id)
        return found if found.status == "completed" else None

    assert (created.status, created.file_counts.in_progress) == ("in_progress", 3)
    assert (await eventually(completed)).file_counts.completed == 3
    listed = [file async for file in sdk.vector_stores.files.list(created.id, order="asc", limit=1)]
    assert [file.id for file in listed] == file_ids
    assert {file.chunking_strategy.static.max_chunk_size_tokens for file in listed} == {100}


async def test_files_that_cannot_be_read_fail_and_say_why(sdk, store, upload):
    bad = {
        await upload("photo.png", b"\x89PNG"): ("unsupported_file", "Files with the extension .png are not supported."),
        await upload("empty.txt", b""): ("invalid_file", "The file has no text in it."),
        await upload("marks.txt", b"... --- ..."): ("invalid_file", "The file has no words in it."),
        await upload("data.txt", b"a\0b"): ("invalid_file", "The file is not text."),
        await upload("cut.txt", b"\xff\xfea"): (
            "invalid_file",
            "The file begins as utf-16-le and is not: truncated data.",
        ),
    }
    good = await upload("README", OPENING)
    batch = await sdk.vector_stores.file_batches.create_and_poll(store.id, file_ids=[*bad, good])
    failed = [file async for file in sdk.vector_stores.files.list(store.id, filter="failed")]
    completed = [file async for file in sdk.vector_stores.files.list(store.id, filter="completed")]

    assert (batch.file_counts.failed, batch.file_counts.completed, batch.status) == (5, 1, "completed")
    assert {file.id: (file.last_error.code, file.last_error.message) for file in failed} == bad
    assert [file.id for file in completed] == [good]
    page = await sdk.vector_stores.files.content(good, vector_store_id=store.id)
    assert [part.text for part in page.data] == ["Öffnungszeiten: Montag bis Freitag."]


async def test_the_content_of_a_file_is_its_text_whatever_its_chunks(sdk, store, upload):
    text = "\n".join(f"Line {n} says something about the number {n * n}." for n in range(400))
    file_id = await upload("lines.txt", text.encode())
    await sdk.vector_stores.files.create_and_poll(file_id, vector_store_id=store.id, chunking_strategy=SMALL_CHUNKS)
    page = await sdk.vector_stores.files.content(file_id, vector_store_id=store.id)

    assert page.object == "vector_store.file_content.page"
    assert "".join(part.text for part in page.data) == text


async def test_what_answers_best_is_found_first(sdk, handbook):
    found = await sdk.vector_stores.search(handbook, query="When do I get my REFUND in Oslo?")
    first = found.data[0]

    assert (first.filename, first.attributes, first.content[0].type) == ("refunds.txt", {}, "text")
    assert first.content[0].text == REFUNDS.decode()
    assert 0 < first.score <= 1
    scores = [result.score for result in found.data]
    assert scores == sorted(scores, reverse=True)
    canteen = await sdk.vector_stores.search(handbook, query="canteen open until two")
    assert canteen.data[0].content[0].text == "Canteen\nOpen until two."


async def test_several_queries_are_asked_at_once_and_results_are_limited(sdk, handbook):
    both = await sdk.vector_stores.search(handbook, query=["garage", "canteen"])
    one = await sdk.vector_stores.search(handbook, query=["garage", "canteen"], max_num_results=1)
    none = await sdk.vector_stores.search(handbook, query="submarine", rewrite_query=True)

    assert {result.filename for result in both.data} == {"parking.md", "canteen.html"}
    assert len(one.data) == 1
    assert none.data == []


async def test_results_below_the_threshold_are_left_out(sdk, handbook):
    query = "refund garage submarine"
    every = await sdk.vector_stores.search(handbook, query=query)
    best = max(result.score for result in every.data)
    few = await sdk.vector_stores.search(handbook, query=query, ranking_options={"score_threshold": best})

    assert len(every.data) == 2
    assert [result.score for result in few.data] == [best]


async def test_only_files_with_the_attributes_that_are_asked_for_are_searched(sdk, store, upload):
    for year in (2022, 2023, 2024):
        file_id = await upload(f"{year}.txt", b"The annual report.")
        await sdk.vector_stores.files.create_and_poll(
            file_id, vector_store_id=store.id, attributes={"year": year, "public": year != 2023}
        )

    async def found(filters):
        results = await sdk.vector_stores.search(store.id, query="annual report", filters=filters)
        return sorted(result.filename for result in results.data)

    since_2023 = {"type": "gte", "key": "year", "value": 2023}
    public = {"type": "eq", "key": "public", "value": True}
    assert await found(since_2023) == ["2023.txt", "2024.txt"]
    assert await found({"type": "and", "filters": [since_2023, public]}) == ["2024.txt"]
    assert await found({"type": "or", "filters": [since_2023, {"type": "and", "filters": [public]}]}) == [
        "2022.txt", "2023.txt", "2024.txt",
    ]  # fmt: skip
    assert await found({"type": "in", "key": "year", "value": [2022, 1999]}) == ["2022.txt"]


async def test_attributes_can_be_changed_and_filter_at_once(sdk, store, upload):
    file_id = await upload("a.txt", b"The annual report.")
    await sdk.vector_stores.files.create_and_poll(file_id, vector_store_id=store.id, attributes={"draft": True})
    changed = await sdk.vector_stores.files.update(file_id, vector_store_id=store.id, attributes={"draft": False})
    draft = {"type": "eq", "key": "draft", "value": True}

    assert changed.attributes == {"draft": False}
    assert (await sdk.vector_stores.search(store.id, query="report", filters=draft)).data == []


async def test_a_file_that_is_taken_out_is_not_found_and_stays_a_file(sdk, handbook):
    parking = (await sdk.vector_stores.search(handbook, query="garage")).data[0].file_id
    deleted = await sdk.vector_stores.files.delete(parking, vector_store_id=handbook)

    assert (deleted.id, deleted.object) == (parking, "vector_store.file.deleted")
    assert (await sdk.vector_stores.search(handbook, query="garage")).data == []
    assert (await sdk.vector_stores.retrieve(handbook)).file_counts.total == 2
    assert (await sdk.files.retrieve(parking)).filename == "parking.md"


async def test_a_deleted_file_is_gone_from_every_store(sdk, handbook):
    parking = (await sdk.vector_stores.search(handbook, query="garage")).data[0].file_id
    other = await sdk.vector_stores.create()
    await sdk.vector_stores.files.create_and_poll(parking, vector_store_id=other.id)
    await sdk.files.delete(parking)

    for store_id, left in ((handbook, 2), (other.id, 0)):
        assert (await sdk.vector_stores.search(store_id, query="garage")).data == []
        assert (await sdk.vector_stores.retrieve(store_id)).file_counts.total == left


async def test_a_file_that_is_added_again_is_ingested_anew(sdk, store, upload):
    file_id = await upload("a.txt", b"Apples are red.")
    for attributes in ({"v": 1}, {"v": 2}):
        await sdk.vector_stores.files.create_and_poll(file_id, vector_store_id=store.id, attributes=attributes)
    found = await sdk.vector_stores.search(store.id, query="apple")

    assert [result.attributes for result in found.data] == [{"v": 2}]
    assert (await sdk.vector_stores.retrieve(store.id)).file_counts.total == 1


async def test_what_is_looked_for_is_text_and_never_a_query_language(sdk, handbook):
    for query in ('"', "garage OR", "vector_store_id:x", "NEAR(", "'; DROP TABLE files", "* ^ - +", "\0", "𞤀 x", ""):
        found = await sdk.vector_stores.search(handbook, query=query)
        assert [result.filename for result in found.data] in ([], ["parking.md"])


async def test_files_attached_to_a_message_can_be_searched(sdk, upload, eventually):
    file_id = await upload("refunds.txt", REFUNDS)
    attachment = {"file_id": file_id, "tools": [{"type": "file_search"}, {"type": "code_interpreter"}]}
    thread = await sdk.beta.threads.create(
        messages=[{"role": "user", "content": "Read this.", "attachments": [attachment]}]
    )
    [store_id] = thread.tool_resources.file_search.vector_store_ids

    async def found():
        return (await sdk.vector_stores.search(store_id, query="refund")).data

    assert [result.file_id for result in await eventually(found)] == [file_id]
    assert thread.tool_resources.code_interpreter.file_ids == [file_id]
    store = await sdk.vector_stores.retrieve(store_id)
    assert store.expires_after.to_dict() == {"anchor": "last_active_at", "days": 7}
    assert store.expires_at == store.last_active_at + 7 * 86_400
