"""Assistants, threads and messages that people saved before the shutdown, and how they carry on here."""

import json

import pytest

from lockstitch.assistants.imports.reading import read_export
from lockstitch.assistants.imports.writing import write_export
from lockstitch.assistants.store import assistants, threads
from lockstitch.assistants.store.rows import PageCursor
from lockstitch.errors import ApiError, ImportRefused

ASSISTANT = {
    "id": "asst_Zm9vYmFyYmF6cXV4Zm9vYmFy",
    "object": "assistant",
    "created_at": 1730000000,
    "name": "Data Analyst",
    "description": None,
    "model": "gpt-4o",
    "instructions": "Look at the numbers.",
    "tools": [
        {"type": "code_interpreter"},
        {
            "type": "file_search",
            "file_search": {"ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0.0}},
        },
        {"type": "function", "function": {"name": "get_sales", "strict": False}},
    ],
    "tool_resources": {"code_interpreter": {"file_ids": ["file-abc"]}},
    "metadata": {"team": "sales"},
    "top_p": 1.0,
    "temperature": 0.2,
    "reasoning_effort": None,
    "response_format": "auto",
}
THREAD = {
    "id": "thread_AbCdEfGhIjKlMnOpQrStUvWx",
    "object": "thread",
    "created_at": 1730000100,
    "metadata": {},
    "tool_resources": {},
}


def message(number, created_at, **fields):
    """A message as the API listed it: without the fields that its lists leave out."""
    return {
        "id": f"msg_{number:024}",
        "object": "thread.message",
        "created_at": created_at,
        "thread_id": THREAD["id"],
        "assistant_id": None,
        "run_id": None,
        "role": "user",
        "content": [{"type": "text", "text": {"value": f"Message {number}.", "annotations": []}}],
        "attachments": [],
        "metadata": {},
        **fields,
    }


@pytest.fixture
def saved(tmp_path):
    """Write objects into a file, one a line, and return its path."""

    def save(*objects, name="saved.jsonl"):
        path = tmp_path / name
        lines = [each if isinstance(each, str) else json.dumps(each) for each in objects]
        path.write_text("\n".join(lines) + "\n")
        return path

    return save


async def texts(database, thread_id=THREAD["id"]):
    """Return what a thread says, oldest first."""
    cursor = PageCursor(100, descending=False)
    page = await database.read(lambda connection: threads.list_messages(connection, thread_id, cursor))
    return [row["content"][0]["text"]["value"] for row in page.rows]


async def test_objects_keep_their_ids_and_all_that_they_say(database, saved):
    imported = await write_export(database, read_export([saved(ASSISTANT, THREAD, message(1, 1730000101))]), "default")

    assert imported.added == {"assistants": 1, "threads": 1, "messages": 1}
    row = await database.read(lambda connection: assistants.get(connection, ASSISTANT["id"]))
    function = {"name": "get_sales", "strict": False, "parameters": {"type": "object", "properties": {}}}
    assert row["tools"][2]["function"] == function
    assert (row["created_at"], row["temperature"], row["metadata"]) == (1730000000, 0.2, {"team": "sales"})
    thread = await database.read(lambda connection: threads.get(connection, THREAD["id"]))
    assert thread["created_at"] == THREAD["created_at"]
    stored = await database.read(lambda connection: threads.get_message(connection, THREAD["id"], f"msg_{1:024}"))
    assert (stored["status"], stored["completed_at"]) == ("completed", 1730000101)


async def test_messages_are_in_order_however_they_were_listed(database, saved):
    newest_first = [message(number, 1730000100 + number // 3) for number in reversed(range(1, 10))]
    page = {"object": "list", "data": newest_first, "first_id": None, "last_id": None, "has_more": False}

    await write_export(database, read_export([saved(page)]), "default")

    assert await texts(database) == [f"Message {number}." for number in range(1, 10)]


async def test_a_thread_of_which_only_messages_were_saved_begins_with_the_first(database, saved):
    await write_export(database, read_export([saved(message(2, 1730000200), message(1, 1730000150))]), "default")

    thread = await database.read(lambda connection: threads.get(connection, THREAD["id"]))
    assert thread["created_at"] == 1730000150


async def test_importing_again_changes_nothing_and_does_the_rest(database, saved):
    await write_export(database, read_export([saved(ASSISTANT, name="first.jsonl")]), "default")
    changed = {**ASSISTANT, "name": "Changed since"}

    imported = await write_export(database, read_export([saved(changed, THREAD, message(1, 1730000101))]), "default")

    assert imported.there_before == {"assistants": 1}
    assert imported.added == {"threads": 1, "messages": 1}
    row = await database.read(lambda connection: assistants.get(connection, ASSISTANT["id"]))
    assert row["name"] == "Data Analyst"


async def test_objects_belong_to_the_project_that_was_named(database, saved):
    export = read_export([saved(ASSISTANT)])
    await write_export(database, export, "acme")

    await database.read(lambda connection: assistants.get(connection, ASSISTANT["id"], project="acme"))
    with pytest.raises(ApiError):
        await database.read(lambda connection: assistants.get(connection, ASSISTANT["id"], project="default"))
    with pytest.raises(ImportRefused, match="belongs to the project 'acme'"):
        await write_export(database, export, "default")


async def test_files_that_are_not_here_are_told(database, saved):
    image = {"type": "image_file", "image_file": {"file_id": "file-picture", "detail": "auto"}}
    attached = {"file_id": "file-report", "tools": [{"type": "file_search"}]}
    lines = [message(1, 1730000101, content=[image]), message(2, 1730000102, attachments=[attached])]

    imported = await write_export(database, read_export([saved(*lines)]), "default")

    assert imported.missing_files == ["file-picture", "file-report"]


async def test_a_message_that_was_being_written_stays_incomplete(database, saved):
    await write_export(
        database, read_export([saved(message(1, 1730000101, role="assistant", status="in_progress"))]), "default"
    )

    row = await database.read(lambda connection: threads.get_message(connection, THREAD["id"], f"msg_{1:024}"))
    assert (row["status"], row["incomplete_details"]) == ("incomplete", {"reason": "run_expired"})


async def test_a_long_thread_is_imported_whole(database, saved):
    lines = [message(number, 1730000000 + number) for number in range(1, 1202)]

    imported = await write_export(database, read_export([saved(THREAD, *lines)]), "default")

    assert imported.added["messages"] == 1201
    assert (await texts(database))[:2] == ["Message 1.", "Message 2."]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "saved.jsonl:2: this is not JSON"),
        ("[1]", "saved.jsonl:2: this is no object of the API"),
        ('{"object": "vector_store", "id": "vs_1"}', "'vector_store' is not imported; 'object' is one of 'assistant'"),
        ({**THREAD, "id": "asst_1"}, "asst_1: id: String should match pattern '^thread_"),
        ({**THREAD, "created_at": "yesterday"}, "thread_AbCdEfGhIjKlMnOpQrStUvWx: created_at: Input should be a valid"),
        ({**ASSISTANT, "model": ""}, "model: String should have at least 1 character"),
        (message(1, 1, role="system"), "role: Input should be 'user' or 'assistant'"),
        (message(1, 1, content="Hello"), "content: Input should be a valid list"),
        (message(1, 1, content=[{"type": "text", "text": "Hello"}]), "content.0.text: Input should be"),
        (ASSISTANT, f"saved.jsonl:2: {ASSISTANT['id']} was there before."),
    ],
)
async def test_what_cannot_be_imported_is_told_with_its_line_and_nothing_is_stored(database, saved, line, problem):
    with pytest.raises(ImportRefused) as refused:
        await write_export(database, read_export([saved(ASSISTANT, line)]), "default")

    assert problem in str(refused.value)
    assert str(refused.value).startswith("Nothing was imported.")
    with pytest.raises(ApiError):
        await database.read(lambda connection: assistants.get(connection, ASSISTANT["id"]))


async def test_a_message_id_that_another_thread_has_is_refused(database, saved):
    await write_export(database, read_export([saved(message(1, 1730000101), name="first.jsonl")]), "default")
    elsewhere = message(1, 1730000101, thread_id="thread_another")

    with pytest.raises(ImportRefused, match=f"is a message of the thread {THREAD['id']}"):
        await write_export(database, read_export([saved(elsewhere)]), "default")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ImportRefused, match=r"nowhere\.jsonl: No such file or directory"):
        read_export([tmp_path / "nowhere.jsonl"])


def test_at_most_twenty_problems_are_told_at_a_time(saved):
    with pytest.raises(ImportRefused) as refused:
        read_export([saved(*["{"] * 50)])

    assert len(refused.value.problems) == 20
