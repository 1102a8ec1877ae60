"""Traces of a whole run over real processes, as a collector gets them; and runs whose collector is away."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import openai
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lockstitch.dev import DevStack
from lockstitch.probes import listen, serving
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, ThreadRunRequest
from lockstitch.tests.command_line import lockstitch_anew
from lockstitch.tests.processes.conftest import started_stack
from lockstitch.tools import ToolRegistry

WORD = "kingfisher"
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CALLS = ("look_up", "weigh", "refuse")
SCRIPT = [
    {"when": "long", "say_words": 60, "delta_delay_seconds": 0.05},
    {"round": 0, "call": [{"name": name, "arguments": {"order": WORD}} for name in CALLS]},
    {"say": f"Here is the {WORD}."},
]


@dataclass
class Collector:
    """An OTLP/HTTP receiver."""

    endpoint: str
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def of_trace(self, trace_id: str) -> dict[str, Span]:
        return {span.span_id.hex(): span for span in self.spans if span.trace_id.hex() == trace_id}

    async def take(self, request: Request) -> Response:
        self.requests.append(ExportTraceServiceRequest.FromString(await request.body()))
        self.headers.append(dict(request.headers))
        return Response(b"", media_type="application/x-protobuf")


@asynccontextmanager
async def started_collector() -> AsyncIterator[Collector]:
    listener = listen("127.0.0.1", 0, purpose="the collector", option="port")
    collector = Collector(f"http://127.0.0.1:{listener.getsockname()[1]}")
    async with serving(Starlette(routes=[Route("/v1/traces", collector.take, methods=["POST"])]), listener):
        yield collector
    listener.close()


@asynccontextmanager
async def traced_stack(folder: Path, endpoint: str, **environment: str) -> AsyncIterator[DevStack]:
    """Start a stack whose handlers make spans of their own, and which sends traces soon."""
    script = folder / "traced.json"
    script.write_text(json.dumps(SCRIPT))
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    tools = {"LOCKSTITCH_TOOLS": "traced_steps", "LOCKSTITCH_MODEL_SCRIPT": str(script)}
    async with started_stack(
        folder / "stack", **settings, **tools, LOCKSTITCH_LOG_FORMAT="json", **environment
    ) as stack:
        yield stack


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with started_collector() as started:
        yield started


@dataclass
class Told:
    """What was told of one run."""

    run_id: str
    collector: Collector
    log: list[dict[str, object]]


@pytest.fixture(scope="module")
async def told(tmp_path_factory) -> Told:
    """A run that a caller began within a trace of its own, and what is told of it when everything has ended."""
    folder = tmp_path_factory.mktemp("told")
    async with started_collector() as collector:
        headers = {"OTEL_EXPORTER_OTLP_HEADERS": "api-key=%73ecret"}
        async with traced_stack(folder, collector.endpoint, **headers) as stack:
            run_id = await asked(stack, f"Where is {WORD}?", traceparent=f"00-{TRACE}-{CALLER}-01")
            async with await Starter.connect(stack.temporal_address) as starter:
                await starter.result(run_id)
        return Told(run_id, collector, log_of(stack, "worker"))


async def asked(stack, text: str, **headers: str) -> str:
    """Ask over HTTP as the stock SDK does, and return the run's id when the run has ended."""
    async with openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key="any", default_headers=headers) as client:
        tools = ToolRegistry.load(["lockstitch.tests.processes.handlers.traced_steps"], entry_points=False)
        assistant = await client.beta.assistants.create(model="script", tools=tools.definitions())
        thread = await client.beta.threads.create(messages=[{"role": "user", "content": text}])
        run = await client.beta.threads.runs.create_and_poll(
            thread_id=thread.id, assistant_id=assistant.id, poll_interval_ms=50
        )
        assert run.status == "completed"
        return run.id


def path_to(span: Span, spans: dict[str, Span]) -> list[str]:
    """Return the names of a span and those above it, from the top."""
    above = spans.get(span.parent_span_id.hex())
    return [*(path_to(above, spans) if above else []), span.name]


def values_of(span: Span) -> dict[str, object]:
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in span.attributes}


def log_of(stack, name: str) -> list[dict[str, object]]:
    lines = (stack.data_dir / f"{name}.log").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.long
async def test_a_request_and_its_run_are_one_trace_that_goes_on_with_the_callers(told):
    """What was not sent when the processes were told to stop is sent before they end."""
    collector = told.collector
    spans = collector.of_trace(TRACE)
    paths = {"/".join(path_to(span, spans)) for span in spans.values()}
    run = "POST /threads/{thread_id}/runs/StartWorkflow:ThreadRun/RunWorkflow:ThreadRun"

    assert {
        f"{run}/StartActivity:start_run/RunActivity:start_run/chat script",
        f"{run}/StartActivity:submit_tool_outputs/RunActivity:submit_tool_outputs/chat script",
        f"{run}/StartActivity:tool.look_up/RunActivity:tool.look_up/execute_tool look_up/ask the shop",
        f"{run}/StartActivity:tool.weigh/RunActivity:tool.weigh/execute_tool weigh/read the scales",
        f"{run}/StartActivity:tool.refuse/RunActivity:tool.refuse/execute_tool refuse",
    } <= paths
    tops = [span for span in spans.values() if span.parent_span_id.hex() not in spans]
    assert {span.parent_span_id.hex() for span in tops} == {CALLER}
    assert len(spans) == len([span for span in collector.spans if span.trace_id.hex() == TRACE])
    assert {headers["api-key"] for headers in collector.headers} == {"secret"}

    by_name = {span.name: values_of(span) for span in spans.values()}
    chat, call = by_name["chat script"], by_name["execute_tool look_up"]
    assert (chat["gen_ai.request.model"], chat["gen_ai.operation.name"]) == ("script", "chat")
    assert int(chat["gen_ai.usage.output_tokens"]) > 0
    assert (call["gen_ai.tool.name"], call["lockstitch.run.id"]) == ("look_up", told.run_id)
    assert by_name["ask the shop"] == {"shop": "Oslo", "shop.orders": 1}
    assert by_name["POST /threads/{thread_id}/runs"]["http.response.status_code"] == 200
    logged = [line for line in told.log if line.get("run_id") == told.run_id]
    assert {line["trace_id"] for line in logged} == {TRACE}


@pytest.mark.long
async def test_a_trace_says_nothing_of_what_anybody_wrote_not_even_in_errors(told):
    collector = told.collector
    refused = next(span for span in collector.spans if span.name == "execute_tool refuse")

    assert WORD.encode() not in b"".join(request.SerializeToString() for request in collector.requests)
    assert refused.status.code == refused.status.STATUS_CODE_ERROR
    assert [{it.key: it.value.string_value for it in event.attributes} for event in refused.events] == [
        {"exception.type": "ValueError", "exception.escaped": "False"}
    ]


@pytest.mark.long
async def test_a_run_whose_worker_was_killed_has_each_span_once(collector, tmp_path, eventually):
    """The next worker replays the run; what was told of it before is not told again."""
    async with traced_stack(tmp_path, collector.endpoint) as stack:
        asking = asyncio.create_task(asked(stack, "A long story, please.", traceparent=f"00-{TRACE}-{CALLER}-01"))

        async def is_told() -> bool:
            return any(span.name == "StartWorkflow:ThreadRun" for span in collector.spans)

        await eventually(is_told, timeout=60)
        os.kill(stack.pid("worker"), signal.SIGKILL)
        await asking

        async def has_ended() -> bool:
            return any(span.name == "RunWorkflow:ThreadRun" for span in collector.spans)

        await eventually(has_ended, timeout=60)
    told = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    names = [span.name for span in told]

    assert len({span.span_id for span in told}) == len(told)
    assert names.count("RunWorkflow:ThreadRun") == 1
    assert names.count("StartWorkflow:ThreadRun") == 1
    assert names.count("RunActivity:start_run") >= 1


@pytest.mark.long
async def test_what_the_caller_does_not_keep_is_not_kept_and_of_the_rest_what_the_ratio_says(
    collector, tmp_path, eventually
):
    other = "1" * 32
    async with traced_stack(tmp_path, collector.endpoint, OTEL_TRACES_SAMPLER_ARG="0") as stack:
        await asked(stack, "Where is it?", traceparent=f"00-{other}-{CALLER}-00")
        await asked(stack, "Where is it?")
        await asked(stack, "Where is it?", traceparent=f"00-{TRACE}-{CALLER}-01")
        await eventually(lambda: asyncio.to_thread(collector.of_trace, TRACE), timeout=60)

    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}


@asynccontextmanager
async def silent_collector() -> AsyncIterator[str]:
    """Listen, and answer nobody."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def absent_collector() -> AsyncIterator[str]:
    """Return an address at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{listener.getsockname()[1]}"
    yield endpoint


@pytest.mark.long
@pytest.mark.parametrize("collector_of", [absent_collector, silent_collector], ids=["absent", "silent"])
async def test_a_collector_that_does_not_answer_costs_no_run_and_one_line_of_the_log(
    collector_of, tmp_path, eventually
):
    async with collector_of() as endpoint, traced_stack(tmp_path, endpoint) as stack:
        async with await Starter.connect(stack.temporal_address, server_url=stack.server_url) as starter:
            async with openai.AsyncOpenAI(base_url=f"{stack.server_url}/v1", api_key="any") as client:
                assistant = await client.beta.assistants.create(model="script")
            said = [NewMessage(role="user", content="Tell a long story.")]
            result = await starter.run(ThreadRunRequest(assistant_id=assistant.id, messages=said))

        async def is_said() -> bool:
            return any(line["event"] == "traces_not_sent" for line in await asyncio.to_thread(log_of, stack, "worker"))

        await eventually(is_said, timeout=60)

    assert result.status == "completed"
    lines = log_of(stack, "worker")
    assert [line["level"] for line in lines if line["event"] == "traces_not_sent"] == ["warning"]
    assert not [line for line in lines if "opentelemetry" in str(line.get("logger"))]


async def test_without_its_packages_a_process_that_should_trace_says_so_and_does_not_start(tmp_path):
    package = tmp_path / "opentelemetry"
    package.mkdir()
    (package / "__init__.py").write_text("raise ImportError(\"No module named 'opentelemetry'\")")
    settings = {"LOCKSTITCH_METRICS_PORT": "0", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    code, _, err = await lockstitch_anew("worker", PYTHONPATH=str(tmp_path), **settings)

    assert code == 1
    assert err == (
        "lockstitch: Traces cannot be sent: No module named 'opentelemetry'; install what sends them with "
        "pip install 'lockstitch[tracing]', or unset OTEL_EXPORTER_OTLP_ENDPOINT.\n"
    )


async def test_without_an_endpoint_nothing_of_opentelemetry_is_loaded():
    code = "import sys, lockstitch.worker, lockstitch.assistants.http.app as app; print('opentelemetry' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-P", "-c", code, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()

    assert (process.returncode, output.decode()) == (0, "False\n")
