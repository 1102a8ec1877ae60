"""Every metric that dashboards and rules name exists, and has the labels that they ask it for."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.service import RPCError
from temporalio.worker import Worker

from lockstitch import telemetry
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.store import assistants
from lockstitch.assistants.store.database import Database
from lockstitch.config import Config
from lockstitch.metrics import sdk_metrics
from lockstitch.starter.client import Starter, connect_temporal
from lockstitch.starter.contract import NewMessage, RunPolicy, ThreadRunRequest
from lockstitch.starter.temporal_server import TemporalServer
from lockstitch.tests.dashboards.expressions import (
    TARGET_LABELS,
    all_expressions,
    recorded,
    rules,
    uses,
    variable_uses,
)
from lockstitch.tools import ToolRegistry, tool
from lockstitch.worker import build_workers

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
ALERT_LABELS = frozenset({"alertname", "alertstate", "severity"})

Names = dict[str, set[str]]
"""The labels of metrics by the names that expressions know them by."""


def documented() -> Names:
    """Return the metrics of the table in the docs; a histogram has three names."""
    names: Names = {}
    for name, kind, labels in re.findall(
        r"^\| `(lockstitch_\w+)` \| (\w+) \|([^|]*)\|", DOCS.read_text(), re.MULTILINE
    ):
        found = {label.strip(" `") for label in labels.split(",") if label.strip()}
        if kind == "histogram":
            names[f"{name}_bucket"] = found | {"le"}
            names[f"{name}_sum"] = names[f"{name}_count"] = found
        else:
            names[name] = found
    return names


@tool(max_attempts=2, initial_interval=timedelta(milliseconds=10))
async def look_at_the_gauge() -> str:  # no other test's tool
    """Look at a gauge, which is broken."""
    raise ConnectionError("the gauge is broken")


@activity.defn
async def stumble() -> None:
    if activity.info().attempt == 1:
        raise ConnectionError("a stone")


@workflow.defn(sandboxed=False)
class Stumble:
    """Whose first workflow task fails, as that of code which does not replay does."""

    stands = False

    @workflow.run
    async def run(self) -> None:
        if not Stumble.stands:
            Stumble.stands = True
            raise RuntimeError("this code does not replay")
        once_more = RetryPolicy(initial_interval=timedelta(milliseconds=10))
        await workflow.execute_activity(stumble, start_to_close_timeout=timedelta(seconds=10), retry_policy=once_more)


async def do_runs(client: Client, database: Database, queue: str) -> None:
    """Do a run whose tool fails and one that a person has to decide about."""
    columns = {"model": "test", "tools": [], "tool_resources": {}, "metadata": {}}
    row = await database.write(lambda connection: assistants.create(connection, columns, 0))
    policy = RunPolicy(decision_timeout=timedelta(milliseconds=100))
    async with Starter(client, task_queue=queue) as starter:
        for text in ("Look at the gauge.", "Call nobody."):
            asked = [NewMessage(role="user", content=text)]
            await starter.run(ThreadRunRequest(assistant_id=row["id"], messages=asked, policy=policy))


async def stumble_on(client: Client, queue: str) -> None:
    """Have a workflow task, an activity and a request fail once each."""
    async with Worker(client, task_queue=queue, workflows=[Stumble], activities=[stumble]):
        await client.execute_workflow(Stumble.run, id=queue, task_queue=queue)
    with pytest.raises(RPCError):
        await client.get_workflow_handle("nobody").describe()


@pytest.fixture(scope="module")
async def shown(temporal: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Names]:
    """What a process shows that has done some runs, and met some misfortune."""
    collectors: list[sdk_metrics.TemporalMetrics] = []
    runtime = sdk_metrics.buffering_runtime(collectors.append)
    client = await connect_temporal(TemporalServer(temporal.service_client.config.target_host), runtime)
    config = Config(task_queue=f"test-{uuid4()}")
    calls = [{"name": "look_at_the_gauge", "arguments": {}}]
    model = ScriptedModel(
        [
            {"when": "gauge", "round": 0, "call": calls},
            {"when": "nobody", "round": 0, "call": [{"name": "nobody", "arguments": {}}]},
            {"say": "Done."},
        ]
    )
    async with AsyncExitStack() as stack:
        url = f"sqlite:///{tmp_path_factory.mktemp('names') / 'a.db'}"
        database = await stack.enter_async_context(Database(url))
        for worker in build_workers(client, config, database, model, ToolRegistry([look_at_the_gauge])):
            await stack.enter_async_context(worker)
        await do_runs(client, database, config.task_queue)
        await stumble_on(client, f"stumble-{uuid4()}")
        families = [*telemetry.registry.collect(), *collectors[0].collect()]
        names: Names = {}
        for sample in (sample for family in families for sample in family.samples):
            names.setdefault(sample.name, set()).update(sample.labels)
        yield names


def known(shown: Names) -> Names:
    of_temporal = {name: labels for name, labels in shown.items() if name.startswith("temporal_")}
    of_rules = {name: _kept_by(rule) for name, rule in recorded().items()}
    names = {**documented(), **of_temporal, **of_rules, "ALERTS": {*ALERT_LABELS}}
    return {name: labels | TARGET_LABELS for name, labels in names.items()}


def _kept_by(rule: dict[str, str]) -> set[str]:
    return {name.strip() for kept in re.findall(r"by \(([^)]*)\)", rule["expr"]) for name in kept.split(",")} - {"le"}


def test_every_metric_that_is_named_exists_and_has_the_labels_that_it_is_asked_for(shown):
    names = known(shown)
    named = [(expression.place, use) for expression in all_expressions() for use in uses(expression.parsed)]

    for place, use in [*named, *variable_uses()]:
        assert use.metric in names, f"{place} names {use.metric}, which does not exist"
        missing = use.labels - names[use.metric]
        assert not missing, f"{place} asks {use.metric} for {sorted(missing)}; it has {sorted(names[use.metric])}"


def test_a_metric_has_the_labels_that_the_docs_say(shown):
    told = documented()
    compared = [name for name in told if name in shown]

    assert len(compared) > 20
    assert {name: shown[name] for name in compared} == {name: told[name] for name in compared}


def test_every_label_that_an_alert_names_is_one_that_it_keeps(shown):
    for rule in rules():
        if "alert" not in rule:
            continue
        named = set(re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values())))
        kept = {
            name.strip() for names in re.findall(r"(?:by|on) ?\(([^)]*)\)", rule["expr"]) for name in names.split(",")
        }
        for metric in recorded():
            kept |= _kept_by(recorded()[metric]) if metric in rule["expr"] else set()
        assert named <= kept | {"namespace"}, rule["alert"]
