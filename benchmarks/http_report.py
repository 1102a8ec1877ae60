"""What came out of the HTTP server's benchmark: tables, JSON, Markdown, and whether the target is met."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from lockstitch.benchmarks import tables
from lockstitch.benchmarks.tables import Section, Target, targets_section

MILLISECONDS = 1000.0


def _p50_p99(seconds: list[float]) -> tuple[float, float]:
    """Return the median and what 99 of 100 do not exceed, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * MILLISECONDS, cuts[98] * MILLISECONDS


@dataclass(slots=True)
class Requests:
    """Requests of one kind, block by block."""

    rates: list[float] = field(default_factory=list)
    """Requests per second."""
    taken: list[float] = field(default_factory=list)
    """The seconds of every request."""
    cpu: list[float] = field(default_factory=list)
    """The server's processor seconds per request."""

    def add(self, rate: float, taken: list[float], cpu: float) -> None:
        """Add a block."""
        self.rates.append(rate)
        self.taken += taken
        self.cpu.append(cpu)


@dataclass(frozen=True, slots=True)
class Streams:
    """Streams that were open at the same time."""

    number: int
    delays: tuple[float, ...]
    """The seconds that each event was under way, from before it was written until it was read."""
    memory: float
    """Bytes of the server per open stream."""
    cpu: float
    """The server's processor seconds per event."""


@dataclass(frozen=True, slots=True)
class HttpMeasurements:
    """Everything of one benchmark, of ``lockstitch`` and ``bare``."""

    quick: bool
    retrieve: Mapping[str, Requests]
    create: Mapping[str, Requests]
    streams: Mapping[str, Streams]

    def targets(self) -> list[Target]:
        """Return the target with what was measured."""
        return [Target("retrieve-run per second / bare route", _ratio(self.retrieve), "at least", 0.5)]


def _ratio(measured: Mapping[str, Requests]) -> float:
    """Return the median of the ratios of neighbouring blocks."""
    pairs = zip(measured["lockstitch"].rates, measured["bare"].rates, strict=True)
    return statistics.median(own / bare for own, bare in pairs)


def sections(measured: HttpMeasurements) -> list[Section]:
    """Return the report's tables."""
    return [
        targets_section(measured.targets()),
        _requests("Retrieve a run", measured.retrieve),
        _requests("Create a message", measured.create),
        Section(
            "Open streams, an event a second on each",
            ("what", "streams", "delay p50 / p99 (ms)", "memory per stream (kB)", "processor time per event (ms)"),
            [(name, *_stream_cells(streams)) for name, streams in measured.streams.items()],
        ),
    ]


def _stream_cells(streams: Streams) -> tuple[str, ...]:
    p50, p99 = _p50_p99(list(streams.delays))
    delay, memory = f"{p50:.1f} / {p99:.1f}", f"{streams.memory / 1000:.1f}"
    return str(streams.number), delay, memory, f"{streams.cpu * MILLISECONDS:.2f}"


def _requests(title: str, measured: Mapping[str, Requests]) -> Section:
    rows = []
    for name, requests in measured.items():
        p50, p99 = _p50_p99(requests.taken)
        cpu = statistics.median(requests.cpu) * MILLISECONDS
        rows.append((name, f"{statistics.median(requests.rates):.0f}", f"{p50:.1f} / {p99:.1f}", f"{cpu:.3f}"))
    rows.append(("lockstitch / bare", f"{_ratio(measured):.2f}", "", ""))
    columns = ("what", "requests per second", "p50 / p99 (ms)", "processor time per request (ms)")
    return Section(f"{title}, 16 connections", columns, rows)


def show(measured: HttpMeasurements, console: Console) -> None:
    """Print the report."""
    tables.show(sections(measured), console)


def write(measured: HttpMeasurements, folder: Path) -> None:
    """Write ``http.json`` and ``http.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = tables.environment(measured.quick, {}, ("starlette", "uvicorn", "sqlalchemy"))
    (folder / "http.json").write_text(json.dumps(_as_json(measured, facts), indent=1) + "\n")
    (folder / "http.md").write_text(tables.as_markdown("The HTTP server", facts, sections(measured)))


def _as_json(measured: HttpMeasurements, facts: dict[str, Any]) -> dict[str, Any]:
    return {
        "environment": facts,
        "targets": [
            {"name": it.name, "bound": it.bound, "limit": it.limit, "measured": it.measured, "met": it.met}
            for it in measured.targets()
        ],
        "retrieve_run": {name: _requests_json(it) for name, it in measured.retrieve.items()},
        "create_message": {name: _requests_json(it) for name, it in measured.create.items()},
        "open_streams": {
            name: {
                "streams": it.number,
                "delay_ms_p50_p99": _p50_p99(list(it.delays)),
                "memory_bytes_per_stream": it.memory,
                "cpu_seconds_per_event": it.cpu,
            }
            for name, it in measured.streams.items()
        },
    }


def _requests_json(requests: Requests) -> dict[str, Any]:
    return {
        "per_second": requests.rates,
        "taken_ms_p50_p99": _p50_p99(requests.taken),
        "cpu_seconds_per_request": requests.cpu,
    }
