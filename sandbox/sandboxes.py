"""The sandboxes there are, by name: what opens sessions, tries itself, and refuses where it cannot confine."""

import asyncio
import importlib.util
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NoReturn, get_args

from lockstitch.errors import SandboxUnavailable, SessionLost
from lockstitch.sandbox.port import Limits, RunEvent, Sandbox, Value
from lockstitch.sandbox.python_installation import PythonInstallation
from lockstitch.sandbox.session import KernelSession
from lockstitch.sandbox.warm_pool import WarmPool

SandboxName = Literal["sandlock", "bwrap", "none"]
CONFINING: tuple[SandboxName, ...] = ("sandlock", "bwrap")
"""Those that run code."""

_IMPORTED_AHEAD = ("numpy", "pandas", "matplotlib.pyplot")

_ESCAPES = """
import os, signal, socket

def connect():
    socket.create_connection(("127.0.0.1", {port}), timeout=2).close()

def succeeds(attempt):
    try:
        attempt()
    except Exception:
        return False
    return True

attempts = {{
    "read a file of the host": lambda: open({secret!r}).read(),
    "write beside it": lambda: open({secret!r} + ".written", "w"),
    "open a connection": connect,
    "signal another process": lambda: os.kill({pid}, 0),
    "see the host's environment": lambda: os.environ["LOCKSTITCH_PROBE"],
}}
[name for name, attempt in attempts.items() if succeeds(attempt)]
"""


def sandbox_of(name: SandboxName, *, python: str = "", limits: Limits | None = None, warm: int = 0) -> Sandbox:
    """Return the sandbox of this name.

    ``python`` is the Python that runs inside, by default the one that runs this. ``warm`` sessions are kept ready that
    have ``limits``; the first is started when a session is opened or the sandbox is tried.
    """
    if name not in get_args(SandboxName):
        raise ValueError(f"There is no sandbox {name!r}, only {', '.join(get_args(SandboxName))}.")
    if name == "none":
        return NoSandbox()
    return KernelSandbox(name, python or sys.executable, limits or Limits(), warm)


class NoSandbox:
    """Runs nothing: for operators who want no code to run."""

    name = "none"

    async def probe(self) -> None:
        """Raise `SandboxUnavailable`."""
        self._refuse()

    async def open(self, limits: Limits) -> NoReturn:
        """Raise `SandboxUnavailable`."""
        self._refuse()

    async def aclose(self) -> None:
        """Do nothing."""

    @staticmethod
    def _refuse() -> NoReturn:
        raise SandboxUnavailable(
            "none", "no sandbox is chosen", "Set LOCKSTITCH_SANDBOX to sandlock or bwrap where code is to be run."
        )


class KernelSandbox:
    """Opens sessions in which a Python kernel runs, confined by sandlock or bubblewrap."""

    def __init__(self, name: SandboxName, python: str, limits: Limits, warm: int) -> None:
        self.name: str = name
        self._python = python
        self._limits = limits
        self._installation: PythonInstallation | None = None
        self._sessions: set[KernelSession] = set()
        self.pool = WarmPool(lambda: self._start(limits, _IMPORTED_AHEAD), warm)

    def __repr__(self) -> str:
        return f"KernelSandbox({self.name}, sessions={len(self._sessions)}, {self.pool})"

    async def probe(self) -> None:
        """Try whether it works here by confining something; raises `SandboxUnavailable` with what would help."""
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="lockstitch-probe-"))
        secret = folder / "secret"
        secret.write_text("seen")
        try:
            with socket.create_server(("127.0.0.1", 0)) as listening:
                port = listening.getsockname()[1]
                code = _ESCAPES.format(port=port, secret=str(secret), pid=os.getpid())
                events = await self._said_by(code)
            if events != [Value("[]")] or secret.with_name("secret.written").exists():
                raise SandboxUnavailable(self.name, f"code that tried to get out of it came to {events!r}", _MEND_HELP)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder)
        self.pool.fill()

    async def open(self, limits: Limits) -> KernelSession:
        """Open a session, one that is ready where there is one with these limits; raises `SandboxUnavailable`."""
        session = self.pool.take() if limits == self._limits else None
        return session or await self._start(limits, ())

    async def aclose(self) -> None:
        """End all sessions, and what is kept ready for new ones; may be called twice."""
        await self.pool.aclose()
        await asyncio.gather(*(session.aclose() for session in self._sessions))
        self._sessions.clear()

    async def _start(self, limits: Limits, imports: tuple[str, ...]) -> KernelSession:
        _REQUIREMENTS[self.name]()
        if self._installation is None:
            try:
                self._installation = await PythonInstallation.at(self._python)
            except ValueError as error:
                problem = f"the Python for it is missing: {error}"
                raise SandboxUnavailable(self.name, problem, "Set LOCKSTITCH_SANDBOX_PYTHON to one.") from error
        self._sessions = {session for session in self._sessions if not session.is_lost}
        session = await KernelSession.open(self.name, self._installation, limits, imports)
        self._sessions.add(session)
        return session

    async def _said_by(self, code: str) -> list[RunEvent]:
        session = await self._start(self._limits, ())
        try:
            return [event async for event in session.run(code)]
        except SessionLost as error:
            raise SandboxUnavailable(self.name, f"the session with which it was tried {error}", _MEND_HELP) from error
        finally:
            await session.aclose()


_MEND_HELP = "Do not run code here before this is mended; set LOCKSTITCH_SANDBOX=none meanwhile."


def _need_linux(name: str) -> None:
    if sys.platform != "linux":
        raise SandboxUnavailable(name, f"it needs Linux, and this is {sys.platform}", "Run the worker on Linux.")


def _need_sandlock() -> None:
    _need_linux("sandlock")
    if importlib.util.find_spec("sandlock") is None:
        raise SandboxUnavailable(
            "sandlock", "it is not installed", "Install it with pip install 'lockstitch[code-interpreter]'."
        )


def _need_bwrap() -> None:
    _need_linux("bwrap")
    if os.geteuid() == 0:
        raise SandboxUnavailable(
            "bwrap",
            "bubblewrap that root starts confines nothing",
            "Run the worker as another user, or set LOCKSTITCH_SANDBOX=sandlock.",
        )
    if shutil.which("bwrap") is None:
        raise SandboxUnavailable("bwrap", "it is not installed", "Install the package bubblewrap of the system.")


_REQUIREMENTS: dict[str, Callable[[], None]] = {"sandlock": _need_sandlock, "bwrap": _need_bwrap}
