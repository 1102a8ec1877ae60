"""Which runs have new events, on PostgreSQL: a connection of its own listens."""

import asyncio
import time
from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any

import psycopg

from lockstitch.assistants.store.announcements import CHANNEL

CHECK_SECONDS = 10.0
"""How often watchers look for themselves, in case a call was lost, and the connection has to prove that it lives."""


async def appends_by_listening(
    arguments: Mapping[str, Any], watched: asyncio.Event
) -> AsyncGenerator[Collection[str] | None, None]:
    """Yield the ids of runs that have new events, ``None`` where it may be any; ``arguments`` say how to connect."""
    async with await psycopg.AsyncConnection.connect(**arguments, autocommit=True) as connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        yield None  # what was appended before that
        checked = time.monotonic()
        while True:
            left = CHECK_SECONDS - (time.monotonic() - checked)
            called = {call.payload async for call in connection.notifies(timeout=max(left, 0), stop_after=1)}
            if called:
                yield called
            if time.monotonic() - checked >= CHECK_SECONDS:
                await connection.execute("SELECT 1")
                checked = time.monotonic()
                if watched.is_set():
                    yield None
