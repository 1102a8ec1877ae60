"""Records what happens in a run in small batches, each of which is one transaction."""

import asyncio
import time
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from lockstitch import telemetry
from lockstitch.activities.backends.base import Progress
from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.database import Database

BATCH_SECONDS = 0.05
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
        self._batch: list[tuple[float, Progress]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flush: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._fence = await self._database.write(lambda connection: event_log.claim(connection, self._run_id))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if error is not None:
            await asyncio.gather(*filter(None, [self._flush]), return_exceptions=True)
            return
        if self._flush is not None:
            await self._flush
        await self._write_batch()

    async def record(self, progress: Progress) -> None:
        """Record ``progress`` with the next batch."""
        if self._flush is not None and self._flush.done():
            self._flush.result()  # what went wrong with the last batch ends this attempt
            self._flush = None
        self._batch.append((time.monotonic(), progress))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._begin_flush)

    def _begin_flush(self) -> None:
        self._timer = None
        if self._flush is not None and not self._flush.done():
            # The database is slower than the upstream: the next batch waits for its turn.
            self._timer = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._begin_flush)
        elif self._flush is None or self._flush.exception() is None:
            self._flush = asyncio.create_task(self._write_batch())

    async def _write_batch(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        began = time.monotonic()
        written = await self._database.write(lambda connection: self._write(connection, [it for _, it in batch]))
        telemetry.events_written(written, time.monotonic() - began, [given for given, _ in batch])

    def _write(self, connection: Connection, batch: list[Progress]) -> int:
        event_log.lock(connection, self._run_id, fence=self._fence)
        events = [event for progress in batch for event in progress(connection)]
        event_log.append(connection, self._run_id, events, fence=self._fence, attempt=self._attempt)
        return len(events)
