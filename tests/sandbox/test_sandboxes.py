"""Sandboxes as an operator meets them: tried, refused, kept warm, and ended with their worker."""

import asyncio
import os
import signal
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from lockstitch.config import Config
from lockstitch.errors import SandboxUnavailable
from lockstitch.sandbox.port import Limits
from lockstitch.sandbox.process_tree import children_of
from lockstitch.sandbox.sandboxes import KernelSandbox, sandbox_of
from lockstitch.sandbox_choice import chosen_sandbox, limits_of
from lockstitch.tests.sandbox.conftest import LIMITS, Process, outcome_of, processes_from, still_there


async def until_gone(processes: Collection[Process]) -> None:
    """Wait until processes have ended."""
    async with asyncio.timeout(20):
        while still_there(processes):
            await asyncio.sleep(0.02)


async def test_a_machine_on_which_code_is_to_be_confined_by_nothing_runs_none() -> None:
    sandbox = sandbox_of("none")
    with pytest.raises(SandboxUnavailable, match="Set LOCKSTITCH_SANDBOX to sandlock or bwrap"):
        await sandbox.probe()
    with pytest.raises(SandboxUnavailable):
        await sandbox.open(Limits())
    await sandbox.aclose()


@pytest.mark.skipif(os.geteuid() != 0, reason="is about root")
async def test_bubblewrap_is_refused_to_root() -> None:
    sandbox = sandbox_of("bwrap")
    with pytest.raises(SandboxUnavailable, match="that root starts"):
        await sandbox.probe()
    with pytest.raises(SandboxUnavailable, match="Run the worker as another user"):
        await sandbox.open(Limits())


@pytest.mark.parametrize(
    ("python", "problem"), [("/no/python", "cannot be started"), ("/bin/false", "is no Python that works")]
)
async def test_a_python_that_is_none_is_refused(python: str, problem: str) -> None:
    with pytest.raises(SandboxUnavailable, match=problem):
        await sandbox_of("sandlock", python=python).probe()


async def test_a_kernel_that_does_not_start_is_told_with_its_reason(sandbox: KernelSandbox) -> None:
    with pytest.raises(SandboxUnavailable) as refused:
        await sandbox.open(replace(LIMITS, memory=1024 * 1024))
    assert "lockstitch sandbox check" in str(refused.value)


def test_the_settings_become_limits() -> None:
    config = Config.from_environment({"LOCKSTITCH_SANDBOX_MEMORY_MIB": "200", "LOCKSTITCH_SANDBOX_OUTPUT_KIB": "2"})
    assert limits_of(config) == replace(Limits(), memory=200 * 1024 * 1024, output=2048)
    assert limits_of(Config()) == Limits()
    assert chosen_sandbox(Config()).name == "none"
    assert chosen_sandbox(Config(sandbox="bwrap")).name == "bwrap"


async def test_a_warm_kernel_is_taken_once_and_another_one_comes() -> None:
    sandbox = sandbox_of("sandlock", limits=LIMITS, warm=1)
    assert isinstance(sandbox, KernelSandbox)
    try:
        await sandbox.probe()
        await sandbox.pool.filled()
        first = await sandbox.open(LIMITS)
        loaded = "import sys\n'pandas' in sys.modules and 'matplotlib.pyplot' in sys.modules"
        assert (await outcome_of(first, loaded)).value == "True"
        await sandbox.pool.filled()
        second = await sandbox.open(LIMITS)
        assert second is not first
        assert (await outcome_of(second, loaded)).value == "True"
        other = await sandbox.open(replace(LIMITS, files=1))
        assert (await outcome_of(other, loaded)).value == "False"
    finally:
        await sandbox.aclose()
    assert first.is_lost
    assert not second.folder.exists()


async def test_a_warm_kernel_that_was_killed_is_not_handed_out() -> None:
    sandbox = sandbox_of("sandlock", limits=LIMITS, warm=1)
    assert isinstance(sandbox, KernelSandbox)
    try:
        await sandbox.probe()
        await sandbox.pool.filled()
        (kernel,) = [pid for warden in children_of(os.getpid()) for pid in children_of(warden) if is_kernel(pid)]
        processes = processes_from(kernel)
        os.kill(kernel, signal.SIGKILL)
        await until_gone(processes)
        async with asyncio.timeout(10):
            while "ready=1" in repr(sandbox) and not sandbox.pool.ready[0].is_lost:
                await asyncio.sleep(0.02)
        assert (await outcome_of(await sandbox.open(LIMITS), "1")).value == "1"
    finally:
        await sandbox.aclose()


def is_kernel(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return b"lockstitch_kernel.py" in command and b"pandas" in command


WORKER = """
import asyncio, sys
from lockstitch.sandbox.sandboxes import sandbox_of
from lockstitch.sandbox.port import Limits

async def main():
    session = await sandbox_of(sys.argv[1]).open(Limits())
    code = "import os, time\\nfor _ in range(3): os.fork()\\nos.setsid() if os.getpid() != os.getpgid(0) else 0\\n"
    async for event in session.run(code + "print('begun', flush=True)\\ntime.sleep(100)"):
        print(session.warden, session.folder, flush=True)

asyncio.run(main())
"""


async def test_with_a_worker_that_is_killed_everything_of_its_sessions_ends(sandbox: KernelSandbox) -> None:
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WORKER, sandbox.name), stdout=asyncio.subprocess.PIPE
    )
    assert worker.stdout is not None
    warden, folder = (await worker.stdout.readline()).decode().split()
    processes = processes_from(int(warden))
    assert len(processes) > 4
    worker.kill()
    await worker.wait()
    await until_gone(processes)
    assert not Path(folder).exists()


async def test_a_warden_that_is_killed_is_a_lost_session(sandbox: KernelSandbox) -> None:
    session = await sandbox.open(LIMITS)
    processes = processes_from(session.warden)
    os.kill(session.warden, signal.SIGKILL)
    assert (await outcome_of(session, "import time\ntime.sleep(60)")).lost == "its warden ended"
    await until_gone(processes)
    await session.aclose()
    assert not session.folder.exists()
