"""Which keys there are, as this process knows it."""

import time
from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection

from lockstitch import telemetry
from lockstitch.assistants import refusals
from lockstitch.assistants.http.caller import ANYBODY, Caller
from lockstitch.assistants.store import keys
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import StoreUnavailable

CACHE_SECONDS = 5.0
"""How long what was read of a key holds: a key that was revoked is refused, and the first key asked for, so soon."""

MOST_CACHED = 10_000

USE_NOTED_SECONDS = 60
"""How exactly it is known when a key was used last."""


class _Known(NamedTuple):
    caller: Caller
    until: float


class Keyring:
    """Finds out who makes a request.

    As long as no key was ever created, anybody may do everything, unless ``always_asks``. ``clock`` tells seconds
    that only grow.
    """

    def __init__(
        self, database: Database, *, always_asks: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._clock = clock
        self._asks = always_asks
        self._looked_at = -CACHE_SECONDS
        self._known: dict[str, _Known] = {}
        self._use_noted: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Keyring(asks={self._asks}, known={len(self._known)})"

    async def asks(self) -> bool:
        """Tell whether a request needs a key."""
        now = self._clock()
        if not self._asks and now - self._looked_at >= CACHE_SECONDS:
            self._asks = await self._database.read(keys.any_exist)
            self._looked_at = now
        return self._asks

    async def caller(self, secret: str | None) -> Caller:
        """Return whose key ``secret`` is; raises `ApiError` (401) where a key is asked for and this is none."""
        if not self._asks and self._clock() - self._looked_at < CACHE_SECONDS:
            return ANYBODY
        if not await self.asks():
            return ANYBODY
        if secret is None:
            raise refusals.key_missing()
        hashed, now = keys.hash_of(secret), self._clock()
        known = self._known.get(hashed)
        if known is not None and known.until > now:
            return known.caller
        self._known.pop(hashed, None)
        row = await self._database.read(lambda connection: keys.find(connection, hashed))
        if row is None:
            raise refusals.wrong_key(secret)
        return self._remember(hashed, row, now)

    def _remember(self, hashed: str, row: Row, now: float) -> Caller:
        caller = Caller(row["project_id"], row["id"], row["rate_limit"], bool(row["operator"]))
        if len(self._known) >= MOST_CACHED:
            self._known.pop(next(iter(self._known)))
        self._known[hashed] = _Known(caller, now + CACHE_SECONDS)
        self._use_noted.setdefault(caller.key_id or "", row["last_used_at"] or 0)
        return caller

    async def note_use(self, caller: Caller) -> None:
        """Write down that the key is used, once a minute; that it could not be written is no error to anybody."""
        key_id, now = caller.key_id, int(time.time())
        if key_id is None or now - self._use_noted.get(key_id, 0) < USE_NOTED_SECONDS:
            return
        self._use_noted[key_id] = now

        def note(connection: Connection) -> None:
            keys.used(connection, key_id, now)

        try:
            await self._database.write(note)
        except StoreUnavailable as error:
            telemetry.log.warning("key_use_not_noted", key_id=key_id, error=str(error))
