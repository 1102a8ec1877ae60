"""Assistants over HTTP."""

import openai
import pytest


async def test_an_assistant_is_kept_as_it_was_created(client):
    schema = {"name": "answer", "schema": {"type": "object", "properties": {}, "additionalProperties": False}}
    store = await client.vector_stores.create()
    created = await client.beta.assistants.create(
        model="test",
        name="Helper",
        description="Helps",
        instructions="Be kind.",
        temperature=0.5,
        top_p=0.9,
        metadata={"team": "blue"},
        response_format={"type": "json_schema", "json_schema": schema},
        tools=[{"type": "file_search"}, {"type": "function", "function": {"name": "f", "description": "does f"}}],
        tool_resources={"file_search": {"vector_store_ids": [store.id]}},
    )
    found = await client.beta.assistants.retrieve(created.id)

    assert found.to_dict() == created.to_dict()
    assert created.id.startswith("asst_")
    assert created.to_dict()["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert created.to_dict()["tool_resources"] == {"file_search": {"vector_store_ids": [store.id]}}
    assert (created.temperature, created.top_p, created.metadata) == (0.5, 0.9, {"team": "blue"})


async def test_function_tools_get_the_defaults_that_the_api_fills_in(http):
    body = {"model": "test", "tools": [{"type": "function", "function": {"name": "f"}}]}
    created = (await http.post("/v1/assistants", json=body)).json()

    function = {"name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}
    assert created["tools"] == [{"type": "function", "function": function}]


async def test_what_is_not_given_has_the_defaults_of_the_api(http):
    created = (await http.post("/v1/assistants", json={"model": "test"})).json()

    assert created["tool_resources"] == created["metadata"] == {}
    assert (created["tools"], created["name"], created["response_format"]) == ([], None, "auto")
    assert (created["temperature"], created["top_p"]) == (1.0, 1.0)


async def test_modifying_changes_what_the_body_names_and_nothing_else(client):
    created = await client.beta.assistants.create(model="test", name="Helper", metadata={"a": "1"})
    changed = await client.beta.assistants.update(created.id, name="Guide", description=None)

    assert (changed.name, changed.model, changed.metadata) == ("Guide", "test", {"a": "1"})
    assert (await client.beta.assistants.update(created.id)).to_dict() == changed.to_dict()


async def test_a_deleted_assistant_is_gone(client):
    created = await client.beta.assistants.create(model="test")
    deleted = await client.beta.assistants.delete(created.id)

    assert (deleted.id, deleted.object, deleted.deleted) == (created.id, "assistant.deleted", True)
    with pytest.raises(openai.NotFoundError, match=f"No assistant found with id '{created.id}'"):
        await client.beta.assistants.retrieve(created.id)


async def test_pages_are_walked_from_newest_to_oldest_without_a_gap(client):
    created = [(await client.beta.assistants.create(model="test")).id for _ in range(5)]
    walked = []
    async for assistant in client.beta.assistants.list(limit=2):
        walked.append(assistant.id)
        if len(walked) == 5:
            break

    assert walked == created[::-1]


async def test_a_page_can_be_asked_for_in_both_directions(http, client):
    ids = [(await client.beta.assistants.create(model="test")).id for _ in range(4)]

    async def page(**query):
        answer = (await http.get("/v1/assistants", params=query)).json()
        return [assistant["id"] for assistant in answer["data"]], answer["has_more"]

    assert await page(order="asc", after=ids[0], limit=2) == (ids[1:3], True)
    assert await page(order="asc", after=ids[1], limit=2) == (ids[2:], False)
    assert await page(order="asc", after=ids[0], before=ids[3]) == (ids[1:3], False)
    assert await page(order="desc", after=ids[3], before=ids[0]) == (ids[1:3][::-1], False)
