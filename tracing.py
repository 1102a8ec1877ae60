"""Traces for an OpenTelemetry collector: what a request, its run, its model turns and its tool calls took.

Nothing of OpenTelemetry is imported, and nothing is done, until `exporting` is entered with an endpoint. What spans say
are names, ids, numbers and kinds of errors; never what anybody wrote.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol
from urllib.parse import unquote

import structlog

from lockstitch.errors import SettingsInvalid, TracingMissing

if TYPE_CHECKING:  # loaded where traces are wanted
    from opentelemetry.trace import Tracer
    from temporalio.client import Plugin

SpanKind = Literal["server", "client", "internal"]
Value = str | int | float | bool | Sequence[str]

SEND_SECONDS = 5.0
"""How long the collector may take for one batch of spans, and a process that ends for the last one."""

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("lockstitch")


class TraceSettings(NamedTuple):
    """Where traces go, and how many: ``ratio`` of those that begin here, between 0 and 1."""

    endpoint: str = ""
    headers: Sequence[str] = ()
    service_name: str = "lockstitch"
    ratio: float = 1.0


class Span(Protocol):
    """One piece of work; what is set after its end is lost."""

    def set_attributes(self, attributes: Mapping[str, Value]) -> None:
        """Say more of it."""
        ...


class _NoSpan:
    """Stands for a span where there are no traces."""

    def set_attributes(self, attributes: Mapping[str, Value]) -> None:
        """Do nothing."""


_NO_SPAN: AbstractContextManager[Span] = nullcontext(_NoSpan())


class _Tracing:
    """The tracer of this process; there is none until `exporting` is entered."""

    tracer: "Tracer | None" = None


@contextmanager
def exporting(settings: TraceSettings, role: str) -> Iterator[None]:
    """Send traces for as long as the ``with`` lasts; without an endpoint there are none.

    ``role`` says which of our processes this is. A collector that cannot be reached costs spans and one line of the
    log, never a run. Raises `TracingMissing` and `SettingsInvalid`; a process does this once, for OpenTelemetry keeps
    the first provider for good.
    """
    if not settings.endpoint:
        yield
        return
    endpoint, headers = _checked_endpoint(settings.endpoint), dict(map(_header, settings.headers))
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from temporalio.contrib.opentelemetry import create_tracer_provider

        from lockstitch.span_export import discreet_exporter
    except ImportError as error:
        raise TracingMissing(str(error)) from error
    # What it says of a collector that is away is said once, by us.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    provider = create_tracer_provider(
        sampler=ParentBased(TraceIdRatioBased(settings.ratio)),
        resource=Resource.create({
            "service.name": settings.service_name,
            "service.version": version("lockstitch"),
            "lockstitch.role": role,
        }),
        shutdown_on_exit=False,
    )  # fmt: skip
    provider.add_span_processor(BatchSpanProcessor(discreet_exporter(endpoint, headers, SEND_SECONDS)))
    trace.set_tracer_provider(provider)
    _Tracing.tracer = trace.get_tracer("lockstitch", version("lockstitch"))
    _log.info("traces_exported", endpoint=settings.endpoint, role=role)
    try:
        yield
    finally:
        _Tracing.tracer = None
        provider.shutdown()


def is_on() -> bool:
    """Tell whether this process sends traces."""
    return _Tracing.tracer is not None


def span(
    name: str,
    attributes: Mapping[str, Value] | None = None,
    *,
    kind: SpanKind = "internal",
    caller: Mapping[str, str] | None = None,
) -> AbstractContextManager[Span]:
    """Make a span that lasts as long as the ``with``, and is the parent of those that begin within it.

    ``caller`` are the headers of a request, whose ``traceparent`` it continues. Where there are no traces, this does
    nothing.
    """
    return _NO_SPAN if _Tracing.tracer is None else _span(_Tracing.tracer, name, attributes or {}, kind, caller)


@contextmanager
def _span(
    tracer: "Tracer", name: str, attributes: Mapping[str, Value], kind: SpanKind, caller: Mapping[str, str] | None
) -> Iterator[Span]:
    from opentelemetry.trace import SpanKind as Kind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = None if caller is None else TraceContextTextMapPropagator().extract(caller)
    with tracer.start_as_current_span(
        name, context, kind=Kind[kind.upper()], attributes=dict(attributes), record_exception=True
    ) as made:
        yield made


@contextmanager
def detached_span(name: str, attributes: Mapping[str, Value], *, kind: SpanKind = "internal") -> Iterator[Span]:
    """Make a span that is nobody's parent: for the bodies of generators, which others may leave elsewhere."""
    if _Tracing.tracer is None:
        yield _NoSpan()
        return
    from opentelemetry.trace import SpanKind as Kind
    from opentelemetry.trace import Status, StatusCode

    made = _Tracing.tracer.start_span(name, kind=Kind[kind.upper()], attributes=dict(attributes))
    try:
        yield made
    except Exception as error:
        made.set_attributes({"error.type": type(error).__name__})
        made.set_status(Status(StatusCode.ERROR, type(error).__name__))
        raise
    finally:
        made.end()


def current_trace_id() -> str | None:
    """Return the id of the trace that the caller's work belongs to, 32 hexadecimal digits; ``None`` without one."""
    if _Tracing.tracer is None:
        return None
    from opentelemetry.trace import format_trace_id, get_current_span

    context = get_current_span().get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid and context.trace_flags.sampled else None


def with_trace_id(_logger: Any, _method: str, line: Any) -> Any:
    """Put the trace's id on a log line, where there is one; a processor of structlog."""
    if (trace_id := current_trace_id()) is not None:
        line.setdefault("trace_id", trace_id)
    return line


def temporal_plugins() -> "Sequence[Plugin]":
    """Return what makes spans of workflows and activities, and carries traces from one to the other."""
    if _Tracing.tracer is None:
        return ()
    from temporalio.contrib.opentelemetry import OpenTelemetryPlugin

    return [OpenTelemetryPlugin(add_temporal_spans=True)]


def _checked_endpoint(endpoint: str) -> str:
    if not endpoint.startswith(("http://", "https://")):
        raise SettingsInvalid(_ENDPOINT, f"{endpoint!r} does not begin with http:// or https://.")
    return f"{endpoint.rstrip('/')}/v1/traces"


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name.strip()):
        raise SettingsInvalid(_HEADERS, "headers are written name=value, separated by commas.")
    return name.strip().lower(), unquote(value.strip())
