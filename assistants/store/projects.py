"""Projects: whose objects they are, and which registered handlers may answer the function calls of their runs."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection

from lockstitch.assistants.store import rows
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import projects
from lockstitch.errors import ProjectNotFound

Handlers = tuple[str, ...] | None
"""Names of handlers; ``None`` means every handler there is, and will be."""


def create(connection: Connection, project: str, now: int, handlers: Handlers = ()) -> Row:
    """Return the project, which is made where there is none; one that exists keeps its handlers."""
    if existing := rows.get(connection, projects, id=project):
        return existing
    return rows.add(connection, projects, {"id": project, "created_at": now, "handlers": _stored(handlers)})


def get(connection: Connection, project: str) -> Row:
    """Return the project; raises `ProjectNotFound`."""
    row = rows.get(connection, projects, id=project)
    if row is None:
        raise ProjectNotFound(project)
    return row


def listed(connection: Connection) -> Sequence[Row]:
    """Return all projects by name."""
    return rows.find(connection, projects, "id")


def allow(connection: Connection, project: str, handlers: Handlers) -> Row:
    """Say which handlers the project's runs may use from now on; raises `ProjectNotFound`."""
    row = rows.change(connection, projects, {"id": project}, {"handlers": _stored(handlers)})
    if row is None:
        raise ProjectNotFound(project)
    return row


def handlers(connection: Connection, project: str) -> Handlers:
    """Return the handlers that the project's runs may use; a project that is unknown may use none."""
    row = rows.get(connection, projects, id=project)
    return () if row is None else allowed(row)


def allowed(project: Row) -> Handlers:
    """Return the handlers that the runs of a project may use."""
    names: Collection[str] | None = project["handlers"]
    return None if names is None else tuple(names)


def _stored(names: Handlers) -> list[str] | None:
    return None if names is None else sorted(set(names))
