"""Code that has taken over its interpreter, and lies to the worker: in frames, and with what lies in its folder."""

import os
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

import pytest

from lockstitch.errors import SessionLost
from lockstitch.sandbox.port import Value
from lockstitch.tests.sandbox.conftest import OpenSession, outcome_of

SENSELESS = "its interpreter sent something that makes no sense"

TO_ALL = """
import os, time
def to_all(content):
    for number in range(3, 256):
        try: os.write(number, content)
        except OSError: pass
    time.sleep(20)
"""


@pytest.mark.parametrize(
    "frame",
    [
        r"b'Q\0\0\0\0'",
        r"b'V\xff\xff\xff\xff'",
        r"b'V\0\0\0\2\xff\xff'",
        r"b'P\0\0\0\4GIF8'",
        r"b'E\0\0\0\2[]'",
        r"b'E\0\0\0\2{}'",
        r"b'E\0\0\0\1{'",
        r"""b'E' + bytes([0, 0, 0, 44]) + b'{"name": 1, "message": 2, "traceback": 3  }  '""",
        r"b'D\0\0\0\0'",
        r"b'D\0\0\0\4\1\2\3\4'",
        r"b'\0' * 100_000",
        r"b'E\0\1\x86\xa0' + b'[' * 100_000",
    ],
    ids=[
        *("unknown", "huge", "no text", "no png", "a list", "no names", "no json", "no texts", "an end", "a wrong end"),
        *("nothing", "nested"),
    ],
)
async def test_a_frame_that_no_kernel_sends_costs_the_session(open_session: OpenSession, frame: str) -> None:
    async with open_session() as session:
        assert (await outcome_of(session, f"{TO_ALL}\nto_all({frame})")).lost == SENSELESS


async def test_frames_that_a_kernel_could_send_are_what_the_code_shows(open_session: OpenSession) -> None:
    async with open_session() as session:
        code = TO_ALL.replace("20", "0") + "\nto_all(b'V\\0\\0\\0\\4mine')"
        assert Value("mine") in (await outcome_of(session, code)).events
        assert (await outcome_of(session, "2")).value == "2"


async def test_an_end_told_too_early_is_caught_at_the_next_run(open_session: OpenSession) -> None:
    code = """
import os, sys, threading, time
frame = sys._getframe()
while frame and 'content' not in frame.f_locals: frame = frame.f_back
token = frame.f_locals['content'][:16]
for number in range(3, 256):
    try: os.write(number, b'D' + bytes([0, 0, 0, 16]) + token)
    except OSError: pass
time.sleep(0.3)
"""
    async with open_session() as session:
        assert (await outcome_of(session, code)).lost is None
        second = await outcome_of(session, "1")
        assert second.lost == SENSELESS or second.value == "1"


async def test_frames_without_an_end_cost_the_session(open_session: OpenSession) -> None:
    async with open_session() as session:
        endless = "while True: to_all(b'V\\0\\x10\\0\\0' + b'x' * (1 << 20))"
        code = f"{TO_ALL.replace('20', '0')}\n{endless}"
        outcome = await outcome_of(session, code)
        assert outcome.lost is not None
        assert "showed more than" in outcome.lost or outcome.lost == SENSELESS


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos._exit(0)",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "import os\nos.closerange(0, 256)",
        "import ctypes\nctypes.string_at(0)",
        "import os, time\nif os.fork(): os._exit(0)\ntime.sleep(60)",
    ],
    ids=["exits", "kills itself", "closes its descriptors", "crashes", "leaves a child"],
)
async def test_an_interpreter_that_ends_is_a_lost_session(open_session: OpenSession, code: str) -> None:
    async with open_session() as session:
        assert (await outcome_of(session, code)).lost == "its interpreter ended"


async def test_descriptors_cannot_be_used_against_the_worker(open_session: OpenSession) -> None:
    """Reading what the worker sends, and shutting the socket down, harm only the session."""
    async with open_session() as session:
        code = "import socket\nfor n in range(3, 64):\n    try: socket.socket(fileno=n).shutdown(2)\n"
        await outcome_of(session, code + "    except OSError: pass")
        with pytest.raises(SessionLost):
            await anext(session.run("1"))


async def read(session: object, path: str) -> bytes:
    return b"".join([piece async for piece in session.get(PurePosixPath(path))])  # type: ignore[attr-defined]


async def said(text: str) -> AsyncIterator[bytes]:
    yield text.encode()


async def test_what_is_no_plain_file_is_not_read(open_session: OpenSession, tmp_path: Path) -> None:
    async with open_session() as session:
        (tmp_path / "secret").write_text("secret")
        code = f"""
import os
open('plain', 'w').write('plain')
os.symlink({str(tmp_path / "secret")!r}, 'link')
os.symlink({str(tmp_path)!r}, 'folder')
os.symlink('/mnt/data', 'itself')
os.symlink('plain', 'relative')
os.mkdir('empty')
"""
        assert (await outcome_of(session, code)).raised is None
        for path in ("link", "folder/secret", "itself/plain", "relative", "empty", "missing", "../tmp", "a/../../root"):
            with pytest.raises(FileNotFoundError):
                await read(session, path)
        with pytest.raises(FileNotFoundError):
            await read(session, str(tmp_path / "secret"))
        assert await read(session, "plain") == b"plain"
        assert [str(file.path) for file in (await session.changed_files()).files] == ["plain"]


async def test_queues_and_sockets_that_got_there_are_not_opened(open_session: OpenSession) -> None:
    """Code cannot make them; were it to find a way, reading one must not wait for ever."""
    async with open_session() as session:
        os.mkfifo(session.folder / "data" / "queue")
        with pytest.raises(FileNotFoundError):
            await read(session, "queue")
        assert (await session.changed_files()).files == ()


async def test_a_file_is_not_written_through_a_link(open_session: OpenSession, tmp_path: Path) -> None:
    async with open_session() as session:
        (tmp_path / "kept").write_text("kept")
        code = f"import os\nos.symlink({str(tmp_path)!r}, 'folder')\nos.symlink({str(tmp_path / 'kept')!r}, 'file')"
        await outcome_of(session, code)
        with pytest.raises(ValueError, match="cannot be written"):
            await session.put(PurePosixPath("folder/kept"), said("changed"))
        await session.put(PurePosixPath("file"), said("put"))
        assert (tmp_path / "kept").read_text() == "kept"
        assert await read(session, "file") == b"put"


async def test_a_file_that_does_not_fit_costs_the_session_and_not_the_disk(open_session: OpenSession) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(1024 * 1024)

    async with open_session() as session:
        with pytest.raises(SessionLost, match="more than 25165824 bytes"):
            await session.put(PurePosixPath("large"), endless())
        assert session.is_lost


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "a\0b"])
async def test_a_path_that_leads_elsewhere_is_refused(open_session: OpenSession, path: str) -> None:
    async with open_session() as session:
        with pytest.raises(ValueError, match="no path below"):
            await session.put(PurePosixPath(path), said("x"))


async def test_a_change_is_seen_though_its_time_was_set_back(open_session: OpenSession) -> None:
    async with open_session() as session:
        await session.put(PurePosixPath("file"), said("one"))
        await outcome_of(session, "import os\nt = os.stat('file')\nopen('file', 'w').write('two')\n"
                                  "os.utime('file', ns=(t.st_atime_ns, t.st_mtime_ns))")  # fmt: skip
        assert [str(file.path) for file in (await session.changed_files()).files] == ["file"]


async def test_names_that_are_no_text_are_passed_over(open_session: OpenSession) -> None:
    async with open_session() as session:
        await outcome_of(session, r"open(b'\xff\xfe', 'w').write('x')")
        assert (await session.changed_files()).files == ()
