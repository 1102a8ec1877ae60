"""One database: transactions, and how they reach it.

Queries are synchronous functions of a SQLAlchemy connection. For SQLite that is also the fastest way: reads
take a tenth of a millisecond and run where they are asked for; writes take turns on one thread, because SQLite
lets one writer in at a time.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

import sqlalchemy
from pydantic_core import from_json, to_json
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from lockstitch.assistants.store import migrations
from lockstitch.errors import SettingsInvalid, StoreUnavailable

T = TypeVar("T")

_PRAGMAS = (
    "PRAGMA busy_timeout = 15000",
    "PRAGMA journal_mode = WAL",
    # A killed process loses nothing; after a power cut the last transactions may be gone, the file stays sound.
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA cache_size = -65536",
)


class Database:
    """A SQLite database, open for as long as the ``async with`` lasts.

    ``url`` is SQLAlchemy's, such as ``sqlite:///lockstitch.db``. Raises `StoreUnavailable` where the database
    cannot be opened, read or written, and `SettingsInvalid` for a URL of another kind.
    """

    def __init__(self, url: str) -> None:
        _check_url(url)
        self.url = url
        self._reader = _engine(url, begin="BEGIN")
        self._writer = _engine(url, begin="BEGIN IMMEDIATE")
        self._writer_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")

    def __repr__(self) -> str:
        return f"Database({self.url!r})"

    async def __aenter__(self) -> Self:
        try:
            await self.write(migrations.upgrade)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish the writes that are waiting and close; may be called twice."""
        await asyncio.to_thread(self._writer_thread.shutdown)
        self._writer.dispose()
        self._reader.dispose()

    async def write(self, unit: Callable[[Connection], T]) -> T:
        """Run ``unit`` as one transaction and return what it returns; an exception rolls everything back."""
        write = asyncio.get_running_loop().run_in_executor(self._writer_thread, self._transact, self._writer, unit)
        # A caller that is cancelled must not learn less than the database did: the write goes on regardless.
        return await asyncio.shield(write)

    async def read(self, unit: Callable[[Connection], T]) -> T:
        """Run ``unit``, which only reads, on one snapshot of the database."""
        return self._transact(self._reader, unit)

    async def version(self) -> int:
        """Return a number that changes whenever another connection, of any process, has written."""
        return int(self._transact(self._reader, lambda connection: connection.scalar(text("PRAGMA data_version"))) or 0)

    def _transact(self, engine: Engine, unit: Callable[[Connection], T]) -> T:
        try:
            with engine.begin() as connection:
                return unit(connection)
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise StoreUnavailable(self.url, _reason(error)) from error


def _engine(url: str, *, begin: str) -> Engine:
    engine = sqlalchemy.create_engine(
        url,
        poolclass=StaticPool,  # one connection each: the reader's on the event loop, the writer's on its thread
        connect_args={"check_same_thread": False, "isolation_level": None},
        json_serializer=lambda value: to_json(value).decode(),
        json_deserializer=from_json,
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

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


def _reason(error: SQLAlchemyError) -> str:
    cause = getattr(error, "orig", None) or error
    hints = {
        "unable to open database file": "the folder is missing or may not be written",
        "database or disk is full": "the disk is full",
        "attempt to write a readonly database": "the file may not be written",
    }
    said = str(cause)
    return f"{said} ({hints[said]})" if said in hints else said
