"""Sends spans to a collector, without what others wrote, and says once that it cannot.

Importing this module needs the extra ``tracing``: import it only where traces are wanted.
"""

from collections.abc import Mapping, Sequence

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Status

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger("lockstitch")

_SAID_OF_ERRORS = frozenset({"exception.type", "exception.escaped"})


def discreet_exporter(endpoint: str, headers: Mapping[str, str], seconds: float) -> SpanExporter:
    """Return what sends spans over OTLP/HTTP; ``seconds`` is how long one request may take."""
    return DiscreetExporter(OTLPSpanExporter(endpoint=endpoint, headers=headers, timeout=seconds))


class DiscreetExporter(SpanExporter):
    """Keeps the kinds of errors and leaves out their messages, which repeat what a user or a model wrote."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._reaches = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; those that cannot be sent are lost."""
        result = self._exporter.export([_without_messages(span) for span in spans])
        reaches = result is SpanExportResult.SUCCESS
        if reaches != self._reaches:
            self._reaches = reaches
            if reaches:
                _log.info("traces_sent_again")
            else:
                _log.warning("traces_not_sent", spans=len(spans))
        return result

    def shutdown(self) -> None:
        """End what is being sent."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Wait for what is being sent."""
        return self._exporter.force_flush(timeout_millis)


def _without_messages(span: ReadableSpan) -> ReadableSpan:
    if not span.events and span.status.description is None:
        return span
    description = span.status.description
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=[_without_message(event) for event in span.events],
        links=span.links,
        kind=span.kind,
        # The SDK writes the error's type before its message.
        status=Status(span.status.status_code, description.partition(":")[0] if description else None),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _without_message(event: Event) -> Event:
    if event.name != "exception":
        return event
    kept = {name: value for name, value in (event.attributes or {}).items() if name in _SAID_OF_ERRORS}
    return Event(event.name, kept, event.timestamp)
