"""Forks processes of the command line from one that has loaded it: most commands take longer to load than to work.

A command has a process, an environment, files and an exit code of its own, as when people start it. It does not have
what Python does with the environment before it runs anything, such as ``PYTHONPATH``.
"""

import atexit
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

MODULES = (
    "alembic.command",
    "alembic.config",
    "lockstitch.assistants.http.app",
    "lockstitch.assistants.imports.writing",
    "lockstitch.assistants.purging",
    "lockstitch.cli",
    "lockstitch.worker",
)
"""What commands load, now or later."""

LONGEST_REQUEST = 1 << 20


@dataclass(frozen=True)
class Loaded:
    """The process from which commands are forked, and the socket on which it is asked for them."""

    process: subprocess.Popen[bytes]
    socket: str


@cache
def _loaded() -> Loaded:
    """Start it; it ends with ours."""
    folder = TemporaryDirectory(prefix="lockstitch-commands-")
    path = str(Path(folder.name) / "socket")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", __spec__.name, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "200"},  # at which rich looks as soon as it is loaded
    )
    assert process.stdin is not None
    assert process.stdout is not None
    for at_last in (folder.cleanup, process.wait, process.stdin.close):
        atexit.register(at_last)  # the last one of them first
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
    return Loaded(process, path)


def run(words: Sequence[str], environment: Mapping[str, str], patience: float) -> tuple[int, str, str]:
    """Run a command to its end, and return its exit code and what it printed; kill it after ``patience`` seconds."""
    with TemporaryFile() as out, TemporaryFile() as err, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(_loaded().socket)
        request = {"words": words, "environment": dict(environment), "folder": str(Path.cwd())}
        socket.send_fds(connection, [json.dumps(request).encode()], [out.fileno(), err.fileno()])
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(patience)
        with connection.makefile() as told:
            pid = int(told.readline())
            try:
                code = int(told.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise
        return code, _content(out), _content(err)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _serve(path: str) -> None:
    """Start what is asked for until nobody holds the other end of our input any more."""
    for name in MODULES:
        importlib.import_module(name)
    gc.freeze()  # or each command would take a second at its end to take apart what it did not load
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who keep a command
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in readable:
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _keep(connection)
            return
        connection.close()


def _keep(connection: socket.socket) -> None:
    """Start one command, and tell how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request, outputs = _request(connection)
    pid = os.fork()
    if pid == 0:
        connection.close()
        _become(request["words"], request["environment"], request["folder"], *outputs)
    for output in outputs:
        os.close(output)
    connection.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    text, outputs, _, _ = socket.recv_fds(connection, LONGEST_REQUEST, 2)
    while more := connection.recv(LONGEST_REQUEST):
        text += more
    return json.loads(text), list(outputs)


def _become(words: list[str], environment: dict[str, str], folder: str, out: int, err: int) -> None:
    """Be the process of a command, to its end."""
    from lockstitch.cli import main

    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, file in enumerate((nothing, out, err)):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["lockstitch", *words]
    main()
    sys.exit(0)


if __name__ == "__main__":
    _serve(sys.argv[1])
