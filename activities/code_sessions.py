"""The sessions of the code interpreter that this worker holds: one for each thread, with the thread's files."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from lockstitch import telemetry
from lockstitch.assistants.store import code_files, code_sessions, files
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import StoreUnavailable
from lockstitch.sandbox.port import Limits, Sandbox, Session

IDLE_SECONDS = 20 * 60.0
"""A session that nobody used for so long is closed; its thread gets a new one."""

MOST_SESSIONS = 20
"""A worker closes the session that was used least lately before it opens one more than so many."""

_SWEEP_SECONDS = 30.0


@dataclass(slots=True)
class OpenSession:
    """A session, and what it has got; ``is_new_after_loss`` says that code had state in another one, which is gone."""

    session: Session
    is_new_after_loss: bool = False
    put: dict[str, str] = field(default_factory=dict)
    """Files by path, with their ids."""
    used_at: float = field(default_factory=time.monotonic)
    in_use: bool = False


class CodeSessions:
    """Opens sessions and keeps them for as long as they are used.

    ``task_queue`` is this worker's own: calls of threads whose sessions are here come to it.
    """

    def __init__(
        self,
        database: Database,
        sandbox: Sandbox,
        limits: Limits,
        task_queue: str,
        *,
        idle_seconds: float = IDLE_SECONDS,
        most: int = MOST_SESSIONS,
    ) -> None:
        self.task_queue = task_queue
        self._database = database
        self._sandbox = sandbox
        self._limits = limits
        self._idle_seconds = idle_seconds
        self._most = most
        self._open: dict[str, OpenSession] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._sweeping: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"CodeSessions({len(self._open)} open, {self._sandbox.name})"

    async def __aenter__(self) -> Self:
        self._sweeping = asyncio.create_task(self._sweep(), name="code-sessions")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await self._sweeping
        await asyncio.gather(*(self._close(thread_id) for thread_id in list(self._open)))
        with suppress(StoreUnavailable):  # then the next call learns it when nobody takes it
            await self._database.write(lambda connection: code_sessions.close_all(connection, self.task_queue))

    @asynccontextmanager
    async def use(self, run: Row) -> AsyncIterator[OpenSession]:
        """Have the session of the run's thread, with all files of the thread in it, for one call at a time.

        Raises `SandboxUnavailable` where none can be opened, and `SessionLost`, after which the next call gets a new
        one.
        """
        thread_id = run["thread_id"]
        async with self._turns.setdefault(thread_id, asyncio.Lock()):
            held = await self._held(thread_id) or await self._opened(thread_id)
            held.in_use = True
            try:
                await self._put_files(held, run)
                yield held
                held.is_new_after_loss = False
            except BaseException as error:
                # Also where the call was given up: code that nobody waits for must not go on.
                await self._close(thread_id)
                telemetry.log.warning("code_session_lost", thread_id=thread_id, error=repr(error))
                raise
            finally:
                held.in_use, held.used_at = False, time.monotonic()

    async def _held(self, thread_id: str) -> OpenSession | None:
        """Return the session that is here, unless another worker has opened one since."""
        if thread_id not in self._open:
            return None
        queue = await self._database.read(lambda connection: code_sessions.queue_of(connection, thread_id))
        if queue != self.task_queue:
            await self._close(thread_id)
        return self._open.get(thread_id)

    async def _opened(self, thread_id: str) -> OpenSession:
        await self._make_room()
        session = await self._sandbox.open(self._limits)
        held = self._open[thread_id] = OpenSession(session)
        try:
            held.is_new_after_loss = await self._database.write(
                lambda connection: code_sessions.open_session(connection, thread_id, self.task_queue)
            )
        except BaseException:
            await self._close(thread_id)
            raise
        telemetry.log.info("code_session_opened", thread_id=thread_id, after_loss=held.is_new_after_loss)
        return held

    async def _make_room(self) -> None:
        idle = sorted((held.used_at, thread_id) for thread_id, held in self._open.items() if not held.in_use)
        for _, thread_id in idle[: max(len(self._open) - self._most + 1, 0)]:
            await self._close(thread_id)

    async def _close(self, thread_id: str) -> None:
        held = self._open.pop(thread_id, None)
        if held is not None:
            await held.session.aclose()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self._idle_seconds))
            now = time.monotonic()
            for thread_id, held in list(self._open.items()):
                if not held.in_use and now - held.used_at >= self._idle_seconds:
                    await self._close(thread_id)
            for thread_id in [each for each, turn in self._turns.items() if each not in self._open]:
                if not self._turns[thread_id].locked():
                    del self._turns[thread_id]

    async def _put_files(self, held: OpenSession, run: Row) -> None:
        """Give the session what it does not have yet of the files that clients gave and code has made."""

        def read(connection: Connection) -> dict[str, str]:
            given = {path: file["id"] for path, file in code_files.given(connection, run).items()}
            return {**given, **code_files.of_thread(connection, run["thread_id"])}

        for path, file_id in (await self._database.read(read)).items():
            if held.put.get(path) != file_id and await self._exists(file_id, run):
                await held.session.put(PurePosixPath(path), self._chunks(file_id))
                held.put[path] = file_id
        await held.session.changed_files()  # what was put is no change

    async def _exists(self, file_id: str, run: Row) -> bool:
        found = await self._database.read(
            lambda connection: files.find(connection, file_id, project=run["project_id"]), one_query=True
        )
        return found is not None

    async def _chunks(self, file_id: str) -> AsyncIterator[bytes]:
        for position in itertools.count():
            read = partial(files.chunk, file_id=file_id, position=position)
            chunk = await self._database.read(read, one_query=True)
            if chunk is None:
                return
            yield chunk
