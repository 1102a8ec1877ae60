"""Runs that wait while no worker is up: none is lost, answers are taken, and what is counted is true."""

import asyncio
from typing import Any

import pytest

from lockstitch import telemetry
from lockstitch.assistants.fleet_reader import FleetReader
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.starter.contract import RunPolicy, RunSnapshot, ToolOutput
from lockstitch.tools import tool

RUNS = 500
AT_ONCE = 50

SCRIPT = [
    {"round": 0, "call": [{"name": "ask_the_warehouse", "arguments": {"order": 17}}]},
    {"round": 1, "say": "The warehouse has answered."},
]


@tool
async def ask_the_warehouse(order: int) -> str:
    """Ask a warehouse that only people can reach."""
    raise AssertionError(f"nobody registers this handler, and yet it is called with {order}")


def open_runs_metric(status: str) -> float | None:
    return telemetry.registry.get_sample_value("lockstitch_open_runs", {"status": status})


async def a_few_at_a_time(calls: list[Any]) -> list[Any]:
    """Await all, so many at once."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def run(call: Any) -> Any:
        async with slots:
            return await call

    return await asyncio.gather(*(run(call) for call in calls))


@pytest.mark.chaos  # counts every run of the Temporal server, so it needs one for itself
@pytest.mark.timeout(300)
async def test_runs_that_wait_for_outputs_survive_without_a_worker_and_go_on_when_one_is_back(engine, eventually):
    waiting = RunPolicy(on_missing_handler="wait")
    model = ScriptedModel(SCRIPT)
    offered = [ask_the_warehouse.__lockstitch_tool__.definition()]

    async with engine([], model) as fleet:
        request = await fleet.request("Where is order 17?", waiting, tools=offered)
        run_ids = await a_few_at_a_time([fleet.starter.start(request) for _ in range(RUNS)])
        await eventually(lambda: all_have(fleet.starter, "requires_action"), 120)

    async with engine([], model, task_queue=fleet.task_queue, workers=False) as nobody:
        parked = await nobody.starter.list(status="requires_action", limit=2 * RUNS)
        await FleetReader(nobody.starter, nobody.database).read("open_runs")
        counted = {status: open_runs_metric(status) for status in ("queued", "in_progress", "requires_action")}
        await a_few_at_a_time([nobody.starter.answer(run.run_id, outputs_of(run)) for run in parked])
        after_the_answers = await nobody.starter.count("requires_action")

    async with engine([], model, task_queue=fleet.task_queue) as fleet:
        results = await a_few_at_a_time([fleet.starter.result(run_id) for run_id in run_ids])
        await eventually(lambda: all_have(fleet.starter, "completed"))
        await FleetReader(fleet.starter, fleet.database).read("open_runs")
        left = await fleet.starter.count("requires_action")

    assert {run.run_id for run in parked} == set(run_ids)
    assert counted == {"queued": 0, "in_progress": 0, "requires_action": RUNS}
    assert after_the_answers == RUNS, "a run is no further than the worker that is not there took it"
    assert {(result.status, result.tool_calls[0].outcome) for result in results} == {("completed", "answered")}
    assert (left, open_runs_metric("requires_action")) == (0, 0)


async def all_have(starter: Any, status: Any) -> bool:
    return bool(await starter.count(status) == RUNS)


def outputs_of(run: RunSnapshot) -> list[ToolOutput]:
    return [ToolOutput(tool_call_id=call.call_id, output="It is on its way.") for call in run.pending_calls]
