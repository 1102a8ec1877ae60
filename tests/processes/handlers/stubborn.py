"""Handlers that take their time when the worker is told to stop."""

import asyncio
import os
import time
from pathlib import Path

from lockstitch.tools import tool

BEGUN = Path(os.environ["BEGUN_FILE"])


@tool(retry_safe=True)
async def slow_step() -> str:
    """Take a step of two seconds, and do not begin another."""
    BEGUN.touch()
    await asyncio.sleep(2)
    return "done"


@tool
async def endless_step() -> str:
    """Take a step that never ends, but for a cancellation."""
    BEGUN.touch()
    await asyncio.Event().wait()
    return "never"


@tool
def deaf_step() -> str:
    """Take a step that heeds no cancellation."""
    BEGUN.touch()
    time.sleep(300)
    return "never"
