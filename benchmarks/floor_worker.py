"""The process that works on Temporal's floor: ``python -m lockstitch.benchmarks.floor_worker ADDRESS FILE``.

It writes the file once it takes work. The worker has the options of ours.
"""

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

import uvloop

from lockstitch import telemetry
from lockstitch.benchmarks.floor import TASK_QUEUE, Floor, do_nothing
from lockstitch.config import Config
from lockstitch.starter.client import connect_temporal
from lockstitch.temporal_choice import chosen_temporal
from lockstitch.worker import build_worker


async def main(address: str, ready_file: Path) -> None:
    """Work until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    config = Config(temporal_address=address, shutdown_grace=timedelta(0))
    client = await connect_temporal(chosen_temporal(config), telemetry.buffering_runtime())
    async with build_worker(client, config, TASK_QUEUE, [do_nothing], [Floor]):
        ready_file.touch()  # noqa: ASYNC240 - nothing else is under way
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], Path(sys.argv[2])))
