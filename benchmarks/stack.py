"""The processes of one benchmark: Temporal dev server, model endpoint, our worker, and the floor's worker."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import psutil

from lockstitch.benchmarks import floor_worker, model_process, no_op_tool
from lockstitch.dev import DevOptions, DevStack, _lockstitch, _ready

PROCESSES = ("temporal", "model", "floor", "worker")
MODULES = {"model": model_process.__name__, "floor": floor_worker.__name__}
TOOLS = no_op_tool.__name__


class BenchmarkStack(DevStack):
    """As `lockstitch dev` has it, but for the HTTP server, whose place the model and the floor's worker take."""

    def __init__(self, data_dir: Path) -> None:
        options = DevOptions(data_dir, port=0, temporal_port=0, ui_port=0, metrics_port=0, quiet=True)
        super().__init__(options)
        self.database_url = f"sqlite:///{self.data_dir / 'lockstitch.db'}"
        self.model_url = ""
        """The base URL of the model endpoint."""

    async def __aenter__(self) -> Self:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        try:
            await self._start("temporal", self._temporal_command(), os.environ, self._temporal_answers)
            await self._start_module("model")
            self.model_url = (self.data_dir / "model.ready").read_text() + "/v1"
            await self._start_module("floor", self.temporal_address)
            model = {"LOCKSTITCH_MODEL": "openai", "OPENAI_BASE_URL": self.model_url, "LOCKSTITCH_TOOLS": TOOLS}
            environment = {**os.environ, **self._settings(), **model}
            await self._start("worker", _lockstitch("worker"), environment, _ready(self.metrics_url))
        except BaseException:
            await self.aclose()
            raise
        return self

    async def _start_module(self, name: str, *arguments: str) -> None:
        ready_file = self.data_dir / f"{name}.ready"
        command = [sys.executable, "-P", "-m", MODULES[name], *arguments, str(ready_file)]

        async def ready() -> bool:
            return await asyncio.to_thread(ready_file.exists)

        await self._start(name, command, os.environ, ready)

    def cpu_seconds(self) -> Mapping[str, float]:
        """Return how much processor time each process has taken so far, and this one as ``driver``."""
        pids = {name: self.pid(name) for name in PROCESSES} | {"driver": os.getpid()}
        used = {name: psutil.Process(pid).cpu_times() for name, pid in pids.items()}
        return {name: times.user + times.system for name, times in used.items()}
