"""Threads and their messages. Where a ``project`` is given, only what belongs to it exists."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Integer, bindparam, select

from lockstitch.assistants import refusals
from lockstitch.assistants.objects import text_content
from lockstitch.assistants.store import attachments, rows
from lockstitch.assistants.store.prepared import Prepared
from lockstitch.assistants.store.rows import Page, PageCursor, Row
from lockstitch.assistants.store.schema import ACTIVE_RUN, messages, runs, threads
from lockstitch.starter.contract import NewMessage
from lockstitch.starter.identifiers import new_id

_ALL = 2**31 - 1
_ACTIVE_RUN = Prepared(select(runs.c.id).where(runs.c.thread_id == bindparam("thread"), ACTIVE_RUN))
_HAS_USER_MESSAGE = Prepared(
    select(messages.c.id).where(messages.c.thread_id == bindparam("thread"), messages.c.role == "user").limit(1)
)
_FINISHED = (
    select(messages)
    .where(messages.c.thread_id == bindparam("thread"), messages.c.status != "in_progress")
    .order_by(messages.c.seq.desc())
    .limit(bindparam("last", type_=Integer))
)
_ALL_FINISHED = Prepared(_FINISHED)
_FINISHED_BUT = _FINISHED.where(messages.c.id.not_in(bindparam("without", expanding=True)))
_IDS_OF_RUN = Prepared(select(messages.c.id).where(messages.c.run_id == bindparam("run")).order_by(messages.c.seq))
_MESSAGE_OF_PROJECT = Prepared(
    select(messages)
    .join(threads, threads.c.id == messages.c.thread_id)
    .where(
        messages.c.id == bindparam("message"),
        messages.c.thread_id == bindparam("thread"),
        threads.c.project_id == bindparam("project"),
    )
)
_CONTENT = Prepared(select(messages.c.content).where(messages.c.id == bindparam("message")))


def create(connection: Connection, values: Row, now: int) -> Row:
    """Add a thread; ``values`` may hold ``id``, ``project_id``, ``metadata`` and ``tool_resources``."""
    defaults = {"id": new_id("thread"), "created_at": now, "metadata": {}, "tool_resources": {}}
    return rows.add_last(connection, threads, defaults | dict(values))


def get(connection: Connection, thread_id: str, *, project: str | None = None) -> Row:
    """Return the thread; raises `ApiError` (404)."""
    row = rows.get(connection, threads, id=thread_id, **rows.of_project(project))
    if row is None:
        raise refusals.no_thread(thread_id)
    return row


def lock(connection: Connection, thread_id: str, *, project: str | None = None) -> Row:
    """Return the thread; until the transaction ends, nobody else adds a message or begins a run.

    Raises `ApiError` (404).
    """
    row = rows.locked(connection, threads, id=thread_id, **rows.of_project(project))
    if row is None:
        raise refusals.no_thread(thread_id)
    return row


def lock_idle(connection: Connection, thread_id: str, *, project: str | None = None) -> None:
    """Do what `lock` does, so that a message can be added; raises `ApiError` where a run is active on the thread."""
    lock(connection, thread_id, project=project)
    if active := active_run_id(connection, thread_id):
        raise refusals.message_while_run_is_active(thread_id, active)


def listed(connection: Connection, cursor: PageCursor, *, project: str) -> Page:
    """Return a page of the project's threads."""
    return rows.page(connection, threads, cursor, [threads.c.project_id == project])


def change(connection: Connection, thread_id: str, values: Row, *, project: str | None = None) -> Row:
    """Write new values into a thread and return it; raises `ApiError` (404)."""
    where = {"id": thread_id, **rows.of_project(project)}
    row = rows.change(connection, threads, where, values) if values else None
    return row or get(connection, thread_id, project=project)


def delete(connection: Connection, thread_id: str, *, project: str | None = None) -> None:
    """Delete the thread with its messages and runs; raises `ApiError` (404)."""
    if not rows.remove(connection, threads, id=thread_id, **rows.of_project(project)):
        raise refusals.no_thread(thread_id)


def active_run_id(connection: Connection, thread_id: str) -> str | None:
    """Return the id of the run that holds the thread's lock."""
    found: str | None = _ACTIVE_RUN.value(connection, {"thread": thread_id})
    return found


def add_message(connection: Connection, thread_id: str, message: NewMessage, now: int) -> Row:
    """Add a message that a caller wrote, on a thread that is new or locked; its attachments go to the thread's tools.

    Raises `ApiError` as `attachments.take_in` does.
    """
    attachments.take_in(connection, thread_id, message.attachments or (), now)
    values = _message_values(thread_id, now) | {
        "role": message.role,
        "content": _stored_content(message),
        "attachments": [attachment.model_dump() for attachment in message.attachments or ()],
        "metadata": message.metadata or {},
        "status": "completed",
        "completed_at": now,
    }
    return rows.add(connection, messages, values)


def new_run_message(run: Row, now: int) -> dict[str, Any]:
    """Make the message that a run begins to write, not yet stored."""
    return _message_values(run["thread_id"], now) | {
        "role": "assistant",
        "content": [],
        "status": "in_progress",
        "run_id": run["id"],
        "assistant_id": run["assistant_id"],
    }


def _message_values(thread_id: str, now: int) -> dict[str, Any]:
    return {
        "id": new_id("msg"),
        "thread_id": thread_id,
        "created_at": now,
        "attachments": [],
        "metadata": {},
        "assistant_id": None,
        "run_id": None,
        "completed_at": None,
        "incomplete_at": None,
        "incomplete_details": None,
    }


def _stored_content(message: NewMessage) -> list[dict[str, Any]]:
    if isinstance(message.content, str):
        return [text_content(message.content)]
    return [text_content(part.text) if part.type == "text" else part.model_dump() for part in message.content]


def insert_message(connection: Connection, values: Row) -> None:
    """Store a message that a run writes."""
    rows.put(connection, messages, values)


def change_message(connection: Connection, message_id: str, values: Row) -> None:
    """Write new values into a message."""
    rows.overwrite(connection, messages, {"id": message_id}, values)


def drop_message(connection: Connection, message_id: str) -> None:
    """Take an unfinished message out of the thread."""
    rows.remove(connection, messages, id=message_id)


def get_message(connection: Connection, thread_id: str, message_id: str, *, project: str | None = None) -> Row:
    """Return a message of the thread; raises `ApiError` (404)."""
    if project is None:
        row = rows.get(connection, messages, id=message_id, thread_id=thread_id)
    else:
        values = {"message": message_id, "thread": thread_id, "project": project}
        row = _MESSAGE_OF_PROJECT.one(connection, values)
    if row is None:
        get(connection, thread_id, project=project)  # an unknown thread is said to be unknown
        raise refusals.no_message(message_id)
    return row


def list_messages(
    connection: Connection,
    thread_id: str,
    cursor: PageCursor,
    run_id: str | None = None,
    *,
    project: str | None = None,
) -> Page:
    """Return a page of the thread's messages, of one run only where ``run_id`` is given; raises `ApiError` (404)."""
    get(connection, thread_id, project=project)
    only = [] if run_id is None else [messages.c.run_id == run_id]
    return rows.page(connection, messages, cursor, [messages.c.thread_id == thread_id], only)


def has_user_message(connection: Connection, thread_id: str) -> bool:
    """Tell whether anybody has asked anything."""
    return _HAS_USER_MESSAGE.value(connection, {"thread": thread_id}) is not None


def finished_messages(
    connection: Connection, thread_id: str, last: int | None = None, without: Collection[str] = ()
) -> Sequence[Row]:
    """Return the thread's messages, oldest first; only the ``last`` of them where that is given.

    ``without`` has the ids of messages that do not count.
    """
    values = {"thread": thread_id, "last": _ALL if last is None else last}
    if not without:
        return _ALL_FINISHED.all(connection, values)[::-1]
    return rows.fetch(connection, _FINISHED_BUT, {**values, "without": list(without)})[::-1]


def message_ids_of_run(connection: Connection, run_id: str) -> list[str]:
    """Return the ids of the messages that the run wrote, oldest first."""
    return [message["id"] for message in _IDS_OF_RUN.all(connection, {"run": run_id})]


def message_text(connection: Connection, message_id: str) -> str:
    """Return the text of a message, its parts joined by line breaks."""
    content = _CONTENT.value(connection, {"message": message_id})
    return "\n".join(part["text"]["value"] for part in content if part["type"] == "text")
