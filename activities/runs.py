"""Start, follow, answer and end a run: the activities of every backend."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import openai
from temporalio import activity
from temporalio.exceptions import ApplicationError

from lockstitch import telemetry
from lockstitch.activities.backends.base import Backend, Patience
from lockstitch.activities.event_recorder import EventRecorder
from lockstitch.activities.heartbeats import heartbeats
from lockstitch.activities.messages import (
    EndRun,
    ReplaceRun,
    RequestedCall,
    RunRef,
    RunStop,
    StartRun,
    SubmitToolOutputs,
)
from lockstitch.activities.turn_meter import metered
from lockstitch.activities.upstream_errors import raise_for_temporal
from lockstitch.assistants.store import event_log, tool_calls
from lockstitch.assistants.store.database import Database
from lockstitch.errors import LockstitchError, UpstreamRunBroken, WriterFenced
from lockstitch.starter.contract import OPEN_STATUSES, RunPolicy
from lockstitch.tool_policy import ToolPolicy
from lockstitch.tools import ToolRegistry


class RunActivities:
    """The activities that carry a run from stop to stop."""

    def __init__(self, database: Database, backends: Mapping[str, Backend], tools: ToolRegistry) -> None:
        self._database = database
        self._backends = backends
        self._tools = tools

    def activities(self) -> list[Callable[..., Any]]:
        """Return the activities, to be given to a worker."""
        return [self.start_run, self.submit_tool_outputs, self.replace_run, self.read_run, self.end_run]

    @activity.defn(name="start_run")
    async def start_run(self, start: StartRun) -> RunStop:
        """Create the run upstream, or find it, and follow it to its first stop."""
        request = start.request
        return await metered(request.backend, start.run_id, request.policy, self._start(start))

    async def _start(self, start: StartRun) -> RunStop:
        backend = self._backend(start.request.backend)
        async with _upstream(start.run_id):
            run = await backend.create(start.run_id, start.request)
            if start.request.adopted_run_id is None:
                return await self._follow(backend, run, 1, start.request.policy)
            return await self._take_up(backend, run, start.request.policy)

    @activity.defn(name="submit_tool_outputs")
    async def submit_tool_outputs(self, submission: SubmitToolOutputs) -> RunStop:
        """Give the run the outputs of its round and follow it to its next stop."""
        run = submission.run
        return await metered(run.backend, run.run_id, submission.policy, self._submit(submission))

    async def _submit(self, submission: SubmitToolOutputs) -> RunStop:
        backend = self._backend(submission.run.backend)
        async with _upstream(submission.run.run_id):
            try:
                await backend.submit(submission.run, submission.outputs, submission.failures)
            except UpstreamRunBroken as error:
                return _broken(submission.run, error)
            return await self._follow(backend, submission.run, submission.turn, submission.policy)

    @activity.defn(name="replace_run")
    async def replace_run(self, replacement: ReplaceRun) -> RunStop:
        """Put a new run in the place of one that will not go on, and follow it to its first stop."""
        run, policy = replacement.run, replacement.request.policy
        return await metered(run.backend, run.run_id, policy, self._replace(replacement))

    async def _replace(self, replacement: ReplaceRun) -> RunStop:
        run, policy = replacement.run, replacement.request.policy
        backend = self._backend(run.backend)
        async with _upstream(run.run_id):
            telemetry.log.warning("run_replaced", upstream_id=run.upstream_id, reason=replacement.reason)
            made = await backend.replace(run, replacement.request, replacement.number, Patience.of(policy))
            return await self._follow(backend, made, 1, policy)

    @activity.defn(name="read_run")
    async def read_run(self, run: RunRef) -> RunStop:
        """Tell where the run stands upstream, before a person is asked about it."""
        backend = self._backend(run.backend)
        async with _upstream(run.run_id):
            try:
                stop = self._with_policies(await backend.retrieve(run))
            except UpstreamRunBroken as error:
                stop = _broken(run, error)
            telemetry.log.info("run_read_again", status=stop.status, broken=stop.broken)
            return stop

    @activity.defn(name="end_run")
    async def end_run(self, end: EndRun) -> RunStop:
        """End the run upstream, if it has not ended."""
        if end.run.backend not in self._backends:  # then the run never began, and whoever watches must learn the end
            reason = end.last_error.message if end.last_error else f"The run ended as {end.status}."
            await self._database.write(lambda connection: event_log.close(connection, end.run.run_id, reason))
        backend = self._backend(end.run.backend)
        async with _upstream(end.run.run_id):
            stop = await backend.end(end.run, end.status, end.last_error)
            telemetry.log.info("run_ended", run_id=end.run.run_id, status=stop.status)
            return stop

    def _backend(self, name: str) -> Backend:
        """Return the backend; one that this worker does not have, it will not have another time."""
        if name not in self._backends:
            known = ", ".join(sorted(self._backends))
            raise ApplicationError(
                f"This worker has no backend {name!r}, only {known}: set the URL of its server on every worker of the "
                "task queue.",
                type="server_error",
                non_retryable=True,
            )
        return self._backends[name]

    async def _take_up(self, backend: Backend, run: RunRef, policy: RunPolicy) -> RunStop:
        """Follow a run that somebody else created from where it stands."""
        try:
            stop = await backend.retrieve(run)
        except UpstreamRunBroken as error:
            return _broken(run, error)
        if stop.status == "cancelling":  # whoever asked for that may be gone
            return await backend.end(run, "cancelled", None)
        if stop.calls or stop.status not in OPEN_STATUSES:
            return self._with_policies(stop)
        return await self._follow(backend, run, stop.turns + 1, policy)

    async def _follow(self, backend: Backend, run: RunRef, turn: int, policy: RunPolicy) -> RunStop:
        attempt = activity.info().attempt
        try:
            async with (
                EventRecorder(self._database, run.run_id, attempt) as recorder,
                aclosing(backend.follow(run, turn, attempt, Patience.of(policy))) as progress,
            ):
                async for happened in progress:
                    await recorder.record(happened)
            stop = self._with_policies(await self._without_repeats(await backend.retrieve(run)))
        except UpstreamRunBroken as error:
            stop = _broken(run, error)
        except WriterFenced:
            await self._end_if_closed(backend, run)
            raise
        # At each stop but the last, somebody else has more to say: a handler, a person, or whoever replaces the run.
        tell = telemetry.log.debug if stop.status in OPEN_STATUSES else telemetry.log.info
        tell("run_stopped", status=stop.status, turn=turn, broken=stop.broken)
        return stop

    async def _end_if_closed(self, backend: Backend, run: RunRef) -> None:
        """End a run that was still being created when its end was written, by somebody who could not know of it."""
        if await self._database.read(lambda connection: event_log.is_closed(connection, run.run_id)):
            await backend.end(run, "cancelled", None)

    async def _without_repeats(self, stop: RunStop) -> RunStop:
        """Reuse what a replaced run computed for the same calls."""
        run = stop.run
        if not run.replacement or not stop.calls:
            return stop
        reused = await self._database.write(
            lambda connection: tool_calls.recognise_repeats(connection, run.run_id, run.upstream_id)
        )
        if reused:
            telemetry.log.info("tool_outputs_reused", calls=len(reused))
        calls = [
            call.model_copy(update={"outcome": "reused"}) if call.call_id in reused else call for call in stop.calls
        ]
        return stop.model_copy(update={"calls": calls})

    def _with_policies(self, stop: RunStop) -> RunStop:
        calls = [call.model_copy(update={"policy": self._policy(call)}) for call in stop.calls]
        return stop.model_copy(update={"calls": calls})

    def _policy(self, call: RequestedCall) -> ToolPolicy | None:
        tool = None if call.client_answers or call.built_in else self._tools.get(call.name)
        return None if tool is None else tool.policy


def _broken(run: RunRef, error: UpstreamRunBroken) -> RunStop:
    return RunStop(run=run, status="in_progress", broken=str(error))


@asynccontextmanager
async def _upstream(run_id: str) -> AsyncIterator[None]:
    """Run one activity's body: alive for Temporal, with the run's id on every log line, errors translated."""
    with telemetry.log_context(run_id=run_id, attempt=activity.info().attempt):
        try:
            with heartbeats():
                yield
        except (LockstitchError, openai.OpenAIError) as error:
            telemetry.log.warning("run_interrupted", error=str(error))
            raise_for_temporal(error)
