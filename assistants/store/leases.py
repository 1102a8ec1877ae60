"""Who does what one process at a time does for all that share the database.

A holder counts its renewals up for as long as it lives; whoever sees a count stand still may take its place. That needs
no clock that two machines agree on.
"""

from typing import NamedTuple

from sqlalchemy import Connection

from lockstitch.assistants.store import rows
from lockstitch.assistants.store.schema import leases


class Hold(NamedTuple):
    """Who holds a lease, and how often it has said so."""

    holder: str
    renewals: int


def held(connection: Connection, name: str) -> Hold | None:
    """Return who holds the lease, ``None`` where nobody does."""
    row = rows.get(connection, leases, name=name)
    return None if row is None else Hold(row["holder"], row["renewals"])


def take(connection: Connection, name: str, holder: str, seen: Hold | None) -> bool:
    """Take or renew the lease as ``holder`` where it still is as it was ``seen``, and tell whether it was."""
    values = {"holder": holder, "renewals": 1 if seen is None else seen.renewals + 1}
    if seen is not None:
        was = {"name": name, "holder": seen.holder, "renewals": seen.renewals}
        return rows.overwrite(connection, leases, was, values)
    if rows.get(connection, leases, name=name) is not None:
        return False
    rows.put(connection, leases, {"name": name, **values})
    return True


def give_up(connection: Connection, name: str, holder: str) -> bool:
    """Leave the lease to others, and tell whether ``holder`` held it."""
    return rows.remove(connection, leases, name=name, holder=holder)
