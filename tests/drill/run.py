"""Drives fifty runs through what goes wrong in production, and checks that a real Prometheus tells: ``make drill``.

The stack runs as `lockstitch dev` starts it; a Prometheus scrapes it every second and evaluates the chart's rules.
Time runs faster for the rules: `shortened.py` divides their durations by twenty, so that alerts which wait minutes in
production fire and resolve within the drill, which takes about five minutes. The exit code is 1 unless exactly the
expected alerts fired, those that have to resolve did, every expression of the rules and dashboards evaluates, and every
panel has data. ``--pictures FOLDER`` draws the dashboards from what Prometheus then knows.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
from rich.console import Console
from rich.table import Table

from lockstitch.starter.client import Starter
from lockstitch.tests.dashboards.expressions import alerts, dashboards, panels, rules, with_values
from lockstitch.tests.drill.expected import EMPTY, FIRES, MAY_FIRE, MAY_STAY
from lockstitch.tests.drill.pictures import draw, read_pages
from lockstitch.tests.drill.plan import Drill
from lockstitch.tests.drill.prometheus import Prometheus, QueryFailed, Series
from lockstitch.tests.drill.shortened import shortened_expression
from lockstitch.tests.drill.stack import FACTOR, drill_stack

RATE_INTERVAL = "15s"
STEP = 1.0
RESOLVED_WITHIN = 90.0
"""Seconds after the last run's end in which alerts have to resolve."""


@dataclass
class Findings:
    """What was seen, and what of it is not as it should be."""

    problems: list[str] = field(default_factory=list)
    fired: set[str] = field(default_factory=set)
    still_firing: set[str] = field(default_factory=set)
    ends: Counter[str] = field(default_factory=Counter)
    texts: dict[str, str] = field(default_factory=dict)
    """By alert, what a person reads."""
    expressions: int = 0
    queries: int = 0
    seconds: float = 0.0


@asynccontextmanager
async def reading_alerts(prometheus: Prometheus, findings: Findings) -> AsyncIterator[None]:
    """Keep what the firing alerts say, while the body runs."""

    async def read_on() -> None:
        while True:
            for alert in await prometheus.alerts():
                if alert["state"] == "firing":
                    findings.texts[alert["labels"]["alertname"]] = " | ".join(alert["annotations"].values())
            await asyncio.sleep(1)

    reading = asyncio.create_task(read_on())
    try:
        yield
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def firing(prometheus: Prometheus, window: str = "") -> set[str]:
    """Return the names of the alerts that fire, or that have fired within ``window``."""
    selector = 'ALERTS{alertstate="firing"}'
    expression = f"max_over_time({selector}[{window}])" if window else selector
    found = await prometheus.now(f"group by (alertname) ({expression})")
    return {series["metric"]["alertname"] for series in found}


async def check_alerts(prometheus: Prometheus, findings: Findings) -> None:
    """Compare the alerts that fired with those that have to, and wait for those that have to resolve."""
    until = time.monotonic() + RESOLVED_WITHIN
    while (still := await firing(prometheus)) - MAY_STAY and time.monotonic() < until:
        await asyncio.sleep(1)
    findings.still_firing = still
    findings.fired = await firing(prometheus, "15m")
    findings.problems += [f"{name} did not fire: {FIRES[name]}" for name in sorted(FIRES.keys() - findings.fired)]
    findings.problems += [
        f"{name} fired, and should not have" for name in sorted(findings.fired - FIRES.keys() - MAY_FIRE.keys())
    ]
    findings.problems += [f"{name} has not resolved" for name in sorted(still - MAY_STAY)]
    for name, text in findings.texts.items():
        if "<error" in text or "<no value>" in text or "{{" in text:
            findings.problems.append(f"the text of {name} is broken: {text}")


async def check_rules(prometheus: Prometheus, findings: Findings) -> None:
    """Evaluate every rule, as it is and with its durations shortened."""
    for rule in rules():
        for expression in (rule["expr"], shortened_expression(rule["expr"], FACTOR)):
            findings.expressions += 1
            try:
                await prometheus.now(expression)
            except QueryFailed as error:
                findings.problems.append(f"{rule.get('alert') or rule['record']} cannot be evaluated: {error}")


async def check_panels(prometheus: Prometheus, began: float, findings: Findings) -> None:
    """Evaluate every query of every panel over the whole drill, and see whether it has data."""
    seen: set[str] = set()
    for name, dashboard in dashboards().items():
        for panel in panels(dashboard):
            for target in panel["targets"]:
                place = f"{name}/{panel['title']}"
                place += f"/{target['legendFormat']}" if panel["type"] == "table" else ""
                findings.queries += 1
                try:
                    expression = with_values(target["expr"], dashboard, RATE_INTERVAL)
                    series = await prometheus.over(expression, began, time.time(), STEP)
                except QueryFailed as error:
                    findings.problems.append(f"{place} cannot be evaluated: {error}")
                    continue
                if has_data(series):
                    seen.add(place)
                elif place not in EMPTY:
                    findings.problems.append(f"{place} has no data: {target['expr']}")
    findings.problems += [f"{place} has data, although {EMPTY[place]}" for place in sorted(EMPTY.keys() & seen)]


def has_data(series: list[Series]) -> bool:
    """Whether any value is a number."""
    return any(value != "NaN" for one in series for _, value in one["values"])


def show(findings: Findings, console: Console) -> None:
    """Print what was seen."""
    table = Table(title="Alerts")
    for heading in ("alert", "expected", "fired", "at the end"):
        table.add_column(heading, no_wrap=True)
    for name in sorted(alerts()):
        at_the_end = "firing" if name in findings.still_firing else "resolved" if name in findings.fired else ""
        expected = FIRES.get(name) or MAY_FIRE.get(name, "")
        wrong = name not in MAY_FIRE and (name in FIRES) != (name in findings.fired)
        table.add_row(name, expected, "yes" if name in findings.fired else "", at_the_end, style="red" if wrong else "")
    console.print(table)
    ends = ", ".join(f"{number} {status}" for status, number in sorted(findings.ends.items()))
    console.print(
        f"{sum(findings.ends.values())} runs: {ends}. {findings.expressions} expressions of rules and "
        f"{findings.queries} queries of panels were evaluated. It took {findings.seconds:.0f} s."
    )
    for problem in findings.problems:
        console.print(f"[red]{problem}[/]", highlight=False, soft_wrap=True)


async def carry_out(folder: Path, pictures: Path | None, console: Console) -> Findings:
    """Carry the drill out."""
    findings, began = Findings(), time.time()
    async with drill_stack(folder) as (stack, receiver):
        up = time.time()
        console.print(f"Everything is up; Prometheus is at {stack.prometheus.url}.")
        async with (
            await Starter.connect(stack.temporal_address, server_url=stack.server_url) as starter,
            openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key="any") as api,
            reading_alerts(stack.prometheus, findings),
        ):
            drill = Drill(stack, receiver, starter, api)
            await drill.prepare()
            await drill.play()
            console.print("Everything was asked; the runs end, and the alerts resolve.")
            findings.ends = await drill.ends()
            await check_alerts(stack.prometheus, findings)
        ended = time.time()
        await check_rules(stack.prometheus, findings)
        await check_panels(stack.prometheus, began, findings)
        findings.seconds = time.time() - began
        if pictures is not None:
            draw(await read_pages(stack.prometheus, (up, ended, drill.marked), RATE_INTERVAL), pictures)
    return findings


def main() -> int:
    """Carry the drill out and say what came of it."""
    parser = argparse.ArgumentParser(description="See whether the alerts fire that should, and no others.")
    parser.add_argument("--pictures", type=Path, help="draw the dashboards into this folder")
    options: Any = parser.parse_args()
    console = Console(width=150)
    with tempfile.TemporaryDirectory(prefix="lockstitch-drill-") as folder:
        findings = asyncio.run(carry_out(Path(folder), options.pictures, console))
    show(findings, console)
    return 1 if findings.problems else 0


if __name__ == "__main__":
    sys.exit(main())
