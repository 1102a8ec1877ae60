"""What this server has accepted and the Temporal server may not know yet.

A command is written in the transaction that accepts it and dropped when the Temporal server has it, so that a
process that dies in between loses nothing: a sweep finds the command and delivers it. Delivering twice is
harmless, because the id of a run or an ingestion is its workflow's id, and outputs are stored once.
"""

import time
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, exists, func, select

from lockstitch.assistants.store import rows
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import commands

T = TypeVar("T")

CommandKind = Literal["start", "answer", "cancel", "ingest"]
"""The first three are about a run, the last about an ingestion of files."""

_WRITTEN = "lockstitch.commands"


def add(connection: Connection, subject_id: str, kind: CommandKind, payload: dict[str, Any]) -> Row:
    """Write down a command that has been accepted; ``subject_id`` is the id of the run or the ingestion."""
    values = {"subject_id": subject_id, "kind": kind, "payload": payload, "created_at": time.time()}
    command = rows.add(connection, commands, values)
    if _WRITTEN in connection.info:
        connection.info[_WRITTEN].append(command)
    return command


def collect(connection: Connection, unit: Callable[[Connection], T]) -> tuple[T, list[Row]]:
    """Run ``unit`` and return its result and the commands that it wrote, however deep inside."""
    written = connection.info[_WRITTEN] = []
    try:
        return unit(connection), written
    finally:
        del connection.info[_WRITTEN]


def undelivered(connection: Connection, *, older_than_seconds: float, limit: int = 100) -> list[Row]:
    """Return commands that have been waiting for so long, oldest first."""
    query = select(commands).where(commands.c.created_at < time.time() - older_than_seconds)
    return rows.fetch(connection, query.order_by(commands.c.position).limit(limit))


def waiting(connection: Connection) -> tuple[int, float | None]:
    """Return how many commands wait, and since when the oldest does (seconds since 1970)."""
    count, oldest = connection.execute(select(func.count(), func.min(commands.c.created_at))).one()
    return count, oldest


def start_waits(connection: Connection, run_id: str) -> bool:
    """Tell whether the run's start has not been delivered yet."""
    is_start = (commands.c.subject_id == run_id, commands.c.kind == "start")
    return bool(connection.scalar(select(exists().where(*is_start))))


def drop(connection: Connection, command: Row) -> None:
    """Forget a command that was delivered."""
    # SQLite gives a free position away again, so the position alone may mean a command that came later.
    rows.remove(
        connection,
        commands,
        position=command["position"],
        subject_id=command["subject_id"],
        created_at=command["created_at"],
    )
