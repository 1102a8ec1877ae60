"""Pages of a list: where they begin, how they run, and what happens to the list meanwhile."""

import pytest

from lockstitch.assistants.store import threads
from lockstitch.assistants.store.rows import Page, PageCursor
from lockstitch.errors import ApiError
from lockstitch.starter.contract import NewMessage

NOW = 1_700_000_000


@pytest.fixture
async def thread(store):
    """A thread with messages 1 to 5, all written within one second; return its id, and their ids by their text."""
    thread_id = await store.thread("1", "2", "3", "4", "5")
    page = await store.read(threads.list_messages, thread_id, PageCursor(descending=False))
    return thread_id, {row["content"][0]["text"]["value"]: row["id"] for row in page.rows}


@pytest.fixture
def listed(store, thread):
    """List the thread's messages; the cursor's ids are given as the messages' texts."""

    async def read(**cursor) -> tuple[str, bool]:
        thread_id, ids = thread
        anchors = {name: ids.get(cursor[name], cursor[name]) for name in ("after", "before") if name in cursor}
        return told(await store.read(threads.list_messages, thread_id, PageCursor(**cursor | anchors)))

    return read


def told(page: Page) -> tuple[str, bool]:
    return "".join(row["content"][0]["text"]["value"] for row in page.rows), page.has_more


@pytest.mark.parametrize(
    ("cursor", "page"),
    [
        ({}, ("54321", False)),
        ({"descending": False}, ("12345", False)),
        ({"limit": 2}, ("54", True)),
        ({"limit": 5}, ("54321", False)),
        ({"limit": 2, "after": "4"}, ("32", True)),
        ({"limit": 2, "after": "3"}, ("21", False)),
        ({"limit": 2, "after": "1"}, ("", False)),
        ({"limit": 2, "after": "2", "descending": False}, ("34", True)),
        ({"limit": 2, "before": "1"}, ("32", True)),
        ({"limit": 2, "before": "3"}, ("54", False)),
        ({"limit": 2, "before": "5"}, ("", False)),
        ({"limit": 2, "before": "5", "descending": False}, ("34", True)),
        ({"limit": 2, "before": "3", "descending": False}, ("12", False)),
        ({"after": "5", "before": "2"}, ("43", False)),
        ({"after": "1", "before": "4", "descending": False}, ("23", False)),
        ({"limit": 1, "after": "5", "before": "1"}, ("4", True)),
        ({"after": "msg_unknown"}, ("", False)),
        ({"before": "msg_unknown"}, ("", False)),
    ],
)
async def test_a_page_is_what_its_cursor_asks_for(listed, cursor, page):
    assert await listed(**cursor) == page


async def test_going_on_meets_each_row_once_while_others_are_added(store, thread, listed):
    thread_id, _ = thread
    first = await listed(limit=2)
    await store.write(threads.add_message, thread_id, NewMessage(role="user", content="6"), NOW)

    assert [first, await listed(limit=2, after="4"), await listed(limit=2, after="2")] == [
        ("54", True),
        ("32", True),
        ("1", False),
    ]
    assert await listed(before="5") == ("6", False)


async def test_a_cursor_whose_row_was_deleted_leads_to_an_empty_page(store, thread, listed):
    await store.write(threads.drop_message, thread[1]["3"])

    assert await listed(after="3") == ("", False)
    assert await listed(after="4") == ("21", False)


async def test_a_page_has_nothing_of_another_thread(store, listed):
    await store.thread("of another thread")

    assert await listed() == ("54321", False)


async def test_a_page_can_be_of_one_run_only(store, thread):
    thread_id, _ = thread
    run = {"id": "run_1", "thread_id": thread_id, "assistant_id": "asst_1"}
    message = threads.new_run_message(run, NOW) | {"content": [{"type": "text", "text": {"value": "said"}}]}
    await store.write(threads.insert_message, message)

    assert told(await store.read(threads.list_messages, thread_id, PageCursor(), "run_1")) == ("said", False)
    assert told(await store.read(threads.list_messages, thread_id, PageCursor(), "run_2")) == ("", False)


async def test_a_list_of_an_unknown_thread_is_refused(store):
    with pytest.raises(ApiError, match="No thread found with id 'thread_unknown'") as refused:
        await store.read(threads.list_messages, "thread_unknown", PageCursor())
    assert refused.value.status == 404
