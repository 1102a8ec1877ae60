"""What came out of the code interpreter's benchmark: tables, JSON, Markdown, and whether the targets are met."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from lockstitch.benchmarks import tables
from lockstitch.benchmarks.tables import Section, Target, targets_section

BARE = "bare subprocess"
COLD = "new session, first call"
WARM = "warm session, first call"
LATER = "later call"

MILLISECONDS = 1000.0


@dataclass(frozen=True, slots=True)
class SandboxMeasurements:
    """Everything of one benchmark."""

    quick: bool
    taken: Mapping[tuple[str, str], Sequence[float]]
    """Seconds of each call by its kind and its sandbox."""
    refused: Mapping[str, str]
    """Sandboxes that do not work here, and why."""

    def ratio(self, kind: str, sandbox: str) -> float:
        """Return the median of the ratios to the bare subprocess of the same round."""
        pairs = zip(self.taken[kind, sandbox], self.taken[BARE, ""], strict=True)
        return statistics.median(own / bare for own, bare in pairs)

    def targets(self) -> list[Target]:
        """Return the targets with what was measured."""
        working = [sandbox for kind, sandbox in self.taken if kind == WARM]
        return [Target(f"{name}: {WARM} / {BARE}", self.ratio(WARM, name), "at most", 0.1) for name in working]


def sections(measured: SandboxMeasurements) -> list[Section]:
    """Return the report's tables."""
    rows = []
    for (kind, sandbox), seconds in measured.taken.items():
        p50 = statistics.median(seconds) * MILLISECONDS
        p90 = statistics.quantiles(seconds, n=10, method="inclusive")[8] * MILLISECONDS
        rows.append((sandbox, kind, f"{p50:.1f}", f"{p90:.1f}", f"{measured.ratio(kind, sandbox):.3f}"))
    calls = Section(
        "A call that sums a column by groups, pandas imported",
        ("sandbox", "what", "p50 (ms)", "p90 (ms)", "ratio to bare"),
        rows,
    )
    refused = Section("Not measured", ("sandbox", "why"), list(measured.refused.items()))
    return [targets_section(measured.targets()), calls, *([refused] if measured.refused else [])]


def show(measured: SandboxMeasurements, console: Console) -> None:
    """Print the report."""
    tables.show(sections(measured), console)


def write(measured: SandboxMeasurements, folder: Path) -> None:
    """Write ``sandbox.json`` and ``sandbox.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = tables.environment(measured.quick, {}, ("sandlock", "pandas"))
    content = {
        "environment": facts,
        "targets": [
            {"name": it.name, "bound": it.bound, "limit": it.limit, "measured": it.measured, "met": it.met}
            for it in measured.targets()
        ],
        "seconds": [
            {"sandbox": sandbox, "what": kind, "taken": list(seconds)}
            for (kind, sandbox), seconds in measured.taken.items()
        ],
        "refused": dict(measured.refused),
    }
    (folder / "sandbox.json").write_text(json.dumps(content, indent=1) + "\n")
    (folder / "sandbox.md").write_text(tables.as_markdown("The code interpreter", facts, sections(measured)))
