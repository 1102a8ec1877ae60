"""Upgrades the workers under runs: `make upgrade-drill`, and `make chaos` at its end.

Workers of two versions run side by side. The new one is a copy of this release whose runs begin with another step, so
a run that came to a version on which it did not begin would break. Each run waits for a gate, then sends a letter,
then waits again, and says so. Workers of both versions are killed meanwhile.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import openai
from rich.console import Console
from rich.table import Table
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause

from lockstitch import dev
from lockstitch.dev import DevOptions, DevStack, _lockstitch, _Process, _ready
from lockstitch.errors import LockstitchError
from lockstitch.probes import listen
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, RunPolicy, ThreadRunRequest
from lockstitch.tests.another_release import ANOTHER_FIRST_STEP, copied

HERE = Path(__file__).parent
T = TypeVar("T")
DEPLOYMENT = {"LOCKSTITCH_DEPLOYMENT_NAME": "drill"}
SCRIPT = [
    {"round": 0, "call": [{"name": "wait_at_the_gate", "arguments": {}}]},
    {"round": 1, "call": [{"name": "send_letter", "arguments": {}}]},
    {"round": 2, "say": "All done."},
]
POLICY = RunPolicy(heartbeat_timeout=timedelta(seconds=10), deadline=timedelta(minutes=30), upstream_attempts=20)
LONGEST = 900.0
"""Seconds after which a run counts as stuck."""

BEGINNING_AT_ONCE = 20


class DrillStack(DevStack):
    """The stack of `lockstitch dev` with a worker of the version ``old``, and beside it one of the version ``new``."""

    def __init__(self, folder: Path, grace: int) -> None:
        self.gate, self.ledger, self.arrived = folder / "gate", folder / "ledger", folder / "arrived"
        self.arrived.mkdir()
        script = folder / "script.json"
        script.write_text(json.dumps(SCRIPT))
        self._own = {
            "PYTHONPATH": str(HERE),
            "LEDGER": str(self.ledger),
            "GATE": str(self.gate),
            "LOCKSTITCH_TOOLS": "upgrade_tools",
            "LOCKSTITCH_MODEL_SCRIPT": str(script),
            "LOCKSTITCH_SHUTDOWN_GRACE_SECONDS": str(grace),
            "LOCKSTITCH_EMBEDDER": "none",
            "LOCKSTITCH_SANDBOX": "none",
            **DEPLOYMENT,
        }
        old = {**self._own, "LOCKSTITCH_BUILD_ID": "old"}
        super().__init__(DevOptions(folder, 0, 0, 0, 0, environment=old, quiet=True))

    async def start_new(self, release: Path) -> None:
        """Start a worker of the other release."""
        with listen("127.0.0.1", 0, purpose="the new worker", option="") as listener:
            port = listener.getsockname()[1]
        environment = {
            **os.environ,
            **self._settings(),
            **self._own,
            "PYTHONPATH": f"{release}{os.pathsep}{HERE}",
            "LOCKSTITCH_BUILD_ID": "new",
            "LOCKSTITCH_METRICS_PORT": str(port),
        }
        await self._start("new worker", _lockstitch("worker"), environment, _ready(f"http://127.0.0.1:{port}"))

    async def stop_old(self) -> float:
        """Tell the old worker to stop, and return how many seconds it took."""
        process: _Process = next(it for it in self._processes if it.name == "worker")
        began = time.monotonic()
        await process.stop()
        self._processes.remove(process)
        return time.monotonic() - began

    async def command(self, *words: str) -> int:
        """Run the command line as an operator would, and return its exit code."""
        process = await asyncio.create_subprocess_exec(
            *_lockstitch(words[0]), *words[1:], env={**os.environ, **self._settings(), **DEPLOYMENT}
        )
        return await process.wait()


@dataclass
class Tally:
    """What happened."""

    kills: Counter[str] = field(default_factory=Counter)
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By the version that was to carry the run, and status."""
    versions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By the version that was to carry the run, and the one on which it ended."""
    failed_steps: Counter[str] = field(default_factory=Counter)
    """Workflow tasks that failed, by cause."""
    problems: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Drill:
    """One drill."""

    stack: DrillStack
    starter: Starter
    assistant_id: str
    rng: random.Random
    tally: Tally = field(default_factory=Tally)

    async def play(self, release: Path, runs: int, later: int) -> None:
        """Have ``runs`` under way on the old version, upgrade under them, and start ``later`` more on the new one."""
        first = await self._timed("beginning the runs", self._begin(runs, "old"))
        await self._timed("starting the new version", self.stack.start_new(release))
        while await self.stack.command("deployments", "set-current", "new"):
            await asyncio.sleep(1)  # not all task queues of a worker that has just started are known yet
        second = await self._begin(later, "new")
        killer = asyncio.create_task(self._kill_on())
        await asyncio.sleep(40)  # a while in which both versions die and come back, with all runs open
        if not await self.stack.command("deployments", "drained", "old"):
            self.tally.problems.append("the old version was said to be drained while its runs were open")
        self.stack.gate.touch()
        ends = asyncio.gather(*(self._end(run_id, "old") for run_id in first), *(self._end(it, "new") for it in second))
        await self._timed("ending the runs", ends)
        killer.cancel()
        await asyncio.gather(killer, return_exceptions=True)
        if await self.stack.command("deployments", "drained", "old", "--wait"):
            self.tally.problems.append("the old version was not drained")
        self.tally.seconds["stopping the old version"] = await self.stack.stop_old()
        last = await self._begin(5, "new")
        await asyncio.gather(*(self._end(run_id, "new") for run_id in last))
        self._check_ledger([*first, *second, *last])

    async def _timed(self, what: str, work: Awaitable[T]) -> T:
        began = time.monotonic()
        try:
            return await work
        finally:
            self.tally.seconds[what] = time.monotonic() - began

    async def _begin(self, runs: int, version: str) -> Sequence[str]:
        """Start runs, a few at a time, and return their ids once each of them has come to the gate."""
        turn = asyncio.Semaphore(BEGINNING_AT_ONCE)

        async def one() -> str:
            async with turn:
                request = ThreadRunRequest(
                    assistant_id=self.assistant_id,
                    messages=[NewMessage(role="user", content="Write a letter.")],
                    policy=POLICY,
                )
                run_id = await self.starter.start(request)
                async with asyncio.timeout(LONGEST):
                    while not (self.stack.arrived / run_id).exists():
                        await asyncio.sleep(0.2)
                return run_id

        return await asyncio.gather(*(one() for _ in range(runs)))

    async def _end(self, run_id: str, version: str) -> None:
        """Wait for the end of a run, and look into its history."""
        try:
            async with asyncio.timeout(LONGEST):
                result = await self.starter.result(run_id)
        except (TimeoutError, LockstitchError) as error:
            self.tally.problems.append(f"{run_id} of {version} has not ended in time: {error}")
            return
        self.tally.ends[version, result.status] += 1
        if result.status != "completed":
            self.tally.problems.append(f"{run_id} of {version} ended as {result.status}: {result.last_error}")
        await self._look_into(run_id, version)

    async def _look_into(self, run_id: str, version: str) -> None:
        handle = self.starter.temporal.get_workflow_handle(run_id)
        info: Any = (await handle.describe()).raw_description.workflow_execution_info
        carried_by = info.versioning_info.deployment_version.build_id
        self.tally.versions[version, carried_by] += 1
        if carried_by != version:
            self.tally.problems.append(f"{run_id} began on {version} and ended on {carried_by}")
        async for event in handle.fetch_history_events():
            if event.event_type != EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                continue
            failed = event.workflow_task_failed_event_attributes
            cause = WorkflowTaskFailedCause.Name(failed.cause).removeprefix("WORKFLOW_TASK_FAILED_CAUSE_").lower()
            self.tally.failed_steps[cause] += 1
            if "determinis" in f"{cause} {failed.failure.message}".lower():
                self.tally.problems.append(f"{run_id} was replayed into an error: {failed.failure.message}")

    async def _kill_on(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(8, 20))
            victim = self.rng.choice(("worker", "new worker"))
            with suppress(ProcessLookupError):
                os.kill(self.stack.pid(victim), signal.SIGKILL)
                self.tally.kills[victim] += 1

    def _check_ledger(self, run_ids: Sequence[str]) -> None:
        """See that each run has sent one letter."""
        written = self.stack.ledger.read_text().splitlines() if self.stack.ledger.exists() else []
        sent = Counter(line.split()[1].partition(":")[0] for line in written)
        self.tally.problems += [f"{run_id} sent {sent[run_id]} letters" for run_id in run_ids if sent[run_id] != 1]


@asynccontextmanager
async def opened(folder: Path, seed: int) -> AsyncIterator[Drill]:
    """Start everything with the old version."""
    os.environ.update(LEDGER=str(folder / "ledger"), GATE=str(folder / "gate"))
    from upgrade_tools import send_letter, wait_at_the_gate

    from lockstitch.tools import ToolRegistry

    warnings.simplefilter("ignore", DeprecationWarning)  # at OpenAI the API is deprecated
    tools: Any = ToolRegistry([wait_at_the_gate, send_letter]).definitions()
    async with DrillStack(folder, grace=5) as stack:
        async with openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key="any") as client:
            assistant = await client.beta.assistants.create(model="scripted", tools=tools)
        async with await Starter.connect(stack.temporal_address, server_url=stack.server_url) as starter:
            yield Drill(stack, starter, assistant.id, random.Random(seed))


def show(tally: Tally, console: Console) -> None:
    """Print what became of the runs."""
    table = Table("what", "how often", title="An upgrade under runs")
    names = {"worker": "old worker", "new worker": "new worker"}
    for victim, name in names.items():
        table.add_row(f"kill -9 of the {name}", str(tally.kills[victim]))
    for (version, status), count in sorted(tally.ends.items()):
        table.add_row(f"runs of the {version} version that ended as {status}", str(count))
    for (began, ended), count in sorted(tally.versions.items()):
        table.add_row(f"runs that were begun on {began} and carried by {ended}", str(count))
    for cause, count in sorted(tally.failed_steps.items()):
        table.add_row(f"workflow tasks that failed: {cause}", str(count))
    table.add_row("problems", str(len(tally.problems)))
    for what, seconds in tally.seconds.items():
        table.add_row(f"{what} (s)", f"{seconds:.0f}")
    console.print(table)
    for problem in tally.problems:
        console.print(f"[red]{problem}[/]")


async def _main(options: argparse.Namespace, console: Console) -> int:
    with tempfile.TemporaryDirectory(prefix="lockstitch-upgrade-") as name:
        folder = Path(name)
        console.print(f"Seed {options.seed}. Starting everything ...")
        release = copied(folder / "release", ANOTHER_FIRST_STEP)
        async with opened(folder, options.seed) as drill:
            await drill.play(release, options.runs, options.later)
        show(drill.tally, console)
        return len(drill.tally.problems)


def main() -> int:
    """Run the drill; the exit code is 1 where a run was lost, replayed into an error, or did something twice."""
    parser = argparse.ArgumentParser(description="Upgrade the workers under runs.")
    parser.add_argument("--runs", type=int, default=200, help="how many are under way when the new version comes")
    parser.add_argument("--later", type=int, default=40, help="how many are begun after it")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of who dies when")
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    dev.START_SECONDS = 300.0  # two workers that die and come back keep a small machine busy
    return 1 if asyncio.run(_main(options, Console())) else 0


if __name__ == "__main__":
    sys.exit(main())
