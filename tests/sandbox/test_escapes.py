"""What code must not reach, tried by code that wants to."""

import asyncio
import json
import os
import platform
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockstitch.sandbox.port import Raised
from lockstitch.sandbox.session import KernelSession
from lockstitch.tests.sandbox.conftest import OpenSession, Run, outcome_of

REPOSITORY = Path(__file__).parents[2]

REFUSALS = {
    "BlockingIOError",
    "ConnectionRefusedError",
    "FileNotFoundError",
    "NotADirectoryError",
    "OSError",
    "PermissionError",
}
"""What an attempt to get out may end with: the machine refuses it, or there is nothing there."""


async def is_refused(run: Run, code: str) -> None:
    outcome = await run(code)
    assert isinstance(outcome.raised, Raised), outcome
    assert outcome.raised.name in REFUSALS, outcome


@pytest.mark.parametrize(
    "path",
    [
        "/etc/shadow",
        "/etc/passwd",
        "/etc/hostname",
        str(REPOSITORY / "README.md"),
        str(Path.home() / ".profile"),
        str(Path.home() / ".bashrc"),
        "/proc/1/environ",
        "/proc/self/environ",
        "/proc/WORKER/environ",
        "/proc/WORKER/root/etc/shadow",
        "/proc/self/root/etc/shadow",
        "/proc/self/cwd/../../etc/shadow",
        "/proc/kcore",
        "/sys/kernel/vmcoreinfo",
        "/dev/mem",
        "/dev/kmsg",
        "/dev/vda",
        "/dev/sda",
        "/mnt/data/../../etc/passwd",
        "../../etc/passwd",
        "../../../../../../../../../../../../etc/passwd",
    ],
)
async def test_files_of_the_host_cannot_be_read(run: Run, path: str) -> None:
    await is_refused(run, f"open({path.replace('WORKER', str(os.getpid()))!r}, 'rb').read(1)")


@pytest.mark.parametrize(
    "path", ["/home", "/proc", "/sys", "/var", "/run", "/etc/ssh", str(REPOSITORY / "tests"), "/srv"]
)
async def test_folders_of_the_host_cannot_be_listed(run: Run, path: str) -> None:
    await is_refused(run, f"import os\nos.listdir({path!r})")


async def test_the_root_shows_the_parts_of_python_and_nothing_else(run: Run) -> None:
    """A folder that is there because a folder of Python's lies somewhere below it is empty otherwise."""
    seen = json.loads((await run("import json, os\nprint(json.dumps(sorted(os.listdir('/'))))")).printed())
    assert {"mnt", "usr"} < set(seen)
    lead_to_python = {Path(path).resolve().parts[1] for path in (sys.prefix, sys.base_prefix)}
    assert not {"home", "root", "srv", "var", "proc", "sys", "boot"} & set(seen) - lead_to_python
    assert (await run("import os\nos.listdir('/etc'), os.listdir('/mnt')")).value == "(['ld.so.cache'], ['data'])"


async def test_other_sessions_cannot_be_seen(run: Run, open_session: OpenSession) -> None:
    async with open_session() as other:
        await outcome_of(other, "open('mine', 'w').write('secret')")
        await is_refused(run, f"open({str(other.folder / 'data' / 'mine')!r}).read()")
        await is_refused(run, f"import os\nos.listdir({str(other.folder)!r})")
        assert "mine" not in (await run("import os\nos.listdir('/mnt/data')")).value


async def test_the_environment_of_the_host_is_not_there(
    open_session: OpenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    async with open_session() as session:
        names = (await outcome_of(session, "import os\n','.join(sorted(os.environ))")).value.strip("'").split(",")
    assert set(names) - {"LC_CTYPE", "PWD"} == {
        *("HOME", "LANG", "MALLOC_ARENA_MAX", "MPLBACKEND", "MPLCONFIGDIR", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
        *("PATH", "PYTHONPATH", "TMPDIR"),
    }


async def test_nothing_can_be_written_elsewhere(run: Run) -> None:
    for path in ("/", "/usr/lib", "/lib", "/etc", "/opt/lockstitch", "/mnt", "/dev/shm", "/dev", "/home", "/var/tmp"):
        await is_refused(run, f"open({path!r} + '/written', 'w')")
    await is_refused(run, "import os\nopen(os.__file__, 'a')")
    await is_refused(run, "import pandas\nopen(pandas.__file__, 'a')")
    await is_refused(run, "import sys\nopen(sys.executable, 'ab')")
    await is_refused(run, "open('/opt/lockstitch/lockstitch_kernel.py', 'a')")


@pytest.mark.parametrize(
    "attempt",
    [
        "os.rename('/usr/lib/os-release', '/mnt/data/x')",
        "os.unlink('/opt/lockstitch/lockstitch_kernel.py')",
        "os.chmod(os.__file__, 0o777)",
        "os.chown(os.__file__, 1, 1)",
        "os.utime(os.__file__, (1, 1))",
        "os.truncate('/opt/lockstitch/lockstitch_kernel.py', 0)",
        "os.setxattr(os.__file__, 'user.x', b'x')",
        "os.mkdir('/usr/lib/made')",
        "os.symlink('/etc/shadow', '/usr/lib/link')",
        "os.link(os.__file__, '/mnt/data/link')",
        "os.link('/etc/shadow', '/mnt/data/link')",
    ],
)
async def test_nothing_elsewhere_can_be_changed(run: Run, attempt: str) -> None:
    await is_refused(run, f"import os\n{attempt}")


async def test_links_lead_nowhere_outside(run: Run) -> None:
    await run("import os\nos.symlink('/etc/shadow', '/mnt/data/file'), os.symlink('/', '/mnt/data/folder')")
    await is_refused(run, "open('/mnt/data/file').read()")
    await is_refused(run, "open('/mnt/data/folder/etc/shadow').read()")
    await is_refused(run, "open('/mnt/data/folder/usr/lib/x', 'w')")
    await run("os.unlink('/mnt/data/file'), os.unlink('/mnt/data/folder')")


async def test_devices_and_queues_cannot_be_made(run: Run) -> None:
    await is_refused(run, "import os, stat\nos.mknod('/mnt/data/disk', 0o666 | stat.S_IFBLK, os.makedev(254, 0))")
    await is_refused(run, "import os, stat\nos.mknod('disk', 0o666 | stat.S_IFBLK, os.makedev(254, 0))")
    await is_refused(run, "import os, stat\nos.mknod('null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))")
    await is_refused(run, "import os\nos.mkfifo('queue')")


@pytest.fixture
def listening() -> Iterator[tuple[socket.socket, list[str]]]:
    """A server on loopback; the list tells of every connection."""
    server = socket.create_server(("127.0.0.1", 0))
    seen: list[str] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            seen.append("connected")
            connection.close()

    thread = threading.Thread(target=accept)
    thread.start()
    yield server, seen
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


async def test_loopback_cannot_be_reached(run: Run, listening: tuple[socket.socket, list[str]]) -> None:
    server, seen = listening
    port = server.getsockname()[1]
    await is_refused(run, f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)")
    await is_refused(run, f"import socket\nsocket.create_connection(('::ffff:127.0.0.1', {port}), 2)")
    assert seen == []


async def test_datagrams_reach_nobody(run: Run) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        address = receiver.getsockname()
        await run(f"import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', {address!r})")
        with pytest.raises(BlockingIOError):
            receiver.recv(1)


async def test_unix_sockets_of_the_host_cannot_be_reached(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    for address in (path, f"\0lockstitch-test-{os.getpid()}"):
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(address)
            server.listen()
            await is_refused(run, f"import socket\nsocket.socket(socket.AF_UNIX).connect({address!r})")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            other = address + "d"
            receiver.bind(other)
            code = f"import socket\nsocket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', {other!r})"
            await is_refused(run, code)


@pytest.mark.parametrize(
    ("family", "kind"),
    [(40, 1), (38, 5), (17, 3), (17, 2), (31, 3), (2, 3), (16, 3), (44, 3)],
    ids=["vsock", "alg", "packet raw", "packet", "bluetooth", "inet raw", "netlink", "xdp"],
)
async def test_sockets_of_odd_kinds_lead_nowhere(run: Run, family: int, kind: int) -> None:
    outcome = await run(f"import socket\nsocket.socket({family}, {kind})")
    if family == 16:  # sandlock answers with a netlink of its own making, which knows a loopback only
        outcome = await run("import socket\n[name for _, name in socket.if_nameindex() if name != 'lo']")
        assert outcome.raised is not None or outcome.value == "[]"
    else:
        assert outcome.raised is not None, outcome
        assert outcome.raised.name in REFUSALS


async def test_other_processes_get_no_signals(run: Run, shared: KernelSession) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _frame: received.append(number))
    try:
        for target in (os.getpid(), -os.getpgrp(), shared.warden, os.getppid()):
            outcome = await run(f"import os, signal\nos.kill({target}, signal.SIGUSR1)")
            # In a namespace of its own these are nobody's numbers, or those of its own processes.
            assert outcome.lost is None
        await run("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)")
        await run("import os, signal\nos.kill(1, signal.SIGKILL)")
        await run("import os, signal\nos.kill(-1, signal.SIGUSR2)")
        assert (await run("'alive'")).value == "'alive'"
        await asyncio.sleep(0)
        assert received == []
    finally:
        signal.signal(signal.SIGUSR1, before)


NUMBERS = {
    "x86_64": {
        "bpf": 321,
        "io_uring_setup": 425,
        "kexec_load": 246,
        "keyctl": 250,
        "memfd_create": 319,
        "mount": 165,
        "name_to_handle_at": 303,
        "open_by_handle_at": 304,
        "perf_event_open": 298,
        "pivot_root": 155,
        "process_vm_readv": 310,
        "ptrace": 101,
        "setns": 308,
        "swapon": 167,
        "umount2": 166,
        "unshare": 272,
        "userfaultfd": 323,
    },
    "aarch64": {
        "bpf": 280,
        "io_uring_setup": 425,
        "kexec_load": 104,
        "keyctl": 219,
        "memfd_create": 279,
        "mount": 40,
        "name_to_handle_at": 264,
        "open_by_handle_at": 265,
        "perf_event_open": 241,
        "pivot_root": 41,
        "process_vm_readv": 270,
        "ptrace": 117,
        "setns": 268,
        "swapon": 224,
        "umount2": 39,
        "unshare": 97,
        "userfaultfd": 282,
    },
}[platform.machine()]

CALL = """
import ctypes, errno
def call(*arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    ctypes.set_errno(0)
    as_c = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = libc.syscall(*as_c)
    return "done" if result >= 0 else errno.errorcode[ctypes.get_errno()]
"""


@pytest.mark.parametrize("name", NUMBERS)
async def test_system_calls_that_lead_out_are_refused(run: Run, name: str) -> None:
    buffer = "ctypes.create_string_buffer(256)"
    arguments = {
        "unshare": "0x10000000",
        "mount": f"b'none', b'/mnt/data', b'tmpfs', 0, {buffer}",
        "umount2": "b'/mnt/data', 0",
        "ptrace": "16, 1, 0, 0",
        "io_uring_setup": f"8, {buffer}",
        "memfd_create": "b'x', 0",
        "bpf": f"0, {buffer}, 64",
        "perf_event_open": f"{buffer}, 0, -1, -1, 0",
        "pivot_root": "b'.', b'.'",
        "userfaultfd": "1",
        "swapon": "b'/mnt/data/x', 0",
        "setns": "0, 0",
        "keyctl": "0, -3, 1",
        "process_vm_readv": f"1, {buffer}, 1, {buffer}, 1, 0",
    }.get(name, "0, 0, 0, 0, 0")
    answer = (await run(f"{CALL}\ncall({NUMBERS[name]}, {arguments})")).value
    assert answer in {"'EPERM'", "'ENOSYS'"}, answer


@pytest.mark.parametrize("flag", [0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000])
async def test_processes_get_no_namespaces_of_their_own(run: Run, flag: int) -> None:
    clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    code = f"{CALL}\nimport os\nr = call({clone}, {flag} | 17, 0, 0, 0, 0)\nr if r != 'done' else 'done'"
    assert (await run(code)).value == "'EPERM'"
    clone3 = f"{CALL}\nimport struct\ncall(435, struct.pack('8Q', {flag}, 0, 0, 0, 17, 0, 0, 0), 64)"
    assert (await run(clone3)).value in {"'EPERM'", "'ENOSYS'"}


async def test_limits_cannot_be_raised(run: Run) -> None:
    for name in ("RLIMIT_DATA", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CORE"):
        code = f"import resource\nresource.setrlimit(resource.{name}, (2**40, 2**40))"
        assert (await run(code)).only(Raised).name in {"ValueError", "PermissionError"}


async def test_code_has_no_privileges(run: Run) -> None:
    await is_refused(run, "import os\nos.setuid(1)" if os.geteuid() == 0 else "import os\nos.setuid(0)")
    await is_refused(run, "import os\nos.setpriority(os.PRIO_PROCESS, 0, -5)")
    await is_refused(run, "import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)")
    await is_refused(run, "import os\nos.chroot('/mnt/data')")
    await is_refused(run, "import os\nos.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))")


async def test_programs_of_the_host_are_not_there(run: Run) -> None:
    for program in ("/bin/sh", "/usr/bin/id", "/bin/su", "/usr/bin/python3", "/lib64/../bin/sh"):
        await is_refused(run, f"import subprocess\nsubprocess.run([{program!r}])")


async def test_the_kernel_has_no_descriptors_of_the_host(run: Run) -> None:
    """Input, output and errors, the socket of the frames; nothing that was open outside."""
    code = """
import os, stat
found = []
for number in range(1024):
    try:
        mode = os.fstat(number).st_mode
    except OSError:
        continue
    if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
        found.append((number, oct(mode)))
found
"""
    assert (await run(code)).value == "[]"
