"""The processes of the HTTP server's benchmark: Temporal dev server, our HTTP server, the bare one."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

from lockstitch.benchmarks import bare_server
from lockstitch.dev import DevOptions, DevStack, _lockstitch, _ready

SERVERS = ("server", "bare")


class HttpStack(DevStack):
    """As `lockstitch dev` has it, without a worker: what is measured are answers, not runs."""

    def __init__(self, data_dir: Path) -> None:
        options = DevOptions(data_dir, port=0, temporal_port=0, ui_port=0, metrics_port=0, quiet=True)
        super().__init__(options)
        self.database_url = f"sqlite:///{self.data_dir / 'lockstitch.db'}"
        self.bare_url = ""

    async def __aenter__(self) -> Self:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        ready_file = self.data_dir / "bare.ready"
        bare = [sys.executable, "-P", "-m", bare_server.__name__, str(ready_file)]

        async def bare_is_ready() -> bool:
            return await asyncio.to_thread(ready_file.exists)

        try:
            await self._start("temporal", self._temporal_command(), os.environ, self._temporal_answers)
            environment = {**os.environ, **self._settings(), "LOCKSTITCH_LOG_LEVEL": "warning"}
            await self._start("server", _lockstitch("serve"), environment, _ready(self.server_url))
            await self._start("bare", bare, os.environ, bare_is_ready)
            self.bare_url = ready_file.read_text()
        except BaseException:
            await self.aclose()
            raise
        return self

    def cpu_seconds(self) -> Mapping[str, float]:
        """Return how much processor time each server has taken so far."""
        used = {name: psutil.Process(self.pid(name)).cpu_times() for name in SERVERS}
        return {name: times.user + times.system for name, times in used.items()}

    def memory(self) -> Mapping[str, int]:
        """Return the bytes of memory that each server holds alone."""
        return {name: psutil.Process(self.pid(name)).memory_full_info().uss for name in SERVERS}
