"""Every answer and every streamed event is what the published description of the API says."""

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from lockstitch.assistants.store import vector_store_files
from lockstitch.assistants.store.vector_store_files import Chunk

DESCRIPTION = yaml.safe_load((Path(__file__).parent.parent / "data" / "assistants-openapi.yaml").read_text())
OPERATIONS = [
    (method, path)
    for path, methods in DESCRIPTION["paths"].items()
    for method in methods
    if method in ("get", "post", "delete")
]
FUNCTION = {"type": "function", "function": {"name": "get_weather", "description": "Weather"}}
OUTPUTS = {"tool_outputs": [{"tool_call_id": "call_a", "output": "1"}, {"tool_call_id": "call_b", "output": "2"}]}
_THREAD = "/threads/{thread_id}"
_RUN = _THREAD + "/runs/{run_id}"
_STORE = "/vector_stores/{vector_store_id}"
_STORE_FILE, _BATCH = _STORE + "/files/{file_id}", _STORE + "/file_batches/{batch_id}"
CHUNKS = [Chunk(0, "Some text.", ["some", "text"])]


def problems_with(schema, value):
    validator = Draft202012Validator({**schema, "components": DESCRIPTION["components"]})
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]


class Tour:
    """Calls operations one after the other and keeps what they answered."""

    def __init__(self, http):
        self.http = http
        self.ids = {}
        self.answers = {}

    async def call(self, method, path, **options):
        answer = await self.http.request(method, "/v1" + path.format(**self.ids), **options)
        assert answer.status_code == 200, (method, path, answer.text)
        is_json = answer.headers["content-type"] == "application/json"
        self.answers.setdefault((method, path), []).append(answer.json() if is_json else answer.content)
        return answer.json() if is_json else None

    async def make(self, name, path, **options):
        self.ids[name] = (await self.call("post", path, **options))["id"]

    async def read_and_list(self, path, name, **options):
        await self.call("get", path, **options)
        await self.call("get", f"{path}/{{{name}}}")


@pytest.fixture(scope="module")
async def answers(http, worker, server):
    """What every operation answered, in several states of a run."""
    tour = Tour(http)
    await tour.make("file_id", "/files", files={"file": ("a.txt", b"1")}, data={"purpose": "assistants"})
    await tour.make("assistant_id", "/assistants", json={"model": "gpt-4o", "tools": [FUNCTION]})
    await tour.make("thread_id", "/threads", json={"messages": [{"role": "user", "content": "Hi"}]})
    await tour.make("message_id", f"{_THREAD}/messages", json={"role": "user", "content": "Hi"})
    await tour.make("run_id", f"{_THREAD}/runs", json={"assistant_id": tour.ids["assistant_id"]})
    await walk_through_a_run(tour, worker)
    for path in ("/assistants/{assistant_id}", _THREAD, f"{_THREAD}/messages/{{message_id}}", _RUN):
        await tour.call("post", path, json={"metadata": {"a": "b"}})
    for path, name in (("/assistants", "assistant_id"), (f"{_THREAD}/messages", "message_id")):
        await tour.read_and_list(path, name)
    await tour.call("get", _THREAD)
    # What is uploaded may have the purpose "evals", which the description forbids in answers.
    await tour.read_and_list("/files", "file_id", params={"purpose": "assistants"})
    await tour.call("get", "/files/{file_id}/content")
    await cancel_a_run(tour)
    await walk_through_a_vector_store(tour, server.database)
    for path in (f"{_THREAD}/messages/{{message_id}}", _THREAD, "/assistants/{assistant_id}", "/files/{file_id}"):
        await tour.call("delete", path)
    return tour.answers


async def walk_through_a_run(tour, worker):
    await worker.ask(tour.ids["run_id"])
    await tour.call("get", _RUN)
    await tour.call("post", f"{_RUN}/submit_tool_outputs", json=OUTPUTS)
    await worker.say(tour.ids["run_id"], number=2)
    await tour.read_and_list(f"{_THREAD}/runs", "run_id")
    steps = await tour.call("get", f"{_RUN}/steps")
    for step in steps["data"]:
        tour.ids["step_id"] = step["id"]
        await tour.call("get", f"{_RUN}/steps/{{step_id}}")


async def cancel_a_run(tour):
    body = {"assistant_id": tour.ids["assistant_id"], "instructions": "Hi"}
    created = await tour.call("post", "/threads/runs", json=body)
    ids, tour.ids = tour.ids, {"thread_id": created["thread_id"], "run_id": created["id"]}
    await tour.call("post", f"{_RUN}/cancel")
    tour.ids = ids


async def walk_through_a_vector_store(tour, database):
    expiring = {"name": "A", "expires_after": {"anchor": "last_active_at", "days": 1}}
    await tour.make("vector_store_id", "/vector_stores", json=expiring)
    await tour.call("post", f"{_STORE}/files", json={"file_id": tour.ids["file_id"], "attributes": {"a": 1, "b": True}})
    await tour.read_and_list(f"{_STORE}/files", "file_id")
    await tour.make("batch_id", f"{_STORE}/file_batches", json={"file_ids": [tour.ids["file_id"]]})
    await tour.call("get", _BATCH)
    await database.write(lambda connection: ingest(connection, tour.ids["batch_id"]))
    await tour.read_and_list("/vector_stores", "vector_store_id")
    for path in (_BATCH, f"{_BATCH}/files", _STORE_FILE, f"{_STORE_FILE}/content"):
        await tour.call("get", path)
    found = await tour.call("post", f"{_STORE}/search", json={"query": "text"})
    assert [result["file_id"] for result in found["data"]] == [tour.ids["file_id"]]
    await tour.make("batch_id", f"{_STORE}/file_batches", json={"files": [{"file_id": tour.ids["file_id"]}]})
    await tour.call("post", f"{_BATCH}/cancel")
    await tour.call("post", _STORE, json={"metadata": {"a": "b"}, "expires_after": None})
    await tour.call("post", _STORE_FILE, json={"attributes": {"c": 1.5}})
    await tour.call("delete", _STORE_FILE)
    await tour.call("delete", _STORE)


def ingest(connection, ingestion_id):
    file = vector_store_files.begin_next(connection, ingestion_id, 0, 1)
    vector_store_files.complete(connection, file, CHUNKS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_an_answer_fits_the_description(answers, method, path):
    content = DESCRIPTION["paths"][path][method]["responses"]["200"]["content"]

    assert answers[method, path]
    for answer in answers[method, path]:
        if isinstance(answer, dict):
            assert problems_with(content["application/json"]["schema"], answer) == []


async def test_an_empty_list_fits_but_for_the_ids_that_are_null_on_the_wire(http):
    thread = (await http.post("/v1/threads")).json()
    answer = (await http.get(f"/v1/threads/{thread['id']}/messages")).json()

    assert answer == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


async def test_an_error_fits_the_description(http):
    answer = await http.get("/v1/threads/thread_unknown")

    assert problems_with({"$ref": "#/components/schemas/ErrorResponse"}, answer.json()) == []


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled", "expired", "incomplete"])
async def test_every_streamed_event_fits_the_description(client, assistant, worker, read_stream, end):
    run = await client.beta.threads.create_and_run(
        assistant_id=assistant.id, thread={"messages": [{"role": "user", "content": "Hi"}]}
    )
    await worker.ask(run.id)
    await client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, **OUTPUTS)
    if end == "completed":
        await worker.say(run.id, number=2)
    else:
        await worker.begin_to_say(run.id, number=2)
        await client.beta.threads.runs.cancel(run.id, thread_id=run.thread_id)
        await worker.end(run.id, end, last_error={"code": "server_error", "message": "Sorry."})
    frames = await read_stream(f"/v1/runs/{run.id}/events")

    assert len(frames) > 20
    assert frames[-2].event == f"thread.run.{end}"
    schema = {"$ref": "#/components/schemas/AssistantStreamEvent"}
    assert [
        found for frame in frames if (found := problems_with(schema, {"event": frame.event, "data": frame.data}))
    ] == []
