"""However many models, tenants, tools and paths there are, the page of metrics keeps its size."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from temporalio.runtime import MetricBuffer, Runtime, TelemetryConfig

from lockstitch import telemetry
from lockstitch.activities.backends.metered import metered_turn
from lockstitch.assistants.delivery import CommandDelivery
from lockstitch.assistants.http.api import Api
from lockstitch.assistants.http.app import build_app
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.model.turn import Message, ModelTurn
from lockstitch.assistants.store.event_feed import EventFeed
from lockstitch.metrics.labels import OTHER
from lockstitch.metrics.model_meter import MOST_MODELS
from lockstitch.metrics.model_prices import ModelPrices
from lockstitch.metrics.sdk_metrics import TemporalMetrics
from lockstitch.metrics.tenant_classes import TenantClasses
from lockstitch.starter.contract import RunPolicy
from lockstitch.workflows import run_metrics

MANY = 10_000
ASKED = (Message("user", ("Hello.",)),)


def series(registry: CollectorRegistry = telemetry.registry) -> list[str]:
    """Return the lines of the page, without those that explain."""
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


@pytest.fixture
def priced() -> Iterator[None]:
    telemetry.MODELS.set_up(ModelPrices(["dear=1/2", "cheap-*=0.1/0.2"]), 0)
    yield
    telemetry.MODELS.set_up(ModelPrices(), 0)


async def test_ten_thousand_models_are_fifty_and_the_rest_together(priced):
    model = ScriptedModel([{"say": "Hello.", "usage": {"prompt_tokens": 10, "completion_tokens": 1}}])
    before = {line for line in series() if 'model="' in line}
    names = [f"{('cheap', 'unheard-of')[number % 2]}-{number}" for number in range(MANY)]
    for name in [*names, "dear"]:
        async for _ in metered_turn(model, ModelTurn(name, "", ASKED), "local"):
            pass

    added = [line for line in series() if 'model="' in line and line.partition(" ")[0] not in str(before)]
    models = {line.partition('model="')[2].partition('"')[0] for line in added}
    assert len(models - {OTHER, "dear"}) == MOST_MODELS
    assert {OTHER, "dear"} <= models
    assert len(added) <= 4 * (MOST_MODELS + 2)
    counted = telemetry.registry.get_sample_value
    assert counted("lockstitch_model_cost_dollars_total", {"model": OTHER}) > 0
    assert counted("lockstitch_unpriced_tokens_total", {"model": OTHER}) > 0


def test_ten_thousand_tenants_are_as_many_as_there_are_classes():
    buffer = MetricBuffer(MANY * 4)
    runtime = Runtime(telemetry=TelemetryConfig(metrics=buffer))
    registry = CollectorRegistry()
    registry.register(TemporalMetrics(buffer, TenantClasses(["gold-*=gold", "acme=silver"])))
    counter = runtime.metric_meter.create_counter(run_metrics.RUNS_STARTED, "Runs.")
    for number in range(MANY):
        counter.add(1, {"backend": "local", "tenant": f"{('gold', 'free')[number % 2]}-{number}"})
    counter.add(1, {"backend": "local", "tenant": "acme"})

    assert sorted(series(registry)) == [
        'lockstitch_runs_started_total{backend="local",tenant_class="default"} 5000.0',
        'lockstitch_runs_started_total{backend="local",tenant_class="gold"} 5000.0',
        'lockstitch_runs_started_total{backend="local",tenant_class="silver"} 1.0',
    ]


async def test_ten_thousand_paths_and_methods_are_one_place(engine):
    async with engine(workers=False) as lockstitch:
        parts = (EventFeed(lockstitch.database), CommandDelivery(lockstitch.database, lockstitch.starter))
        app = build_app(Services(lockstitch.database, *parts, lockstitch.starter))
        before = len(series())
        for number in range(0, MANY, 2):
            assert await status_of(app, "GET", f"/v1/nowhere-{number}") == 404
            assert await status_of(app, f"BREW{number}", f"/v1/threads/thread_{number}") == 405

    assert len(series()) - before < 60
    assert "nowhere" not in "".join(series())


async def status_of(app: Api, method: str, path: str) -> int:
    """Ask an app as a server does; over HTTP, this many requests take a minute."""
    headers = [(b"authorization", b"Bearer anything"), (b"openai-beta", b"assistants=v2")]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    sent: list[dict] = []

    async def receive() -> dict:
        return {"type": "http.request", "body": b""}

    async def send(message: dict) -> None:
        sent.append(message)

    await app({**scope, "headers": headers, "client": None}, receive, send)
    return sent[0]["status"]


async def test_tools_that_nobody_has_are_no_labels(engine):
    calls = [{"name": f"unheard_of_{number}", "arguments": {}} for number in range(100)]
    async with engine([], ScriptedModel([{"round": 0, "call": calls}])) as lockstitch:
        policy = RunPolicy(deadline=timedelta(seconds=3), on_missing_handler="wait")
        async with asyncio.timeout(60):
            result = await lockstitch.starter.run(await lockstitch.request("Do it all.", policy))

    assert (result.status, len(result.tool_calls)) == ("expired", 100)
    assert "unheard_of" not in "".join(series())
