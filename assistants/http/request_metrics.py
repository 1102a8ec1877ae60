"""How many requests there are, how they end, and how long they take to be answered."""

from functools import cache

from prometheus_client import Counter, Histogram

from lockstitch import telemetry

_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"})


def count(method: str, path: str, status: int, seconds: float) -> None:
    """Count one request by its method, its operation's ``path`` and the status of its answer."""
    requests, durations = _meters(method if method in _METHODS else "unknown", path, status)
    requests.inc()
    durations.observe(seconds)


@cache
def _meters(method: str, path: str, status: int) -> tuple[Counter, Histogram]:
    """Return the metrics of such answers; finding them takes longer than counting."""
    counter: Counter = telemetry.HTTP_REQUESTS.labels(method, path, status)
    histogram: Histogram = telemetry.HTTP_REQUEST_DURATION.labels(method, path)
    return counter, histogram
