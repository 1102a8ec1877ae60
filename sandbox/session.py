"""A session as the worker has it: runs code in a kernel that a warden watches, within limits of time."""

import asyncio
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Literal

from lockstitch.errors import SandboxUnavailable, SessionLost
from lockstitch.sandbox.kernel import HEADER, TOKEN_SIZE
from lockstitch.sandbox.kernel_start import start_warden
from lockstitch.sandbox.layout import Layout, lay_out
from lockstitch.sandbox.port import Changes, Limits, Printed, Raised, RunEvent, Stopped
from lockstitch.sandbox.python_installation import PythonInstallation
from lockstitch.sandbox.session_files import SessionFiles
from lockstitch.sandbox.syscall_filter import syscall_filter
from lockstitch.sandbox.warden import delete_folder
from lockstitch.sandbox.wires import CpuSpent, Interrupted, Lost, RunEnded, Told, Wires

START_PATIENCE = timedelta(seconds=60)
"""For a kernel to come up, with the packages that it imports ahead."""
INTERRUPT_PATIENCE = timedelta(seconds=3)
"""For code to stop that was interrupted; after that the session is ended."""
END_PATIENCE = timedelta(seconds=15)
LONGEST_CODE = 1024 * 1024
_HELP = "`lockstitch sandbox check` tries every sandbox and says what is missing."


class KernelSession:
    """One interpreter, confined by the sandbox of this name, with a folder of its own."""

    def __init__(self, limits: Limits, layout: Layout, warden: asyncio.subprocess.Process, wires: Wires) -> None:
        self.limits = limits
        self._layout = layout
        self._warden = warden
        self._wires = wires
        self._lost: SessionLost | None = None
        self._running = False
        self._interrupts = 0
        """Those of which the warden has not said that they are sent."""
        self._ending: asyncio.Task[None] | None = None
        self._files = SessionFiles(layout.data, most_bytes=limits.disk, most_changes=limits.files)

    def __repr__(self) -> str:
        state = "lost" if self._lost else "running" if self._running else "ready"
        return f"KernelSession({state}, warden={self.warden})"

    @classmethod
    async def open(
        cls, sandbox: str, python: PythonInstallation, limits: Limits, imports: tuple[str, ...]
    ) -> "KernelSession":
        """Start a session and wait until its kernel is ready; raises `SandboxUnavailable`."""
        folder = Path(tempfile.mkdtemp(prefix="lockstitch-session-"))
        try:
            layout = lay_out(folder, python, syscall_filter(sandbox))
            warden, wires = await start_warden(sandbox, layout, python, limits, imports)
        except BaseException:
            shutil.rmtree(folder)  # from here on it is the warden's to delete
            raise
        session = cls(limits, layout, warden, wires)
        try:
            await session._become_ready(sandbox)
        except BaseException:
            await session.aclose()
            raise
        return session

    @property
    def warden(self) -> int:
        """The process of the warden, below which are all of the session's."""
        return self._warden.pid

    @property
    def folder(self) -> Path:
        """Where the session's files are on this machine, until it ends."""
        return Path(self._layout.folder)

    @property
    def is_lost(self) -> bool:
        """Whether the session is known to be gone."""
        self._notice_loss()
        return self._lost is not None

    async def put(self, path: PurePosixPath, content: AsyncIterator[bytes]) -> None:
        """Write a file below `DATA`; its parents are made. Raises `ValueError` for a path that leads elsewhere."""
        self._check()
        try:
            await self._files.put(path, content)
        except SessionLost as error:
            raise await self._lose(error.reason) from error

    async def get(self, path: PurePosixPath) -> AsyncGenerator[bytes, None]:
        """Read a regular file below `DATA` in pieces; links are not followed. Raises `FileNotFoundError`."""
        self._check()
        pieces = self._files.get(path)
        try:
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()

    async def changed_files(self) -> Changes:
        """Return the regular files that were made or changed since this was asked last, files that were put aside."""
        self._check()
        return await self._files.changes()

    async def run(self, code: str) -> AsyncGenerator[RunEvent, None]:
        """Run code and yield what it does as it happens; closing the generator interrupts the code."""
        self._check()
        content = code.encode(errors="surrogatepass")
        if len(content) > LONGEST_CODE:
            raise ValueError(f"The code has {len(content)} bytes, more than {LONGEST_CODE}.")
        if self._running:
            raise RuntimeError("The session runs other code already.")
        self._running = True
        ended = False
        try:
            self._tell_warden("b")
            token = secrets.token_bytes(TOKEN_SIZE)
            self._wires.throw_away()
            self._wires.listen(self.limits.output, token)
            await self._send(HEADER.pack(b"X", TOKEN_SIZE + len(content)) + token + content)
            async for event in self._events():
                yield event
            ended = True
        finally:
            try:
                if not ended and self._lost is None:
                    await self._stop()
            finally:
                self._running = False
                self._wires.ignore()
                self._tell_warden("e")

    async def aclose(self) -> None:
        """End every process of the session and delete its folder; may be called twice."""
        self._lost = self._lost or SessionLost("it was closed")
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    async def _become_ready(self, sandbox: str) -> None:
        """Wait for the kernel's first word. What it printed until then says why there is none."""
        self._wires.listen(self.limits.output)
        said = ""
        try:
            async with asyncio.timeout(START_PATIENCE.total_seconds()):
                while not isinstance(event := await self._wires.happened.get(), RunEnded):
                    if isinstance(event, Printed):
                        said += event.text
                    elif isinstance(event, Lost):
                        said = said.strip().rpartition("\n")[2] or event.reason
                        raise SandboxUnavailable(sandbox, said, _HELP)
        except TimeoutError as error:
            problem = f"the interpreter was not ready after {START_PATIENCE.total_seconds():g} seconds"
            raise SandboxUnavailable(sandbox, problem, _HELP) from error
        self._tell_warden("e")

    async def _events(self) -> AsyncGenerator[RunEvent, None]:
        """Yield what happens in a run until it ends. Where it reaches a limit, the code is interrupted."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.limits.wall.total_seconds()
        reached: Literal["wall", "cpu"] | None = None
        while True:
            event = await self._next(deadline)
            match event:
                case RunEnded():
                    await self._settle()
                    if reached is not None:
                        yield Stopped(reached)
                    return
                case Lost(reason):
                    raise await self._lose(reason)
                case None if reached is not None:
                    raise await self._lose("its code did not stop when it was interrupted")
                case None | CpuSpent():
                    reached = "wall" if event is None else "cpu"
                    deadline = loop.time() + INTERRUPT_PATIENCE.total_seconds()
                    self._interrupt()
                case Raised("KeyboardInterrupt") if reached is not None:
                    continue
                case _:
                    yield event

    async def _next(self, deadline: float) -> Told | None:
        """Return what happens next, None where nothing does before the deadline, in the time of the event loop."""
        try:
            async with asyncio.timeout_at(deadline):
                while True:
                    event = await self._wires.happened.get()
                    if not isinstance(event, Interrupted):
                        return event
                    self._interrupts -= 1
        except TimeoutError:
            return None

    def _interrupt(self) -> None:
        self._interrupts += 1
        self._tell_warden("i")

    async def _settle(self) -> None:
        """Wait until interrupts are sent that were meant for a run that has ended, lest they hit the next one."""
        try:
            async with asyncio.timeout(INTERRUPT_PATIENCE.total_seconds()):
                while self._interrupts:
                    event = await self._wires.happened.get()
                    if isinstance(event, Interrupted):
                        self._interrupts -= 1
                    elif isinstance(event, Lost):
                        raise await self._lose(event.reason)
        except TimeoutError as error:
            raise await self._lose("its warden does not answer") from error

    async def _stop(self) -> None:
        """Interrupt code that nobody waits for any more; a session in which it goes on is ended."""
        self._interrupt()
        deadline = asyncio.get_running_loop().time() + INTERRUPT_PATIENCE.total_seconds()
        while not isinstance(event := await self._next(deadline), RunEnded):
            if event is None or isinstance(event, Lost):
                await self._lose("its code did not stop when it was interrupted" if event is None else event.reason)
                return
        await self._settle()

    async def _send(self, content: bytes) -> None:
        try:
            async with asyncio.timeout(INTERRUPT_PATIENCE.total_seconds()):
                await asyncio.get_running_loop().sock_sendall(self._wires.frames, content)
        except (OSError, TimeoutError) as error:
            raise await self._lose(await self._reason_of_loss()) from error

    async def _reason_of_loss(self) -> str:
        """Return what the warden says of a session whose kernel takes no more."""
        deadline = asyncio.get_running_loop().time() + INTERRUPT_PATIENCE.total_seconds()
        while (event := await self._next(deadline)) is not None:
            if isinstance(event, Lost):
                return event.reason
        return "its interpreter takes no more code"

    def _tell_warden(self, letter: str) -> None:
        with suppress(OSError):  # one that has ended has said so
            self._wires.control.send(letter.encode())

    def _check(self) -> None:
        self._notice_loss()
        if self._lost is not None:
            raise SessionLost(self._lost.reason)

    def _notice_loss(self) -> None:
        """Take what was said between runs."""
        while not self._running and self._lost is None and not self._wires.happened.empty():
            event = self._wires.happened.get_nowait()
            if isinstance(event, Lost):
                self._lost = SessionLost(event.reason)
                self._ending = asyncio.ensure_future(self._end())

    async def _lose(self, reason: str) -> SessionLost:
        """End the session; return the error that says why."""
        self._lost = self._lost or SessionLost(reason)
        await self.aclose()
        return SessionLost(self._lost.reason)

    async def _end(self) -> None:
        self._wires.ignore()
        with suppress(OSError):
            self._wires.control.shutdown(socket.SHUT_WR)
        try:
            async with asyncio.timeout(END_PATIENCE.total_seconds()):
                await self._warden.wait()
        except TimeoutError:
            self._warden.send_signal(signal.SIGKILL)
            await self._warden.wait()
        self._wires.close()
        if self.folder.exists():  # the warden was killed, and deleted nothing
            with suppress(OSError):
                await asyncio.to_thread(delete_folder, self.folder)
