"""The delivery log: each attempt to tell a person about an escalation is one row, written once."""

from sqlalchemy import Connection, delete, select

from lockstitch.assistants.store import rows
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.schema import webhook_deliveries


def add(connection: Connection, attempt: Row) -> None:
    """Write down one attempt: every column but ``seq``."""
    rows.put(connection, webhook_deliveries, attempt)


def is_delivered(connection: Connection, escalation_id: str, message_id: str) -> bool:
    """Tell whether an attempt at this message has succeeded."""
    where = {"escalation_id": escalation_id, "message_id": message_id, "delivered": True}
    return bool(rows.find(connection, webhook_deliveries, "seq", **where))


def of_escalation(connection: Connection, escalation_id: str) -> list[Row]:
    """Return the attempts to tell about an escalation, oldest first."""
    return rows.find(connection, webhook_deliveries, "seq", escalation_id=escalation_id)


def of_run(connection: Connection, run_id: str) -> list[Row]:
    """Return the attempts to tell about the escalations of a run, oldest first."""
    return rows.find(connection, webhook_deliveries, "seq", run_id=run_id)


def remove_old(connection: Connection, before: int, limit: int) -> int:
    """Remove attempts that were made before a time in seconds, so many at most, and return how many there were.

    They are written as they are made, so the oldest are looked at and no others.
    """
    oldest = select(webhook_deliveries.c.seq).order_by(webhook_deliveries.c.seq).limit(limit)
    old = delete(webhook_deliveries).where(
        webhook_deliveries.c.seq.in_(oldest.scalar_subquery()), webhook_deliveries.c.at < before
    )
    return connection.execute(old).rowcount
