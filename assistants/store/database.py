"""One database: transactions, and how they reach it.

Queries are synchronous functions of a SQLAlchemy connection, the same for every database. What differs is behind the
door: SQLite in `sqlite`, PostgreSQL in `postgresql`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from datetime import timedelta
from typing import Literal, Protocol, Self, TypeVar

import sqlalchemy
from sqlalchemy import URL, Connection, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from lockstitch.assistants.store import migrations
from lockstitch.assistants.store.sqlite import SqliteDriver
from lockstitch.errors import SettingsInvalid, StoreUnavailable
from lockstitch.url_secrets import without_secrets

T = TypeVar("T")

PATIENCE = timedelta(seconds=15)
"""How long a transaction waits for others to finish their own before it fails."""

CONNECTIONS = 10
"""How many connections to PostgreSQL a process opens at most, beside the one that listens."""

_VARIABLE = "LOCKSTITCH_DATABASE_URL"
_EXAMPLES = "use a file, such as sqlite:////var/lib/lockstitch.db, or postgresql://user:password@host/database"


class Driver(Protocol):
    """What carries transactions to one kind of database."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What it raises where the database cannot be used."""
        ...

    async def write(self, unit: Callable[[Connection], T], *, long: bool) -> T:
        """Run ``unit`` as one transaction."""
        ...

    async def read(self, unit: Callable[[Connection], T], *, one_query: bool, long: bool) -> T:
        """Run ``unit``, which only reads, on one snapshot; ``one_query`` says that it needs none."""
        ...

    def appends(self, watched: asyncio.Event) -> AsyncGenerator[Collection[str] | None, None]:
        """Tell which runs have new events."""
        ...

    async def rewrite(self) -> bool:
        """Leave nothing in the files that was deleted, and tell whether that is so."""
        ...

    def reason(self, error: Exception) -> str:
        """Return what was wrong, in one line."""
        ...

    async def aclose(self) -> None:
        """Finish what was begun and close; may be called twice."""
        ...


class Database:
    """A database, open for as long as the ``async with`` lasts.

    ``url`` is SQLAlchemy's, such as ``sqlite:///lockstitch.db`` or ``postgresql://user:password@host/lockstitch``. On
    entering, the tables are brought to their newest form, or only looked at where ``upgrades`` is false. Raises
    `StoreUnavailable` where the database cannot be opened, read or written, and `SettingsInvalid` for a URL of
    another kind.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: timedelta = PATIENCE,
        connections: int = CONNECTIONS,
        upgrades: bool = True,
    ) -> None:
        parsed = _parsed(url)
        self.url = url
        self._shown = _shown(parsed)
        self._upgrades = upgrades
        self._driver = _driver(parsed, patience, connections)

    def __repr__(self) -> str:
        return f"Database({self._shown!r})"

    @property
    def kind(self) -> Literal["sqlite", "postgresql"]:
        """Which kind of database it is, for what each kind does in its own way."""
        return "sqlite" if _parsed(self.url).get_backend_name() == "sqlite" else "postgresql"

    async def __aenter__(self) -> Self:
        try:
            if self._upgrades:
                await self.write(migrations.upgrade, long=True)
            else:
                await self.read(migrations.check)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish the writes that are waiting and close; may be called twice."""
        await self._driver.aclose()

    async def write(self, unit: Callable[[Connection], T], *, long: bool = False) -> T:
        """Run ``unit`` as one transaction and return what it returns; an exception rolls everything back.

        Others may write at the same time, so ``unit`` locks what it reads in order to change it, and it may be run
        again from its beginning where others were in its way. ``long`` says that it takes more than a few
        milliseconds, so that the event loop must not wait for it.
        """
        try:
            return await self._driver.write(unit, long=long)
        except IntegrityError:
            raise
        except self._driver.errors as error:
            raise self._unavailable(error) from error

    async def read(self, unit: Callable[[Connection], T], *, one_query: bool = False, long: bool = False) -> T:
        """Run ``unit``, which only reads, on one snapshot of the database; ``long`` is as in `write`.

        ``one_query`` says that it is a single query, or several that need not agree: the database answers sooner then.
        """
        try:
            return await self._driver.read(unit, one_query=one_query, long=long)
        except self._driver.errors as error:
            raise self._unavailable(error) from error

    async def rewrite(self) -> bool:
        """Leave nothing in the database's files that was deleted, and tell whether that is so.

        A file of SQLite is written anew, and its log emptied: that takes as long as the file is large, and others
        cannot write meanwhile; it is false where somebody was reading. PostgreSQL's files are its own business
        (``autovacuum`` frees the space, and new rows overwrite it), so there it does nothing, and is false.
        """
        try:
            return await self._driver.rewrite()
        except self._driver.errors as error:
            raise self._unavailable(error) from error

    async def check(self) -> None:
        """Raise `StoreUnavailable` unless the database answers."""
        await self.read(lambda connection: connection.execute(text("SELECT 1")), one_query=True)

    async def appends(self, watched: asyncio.Event) -> AsyncGenerator[Collection[str] | None, None]:
        """Yield the ids of runs that have new events, whichever process appended them; ``None`` where it may be any.

        While ``watched`` is not set, nobody wants to know. Raises `StoreUnavailable` when it was interrupted.
        """
        try:
            async with aclosing(self._driver.appends(watched)) as appends:
                async for run_ids in appends:
                    yield run_ids
        except self._driver.errors as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(self._shown, self._driver.reason(error))


def _driver(url: URL, patience: timedelta, connections: int) -> Driver:
    if url.get_backend_name() == "sqlite":
        return SqliteDriver(url, patience)
    from lockstitch.assistants.store.postgresql import PostgresqlDriver  # its packages take long to load

    return PostgresqlDriver(url, patience, connections)


def _shown(url: URL) -> str:
    """Return the URL as it may be shown: no password, and nothing but what says which database it is."""
    return url.set(query={}).render_as_string(hide_password=True)


def _parsed(url: str) -> URL:
    try:
        parsed = sqlalchemy.make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise SettingsInvalid(_VARIABLE, f"this is no database URL; {_EXAMPLES}.") from error
    if not (_is_sqlite_file(parsed) or _is_postgresql(parsed)):
        shown = without_secrets(parsed.render_as_string(hide_password=True))
        raise SettingsInvalid(_VARIABLE, f"{shown!r} is not supported; {_EXAMPLES}.")
    return parsed


def _is_sqlite_file(url: URL) -> bool:
    is_file = url.drivername in ("sqlite", "sqlite+pysqlite") and url.database not in (None, "", ":memory:")
    return is_file and not url.query


def _is_postgresql(url: URL) -> bool:
    return url.drivername in ("postgresql", "postgresql+psycopg", "postgres")
