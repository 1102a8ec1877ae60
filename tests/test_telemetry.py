"""What a process tells of itself: log lines that carry ids, and one page with all metrics."""

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import NamedTuple
from uuid import uuid4

import httpx2
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics_families
from prometheus_client.parser import text_string_to_metric_families
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig

from lockstitch import telemetry
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.store import assistants
from lockstitch.assistants.store.database import Database
from lockstitch.config import Config
from lockstitch.metrics.model_prices import ModelPrices
from lockstitch.metrics.sdk_metrics import TemporalMetrics
from lockstitch.metrics.tenant_classes import TenantClasses
from lockstitch.probes import listen, probe_app, serving
from lockstitch.starter.client import Starter, connect_temporal
from lockstitch.starter.contract import NewMessage, ThreadRunRequest
from lockstitch.starter.temporal_server import TemporalServer
from lockstitch.tests.programs import program
from lockstitch.tools import ToolRegistry, tool
from lockstitch.worker import build_workers

# A process of its own, because logging is set up for a whole process.
LOG = """
import asyncio, logging, sys
from temporalio.testing import ActivityEnvironment
from lockstitch import telemetry
from lockstitch.activities.messages import CallTool, RunRef
from lockstitch.activities.tool_calls import ToolActivities
from lockstitch.assistants.store import tool_calls
from lockstitch.assistants.store.database import Database
from lockstitch.tools import ToolContext, ToolRegistry, tool

@tool
def refund(context: ToolContext) -> str:
    context.log.info("handler_says", amount=17)
    logging.getLogger("somebody.else").warning("the bank is %s", "slow")
    key = "".join(("hun", "ter2"))
    raise ConnectionError("the bank did not answer")

async def main():
    telemetry.set_up_logging(sys.argv[1], sys.argv[2])
    telemetry.log.debug("not_told_at_info")
    row = {"run_id": "run_1", "call_id": "call_1", "thread_id": "thread_1", "step_id": "step_1", "position": 0,
           "name": "refund", "arguments": "{}"}
    async with Database(sys.argv[3]) as database:
        await database.write(lambda connection: tool_calls.add(connection, [row]))
        [activity] = ToolActivities(database, ToolRegistry([refund])).activities()
        run = RunRef(run_id="run_1", thread_id="thread_1", assistant_id="asst_1")
        try:
            await ActivityEnvironment().run(activity, CallTool(run=run, call_id="call_1", name="refund"))
        except Exception:
            telemetry.log.exception("it_broke")
        logging.getLogger("httpx2").info("a request that nobody asked about")

asyncio.run(main())
"""
IDS = {"run_id": "run_1", "thread_id": "thread_1", "call_id": "call_1"}


@pytest.fixture
def log(tmp_path):
    """Let a handler fail in a process that logs in a form; return its standard error."""

    def run(log_format: str, level: str = "info") -> str:
        command = [sys.executable, "-c", LOG, log_format, level, f"sqlite:///{tmp_path}/{log_format}.db"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
        assert done.stdout == ""
        return done.stderr

    return run


def test_json_lines_carry_the_ids_of_the_run_the_thread_and_the_call(log):
    lines = [json.loads(line) for line in log("json").splitlines()]
    by_event = {line["event"]: line for line in lines}

    assert list(by_event) == ["handler_says", "the bank is slow", "tool_call_failed", "it_broke"]
    for event in ("handler_says", "the bank is slow", "tool_call_failed"):
        assert by_event[event].items() >= IDS.items()
    assert by_event["handler_says"].items() >= {"tool": "refund", "attempt": 1, "amount": 17, "level": "info"}.items()
    assert by_event["the bank is slow"].items() >= {"logger": "somebody.else", "level": "warning"}.items()
    assert "run_id" not in by_event["it_broke"]
    assert "ConnectionError: the bank did not answer" in by_event["it_broke"]["exception"]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["timestamp"]) for line in lines)


def test_console_lines_carry_the_same_and_no_colours_where_nobody_looks(log):
    said = log("console", "warning")
    [line] = [line for line in said.splitlines() if "tool_call_failed" in line]

    assert "\x1b" not in said
    assert "handler_says" not in said
    assert all(f"{name}={value}" in line for name, value in IDS.items())
    assert "tool=refund" in line
    assert "ConnectionError: the bank did not answer" in said


def test_a_traceback_on_a_terminal_does_not_tell_the_values_of_variables(tmp_path):
    """Keys, contents and the tokens of decision links are among them."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", LOG, "console", "warning", f"sqlite:///{tmp_path}/terminal.db"]
    with subprocess.Popen(command, stderr=theirs) as process:
        os.close(theirs)
        said = _read_terminal(ours)
        assert process.wait(60) == 0
    os.close(ours)

    assert "the bank did not answer" in said
    assert "hunter2" not in said


def _read_terminal(descriptor: int) -> str:
    said = b""
    with suppress(OSError):  # how Linux says that nobody writes any more
        while part := os.read(descriptor, 65536):
            said += part
    return said.decode()


# --- metrics

KINDS = ("prompt", "completion")
SECRETS = ("sk-secret", "hunter2", "order 4711")


@tool
async def find_invoice(number: int) -> str:  # no other test's tool: counters live as long as the process
    """Find an invoice."""
    return f"order {number} of hunter2"


class Pages(NamedTuple):
    """What a scraper gets: Prometheus' text, and the answer in OpenMetrics to whoever asks for that."""

    text: str
    open_metrics: httpx2.Response


CLASSES = TenantClasses(["acme-*=gold", "free=trial"])


@pytest.fixture(scope="module")
async def pages(temporal, tmp_path_factory) -> AsyncIterator[Pages]:
    """The pages of metrics of a worker that has done one run with a tool call and one that failed."""
    config = Config(task_queue=f"test-{uuid4()}", openai_api_key="sk-secret")
    telemetry.MODELS.set_up(ModelPrices(["priced-*=2/10"]), 25)
    telemetry.tell_build("1.2.3", "abc", "worker")
    refused = {"status": 401, "message": "Incorrect API key provided: sk-secret."}
    calling = {"round": 0, "call": [{"name": "find_invoice", "arguments": {"number": 4711}}]}
    model = ScriptedModel([{"when": "refuse", "fail": refused}, calling, {"say": "Here is order 4711."}])
    address = temporal.service_client.config.target_host
    async with AsyncExitStack() as stack:
        url = f"sqlite:///{tmp_path_factory.mktemp('telemetry') / 'a.db'}"
        database = await stack.enter_async_context(Database(url))
        client = await connect_temporal(TemporalServer(address), telemetry.buffering_runtime(CLASSES))
        for worker in build_workers(client, config, database, model, ToolRegistry([find_invoice])):
            await stack.enter_async_context(worker)
        starter = await stack.enter_async_context(Starter(client, task_queue=config.task_queue))
        columns = {"model": "priced-test", "tools": [], "tool_resources": {}, "metadata": {}}
        row = await database.write(lambda connection: assistants.create(connection, columns, 0))
        for text in ("My password is hunter2.", "Please refuse."):
            asked = [NewMessage(role="user", content=text)]
            await starter.run(ThreadRunRequest(assistant_id=row["id"], messages=asked, tenant="acme-hunter2"))
        listener = listen("127.0.0.1", 0, purpose="a test", option="")
        await stack.enter_async_context(serving(probe_app({}), listener))
        http = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
        async with asyncio.timeout(10):
            text = ""
            while not re.search(r"^temporal_workflow_completed_total\{.*\} 2\.0$", text, re.MULTILINE):
                text = (await http.get(url)).text
        open_metrics = await http.get(url, headers={"accept": "application/openmetrics-text; version=1.0.0"})
        yield Pages(text, open_metrics)
        telemetry.MODELS.set_up(ModelPrices(), 0)


@pytest.fixture(scope="module")
def page(pages) -> str:
    return pages.text


@pytest.fixture(scope="module")
def families(page):
    return {family.name: family for family in text_string_to_metric_families(page)}


def value(families, sample_name: str, **labels: str) -> float:
    """Return the sum of the samples that have these labels."""
    samples = [sample for family in families.values() for sample in family.samples if sample.name == sample_name]
    return sum(sample.value for sample in samples if sample.labels.items() >= labels.items())


async def test_our_metrics_tell_what_happened(families):
    assert value(families, "lockstitch_runs_started_total", backend="local") == 2
    assert value(families, "lockstitch_runs_finished_total", status="completed") == 1
    assert value(families, "lockstitch_runs_finished_total", status="failed") == 1
    assert value(families, "lockstitch_run_duration_seconds_count", status="completed") == 1
    assert value(families, "lockstitch_tool_calls_total", tool="find_invoice", outcome="succeeded") == 1
    assert value(families, "lockstitch_upstream_requests_total", operation="model_turn", code="200") >= 2
    assert value(families, "lockstitch_upstream_requests_total", operation="model_turn", code="401") >= 1
    assert value(families, "lockstitch_tokens_total", model="priced-test", kind="completion") > 0
    assert value(families, "lockstitch_event_log_events_total") > 4
    assert value(families, "lockstitch_event_log_lag_seconds_count") > 0
    assert value(families, "lockstitch_event_log_write_duration_seconds_count") > 0
    assert value(families, "lockstitch_build_info", version="1.2.3", build_id="abc", process="worker") == 1


async def test_runs_are_told_apart_by_the_class_of_their_tenant(families):
    gold = {"tenant_class": "gold", "backend": "local"}
    assert value(families, "lockstitch_runs_started_total", **gold) == 2
    assert value(families, "lockstitch_runs_finished_total", **gold) == 2
    assert value(families, "lockstitch_run_duration_seconds_count", **gold) == 2
    assert value(families, "lockstitch_run_queue_wait_seconds_count", **gold) == 2
    assert 0 < value(families, "lockstitch_run_queue_wait_seconds_sum", **gold) < 60


async def test_each_attempt_at_a_model_turn_is_counted_with_its_time(families):
    assert value(families, "lockstitch_model_turns_total", backend="local", outcome="done") >= 2
    assert value(families, "lockstitch_model_turns_total", backend="local", outcome="failed") >= 1
    assert value(families, "lockstitch_model_turn_duration_seconds_count", backend="local", outcome="done") >= 2


async def test_money_is_what_the_tokens_cost(families):
    tokens = [value(families, "lockstitch_tokens_total", model="priced-test", kind=kind) for kind in KINDS]

    spent = value(families, "lockstitch_model_cost_dollars_total", model="priced-test")
    assert spent > 0
    assert spent == pytest.approx((tokens[0] * 2 + tokens[1] * 10) / 1_000_000)
    assert value(families, "lockstitch_budget_dollars_per_day") == 25


def test_promtool_has_nothing_to_say_about_the_page(page):
    promtool = program("promtool")
    checked = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, text=True, timeout=60)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


async def test_whoever_asks_for_open_metrics_gets_it_with_runs_as_exemplars(pages):
    answer = pages.open_metrics
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")

    families = {family.name: family for family in open_metrics_families(answer.text)}
    for name in ("lockstitch_tool_call_duration_seconds", "lockstitch_model_turn_duration_seconds"):
        exemplars = [sample.exemplar for sample in families[name].samples if sample.exemplar]
        assert exemplars, name
        assert all(exemplar.labels["run_id"].startswith("run_") for exemplar in exemplars), name
    assert answer.text.endswith("# EOF\n")


async def test_the_metrics_of_the_temporal_sdk_are_on_the_same_page(families):
    assert value(families, "temporal_workflow_completed_total") == 2
    assert value(families, "temporal_activity_execution_latency_count", activity_type="start_run") >= 2
    assert value(families, "temporal_worker_task_slots_available") > 0


async def test_every_metric_is_on_the_page_once(page):
    declared = re.findall(r"^# TYPE (\S+)", page, flags=re.MULTILINE)

    assert len(declared) == len(set(declared))


async def test_names_and_types_follow_the_conventions_of_prometheus(families):
    for name, family in families.items():
        assert family.type in ("counter", "gauge", "histogram"), name
        assert family.documentation, name
        if family.type == "counter":
            assert {sample.name for sample in family.samples} <= {f"{name}_total", f"{name}_created"}


async def test_the_last_bucket_of_a_histogram_holds_everything(families):
    for name, family in families.items():
        if family.type != "histogram":
            continue
        total = {_key(sample): sample.value for sample in family.samples if sample.name == f"{name}_count"}
        last = {_key(it): it.value for it in family.samples if it.labels.get("le") == "+Inf"}
        assert total == last, name


def _key(sample) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((label, text) for label, text in sample.labels.items() if label != "le"))


async def test_no_label_has_a_value_for_each_run(families, page):
    labels = {label for family in families.values() for sample in family.samples for label in sample.labels}

    assert not labels & {"run_id", "thread_id", "workflow_id", "call_id", "assistant_id", "tenant", "service_name"}
    assert not re.search(r"(run|thread|asst|call|msg)_[A-Za-z0-9]{24}", page)


async def test_no_metric_tells_a_secret(page):
    assert not [secret for secret in SECRETS if secret in page]


async def test_a_metric_whose_labels_differ_between_updates_is_one_family():
    buffer = MetricBuffer(1000)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer))
    registry = CollectorRegistry()
    registry.register(TemporalMetrics(buffer))
    counter = runtime.metric_meter.create_counter("things_total", "Things.")
    counter.add(1, {"kind": "a"})
    counter.add(2, {"kind": "a"})
    counter.add(4, {"colour": "red"})
    gauge = runtime.metric_meter.create_gauge("level", "Level.")
    gauge.set(3)
    gauge.set(2)
    text = generate_latest(registry).decode()

    assert 'things_total{colour="",kind="a"} 3.0' in text
    assert 'things_total{colour="red",kind=""} 4.0' in text
    assert "level 2.0" in text
    assert text.count("# TYPE things_total counter") == 1


async def test_a_handler_may_call_its_metrics_as_it_likes():
    buffer = MetricBuffer(1000)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer))
    registry = CollectorRegistry()
    registry.register(TemporalMetrics(buffer))
    runtime.metric_meter.create_counter("2nd.hand-shop:sales", "Sales.").add(1, {"größe": "L", "a.b": "c"})

    assert '_2nd_hand_shop_sales_total{a_b="c",gr__e="L"} 1.0' in generate_latest(registry).decode()


async def test_a_buffer_that_was_full_is_noticed(capfd):
    buffer, noticed = MetricBuffer(100), threading.Event()
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer))
    registry = CollectorRegistry()
    registry.register(TemporalMetrics(buffer, capacity=100, overflowed=noticed.set))
    counter = runtime.metric_meter.create_counter("things_total", "Things.")
    while not noticed.is_set():  # another thread drains it meanwhile
        for _ in range(200):
            counter.add(1)
        generate_latest(registry)

    assert "metrics buffer is full" in capfd.readouterr().out


async def test_a_process_shows_the_metrics_of_its_last_runtime_only():
    first, second = telemetry.buffering_runtime(), telemetry.buffering_runtime()
    for runtime in (first, second):
        runtime.metric_meter.create_counter("lockstitch_runtimes", "Runtimes.").add(1)

    assert telemetry.registry.get_sample_value("lockstitch_runtimes_total", {}) == 1


def test_an_exemplar_leads_to_the_trace_of_a_run_where_it_is_traced():
    from opentelemetry.sdk.trace import TracerProvider

    with TracerProvider().get_tracer("test").start_as_current_span("turn") as span:
        telemetry.model_turn_ended("local", "done", timedelta(seconds=1234), "run_traced")

    found = [
        sample.exemplar.labels
        for metric in telemetry.MODEL_TURN_DURATION.collect()
        for sample in metric.samples
        if sample.exemplar and sample.exemplar.value == 1234
    ]
    assert found == [{"run_id": "run_traced", "trace_id": f"{span.get_span_context().trace_id:032x}"}]
