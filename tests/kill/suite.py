"""Kills processes at random while runs are under way, and counts what became of them: ``make chaos`` runs it.

The whole stack runs as `lockstitch dev` starts it, with an Assistants server beside it. Each run charges a card and
sends a letter in one round, then says so. A person is played by this program: asked about a call whose outcome is
unknown, it looks into the ledger, as a person would, and says what is there or has the call made again.
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
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import httpx2
import openai
from rich.console import Console
from rich.table import Table
from temporalio.service import RPCError

from lockstitch.dev import DevOptions, DevStack
from lockstitch.errors import LockstitchError
from lockstitch.probes import listen
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, RunPolicy, ThreadRunRequest, ThreadRunResult
from lockstitch.starter.escalations import Decision, Escalation

HERE = Path(__file__).parent
TOOLS = ("charge_card", "send_letter")
SCRIPT = [{"round": 0, "call": [{"name": name, "arguments": {}} for name in TOOLS]}, {"round": 1, "say": "All done."}]
VICTIMS = ("worker", "server", "temporal", "upstream")
# Short silences, so that a dead worker is noticed while the suite lasts; a deadline that no run should need; and
# patience with a server that is killed again before it is back, for which the six attempts of the default are too few.
POLICY = RunPolicy(heartbeat_timeout=timedelta(seconds=3), deadline=timedelta(minutes=10), upstream_attempts=20)
LONGEST = 480.0
"""Seconds after which a run counts as stuck."""


class KillableStack(DevStack):
    """The stack of `lockstitch dev`, and an Assistants server whose state survives it."""

    def __init__(self, folder: Path) -> None:
        listener = listen("127.0.0.1", 0, purpose="the Assistants server", option="")
        self._upstream_port = listener.getsockname()[1]
        listener.close()
        self.upstream_url = f"http://127.0.0.1:{self._upstream_port}/v1"
        self._script = folder / "script.json"
        self._script.write_text(json.dumps(SCRIPT))
        environment = {
            "PYTHONPATH": str(HERE),
            "LEDGER": str(folder / "ledger"),
            "LOCKSTITCH_TOOLS": "ledger_tools",
            "LOCKSTITCH_MODEL_SCRIPT": str(self._script),
            "LOCKSTITCH_ASSISTANTS_URL": self.upstream_url,
            "LOCKSTITCH_SHUTDOWN_GRACE_SECONDS": "0",
        }
        super().__init__(DevOptions(folder, 0, 0, 0, 0, environment=environment, quiet=True))

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        command = [
            sys.executable, "-P", "-m", "lockstitch.testing.assistants_upstream",
            "--script", str(self._script), "--port", str(self._upstream_port),
            "--state-file", str(self.data_dir / "upstream.db"), "--poll-after-ms", "100",
        ]  # fmt: skip
        await self._start("upstream", command, os.environ, self._upstream_answers)
        return self

    async def _upstream_answers(self) -> bool:
        async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
            with suppress(httpx2.TransportError):
                return (await client.get(f"{self.upstream_url}/assistants")).status_code < 500
        return False


@dataclass
class Tally:
    """What happened."""

    kills: Counter[str] = field(default_factory=Counter)
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By way in and status."""
    problems: list[str] = field(default_factory=list)
    decided: Counter[str] = field(default_factory=Counter)
    run_ids: set[str] = field(default_factory=set)
    replaced: int = 0
    longest: float = 0.0


@dataclass
class Suite:
    """One run of the suite."""

    stack: KillableStack
    starter: Starter
    rng: random.Random
    assistants: dict[str, str]
    tally: Tally = field(default_factory=Tally)

    async def play(self, runs: int, at_once: int) -> Tally:
        """Carry out the runs, so many at a time, while processes die and a person decides."""
        background = [asyncio.create_task(self._kill_on()), asyncio.create_task(self._decide_on())]
        left = iter(range(runs))

        async def take_on() -> None:
            for number in left:
                await self._one(number)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(at_once):
                    group.create_task(take_on())
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
        return self.tally

    async def _one(self, number: int) -> None:
        way = ("starter, local", "starter, assistants", "HTTP, local")[number % 3]
        began = time.monotonic()
        try:
            async with asyncio.timeout(LONGEST):
                run_id = await self._begin(way, number)
                result = await self._result(run_id)
        except TimeoutError:
            self.tally.problems.append(f"run {number} ({way}) has not ended after {LONGEST:g} s")
            return
        self.tally.run_ids.add(run_id)
        self.tally.ends[way, result.status] += 1
        self.tally.replaced += len(result.attempts) - 1
        self.tally.longest = max(self.tally.longest, time.monotonic() - began)
        if result.status != "completed":
            self.tally.problems.append(f"{run_id} ({way}) ended as {result.status}: {result.last_error}")

    async def _begin(self, way: str, number: int) -> str:
        """Have a run accepted; whoever is not told so asks again, as every client does."""
        while True:
            with suppress(LockstitchError, RPCError, httpx2.TransportError, openai.OpenAIError):
                if way.startswith("HTTP"):
                    return await self._begin_over_http()
                backend = way.split(", ")[1]
                request = ThreadRunRequest(
                    assistant_id=self.assistants[backend],
                    messages=[NewMessage(role="user", content="Charge and write.")],
                    backend=backend,  # type: ignore[arg-type]  # one of the two
                    policy=POLICY,
                )
                return await self.starter.start(request, key=f"suite-{number}")
            await asyncio.sleep(0.2)

    async def _begin_over_http(self) -> str:
        body = {
            "assistant_id": self.assistants["local"],
            "thread": {"messages": [{"role": "user", "content": "Charge and write."}]},
        }
        async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
            headers = {"OpenAI-Beta": "assistants=v2"}
            answer = await client.post(f"{self.stack.server_url}/v1/threads/runs", json=body, headers=headers)
            if answer.status_code != 200:
                raise httpx2.ConnectError(f"the server answered {answer.status_code}")
            return str(answer.json()["id"])

    async def _result(self, run_id: str) -> ThreadRunResult:
        while True:
            with suppress(LockstitchError, RPCError):  # away for a moment, or the run's start is still to be swept up
                return await self.starter.result(run_id)
            await asyncio.sleep(0.2)

    async def _kill_on(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(0.4, 2.5))
            victim = self.rng.choices(VICTIMS, weights=(4, 2, 1, 2))[0]
            with suppress(ProcessLookupError):
                os.kill(self.stack.pid(victim), signal.SIGKILL)
                self.tally.kills[victim] += 1

    async def _decide_on(self) -> None:
        while True:
            await asyncio.sleep(0.3)
            with suppress(LockstitchError, RPCError):
                for escalation in await self.starter.escalations():
                    await self._decide(escalation)

    async def _decide(self, escalation: Escalation) -> None:
        line = f"{escalation.tool} {escalation.run_id}:{escalation.call_id}"
        ledger = self.stack.data_dir / "ledger"
        done = ledger.exists() and line in ledger.read_text().splitlines()
        action: Any = "answer" if done else "retry"
        output = f"{escalation.tool} is done" if done else None
        decision = Decision(escalation_id=escalation.id, action=action, by="the suite", output=output)
        with suppress(LockstitchError):
            await self.starter.decide(escalation.run_id, decision)
            self.tally.decided[f"{escalation.reason}: {action}"] += 1


@asynccontextmanager
async def opened(folder: Path, seed: int) -> AsyncIterator[Suite]:
    """Start everything, with one assistant on each side."""
    from ledger_tools import charge_card, send_letter

    from lockstitch.tools import ToolRegistry

    tools: Any = ToolRegistry([charge_card, send_letter]).definitions()
    async with KillableStack(folder) as stack:
        assistants = {}
        for backend, url in (("local", f"{stack.server_url}/v1"), ("assistants", stack.upstream_url)):
            async with openai.AsyncOpenAI(base_url=url, api_key="any") as client:
                assistants[backend] = (await client.beta.assistants.create(model="scripted", tools=tools)).id
        async with await Starter.connect(stack.temporal_address, server_url=stack.server_url) as starter:
            yield Suite(stack, starter, random.Random(seed), assistants)


def show(tally: Tally, ledger: Path, runs: int, console: Console) -> int:
    """Print what became of the runs and return how much went wrong."""
    effects = Counter(ledger.read_text().splitlines() if ledger.exists() else [])
    doubled = {line: times for line, times in effects.items() if times > 1}
    # A client that is not told that its run was accepted asks for another: those are carried out too.
    by_run = Counter(line.split()[1].partition(":")[0] for line in effects)
    missing = sum(len(TOOLS) - by_run[run_id] for run_id in tally.run_ids)
    table = Table(title=f"{runs} runs, {sum(tally.kills.values())} kills")
    table.add_column("what")
    table.add_column("how often", justify="right")
    for victim in VICTIMS:
        table.add_row(f"kill -9 of the {victim}", str(tally.kills[victim]))
    for (way, status), count in sorted(tally.ends.items()):
        table.add_row(f"runs ({way}) that ended as {status}", str(count))
    table.add_row("runs lost or stuck", str(runs - sum(tally.ends.values())))
    for what, count in sorted(tally.decided.items()):
        table.add_row(f"decided about {what}", str(count))
    table.add_row("runs upstream that were replaced", str(tally.replaced))
    table.add_row("side effects written", str(sum(effects.values())))
    table.add_row("side effects that happened twice", str(len(doubled)))
    table.add_row("side effects that are missing", str(missing))
    table.add_row("runs accepted without their client being told", str(len(by_run.keys() - tally.run_ids)))
    table.add_row("longest run (s)", f"{tally.longest:.0f}")
    console.print(table)
    for problem in [*tally.problems, *(f"twice: {line}" for line in doubled)]:
        console.print(f"[red]{problem}[/]")
    return len(tally.problems) + len(doubled) + missing


async def _main(options: argparse.Namespace, console: Console) -> int:
    with tempfile.TemporaryDirectory(prefix="lockstitch-kill-") as folder:
        os.environ["LEDGER"] = str(Path(folder) / "ledger")
        console.print(f"Seed {options.seed}. Starting everything ...")
        async with opened(Path(folder), options.seed) as suite:
            tally = await suite.play(options.runs, options.at_once)
        return show(tally, Path(folder) / "ledger", options.runs, console)


def main() -> int:
    """Run the suite; the exit code is 1 where anything was lost, stuck or done twice."""
    parser = argparse.ArgumentParser(description="Kill processes while runs are under way.")
    parser.add_argument("--runs", type=int, default=210, help="how many runs")
    parser.add_argument("--at-once", type=int, default=14, help="how many at a time")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of what is killed when"
    )
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    # What the processes say while they die and come back is not worth reading.
    return 1 if asyncio.run(_main(options, Console())) else 0


if __name__ == "__main__":
    sys.exit(main())
