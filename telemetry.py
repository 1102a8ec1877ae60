"""What a process tells of itself: structured log lines, and metrics on one port.

Metrics come from two places and leave on one page: those that are defined here, and those that the Temporal SDK
and the workflows record, which a collector takes out of the SDK's buffer.
"""

import logging
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from temporalio.runtime import Runtime

from lockstitch.metrics import fleet_gauges, sdk_metrics
from lockstitch.metrics.buckets import CALL_SECONDS, COARSE_SECONDS, FAST_SECONDS, TOKEN_SECONDS
from lockstitch.metrics.model_meter import ModelMeter
from lockstitch.metrics.request_meter import RequestMeter
from lockstitch.metrics.tenant_classes import TenantClasses
from lockstitch.metrics.vanishing_gauges import VanishingGauges
from lockstitch.tracing import with_trace_id

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("lockstitch")

# When a series began is one more series for each of them, and nobody asks.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own

registry = CollectorRegistry()
"""Everything that `/metrics` shows."""

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
    buckets=CALL_SECONDS,
    registry=registry,
)
MODEL_TURNS = Counter(
    "lockstitch_model_turns",
    "Attempts at model turns by how they ended.",
    ["backend", "outcome"],
    registry=registry,
)
MODEL_TURN_DURATION = Histogram(
    "lockstitch_model_turn_duration_seconds",
    "Time of one attempt at a model turn.",
    ["backend", "outcome"],
    buckets=CALL_SECONDS,
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
    buckets=COARSE_SECONDS,
    registry=registry,
)
MODELS = ModelMeter(registry)
TIME_TO_FIRST_TOKEN = Histogram(
    "lockstitch_time_to_first_token_seconds",
    "Time from asking a model to the first thing it said.",
    ["backend"],
    buckets=TOKEN_SECONDS,
    registry=registry,
)
UPSTREAM_REQUESTS = Counter(
    "lockstitch_upstream_requests",
    "Requests to upstreams by operation and HTTP status; `none` where no answer came.",
    ["backend", "operation", "code"],
    registry=registry,
)
EVENT_LOG_EVENTS = Counter(
    "lockstitch_event_log_events", "Events of backends that were written to event logs.", registry=registry
)
EVENT_LOG_LAG = Histogram(
    "lockstitch_event_log_lag_seconds",
    "Time from when a backend gave something to when it was committed.",
    buckets=FAST_SECONDS,
    registry=registry,
)
EVENT_LOG_WRITE_DURATION = Histogram(
    "lockstitch_event_log_write_duration_seconds",
    "Time of one transaction that writes events.",
    buckets=FAST_SECONDS,
    registry=registry,
)
STREAM_LAG = Histogram(
    "lockstitch_stream_lag_seconds",
    "Time from the writing of events to their being handed to a client that was connected already.",
    buckets=FAST_SECONDS,
    registry=registry,
)
FILES_INGESTED = Counter(
    "lockstitch_files_ingested", "Files that were taken into vector stores, or not.", ["outcome"], registry=registry
)
FLEET = VanishingGauges(fleet_gauges.ALL)
registry.register(FLEET)
FLEET_READINGS = Counter(
    "lockstitch_fleet_readings",
    "Readings of the gauges that concern the whole fleet, by how they ended.",
    ["reading", "outcome"],
    registry=registry,
)
HTTP_REQUESTS = RequestMeter(FAST_SECONDS)
registry.register(HTTP_REQUESTS)
OPEN_STREAMS = Gauge("lockstitch_open_streams", "Event streams that clients are reading.", registry=registry)
BUILD_INFO = Gauge(
    "lockstitch_build_info",
    "Always 1; the labels say which build this process is of, and what it does.",
    ["version", "build_id", "process"],
    registry=registry,
)
PROCESS_START_TIME = Gauge(
    "lockstitch_process_start_time_seconds", "When this process began, in seconds since 1970.", registry=registry
)
METRICS_OVERFLOWS = Counter(
    "lockstitch_metrics_overflows",
    "Times that the Temporal SDK had more to tell than its buffer holds, so that updates of metrics were lost.",
    registry=registry,
)


def tool_call_ended(tool: str, outcome: str, duration: timedelta) -> None:
    """Count one attempt at a tool call; the run that `log_context` knows of is its exemplar."""
    exemplar = _exemplar(structlog.contextvars.get_contextvars().get("run_id"))
    TOOL_CALLS.labels(tool, outcome).inc()
    TOOL_CALL_DURATION.labels(tool, outcome).observe(duration.total_seconds(), exemplar)


def model_turn_ended(backend: str, outcome: str, duration: timedelta, run_id: str) -> None:
    """Count one attempt at a model turn."""
    MODEL_TURNS.labels(backend, outcome).inc()
    MODEL_TURN_DURATION.labels(backend, outcome).observe(duration.total_seconds(), _exemplar(run_id))


def notification_ended(event: str, outcome: str, duration: timedelta | None = None) -> None:
    """Count one attempt at a notification; ``duration`` is None where nothing was sent."""
    NOTIFICATIONS.labels(event, outcome).inc()
    if duration is not None:
        NOTIFICATION_DURATION.labels(event, outcome).observe(duration.total_seconds())


def events_written(events: int, seconds: float, given: Sequence[float]) -> None:
    """Count one transaction of events; ``given`` says when a backend gave what it tells (monotonic seconds)."""
    now = time.monotonic()
    EVENT_LOG_EVENTS.inc(events)
    EVENT_LOG_WRITE_DURATION.observe(seconds)
    for when in given:
        EVENT_LOG_LAG.observe(now - when)


def tell_build(version: str, build_id: str, process: Literal["worker", "server"]) -> None:
    """Say on `/metrics` which build this process is of, and that it begins now."""
    PROCESS_START_TIME.set_to_current_time()
    BUILD_INFO.labels(version, build_id, process).set(1)


def buffering_runtime(classes: TenantClasses | None = None) -> Runtime:
    """Make a Temporal runtime whose metrics show up on `/metrics`; ``classes`` take the place of tenants there.

    A process has one: the metrics of an earlier one leave the page.
    """
    return sdk_metrics.buffering_runtime(_collect_from, classes=classes, overflowed=_metrics_overflowed)


_sdk_collectors: list[sdk_metrics.TemporalMetrics] = []


def _collect_from(collector: sdk_metrics.TemporalMetrics) -> None:
    while _sdk_collectors:
        earlier = _sdk_collectors.pop()
        registry.unregister(earlier)
        earlier.close()
    registry.register(collector)
    _sdk_collectors.append(collector)


def _metrics_overflowed() -> None:
    METRICS_OVERFLOWS.inc()
    log.warning("metrics_overflowed", buffered_updates=sdk_metrics.BUFFERED_UPDATES)


_LONGEST_EXEMPLAR = 64  # OpenMetrics: an exemplar's labels have at most 128 characters together


def _exemplar(run_id: object) -> dict[str, str] | None:
    """Return what leads from a bucket to one run, and to the trace of it where there is one."""
    exemplar = {"run_id": run_id} if isinstance(run_id, str) and len(run_id) <= _LONGEST_EXEMPLAR else {}
    trace = sys.modules.get("opentelemetry.trace")  # who traces has imported it; it takes too long for the others
    if trace is not None and (span := trace.get_current_span()).is_recording():
        exemplar["trace_id"] = f"{span.get_span_context().trace_id:032x}"
    return exemplar or None


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
