"""Records what happens in a run in small batches, each of which is one transaction."""

import asyncio
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from lockstitch.activities.backends.base import Progress
from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.database import Database

BATCH_SECONDS = 0.03
"""How long progress may wait to be recorded: watchers see it later, and the database is written to less often."""


class EventRecorder:
    """Writes one attempt's progress into the store and the run's event log.

    On entering, it takes the log over from earlier attempts; `record` then raises `WriterFenced` as soon as a
    later attempt has taken it over from this one. On leaving without an exception, everything is written.
    """

    def __init__(self, database: Database, run_id: str, attempt: int) -> None:
        self._database = database
        self._run_id = run_id
        self._attempt = attempt
        self._fence = 0
        self._batch: list[Progress] = []
        self._flusher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._fence = await self._database.write(lambda connection: event_log.claim(connection, self._run_id))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._flusher is not None:
            if error is None:
                await self._flusher
            else:
                self._flusher.cancel()
                await asyncio.gather(self._flusher, return_exceptions=True)
        if error is None:
            await self._flush()

    async def record(self, progress: Progress) -> None:
        """Record ``progress`` with the next batch."""
        if self._flusher is not None and self._flusher.done():
            self._flusher.result()  # what went wrong with the last batch ends this attempt
            self._flusher = None
        self._batch.append(progress)
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        await asyncio.sleep(BATCH_SECONDS)
        await self._flush()

    async def _flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            await self._database.write(lambda connection: self._write(connection, batch))

    def _write(self, connection: Connection, batch: list[Progress]) -> None:
        events = [event for progress in batch for event in progress(connection)]
        event_log.append(connection, self._run_id, events, fence=self._fence, attempt=self._attempt)
