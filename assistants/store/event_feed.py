"""Tells watchers that a run has new events, whichever process appended them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing, suppress
from typing import Self

from lockstitch import telemetry
from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.event_log import LoggedEvent
from lockstitch.errors import StoreUnavailable

PAUSE_SECONDS = 0.5
"""How long the feed waits before it asks a database that could not be read again."""

READ_AT_ONCE = 500
"""Events that a watcher reads and holds at a time."""


class EventFeed:
    """Follows the event logs of a database for as long as the ``async with`` lasts.

    One task serves all watchers: it hears from the database which logs have grown, and wakes those who watch them.
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
            lambda connection: event_log.after(connection, run_id, after, limit=READ_AT_ONCE), one_query=True
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
                async with aclosing(self._database.appends(self._watched)) as appends:
                    async for run_ids in appends:
                        self._wake(self._wakers.keys() if run_ids is None else self._wakers.keys() & run_ids)
            except StoreUnavailable as error:
                telemetry.log.warning("event_feed_interrupted", error=str(error))
                self._wake(self._wakers)  # each watcher learns for itself whether its run can be read
                await asyncio.sleep(PAUSE_SECONDS)

    def _wake(self, run_ids: Collection[str]) -> None:
        for run_id in run_ids:
            for waker in self._wakers[run_id]:
                waker.set()
