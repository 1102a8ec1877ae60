"""The process that stands between a worker and a session: it starts the kernel confined, watches it, and ends it.

A process of its own, because what it does must not wait for a busy worker; because it gives up what the worker may do;
because code that gets hold of it holds nothing of the worker's; and because it still ends everything and deletes the
session's folder when the worker is killed: it sees that from the end of the socket between them.

Over that socket the worker sends ``b`` when a run begins, ``e`` when it has ended, ``i`` to interrupt the code, and
closes it to end the session. The warden sends lines: ``interrupted`` when it has done so, ``cpu`` when a run has used
up its time, and ``ended`` with a reason, after which it ends.
"""

import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from lockstitch.sandbox.confiners import CONFINERS, Confined, Confinement
from lockstitch.sandbox.layout import Layout
from lockstitch.sandbox.process_tree import (
    ProcessUse,
    become_subreaper,
    deleted_files_of,
    descendants_of,
    end_all_below,
    files_below,
    proportional_memory,
    reap_orphans,
    uses_of,
)

WATCHED_EVERY = timedelta(milliseconds=50)
"""While code runs; a limit may be exceeded for so long."""
IDLE_EVERY = timedelta(milliseconds=500)
"""Between runs, when what the code left behind may still run."""
FILES_EVERY = 4
"""Of so many looks, one is at the files too."""
MOST_FILES = 20_000
"""A session may have so many files and folders."""
_END_PATIENCE = timedelta(seconds=10)
_OPEN_FILES = 512


@dataclass(frozen=True, slots=True)
class Order:
    """What a warden is told, as JSON on its command line."""

    sandbox: str
    control: int
    """The descriptor of the socket to the worker."""
    folder: str
    python: str
    read_only: dict[str, str]
    command: list[str]
    environment: dict[str, str]
    memory: int
    processes: int
    disk: int
    cpu: float
    """In seconds."""

    def confinement(self) -> Confinement:
        """Return what the kernel is started with."""
        layout = Layout(self.folder, self.python, self.read_only)
        return Confinement(layout, self.command, self.environment, self.processes)


class _Clock:
    """Processor time of a changing set of processes.

    A process that ends takes its time with it, unless its parent waits for it, which then has it as that of its
    children. So what is counted between two looks is the larger of two sums: how much longer those that were there both
    times have run, and how much all of them with their children have gained.
    """

    def __init__(self) -> None:
        self.spent = 0.0
        self._before: dict[tuple[int, int], float] = {}
        self._all_before = 0.0

    def look(self, uses: Iterable[ProcessUse]) -> None:
        """Add what was used since the last look."""
        now: dict[tuple[int, int], float] = {}
        everything = 0.0
        for use in uses:
            now[use.pid, use.started] = use.cpu
            everything += use.cpu + use.cpu_of_children
        alone = sum(cpu - self._before.get(process, 0.0) for process, cpu in now.items())
        self.spent += max(alone, everything - self._all_before, 0.0)
        self._before, self._all_before = now, everything


class Warden:
    """Watches one session until it ends."""

    def __init__(self, order: Order, kernel: Confined, control: socket.socket) -> None:
        self._order = order
        self._kernel = kernel
        self._control = control
        self._clock = _Clock()
        self._began = 0.0
        """The clock's time when the run began, or ended."""
        self._running = True
        """The kernel's start counts as a run."""
        self._told_of_cpu = False
        self._looks = 0
        self._writable = list(order.confinement().layout.writable.values())

    def watch(self) -> str:
        """Watch until the session is over; return why, empty where the worker wanted it."""
        while True:
            every = WATCHED_EVERY if self._running else IDLE_EVERY
            ready, _, _ = select.select([self._control], [], [], every.total_seconds())
            if ready:
                received = self._control.recv(64)
                if not received:
                    return ""
                for letter in received.decode("ascii", errors="replace"):
                    self._obey(letter)
            problem = self._look()
            if problem:
                return problem

    def _obey(self, letter: str) -> None:
        match letter:
            case "b" | "e":  # what goes on behind the end of a run has as much time again
                self._clock.look(uses_of(descendants_of(os.getpid())))
                self._began = self._clock.spent
                self._running, self._told_of_cpu = letter == "b", False
            case "i":
                self._interrupt()
                self._control.sendall(b"interrupted\n")
            case _:
                raise ValueError(f"the worker said {letter!r}")

    def _interrupt(self) -> None:
        """Send SIGINT to the kernel and to what it started, as Ctrl-C in a terminal does."""
        kernel = self._kernel.interpreter()
        if kernel is None:
            return
        for pid in (*reversed(descendants_of(kernel)), kernel):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def _look(self) -> str:
        """Look at the processes and, now and then, at the files; return what the session must end for."""
        self._looks += 1
        if self._kernel.ended():
            return "its interpreter ended"
        pids = descendants_of(os.getpid())
        uses = list(uses_of(pids))
        self._clock.look(uses)
        reap_orphans(but=self._kernel.interpreter())
        return (
            self._too_many_processes(uses)
            or self._too_much_memory(uses)
            or self._too_much_time()
            or (self._too_many_files(pids) if self._looks % FILES_EVERY == 0 else "")
        )

    def _too_many_processes(self, uses: list[ProcessUse]) -> str:
        # Bubblewrap has two of its own.
        count = sum(not use.zombie for use in uses) - 2
        return f"it had more than {self._order.processes} processes" if count > self._order.processes else ""

    def _too_much_memory(self, uses: list[ProcessUse]) -> str:
        most = self._order.memory
        if sum(use.resident for use in uses) <= most:  # what processes share is in here several times
            return ""
        used = sum(proportional_memory(use.pid) for use in uses)
        return f"it used more than {_mebibytes(most)} of memory" if used > most else ""

    def _too_much_time(self) -> str:
        if self._clock.spent - self._began <= self._order.cpu:
            return ""
        if not self._running:
            return f"what it left running used more than {self._order.cpu:g} seconds of processor time"
        if not self._told_of_cpu:
            self._told_of_cpu = True
            self._control.sendall(b"cpu\n")
        return ""

    def _too_many_files(self, pids: list[int]) -> str:
        size = deleted_files_of(pids)
        count = 0
        for folder in self._writable:
            size_below, count_below = files_below(folder, MOST_FILES)
            size, count = size + size_below, count + count_below
        if count > MOST_FILES:
            return f"it made more than {MOST_FILES} files"
        return f"its files took more than {_mebibytes(self._order.disk)}" if size > self._order.disk else ""


def _mebibytes(size: int) -> str:
    return f"{size / 1024 / 1024:g} MiB"


def delete_folder(folder: Path) -> None:
    """Delete a session's folder; no process of the session may be left."""
    for parent, folders, _files in os.walk(folder):
        for name in folders:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(0o700)  # code may have taken from us the right to look into it
    shutil.rmtree(folder)


def main() -> None:
    """Carry out the order on the command line."""
    order = Order(**json.loads(sys.argv[1]))
    control = socket.socket(fileno=order.control)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, which then ends its sessions
    os.umask(0o077)
    try:
        _set_limits(order)
        become_subreaper()
        kernel: Any = CONFINERS[order.sandbox](order.confinement())
        _let_go_of_pipes()
        reason = Warden(order, kernel, control).watch()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise
    finally:
        gone = end_all_below(os.getpid(), _END_PATIENCE)
        delete_folder(Path(order.folder))
        with suppress(OSError):  # where the worker is gone, nobody asks
            control.sendall(f"ended {reason if gone else reason + ', and some of its processes do not end'}\n".encode())
    os._exit(0)  # the supervisor's threads have nothing left to supervise


def _set_limits(order: Order) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (order.disk, order.disk))
    most = min(_OPEN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _let_go_of_pipes() -> None:
    """Leave the kernel's socket and pipes to the kernel, so that their end is its end."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


if __name__ == "__main__":
    main()
