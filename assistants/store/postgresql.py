"""PostgreSQL: a pool of connections, each of which a thread uses for one transaction at a time.

A driver that blocks, on threads, was the cheapest of what was measured for synchronous queries: reading one row takes
half of what it takes over an asynchronous driver through SQLAlchemy.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

import psycopg
import sqlalchemy
from pydantic_core import from_json
from sqlalchemy import URL, Connection
from sqlalchemy.exc import SQLAlchemyError

from lockstitch.assistants.store.postgresql_appends import appends_by_listening
from lockstitch.assistants.store.postgresql_text import register_text
from lockstitch.assistants.store.prepared import json_text

T = TypeVar("T")

CONNECT_SECONDS = 10
STATEMENT_TIMEOUT = timedelta(seconds=60)
"""After this time the server gives up a statement, and a transaction in which nothing happens any more."""

VANISHED_MS = 30_000
"""After this time without an answer a connection counts as lost."""

ATTEMPTS = 5
LONGEST_PAUSE = timedelta(milliseconds=50)
"""How long a transaction waits before it is repeated: a random part of this."""

_OTHERS_WERE_IN_THE_WAY = frozenset({
    "40001",  # serialization failure
    "40P01",  # deadlock
    "23503",  # the row that is referred to was deleted meanwhile
    "23505",  # the same key was inserted meanwhile
})  # fmt: skip
"""Errors after which a transaction is repeated: it then finds what others have committed."""


class PostgresqlDriver:
    """A pool of at most ``connections`` connections, and as many threads."""

    errors = (SQLAlchemyError, psycopg.Error)

    def __init__(self, url: URL, patience: timedelta, connections: int) -> None:
        self._url = url.set(drivername="postgresql+psycopg")
        self._settings = _settings(url, patience)
        self._engine = sqlalchemy.create_engine(
            self._url,
            pool_size=connections,
            max_overflow=0,
            use_native_hstore=False,
            hide_parameters=True,  # errors are logged, and what is stored is nobody's business
            json_serializer=json_text,
            json_deserializer=from_json,
            connect_args=self._settings,
        )
        sqlalchemy.event.listen(self._engine, "connect", lambda connection, _record: register_text(connection))
        self._one_query = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._snapshot = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="store")

    async def aclose(self) -> None:
        """Finish the transactions that have begun and close; may be called twice."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    async def write(self, unit: Callable[[Connection], T], *, long: bool) -> T:
        """Run ``unit`` as one transaction, again where others were in its way."""
        # A caller that is cancelled must not learn less than the database did: the write goes on regardless.
        return await asyncio.shield(self._on_thread(lambda: self._transact(self._engine, unit)))

    async def read(self, unit: Callable[[Connection], T], *, one_query: bool, long: bool) -> T:
        """Run ``unit`` on one snapshot, or each of its queries for itself."""
        engine = self._one_query if one_query else self._snapshot
        return await self._on_thread(lambda: self._transact(engine, unit))

    def appends(self, watched: asyncio.Event) -> AsyncGenerator[Collection[str] | None, None]:
        """Tell which runs have new events: the server calls."""
        _, arguments = self._engine.dialect.create_connect_args(self._url)
        return appends_by_listening({**arguments, **self._settings}, watched)

    async def rewrite(self) -> bool:
        """Do nothing: the server writes over what was deleted when it sees fit."""
        return False

    def reason(self, error: Exception) -> str:
        """Return what was wrong, in one line."""
        said = str(getattr(error, "orig", None) or error)
        # What stands further in are hints that fit a terminal.
        return " ".join(line for line in said.splitlines() if not line.startswith(("\t", "LINE ", " ")))

    def _on_thread(self, transaction: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._threads, transaction)

    def _transact(self, engine: sqlalchemy.Engine, unit: Callable[[Connection], T]) -> T:
        for left in reversed(range(ATTEMPTS)):
            attempt = _Attempt(engine)
            try:
                return attempt.run(unit)
            except self.errors as error:
                if left == 0 or not attempt.may_be_repeated(error):
                    raise
            time.sleep(random.uniform(0, LONGEST_PAUSE.total_seconds()))  # noqa: S311 - no secret
        raise AssertionError  # the last attempt returns or raises


class _Attempt:
    """One attempt at a transaction."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self._engine = engine
        self._commits = False
        self._lost = False

    def run(self, unit: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            try:
                with connection.begin():
                    result = unit(connection)
                    self._commits = True
            except BaseException:
                self._let_go_if_broken(connection)
                raise
            return result

    def may_be_repeated(self, error: Exception) -> bool:
        """Tell whether it is known that nothing was committed, and another attempt may succeed."""
        cause = getattr(error, "orig", None) or error
        if getattr(cause, "sqlstate", None) in _OTHERS_WERE_IN_THE_WAY:
            return True
        return self._lost and not self._commits

    def _let_go_if_broken(self, connection: Connection) -> None:
        if connection.invalidated or connection.connection.driver_connection.closed:  # type: ignore[union-attr]
            self._lost = True
            connection.invalidate()
            self._engine.dispose()  # the server went away, and the other connections with it


def _settings(url: URL, patience: timedelta) -> dict[str, Any]:
    """Return how to connect: limits for everything that could hang, unless the URL has its own."""
    limits = {
        "lock_timeout": patience,
        "statement_timeout": STATEMENT_TIMEOUT,
        "idle_in_transaction_session_timeout": STATEMENT_TIMEOUT,
    }
    options = [f"-c {name}={limit // timedelta(milliseconds=1)}" for name, limit in limits.items()]
    own = {"application_name": "lockstitch", "connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": VANISHED_MS}
    settings: dict[str, Any] = {name: value for name, value in own.items() if name not in url.query}
    return {**settings, "options": " ".join([*options, *url.normalized_query.get("options", ())])}
