"""What this server has accepted and the Temporal server may not know yet.

A command is written in the transaction that accepts it and dropped when the Temporal server has it, so that a
process that dies in between loses nothing: a sweep finds the command and delivers it. Delivering twice is
harmless, because a run's id is its workflow's id and outputs are stored once.
"""

import time
from typing import Any, Literal

from sqlalchemy import Connection, exists, select

from lockstitch.assistants.store import rows
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import run_commands

CommandKind = Literal["start", "answer", "cancel"]


def add(connection: Connection, run_id: str, kind: CommandKind, payload: dict[str, Any]) -> Row:
    """Write down a command that has been accepted."""
    values = {"run_id": run_id, "kind": kind, "payload": payload, "created_at": time.time()}
    return rows.add(connection, run_commands, values)


def undelivered(connection: Connection, *, older_than_seconds: float, limit: int = 100) -> list[Row]:
    """Return commands that have been waiting for so long, oldest first."""
    query = select(run_commands).where(run_commands.c.created_at < time.time() - older_than_seconds)
    return rows.fetch(connection, query.order_by(run_commands.c.position).limit(limit))


def start_waits(connection: Connection, run_id: str) -> bool:
    """Tell whether the run's start has not been delivered yet."""
    is_start = (run_commands.c.run_id == run_id, run_commands.c.kind == "start")
    return bool(connection.scalar(select(exists().where(*is_start))))


def drop(connection: Connection, command: Row) -> None:
    """Forget a command that was delivered."""
    # SQLite gives a free position away again, so the position alone may mean a command that came later.
    rows.remove(
        connection,
        run_commands,
        position=command["position"],
        run_id=command["run_id"],
        created_at=command["created_at"],
    )
