"""Reading and writing files in a folder in which somebody hostile works at the same time.

No name is followed anywhere: each part of a path is opened in the folder before it, and links are refused. Files that
are no plain files (queues, devices, sockets) are refused too, because opening or reading them may never end.
"""

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lockstitch.errors import SessionLost
from lockstitch.sandbox.port import ChangedFile, Changes

_PIECE = 256 * 1024
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DEEPEST = 32


@dataclass(frozen=True, slots=True)
class _Version:
    """What tells one content of a file from another; code can set the other times, but not when a file changed."""

    inode: int
    size: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "_Version":
        return cls(status.st_ino, status.st_size, status.st_ctime_ns)


class SessionFiles:
    """The files below one folder, and which of them are new."""

    def __init__(self, folder: Path, *, most_bytes: int, most_changes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._most_changes = most_changes
        self._known: dict[PurePosixPath, _Version] = {}

    async def put(self, path: PurePosixPath, content: AsyncIterator[bytes]) -> None:
        """Write a file; one that is there is replaced. Raises `ValueError` for a path that leads elsewhere."""
        parts = _parts(path)
        descriptor = await asyncio.to_thread(self._create, parts)
        written = 0
        try:
            async for piece in content:
                written += len(piece)
                if written > self._most_bytes:
                    raise SessionLost(f"the files put into it take more than {self._most_bytes} bytes")
                await asyncio.to_thread(_write_all, descriptor, piece)
            self._known[PurePosixPath(*parts)] = _Version.of(os.fstat(descriptor))
        finally:
            os.close(descriptor)

    async def get(self, path: PurePosixPath) -> AsyncGenerator[bytes, None]:
        """Read a file in pieces. Raises `FileNotFoundError` where there is no plain file."""
        descriptor = await asyncio.to_thread(self._open, path)
        try:
            left = self._most_bytes  # one that grows while it is read ends somewhere too
            while left and (piece := await asyncio.to_thread(os.read, descriptor, min(_PIECE, left))):
                left -= len(piece)
                yield piece
        finally:
            os.close(descriptor)

    async def changes(self) -> Changes:
        """Return the files that were made or changed since this was asked last, or put."""
        return await asyncio.to_thread(self._changes)

    def _create(self, parts: tuple[str, ...]) -> int:
        try:
            with self._folder_of(parts, make=True) as folder:
                with suppress(FileNotFoundError):
                    os.unlink(parts[-1], dir_fd=folder)
                return os.open(parts[-1], _WRITE, 0o600, dir_fd=folder)
        except OSError as error:
            problem = f"{'/'.join(parts)} cannot be written: {os.strerror(error.errno or 0)}"
            raise ValueError(problem) from error

    def _open(self, path: PurePosixPath) -> int:
        try:
            parts = _parts(path)
            with self._folder_of(parts, make=False) as folder:
                descriptor = os.open(parts[-1], _READ, dir_fd=folder)
        except (OSError, ValueError) as error:
            raise FileNotFoundError(f"There is no file {path}.") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(f"{path} is no plain file.")
        return descriptor

    @contextmanager
    def _folder_of(self, parts: tuple[str, ...], *, make: bool) -> Iterator[int]:
        descriptor = os.open(self._folder, _FOLDER)
        try:
            for part in parts[:-1]:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o700, dir_fd=descriptor)
                below = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _changes(self) -> Changes:
        now = dict(self._plain_files())
        changed = [ChangedFile(path, new.size) for path, new in sorted(now.items()) if self._known.get(path) != new]
        self._known = now
        return Changes(tuple(changed[: self._most_changes]), len(changed[self._most_changes :]))

    def _plain_files(self) -> Iterator[tuple[PurePosixPath, _Version]]:
        with suppress(FileNotFoundError):  # a folder that code deletes meanwhile
            for parent, folders, names, descriptor in os.fwalk(self._folder, follow_symlinks=False):
                below = PurePosixPath(parent).relative_to(self._folder)
                if len(below.parts) >= _DEEPEST:
                    folders.clear()
                for name in filter(_is_text, names):
                    with suppress(FileNotFoundError):
                        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                        if stat.S_ISREG(status.st_mode):
                            yield below / name, _Version.of(status)


def _parts(path: PurePosixPath) -> tuple[str, ...]:
    """Return the parts of a path below the folder; raises `ValueError` for any other."""
    parts = path.parts
    if not parts or path.is_absolute() or ".." in parts or len(parts) > _DEEPEST or "\0" in str(path):
        raise ValueError(f"{str(path)!r} is no path below the folder.")
    return parts


def _is_text(name: str) -> bool:
    """Whether a name is text: Linux allows any bytes, and those that are no UTF-8 cannot be told to anybody."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
