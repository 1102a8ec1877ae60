"""The command line, in processes of their own as people start them."""

import asyncio
import os
import sys
from typing import NamedTuple

from lockstitch.tests import loaded_commands

# -P: the folder in which the tests run must not hide installed packages behind ours.
LOCKSTITCH = (sys.executable, "-P", "-m", "lockstitch.cli")

PATIENCE_SECONDS = 100.0


class Ended(NamedTuple):
    """What became of a command: its exit code and what it printed."""

    code: int
    out: str
    err: str


async def lockstitch(*words: str, **environment: str) -> Ended:
    """Run a command to its end with this process's environment and more, without a terminal."""
    assert "PYTHONPATH" not in environment, "what is loaded already does not heed it: use lockstitch_anew"
    settings = {**os.environ, "COLUMNS": "200", **environment}
    return Ended(*await asyncio.to_thread(loaded_commands.run, words, settings, PATIENCE_SECONDS))


async def lockstitch_anew(*words: str, **environment: str) -> Ended:
    """Run a command as `lockstitch` does, with all that Python does before it: slower by what takes to load."""
    process = await asyncio.create_subprocess_exec(
        *LOCKSTITCH,
        *words,
        env={**os.environ, "COLUMNS": "200", **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await process.communicate()
    except BaseException:
        process.kill()
        raise
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), err.decode())
