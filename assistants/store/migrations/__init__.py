"""Brings a database to the newest form of the tables."""

import threading
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from lockstitch.errors import StoreUnavailable

NEWEST = "0005"

_one_at_a_time = threading.Lock()  # Alembic keeps what it works on in a global variable


def upgrade(connection: Connection) -> None:
    """Apply the migrations that are missing, as part of the connection's transaction.

    Raises `StoreUnavailable` for a database that a newer release has upgraded.
    """
    revision = _revision(connection)
    if revision == NEWEST:
        return
    if revision is not None and revision > NEWEST:
        problem = f"a newer release has upgraded it to version {revision}, and this one knows {NEWEST}."
        raise StoreUnavailable(str(connection.engine.url), problem)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    with _one_at_a_time:
        command.upgrade(config, NEWEST)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
