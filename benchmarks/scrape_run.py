"""Measure a scrape of a worker that has seen many runs: ``python benchmarks/scrape_run.py [--quick] [--check]``.

Prints tables and writes ``scrape.json`` and ``scrape.md`` into ``benchmarks/results``.
"""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import structlog
import uvloop
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from lockstitch.benchmarks import scrape_report
from lockstitch.benchmarks.scrape_load import Load, loaded_worker
from lockstitch.benchmarks.scrape_report import ScrapeMeasurements
from lockstitch.probes import listen, probe_app, serving

RESULTS = Path(__file__).parent / "results"
RUNS, CARRIED_OUT = 10_000, 1_000
QUICK_RUNS, QUICK_CARRIED_OUT = 10_000, 100
SCRAPES = 50
FORMATS = {"text": "text/plain", "OpenMetrics": "application/openmetrics-text; version=1.0.0"}


async def measure(runs: int, carried_out: int, console: Console) -> ScrapeMeasurements:
    """Let a worker see so many runs, of which some are carried out, and scrape it."""
    with tempfile.TemporaryDirectory(prefix="lockstitch-") as folder:
        async with loaded_worker(Path(folder)) as load:
            listener = listen("127.0.0.1", 0, purpose="the benchmark", option="")
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
            async with serving(probe_app({}), listener), httpx2.AsyncClient(trust_env=False) as http:
                console.print(f"[dim]{carried_out} runs are carried out ...[/]")
                began = time.perf_counter()
                await load.carry_out(carried_out)
                carried_out_in = time.perf_counter() - began
                console.print(f"[dim]{runs - carried_out} more are recorded ...[/]")
                await load.record(runs - carried_out)
                return await _scrapes(load, http, url, ScrapeMeasurements(runs, carried_out, carried_out_in))


async def _scrapes(load: Load, http: httpx2.AsyncClient, url: str, measured: ScrapeMeasurements) -> ScrapeMeasurements:
    await load.reader.read()
    page = await _complete_page(http, url, measured.runs)
    for name, accepted in FORMATS.items():
        for _ in range(SCRAPES):
            began, used = time.perf_counter(), time.thread_time()
            answer = await http.get(url, headers={"accept": accepted})
            measured.seconds.setdefault(name, []).append(time.perf_counter() - began)
            measured.cpu_seconds.setdefault(name, []).append(time.thread_time() - used)
            measured.bytes[name] = len(answer.content)
            await asyncio.sleep(0.02)
    for family in text_string_to_metric_families(page):
        measured.series[family.name] = len(family.samples)
    return measured


async def _complete_page(http: httpx2.AsyncClient, url: str, runs: int) -> str:
    """Return the page that has every run; where updates of metrics were lost, it never comes."""
    async with asyncio.timeout(30):
        while True:
            page = (await http.get(url)).text
            ended = [family for family in text_string_to_metric_families(page) if family.name.endswith("runs_finished")]
            if sum(sample.value for family in ended for sample in family.samples) == runs:
                return page
            await asyncio.sleep(0.2)


def main() -> int:
    """Measure, tell, write, and return the exit code."""
    parser = argparse.ArgumentParser(description="Measure a scrape of a worker that has seen many runs.")
    parser.add_argument("--quick", action="store_true", help="carry out fewer runs")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of scrape.json and scrape.md")
    options = parser.parse_args()
    console = Console()
    # What runs and tools tell goes nowhere: some of them are made to fail, a thousand times.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    sizes = (QUICK_RUNS, QUICK_CARRIED_OUT) if options.quick else (RUNS, CARRIED_OUT)
    measured = uvloop.run(measure(*sizes, console))
    scrape_report.show(measured, console)
    scrape_report.write(measured, options.results, quick=options.quick)
    missed = [target.name for target in measured.targets() if not target.met]
    if missed:
        console.print(f"[red]Missed:[/] {'; '.join(missed)}")
    return 1 if missed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
