"""One database: transactions, and how they reach it.

Queries are synchronous functions of a SQLAlchemy connection. For SQLite that is also the fastest way: a read or a
short write takes a tenth of a millisecond or little more, and is carried out where it is asked for.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self, TypeVar

import sqlalchemy
from pydantic_core import from_json
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from lockstitch.assistants.store import migrations
from lockstitch.assistants.store.prepared import json_text
from lockstitch.assistants.store.sqlite_long_reader import SqliteLongReader
from lockstitch.assistants.store.sqlite_writer import SqliteWriter
from lockstitch.errors import SettingsInvalid, StoreUnavailable

T = TypeVar("T")

PATIENCE = timedelta(seconds=15)
"""How long a write waits for another process to finish its own before it fails."""

_READER_PRAGMAS = (
    f"PRAGMA busy_timeout = {PATIENCE // timedelta(milliseconds=1)}",
    "PRAGMA journal_mode = WAL",
    # A killed process loses nothing; after a power cut the last transactions may be gone, the file stays sound.
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -65536",
)
_WRITER_PRAGMAS = (*_READER_PRAGMAS, "PRAGMA wal_autocheckpoint = 0", "PRAGMA busy_timeout = 0")
_DATA_VERSION = text("PRAGMA data_version")


class Database:
    """A SQLite database, open for as long as the ``async with`` lasts.

    ``url`` is SQLAlchemy's, such as ``sqlite:///lockstitch.db``. Raises `StoreUnavailable` where the database
    cannot be opened, read or written, and `SettingsInvalid` for a URL of another kind.
    """

    def __init__(self, url: str, *, patience: timedelta = PATIENCE) -> None:
        _check_url(url)
        self.url = url
        self._reader = _engine(url, _READER_PRAGMAS, begin="BEGIN")
        self._reading: Connection | None = None  # kept: opening one costs as much as a query
        self._long_reader = SqliteLongReader(_engine(url, _READER_PRAGMAS, begin="BEGIN"))
        self._writer = SqliteWriter(_engine(url, _WRITER_PRAGMAS, begin="BEGIN IMMEDIATE"), patience)

    def __repr__(self) -> str:
        return f"Database({self.url!r})"

    async def __aenter__(self) -> Self:
        try:
            await self.write(migrations.upgrade, long=True)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish the writes that are waiting and close; may be called twice."""
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._long_reader.close)
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        self._reader.dispose()

    async def write(self, unit: Callable[[Connection], T], *, long: bool = False) -> T:
        """Run ``unit`` as one transaction and return what it returns; an exception rolls everything back.

        ``long`` says that it takes more than a few milliseconds, so that the event loop must not wait for it.
        """
        with self._translated_errors():
            return await self._writer.run(unit, long=long)

    async def read(self, unit: Callable[[Connection], T], *, long: bool = False) -> T:
        """Run ``unit``, which only reads, on one snapshot of the database; ``long`` is as in `write`."""
        with self._translated_errors():
            if long:
                return await self._long_reader.run(unit)
            if self._reading is None:
                self._reading = self._reader.connect()
            with self._reading.begin():
                return unit(self._reading)

    async def version(self) -> int:
        """Return a number that changes whenever another connection, of any process, has written."""
        return int(await self.read(lambda connection: connection.scalar(_DATA_VERSION)) or 0)

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError:
            raise
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StoreUnavailable(self.url, _reason(error)) from error


def _engine(url: str, pragmas: Sequence[str], *, begin: str) -> Engine:
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

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Past SQLAlchemy, for which this would be one more statement with a result.
        connection.connection.driver_connection.execute(begin)  # type: ignore[union-attr]  # it has just connected

    return engine


def _check_url(url: str) -> None:
    variable, example = "LOCKSTITCH_DATABASE_URL", "use a file, such as sqlite:////var/lib/lockstitch.db"
    try:
        parsed = sqlalchemy.make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise SettingsInvalid(variable, f"this is no database URL; {example}.") from error
    is_file = parsed.drivername in ("sqlite", "sqlite+pysqlite") and parsed.database not in (None, "", ":memory:")
    if not is_file or parsed.query:
        shown = parsed.render_as_string(hide_password=True)
        raise SettingsInvalid(variable, f"{shown!r} is not supported; {example}.")


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    hints = {
        "unable to open database file": "the folder is missing or may not be written",
        "database or disk is full": "the disk is full",
        "attempt to write a readonly database": "the file may not be written",
    }
    said = str(cause)
    return f"{said} ({hints[said]})" if said in hints else said
