"""Counts HTTP requests at the cost of a few operations on lists, and tells Prometheus of them when it asks.

The library's own metrics take a lock for each number, which for a request are four; here one event loop counts.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"})


class RequestMeter(Collector):
    """How many requests there were, how they ended, and how long they took; ``bounds`` are buckets in seconds."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._ends: dict[tuple[str, str, int], int] = {}
        self._durations: dict[tuple[str, str], _Durations] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request by its method, its operation's path and the status of its answer."""
        if method not in _METHODS:
            method = "unknown"
        end, place = (method, route, status), (method, route)
        self._ends[end] = self._ends.get(end, 0) + 1
        durations = self._durations.get(place)
        if durations is None:
            durations = self._durations[place] = _Durations(len(self._bounds) + 1)
        durations.buckets[bisect_left(self._bounds, seconds)] += 1
        durations.seconds += seconds

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now."""
        requests = CounterMetricFamily(
            "lockstitch_http_requests", "Requests to the Assistants API.", labels=["method", "route", "status"]
        )
        for (method, route, status), number in list(self._ends.items()):
            requests.add_metric([method, route, str(status)], number)
        yield requests
        durations = HistogramMetricFamily(
            "lockstitch_http_request_duration_seconds",
            "Time to the first byte of the answer.",
            labels=["method", "route"],
        )
        names = [*map(str, self._bounds), "+Inf"]
        for place, taken in list(self._durations.items()):
            buckets = zip(names, accumulate(taken.buckets), strict=True)
            durations.add_metric(place, buckets=list(buckets), sum_value=taken.seconds)
        yield durations


class _Durations:
    """Requests in each bucket, and the seconds of all of them together."""

    __slots__ = ("buckets", "seconds")

    def __init__(self, buckets: int) -> None:
        self.buckets = [0] * buckets
        self.seconds = 0.0
