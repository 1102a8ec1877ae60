"""The processes below one of ours, whatever sessions and groups they made for themselves: what they use, and their end.

All of it is read from ``/proc``. A process that has become a subreaper keeps whatever is started below it.
"""

import ctypes
import os
import signal
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_BLOCK = 512  # of what stat counts
_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What one process has used."""

    pid: int
    started: int
    """In ticks since the machine's start; with the pid it tells a process from a later one."""
    cpu: float
    """In seconds, of the process itself."""
    cpu_of_children: float
    """In seconds, of children that have ended and were waited for."""
    resident: int
    """In bytes, with what it shares with others."""
    zombie: bool


def become_subreaper() -> None:
    """Let orphans below this process become its children instead of vanishing from below it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def children_of(pid: int) -> list[int]:
    """Return the processes whose parent this is."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - names are all that is wanted, many times a second
            with suppress(FileNotFoundError, ProcessLookupError):
                found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def descendants_of(pid: int) -> list[int]:
    """Return all processes below one, parents before their children."""
    found = children_of(pid)
    for child in found:  # it grows meanwhile
        found += children_of(child)
    return found


def uses_of(pids: list[int]) -> Iterator[ProcessUse]:
    """Look at processes; those that have ended are left out."""
    for pid in pids:
        with suppress(OSError):
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            fields = text[text.rindex(")") + 2 :].split()  # the name before it may have anything in it
            times = [int(field) * _TICK for field in fields[11:15]]
            yield ProcessUse(
                pid,
                int(fields[19]),
                times[0] + times[1],
                times[2] + times[3],
                int(fields[21]) * _PAGE,
                fields[0] in "ZX",
            )


def proportional_memory(pid: int) -> int:
    """Return the memory of a process in bytes, with its part of what it shares: the sum over processes is honest."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def deleted_files_of(pids: list[int]) -> int:
    """Return the bytes of files that have no name any more and are held open."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in pids:
        with suppress(OSError):
            for descriptor in os.scandir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    status = os.stat(descriptor.path)  # noqa: PTH116 - of what the link leads to, name or not
                    if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                        sizes[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK
    return sum(sizes.values())


def files_below(folder: str, most: int) -> tuple[int, int]:
    """Return the bytes and the number of files and folders below one; counting ends behind ``most``."""
    size = count = 0
    waiting = [folder]
    while waiting and count <= most:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                size += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                if count > most:
                    break
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
    return size, count


def end_all_below(pid: int, patience: timedelta) -> bool:
    """Kill every process below one of ours until there is none; whether there is none, after so long at most."""
    deadline = time.monotonic() + patience.total_seconds()
    while left := descendants_of(pid):
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        reap_orphans()
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def reap_orphans(but: int | None = None) -> None:
    """Wait for children that have ended, except one for which somebody else waits."""
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
            if ended.si_pid == but:
                return
            os.waitpid(ended.si_pid, 0)
