"""Start, follow, answer and end a run: the activities of every backend."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager

import openai
from temporalio import activity

from lockstitch import telemetry
from lockstitch.activities.backends.base import Backend
from lockstitch.activities.event_recorder import EventRecorder
from lockstitch.activities.heartbeats import heartbeats
from lockstitch.activities.messages import EndRun, RunRef, RunStop, StartRun, SubmitToolOutputs
from lockstitch.activities.upstream_errors import raise_for_temporal
from lockstitch.assistants.store.database import Database
from lockstitch.errors import LockstitchError
from lockstitch.tool_policy import ToolPolicy
from lockstitch.tools import ToolRegistry


class RunActivities:
    """The activities that carry a run from stop to stop."""

    def __init__(self, database: Database, backends: Mapping[str, Backend], tools: ToolRegistry) -> None:
        self._database = database
        self._backends = backends
        self._tools = tools

    @activity.defn(name="start_run")
    async def start_run(self, start: StartRun) -> RunStop:
        """Create the run upstream, or find it, and follow it to its first stop."""
        backend = self._backends[start.request.backend]
        async with _upstream(start.run_id):
            run = await backend.create(start.run_id, start.request)
            return await self._follow(backend, run, turn=1)

    @activity.defn(name="submit_tool_outputs")
    async def submit_tool_outputs(self, submission: SubmitToolOutputs) -> RunStop:
        """Give the run the outputs of its round and follow it to its next stop."""
        backend = self._backends[submission.run.backend]
        async with _upstream(submission.run.run_id):
            await backend.submit(submission.run, submission.outputs, submission.failures)
            return await self._follow(backend, submission.run, submission.turn)

    @activity.defn(name="end_run")
    async def end_run(self, end: EndRun) -> RunStop:
        """End the run upstream, if it has not ended."""
        async with _upstream(end.run.run_id):
            stop = await self._backends[end.run.backend].end(end.run, end.status, end.last_error)
            telemetry.log.info("run_ended", run_id=end.run.run_id, status=stop.status)
            return stop

    async def _follow(self, backend: Backend, run: RunRef, turn: int) -> RunStop:
        attempt = activity.info().attempt
        async with (
            EventRecorder(self._database, run.run_id, attempt) as recorder,
            aclosing(backend.follow(run, turn, attempt)) as progress,
        ):
            async for happened in progress:
                await recorder.record(happened)
        stop = await backend.retrieve(run)
        calls = [call.model_copy(update={"policy": self._policy(call.name)}) for call in stop.calls]
        telemetry.log.info("run_stopped", run_id=run.run_id, status=stop.status, turn=turn, attempt=attempt)
        return stop.model_copy(update={"calls": calls})

    def _policy(self, name: str) -> ToolPolicy | None:
        tool = self._tools.get(name)
        return None if tool is None else tool.policy


@asynccontextmanager
async def _upstream(run_id: str) -> AsyncIterator[None]:
    """Run one activity's body: alive for Temporal, with the run's id on every log line, errors translated."""
    with telemetry.log_context(run_id=run_id, attempt=activity.info().attempt):
        try:
            async with heartbeats():
                yield
        except (LockstitchError, openai.OpenAIError) as error:
            telemetry.log.warning("run_interrupted", error=str(error))
            raise_for_temporal(error)
