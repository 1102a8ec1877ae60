"""Everything on one machine: the Temporal dev server, a worker and the HTTP server, which end together."""

import asyncio
import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import httpx2

from lockstitch.assistants.embedding.opening import missing_packages
from lockstitch.errors import DevServerMissing, PortInUse, ProcessFailed, TemporalUnreachable
from lockstitch.probes import listen
from lockstitch.starter import contract
from lockstitch.starter.certificates import trusted_for
from lockstitch.starter.client import connect_temporal
from lockstitch.starter.temporal_server import TemporalServer

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 40.0
RESTART_PAUSE_SECONDS = 1.0

SERVER_SETTINGS = (
    # A hop from task to task otherwise waits 50 ms.
    "history.transferProcessorMaxPollRPS=5000",
    # One partition: with four, a task under load may wait seconds for the poller that has its partition.
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    # The search attributes are known at the start; by default, this server reads their names anew at each use.
    "system.forceSearchAttributesCacheRefreshOnRead=false",
    # A worker that stops ends its polls itself. This server can do it for the worker, but misses one that begins at
    # that moment, and then the worker does not stop for a minute (temporalio/temporal, pull request 11841).
    "frontend.enableCancelWorkerPollsOnShutdown=false",
)
_OTHER_SERVERS_SETTINGS = (
    "LOCKSTITCH_TEMPORAL_TLS",
    "LOCKSTITCH_TEMPORAL_TLS_CA",
    "LOCKSTITCH_TEMPORAL_TLS_CERT",
    "LOCKSTITCH_TEMPORAL_TLS_KEY",
    "LOCKSTITCH_TEMPORAL_TLS_SERVER_NAME",
    "LOCKSTITCH_TEMPORAL_API_KEY",
)
"""What the shell may say of another Temporal server; the one that is started here has none of it."""

_SQLITE_SETTINGS = ("journal_mode=wal", "synchronous=off")


@dataclass(frozen=True, slots=True)
class DevOptions:
    """Where everything listens and keeps its data; a port of 0 means one that is free."""

    data_dir: Path = Path(".lockstitch")
    port: int = 8700
    temporal_port: int = 7233
    ui_port: int = 8233
    metrics_port: int = 9464
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the worker and the server are started with, beside what follows from the other options."""
    quiet: bool = False
    """Whether the worker and the server log into files of the data folder instead of standard error."""
    start_seconds: float = START_SECONDS
    """How long each process may take until it works."""


class DevStack:
    """The three processes, up while the ``async with`` lasts. One that dies is started again.

    Raises `PortInUse`, `DevServerMissing` and `ProcessFailed`; nothing is left running then.
    """

    def __init__(self, options: DevOptions) -> None:
        self._options = options
        self.data_dir = options.data_dir.resolve()
        ports = _choose_ports(options)
        self.temporal_address = f"{HOST}:{ports['temporal']}"
        self.server_url = f"http://{HOST}:{ports['server']}"
        self.ui_url = f"http://{HOST}:{ports['ui']}"
        self.metrics_url = f"http://{HOST}:{ports['metrics']}"
        self._ports = ports
        self._processes: list[_Process] = []

    def __repr__(self) -> str:
        return f"DevStack({self.server_url}, temporal={self.temporal_address}, data_dir={str(self.data_dir)!r})"

    async def __aenter__(self) -> Self:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        try:
            await self._start("temporal", self._temporal_command(), os.environ, self._temporal_answers)
            environment = {**_defaults(), **os.environ, **self._settings(), **self._options.environment}
            await asyncio.gather(
                self._start("worker", _lockstitch("worker"), environment, _ready(self.metrics_url)),
                self._start("server", _lockstitch("serve"), environment, _ready(self.server_url)),
            )
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the worker and the server, then the Temporal server that they need; may be called twice."""
        temporal, others = self._processes[:1], self._processes[1:]
        self._processes = []
        await asyncio.gather(*(process.stop() for process in others))
        await asyncio.gather(*(process.stop() for process in temporal))

    def pid(self, name: str) -> int:
        """Return the id of the process ``temporal``, ``worker`` or ``server`` as it runs now."""
        return next(process.pid for process in self._processes if process.name == name)

    def workflow_url(self, run_id: str) -> str:
        """Return the page of a run in the Temporal UI."""
        return f"{self.ui_url}/namespaces/default/workflows/{run_id}"

    async def _start(self, name: str, command: Sequence[str], environment: Mapping[str, str], ready: "_Ready") -> None:
        log = self.data_dir / f"{name}.log" if self._options.quiet or name == "temporal" else None
        process = _Process(name, command, environment, log)
        self._processes.append(process)
        await process.start(ready, self._options.start_seconds)

    async def _temporal_answers(self) -> bool:
        with suppress(TemporalUnreachable):
            client = await connect_temporal(TemporalServer(self.temporal_address))
            return await client.service_client.check_health()
        return False

    def _settings(self) -> dict[str, str]:
        return {
            "LOCKSTITCH_TEMPORAL_ADDRESS": self.temporal_address,
            **dict.fromkeys(_OTHER_SERVERS_SETTINGS, ""),
            "LOCKSTITCH_CODEC_ORIGINS": f"{self.ui_url},http://localhost:{self._ports['ui']}",
            "LOCKSTITCH_TEMPORAL_UI_URL": self.ui_url,
            "LOCKSTITCH_DATABASE_URL": f"sqlite:///{self.data_dir / 'lockstitch.db'}",
            "LOCKSTITCH_HOST": HOST,
            "LOCKSTITCH_PORT": str(self._ports["server"]),
            "LOCKSTITCH_SERVER_URL": self.server_url,
            "LOCKSTITCH_METRICS_HOST": HOST,
            "LOCKSTITCH_METRICS_PORT": str(self._ports["metrics"]),
        }

    def _temporal_command(self) -> list[str]:
        repeated = [
            *(("--search-attribute", f"{key.name}={_ATTRIBUTE_TYPES[key.value_type]}")
              for key in contract.SEARCH_ATTRIBUTES),
            *(("--dynamic-config-value", setting) for setting in SERVER_SETTINGS),
            *(("--sqlite-pragma", pragma) for pragma in _SQLITE_SETTINGS),
        ]  # fmt: skip
        return [
            temporal_binary(), "server", "start-dev", "--log-level", "error",
            "--ip", HOST, "--port", str(self._ports["temporal"]),
            "--ui-ip", HOST, "--ui-port", str(self._ports["ui"]),
            *self._codec_options(),
            "--db-filename", str(self.data_dir / "temporal.db"),
            *(word for pair in repeated for word in pair),
        ]  # fmt: skip

    def _codec_options(self) -> list[str]:
        """Have the UI ask our server where it could not read payloads itself."""
        environment = {**os.environ, **self._options.environment}
        if any(environment.get(name) for name in ("LOCKSTITCH_PAYLOAD_KEYS", "LOCKSTITCH_PAYLOAD_STORE")):
            return ["--ui-codec-endpoint", f"{self.server_url}/codec"]
        return []


def _defaults() -> dict[str, str]:
    """Return what holds where the shell says nothing else: vectors and code, as soon as what they need is installed."""
    defaults = {} if missing_packages("minilm") else {"LOCKSTITCH_EMBEDDER": "minilm"}
    if importlib.util.find_spec("sandlock") is not None:
        defaults["LOCKSTITCH_SANDBOX"] = "sandlock"
    return defaults


_ATTRIBUTE_TYPES: dict[type, str] = {str: "Keyword", bool: "Bool", datetime: "Datetime"}

_Ready = Callable[[], Any]


class _Process:
    """One process that is started again when it dies by itself."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path | None) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"_Process({self.name!r}, pid={self._process.pid if self._process else None})"

    @property
    def pid(self) -> int:
        assert self._process is not None  # noqa: S101 - asked for while it runs
        return self._process.pid

    async def start(self, ready: _Ready, patience: float = START_SECONDS) -> None:
        await self._spawn()
        assert self._process is not None  # noqa: S101 - just started
        try:
            async with asyncio.timeout(patience):
                while not await ready():
                    if self._process.returncode is not None:
                        raise ProcessFailed(self.name, self._last_words())
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise ProcessFailed(self.name, f"it was not ready within {patience:g} s. {self._last_words()}") from error
        self._keeper = asyncio.create_task(self._keep_alive(), name=f"keep-{self.name}")

    async def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _spawn(self) -> None:
        output = None if self._log is None else self._log.open("ab")
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            env=dict(self._environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output or sys.stderr,
            stderr=output or sys.stderr,
            preexec_fn=_before_exec,
        )
        if output is not None:
            output.close()

    async def _keep_alive(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            sys.stderr.write(f"The {self.name} ended with {code}; it is started again.\n")
            await asyncio.sleep(RESTART_PAUSE_SECONDS)
            await self._spawn()

    def _last_words(self) -> str:
        if self._log is None:
            return "Its output above says why."
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"It said nothing; see {self._log}."


def _before_exec() -> None:
    """Prepare a new process, which is not yet the program that it will be."""
    # Ctrl-C in a terminal reaches the group of this process only, which then ends the others in the right order.
    os.setpgid(0, 0)
    if sys.platform == "linux":  # where this process is killed, the others must not be left behind
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def temporal_binary() -> str:
    """Return the path of the Temporal dev server; raises `DevServerMissing`."""
    beside_python = Path(sysconfig.get_path("scripts")) / "temporal"
    found = str(beside_python) if beside_python.exists() else shutil.which("temporal")
    if found is None:
        raise DevServerMissing
    return found


def _lockstitch(command: str) -> list[str]:
    # -P: in the repository's root, the folder would otherwise hide installed packages behind ours.
    return [sys.executable, "-P", "-m", "lockstitch.cli", command]


def _ready(url: str) -> _Ready:
    async def ready() -> bool:
        async with httpx2.AsyncClient(trust_env=False, timeout=5, verify=trusted_for(url)) as client:
            with suppress(httpx2.TransportError):
                return (await client.get(f"{url}/readyz")).status_code == 200
        return False

    return ready


def _choose_ports(options: DevOptions) -> dict[str, int]:
    wanted = {
        "server": (options.port, "the HTTP server", "--port"),
        "temporal": (options.temporal_port, "the Temporal server", "--temporal-port"),
        "ui": (options.ui_port, "the Temporal UI", "--ui-port"),
        "metrics": (options.metrics_port, "the worker's metrics", "--metrics-port"),
    }
    taken: dict[str, socket.socket] = {}
    try:
        for name, (port, purpose, option) in wanted.items():
            try:
                taken[name] = listen(HOST, port, purpose=purpose, option=option)
            except PermissionError as error:
                raise PortInUse(port, purpose, option) from error
        return {name: listener.getsockname()[1] for name, listener in taken.items()}
    finally:
        for listener in taken.values():
            listener.close()
