"""What a process tells of itself: structured log lines, and metrics on one port.

Metrics come from two places and leave on one page: those that are defined here, and those that the Temporal SDK
and the workflows record, which a collector takes out of the SDK's buffer.
"""

import logging
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from temporalio.runtime import (
    BUFFERED_METRIC_KIND_COUNTER,
    BUFFERED_METRIC_KIND_GAUGE,
    BufferedMetricUpdate,
    LoggingConfig,
    MetricBuffer,
    MetricBufferDurationFormat,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from lockstitch.request_meter import RequestMeter
from lockstitch.tracing import with_trace_id

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("lockstitch")

registry = CollectorRegistry()
"""Everything that `/metrics` shows."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)

TOOL_CALLS = Counter(
    "lockstitch_tool_calls",
    "Attempts at tool calls by how they ended.",
    ["tool", "outcome"],
    registry=registry,
)
TOOL_CALL_DURATION = Histogram(
    "lockstitch_tool_call_duration_seconds",
    "Time that a handler took for one attempt.",
    ["tool", "outcome"],
    buckets=_SECONDS,
    registry=registry,
)
NOTIFICATIONS = Counter(
    "lockstitch_notifications",
    "Attempts to tell a person about an escalation by how they ended.",
    ["event", "outcome"],
    registry=registry,
)
NOTIFICATION_DURATION = Histogram(
    "lockstitch_notification_duration_seconds",
    "Time of one attempt to deliver a notification.",
    ["event", "outcome"],
    buckets=_SECONDS,
    registry=registry,
)
TOKENS = Counter("lockstitch_tokens", "Tokens by model and kind.", ["model", "kind"], registry=registry)
TIME_TO_FIRST_TOKEN = Histogram(
    "lockstitch_time_to_first_token_seconds",
    "Time from asking a model to the first thing it said.",
    ["backend"],
    buckets=_SECONDS,
    registry=registry,
)
UPSTREAM_REQUESTS = Counter(
    "lockstitch_upstream_requests",
    "Requests to upstreams by operation and HTTP status; `none` where no answer came.",
    ["backend", "operation", "code"],
    registry=registry,
)
OPEN_RUNS = Gauge(
    "lockstitch_open_runs",
    "Runs that have not ended, by status, in the whole namespace, as the Temporal server counts them.",
    ["status"],
    registry=registry,
)
HTTP_REQUESTS = RequestMeter(_SECONDS)
registry.register(HTTP_REQUESTS)
OPEN_STREAMS = Gauge("lockstitch_open_streams", "Event streams that clients are reading.", registry=registry)


def tool_call_ended(tool: str, outcome: str, duration: timedelta) -> None:
    """Count one attempt at a tool call."""
    TOOL_CALLS.labels(tool, outcome).inc()
    TOOL_CALL_DURATION.labels(tool, outcome).observe(duration.total_seconds())


def notification_ended(event: str, outcome: str, duration: timedelta | None = None) -> None:
    """Count one attempt at a notification; ``duration`` is None where nothing was sent."""
    NOTIFICATIONS.labels(event, outcome).inc()
    if duration is not None:
        NOTIFICATION_DURATION.labels(event, outcome).observe(duration.total_seconds())


def log_context(**values: object) -> AbstractContextManager[Any]:
    """Put ``values`` on every log line of the body, whoever writes it."""
    return structlog.contextvars.bound_contextvars(**values)


# On a terminal structlog would show the values of local variables too: keys, contents and the tokens of decision links
# are among them.
_TRACEBACK = structlog.dev.plain_traceback


def set_up_logging(log_format: Literal["console", "json"], level: str) -> None:
    """Send structlog's lines and those of the standard library to standard error in one form.

    ``level`` is a name of the `logging` module in lower case.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        with_trace_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if log_format == "json"
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=_TRACEBACK)]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # What they say at this level is about every request or their own start, and hides what matters.
    for chatty in ("alembic", "httpx2", "httpcore2", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # At the level debug they log what they send and receive: messages, tool outputs, answers.
    for indiscreet in ("openai", "temporalio"):
        logging.getLogger(indiscreet).setLevel(max(logging.INFO, logging.getLogger().level))


def buffering_runtime() -> Runtime:
    """Make a Temporal runtime whose metrics show up on `/metrics`."""
    buffer = MetricBuffer(100_000, MetricBufferDurationFormat.SECONDS)
    runtime = Runtime(
        telemetry=TelemetryConfig(metrics=buffer, logging=LoggingConfig(filter=TelemetryFilter("ERROR", "ERROR")))
    )
    registry.register(TemporalMetrics(buffer))
    return runtime


@dataclass(slots=True)
class _Histogram:
    counts: list[int] = field(default_factory=lambda: [0] * (len(_SECONDS) + 1))
    total: float = 0.0

    def observe(self, value: float) -> None:
        position = next((i for i, bound in enumerate(_SECONDS) if value <= bound), len(_SECONDS))
        self.counts[position] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        cumulative, rows = 0, []
        for bound, count in zip((*_SECONDS, float("inf")), self.counts, strict=True):
            cumulative += count
            rows.append(("+Inf" if bound == float("inf") else str(float(bound)), float(cumulative)))
        return rows


_Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Family:
    kind: int
    description: str
    values: dict[_Labels, Any] = field(default_factory=dict)

    def update(self, labels: _Labels, value: float) -> None:
        if self.kind == BUFFERED_METRIC_KIND_COUNTER:
            self.values[labels] = self.values.get(labels, 0) + value
        elif self.kind == BUFFERED_METRIC_KIND_GAUGE:
            self.values[labels] = value
        else:
            self.values.setdefault(labels, _Histogram()).observe(value)


# What the SDK adds to every metric, the same in each; our own metrics go without.
_SDK_LABELS = frozenset({"service_name"})
_WORKFLOW_LABELS = _SDK_LABELS | {"namespace", "task_queue", "workflow_type"}


class TemporalMetrics(Collector):
    """Takes the updates out of the Temporal SDK's buffer and keeps their sums.

    A thread drains the buffer once a second, for it holds only so many, whether or not anybody scrapes.
    """

    def __init__(self, buffer: MetricBuffer) -> None:
        self._buffer = buffer
        self._lock = threading.Lock()
        self._families: dict[str, _Family] = {}
        threading.Thread(target=self._drain_on, daemon=True, name="temporal-metrics").start()

    def describe(self) -> Iterable[Metric]:
        """Say nothing beforehand: what the SDK will measure is not known."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that the SDK has updated so far."""
        self._drain()
        with self._lock:
            families = [_exported(name, family) for name, family in sorted(self._families.items())]
        yield from families

    def _drain_on(self) -> None:
        tick = threading.Event()
        while not tick.wait(1):
            self._drain()

    def _drain(self) -> None:
        with self._lock:
            try:
                updates = self._buffer.retrieve_updates()
            except RuntimeError:  # before the runtime exists
                return
            for update in updates:
                self._add(update)

    def _add(self, update: BufferedMetricUpdate) -> None:
        metric = update.metric
        family = self._families.setdefault(metric.name, _Family(metric.kind, metric.description or metric.name))
        dropped = _WORKFLOW_LABELS if metric.name.startswith("lockstitch_") else _SDK_LABELS
        labels = _labels(update.attributes, dropped)
        family.update(labels, update.value)


def _labels(attributes: Mapping[str, Any], dropped: frozenset[str]) -> _Labels:
    return tuple(sorted((name, str(value)) for name, value in attributes.items() if name not in dropped))


def _exported(name: str, family: _Family) -> Metric:
    names = sorted({label for labels in family.values for label, _ in labels})
    metric: Any
    if family.kind == BUFFERED_METRIC_KIND_COUNTER:
        metric = CounterMetricFamily(name.removesuffix("_total"), family.description, labels=names)
    elif family.kind == BUFFERED_METRIC_KIND_GAUGE:
        metric = GaugeMetricFamily(name, family.description, labels=names)
    else:
        metric = HistogramMetricFamily(name, family.description, labels=names)
    for labels, value in family.values.items():
        row = [dict(labels).get(label, "") for label in names]
        if isinstance(value, _Histogram):
            metric.add_metric(row, buckets=value.buckets(), sum_value=value.total)
        else:
            metric.add_metric(row, value)
    return metric  # type: ignore[no-any-return]  # the three families share only an untyped base
