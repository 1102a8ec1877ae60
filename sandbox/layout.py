"""What a session sees of the file system: a root of its own with Python in it, and two folders to write in."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from lockstitch.sandbox import kernel
from lockstitch.sandbox.port import DATA
from lockstitch.sandbox.python_installation import PythonInstallation

TEMPORARY = "/tmp"  # noqa: S108 - it is the session's own
PROGRAM = f"/opt/lockstitch/{kernel.NAME}.py"
FILTER = "/opt/lockstitch/syscall_filter"
_DEVICES = ("null", "zero", "urandom")


@dataclass(frozen=True, slots=True)
class Layout:
    """A session's folder on this machine, and what of this machine is seen where inside."""

    folder: str
    """All that belongs to the session; it is deleted with it."""
    python: str
    """The executable, inside."""
    read_only: dict[str, str]
    """Folders by where they are seen inside."""

    @property
    def root(self) -> Path:
        """What is seen as ``/``, read-only: empty folders, the loader, the executable and the kernel's program."""
        return Path(self.folder, "root")

    @property
    def filter(self) -> Path:
        """The file with the program that refuses system calls."""
        return _within(self.root, FILTER)

    @property
    def data(self) -> Path:
        """What is seen as `DATA`."""
        return Path(self.folder, "data")

    @property
    def temporary(self) -> Path:
        """What is seen as ``/tmp``."""
        return Path(self.folder, "tmp")

    @property
    def writable(self) -> dict[str, str]:
        """Folders by where they are seen inside."""
        return {str(DATA): str(self.data), TEMPORARY: str(self.temporary)}


def lay_out(folder: Path, python: PythonInstallation, syscall_filter: bytes) -> Layout:
    """Make a session's folder in an empty one."""
    read_only = {str(path): str(path.resolve()) for path in python.folders}
    layout = Layout(str(folder), str(python.executable), read_only)
    for writable in (layout.data, layout.temporary):
        writable.mkdir(mode=0o700)
    for inside in (*read_only, *layout.writable, "/dev"):
        _within(layout.root, inside).mkdir(parents=True, exist_ok=True)
    for device in _DEVICES:
        _within(layout.root, f"/dev/{device}").touch()
    for file in filter(None, (python.executable, python.loader, Path("/etc/ld.so.cache"))):
        _copy(file, _within(layout.root, str(file)))
    _copy(Path(kernel.__file__), _within(layout.root, PROGRAM))
    layout.filter.write_bytes(syscall_filter)
    return layout


def _copy(file: Path, to: Path) -> None:
    if file.exists():
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to)  # what the file is, not the link that leads to it


def _within(root: Path, inside: str) -> Path:
    return root / inside.lstrip("/")
