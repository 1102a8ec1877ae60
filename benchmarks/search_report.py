"""What came out of the benchmark of file search: tables, JSON, Markdown, and whether the targets are met."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from lockstitch.benchmarks import tables
from lockstitch.benchmarks.tables import Section, Target, targets_section

LOSS = 0.9
"""Fused ranking keeps at least so much of the better leg on questions."""

RECALL = 0.95


@dataclass(frozen=True, slots=True)
class Ingested:
    """Files that a worker ingested."""

    files: int
    chunks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How well questions were answered: the mean of 1 / rank of the first answer, and how often it is among five."""

    mrr: float
    recall_at_5: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """The quality of each leg, and of both."""

    words: Quality
    vectors: Quality
    fused: Quality


@dataclass(frozen=True, slots=True)
class Searched:
    """Searches among so many chunks: what each took, in seconds, and the recall of the index where there is one."""

    chunks: int
    first: float
    fused: tuple[float, ...]
    words: tuple[float, ...]
    vectors: tuple[float, ...]
    graph_seconds: float | None
    recall_at_20: float


@dataclass(frozen=True, slots=True)
class SearchMeasurements:
    """Everything of one benchmark, by embedder or by size."""

    quick: bool
    ingested: Mapping[str, Ingested]
    questions: Mapping[str, Ranked]
    identifiers: Mapping[str, Ranked]
    counted: Mapping[str, int]
    searched: Sequence[Searched]

    def targets(self) -> list[Target]:
        """Return the targets with what was measured."""
        targets = []
        for name, ranked in self.questions.items():
            better = max(ranked.words.mrr, ranked.vectors.mrr)
            targets.append(
                Target(f"questions, {name}: fused / better leg", ranked.fused.mrr / better, "at least", LOSS)
            )
        for name, ranked in self.identifiers.items():
            ratio = ranked.fused.mrr / ranked.vectors.mrr
            targets.append(Target(f"identifiers, {name}: fused / vectors alone", ratio, "at least", 1.0))
        largest = self.searched[-1]
        name = f"recall@20 of the index, {largest.chunks:,} chunks"
        return [*targets, Target(name, largest.recall_at_20, "at least", RECALL)]


def sections(measured: SearchMeasurements) -> list[Section]:
    """Return the report's tables."""
    return [
        targets_section(measured.targets()),
        Section(
            "Ingestion through a worker",
            ("embedder", "files", "chunks", "seconds", "chunks per second"),
            [_ingested(name, it) for name, it in measured.ingested.items()],
        ),
        _ranked(f"{measured.counted['questions']} questions, MRR / recall@5", measured.questions),
        _ranked(f"{measured.counted['identifiers']} identifiers, MRR / recall@5", measured.identifiers),
        Section(
            "Searches, p50 / p99 (ms)",
            ("chunks", "fused", "words alone", "vectors alone", "first search", "graph made in (s)", "recall@20"),
            [_searched(it) for it in measured.searched],
        ),
    ]


def _ingested(name: str, it: Ingested) -> tuple[str, ...]:
    return name, f"{it.files:,}", f"{it.chunks:,}", f"{it.seconds:.1f}", f"{it.chunks / it.seconds:.1f}"


def _ranked(title: str, by_embedder: Mapping[str, Ranked]) -> Section:
    rows = [
        (name, *(f"{it.mrr:.3f} / {it.recall_at_5:.3f}" for it in (ranked.words, ranked.vectors, ranked.fused)))
        for name, ranked in by_embedder.items()
    ]
    return Section(title, ("embedder", "words alone", "vectors alone", "fused"), rows)


def _searched(it: Searched) -> tuple[str, ...]:
    legs = (_p50_p99(taken) for taken in (it.fused, it.words, it.vectors))
    graph = "none" if it.graph_seconds is None else f"{it.graph_seconds:.0f}"
    return f"{it.chunks:,}", *legs, f"{it.first * 1000:.0f}", graph, f"{it.recall_at_20:.3f}"


def _p50_p99(seconds: Sequence[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"{cuts[49] * 1000:.1f} / {cuts[98] * 1000:.1f}"


def show(measured: SearchMeasurements, console: Console) -> None:
    """Print the report."""
    tables.show(sections(measured), console)


def write(measured: SearchMeasurements, folder: Path) -> None:
    """Write ``search.json`` and ``search.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = tables.environment(measured.quick, {}, ("numpy", "onnxruntime", "usearch", "wordllama"))
    targets = [{**asdict(it), "met": it.met} for it in measured.targets()]
    found = {**asdict(measured), "environment": facts, "targets": targets}
    for searched in found["searched"]:  # thousands of values say no more than their summary
        for leg in ("fused", "words", "vectors"):
            searched[leg] = _p50_p99(searched[leg])
    (folder / "search.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "search.md").write_text(tables.as_markdown("File search", facts, sections(measured)))
