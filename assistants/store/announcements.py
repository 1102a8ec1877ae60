"""How a transaction that appends to an event log tells the processes that follow it.

PostgreSQL calls whoever listens when the transaction commits. SQLite cannot; there the word means nothing.
"""

from typing import Any

from sqlalchemy import String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

CHANNEL = "lockstitch_run_events"
"""Where PostgreSQL announces the id of a run whose log has grown."""


class announced(GenericFunction[str]):  # noqa: N801 - it is written as SQL's functions are
    """In a statement's ``RETURNING``: announce this run id."""

    type = String()
    inherit_cache = True


@compiles(announced)
def _nothing(_element: announced, _compiler: Any, **_options: Any) -> str:
    return "NULL"


@compiles(announced, "postgresql")
def _notify(element: announced, compiler: Any, **options: Any) -> str:
    return f"pg_notify('{CHANNEL}', {compiler.process(element.clauses, **options)})"
