"""What came out of the scrapes: tables, JSON, Markdown, and whether the targets are met."""

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from lockstitch.benchmarks import tables
from lockstitch.benchmarks.tables import Section, Target, targets_section

MOST_SECONDS = 0.1
MOST_SERIES = 2000
LARGEST = 12
"""Metrics that the report names, those with the most series first."""


@dataclass(slots=True)
class ScrapeMeasurements:
    """Everything of one benchmark; ``series`` are by metric, ``seconds`` and ``bytes`` by format."""

    runs: int
    carried_out: int
    carried_out_in: float
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: dict[str, list[float]] = field(default_factory=dict)
    """Processor time of the thread that serves and of the client, which is the same."""
    bytes: dict[str, int] = field(default_factory=dict)
    series: dict[str, int] = field(default_factory=dict)

    def targets(self) -> list[Target]:
        """Return the targets with what was measured."""
        scrapes = [
            Target(f"a scrape in {name}, p50 (s)", statistics.median(taken), "at most", MOST_SECONDS)
            for name, taken in self.seconds.items()
        ]
        return [*scrapes, Target("series", sum(self.series.values()), "at most", MOST_SERIES)]


def _p90(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=10, method="inclusive")[8]


def sections(measured: ScrapeMeasurements) -> list[Section]:
    """Return the report's tables."""
    scrapes = [
        (name, f"{statistics.median(taken) * 1000:.1f}", f"{_p90(taken) * 1000:.1f}", f"{max(taken) * 1000:.1f}",
         f"{statistics.median(measured.cpu_seconds[name]) * 1000:.1f}",
         f"{measured.bytes[name] / 1024:.0f}")
        for name, taken in measured.seconds.items()
    ]  # fmt: skip
    largest = sorted(measured.series.items(), key=lambda named: -named[1])[:LARGEST]
    rate = measured.carried_out / measured.carried_out_in
    runs = [(f"{measured.runs:,}", f"{measured.carried_out:,}", f"{rate:.1f}")]
    return [
        targets_section(measured.targets()),
        Section("Runs", ("in all", "carried out", "of these per second"), runs),
        Section("Scrapes", ("format", "p50 (ms)", "p90 (ms)", "slowest (ms)", "processor (ms)", "KiB"), scrapes),
        Section("Metrics with the most series", ("metric", "series"), [(name, str(n)) for name, n in largest]),
    ]


def show(measured: ScrapeMeasurements, console: Console) -> None:
    """Print the report."""
    tables.show(sections(measured), console)


def write(measured: ScrapeMeasurements, folder: Path, *, quick: bool) -> None:
    """Write ``scrape.json`` and ``scrape.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = tables.environment(quick, {}, ("temporalio", "prometheus-client"))
    content = {
        "environment": facts,
        "targets": [
            {"name": it.name, "bound": it.bound, "limit": it.limit, "measured": it.measured, "met": it.met}
            for it in measured.targets()
        ],
        "runs": measured.runs,
        "carried_out": measured.carried_out,
        "carried_out_in_seconds": measured.carried_out_in,
        "seconds": measured.seconds,
        "cpu_seconds": measured.cpu_seconds,
        "bytes": measured.bytes,
        "series": dict(sorted(measured.series.items())),
    }
    (folder / "scrape.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "scrape.md").write_text(tables.as_markdown("A scrape of a worker", facts, sections(measured)))
