"""Tells watchers that a run has new events, whichever process appended them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Self

from sqlalchemy import Connection, func, select

from lockstitch import telemetry
from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import LoggedEvent
from lockstitch.assistants.store.schema import run_events
from lockstitch.errors import StoreUnavailable

POLL_SECONDS = 0.01
"""How often the database is asked whether anybody wrote; SQLite answers in microseconds and cannot call."""

PAUSE_SECONDS = 0.5
"""How long the feed waits before it asks a database that could not be read again."""

READ_AT_ONCE = 500
"""Events that a watcher reads and holds at a time."""


class EventFeed:
    """Follows the event logs of a database for as long as the ``async with`` lasts.

    One task serves all watchers: while there are any, it looks for new entries and wakes only those whose run
    has some.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wakers: dict[str, set[asyncio.Event]] = {}
        self._watched = asyncio.Event()
        self._dismissed = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow(), name="event-feed")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def __repr__(self) -> str:
        return f"EventFeed(watched_runs={len(self._wakers)})"

    async def watch(
        self, run_id: str, after: int = 0, *, idle_timeout: float | None = None
    ) -> AsyncIterator[LoggedEvent | None]:
        """Yield the run's events that follow number ``after``, for ever; the caller knows when to stop.

        With an ``idle_timeout`` (seconds), ``None`` is yielded whenever nothing came for so long.
        """
        async with aclosing(self.batches(run_id, after, idle_timeout=idle_timeout)) as batches:
            async for batch in batches:
                for logged in batch:
                    yield logged
                if not batch:
                    yield None

    async def batches(
        self, run_id: str, after: int = 0, *, idle_timeout: float | None = None
    ) -> AsyncGenerator[list[LoggedEvent], None]:
        """Yield what `watch` yields, all that is there at a time; an empty list whenever nothing came for so long.

        Ends when `dismiss` is called; raises `StoreUnavailable`.
        """
        waker = asyncio.Event()
        self._wakers.setdefault(run_id, set()).add(waker)
        self._watched.set()
        try:
            while not self._dismissed:
                waker.clear()
                if batch := await self._read(run_id, after):
                    after = batch[-1].seq
                    yield batch
                if len(batch) == READ_AT_ONCE:
                    continue
                try:
                    await asyncio.wait_for(waker.wait(), idle_timeout)
                except TimeoutError:
                    yield []
        finally:
            self._forget(run_id, waker)

    def dismiss(self) -> None:
        """End every watch, and at once each that is still to come: the process is about to stop."""
        self._dismissed = True
        self._wake(self._wakers)

    async def _read(self, run_id: str, after: int) -> list[LoggedEvent]:
        return await self._database.read(
            lambda connection: event_log.after(connection, run_id, after, limit=READ_AT_ONCE)
        )

    def _forget(self, run_id: str, waker: asyncio.Event) -> None:
        wakers = self._wakers[run_id]
        wakers.discard(waker)
        if not wakers:
            del self._wakers[run_id]
        if not self._wakers:
            self._watched.clear()

    async def _follow(self) -> None:
        while True:
            try:
                await self._look_out()
            except StoreUnavailable as error:
                telemetry.log.warning("event_feed_interrupted", error=str(error))
                self._wake(self._wakers)  # each watcher learns for itself whether its run can be read
                await asyncio.sleep(PAUSE_SECONDS)

    async def _look_out(self) -> None:
        position, version = await self._database.read(_newest_position), -1
        self._wake(self._wakers)  # what was appended before that, while the database was out of reach
        while True:
            if not self._watched.is_set():
                await self._watched.wait()
                self._wake(self._wakers)  # what was appended while nobody watched
            if (now := await self._database.version()) != version:
                version = now
                position = await self._wake_those_after(position)
            await asyncio.sleep(POLL_SECONDS)

    async def _wake_those_after(self, position: int) -> int:
        newest, run_ids = await self._database.read(lambda connection: _appended_after(connection, position))
        self._wake(run_ids & self._wakers.keys())
        return newest

    def _wake(self, run_ids: "set[str] | dict[str, set[asyncio.Event]]") -> None:
        for run_id in run_ids:
            for waker in self._wakers[run_id]:
                waker.set()


def _newest_position(connection: Connection) -> int:
    return connection.scalar(select(func.max(run_events.c.position))) or 0


def _appended_after(connection: Connection, position: int) -> tuple[int, set[str]]:
    query = select(run_events.c.run_id, func.max(run_events.c.position)).where(run_events.c.position > position)
    rows = connection.execute(query.group_by(run_events.c.run_id)).all()
    found: dict[str, int] = {row[0]: row[1] for row in rows}
    return max(found.values(), default=position), set(found)
