"""Where the sessions of the code interpreter are: one for each thread, each held by one worker."""

import time

from sqlalchemy import Connection

from lockstitch.assistants.store import rows
from lockstitch.assistants.store.schema import code_sessions, threads


def queue_of(connection: Connection, thread_id: str) -> str | None:
    """Return the task queue of the worker that holds the thread's session, ``None`` where there is none."""
    row = rows.get(connection, code_sessions, thread_id=thread_id)
    return (row["task_queue"] or None) if row else None


def open_session(connection: Connection, thread_id: str, task_queue: str) -> bool:
    """Take note that a worker holds a new session, and tell whether the thread had one before, which is lost."""
    had_one = rows.remove(connection, code_sessions, thread_id=thread_id)
    if rows.get(connection, threads, id=thread_id) is not None:  # it may be deleted, and then nobody will ask
        values = {"thread_id": thread_id, "task_queue": task_queue, "opened_at": int(time.time())}
        rows.put(connection, code_sessions, values)
    return had_one


def close_all(connection: Connection, task_queue: str) -> None:
    """Take note that a worker ends with all its sessions; that they are lost is told when they are missed."""
    rows.overwrite(connection, code_sessions, {"task_queue": task_queue}, {"task_queue": ""})
