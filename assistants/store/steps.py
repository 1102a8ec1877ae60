"""Run steps."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from lockstitch.assistants import objects, refusals
from lockstitch.assistants.store import rows, tool_calls
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.rows import Page, PageCursor, Row
from lockstitch.assistants.store.schema import run_steps
from lockstitch.starter.identifiers import new_id


def new_step(run: Row, kind: str, now: int, message_id: str | None = None) -> dict[str, Any]:
    """Make a step that begins now, not yet stored; ``kind`` is ``message_creation`` or ``tool_calls``."""
    return {
        "id": new_id("step"),
        "run_id": run["id"],
        "thread_id": run["thread_id"],
        "assistant_id": run["assistant_id"],
        "created_at": now,
        "type": kind,
        "status": "in_progress",
        "message_id": message_id,
        "cancelled_at": None,
        "completed_at": None,
        "expired_at": None,
        "failed_at": None,
        "last_error": None,
        "usage": None,
        "metadata": {},
    }


def insert(connection: Connection, values: Row) -> None:
    """Store a new step."""
    rows.put(connection, run_steps, values)


def change(connection: Connection, step_id: str, values: Row) -> None:
    """Write new values into a step."""
    rows.overwrite(connection, run_steps, {"id": step_id}, values)


def finish(connection: Connection, run: Row, step: Row, values: Row) -> NewEvent:
    """End a step of ``run`` and return the event that tells it; ``values`` hold the new ``status`` and its time."""
    change(connection, step["id"], values)
    calls = tool_calls.of_steps(connection, [step["id"]])[step["id"]] if step["type"] == "tool_calls" else ()
    told = objects.run_step({**step, **values}, calls, run["expires_at"])
    return NewEvent(f"thread.run.step.{values['status']}", told)


def open_steps(connection: Connection, run_id: str) -> Sequence[Row]:
    """Return the run's steps that are in progress, oldest first."""
    return rows.find(connection, run_steps, "seq", run_id=run_id, status="in_progress")


def of_run(connection: Connection, run_id: str) -> Sequence[Row]:
    """Return all steps of the run, oldest first."""
    return rows.find(connection, run_steps, "seq", run_id=run_id)


def completed_rounds(connection: Connection, of_run: Sequence[Row]) -> list[list[Row]]:
    """Return the calls of each tool round that the run with these steps has finished, oldest first."""
    finished = [step["id"] for step in of_run if step["type"] == "tool_calls" and step["status"] == "completed"]
    calls = tool_calls.of_steps(connection, finished)
    return [calls[step_id] for step_id in finished]


def get(connection: Connection, run: Row, step_id: str) -> Row:
    """Return a step of the run; raises `ApiError` (404)."""
    row = rows.get(connection, run_steps, id=step_id, run_id=run["id"])
    if row is None:
        raise refusals.no_run_step(step_id)
    return row


def listed(connection: Connection, run: Row, cursor: PageCursor) -> Page:
    """Return a page of the run's steps."""
    return rows.page(connection, run_steps, cursor, [run_steps.c.run_id == run["id"]])
