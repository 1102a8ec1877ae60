"""What code execution needs of a sandbox, whatever confines it."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Literal, Protocol

DATA = PurePosixPath("/mnt/data")
"""Where code finds its files and leaves what it makes; sessions begin there."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may take. Sizes are in bytes."""

    memory: int = 1024 * 1024 * 1024
    """Of all its processes together."""
    processes: int = 64
    cpu: timedelta = timedelta(minutes=5)
    """Processor time of one run of code, by all processes of the session together."""
    wall: timedelta = timedelta(minutes=2)
    """Of one run of code; after it the code is interrupted, and killed where it does not stop."""
    disk: int = 512 * 1024 * 1024
    """Of the files of the session."""
    output: int = 256 * 1024
    """Of text that one run of code prints; what comes after it is left out, and that is said."""
    files: int = 100
    """That one run of code may make or change and get taken out."""
    pictures: int = 20
    """That one run of code may show."""


@dataclass(frozen=True, slots=True)
class Printed:
    """Text that the code wrote."""

    stream: Literal["stdout", "stderr"]
    text: str


@dataclass(frozen=True, slots=True)
class Value:
    """What the last expression of the code came to, as text."""

    text: str


@dataclass(frozen=True, slots=True)
class Displayed:
    """A picture that the code showed, as a PNG."""

    png: bytes


@dataclass(frozen=True, slots=True)
class Raised:
    """The code ended with an error of its own; ``traceback`` shows the code's own frames."""

    name: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The code reached a limit and was interrupted; the session goes on, with the state that it had reached."""

    limit: Literal["wall", "cpu"]


RunEvent = Printed | Value | Displayed | Raised | Stopped


@dataclass(frozen=True, slots=True)
class ChangedFile:
    """A file below `DATA` that code made or changed."""

    path: PurePosixPath
    """Relative to `DATA`."""
    size: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What code did to the files below `DATA`."""

    files: Sequence[ChangedFile]
    left_out: int
    """Files beyond `Limits.files` that are not among them."""


class Session(Protocol):
    """One Python interpreter that keeps its state from run to run, and its folder.

    Every method raises `SessionLost` once the session is gone: the code broke it, reached a limit that cannot be
    survived (memory, disk), did not stop when it was interrupted, or was killed with its worker. Everything that a
    session says is treated as written by an enemy.
    """

    async def put(self, path: PurePosixPath, content: AsyncIterator[bytes]) -> None:
        """Write a file below `DATA`; its parents are made. Raises `ValueError` for a path that leads elsewhere."""
        ...

    def get(self, path: PurePosixPath) -> AsyncGenerator[bytes, None]:
        """Read a regular file below `DATA` in pieces; links are not followed. Raises `FileNotFoundError`."""
        ...

    async def changed_files(self) -> Changes:
        """Return the regular files that were made or changed since this was asked last, files that were put aside."""
        ...

    def run(self, code: str) -> AsyncGenerator[RunEvent, None]:
        """Run code and yield what it does as it happens; closing the generator interrupts the code."""
        ...

    async def aclose(self) -> None:
        """End every process of the session and delete its folder; may be called twice."""
        ...


class Sandbox(Protocol):
    """Opens sessions; one way of confining them."""

    name: str

    async def probe(self) -> None:
        """Try whether it works here by confining something; raises `SandboxUnavailable` with what would help."""
        ...

    async def open(self, limits: Limits) -> Session:
        """Open a session; raises `SandboxUnavailable`."""
        ...

    async def aclose(self) -> None:
        """End all sessions, and what is kept ready for new ones; may be called twice."""
        ...
