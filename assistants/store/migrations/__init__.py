"""Brings a database to the newest form of the tables."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

NEWEST = "0001"


def upgrade(connection: Connection) -> None:
    """Apply the migrations that are missing, as part of the connection's transaction."""
    if _revision(connection) == NEWEST:
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    command.upgrade(config, NEWEST)


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
