"""Brings a database to the newest form of the tables."""

import threading
from pathlib import Path

from sqlalchemy import Connection, inspect, select, text

from lockstitch.assistants.store import schema
from lockstitch.errors import StoreUnavailable

NEWEST = "0012"

_UPGRADE_LOCK = 7_202_608_26
"""The number of PostgreSQL's advisory lock that whoever upgrades holds, so that others wait; any number does."""

_one_at_a_time = threading.Lock()  # Alembic keeps what it works on in a global variable


def upgrade(connection: Connection) -> None:
    """Apply the migrations that are missing, as part of the connection's transaction.

    Processes that begin at the same time take turns. Tables of a newer release that only added to ours are left as they
    are. Raises `StoreUnavailable` for others.
    """
    if _fits(connection):
        return
    _wait_for_turn(connection)
    if _fits(connection):
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, NEWEST)


def check(connection: Connection) -> None:
    """Raise `StoreUnavailable` unless the tables have the form that this release needs, or more."""
    if not _fits(connection):
        raise _unfit(connection, f"{_described(revision(connection))}, and this release needs version {NEWEST}; run "
                                 "`lockstitch db upgrade`.")  # fmt: skip


def revision(connection: Connection) -> str | None:
    """Return the version of the tables, ``None`` where there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _fits(connection: Connection) -> bool:
    """Tell whether this release works on the tables; raises `StoreUnavailable` where it never will."""
    found = revision(connection)
    if found is None or found < NEWEST:
        return False
    if found > NEWEST and not _is_known_to_fit(connection):
        problem = f"a newer release has upgraded it to version {found}, which this one, with {NEWEST}, cannot work on."
        raise _unfit(connection, problem)
    return True


def _is_known_to_fit(connection: Connection) -> bool:
    """Tell whether newer tables say of themselves that processes as old as this one work on them."""
    oldest = connection.scalar(select(schema.compatibility.c.oldest_version))
    return oldest is not None and oldest <= NEWEST


def _described(found: str | None) -> str:
    return "it has no tables" if found is None else f"its tables are of version {found}"


def _unfit(connection: Connection, problem: str) -> StoreUnavailable:
    url = connection.engine.url.set(query={})
    return StoreUnavailable(url.render_as_string(hide_password=True), problem)


def _wait_for_turn(connection: Connection) -> None:
    """Wait until nobody else upgrades; SQLite has let this connection in as the only one that writes."""
    if connection.dialect.name == "postgresql":
        # However long the other takes, and then this one.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        patience = connection.scalar(text("SHOW lock_timeout"))
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _UPGRADE_LOCK})
        connection.execute(text("SELECT set_config('lock_timeout', :patience, true)"), {"patience": patience})
