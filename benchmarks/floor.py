"""Temporal's floor: a workflow of three activities that do nothing, on a worker with the same options as ours.

As many events as a workflow with three activities must have (23), and about as many bytes as their payloads make
in practice (2.7 kB). Started as ``python -m lockstitch.benchmarks.floor ADDRESS FILE``; it writes the file once
it takes work.
"""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

import uvloop
from temporalio import activity, workflow

from lockstitch import telemetry
from lockstitch.config import Config
from lockstitch.starter.client import connect_temporal
from lockstitch.worker import _worker

TASK_QUEUE = "floor"
PADDING = "x" * 50
"""Input and result of each activity."""


@activity.defn
async def do_nothing(padding: str) -> str:
    """Give back what it got."""
    return padding


@workflow.defn(name="Floor")
class Floor:
    """Three activities, one after the other."""

    @workflow.run
    async def run(self, padding: str) -> str:
        """Carry the padding through all three."""
        for _ in range(3):
            padding = await workflow.execute_activity(do_nothing, padding, start_to_close_timeout=timedelta(seconds=30))
        return padding


async def main(address: str, ready_file: Path) -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    config = Config(temporal_address=address, shutdown_grace=timedelta(0))
    client = await connect_temporal(address, config.temporal_namespace, telemetry.buffering_runtime())
    async with _worker(client, config, TASK_QUEUE, [do_nothing], workflows=[Floor]):
        ready_file.touch()  # noqa: ASYNC240 - nothing else is under way
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2])))
