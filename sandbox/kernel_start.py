"""Starting a warden and, through it, a kernel: descriptors, environment, command lines."""

import asyncio
import json
import os
import socket
import sys
from dataclasses import asdict
from pathlib import PurePosixPath

from lockstitch.sandbox.kernel import NAME
from lockstitch.sandbox.layout import FILTER, PROGRAM, TEMPORARY, Layout
from lockstitch.sandbox.port import DATA, Limits
from lockstitch.sandbox.python_installation import PythonInstallation
from lockstitch.sandbox.warden import Order
from lockstitch.sandbox.wires import Wires

_ENVIRONMENT = {
    "HOME": TEMPORARY,
    "LANG": "C.UTF-8",
    "MPLBACKEND": f"module://{NAME}",
    "MPLCONFIGDIR": f"{TEMPORARY}/matplotlib",
    "PATH": "/usr/bin",
    "PYTHONPATH": str(PurePosixPath(PROGRAM).parent),  # processes that code starts find the backend there
    "TMPDIR": TEMPORARY,
    # Each thread of a mathematical library takes memory for itself, and sessions share the processors.
    "MALLOC_ARENA_MAX": "2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


async def start_warden(
    sandbox: str, layout: Layout, python: PythonInstallation, limits: Limits, imports: tuple[str, ...]
) -> tuple[asyncio.subprocess.Process, Wires]:
    """Start a warden, which starts the kernel; ``imports`` are packages that it imports before it is ready."""
    frames, frames_inside = socket.socketpair()
    control, control_inside = socket.socketpair()
    (out, out_inside), (err, err_inside) = os.pipe(), os.pipe()
    os.set_blocking(out, False)
    os.set_blocking(err, False)
    order = Order(
        sandbox=sandbox,
        control=control_inside.fileno(),
        folder=layout.folder,
        python=layout.python,
        read_only=layout.read_only,
        command=_command(python, limits, imports),
        environment=_ENVIRONMENT,
        memory=limits.memory,
        processes=limits.processes,
        disk=limits.disk,
        cpu=limits.cpu.total_seconds(),
    )
    try:
        warden = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "lockstitch.sandbox.warden", json.dumps(asdict(order))),
            stdin=frames_inside.fileno(),
            stdout=out_inside,
            stderr=err_inside,
            pass_fds=[control_inside.fileno()],
            env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"},
            cwd="/",
            start_new_session=True,  # a Ctrl-C in the worker's terminal is for the worker
        )
    finally:
        frames_inside.close()
        control_inside.close()
        os.close(out_inside)
        os.close(err_inside)
    return warden, Wires(frames, {"stdout": out, "stderr": err}, control)


def _command(python: PythonInstallation, limits: Limits, imports: tuple[str, ...]) -> list[str]:
    options = {
        "filter": FILTER,
        "folder": str(DATA),
        "imports": imports,
        "longest_text": limits.output,
        "most_pictures": limits.pictures,
        "packages": [str(folder) for folder in python.packages],
        "resources": {"RLIMIT_DATA": limits.memory},
    }
    return [str(python.executable), "-I", PROGRAM, json.dumps(options)]
