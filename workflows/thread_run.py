"""One run of one thread, from request to end.

::

    start_run
    while the run asks for tool outputs:
        tool.<name> for each call that has a handler, all at once; wait for the others
        submit_tool_outputs
    end_run, only where the run does not end by itself
"""

import asyncio
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutType, is_cancelled_exception
from temporalio.exceptions import TimeoutError as ActivityTimeout

with workflow.unsafe.imports_passed_through():
    from lockstitch.activities.messages import (
        CallTool,
        EndRun,
        RequestedCall,
        RunRef,
        RunStop,
        StartRun,
        SubmitToolOutputs,
        ToolCallDone,
    )
    from lockstitch.activities.runs import RunActivities
    from lockstitch.starter import contract
    from lockstitch.starter.contract import Answer, LastError, RunStatus, ThreadRunRequest, ThreadRunResult
    from lockstitch.workflows import policy
    from lockstitch.workflows.run_metrics import RunClock
    from lockstitch.workflows.run_state import (
        AwaitEnd,
        Fail,
        Finish,
        RunState,
        SettleCalls,
        Submit,
        next_step,
    )


@workflow.defn(name=contract.THREAD_RUN)
class ThreadRun:
    """A durable run: it survives the process that runs it, and it always ends."""

    @workflow.init
    def __init__(self, request: ThreadRunRequest) -> None:
        self.request = request
        self.state = RunState(run_id=workflow.info().workflow_id)
        self.clock = RunClock(request.backend)
        self.round_began = workflow.now()

    @workflow.run
    async def run(self, request: ThreadRunRequest) -> ThreadRunResult:
        """Carry the run to its end, which comes at the latest with the deadline or a cancellation."""
        try:
            await self._carry_on()
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            await self._end("cancelled")
        return self.state.result(workflow.now() - workflow.info().start_time)

    @workflow.signal(name=contract.ANSWER_SIGNAL)
    def answer(self, answer: Answer) -> None:
        """Take tool outputs from outside."""
        self.state.answered(answer)

    async def _carry_on(self) -> None:
        try:
            self._stopped(await self._start())
            while await self._take(next_step(self.state, self.request.policy)):
                pass
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            if _is_out_of_time(error):
                await self._end("expired")
            else:
                await self._end("failed", _upstream_failure(error))
        except TimeoutError:
            await self._end("expired")

    async def _take(self, step: Any) -> bool:
        match step:
            case Submit():
                self._stopped(await self._submit(step))
            case SettleCalls():
                await self._settle(step)
            case Fail(error):
                await self._end("failed", error)
            case AwaitEnd():
                await workflow.wait_condition(lambda: False, timeout=self._time_left())
            case Finish():
                return False
        return True

    async def _start(self) -> RunStop:
        self._enter("in_progress")
        request = StartRun(run_id=self.state.run_id, request=self.request)
        return await workflow.execute_activity_method(
            RunActivities.start_run, request, **policy.turn_limits(self.request.policy, self._time_left())
        )

    async def _submit(self, step: Submit) -> RunStop:
        self._enter("in_progress")
        submission = SubmitToolOutputs(
            run=self._run, turn=self.state.turn + 1, outputs=list(step.outputs), failures=list(step.failures)
        )
        return await workflow.execute_activity_method(
            RunActivities.submit_tool_outputs,
            submission,
            **policy.turn_limits(self.request.policy, self._time_left()),
        )

    async def _settle(self, step: SettleCalls) -> None:
        """Call the handlers of a round, all at once, and wait until every call of it is settled."""
        calls = [asyncio.create_task(self._call(call)) for call in step.to_handle]
        if step.to_wait_for:
            workflow.upsert_memo({contract.PENDING_MEMO: [p.model_dump() for p in self.state.waiting_for_answers]})
        self.round_began = workflow.now()
        self._describe_pending()
        # Handlers have their own limits; only what waits for somebody outside needs a timer.
        time_left = self._time_left() if step.to_wait_for else None
        try:
            await workflow.wait_condition(
                lambda: self.state.round_is_over or any(map(_broke, calls)),
                timeout=time_left,
                timeout_summary="deadline of the run",
            )
        finally:
            for call in calls:
                call.cancel()
        for call in filter(_broke, calls):
            await call
        if step.to_wait_for:
            workflow.upsert_memo({contract.PENDING_MEMO: []})

    async def _call(self, call: RequestedCall) -> None:
        assert call.policy is not None  # noqa: S101 - only calls that have a handler come here
        try:
            done: ToolCallDone = await workflow.execute_activity(
                f"tool.{call.name}",
                CallTool(run=self._run, call_id=call.call_id, name=call.name),
                result_type=ToolCallDone,
                task_queue=call.policy.task_queue,
                summary=f"{call.name} {call.call_id}",
                **policy.tool_limits(call.policy, self.request.policy, self._time_left()),
            )
        except ActivityError as error:
            if is_cancelled_exception(error) or _is_out_of_time(error):
                raise
            message, attempts = _handler_failure(error, call.policy.max_attempts)
            fatal = policy.fails_the_run(call.policy, self.request.policy)
            self.state.handler_failed(call, message, attempts, fatal=fatal)
        else:
            self.state.handled(done)
        self._describe_pending()

    async def _end(self, status: Any, error: LastError | None = None) -> None:
        """End the run upstream, then here."""
        end = EndRun(run=self._run, status=status, last_error=error)
        stop = await workflow.execute_activity_method(
            RunActivities.end_run, end, **policy.ending_limits(self.request.policy)
        )
        self._stopped(stop)

    def _time_left(self) -> timedelta:
        """Return how long the run may still take; raises `TimeoutError` at its deadline."""
        left = workflow.info().start_time + self.request.policy.deadline - workflow.now()
        if left <= timedelta(0):
            raise TimeoutError
        return left

    @property
    def _run(self) -> RunRef:
        return self.state.run or RunRef(
            run_id=self.state.run_id,
            thread_id=self.request.thread_id or "",
            assistant_id=self.request.assistant_id,
            backend=self.request.backend,
            tenant=self.request.tenant,
        )

    def _stopped(self, stop: RunStop) -> None:
        self.state.stopped(stop)
        self._enter(stop.status)

    def _enter(self, status: RunStatus) -> None:
        """Show the run's status to operators."""
        self.state.status = status
        if self.clock.enter(status):
            workflow.upsert_search_attributes([contract.STATUS.value_set(status)])
        workflow.set_current_details(f"Status `{status}` since {self.clock.since:%Y-%m-%d %H:%M:%S} UTC.")

    def _describe_pending(self) -> None:
        """Tell operators which calls are pending, since when, and who will settle them."""
        lines = [
            f"- `{call.name}` ({call.call_id}): {'waits for outputs from outside' if call.policy is None else 'called'}"
            for call in self.state.open_calls.values()
        ]
        since = f"Tool calls pending since {self.round_began:%Y-%m-%d %H:%M:%S} UTC:"
        workflow.set_current_details("\n".join([since, "", *lines]) if lines else "No tool call is pending.")


def _broke(task: "asyncio.Task[None]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def _is_out_of_time(error: ActivityError) -> bool:
    """Tell whether the run's deadline, and not a limit of its own, ended the activity."""
    timed_out = isinstance(error.cause, ActivityTimeout) and error.cause.type is TimeoutType.SCHEDULE_TO_CLOSE
    return timed_out or error.retry_state is RetryState.TIMEOUT


def _upstream_failure(error: ActivityError) -> LastError:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return LastError(code=cause.type or "server_error", message=cause.message)
    return LastError(code="server_error", message=f"{error.activity_type} did not finish: {cause or error}")


def _handler_failure(error: ActivityError, max_attempts: int) -> tuple[str, int]:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        attempts = cause.details[0] if cause.details else max_attempts
        return cause.message, int(attempts)
    if isinstance(cause, ActivityTimeout):
        return f"No answer from the worker that ran it ({cause}).", max_attempts
    return str(cause or error), max_attempts
