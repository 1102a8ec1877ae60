"""The command line, in processes of their own as people start them."""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from typing import NamedTuple

# -P: the folder in which the tests run must not hide installed packages behind ours.
LOCKSTITCH = (sys.executable, "-P", "-m", "lockstitch.cli")

PATIENCE_SECONDS = 100.0


class Ended(NamedTuple):
    """What became of a command: its exit code and what it printed."""

    code: int | None
    out: str
    err: str


async def lockstitch(*words: str, **environment: str) -> Ended:
    """Run a command to its end with this process's environment and more, without a terminal."""
    process = await asyncio.create_subprocess_exec(
        *LOCKSTITCH,
        *words,
        env={**os.environ, "COLUMNS": "200", **environment},
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    except BaseException:
        process.kill()
        raise
    return Ended(process.returncode, out.decode(), err.decode())
