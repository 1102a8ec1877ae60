"""Every answer and every streamed event is what the published description of the API says.

A new operation needs a line in `TOUR`, which says how it is called well, and a line in `REFUSED`, which says how it is
refused; one that has neither fails a test.
"""

import re

import pytest
from jsonschema import Draft202012Validator

from lockstitch.tests.api_description import API_DESCRIPTION

OPERATIONS = [
    (method, path)
    for path, methods in API_DESCRIPTION["paths"].items()
    for method in methods
    if method in ("get", "post", "delete")
]
FUNCTION = {"type": "function", "function": {"name": "get_weather", "description": "Weather"}}
RANKED = {"type": "file_search", "file_search": {"max_num_results": 5, "ranking_options": {"score_threshold": 0.5}}}
CODE = {"type": "code_interpreter"}
RUN = {"assistant_id": "{assistant_id}"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}
OUTPUTS = {"tool_outputs": [{"tool_call_id": "call_a", "output": "1"}, {"tool_call_id": "call_b", "output": "2"}]}
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
CONTENT = [{"type": "text", "text": "Hi"}, IMAGE]
METADATA = {"metadata": {"a": "b"}}
_ASSISTANT = "/assistants/{assistant_id}"
_THREAD = "/threads/{thread_id}"
_MESSAGE = _THREAD + "/messages/{message_id}"
_RUN = _THREAD + "/runs/{run_id}"
_STEP = _RUN + "/steps/{step_id}"
_FILE = "/files/{file_id}"
_STORE = "/vector_stores/{vector_store_id}"
_STORE_FILE, _BATCH = _STORE + _FILE, _STORE + "/file_batches/{batch_id}"
EXPIRING = {"name": "A", "expires_after": {"anchor": "last_active_at", "days": 1}}
ADDED = {"file_id": "{file_id}", "attributes": {"a": 1, "b": True, "c": "x"}}
INCLUDE = {"include[]": "step_details.tool_calls[*].file_search.results[*].content"}

# Method, path, the name under which the new object's id is kept, and what is sent. A name with an exclamation mark is
# something that a worker does with the run, or with the ingestion that is named.
TOUR = [
    ("post", "/files", "file_id", {"files": {"file": ("a.txt", b"1")}, "data": {"purpose": "assistants"}}),
    ("get", "/files", None, {"params": {"purpose": "assistants"}}),
    ("get", _FILE, None, {}),
    ("get", _FILE + "/content", None, {}),
    ("post", "/assistants", None, {"json": {"model": "m", "tools": [RANKED, CODE], "response_format": SCHEMA}}),
    ("post", "/assistants", "assistant_id", {"json": {"model": "m", "tools": [FUNCTION], "name": "n", **METADATA}}),
    ("get", "/assistants", None, {"params": {"limit": 1}}),
    ("get", _ASSISTANT, None, {}),
    ("post", _ASSISTANT, None, {"json": {"instructions": "Be kind.", "temperature": None, "metadata": None}}),
    ("post", "/threads", "thread_id", {"json": {"messages": [{"role": "user", "content": "Hi"}]}}),
    ("get", _THREAD, None, {}),
    ("post", _THREAD, None, {"json": METADATA}),
    ("post", _THREAD + "/messages", "message_id", {"json": {"role": "user", "content": CONTENT, **METADATA}}),
    ("get", _THREAD + "/messages", None, {}),
    ("get", _MESSAGE, None, {}),
    ("post", _MESSAGE, None, {"json": METADATA}),
    ("post", _THREAD + "/runs", "run_id", {"params": INCLUDE, "json": RUN | {"tool_choice": "required"}}),
    ("post", _RUN, None, {"json": METADATA}),
    ("!", "ask", None, {}),
    ("get", _RUN, None, {}),
    ("get", _RUN + "/steps", "step_id", {"params": INCLUDE}),
    ("get", _STEP, None, {"params": INCLUDE}),
    ("post", _RUN + "/submit_tool_outputs", None, {"json": OUTPUTS}),
    ("!", "say", None, {"number": 2}),
    ("get", _RUN, None, {}),
    ("get", _THREAD + "/runs", None, {}),
    ("get", _RUN + "/steps", "step_id", {}),
    ("get", _STEP, None, {}),
    ("get", _THREAD + "/messages", None, {"params": {"run_id": "{run_id}"}}),
    *(
        step
        for end in ("failed", "expired", "incomplete")
        for step in (
            ("post", _THREAD + "/runs", "run_id", {"json": RUN}),
            ("!", "begin_to_say", None, {}),
            ("!", "end", None, {"status": end, "last_error": {"code": "invalid_prompt", "message": "No."}}),
            ("get", _RUN, None, {}),
            ("get", _RUN + "/steps", "step_id", {}),
            ("get", _THREAD + "/messages", None, {}),
        )
    ),
    ("post", "/threads/runs", "run_id", {"json": RUN | {"instructions": "Hi"}}),
    ("post", _RUN + "/cancel", None, {}),
    ("get", _RUN, None, {}),
    ("!", "end", None, {"status": "cancelled"}),
    ("get", _RUN, None, {}),
    ("post", _THREAD + "/messages", "message_id", {"json": {"role": "assistant", "content": "Hi"}}),
    ("post", "/vector_stores", "vector_store_id", {"json": EXPIRING}),
    ("post", _STORE + "/files", None, {"json": ADDED}),
    ("get", _STORE_FILE, None, {}),
    ("get", _STORE + "/files", None, {"params": {"filter": "in_progress"}}),
    ("post", _STORE + "/file_batches", "batch_id", {"json": {"files": [ADDED]}}),
    ("get", _STORE, None, {}),
    ("get", _BATCH, None, {}),
    ("!", "ingest", "batch_id", {}),
    ("get", _STORE, None, {}),
    ("get", _BATCH, None, {}),
    ("get", _BATCH + "/files", None, {}),
    ("get", _STORE_FILE + "/content", None, {}),
    ("post", _STORE + "/search", None, {"json": {"query": ["one", "1"]}}),
    ("post", _STORE_FILE, None, {"json": {"attributes": {"c": 1.5}}}),
    ("post", _STORE + "/file_batches", "batch_id", {"json": {"file_ids": ["{file_id}"]}}),
    ("post", _BATCH + "/cancel", None, {}),
    ("get", _STORE_FILE, None, {}),
    ("post", _STORE, None, {"json": METADATA | {"expires_after": None}}),
    ("get", "/vector_stores", None, {}),
    ("delete", _STORE_FILE, None, {}),
    ("delete", _STORE, None, {}),
    ("delete", _MESSAGE, None, {}),
    ("delete", _THREAD, None, {}),
    ("delete", _ASSISTANT, None, {}),
    ("delete", _FILE, None, {}),
]  # fmt: skip

# How each operation is refused, and the status.
REFUSED = {
    ("get", "/assistants"): ({"params": {"limit": 0}}, 400),
    ("post", "/assistants"): ({"json": {}}, 400),
    ("get", _ASSISTANT): ({}, 404),
    ("post", _ASSISTANT): ({"json": {"model": 5}}, 400),
    ("delete", _ASSISTANT): ({}, 404),
    ("get", "/files"): ({"params": {"limit": 10_001}}, 400),
    ("post", "/files"): ({"files": {"file": ("a.txt", b"1")}, "data": {"purpose": "world_domination"}}, 400),
    ("get", _FILE): ({}, 404),
    ("delete", _FILE): ({}, 404),
    ("get", _FILE + "/content"): ({}, 404),
    ("post", "/threads"): ({"json": {"messages": [{}]}}, 400),
    ("get", _THREAD): ({}, 404),
    ("post", _THREAD): ({"json": METADATA}, 404),
    ("delete", _THREAD): ({}, 404),
    ("post", "/threads/runs"): ({"json": {"assistant_id": "asst_unknown"}}, 404),
    ("get", _THREAD + "/messages"): ({}, 404),
    ("post", _THREAD + "/messages"): ({"json": {"role": "user", "content": "Hi"}}, 404),
    ("get", _MESSAGE): ({}, 404),
    ("post", _MESSAGE): ({"json": METADATA}, 404),
    ("delete", _MESSAGE): ({}, 404),
    ("get", _THREAD + "/runs"): ({}, 404),
    ("post", _THREAD + "/runs"): ({"json": {"assistant_id": "asst_unknown"}}, 404),
    ("get", _RUN): ({}, 404),
    ("post", _RUN): ({"json": METADATA}, 404),
    ("post", _RUN + "/cancel"): ({}, 404),
    ("post", _RUN + "/submit_tool_outputs"): ({"json": OUTPUTS}, 404),
    ("get", _RUN + "/steps"): ({"params": {"order": "up"}}, 400),
    ("get", _STEP): ({}, 404),
    ("get", "/vector_stores"): ({"params": {"limit": 101}}, 400),
    ("post", "/vector_stores"): ({"json": {"file_ids": ["file-unknown"]}}, 404),
    ("get", _STORE): ({}, 404),
    ("post", _STORE): ({"json": METADATA}, 404),
    ("delete", _STORE): ({}, 404),
    ("post", _STORE + "/search"): ({"json": {}}, 400),
    ("get", _STORE + "/files"): ({"params": {"filter": "done"}}, 400),
    ("post", _STORE + "/files"): ({"json": {"file_id": "file-unknown"}}, 404),
    ("get", _STORE_FILE): ({}, 404),
    ("post", _STORE_FILE): ({"json": {"attributes": {"a": None}}}, 400),
    ("delete", _STORE_FILE): ({}, 404),
    ("get", _STORE_FILE + "/content"): ({}, 404),
    ("post", _STORE + "/file_batches"): ({"json": {}}, 400),
    ("get", _BATCH): ({}, 404),
    ("post", _BATCH + "/cancel"): ({}, 404),
    ("get", _BATCH + "/files"): ({}, 404),
}
UNKNOWN = {
    "assistant_id": "asst_unknown",
    "batch_id": "vsfb_unknown",
    "file_id": "file-unknown",
    "message_id": "msg_unknown",
    "run_id": "run_unknown",
    "step_id": "step_unknown",
    "thread_id": "thread_unknown",
    "vector_store_id": "vs_unknown",
}


def misfits(schema, value):
    validator = Draft202012Validator({**schema, "components": API_DESCRIPTION["components"]})
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]


def filled(value, ids):
    """Return ``value`` with ids in the place of their names."""
    match value:
        case dict():
            return {key: filled(entry, ids) for key, entry in value.items()}
        case list():
            return [filled(entry, ids) for entry in value]
        case str() if value.startswith("{") and value.endswith("}"):
            return ids[value[1:-1]]
    return value


class Tour:
    """Calls operations one after the other and keeps what they answered."""

    def __init__(self, http, worker):
        self.http = http
        self.worker = worker
        self.ids = {}
        self.answers = {}

    async def take(self, method, path, name, sent):
        if method == "!":
            await getattr(self.worker, path)(self.ids[name or "run_id"], **sent)
            return
        answer = await self.http.request(method, "/v1" + path.format(**self.ids), **filled(sent, self.ids))
        assert answer.status_code == 200, (method, path, answer.text)
        self.answers.setdefault((method, path), []).append(answer)
        if name is not None:
            self.remember(name, answer.json())

    def remember(self, name, made):
        self.ids[name] = made["data"][0]["id"] if "data" in made else made["id"]
        if name == "run_id":
            self.ids["thread_id"] = made["thread_id"]


@pytest.fixture(scope="module")
async def answers(http, worker):
    """What every operation answered, in several states of a run."""
    tour = Tour(http, worker)
    for step in TOUR:
        await tour.take(*step)
    return tour.answers


def test_every_operation_of_the_description_is_covered():
    called = {(method, path) for method, path, _, _ in TOUR if method != "!"}

    assert called == set(REFUSED) == set(OPERATIONS)
    assert len(OPERATIONS) == 44


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_an_answer_fits_the_description(answers, method, path):
    content = API_DESCRIPTION["paths"][path][method]["responses"]["200"]["content"]

    assert answers[method, path]
    for answer in answers[method, path]:
        kind = answer.headers["content-type"]
        if path == _FILE + "/content":
            assert (kind, answer.content) == ("application/octet-stream", b"1")
        else:
            assert kind == "application/json"
            assert misfits(content[kind]["schema"], answer.json()) == []


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_a_refusal_fits_the_description(http, method, path):
    sent, status = REFUSED[method, path]
    answer = await http.request(method, "/v1" + path.format(**UNKNOWN), **sent)

    content = API_DESCRIPTION["paths"][path][method]["responses"]["4XX"]["content"]
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    assert misfits(content["application/json"]["schema"], answer.json()) == []
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
async def test_an_answer_has_the_headers_of_the_api(answers, method, path):
    for answer in answers[method, path]:
        assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])
        assert answer.headers["openai-version"] == "2020-10-01"
        assert answer.headers["openai-organization"] == "lockstitch"
        assert answer.headers["openai-processing-ms"].isdecimal()


async def test_an_empty_list_fits_but_for_the_ids_that_are_null_on_the_wire(http):
    thread = (await http.post("/v1/threads")).json()
    answer = (await http.get(f"/v1/threads/{thread['id']}/messages")).json()

    assert answer == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled", "expired", "incomplete"])
async def test_every_streamed_event_fits_the_description(client, assistant, worker, read_stream, problems_with, end):
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
    problems = [problems_with("AssistantStreamEvent", {"event": it.event, "data": it.data}) for it in frames]
    assert [found for found in problems if found] == []
