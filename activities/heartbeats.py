"""Tells Temporal that an activity lives for as long as it runs, and so learns when it was cancelled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from temporalio import activity


@asynccontextmanager
async def heartbeats() -> AsyncIterator[None]:
    """Send a heartbeat four times in each heartbeat timeout, while the body runs."""
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return
    beating = asyncio.create_task(_beat(timeout.total_seconds() / 4), name="heartbeats")
    try:
        yield
    finally:
        beating.cancel()


async def _beat(seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)  # first: most activities end sooner, and the server writes each heartbeat down
        activity.heartbeat()
