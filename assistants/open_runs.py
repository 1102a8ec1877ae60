"""Counts the open runs for operators, in servers as well as workers: a fleet that is down counts nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from lockstitch import telemetry
from lockstitch.errors import LockstitchError
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import OPEN_STATUSES

COUNT_SECONDS = 5.0


@asynccontextmanager
async def counting_open_runs(starter: Starter) -> AsyncIterator[None]:
    """Keep the metric of open runs up to date for as long as the ``async with`` lasts."""
    counting = asyncio.create_task(_count_on(starter), name="count-open-runs")
    try:
        yield
    finally:
        counting.cancel()
        with suppress(asyncio.CancelledError):
            await counting


async def count_open_runs(starter: Starter) -> None:
    """Set the metric to what the Temporal server counts."""
    for status in sorted(OPEN_STATUSES):
        telemetry.OPEN_RUNS.labels(status).set(await starter.count(status))


async def _count_on(starter: Starter) -> None:
    while True:
        try:
            await count_open_runs(starter)
        except LockstitchError as error:
            telemetry.log.warning("open_runs_not_counted", error=str(error))
        await asyncio.sleep(COUNT_SECONDS)
