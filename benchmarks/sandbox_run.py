"""Measure calls of the code interpreter: ``python benchmarks/sandbox_run.py [--quick] [--check]``.

The same code in a bare subprocess, in a new session, in one that was kept warm, and in one that has run code before,
for each sandbox that works here. Prints tables and writes ``sandbox.json`` and ``sandbox.md`` into
``benchmarks/results``.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop
from rich.console import Console

from lockstitch.benchmarks import sandbox_report
from lockstitch.benchmarks.sandbox_report import BARE, COLD, LATER, WARM, SandboxMeasurements
from lockstitch.errors import SandboxUnavailable
from lockstitch.sandbox.port import Limits, Session, Value
from lockstitch.sandbox.sandboxes import CONFINING, KernelSandbox, SandboxName, sandbox_of

RESULTS = Path(__file__).parent / "results"
ROUNDS = 15
QUICK_ROUNDS = 3
CODE = """
import pandas as pd
sales = pd.DataFrame({"month": list("abcdef") * 200, "amount": range(1200)})
int(sales.groupby("month")["amount"].sum().max())
"""
ANSWER = "120400"

Measure = Callable[[], Awaitable[float]]
"""Does one call and returns the seconds that it took, without what is done ahead of calls."""


async def measure(rounds: int, console: Console) -> SandboxMeasurements:
    """Measure every way to run the code in turns, after a round that does not count."""
    async with AsyncExitStack() as stack:
        ways: dict[tuple[str, str], Measure] = {(BARE, ""): _bare}
        refused: dict[str, str] = {}
        for name in CONFINING:
            try:
                sandbox = await _opened(name, stack)
            except SandboxUnavailable as error:
                refused[name] = str(error)
                continue
            ways |= {(kind, name): way for kind, way in _ways_of(sandbox, await sandbox.open(Limits())).items()}
        taken: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
        for round_number in range(rounds + 1):
            console.print(f"[dim]Round {round_number} of {rounds} ...[/]")
            for way in list(ways) if round_number % 2 else reversed(list(ways)):
                seconds = await ways[way]()
                if round_number:
                    taken[way].append(seconds)
        return SandboxMeasurements(rounds == QUICK_ROUNDS, taken, refused)


async def _opened(name: SandboxName, stack: AsyncExitStack) -> KernelSandbox:
    sandbox = sandbox_of(name, warm=1)
    assert isinstance(sandbox, KernelSandbox)
    stack.push_async_callback(sandbox.aclose)
    await sandbox.probe()
    await sandbox.pool.filled()
    return sandbox


def _ways_of(sandbox: KernelSandbox, used: Session) -> dict[str, Measure]:
    async def cold() -> float:
        began = time.perf_counter()
        session = await sandbox.open(Limits(files=1))  # other limits than those that are kept warm
        await _run(session)
        taken = time.perf_counter() - began
        await session.aclose()
        return taken

    async def warm() -> float:
        await sandbox.pool.filled()
        began = time.perf_counter()
        session = await sandbox.open(Limits())
        await _run(session)
        taken = time.perf_counter() - began
        await session.aclose()
        await sandbox.pool.filled()
        return taken

    async def later() -> float:
        began = time.perf_counter()
        await _run(used)
        return time.perf_counter() - began

    return {COLD: cold, WARM: warm, LATER: later}


async def _run(session: Session) -> None:
    events = [event async for event in session.run(CODE)]
    assert events == [Value(ANSWER)], events


async def _bare() -> float:
    began = time.perf_counter()
    *statements, last = CODE.strip().splitlines()
    code = "\n".join([*statements, f"print({last})"])
    process = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.decode().strip() == ANSWER, output
    return time.perf_counter() - began


def main() -> int:
    """Measure, tell, write, and return the exit code."""
    parser = argparse.ArgumentParser(description="Measure calls of the code interpreter.")
    parser.add_argument("--quick", action="store_true", help="measure less, in half a minute")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of sandbox.json and sandbox.md")
    options = parser.parse_args()
    console = Console()
    measured = uvloop.run(measure(QUICK_ROUNDS if options.quick else ROUNDS, console))
    sandbox_report.show(measured, console)
    sandbox_report.write(measured, options.results)
    missed = [target.name for target in measured.targets() if not target.met]
    if missed:
        console.print(f"[red]Missed:[/] {'; '.join(missed)}")
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
