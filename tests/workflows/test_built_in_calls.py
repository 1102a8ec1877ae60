"""Who carries out a call of a built-in tool, and what comes of it where nobody does."""

from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from lockstitch.activities.messages import (
    EndRun,
    RequestedCall,
    RunRef,
    RunStop,
    StartRun,
    SubmitToolOutputs,
    ToolCallDone,
    UseBuiltInTool,
)
from lockstitch.starter.code_queue import code_queue
from lockstitch.starter.contract import RunPolicy, ThreadRunRequest
from lockstitch.workflows import policy
from lockstitch.workflows.carried_run import ThreadRunInput
from lockstitch.workflows.thread_run import ThreadRun

QUEUE = f"built-in-calls-{uuid4()}"


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Wait for workers that do not come for parts of a second; no server skips the time in which a task waits."""
    monkeypatch.setattr(policy, "SESSION_AWAITED", timedelta(milliseconds=300))
    monkeypatch.setattr(policy, "CODE_WORKER_AWAITED", timedelta(milliseconds=600))


class Upstream:
    """A run that asks for ``calls`` in its first turn and is content with whatever it gets."""

    def __init__(self, *calls: RequestedCall) -> None:
        self.calls = list(calls)
        self.submitted: SubmitToolOutputs | None = None
        self.ran_on: list[str] = []

    @activity.defn(name="start_run")
    async def start_run(self, start: StartRun) -> RunStop:
        run = RunRef(run_id=start.run_id, thread_id="thread_1", assistant_id="asst_1", upstream_id=start.run_id)
        return RunStop(run=run, status="in_progress", calls=self.calls)

    @activity.defn(name="submit_tool_outputs")
    async def submit_tool_outputs(self, submission: SubmitToolOutputs) -> RunStop:
        self.submitted = submission
        return RunStop(run=submission.run, status="completed")

    @activity.defn(name="end_run")
    async def end_run(self, end: EndRun) -> RunStop:
        return RunStop(run=end.run, status=end.status, last_error=end.last_error)

    @activity.defn(name="run_code")
    async def run_code(self, call: UseBuiltInTool) -> ToolCallDone:
        self.ran_on.append(activity.info().task_queue)
        return ToolCallDone(call_id=call.call_id, outcome="succeeded", attempts=1, duration=timedelta(seconds=1))

    @activity.defn(name="search_files")
    async def search_files(self, call: UseBuiltInTool) -> ToolCallDone:
        raise ApplicationError("The embedder is away.", type="EmbedderUnavailable")


@pytest.fixture
def carry(temporal, workflow_sandbox):
    """Carry a run of ``upstream`` to its end, with workers for code on these queues, and return its result."""

    @asynccontextmanager
    async def workers(upstream, code_queues):
        runs = [upstream.start_run, upstream.submit_tool_outputs, upstream.end_run, upstream.search_files]
        async with AsyncExitStack() as stack:
            for queue, activities in {QUEUE: runs, **{queue: [upstream.run_code] for queue in code_queues}}.items():
                workflows = [ThreadRun] if queue == QUEUE else []
                options = {"workflows": workflows, "activities": activities, "workflow_runner": workflow_sandbox}
                await stack.enter_async_context(Worker(temporal, task_queue=queue, **options))
            yield

    async def run(upstream, *, code_queues=(), **limits):
        request = ThreadRunRequest(thread_id="thread_1", assistant_id="asst_1", policy=RunPolicy(**limits))
        given = ThreadRunInput.model_validate(request.model_dump(exclude_unset=True))
        async with workers(upstream, code_queues):
            return await temporal.execute_workflow(ThreadRun.run, given, id=f"run_{uuid4()}", task_queue=QUEUE)

    return run


def code(call_id="call_1", session_queue=None):
    return RequestedCall(
        call_id=call_id, name="code_interpreter", built_in="code_interpreter", session_queue=session_queue
    )


async def test_code_runs_where_its_session_is(carry):
    upstream = Upstream(code(session_queue="held-here"))
    result = await carry(upstream, code_queues=[code_queue(QUEUE), "held-here"])

    assert result.status == "completed"
    assert upstream.ran_on == ["held-here"]


async def test_code_runs_anywhere_when_the_worker_that_held_its_session_is_gone(carry):
    upstream = Upstream(code(session_queue="gone"))
    result = await carry(upstream, code_queues=[code_queue(QUEUE)])

    assert result.status == "completed"
    assert upstream.ran_on == [code_queue(QUEUE)]


async def test_the_model_is_told_where_no_worker_runs_code(carry):
    upstream = Upstream(code("call_1"), code("call_2"))
    result = await carry(upstream)

    assert result.status == "completed"
    assert [failure.message for failure in upstream.submitted.failures] == [
        "No worker of this server runs code at the moment."
    ] * 2
    assert [call.outcome for call in result.tool_calls] == ["failed", "failed"]


async def test_a_run_whose_time_is_over_expires_though_it_waits_for_code(carry):
    result = await carry(Upstream(code()), deadline=timedelta(milliseconds=300))

    assert result.status == "expired"


async def test_a_search_that_fails_again_and_again_is_told_to_the_model(carry):
    search = RequestedCall(call_id="call_1", name="file_search", built_in="file_search")
    upstream = Upstream(search)
    result = await carry(upstream)

    assert result.status == "completed"
    assert [failure.message for failure in upstream.submitted.failures] == ["The embedder is away."]
