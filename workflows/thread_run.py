"""One run of one thread, from request to end.

::

    start_run
    while the run asks for tool outputs:
        tool.<name> for each call that has a handler, run_code and search_files for the built-in tools, all at once;
        wait for the others
        submit_tool_outputs
    replace_run, where the run upstream will not go on
    end_run, only where the run does not end by itself
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from lockstitch.activities.messages import EndRun, ReplaceRun, RunRef, RunStop, StartRun, SubmitToolOutputs
    from lockstitch.activities.runs import RunActivities
    from lockstitch.starter import contract, escalations
    from lockstitch.starter.contract import Answer, LastError, RunStatus, ThreadRunResult
    from lockstitch.starter.escalations import Decision, Escalation
    from lockstitch.workflows import policy
    from lockstitch.workflows.built_in_call import BuiltInCall
    from lockstitch.workflows.carried_run import ThreadRunInput
    from lockstitch.workflows.escalation_desk import EscalationDesk
    from lockstitch.workflows.run_metrics import LadderMeter, RunClock
    from lockstitch.workflows.run_state import (
        AwaitEnd,
        End,
        Finish,
        Replace,
        RunState,
        SettleCalls,
        Step,
        Submit,
        next_step,
    )
    from lockstitch.workflows.tool_call import RoundContext, ToolCall, is_out_of_time


@workflow.defn(name=contract.THREAD_RUN)
class ThreadRun:
    """A durable run: it survives the process that runs it, and it always ends."""

    @workflow.init
    def __init__(self, request: ThreadRunInput) -> None:
        run_id, carried = workflow.info().workflow_id, request.carried
        self.request = request
        self.meter = LadderMeter(request.backend)
        if carried is None:
            self.state = RunState(run_id)
            self.clock = RunClock(request.backend, request.tenant)
        else:
            self.state = RunState.carried_on(run_id, carried)
            self.clock = RunClock(
                request.backend, request.tenant, self.state.status, carried.began, carried.status_since
            )
        asked = carried.escalations if carried else []
        self.desk = EscalationDesk(lambda: self._run, self.meter, self._describe_pending, asked)
        self.round_began = workflow.now()

    @workflow.run
    async def run(self, request: ThreadRunInput) -> ThreadRunResult:
        """Carry the run to its end, which comes at the latest with the deadline or a cancellation."""
        try:
            await self._carry_on(started=request.carried is not None)
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            await self._end("cancelled")
        result = self.state.result(workflow.now() - self.clock.began)
        if self.desk.all:
            result.escalations = self.desk.all
        return result

    @workflow.signal(name=contract.ANSWER_SIGNAL)
    def answer(self, answer: Answer) -> None:
        """Take tool outputs from outside."""
        self.state.answered(answer)

    @workflow.update(name=escalations.DECIDE_UPDATE)
    def decide(self, decision: Decision) -> Escalation:
        """Take a person's decision; of two that come at once, the first counts and the other is refused."""
        return self.desk.decide(decision)

    @decide.validator
    def check_decision(self, decision: Decision) -> None:
        """Refuse what cannot be taken, which leaves no trace in the history."""
        self.desk.check(decision)

    async def _carry_on(self, *, started: bool) -> None:
        try:
            if not started:
                self._stopped(await self._start())
            while await self._take(next_step(self.state, self.request.policy)):
                pass
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            if is_out_of_time(error):
                await self._end("expired")
            else:
                await self._end("failed", _upstream_failure(error))
        except TimeoutError:
            await self._end("expired")

    async def _take(self, step: Step) -> bool:
        match step:
            case Submit():
                self._stopped(await self._submit(step))
            case SettleCalls():
                self._leave_a_long_history_behind()
                await self._settle(step)
            case Replace(reason):
                self._stopped(await self._replace(reason))
            case End(status, error):
                await self._end(status, error)
            case AwaitEnd():
                await workflow.wait_condition(lambda: False, timeout=self._time_left())
            case Finish():
                await self.desk.close()
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
            run=self._run,
            turn=self.state.turn + 1,
            policy=self.request.policy,
            outputs=list(step.outputs),
            failures=list(step.failures),
        )
        return await workflow.execute_activity_method(
            RunActivities.submit_tool_outputs,
            submission,
            **policy.turn_limits(self.request.policy, self._time_left()),
        )

    async def _replace(self, reason: str) -> RunStop:
        self.meter.climbed("replace")
        self._enter("in_progress")
        replacement = ReplaceRun(run=self._run, request=self.request, number=self._run.replacement + 1, reason=reason)
        return await workflow.execute_activity_method(
            RunActivities.replace_run,
            replacement,
            summary=reason[:200],
            **policy.turn_limits(self.request.policy, self._time_left()),
        )

    async def _settle(self, step: SettleCalls) -> None:
        """Settle the calls of a round, all at once, until each has an output or the round is given up."""
        context = RoundContext(
            run=self._run,
            state=self.state,
            policy=self.request.policy,
            deadline=self.clock.began + self.request.policy.deadline,
            desk=self.desk,
            meter=self.meter,
        )
        code_turn = asyncio.Lock()
        calls = [
            BuiltInCall(context, call, code_turn) if call.built_in else ToolCall(context, call) for call in step.calls
        ]
        waits_for_outside = bool(self.state.waiting_for_answers)
        if waits_for_outside:
            workflow.upsert_memo({contract.PENDING_MEMO: [p.model_dump() for p in self.state.waiting_for_answers]})
        self.round_began = workflow.now()
        settling = [asyncio.create_task(self._settle_call(call)) for call in calls]
        self._describe_pending()
        # Handlers and escalations have their own limits; only what waits for the client needs a timer.
        needs_timer = any(call.waits_for_client for call in calls)
        try:
            await workflow.wait_condition(
                lambda: self._round_is_left(calls) or any(map(_broke, settling)),
                timeout=self._time_left() if needs_timer else None,
                timeout_summary="deadline of the run",
            )
            for task in filter(_broke, settling):
                await task
        finally:
            for task in settling:  # nothing is awaited here: a worker that stops leaves a run by closing this coroutine
                task.add_done_callback(_read_exception)
                task.cancel()
        if waits_for_outside:
            workflow.upsert_memo({contract.PENDING_MEMO: []})
        if self.state.moved_on is not None and not self.state.round_is_over:
            self._stopped(self.state.moved_on)

    async def _settle_call(self, call: ToolCall | BuiltInCall) -> None:
        await call.settle()
        self._describe_pending()

    def _round_is_left(self, calls: Sequence[ToolCall | BuiltInCall]) -> bool:
        if self.state.leaves_the_round and not any(call.handler_is_called for call in calls):
            return True
        return self.state.round_is_over

    def _leave_a_long_history_behind(self) -> None:
        if policy.history_is_long(workflow.info().get_current_history_length()):
            carried = self.state.carried(self.clock.began)
            carried.escalations = self.desk.all
            carried.status_since = self.clock.since
            # What the request brought is on the thread by now, so its content does not travel again.
            brought = {"thread_id": self._run.thread_id, "messages": None, "additional_messages": None}
            workflow.continue_as_new(self.request.model_copy(update={**brought, "carried": carried}))

    async def _end(self, status: Any, error: LastError | None = None) -> None:
        """End the run upstream, then here; here also where the upstream stays out of reach."""
        end = EndRun(run=self._run, status=status, last_error=error)
        try:
            stop = await workflow.execute_activity_method(
                RunActivities.end_run, end, **policy.ending_limits(self.request.policy)
            )
        except ActivityError as failure:
            if is_cancelled_exception(failure):
                raise
            stop = RunStop(run=self._run, status=status, last_error=error or _upstream_failure(failure))
        self._stopped(stop)
        await self.desk.close()

    def _time_left(self) -> timedelta:
        """Return how long the run may still take; raises `TimeoutError` at its deadline."""
        left = self.clock.began + self.request.policy.deadline - workflow.now()
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
        self.state.stopped(stop, workflow.now())
        self._enter(stop.status)

    def _enter(self, status: RunStatus) -> None:
        """Show the run's status to operators."""
        self.state.status = status
        if self.clock.enter(status):
            since = contract.STATUS_SINCE.value_set(self.clock.since)
            workflow.upsert_search_attributes([contract.STATUS.value_set(status), since])
        workflow.set_current_details(f"Status `{status}` since {self.clock.since:%Y-%m-%d %H:%M:%S} UTC.")

    def _describe_pending(self) -> None:
        """Tell operators which calls are pending, since when, and who will settle them."""
        asked = {it.call_id: it for it in self.desk.open}
        lines = []
        for call in self.state.open_calls.values():
            waiting = "called" if call.policy or call.built_in else "waits for outputs from outside"
            if escalation := asked.get(call.call_id):
                waiting = (
                    f"a person was asked at {escalation.opened_at:%H:%M:%S} ({escalation.reason}, {escalation.id}) and "
                    f"has until {escalation.deadline:%Y-%m-%d %H:%M:%S}: {escalation.detail}"
                )
            lines.append(f"- `{call.name}` ({call.call_id}): {waiting}")
        since = f"Tool calls pending since {self.round_began:%Y-%m-%d %H:%M:%S} UTC:"
        workflow.set_current_details("\n".join([since, "", *lines]) if lines else "No tool call is pending.")


def _read_exception(task: "asyncio.Task[None]") -> None:
    """Look at what a task that was given up raised, for asyncio reports what nobody looked at."""
    if not task.cancelled():
        task.exception()


def _broke(task: "asyncio.Task[None]") -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def _upstream_failure(error: ActivityError) -> LastError:
    cause = error.cause
    if isinstance(cause, ApplicationError):
        return LastError(code=cause.type or "server_error", message=cause.message)
    return LastError(code="server_error", message=f"{error.activity_type} did not finish: {cause or error}")
