"""The two ways to start the kernel confined: what each is told, from one description of what is seen and allowed."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lockstitch.sandbox.layout import Layout
from lockstitch.sandbox.privileges import give_up_capabilities
from lockstitch.sandbox.process_tree import children_of


@dataclass(frozen=True, slots=True)
class Confinement:
    """What the kernel is started with."""

    layout: Layout
    command: Sequence[str]
    environment: Mapping[str, str]
    processes: int


class Confined(Protocol):
    """A kernel that was started."""

    def ended(self) -> bool:
        """Whether it is over."""
        ...

    def interpreter(self) -> int | None:
        """Return the process of the kernel itself, None where it is gone."""
        ...


class UnderSandlock:
    """Landlock and seccomp: the same user and the same namespaces, with a supervisor's threads in this process."""

    def __init__(self, confinement: Confinement) -> None:
        from sandlock import Sandbox  # type: ignore[import-untyped]  # it has types, but does not say so

        give_up_capabilities()
        layout = confinement.layout
        self._process = Sandbox(
            chroot=str(layout.root),
            cwd="/",
            fs_mount=layout.writable,
            fs_mount_ro=dict(layout.read_only),
            fs_readable=[*layout.read_only, "/bin", "/etc", "/lib64", "/opt", os.path.dirname(layout.python)],  # noqa: PTH120
            fs_writable=list(layout.writable),
            clean_env=True,
            env=dict(confinement.environment),
            max_processes=confinement.processes,
            no_coredump=True,
            name=f"session-{os.getpid()}",  # two of one name cannot be there at a time
        ).popen(list(confinement.command))
        self._pid = self._process.pid

    def ended(self) -> bool:
        """Whether it is over."""
        return self.interpreter() is None

    def interpreter(self) -> int | None:
        """Return the process of the kernel itself, None where it is gone."""
        return self._pid if self._pid in children_of(os.getpid()) and not _is_zombie(self._pid) else None


class UnderBubblewrap:
    """Namespaces of its own for users, files, processes, network and the rest, and a system call filter."""

    def __init__(self, confinement: Confinement) -> None:
        layout = confinement.layout
        binds = [("--ro-bind", outside, inside) for inside, outside in layout.read_only.items()]
        binds += [("--bind", outside, inside) for inside, outside in layout.writable.items()]
        binds += [("--dev-bind", device, device) for device in ("/dev/null", "/dev/zero", "/dev/urandom")]
        binds.sort(key=lambda bind: len(bind[2]))  # a folder that lies in another is not hidden by it
        variables = [("--setenv", name, value) for name, value in confinement.environment.items()]
        self._process = subprocess.Popen(  # noqa: S603 - of our own making
            [
                *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
                *("--uid", "65534", "--gid", "65534", "--hostname", "sandbox", "--clearenv"),
                *("--ro-bind", str(layout.root), "/"),
                *(part for option in (*variables, *binds) for part in option),
                *("--", *confinement.command),
            ],
            stdin=0,
        )

    def ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    def interpreter(self) -> int | None:
        """Return the process of the kernel itself, None where it is gone.

        It is the first child of the first process in the namespace, which is a child of bubblewrap's.
        """
        first_inside = children_of(self._process.pid)
        return next(iter(children_of(first_inside[0])), None) if first_inside else None


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:  # noqa: PTH123
            return file.read().rpartition(") ")[2][:1] in "ZX"
    except OSError:
        return True


CONFINERS: Mapping[str, type[UnderSandlock] | type[UnderBubblewrap]] = {
    "sandlock": UnderSandlock,
    "bwrap": UnderBubblewrap,
}
"""By the name of the sandbox."""
