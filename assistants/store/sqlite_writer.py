"""Writes to SQLite, which lets one writer in at a time, of all processes."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import Connection, Engine

T = TypeVar("T")

WRITES_PER_CHECKPOINT = 1000


class SqliteWriter:
    """One connection that writes.

    A transaction of ours takes less time than handing it to a thread does, so it is carried out where it is asked
    for, unless somebody is in the way: then a thread waits for its turn, and the event loop goes on meanwhile.
    """

    def __init__(self, engine: Engine, patience: timedelta) -> None:
        self._engine = engine
        self._patience_ms = round(patience.total_seconds() * 1000)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
        self._connection: Connection | None = None  # kept: opening one costs as much as a statement
        self._waiting = 0
        self._written = 0

    def close(self) -> None:
        """Finish the transactions that wait, and close; may be called twice."""
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()

    async def run(self, unit: Callable[[Connection], T], *, long: bool = False) -> T:
        """Carry out ``unit`` as one transaction; one that takes ``long`` never on the event loop."""
        if not long and not self._waiting:  # who waits already goes first
            try:
                result = self._now(unit)
            except _SomebodyWrites:
                pass
            else:
                self._count()
                return result
        # A caller that is cancelled must not learn less than the database did: the write goes on regardless.
        return await asyncio.shield(asyncio.ensure_future(self._on_thread(lambda: self._patiently(unit))))

    async def rewrite(self) -> bool:
        """Write the file anew without what was deleted, empty its log, and tell whether nobody's reading kept it."""
        return await asyncio.shield(asyncio.ensure_future(self._on_thread(self._rewrite)))

    def _rewrite(self) -> bool:
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {self._patience_ms}")
            try:
                cursor.execute("VACUUM")
                # What was overwritten is still in the log, until it is cut to nothing.
                [was_busy, _, _] = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                cursor.execute("PRAGMA busy_timeout = 0")
                cursor.close()
        finally:
            connection.close()
        return not was_busy

    def _now(self, unit: Callable[[Connection], T]) -> T:
        began = False

        def begun(connection: Connection) -> T:
            nonlocal began
            began = True
            return unit(connection)

        try:
            return self._transact(begun)
        except sqlite3.OperationalError as error:
            if not began and error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise _SomebodyWrites from error
            raise

    def _patiently(self, unit: Callable[[Connection], T]) -> T:
        self._execute(f"PRAGMA busy_timeout = {self._patience_ms}")
        try:
            return self._transact(unit)
        finally:
            self._execute("PRAGMA busy_timeout = 0")

    def _transact(self, unit: Callable[[Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            return unit(self._connection)

    async def _on_thread(self, write: Callable[[], T]) -> T:
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, write)
        finally:
            self._waiting -= 1

    def _count(self) -> None:
        """Move the log into the database now and then: that waits for the disk, and no caller should have to."""
        self._written += 1
        if self._written % WRITES_PER_CHECKPOINT == 0:
            checkpoint = self._on_thread(lambda: self._execute("PRAGMA wal_checkpoint(PASSIVE)"))
            self._checkpoint = asyncio.ensure_future(checkpoint)

    def _execute(self, pragma: str) -> None:
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(pragma)
            cursor.close()
        finally:
            connection.close()


class _SomebodyWrites(Exception):
    """Another connection holds the lock, and nothing of the transaction was carried out."""
