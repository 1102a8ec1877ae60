"""The buckets of histograms, in seconds. Each bucket is a series for every combination of labels, so they are few."""

from collections.abc import Mapping

FAST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""For what a person waits for: requests, streams, writes."""

TOKEN_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""For the first thing that a model says."""

CALL_SECONDS = (0.01, 0.1, 0.5, 1, 5, 10, 60, 300)
"""For one attempt at a tool call or a model turn."""

RUN_SECONDS = (1, 5, 10, 30, 60, 300, 600, 3600)
"""For runs, and how long they wait."""

SDK_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60)
"""For what the Temporal SDK measures of itself."""

COARSE_SECONDS = (0.1, 1, 10)
"""For what it measures of each type of activity, and of each kind of request; and for webhooks."""

_OTHERS: Mapping[str, tuple[float, ...]] = {
    "lockstitch_run_duration_seconds": RUN_SECONDS,
    "lockstitch_run_status_duration_seconds": RUN_SECONDS,
    "lockstitch_run_queue_wait_seconds": RUN_SECONDS,
    "temporal_activity_execution_latency": COARSE_SECONDS,
    "temporal_request_latency": COARSE_SECONDS,
    "temporal_long_request_latency": COARSE_SECONDS,
}


def bounds_of(metric: str) -> tuple[float, ...]:
    """Return the buckets of a metric that leaves through the Temporal SDK."""
    return _OTHERS.get(metric, SDK_SECONDS)
