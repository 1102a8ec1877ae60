"""What attempts at model turns came to, as the metrics tell it of real runs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from lockstitch import telemetry
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.model.turn import ModelEvent, ModelTurn
from lockstitch.starter.contract import RunPolicy
from lockstitch.testing.assistants_upstream import AssistantsUpstream, ExpireRun
from lockstitch.tests.activities.test_assistants_worker import SCRIPT, asking, assistant_on, worker_on

OVERLOADED = {"status": 503, "code": "server_error", "message": "overloaded", "retry_after_seconds": 0}
DENIED = {"status": 401, "message": "Incorrect API key provided."}
OUTCOMES = ("done", "retried", "failed", "broken")


@pytest.fixture
def counted() -> Callable[[str], dict[str, int]]:
    """Return how many attempts of a backend ended in each way since the test began, where there were any."""

    def read(backend: str) -> dict[str, int]:
        sample = telemetry.registry.get_sample_value
        labels = {outcome: {"backend": backend, "outcome": outcome} for outcome in OUTCOMES}
        turns = {name: int(sample("lockstitch_model_turns_total", it) or 0) for name, it in labels.items()}
        timed = {
            name: int(sample("lockstitch_model_turn_duration_seconds_count", it) or 0) for name, it in labels.items()
        }
        assert turns == timed
        return turns

    before = {backend: read(backend) for backend in ("local", "assistants")}

    def since(backend: str) -> dict[str, int]:
        return {name: now - before[backend][name] for name, now in read(backend).items() if now > before[backend][name]}

    return since


@pytest.mark.parametrize(
    ("script", "policy", "expected"),
    [
        ({"say": "Hello."}, RunPolicy(), {"done": 1}),
        ({"say": "Hello.", "fail": {**OVERLOADED, "times": 2}}, RunPolicy(), {"retried": 2, "done": 1}),
        ({"say": "Hello.", "fail": OVERLOADED}, RunPolicy(upstream_attempts=2), {"retried": 1, "failed": 1}),
        ({"say": "Hello.", "fail": DENIED}, RunPolicy(), {"failed": 1}),
    ],
)
async def test_attempts_of_our_own_runs_are_counted_by_what_came_of_them(engine, counted, script, policy, expected):
    async with engine([], ScriptedModel([script])) as lockstitch:
        await lockstitch.starter.run(await lockstitch.request("Hello.", policy))

    assert counted("local") == expected


class SilentModel(ScriptedModel):
    """A model that says nothing until it is left alone."""

    def __init__(self) -> None:
        super().__init__([{"say": "never", "delay_seconds": 60}])
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def stream(self, turn: ModelTurn) -> AsyncIterator[ModelEvent]:
        self.asked.set()
        try:
            async for event in super().stream(turn):
                yield event
        finally:
            self.left.set()


async def test_an_attempt_that_a_cancellation_ended_is_not_counted(engine, counted):
    model = SilentModel()
    async with engine([], model) as lockstitch, asyncio.timeout(30):
        policy = RunPolicy(heartbeat_timeout=timedelta(seconds=1))
        run_id = await lockstitch.starter.start(await lockstitch.request("Hello.", policy))
        await model.asked.wait()
        await lockstitch.starter.cancel(run_id)
        result = await lockstitch.starter.result(run_id)
        await model.left.wait()

    assert (result.status, counted("local")) == ("cancelled", {})


async def test_a_run_upstream_that_has_to_be_replaced_is_a_broken_attempt(
    temporal, database, workflow_sandbox, counted
):
    async with AssistantsUpstream(SCRIPT) as server:
        request = asking(await assistant_on(server.base_url))
        server.inject(ExpireRun(on="submit_tool_outputs", at="now"))
        async with worker_on(temporal, database, workflow_sandbox, assistants_url=server.base_url) as starter:
            async with asyncio.timeout(60):
                result = await starter.run(request)

    assert result.status == "completed"
    assert counted("assistants") == {"done": 3, "broken": 1}
