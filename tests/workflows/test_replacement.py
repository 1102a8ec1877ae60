"""Runs on a remote server that fails: replaced, read again, taken over, and never lost."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from temporalio.client import Client

from lockstitch.activities.backends.assistants.api import AssistantsApi
from lockstitch.activities.backends.assistants.backend import AssistantsBackend
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.config import Config
from lockstitch.starter.client import Starter
from lockstitch.starter.contract import NewMessage, RunPolicy, ThreadRunRequest
from lockstitch.starter.escalations import Decision
from lockstitch.testing.assistants_upstream import (
    AssistantsUpstream,
    ExpireRun,
    HangInCancelling,
    LoseAnswer,
    LoseRun,
    StayQueued,
)
from lockstitch.tools import ToolRegistry, tool
from lockstitch.worker import build_workers

CALL = {"name": "charge", "arguments": {"amount": 9}}
SCRIPT = [{"round": 0, "call": [CALL]}, {"round": 1, "say": "Charged."}]
IMPATIENT = RunPolicy(
    queued_timeout=timedelta(milliseconds=300),
    in_progress_timeout=timedelta(milliseconds=300),
    cancelling_timeout=timedelta(milliseconds=300),
)


@dataclass
class Remote:
    """A worker whose runs execute on a server that fails as told, and the receipts that its handler wrote."""

    upstream: AssistantsUpstream
    starter: Starter
    temporal: Client
    assistant_id: str
    task_queue: str
    receipts: list[int] = field(default_factory=list)

    def request(self, policy: RunPolicy | None = None, **values: Any) -> ThreadRunRequest:
        return ThreadRunRequest(
            assistant_id=self.assistant_id,
            messages=[NewMessage(role="user", content="Charge me.")],
            backend="assistants",
            policy=policy or RunPolicy(),
            **values,
        )


@pytest.fixture
def remote(temporal, database, workflow_sandbox) -> Callable[..., AbstractAsyncContextManager[Remote]]:
    """Start such a worker."""

    @asynccontextmanager
    async def start(*faults: Any, handled: bool = True, adopt: Any = ()) -> AsyncIterator[Remote]:
        receipts: list[int] = []

        @tool
        async def charge(amount: int) -> str:
            """Charge an amount."""
            receipts.append(amount)
            return f"receipt {len(receipts)}"

        tools = ToolRegistry([charge] if handled else [])
        queue = f"test-{uuid4()}"
        async with AsyncExitStack() as stack:
            upstream = await stack.enter_async_context(
                AssistantsUpstream(SCRIPT, faults=faults, poll_after=timedelta(milliseconds=20))
            )
            backend = AssistantsBackend(database, AssistantsApi(base_url=upstream.base_url, api_key="any"), tools)
            stack.push_async_callback(backend.aclose)
            starter = await stack.enter_async_context(Starter(temporal, task_queue=queue))
            config = Config(task_queue=queue, adopt_threads=tuple(adopt))
            parts = (temporal, config, database, OfflineModel(), tools)
            for worker in build_workers(*parts, remote=[backend], workflow_runner=workflow_sandbox):
                await stack.enter_async_context(worker)
            definition = ToolRegistry([charge]).definitions()
            assistant = await _assistant(upstream, definition)
            yield Remote(upstream, starter, temporal, assistant, queue, receipts)

    return start


async def _assistant(upstream: AssistantsUpstream, tools: Any) -> str:
    import openai

    async with openai.AsyncOpenAI(base_url=upstream.base_url, api_key="any", max_retries=0) as client:
        return (await client.beta.assistants.create(model="scripted", tools=tools)).id


async def test_a_run_on_another_server_is_one_of_ours(remote):
    async with remote() as lockstitch:
        result = await lockstitch.starter.run(lockstitch.request())
        [upstream_run] = lockstitch.upstream.runs()

    assert (result.status, result.last_message_text, lockstitch.receipts) == ("completed", "Charged.", [9])
    assert result.run_id != upstream_run["id"]
    assert [(it.upstream_id, it.problem) for it in result.attempts] == [(upstream_run["id"], None)]


async def test_a_run_that_expired_is_replaced_and_its_work_is_not_done_again(remote):
    """The thread's new run makes the same call, and gets the output that the first one computed."""
    async with remote(ExpireRun(on="submit_tool_outputs", at="now")) as lockstitch:
        result = await lockstitch.starter.run(lockstitch.request())

    assert (result.status, result.last_message_text) == ("completed", "Charged.")
    assert [call.outcome for call in result.tool_calls] == ["succeeded", "reused"]
    assert lockstitch.receipts == [9]
    assert "expired" in result.attempts[0].problem
    assert len(result.attempts) == 2


async def test_a_run_that_nobody_takes_up_is_cancelled_and_replaced(remote):
    async with remote(StayQueued()) as lockstitch:
        result = await lockstitch.starter.run(lockstitch.request(IMPATIENT))
        statuses = sorted(run["status"] for run in lockstitch.upstream.runs())

    assert (result.status, len(result.attempts), lockstitch.receipts) == ("completed", 2, [9])
    assert statuses == ["cancelled", "completed"]


async def test_a_run_that_vanished_is_replaced(remote):
    async with remote(LoseRun(nth=1), StayQueued()) as lockstitch:
        result = await lockstitch.starter.run(lockstitch.request(IMPATIENT))

    assert (result.status, lockstitch.receipts) == ("completed", [9])
    assert len(result.attempts) >= 2


async def test_a_run_is_replaced_only_so_often(remote):
    policy = IMPATIENT.model_copy(update={"max_replacements": 1})
    async with remote(StayQueued(times=None)) as lockstitch:
        result = await lockstitch.starter.run(lockstitch.request(policy))

    assert (result.status, len(result.attempts)) == ("failed", 2)
    assert "It was replaced 1 times, which is the most." in result.last_error.message


async def test_a_lock_that_hangs_in_cancelling_does_not_hold_the_run_for_ever(remote):
    policy = IMPATIENT.model_copy(update={"deadline": timedelta(seconds=8)})
    async with remote(StayQueued(times=None), HangInCancelling(times=None)) as lockstitch:
        result = await lockstitch.starter.run(lockstitch.request(policy))

    assert result.status in ("failed", "expired")


async def test_outputs_whose_answer_got_lost_are_accepted_once(remote):
    async with remote(LoseAnswer(on="submit_tool_outputs")) as lockstitch:
        result = await lockstitch.starter.run(lockstitch.request())
        [upstream_run] = lockstitch.upstream.runs()
        accepted = lockstitch.upstream.journal.accepted(upstream_run["id"])

    assert (result.status, lockstitch.receipts, set(accepted.values())) == ("completed", [9], {1})


async def test_a_person_is_not_asked_about_a_run_that_has_ended_upstream(remote, eventually):
    """The run is read again first; here it expired while the missing handler was waited for."""
    async with remote(handled=False) as lockstitch:
        run_id = await lockstitch.starter.start(lockstitch.request())

        async def asked() -> Any:
            return next((it for it in await lockstitch.starter.escalations(run_id) if it.is_open), None)

        escalation = await eventually(asked)
        [upstream_run] = lockstitch.upstream.runs()
        lockstitch.upstream.expire(upstream_run["id"])
        decision = Decision(escalation_id=escalation.id, action="answer", output="by hand")
        await lockstitch.starter.decide(run_id, decision)
        result = await lockstitch.starter.result(run_id)

    assert (result.status, [call.outcome for call in result.tool_calls]) == ("completed", ["answered", "reused"])


async def test_what_nobody_decides_may_be_left_to_a_new_run(remote):
    policy = RunPolicy(on_unresolved="replace", decision_timeout=timedelta(milliseconds=200), max_replacements=1)
    async with remote(handled=False) as lockstitch:
        result = await lockstitch.starter.run(lockstitch.request(policy))

    assert (result.status, len(result.attempts)) == ("failed", 2)


@asynccontextmanager
async def left_behind(lockstitch: Remote) -> AsyncIterator[tuple[str, str]]:
    """Create a run as another process does that then forgets it; yields its thread and its id."""
    import openai

    async with openai.AsyncOpenAI(base_url=lockstitch.upstream.base_url, api_key="any", max_retries=0) as client:
        thread = await client.beta.threads.create(messages=[{"role": "user", "content": "Charge me."}])
        run = await client.beta.threads.runs.create(thread.id, assistant_id=lockstitch.assistant_id)
        await lockstitch.upstream.reached(run.id, "requires_action")
        yield thread.id, run.id


async def test_a_run_that_another_process_left_in_requires_action_is_adopted(remote):
    async with remote() as lockstitch, left_behind(lockstitch) as (thread_id, upstream_id):
        run_id = await lockstitch.starter.adopt(thread_id, upstream_id)
        again = await lockstitch.starter.adopt(thread_id, upstream_id)
        result = await lockstitch.starter.result(run_id)

    assert run_id == again
    assert (result.status, lockstitch.receipts) == ("completed", [9])
    assert result.attempts[0].upstream_id == upstream_id


async def test_a_run_that_is_not_there_cannot_be_adopted(remote):
    async with remote() as lockstitch:
        run_id = await lockstitch.starter.adopt("thread_none", "run_none")
        result = await lockstitch.starter.result(run_id)

    assert result.status == "failed"
    assert "no run run_none" in result.last_error.message.lower()


async def test_the_sweep_adopts_what_it_finds_on_listed_threads_and_leaves_ours_alone(remote, database, temporal):
    async with remote() as lockstitch, left_behind(lockstitch) as (thread_id, upstream_id):
        api = AssistantsApi(base_url=lockstitch.upstream.base_url, api_key="any")
        backend = AssistantsBackend(database, api, ())
        found = await backend.stranded_runs(thread_id, timedelta(seconds=-5))
        await lockstitch.starter.result(await lockstitch.starter.adopt(thread_id, upstream_id))
        after = await backend.stranded_runs(thread_id, timedelta(seconds=-5))
        await backend.aclose()

    assert (found, after) == ([upstream_id], [])
