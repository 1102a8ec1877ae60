"""What code gets that takes more than it may: each limit is kept, reported rightly, and survived by the worker."""

import asyncio
import time
from datetime import timedelta
from pathlib import PurePosixPath

import pytest

from lockstitch.errors import SessionLost
from lockstitch.sandbox.port import Printed, Raised
from lockstitch.tests.sandbox.conftest import OpenSession, Outcome, Run, outcome_of

MEBIBYTE = 1024 * 1024


async def test_ten_gigabytes_at_once_are_refused_and_the_session_goes_on(run: Run) -> None:
    for code in ("bytearray(10 << 30)", "import numpy\nnumpy.ones(10 << 27)", "[0] * (10 << 27)"):
        assert (await run(code)).only(Raised).name in {"MemoryError", "_ArrayMemoryError"}
    assert (await run("1")).value == "1"


@pytest.mark.parametrize(
    "code",
    [
        "import mmap\nm = mmap.mmap(-1, 2 << 30)\nfor i in range(0, len(m), 4096): m[i] = 1",
        "import os, time\nfor _ in range(6):\n    if not os.fork():\n        b = b'x' * (200 << 20); time.sleep(60)\n"
        "time.sleep(60)",
        "import os, time\nb = bytearray(200 << 20)\nfor _ in range(6):\n    if not os.fork():\n"
        "        for i in range(0, len(b), 4096): b[i] = 1\n        time.sleep(60)\ntime.sleep(60)",
    ],
    ids=["shared", "of many processes", "copied on write"],
)
async def test_memory_that_no_process_is_refused_is_counted_over_all(open_session: OpenSession, code: str) -> None:
    async with open_session() as session:
        outcome = await outcome_of(session, code)
        assert outcome.lost is not None, outcome
        assert "memory" in outcome.lost or "interpreter ended" in outcome.lost


@pytest.mark.parametrize(
    "code",
    [
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "import os, time\nwhile True:\n    os.fork() or time.sleep(60)",
        "import os, time\nfor _ in range(200):\n    try: os.wait()\n    except ChildProcessError: pass\n"
        "    if not os.fork(): os.setsid(); time.sleep(60)",
    ],
    ids=["bomb", "many sleepers", "sleepers that hide"],
)
async def test_processes_are_bounded(open_session: OpenSession, code: str) -> None:
    async with open_session(wall=timedelta(seconds=0.5)) as session:
        outcome = await outcome_of(session, code)
        assert outcome.lost or outcome.raised or outcome.stopped, outcome
    async with open_session() as session:
        assert (await outcome_of(session, "1")).value == "1"


async def test_a_loop_that_ignores_interrupts_costs_the_session(open_session: OpenSession) -> None:
    async with open_session(wall=timedelta(seconds=0.5)) as session:
        code = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
        assert (await outcome_of(session, code)).lost == "its code did not stop when it was interrupted"
        with pytest.raises(SessionLost):
            await anext(session.run("1"))
        with pytest.raises(SessionLost):
            await session.changed_files()


async def test_processor_time_is_bounded_and_the_session_goes_on(open_session: OpenSession) -> None:
    async with open_session(cpu=timedelta(seconds=0.5)) as session:
        assert (await outcome_of(session, "x = 1\nwhile True: pass")).stopped == "cpu"
        assert (await outcome_of(session, "x")).value == "1"


async def test_processor_time_of_processes_that_nobody_waits_for_counts(open_session: OpenSession) -> None:
    code = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if not os.fork():
        until = time.monotonic() + 0.2
        while time.monotonic() < until: pass
        os._exit(0)
    time.sleep(0.1)
"""
    async with open_session(cpu=timedelta(seconds=1)) as session:
        assert (await outcome_of(session, code)).stopped == "cpu"


async def test_what_code_leaves_running_ends_the_session_when_it_takes_too_much(open_session: OpenSession) -> None:
    async with open_session(cpu=timedelta(seconds=0.6)) as session:
        code = "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin, daemon=True).start()"
        assert (await outcome_of(session, code)).events == []
        deadline = time.monotonic() + 10
        while not session.is_lost and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        with pytest.raises(SessionLost, match="left running"):
            await session.changed_files()


async def test_a_file_that_is_too_large_is_refused(open_session: OpenSession) -> None:
    async with open_session() as session:
        code = "with open('large', 'wb') as file:\n    for _ in range(64): file.write(bytes(1 << 20))"
        assert (await outcome_of(session, code)).only(Raised).name == "OSError"
        assert (session.folder / "data" / "large").stat().st_size <= 24 * MEBIBYTE


@pytest.mark.parametrize(
    "code",
    [
        "for i in range(100):\n    open(f'/mnt/data/{i}', 'wb').write(bytes(1 << 20))\nimport time; time.sleep(9)",
        "for i in range(100):\n    open(f'/tmp/{i}', 'wb').write(bytes(1 << 20))\nimport time; time.sleep(9)",
        "import os, time\nfiles = []\nfor i in range(100):\n    file = open('gone', 'wb', 0); files.append(file)\n"
        "    os.unlink('gone'); file.write(bytes(1 << 20))\ntime.sleep(9)",
    ],
    ids=["many", "in tmp", "deleted"],
)
async def test_files_together_are_bounded(open_session: OpenSession, code: str) -> None:
    async with open_session() as session:
        assert (await outcome_of(session, code)).lost == "its files took more than 24 MiB"


async def test_a_hundred_megabytes_of_output_are_cut_and_the_session_goes_on(run: Run) -> None:
    outcome = await run("for _ in range(1000): print('x' * 99_999)")
    assert len(outcome.printed()) == 64 * 1024
    assert outcome.events[-1] == Printed("stderr", "\n[What the code printed after this was left out.]\n")
    assert (await run("1")).value == "1"


async def test_output_that_is_no_text_is_shown_as_far_as_it_is(run: Run) -> None:
    outcome = await run(r"import os; os.write(1, b'a\xff\x00b\xe2\x82')")
    assert outcome.printed() == "a\ufffd\x00b"


async def test_a_value_or_an_error_that_is_too_long_is_cut(run: Run) -> None:
    assert len((await run("'x' * 10_000_000")).value) <= 64 * 1024
    error = (await run("raise ValueError('x' * 10_000_000)")).only(Raised)
    assert len(error.message) + len(error.traceback) <= 64 * 1024


async def test_more_pictures_than_allowed_are_an_error(run: Run) -> None:
    outcome = await run("import matplotlib.pyplot as plt\nfor _ in range(5): plt.figure()")
    assert len(outcome.pictures) == 3
    assert "3 pictures" in outcome.only(Raised).message


async def test_of_many_changed_files_the_first_come_and_the_others_are_counted(open_session: OpenSession) -> None:
    async with open_session() as session:
        await outcome_of(session, "for i in range(8): open(f'{i}.txt', 'w').write('x')")
        changes = await session.changed_files()
        assert [file.path for file in changes.files] == [PurePosixPath(f"{i}.txt") for i in range(5)]
        assert changes.left_out == 3


async def test_a_session_of_its_own_is_not_hurt_by_another_one_at_its_limits(open_session: OpenSession) -> None:
    async with open_session(wall=timedelta(seconds=1)) as greedy, open_session() as other:
        async for _ in greedy.run("while True: pass"):
            assert await outcome_of(other, "") == Outcome()
