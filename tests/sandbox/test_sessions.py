"""What a session does with code that means well."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import PurePosixPath

import pytest

from lockstitch.sandbox.kernel import HEADER
from lockstitch.sandbox.port import Printed, Raised, Stopped, Value
from lockstitch.sandbox.session import KernelSession
from lockstitch.sandbox.wires import RunEnded, Wires
from lockstitch.tests.sandbox.conftest import OpenSession, Outcome, Run, outcome_of

PNG = b"\x89PNG\r\n\x1a\n"


async def said(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


async def test_state_is_kept_from_run_to_run(run: Run) -> None:
    await run("kept = 20")
    assert (await run("kept += 1\nkept * 2")).events == [Value("42")]


async def test_only_the_last_expression_has_a_value(run: Run) -> None:
    assert (await run("1\n2")).events == [Value("2")]
    assert (await run("quiet = 1")).events == []
    assert (await run("None")).events == []
    assert (await run("3;")).events == []
    assert (await run("")).events == []


async def test_the_last_value_has_a_name(run: Run) -> None:
    await run("6 * 7")
    assert (await run("_")).value == "42"


async def test_what_is_printed_comes_with_its_stream(run: Run) -> None:
    outcome = await run("import sys\nprint('to out')\nprint('to err', file=sys.stderr)")
    assert (outcome.printed("stdout"), outcome.printed("stderr")) == ("to out\n", "to err\n")


async def test_a_program_that_code_starts_prints_too(run: Run) -> None:
    outcome = await run("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'print(40 + 2)']).returncode")
    assert (outcome.printed(), outcome.value) == ("42\n", "0")


async def test_text_comes_while_the_code_still_runs(shared: KernelSession) -> None:
    code = "print('first')\nimport time\ntime.sleep(30)"
    async with aclosing(shared.run(code)) as events:
        assert await anext(events) == Printed("stdout", "first\n")
    assert (await outcome_of(shared, "'the code was interrupted'")).value == "'the code was interrupted'"


async def test_an_error_shows_the_lines_of_the_code_and_nothing_else(run: Run) -> None:
    await run("def divide(by):\n    return 1 / by")
    error = (await run("import json\ndivide(0)")).only(Raised)
    assert (error.name, error.message) == ("ZeroDivisionError", "division by zero")
    assert "    divide(0)\n" in error.traceback
    assert "    return 1 / by\n" in error.traceback
    assert "kernel" not in error.traceback


async def test_an_error_in_a_library_is_told_at_the_line_that_called_it(run: Run) -> None:
    error = (await run("import json\njson.loads('{')")).only(Raised)
    assert error.name == "JSONDecodeError"
    assert error.traceback.count("File ") == 1


async def test_code_that_is_no_python_is_an_error(run: Run) -> None:
    error = (await run("1 +")).only(Raised)
    assert (error.name, error.message) == ("SyntaxError", "invalid syntax")
    assert "1 +\n" in error.traceback


@pytest.mark.parametrize("code", ["exit()", "raise SystemExit(3)", "raise KeyboardInterrupt"])
async def test_code_that_wants_to_exit_ends_a_run_and_no_session(run: Run, code: str) -> None:
    assert (await run(code)).raised is not None
    assert (await run("1")).value == "1"


async def test_an_error_that_cannot_say_what_it_is_is_told_nevertheless(run: Run) -> None:
    code = "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd"
    assert (await run(code)).only(Raised).name == "Odd"


async def test_a_value_that_cannot_say_what_it_is_is_an_error(run: Run) -> None:
    code = "class Odd:\n    def __repr__(self): raise ValueError('no words')\nOdd()"
    assert (await run(code)).only(Raised).message == "no words"


async def test_code_may_await(run: Run) -> None:
    assert (await run("import asyncio\nawait asyncio.sleep(0, 'awaited')")).value == "'awaited'"


async def test_code_that_asks_for_input_gets_none(run: Run) -> None:
    assert (await run("input('name? ')")).only(Raised).name in {"EOFError", "ValueError"}


async def test_figures_are_shown_when_code_shows_them_and_at_its_end(run: Run) -> None:
    code = (
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nplt.plot([2, 1])\nplt.figure()\nprint('drawn')"
    )
    outcome = await run(code)
    assert [png[:8] for png in outcome.pictures] == [PNG] * 3
    assert outcome.printed() == "drawn\n"
    assert (await run("plt.get_fignums()")).value == "[]"


async def test_a_figure_or_an_image_as_the_value_is_shown_once(run: Run) -> None:
    assert len((await run("import matplotlib.pyplot as plt\nplt.figure()")).pictures) == 1
    assert len((await run("from PIL import Image\nImage.new('RGB', (2, 2))")).pictures) == 1


async def test_tables_are_written_and_read(run: Run) -> None:
    code = "import pandas as pd\npd.DataFrame({'a': [1, 2]}).to_excel('t.xlsx')\npd.read_excel('t.xlsx')['a'].sum()"
    assert (await run(code)).value in {"3", "np.int64(3)"}


async def test_files_go_in_and_what_code_makes_comes_out(open_session: OpenSession) -> None:
    async with open_session() as session:
        await session.put(PurePosixPath("in/sales.csv"), said("a,b\n1,2\n"))
        assert (await session.changed_files()).files == ()
        assert (await outcome_of(session, "open('/mnt/data/in/sales.csv').read()")).value == r"'a,b\n1,2\n'"
        await outcome_of(session, "open('out.txt', 'w').write('made')\nopen('in/sales.csv', 'a').write('3,4')")
        changes = await session.changed_files()
        assert [(str(file.path), file.size) for file in changes.files] == [("in/sales.csv", 11), ("out.txt", 4)]
        assert b"".join([piece async for piece in session.get(PurePosixPath("out.txt"))]) == b"made"
        assert (await session.changed_files()).files == ()


async def test_code_beyond_its_time_is_stopped_and_its_state_is_kept(open_session: OpenSession) -> None:
    async with open_session(wall=timedelta(seconds=0.5)) as session:
        outcome = await outcome_of(session, "count = 7\nprint('begun')\nwhile True: pass")
        assert outcome.events == [Printed("stdout", "begun\n"), Stopped("wall")]
        assert (await outcome_of(session, "count")).value == "7"


async def test_code_that_waits_for_another_process_is_stopped_with_it(open_session: OpenSession) -> None:
    async with open_session(wall=timedelta(seconds=0.7)) as session:
        code = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
        assert (await outcome_of(session, code)).stopped == "wall"


async def test_two_runs_at_a_time_are_refused(shared: KernelSession) -> None:
    async with aclosing(shared.run("print('running')\nimport time\ntime.sleep(30)")) as events:
        await anext(events)
        with pytest.raises(RuntimeError, match="other code"):
            await anext(shared.run("1"))


async def test_code_that_is_too_long_is_refused(shared: KernelSession) -> None:
    with pytest.raises(ValueError, match="more than 1048576"):
        await anext(shared.run("#" * (1024 * 1024 + 1)))


async def test_an_interrupt_that_comes_too_late_does_not_hit_the_next_run(open_session: OpenSession) -> None:
    async with open_session() as session:
        for _ in range(20):
            async with aclosing(session.run("print('x')")) as events:
                await anext(events)
            assert await outcome_of(session, "1") == Outcome([Value("1")])


async def test_a_kernel_that_is_ready_before_anybody_listens_is_heard() -> None:
    """A busy worker comes to listen late."""
    frames, kernel = socket.socketpair()
    control, warden = socket.socketpair()
    (out, out_inside), (err, err_inside) = os.pipe(), os.pipe()
    for descriptor in (out, err):
        os.set_blocking(descriptor, False)
    wires = Wires(frames, {"stdout": out, "stderr": err}, control)
    try:
        os.write(out_inside, b"hello")
        kernel.sendall(HEADER.pack(b"D", 0))
        wires.listen(100)
        async with asyncio.timeout(5):
            assert [await wires.happened.get() for _ in range(2)] == [Printed("stdout", "hello"), RunEnded()]
    finally:
        wires.close()
        for end in (kernel, warden):
            end.close()
        os.close(out_inside)
        os.close(err_inside)
