"""A worker's life of many runs, as its metrics see it: some are carried out, the rest only recorded.

What is recorded goes the way that it goes in a worker: what workflows measure through the Temporal SDK's buffer, the
rest through the functions that activities call. Tenants, models, tools and outcomes are many and take turns.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from temporalio.common import MetricMeter
from temporalio.runtime import Runtime
from temporalio.testing import WorkflowEnvironment

from lockstitch import telemetry
from lockstitch.activities.backends.metered import OPERATION
from lockstitch.assistants.fleet_reader import FleetReader
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.store import assistants
from lockstitch.assistants.store.database import Database
from lockstitch.config import Config
from lockstitch.dev import SERVER_SETTINGS, temporal_binary
from lockstitch.metrics.model_prices import ModelPrices
from lockstitch.metrics.tenant_classes import TenantClasses
from lockstitch.starter.client import Starter, connect_temporal
from lockstitch.starter.contract import SEARCH_ATTRIBUTES, NewMessage, RunPolicy, RunStatus, ThreadRunRequest
from lockstitch.starter.payloads import data_converter
from lockstitch.starter.temporal_server import TemporalServer
from lockstitch.tools import Tool, ToolContext, ToolRegistry, tool
from lockstitch.worker import build_workers
from lockstitch.workflows import run_metrics

TOOLS = 20
MODELS = 200
TENANTS = 1000
CLASSES = ("gold-*=gold", "trial-*=trial", "test-*=test")
AT_ONCE = 20
_ENDS: tuple[RunStatus, ...] = ("completed", "completed", "completed", "failed", "incomplete", "expired", "cancelled")
_TOOL_ENDS = ("succeeded", "succeeded", "retried", "failed", "invalid_arguments")
_TURN_ENDS = ("done", "done", "done", "retried", "failed", "broken")


def tenant(number: int) -> str:
    """Return one of the tenants."""
    return f"{('gold', 'trial', 'test', 'other')[number % 4]}-{number % TENANTS}"


def model_name(number: int) -> str:
    """Return one of the models, of which some have a price."""
    return f"{('priced', 'free')[number % 2]}-model-{number % MODELS}"


def _tools() -> list[Tool]:
    def make(number: int) -> Tool:
        @tool(name=f"tool_{number:02}", initial_interval=timedelta(milliseconds=20), max_attempts=2)
        async def call(order: int, context: ToolContext) -> str:
            """Do something about an order."""
            if number % 4 == 1 and (context.attempt == 1 or number % 8 == 1):
                raise ConnectionError("the warehouse did not answer")
            return "done"

        return call

    return [make(number) for number in range(TOOLS)]


def _script() -> list[dict[str, Any]]:
    calling = [
        {"when": f"tool_{number:02}", "round": 0, "call": [{"name": f"tool_{number:02}", "arguments": {"order": 1}}]}
        for number in range(TOOLS)
    ]
    return [
        {"when": "fail", "fail": {"status": 401, "message": "no"}},
        {"when": "cut", "say": "one two", "finish": "length"},
        *calling,
        {"round": 1, "say": "It is done."},
    ]


@dataclass(slots=True)
class Load:
    """A worker of which the runs are asked, and the runtime whose buffer its metrics go through."""

    starter: Starter
    runtime: Runtime
    reader: FleetReader
    assistant_id: str
    task_queue: str

    async def carry_out(self, runs: int) -> None:
        """Carry out so many runs."""
        left = count()

        async def take_on() -> None:
            while (number := next(left)) < runs:
                await self.starter.run(self._request(number))

        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(take_on())

    def _request(self, number: int) -> ThreadRunRequest:
        kind = ("fail", "cut")[number // 50 % 2] if number % 25 == 0 else f"tool_{number % TOOLS:02}"
        return ThreadRunRequest(
            assistant_id=self.assistant_id,
            messages=[NewMessage(role="user", content=f"Do {kind}.")],
            tenant=tenant(number),
            model=model_name(number),
            policy=RunPolicy(on_tool_failure="error_output"),
        )

    async def record(self, runs: int) -> None:
        """Record so many runs, at most a thousand in a second: more than any fleet of workers ends."""
        meter = self.runtime.metric_meter.with_additional_attributes(
            {"namespace": "default", "task_queue": self.task_queue, "workflow_type": "ThreadRun"}
        )
        for number in range(runs):
            _record_run(meter, number)
            if number % 10 == 0:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def loaded_worker(folder: Path) -> AsyncIterator[Load]:
    """Start a Temporal server and a worker in this process."""
    config = Config(database_url=f"sqlite:///{folder / 'lockstitch.db'}", tenant_classes=CLASSES)
    settings = [word for setting in SERVER_SETTINGS for word in ("--dynamic-config-value", setting)]
    environment = await WorkflowEnvironment.start_local(
        data_converter=data_converter,
        dev_server_existing_path=temporal_binary(),
        dev_server_extra_args=[*settings, "--log-level", "never"],
        search_attributes=SEARCH_ATTRIBUTES,
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(environment)
        telemetry.MODELS.set_up(ModelPrices(["priced-*=2.5/10"]), 100)
        telemetry.tell_build("0", "", "worker")
        runtime = telemetry.buffering_runtime(TenantClasses(CLASSES))
        address = environment.client.service_client.config.target_host
        client = await connect_temporal(TemporalServer(address), runtime)
        database = await stack.enter_async_context(Database(config.database_url))
        registry = ToolRegistry(_tools())
        for worker in build_workers(client, config, database, ScriptedModel(_script()), registry):
            await stack.enter_async_context(worker)
        starter = await stack.enter_async_context(Starter(client, task_queue=config.task_queue))
        reader = await stack.enter_async_context(FleetReader(starter, database))
        columns = {"model": "test", "tools": registry.definitions(), "tool_resources": {}, "metadata": {}}
        row = await database.write(lambda connection: assistants.create(connection, columns, 0))
        yield Load(starter, runtime, reader, row["id"], config.task_queue)


def _record_run(meter: MetricMeter, number: int) -> None:
    """Record what one run with two turns and one tool call does."""
    backend = ("local", "assistants")[number // 4 % 2]
    status = _ENDS[number % len(_ENDS)]
    _record_workflow(meter, number, backend, status)
    seconds = timedelta(milliseconds=number % 5000)
    tool_end = _TOOL_ENDS[number % len(_TOOL_ENDS)]
    with telemetry.log_context(run_id=f"run_{number:024}"):
        telemetry.tool_call_ended(f"tool_{number % TOOLS:02}", tool_end, seconds)
    for turn in range(2):
        end = _TURN_ENDS[(number + turn) % len(_TURN_ENDS)]
        telemetry.model_turn_ended(backend, end, seconds, f"run_{number:024}")
        telemetry.TIME_TO_FIRST_TOKEN.labels(backend).observe(seconds.total_seconds())
        telemetry.UPSTREAM_REQUESTS.labels(backend, OPERATION, str((200, 429, 503)[number % 3])).inc()
        telemetry.MODELS.count(model_name(number), 900, 100)
        telemetry.events_written(12, 0.004, [0.0, 0.0, 0.0])
    if number % 10 == 0:
        event = ("escalation.opened", "escalation.resolved")[number // 10 % 2]
        outcome = ("delivered", "failed", "refused", "gave_up", "not_configured")[number // 20 % 5]
        telemetry.notification_ended(event, outcome, seconds)


def _record_workflow(meter: MetricMeter, number: int, backend: str, status: RunStatus) -> None:
    """Record what the workflow of a run measures, as `run_metrics` does."""
    of_backend = meter.with_additional_attributes({"backend": backend})
    of_tenant = of_backend.with_additional_attributes({"tenant": tenant(number)})
    seconds = number % 700 / 10
    of_tenant.create_counter(run_metrics.RUNS_STARTED, "").add(1)
    of_tenant.create_histogram_float(run_metrics.RUN_QUEUE_WAIT, "").record(seconds / 10)
    in_status = of_backend.create_histogram_float(run_metrics.RUN_STATUS_DURATION, "")
    for passed in ("queued", "in_progress", "requires_action", "in_progress"):
        in_status.record(seconds / 4, {"status": passed})
    of_tenant.create_counter(run_metrics.RUNS_FINISHED, "").add(1, {"status": status})
    of_tenant.create_histogram_float(run_metrics.RUN_DURATION, "").record(seconds, {"status": status})
    if number % 10 == 0:
        reason = {"reason": ("approval", "no_handler", "handler_failed", "outcome_unknown")[number // 10 % 4]}
        by = {"by": ("approve", "deny", "answer", "retry", "error", "cancel", "deadline", "run")[number // 10 % 8]}
        rung = {"rung": ("read_again", "ask_a_person", "retry", "deny", "error_output", "replace")[number // 10 % 6]}
        of_backend.create_counter(run_metrics.LADDER_RUNGS, "").add(1, rung)
        of_backend.create_counter(run_metrics.ESCALATIONS_OPENED, "").add(1, reason)
        of_backend.create_counter(run_metrics.ESCALATIONS_CLOSED, "").add(1, {**reason, **by})
