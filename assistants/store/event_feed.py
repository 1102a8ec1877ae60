"""Tells watchers that a run has new events, whichever process appended them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Self

from sqlalchemy import Connection, func, select

from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import LoggedEvent
from lockstitch.assistants.store.schema import run_events

POLL_SECONDS = 0.01
"""How often the database is asked whether anybody wrote; SQLite answers in microseconds and cannot call."""


class EventFeed:
    """Follows the event logs of a database for as long as the ``async with`` lasts.

    One task serves all watchers: while there are any, it looks for new entries and wakes only those whose run
    has some.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._wakers: dict[str, set[asyncio.Event]] = {}
        self._watched = asyncio.Event()
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
        waker = asyncio.Event()
        self._wakers.setdefault(run_id, set()).add(waker)
        self._watched.set()
        try:
            while True:
                waker.clear()
                for logged in await self._read(run_id, after):
                    after = logged.seq
                    waker.set()  # there may be more than one reading takes
                    yield logged
                try:
                    await asyncio.wait_for(waker.wait(), idle_timeout)
                except TimeoutError:
                    yield None
        finally:
            self._forget(run_id, waker)

    async def _read(self, run_id: str, after: int) -> list[LoggedEvent]:
        return await self._database.read(lambda connection: event_log.after(connection, run_id, after))

    def _forget(self, run_id: str, waker: asyncio.Event) -> None:
        wakers = self._wakers[run_id]
        wakers.discard(waker)
        if not wakers:
            del self._wakers[run_id]
        if not self._wakers:
            self._watched.clear()

    async def _follow(self) -> None:
        position, version = await self._database.read(_newest_position), -1
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
    found: dict[str, int] = dict(connection.execute(query.group_by(run_events.c.run_id)).tuples().all())
    return max(found.values(), default=position), set(found)
