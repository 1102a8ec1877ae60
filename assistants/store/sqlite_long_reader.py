"""Reads from SQLite that take long, such as searches: on a thread, so that the event loop goes on meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine

T = TypeVar("T")


class SqliteLongReader:
    """One connection that reads, and the thread that waits for it; both are made when they are needed first."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-reader")

    async def run(self, unit: Callable[[Connection], T]) -> T:
        """Carry out ``unit`` on one snapshot, when those that came before are through."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, unit)

    def close(self) -> None:
        """Finish the reads that wait, and close; may be called twice."""
        self._thread.shutdown()
        self._engine.dispose()

    def _read(self, unit: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection, connection.begin():
            return unit(connection)
