"""Measure what Lockstitch costs: ``python benchmarks/run.py [--quick] [--check]``.

Starts a Temporal dev server, a model endpoint, a worker and the floor's worker, measures everything in one go,
prints tables, and writes ``latest.json`` and ``latest.md`` into ``benchmarks/results``.
"""

import argparse
import asyncio
import json
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from lockstitch.benchmarks import report
from lockstitch.benchmarks.measuring import Work, many_at_once, one_by_one
from lockstitch.benchmarks.model_process import QUESTION, SLOW_QUESTION
from lockstitch.benchmarks.report import Measurements
from lockstitch.benchmarks.stack import BenchmarkStack
from lockstitch.benchmarks.workloads import Workloads, workloads

RESULTS = Path(__file__).parent / "results"
AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured; in runs of each workload per block."""

    warm_up: int
    blocks: int
    one_by_one: int
    slow: int
    at_once: int


FULL = Sizes(warm_up=60, blocks=8, one_by_one=20, slow=2, at_once=80)
QUICK = Sizes(warm_up=20, blocks=2, one_by_one=10, slow=1, at_once=60)


async def measure(quick: bool, console: Console) -> Measurements:
    """Start everything, measure, and end everything."""
    with tempfile.TemporaryDirectory(prefix="lockstitch-benchmark-") as folder:
        console.print("[dim]Starting Temporal, a model, a worker and the floor's worker ...[/]")
        async with BenchmarkStack(Path(folder)) as stack, workloads(stack) as work:
            return await _measure(stack, work, QUICK if quick else FULL, console)


async def _measure(stack: BenchmarkStack, work: Workloads, sizes: Sizes, console: Console) -> Measurements:
    load_before = os.getloadavg()[0]
    once: dict[str, Work] = {"floor": work.floor, "lockstitch": partial(work.lockstitch, QUESTION)}
    bare: dict[str, Work] = {"bare": partial(work.bare, QUESTION)}
    slow: dict[str, Work] = {
        "lockstitch": partial(work.lockstitch, SLOW_QUESTION),
        "bare": partial(work.bare, SLOW_QUESTION),
    }
    console.print("[dim]Warming up ...[/]")
    await many_at_once(once | bare, blocks=1, per_block=sizes.warm_up, at_once=AT_ONCE)
    console.print("[dim]One after the other ...[/]")
    latency = await one_by_one(once | bare, blocks=sizes.blocks, per_block=sizes.one_by_one)
    console.print("[dim]With a second per model turn ...[/]")
    slow_latency = await one_by_one(slow, blocks=sizes.blocks, per_block=sizes.slow)
    console.print(f"[dim]{AT_ONCE} at once ...[/]")
    rate = await many_at_once(once, blocks=sizes.blocks, per_block=sizes.at_once, at_once=AT_ONCE)
    console.print("[dim]Processor time ...[/]")
    return Measurements(
        quick=sizes is QUICK,
        latency=latency,
        slow_latency=slow_latency,
        rate=rate,
        histories={
            "floor": await work.history_size(await work.floor()),
            "lockstitch": await work.history_size(await work.lockstitch(QUESTION)),
        },
        load=(load_before, os.getloadavg()[0]),
        cpu_per_run=await _cpu_per_run(stack, once, sizes),
    )


async def _cpu_per_run(
    stack: BenchmarkStack, workloads: Mapping[str, Work], sizes: Sizes
) -> Mapping[str, Mapping[str, float]]:
    """Return the processor seconds per run of each process: the median of blocks that take turns."""
    used: dict[str, list[Mapping[str, float]]] = {name: [] for name in workloads}
    for name in list(workloads) * max(sizes.blocks // 2, 1):
        before = stack.cpu_seconds()
        await many_at_once({name: workloads[name]}, blocks=1, per_block=sizes.at_once, at_once=AT_ONCE)
        after = stack.cpu_seconds()
        used[name].append({process: (after[process] - before[process]) / sizes.at_once for process in after})
    return {
        name: {process: statistics.median(block[process] for block in blocks) for process in blocks[0]}
        for name, blocks in used.items()
    }


def main() -> int:
    """Measure, tell, write, and return the exit code."""
    parser = argparse.ArgumentParser(description="Measure what Lockstitch costs.")
    parser.add_argument("--quick", action="store_true", help="measure less, in half a minute")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of latest.json and latest.md")
    options = parser.parse_args()
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    console = Console()
    measured = asyncio.run(measure(options.quick, console))
    report.show(measured, console)
    _write(measured, options.results)
    missed = [target.name for target in measured.targets() if not target.met]
    if missed:
        console.print(f"[red]Missed:[/] {'; '.join(missed)}")
    return 1 if missed and options.check else 0


def _write(measured: Measurements, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(report.as_json(measured), indent=1) + "\n")
    (folder / "latest.md").write_text(report.as_markdown(measured))


if __name__ == "__main__":
    sys.exit(main())
