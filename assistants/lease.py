"""Work that one process at a time does for all that share a database."""

import time
from uuid import uuid4

from lockstitch.assistants.store import leases
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.leases import Hold

LEASE_SECONDS = 10.0
"""A holder that was not heard of for so long is dead, or no longer wants to hold the lease."""


class Lease:
    """One process's part in a lease, which it holds or waits for; nothing happens but in `look`.

    Two may hold it for a moment, each before it knows of the other, so it suits work that may be done twice.
    """

    def __init__(self, database: Database, name: str, *, seconds: float = LEASE_SECONDS) -> None:
        self._database = database
        self._name = name
        self._seconds = seconds
        self._me = uuid4().hex
        self._seen: Hold | None = None
        self._seen_at = 0.0
        self.is_held = False

    def __repr__(self) -> str:
        return f"Lease({self._name!r}, is_held={self.is_held})"

    async def look(self, *, renews: bool = True) -> None:
        """See who holds the lease; renew it, or take it where nobody does or its holder is dead.

        One that does not renew leaves the lease to whoever takes it, and holds it until then. Raises
        `StoreUnavailable`; whoever held the lease before does so still.
        """
        found = await self._database.read(lambda connection: leases.held(connection, self._name), one_query=True)
        if found != self._seen:
            self._seen, self._seen_at = found, time.monotonic()
        if found is not None and found.holder == self._me:
            self.is_held = await self._take(found) if renews else True
        else:
            self.is_held = self._is_free(found) and await self._take(found)

    async def give_up(self) -> None:
        """Leave the lease to others at once; raises `StoreUnavailable`."""
        if self.is_held:
            self.is_held = False
            await self._database.write(lambda connection: leases.give_up(connection, self._name, self._me))

    def _is_free(self, found: Hold | None) -> bool:
        return found is None or time.monotonic() - self._seen_at >= self._seconds

    async def _take(self, found: Hold | None) -> bool:
        return await self._database.write(lambda connection: leases.take(connection, self._name, self._me, found))
