"""The metrics that the Temporal SDK and the workflows record, taken out of the SDK's buffer and summed up."""

import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate
from typing import Any

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

from lockstitch.metrics.buckets import bounds_of
from lockstitch.metrics.tenant_classes import TenantClasses

BUFFERED_UPDATES = 100_000
"""How many updates the SDK holds until they are taken; a run with two tool calls makes about 85."""

DRAIN_SECONDS, SOONER_SECONDS = 1.0, 0.1
"""How often they are taken, and how often while there are many."""


def buffering_runtime(collect: Callable[["TemporalMetrics"], object], **options: Any) -> Runtime:
    """Make a Temporal runtime whose metrics go to a collector, which is given to ``collect``.

    ``options`` are those of `TemporalMetrics`.
    """
    buffer = MetricBuffer(BUFFERED_UPDATES, MetricBufferDurationFormat.SECONDS)
    runtime = Runtime(
        telemetry=TelemetryConfig(metrics=buffer, logging=LoggingConfig(filter=TelemetryFilter("ERROR", "ERROR")))
    )
    collect(TemporalMetrics(buffer, **options))
    return runtime


@dataclass(slots=True)
class _Histogram:
    bounds: tuple[float, ...]
    counts: list[int]
    total: float = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        return list(zip(_names(self.bounds), accumulate(self.counts), strict=True))


@cache
def _names(bounds: tuple[float, ...]) -> list[str]:
    """Return the values of the label ``le``."""
    return [*(str(float(bound)) for bound in bounds), "+Inf"]


_Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Family:
    kind: int
    description: str
    bounds: tuple[float, ...]
    values: dict[_Labels, Any] = field(default_factory=dict)

    def update(self, labels: _Labels, value: float) -> None:
        if self.kind == BUFFERED_METRIC_KIND_COUNTER:
            self.values[labels] = self.values.get(labels, 0) + value
        elif self.kind == BUFFERED_METRIC_KIND_GAUGE:
            self.values[labels] = value
        else:
            known = self.values.get(labels)
            if known is None:
                known = self.values[labels] = _Histogram(self.bounds, [0] * (len(self.bounds) + 1))
            known.observe(value)


# What the SDK adds to every metric, the same in each; our own metrics go without.
_SDK_LABELS = frozenset({"service_name"})
_HIDDEN_LABELS = _SDK_LABELS | {"namespace", "task_queue", "workflow_type", "tenant"}


_LEFT_OUT = frozenset({"temporal_activity_succeed_endtoend_latency"})
"""What others say too: the waiting and the execution of activities have metrics of their own."""


class TemporalMetrics(Collector):
    """Takes the updates out of the Temporal SDK's buffer and keeps their sums.

    A thread drains the buffer once a second, for it holds only so many, whether or not anybody scrapes. Where it was
    full at ``capacity``, the SDK has thrown updates away: ``overflowed`` is called then. Workflows record the name of a
    tenant; what is shown is its class.
    """

    def __init__(
        self,
        buffer: MetricBuffer,
        classes: TenantClasses | None = None,
        *,
        capacity: int = BUFFERED_UPDATES,
        overflowed: Callable[[], None] = lambda: None,
    ) -> None:
        self._buffer = buffer
        self._classes = classes or TenantClasses()
        self._capacity = capacity
        self._overflowed = overflowed
        self._lock = threading.Lock()
        self._families: dict[str, _Family] = {}
        self._closed = threading.Event()
        threading.Thread(target=self._drain_on, daemon=True, name="temporal-metrics").start()

    def close(self) -> None:
        """Let the buffer be; may be called twice."""
        self._closed.set()

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
        pause = DRAIN_SECONDS
        while not self._closed.wait(pause):
            many = self._drain() > self._capacity // 20
            pause = SOONER_SECONDS if many else DRAIN_SECONDS

    def _drain(self) -> int:
        with self._lock:
            try:
                updates = self._buffer.retrieve_updates()
            except RuntimeError:  # before the runtime exists
                return 0
            for update in updates:
                self._add(update)
        if len(updates) >= self._capacity:
            self._overflowed()
        return len(updates)

    def _add(self, update: BufferedMetricUpdate) -> None:
        metric = update.metric
        if metric.name in _LEFT_OUT:
            return
        name = _plain(metric.name)
        family = self._families.get(name)
        if family is None:
            described = _Family(metric.kind, _described(name, metric.description), bounds_of(name))
            family = self._families[name] = described
        family.update(self._labels(name, update.attributes), update.value)

    def _labels(self, metric: str, attributes: Mapping[str, Any]) -> _Labels:
        if not metric.startswith("lockstitch_"):
            return _labels(attributes, _SDK_LABELS)
        if "tenant" in attributes:
            attributes = {**attributes, "tenant_class": self._classes.of(str(attributes["tenant"]))}
        return _labels(attributes, _HIDDEN_LABELS)


def _labels(attributes: Mapping[str, Any], dropped: frozenset[str]) -> _Labels:
    return tuple(sorted((_plain(name), str(value)) for name, value in attributes.items() if name not in dropped))


@cache
def _plain(name: str) -> str:
    """Return a name as Prometheus takes it: handlers may measure too, and call their metrics and labels otherwise."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{plain}" if plain[:1].isdigit() else plain


def _described(name: str, description: str | None) -> str:
    """Return what a metric is for; the SDK does not say it of all of its own."""
    return description or f"The Temporal SDK's {name.removeprefix('temporal_').replace('_', ' ')}."


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
        known = dict(labels)
        row = [known.get(label, "") for label in names]
        if isinstance(value, _Histogram):
            metric.add_metric(row, buckets=value.buckets(), sum_value=value.total)
        else:
            metric.add_metric(row, value)
    return metric  # type: ignore[no-any-return]  # the three families share only an untyped base
