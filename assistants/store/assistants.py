"""Assistants. Where a ``project`` is given, only what belongs to it exists."""

from sqlalchemy import Connection

from lockstitch.assistants import refusals
from lockstitch.assistants.store import rows
from lockstitch.assistants.store.rows import Page, PageCursor, Row
from lockstitch.assistants.store.schema import assistants
from lockstitch.starter.identifiers import new_id


def create(connection: Connection, values: Row, now: int) -> Row:
    """Add an assistant; ``values`` are columns of the table."""
    return rows.add_last(connection, assistants, {"id": new_id("asst"), "created_at": now} | dict(values))


def get(connection: Connection, assistant_id: str, *, project: str | None = None) -> Row:
    """Return the assistant; raises `ApiError` (404)."""
    row = rows.get(connection, assistants, id=assistant_id, **rows.of_project(project))
    if row is None:
        raise refusals.no_assistant(assistant_id)
    return row


def listed(connection: Connection, cursor: PageCursor, *, project: str) -> Page:
    """Return a page of the project's assistants."""
    return rows.page(connection, assistants, cursor, [assistants.c.project_id == project])


def change(connection: Connection, assistant_id: str, values: Row, *, project: str | None = None) -> Row:
    """Write new values into an assistant and return it; raises `ApiError` (404)."""
    where = {"id": assistant_id, **rows.of_project(project)}
    row = rows.change(connection, assistants, where, values) if values else None
    return row or get(connection, assistant_id, project=project)


def delete(connection: Connection, assistant_id: str, *, project: str | None = None) -> None:
    """Delete the assistant; raises `ApiError` (404)."""
    if not rows.remove(connection, assistants, id=assistant_id, **rows.of_project(project)):
        raise refusals.no_assistant(assistant_id)
