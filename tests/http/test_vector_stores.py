"""Vector stores over HTTP, where nobody ingests: what is accepted, counted, listed, cancelled and refused."""

import re

import openai
import pytest
from sqlalchemy import text

SMALL = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 100}}


@pytest.fixture
async def store(client):
    return await client.vector_stores.create(name="Handbook")


@pytest.fixture
def upload(client):
    """Upload so many files and return their ids."""

    async def send(count):
        return [(await client.files.create(file=(f"{n}.txt", b"x"), purpose="assistants")).id for n in range(count)]

    return send


async def test_a_new_store_is_empty_and_complete(http):
    created = (await http.post("/v1/vector_stores", json={"name": "A", "metadata": {"k": "v"}})).json()

    assert re.fullmatch("vs_[0-9a-f]{32}", created.pop("id"))
    assert created.pop("created_at") == created.pop("last_active_at") > 1_700_000_000
    assert created == {
        "object": "vector_store",
        "name": "A",
        "description": None,
        "usage_bytes": 0,
        "file_counts": {"in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0, "total": 0},
        "status": "completed",
        "expires_at": None,
        "metadata": {"k": "v"},
    }


async def test_no_beta_header_is_asked_for(http):
    assert (await http.get("/v1/vector_stores", headers={"openai-beta": ""})).status_code == 200


async def test_what_is_modified_is_what_the_body_names(client):
    created = await client.vector_stores.create(
        name="A", metadata={"k": "v"}, description="About A", expires_after={"anchor": "last_active_at", "days": 2}
    )
    renamed = await client.vector_stores.update(created.id, name="B")
    for_ever = await client.vector_stores.update(created.id, expires_after=None)

    assert created.expires_at == created.last_active_at + 2 * 86_400
    assert (renamed.name, renamed.metadata, renamed.expires_at) == ("B", {"k": "v"}, created.expires_at)
    assert (for_ever.expires_after, for_ever.expires_at) == (None, None)
    assert for_ever.to_dict()["description"] == "About A"


async def test_stores_are_listed_page_by_page(client):
    made = [(await client.vector_stores.create()).id for _ in range(3)]
    listed = [store.id async for store in client.vector_stores.list(limit=2)]
    between = await client.vector_stores.list(after=made[2], before=made[0])

    assert listed[:3] == made[::-1]
    assert [store.id for store in between.data] == [made[1]]


async def test_a_deleted_store_is_gone_and_its_files_stay(client, store, upload):
    [file_id] = await upload(1)
    await client.vector_stores.files.create(vector_store_id=store.id, file_id=file_id)
    deleted = await client.vector_stores.delete(store.id)

    assert (deleted.id, deleted.object, deleted.deleted) == (store.id, "vector_store.deleted", True)
    with pytest.raises(openai.NotFoundError, match=f"No vector store found with id '{store.id}'."):
        await client.vector_stores.retrieve(store.id)
    assert (await client.files.retrieve(file_id)).id == file_id


async def test_a_batch_counts_its_files_and_can_be_cancelled(client, store, upload):
    file_ids = await upload(3)
    batch = await client.vector_stores.file_batches.create(store.id, file_ids=[*file_ids, file_ids[0]])
    cancelled = await client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)
    again = await client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)

    assert re.fullmatch("vsfb_[0-9a-f]{32}", batch.id)
    assert (batch.object, batch.status, batch.file_counts.in_progress) == ("vector_store.files_batch", "in_progress", 3)
    assert (cancelled.status, cancelled.file_counts.cancelled, cancelled.file_counts.total) == ("cancelled", 3, 3)
    assert again == cancelled
    found = await client.vector_stores.retrieve(store.id)
    assert (found.status, found.file_counts.cancelled, found.file_counts.in_progress) == ("completed", 3, 0)


async def test_an_empty_batch_that_was_left_by_its_files_cannot_be_cancelled(client, store, upload):
    [file_id] = await upload(1)
    batch = await client.vector_stores.file_batches.create(store.id, file_ids=[file_id])
    await client.vector_stores.files.delete(file_id, vector_store_id=store.id)

    with pytest.raises(openai.BadRequestError, match=r"Cannot cancel file batch with status 'completed'\."):
        await client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)


async def test_each_file_of_a_batch_can_have_its_own_strategy_and_attributes(client, store, upload):
    first, second = await upload(2)
    batch = await client.vector_stores.file_batches.create(
        store.id,
        files=[{"file_id": first, "chunking_strategy": SMALL}, {"file_id": second, "attributes": {"a": 1, "b": "x"}}],
    )
    listed = client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, order="asc")
    by_id = {file.id: file async for file in listed}

    assert by_id[first].chunking_strategy.to_dict() == SMALL
    assert (by_id[first].attributes, by_id[second].attributes) == ({}, {"a": 1, "b": "x"})


async def test_files_are_listed_by_status_and_within_their_own_store(client, store, upload):
    file_ids = await upload(2)
    other = await client.vector_stores.create(file_ids=file_ids)
    for file_id in file_ids[::-1]:
        await client.vector_stores.files.create(vector_store_id=store.id, file_id=file_id)

    waiting = await client.vector_stores.files.list(store.id, filter="in_progress", order="asc")
    after = await client.vector_stores.files.list(store.id, after=file_ids[1], order="asc")
    done = await client.vector_stores.files.list(store.id, filter="completed")
    assert [file.id for file in waiting.data] == file_ids[::-1]
    assert [file.id for file in after.data] == [file_ids[0]]
    assert done.data == []
    assert {file.vector_store_id for file in (await client.vector_stores.files.list(other.id)).data} == {other.id}


async def test_a_file_that_is_not_ingested_yet_has_no_content(client, http, store, upload):
    [file_id] = await upload(1)
    await client.vector_stores.files.create(vector_store_id=store.id, file_id=file_id)
    content = (await http.get(f"/v1/vector_stores/{store.id}/files/{file_id}/content")).json()

    assert content == {"object": "vector_store.file_content.page", "data": [], "has_more": False, "next_page": None}


async def test_polling_clients_are_told_when_to_ask_again(client, http, store, upload):
    batch = await client.vector_stores.file_batches.create(store.id, file_ids=await upload(1))
    paths = (store.id, f"{store.id}/file_batches/{batch.id}")
    waiting = [(await http.get(f"/v1/vector_stores/{path}")).headers.get("openai-poll-after-ms") for path in paths]
    await client.vector_stores.file_batches.cancel(batch.id, vector_store_id=store.id)
    done = [(await http.get(f"/v1/vector_stores/{path}")).headers.get("openai-poll-after-ms") for path in paths]

    assert (waiting, done) == (["500", "500"], [None, None])


@pytest.fixture
def expire(server):
    """Let a store have expired long ago."""

    async def let(store_id):
        await server.database.write(
            lambda connection: connection.execute(
                text("UPDATE vector_stores SET expires_at = 1 WHERE id = :id"), {"id": store_id}
            )
        )

    return let


async def test_an_expired_store_says_so_and_takes_nothing(client, http, upload, expire):
    file_ids = await upload(1)
    store = await client.vector_stores.create(expires_after={"anchor": "last_active_at", "days": 1})
    await expire(store.id)
    path = f"/v1/vector_stores/{store.id}"
    for refused, body in (
        ("/search", {"query": "x"}),
        ("/files", {"file_id": file_ids[0]}),
        ("/file_batches", {"file_ids": file_ids}),
        ("", {"expires_after": {"anchor": "last_active_at", "days": 300}}),
    ):
        answer = await http.post(path + refused, json=body)
        expected = {"param": None, "code": "vector_store_expired", "type": "invalid_request_error"}
        assert answer.status_code == 400
        assert answer.json()["error"] == {"message": f"Vector store '{store.id}' is expired.", **expected}

    assert (await client.vector_stores.retrieve(store.id)).status == "expired"
    assert (await client.vector_stores.update(store.id, name="Old")).name == "Old"


async def test_a_store_takes_no_more_files_than_it_may(client, http, upload, server):
    """Whoever fills a store by many small requests meets the limit too."""
    [file_id] = await upload(1)
    store = await client.vector_stores.create()

    def fill(connection):
        connection.exec_driver_sql(
            "INSERT INTO files (id, created_at, purpose, filename, bytes, status) "
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) "
            "SELECT 'file-full' || i, 1, 'evals', 'x', 1, 'processed' FROM n"
        )
        connection.execute(
            text(
                "INSERT INTO vector_store_files (id, vector_store_id, ingestion_id, created_at, status, "
                "chunking_strategy, attributes, attempts, usage_bytes, chunk_count, word_count) SELECT id, :store, "
                "'ingestion_x', 1, 'failed', '{}', '{}', 0, 0, 0, 0 FROM files WHERE id LIKE 'file-full%'"
            ),
            {"store": store.id},
        )

    await server.database.write(fill, long=True)
    answer = await http.post(f"/v1/vector_stores/{store.id}/files", json={"file_id": file_id})
    await server.database.write(
        lambda connection: connection.execute(text("DELETE FROM files WHERE id LIKE 'file-full%'")), long=True
    )

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "vector_store_full")
    assert (await client.vector_stores.retrieve(store.id)).file_counts.total == 0


# What assistants and threads may use


async def test_an_assistant_can_bring_a_new_store_with_it(client, upload):
    file_ids = await upload(2)
    resources = {"file_search": {"vector_stores": [{"file_ids": file_ids, "metadata": {"of": "A"}}]}}
    for made in (
        await client.beta.assistants.create(
            model="test", tools=[{"type": "file_search"}, {"type": "code_interpreter"}], tool_resources=resources
        ),
        await client.beta.threads.create(tool_resources=resources),
    ):
        [store_id] = made.tool_resources.file_search.vector_store_ids
        store = await client.vector_stores.retrieve(store_id)

        assert made.to_dict()["tool_resources"] == {"file_search": {"vector_store_ids": [store_id]}}
        assert (store.file_counts.in_progress, store.metadata) == (2, {"of": "A"})


async def test_resources_are_replaced_by_a_modification(client, store, upload):
    file_ids = await upload(2)
    resources = {
        "code_interpreter": {"file_ids": file_ids},
        "file_search": {"vector_store_ids": [store.id]},
    }
    thread = await client.beta.threads.create(tool_resources=resources)
    changed = await client.beta.threads.update(
        thread.id, tool_resources={"code_interpreter": {"file_ids": file_ids[:1]}}
    )
    none = await client.beta.threads.update(thread.id, tool_resources=None)

    assert thread.tool_resources.to_dict() == resources
    assert changed.tool_resources.to_dict() == {"code_interpreter": {"file_ids": file_ids[:1]}}
    assert none.to_dict()["tool_resources"] == {}


async def test_a_deleted_file_leaves_every_list_of_the_code_interpreter(client, upload):
    gone, kept = await upload(2)
    resources = {"code_interpreter": {"file_ids": [gone, kept]}}
    thread = await client.beta.threads.create(tool_resources=resources)
    assistant = await client.beta.assistants.create(model="test", tool_resources=resources)
    await client.files.delete(gone)

    for made in (
        await client.beta.threads.retrieve(thread.id),
        await client.beta.assistants.retrieve(assistant.id),
    ):
        assert made.tool_resources.code_interpreter.file_ids == [kept]


async def test_a_run_can_bring_resources_of_its_own(client, store, upload):
    function = {"type": "function", "function": {"name": "f"}}
    assistant = await client.beta.assistants.create(model="test", tools=[function], instructions="Help.")
    resources = {"file_search": {"vector_store_ids": [store.id]}, "code_interpreter": {"file_ids": await upload(1)}}
    run = await client.beta.threads.create_and_run(assistant_id=assistant.id, tool_resources=resources)
    plain = await client.beta.threads.create_and_run(assistant_id=assistant.id)

    assert run.to_dict()["tool_resources"] == resources
    assert plain.to_dict()["tool_resources"] == {}


# Attachments


def attached(file_id, *tools):
    return {"file_id": file_id, "tools": [{"type": tool} for tool in tools]}


async def test_an_attachment_is_echoed_and_becomes_what_the_thread_may_use(client, upload):
    one, two, three = await upload(3)
    thread = await client.beta.threads.create()
    message = await client.beta.threads.messages.create(
        thread.id,
        role="user",
        content="Look.",
        attachments=[attached(one, "file_search"), attached(two, "code_interpreter"), attached(three)],
    )
    found = await client.beta.threads.retrieve(thread.id)
    [store_id] = found.tool_resources.file_search.vector_store_ids

    assert [attachment.to_dict() for attachment in message.attachments] == [
        attached(one, "file_search"),
        attached(two, "code_interpreter"),
        attached(three),
    ]
    assert found.tool_resources.code_interpreter.file_ids == [two]
    assert [file.id for file in (await client.vector_stores.files.list(store_id)).data] == [one]


async def test_later_attachments_go_into_the_same_store_and_once(client, upload):
    one, two = await upload(2)
    thread = await client.beta.threads.create(
        messages=[{"role": "user", "content": "1", "attachments": [attached(one, "file_search")]}]
    )
    [store_id] = thread.tool_resources.file_search.vector_store_ids
    assistant = await client.beta.assistants.create(model="test")
    again = {"role": "user", "content": "2", "attachments": [attached(each, "file_search") for each in (one, two)]}
    await client.beta.threads.runs.create(thread.id, assistant_id=assistant.id, additional_messages=[again])
    found = await client.beta.threads.retrieve(thread.id)

    assert found.tool_resources.file_search.vector_store_ids == [store_id]
    listed = await client.vector_stores.files.list(store_id, order="asc")
    assert [file.id for file in listed.data] == [one, two]


async def test_a_store_that_expired_gives_way_to_a_new_one(client, upload, expire):
    one, two = await upload(2)
    thread = await client.beta.threads.create(
        messages=[{"role": "user", "content": "1", "attachments": [attached(one, "file_search")]}]
    )
    [old] = thread.tool_resources.file_search.vector_store_ids
    await expire(old)
    await client.beta.threads.messages.create(
        thread.id, role="user", content="2", attachments=[attached(two, "file_search")]
    )
    [new] = (await client.beta.threads.retrieve(thread.id)).tool_resources.file_search.vector_store_ids

    assert new != old


@pytest.mark.parametrize("tool", ["file_search", "code_interpreter"])
async def test_an_attachment_that_is_no_file_is_refused_and_nothing_changes(client, tool):
    thread = await client.beta.threads.create()
    with pytest.raises(openai.NotFoundError, match="No such File object: file-unknown"):
        await client.beta.threads.messages.create(
            thread.id, role="user", content="Look.", attachments=[attached("file-unknown", tool)]
        )

    assert (await client.beta.threads.messages.list(thread.id)).data == []
    assert (await client.beta.threads.retrieve(thread.id)).to_dict()["tool_resources"] == {}


async def test_the_code_interpreter_takes_twenty_files(client, upload):
    file_ids = await upload(21)
    thread = await client.beta.threads.create(tool_resources={"code_interpreter": {"file_ids": file_ids[:20]}})

    with pytest.raises(openai.BadRequestError, match="cannot have more than 20 files"):
        await client.beta.threads.messages.create(
            thread.id, role="user", content="Look.", attachments=[attached(file_ids[20], "code_interpreter")]
        )
    assert (await client.beta.threads.messages.list(thread.id)).data == []


async def test_of_a_store_that_is_named_and_one_that_is_new_the_new_one_is_attached(client):
    named = await client.vector_stores.create()
    resources = {"file_search": {"vector_store_ids": [named.id], "vector_stores": [{"metadata": {"a": "b"}}]}}
    thread = await client.beta.threads.create(tool_resources=resources)

    [store_id] = thread.tool_resources.file_search.vector_store_ids
    assert store_id != named.id
    assert (await client.vector_stores.retrieve(store_id)).metadata == {"a": "b"}
