"""What belongs to another project does not exist, whichever way it is asked for."""

import pytest
from sqlalchemy import text

from lockstitch.assistants.http.app import build_app

_RUN = "/threads/{thread_id}/runs/{run_id}"
_MESSAGE = "/threads/{thread_id}/messages/{message_id}"
_STORE = "/vector_stores/{vector_store_id}"
_STORE_FILE, _BATCH = _STORE + "/files/{file_id}", _STORE + "/file_batches/{batch_id}"
NO_THREAD, NO_RUN = "No thread found with id '{thread_id}'.", "No run found with id '{run_id}'."
NO_STORE = "No vector store found with id '{vector_store_id}'."
NO_ASSISTANT, NO_FILE = "No assistant found with id '{assistant_id}'.", "No such File object: {file_id}"
OUTPUTS = {"tool_outputs": [{"tool_call_id": "call_a", "output": "1"}, {"tool_call_id": "call_b", "output": "2"}]}
MESSAGE = {"role": "user", "content": "Hi"}

FOREIGN = [
    ("GET", _RUN, None, NO_THREAD),
    ("POST", _RUN, {"metadata": {}}, NO_THREAD),
    ("POST", _RUN + "/cancel", None, NO_THREAD),
    ("POST", _RUN + "/submit_tool_outputs", OUTPUTS, NO_THREAD),
    ("GET", _RUN + "/steps", None, NO_THREAD),
    ("GET", _RUN + "/steps/{step_id}", None, NO_THREAD),
    ("GET", _RUN + "/events", None, NO_RUN),
    ("GET", "/runs/{run_id}/events", None, NO_RUN),
    ("POST", "/threads/{thread_id}/runs", {"assistant_id": "asst_x"}, NO_THREAD),
    ("GET", "/threads/{thread_id}/runs", None, NO_THREAD),
    ("POST", "/threads/{thread_id}/messages", MESSAGE, NO_THREAD),
    ("GET", "/threads/{thread_id}/messages", None, NO_THREAD),
    ("GET", _MESSAGE, None, NO_THREAD),
    ("POST", _MESSAGE, {"metadata": {}}, NO_THREAD),
    ("DELETE", _MESSAGE, None, NO_THREAD),
    ("GET", "/threads/{thread_id}", None, NO_THREAD),
    ("POST", "/threads/{thread_id}", {"metadata": {"a": "b"}}, NO_THREAD),
    ("DELETE", "/threads/{thread_id}", None, NO_THREAD),
    ("GET", "/assistants/{assistant_id}", None, NO_ASSISTANT),
    ("POST", "/assistants/{assistant_id}", {"name": "Mine"}, NO_ASSISTANT),
    ("DELETE", "/assistants/{assistant_id}", None, NO_ASSISTANT),
    ("GET", "/files/{file_id}", None, NO_FILE),
    ("DELETE", "/files/{file_id}", None, NO_FILE),
    ("GET", "/files/{file_id}/content", None, NO_FILE),
    ("GET", _STORE, None, NO_STORE),
    ("POST", _STORE, {"name": "Mine"}, NO_STORE),
    ("DELETE", _STORE, None, NO_STORE),
    ("POST", _STORE + "/search", {"query": "secrets"}, NO_STORE),
    ("POST", _STORE + "/files", {"file_id": "{file_id}"}, NO_STORE),
    ("GET", _STORE + "/files", None, NO_STORE),
    ("GET", _STORE_FILE, None, NO_STORE),
    ("POST", _STORE_FILE, {"attributes": {"a": "b"}}, NO_STORE),
    ("DELETE", _STORE_FILE, None, NO_STORE),
    ("GET", _STORE_FILE + "/content", None, NO_STORE),
    ("POST", _STORE + "/file_batches", {"file_ids": ["{file_id}"]}, NO_STORE),
    ("GET", _BATCH, None, NO_STORE),
    ("POST", _BATCH + "/cancel", None, NO_STORE),
    ("GET", _BATCH + "/files", None, NO_STORE),
]
SHOWS_FILE = [{"type": "image_file", "image_file": {"file_id": "{file_id}"}}]
ATTACHES_FILE = [{"file_id": "{file_id}", "tools": [{"type": "code_interpreter"}]}]
RESOURCES = {"code_interpreter": {"file_ids": ["{file_id}"]}}
SEARCHES = {"file_search": {"vector_store_ids": ["{vector_store_id}"]}}
SEARCHES_NEW = {"file_search": {"vector_stores": [{"file_ids": ["{file_id}"]}]}}
ATTACHES_FOR_SEARCH = [{"file_id": "{file_id}", "tools": [{"type": "file_search"}]}]
IN_BODIES = [
    ("/threads/{own_thread}/runs", {"assistant_id": "{assistant_id}"}, NO_ASSISTANT),
    ("/threads/runs", {"assistant_id": "{assistant_id}", "thread": {"messages": [MESSAGE]}}, NO_ASSISTANT),
    ("/threads/{own_thread}/messages", MESSAGE | {"content": SHOWS_FILE}, NO_FILE),
    ("/threads/{own_thread}/messages", MESSAGE | {"attachments": ATTACHES_FILE}, NO_FILE),
    ("/threads", {"messages": [MESSAGE | {"attachments": ATTACHES_FILE}]}, NO_FILE),
    ("/threads", {"tool_resources": RESOURCES}, NO_FILE),
    ("/threads/{own_thread}", {"tool_resources": RESOURCES}, NO_FILE),
    ("/threads/runs", {"assistant_id": "{own_assistant}", "thread": {"tool_resources": RESOURCES}}, NO_FILE),
    (
        "/threads/{own_thread}/runs",
        {"assistant_id": "{own_assistant}", "additional_messages": [MESSAGE | {"content": SHOWS_FILE}]},
        NO_FILE,
    ),
    ("/assistants", {"model": "m", "tool_resources": RESOURCES}, NO_FILE),
    ("/assistants/{own_assistant}", {"tool_resources": RESOURCES}, NO_FILE),
    ("/assistants", {"model": "m", "tool_resources": SEARCHES}, NO_STORE),
    ("/assistants", {"model": "m", "tool_resources": SEARCHES_NEW}, NO_FILE),
    ("/assistants/{own_assistant}", {"tool_resources": SEARCHES}, NO_STORE),
    ("/threads", {"tool_resources": SEARCHES}, NO_STORE),
    ("/threads", {"tool_resources": SEARCHES_NEW}, NO_FILE),
    ("/threads/{own_thread}", {"tool_resources": SEARCHES}, NO_STORE),
    ("/threads/{own_thread}/messages", MESSAGE | {"attachments": ATTACHES_FOR_SEARCH}, NO_FILE),
    ("/threads/runs", {"assistant_id": "{own_assistant}", "tool_resources": SEARCHES}, NO_STORE),
    ("/vector_stores", {"file_ids": ["{file_id}"]}, NO_FILE),
    ("/vector_stores/{own_store}/files", {"file_id": "{file_id}"}, NO_FILE),
    ("/vector_stores/{own_store}/file_batches", {"file_ids": ["{file_id}"]}, NO_FILE),
    ("/vector_stores/{own_store}/file_batches", {"files": [{"file_id": "{file_id}"}]}, NO_FILE),
]


def fill(template, ids):
    """Put ids in the place of their names, in strings, lists and objects."""
    match template:
        case str():
            return template.format_map(ids)
        case list():
            return [fill(each, ids) for each in template]
        case dict():
            return {name: fill(value, ids) for name, value in template.items()}
    return template


@pytest.fixture
async def foreign(client, server, run, worker):
    """Objects of every kind that belong to another project, and a thread and an assistant of our own."""
    await worker.ask(run.id)
    [step] = (await client.beta.threads.runs.steps.list(run.id, thread_id=run.thread_id)).data
    [message] = (await client.beta.threads.messages.list(run.thread_id)).data
    file = await client.files.create(file=("a.png", b"1"), purpose="vision")
    store = await client.vector_stores.create()
    batch = await client.vector_stores.file_batches.create(store.id, file_ids=[file.id])
    ids = {"assistant_id": run.assistant_id, "thread_id": run.thread_id, "run_id": run.id, "file_id": file.id}
    ids["vector_store_id"] = store.id

    def give_away(connection):
        for kind, id_ in ids.items():
            table = f"{kind.removesuffix('_id')}s"
            connection.execute(text(f"UPDATE {table} SET project_id = 'other' WHERE id = :id"), {"id": id_})

    await server.database.write(give_away)
    own = await client.beta.threads.create(messages=[MESSAGE])
    own_assistant = await client.beta.assistants.create(model="test")
    own_store = await client.vector_stores.create()
    own_ids = {"own_thread": own.id, "own_assistant": own_assistant.id, "own_store": own_store.id}
    return ids | own_ids | {"step_id": step.id, "message_id": message.id, "batch_id": batch.id}


async def state(server):
    """Everything that requests could change."""

    def read(connection):
        tables = ("assistants", "threads", "messages", "runs", "run_steps", "tool_calls", "files", "commands")
        tables += ("vector_stores", "vector_store_files", "vector_store_batches")
        return {table: [tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}")] for table in tables}

    return await server.database.read(read)


async def test_objects_of_another_project_are_not_found_and_stay_as_they_are(foreign, http, server):
    before = await state(server)
    for method, path, body, message in FOREIGN:
        answer = await http.request(method, "/v1" + fill(path, foreign), json=body)
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, fill(message, foreign)), (method, path)
    assert await state(server) == before


async def test_bodies_that_name_objects_of_another_project_are_refused_whole(foreign, http, server):
    before = await state(server)
    for path, body, message in IN_BODIES:
        answer = await http.post("/v1" + fill(path, foreign), json=fill(body, foreign))
        assert (answer.status_code, answer.json()["error"]["message"]) == (404, fill(message, foreign)), (path, body)
    assert await state(server) == before


@pytest.mark.parametrize(
    ("path", "kind"), [("/assistants", "assistant_id"), ("/files", "file_id"), ("/vector_stores", "vector_store_id")]
)
async def test_lists_have_nothing_of_another_project_nor_begin_at_it(foreign, http, path, kind):
    listed = (await http.get(f"/v1{path}?limit=100")).json()["data"]
    after = (await http.get(f"/v1{path}?limit=100&after={foreign[kind]}")).json()["data"]
    before = (await http.get(f"/v1{path}?limit=100&before={foreign[kind]}")).json()["data"]

    assert foreign[kind] not in [each["id"] for each in listed]
    assert (after, before) == ([], [])


async def test_a_list_of_messages_does_not_begin_at_a_message_of_another_thread(foreign, http):
    path = f"/v1/threads/{foreign['own_thread']}/messages"

    assert (await http.get(f"{path}?before={foreign['message_id']}")).json()["data"] == []
    assert len((await http.get(path)).json()["data"]) == 1


async def test_every_route_that_takes_an_id_is_tried(server):
    """Whoever adds a route says here how it answers for what belongs to others."""
    taken = {(operation.method, operation.path) for operation in build_app(server.services).operations}
    elsewhere = ("/decisions", "/console")  # a link is about one call; operators see what belongs to every project
    with_ids = {(method, path) for method, path in taken if "{" in path and not path.startswith(elsewhere)}

    assert with_ids == {(method, path) for method, path, _, _ in FOREIGN}
