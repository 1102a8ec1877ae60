"""Traces: settings that lead nowhere, what is left out of spans, and that there is nothing without an endpoint."""

from contextlib import suppress

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from lockstitch import tracing
from lockstitch.errors import SettingsInvalid
from lockstitch.span_export import DiscreetExporter
from lockstitch.tools import ToolContext
from lockstitch.tracing import TraceSettings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            TraceSettings("collector:4318"),
            "OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' does not begin with http:// or https://.",
        ),
        (
            TraceSettings("http://collector", ["sk-secret"]),
            "OTEL_EXPORTER_OTLP_HEADERS: headers are written name=value, separated by commas.",
        ),
    ],
)
def test_settings_that_lead_nowhere_are_said_in_one_sentence(settings, said):
    with pytest.raises(SettingsInvalid) as refused, tracing.exporting(settings, "worker"):
        pass

    assert str(refused.value) == said


def test_without_an_endpoint_spans_do_nothing_and_there_is_no_trace_id():
    with tracing.exporting(TraceSettings(), "worker"):
        with tracing.span("a", {"b": 1}) as span, ToolContext.for_test().span("c") as inner:
            span.set_attributes({"d": 2})
            inner.set_attributes({"d": 2})
        with tracing.detached_span("e", {}) as detached:
            detached.set_attributes({"d": 2})
        assert (tracing.is_on(), tracing.current_trace_id(), tracing.temporal_plugins()) == (False, None, ())
        assert tracing.with_trace_id(None, "info", {"event": "f"}) == {"event": "f"}


def test_of_an_error_its_kind_is_kept_and_its_message_is_not():
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(DiscreetExporter(memory)))
    tracer = provider.get_tracer("test")

    with suppress(ValueError), tracer.start_as_current_span("a", attributes={"b": 1}) as span:
        span.add_event("c", {"d": 1})
        raise ValueError("kingfisher")
    [sent] = memory.get_finished_spans()

    assert "kingfisher" not in sent.to_json()
    assert (sent.status.status_code.name, sent.status.description) == ("ERROR", "ValueError")
    assert [(it.name, dict(it.attributes or {})) for it in sent.events] == [
        ("c", {"d": 1}),
        ("exception", {"exception.type": "ValueError", "exception.escaped": "False"}),
    ]
    assert dict(sent.attributes or {}) == {"b": 1}


class Flaky(InMemorySpanExporter):
    """Fails as often as it is told."""

    failures = 0

    def export(self, spans):
        self.failures -= 1
        return SpanExportResult.FAILURE if self.failures >= 0 else super().export(spans)


def test_that_spans_cannot_be_sent_is_said_once_and_that_they_can_again():
    flaky = Flaky()
    exporter = DiscreetExporter(flaky)
    with capture_logs() as logged:
        exporter.export([])
        flaky.failures = 3
        for _ in range(5):
            exporter.export([])

    assert [line["event"] for line in logged] == ["traces_not_sent", "traces_sent_again"]
