"""SQLite: transactions are carried out where they are asked for, wherever that is possible.

A read or a short write takes a tenth of a millisecond or little more; handing it to a thread would take longer.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import sqlalchemy
from pydantic_core import from_json
from sqlalchemy import URL, Connection, Engine, event, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from lockstitch.assistants.store.prepared import json_text
from lockstitch.assistants.store.schema import run_events
from lockstitch.assistants.store.sqlite_long_reader import SqliteLongReader
from lockstitch.assistants.store.sqlite_writer import SqliteWriter

T = TypeVar("T")

POLL_SECONDS = 0.01
"""How often the database is asked whether anybody wrote, while anybody watches."""

_DATA_VERSION = text("PRAGMA data_version")


class SqliteDriver:
    """One file: a connection that reads, and one that writes."""

    errors = (SQLAlchemyError, sqlite3.Error)

    def __init__(self, url: URL, patience: timedelta) -> None:
        pragmas = (
            f"PRAGMA busy_timeout = {patience // timedelta(milliseconds=1)}",
            "PRAGMA journal_mode = WAL",
            # A killed process loses nothing; after a power cut the last transactions may be gone, the file stays sound.
            "PRAGMA synchronous = NORMAL",
            "PRAGMA foreign_keys = ON",
            "PRAGMA cache_size = -65536",
        )
        writer_pragmas = (*pragmas, "PRAGMA wal_autocheckpoint = 0", "PRAGMA busy_timeout = 0")
        self._reader = _engine(url, pragmas, begin=None)
        self._reading: Connection | None = None  # kept: opening one costs as much as a query
        self._long_reader = SqliteLongReader(_engine(url, pragmas, begin="BEGIN"))
        self._writer = SqliteWriter(_engine(url, writer_pragmas, begin="BEGIN IMMEDIATE"), patience)

    async def aclose(self) -> None:
        """Finish the writes that are waiting and close; may be called twice."""
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._long_reader.close)
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        self._reader.dispose()

    async def write(self, unit: Callable[[Connection], T], *, long: bool) -> T:
        """Run ``unit`` as one transaction; one that takes ``long`` on a thread."""
        return await self._writer.run(unit, long=long)

    async def read(self, unit: Callable[[Connection], T], *, one_query: bool, long: bool = False) -> T:
        """Run ``unit`` on one snapshot; one that takes ``long`` on a thread."""
        if long:
            return await self._long_reader.run(unit)
        if self._reading is None:
            self._reading = self._reader.connect()
        if one_query:
            return unit(self._reading)
        # Past SQLAlchemy, whose transactions cost more than a query of ours.
        driver: Any = self._reading.connection.driver_connection
        driver.execute("BEGIN")
        try:
            return unit(self._reading)
        finally:
            driver.execute("ROLLBACK")  # nothing was written

    async def rewrite(self) -> bool:
        """Write the file anew and empty its log."""
        return await self._writer.rewrite()

    async def version(self) -> int:
        """Return a number that changes whenever another connection, of any process, has written."""
        return int(await self.read(lambda connection: connection.scalar(_DATA_VERSION), one_query=True) or 0)

    async def appends(self, watched: asyncio.Event) -> AsyncGenerator[Collection[str] | None, None]:
        """Yield the ids of runs that have new events; SQLite cannot call, and answers in microseconds."""
        position, version = await self.read(_newest_position, one_query=True), -1
        yield None  # what was appended before that
        while True:
            if not watched.is_set():
                await watched.wait()
                yield None  # what was appended while nobody watched
            if (now := await self.version()) != version:
                version = now
                position, run_ids = await self.read(
                    lambda connection, after=position: _appended_after(connection, after),  # type: ignore[misc]
                    one_query=True,
                )
                yield run_ids
            await asyncio.sleep(POLL_SECONDS)

    def reason(self, error: Exception) -> str:
        """Return what was wrong, in few words, with what may help."""
        hints = {
            "unable to open database file": "the folder is missing or may not be written",
            "database or disk is full": "the disk is full",
            "attempt to write a readonly database": "the file may not be written",
        }
        said = str(getattr(error, "orig", None) or error)
        return f"{said} ({hints[said]})" if said in hints else said


def _engine(url: URL, pragmas: Sequence[str], *, begin: str | None) -> Engine:
    engine = sqlalchemy.create_engine(
        url,
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "isolation_level": None},
        hide_parameters=True,  # errors are logged, and what is stored is nobody's business
        json_serializer=json_text,
        json_deserializer=from_json,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        for pragma in pragmas:
            connection.execute(pragma)

    def _begin(connection: Connection) -> None:
        # Past SQLAlchemy, for which this would be one more statement with a result.
        connection.connection.driver_connection.execute(begin)  # type: ignore[union-attr]  # it has just connected

    if begin is not None:
        event.listen(engine, "begin", _begin)
    return engine


def _newest_position(connection: Connection) -> int:
    return connection.scalar(select(func.max(run_events.c.position))) or 0


def _appended_after(connection: Connection, position: int) -> tuple[int, set[str]]:
    query = select(run_events.c.run_id, func.max(run_events.c.position)).where(run_events.c.position > position)
    rows = connection.execute(query.group_by(run_events.c.run_id)).all()
    found: dict[str, int] = {row[0]: row[1] for row in rows}
    return max(found.values(), default=position), set(found)
