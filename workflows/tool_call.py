"""One tool call of a run climbs its ladder: handler, another look upstream, a person, and what the policy says last."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, RetryState, TimeoutType, is_cancelled_exception
from temporalio.exceptions import TimeoutError as ActivityTimeout

with workflow.unsafe.imports_passed_through():
    from lockstitch.activities.messages import (
        OUTCOME_UNKNOWN,
        CallFailure,
        CallTool,
        RequestedCall,
        RunRef,
        ToolCallDone,
    )
    from lockstitch.activities.runs import RunActivities
    from lockstitch.starter.contract import Answer, LastError, RunPolicy, ToolOutput
    from lockstitch.starter.escalations import Decision, Escalation, LastRung, Reason
    from lockstitch.tool_policy import ToolPolicy
    from lockstitch.workflows import policy
    from lockstitch.workflows.escalation_desk import EscalationDesk
    from lockstitch.workflows.run_metrics import LadderMeter
    from lockstitch.workflows.run_state import End, Replace, RunState


@dataclass(frozen=True, slots=True)
class RoundContext:
    """What the calls of a run share."""

    run: RunRef
    state: RunState
    policy: RunPolicy
    deadline: datetime
    """Of the run."""
    desk: EscalationDesk
    meter: LadderMeter

    def time_left(self) -> timedelta:
        """Return how long the run may still take; raises `TimeoutError` at its deadline."""
        left = self.deadline - workflow.now()
        if left <= timedelta(0):
            raise TimeoutError
        return left


@dataclass(frozen=True, slots=True)
class HandlerFailure:
    """How a handler failed for good; ``unknown`` says that it may have taken effect all the same."""

    message: str
    attempts: int
    unknown: bool

    @property
    def reason(self) -> Reason:
        """Why a person is asked about it."""
        return "outcome_unknown" if self.unknown else "handler_failed"


class ToolCall:
    """Settles one call: at the end the state has its output, its failure, or a verdict about the whole run."""

    def __init__(self, context: RoundContext, call: RequestedCall) -> None:
        self._round = context
        self._call = call
        self.handler_is_called = False

    @property
    def waits_for_client(self) -> bool:
        """Whether nobody but the client can settle the call."""
        if self._call.policy is not None:
            return False
        return self._call.client_answers or self._round.policy.on_missing_handler == "wait"

    async def settle(self) -> None:
        """Climb until the call is settled."""
        tool = self._call.policy
        if tool is None:
            await self._settle_without_handler()
        elif not tool.approval or await self._is_approved(tool):
            await self._settle_by_handler(tool)

    async def _settle_without_handler(self) -> None:
        if not self.waits_for_client:  # else the client answers, or the deadline comes
            detail = f"No handler is registered for {self._call.name!r}."
            self._take(await self._ask("no_handler", detail, self._round.policy.on_unresolved))

    async def _is_approved(self, tool: ToolPolicy) -> bool:
        detail = f"A call of {self._call.name!r} waits for approval."
        closed = await self._ask("approval", detail, "deny", tool.approval_timeout)
        return self._take(closed)

    async def _settle_by_handler(self, tool: ToolPolicy) -> None:
        retried: HandlerFailure | None = None
        while True:
            try:
                done = await self._call_handler(tool, retried)
            except ActivityError as error:
                if is_cancelled_exception(error) or is_out_of_time(error):
                    raise
                retried = _handler_failure(error, tool, retried)
                if not await self._is_called_again(retried, tool):
                    return
                self._round.meter.climbed("retry")
            else:
                self._round.state.handled(done)
                return

    async def _call_handler(self, tool: ToolPolicy, retried: HandlerFailure | None) -> ToolCallDone:
        message = CallTool(run=self._round.run, call_id=self._call.call_id, name=self._call.name)
        if retried is not None:
            message.earlier_attempts, message.despite_unknown_outcome = retried.attempts, retried.unknown
        self.handler_is_called = True
        try:
            done: ToolCallDone = await workflow.execute_activity(
                f"tool.{self._call.name}",
                message,
                result_type=ToolCallDone,
                task_queue=tool.task_queue,
                summary=f"{self._call.name} {self._call.call_id}",
                **policy.tool_limits(tool, self._round.policy, self._round.time_left()),
            )
        finally:
            self.handler_is_called = False
        return done

    async def _is_called_again(self, failure: HandlerFailure, tool: ToolPolicy) -> bool:
        """Do with a failure what the policies say, and tell whether a person wants another attempt."""
        consequence = policy.on_failure(tool, self._round.policy)
        if failure.unknown or consequence == "escalate":
            if not await self._is_still_wanted():
                return False
            closed = await self._ask(failure.reason, failure.message, self._round.policy.on_unresolved)
            return self._take(closed, failure.attempts)
        self._fail(failure.message, attempts=failure.attempts)
        if consequence == "fail_run":
            said = f"The tool {self._call.name!r} failed: {failure.message}"
            self._round.state.verdict = End("failed", LastError(code="server_error", message=said))
        self._round.meter.climbed(consequence)
        return False

    async def _is_still_wanted(self) -> bool:
        """Read the run again: upstream it may have ended, or gone on, while the handler was tried."""
        self._round.meter.climbed("read_again")
        stop = await workflow.execute_activity_method(
            RunActivities.read_run,
            self._round.run,
            **policy.reading_limits(self._round.policy, self._round.time_left()),
        )
        return self._round.state.read_again(self._call.call_id, stop)

    async def _ask(
        self, reason: Reason, detail: str, on_deadline: LastRung, patience: timedelta | None = None
    ) -> Escalation:
        self._round.meter.climbed("ask_a_person")
        until = policy.decision_deadline(self._round.policy, workflow.now(), self._round.deadline, patience)
        return await self._round.desk.ask(
            self._call,
            reason,
            detail,
            until=until,
            on_deadline=on_deadline,
            settled=lambda: self._call.call_id not in self._round.state.open_calls,
        )

    def _take(self, closed: Escalation, attempts: int = 0) -> bool:
        """Carry out what was decided and tell whether the handler is to be called."""
        if closed.decision is not None:
            return self._carry_out(closed.decision, attempts)
        if closed.closed_by == "deadline":
            self._climb_last_rung(closed, attempts)
        return False

    def _carry_out(self, decision: Decision, attempts: int) -> bool:
        who = decision.by or "Somebody"
        match decision.action:
            case "approve" | "retry":
                return True
            case "answer":
                output = ToolOutput(tool_call_id=self._call.call_id, output=decision.output or "")
                self._round.state.answered(Answer(outputs=[output]))
            case "deny":
                self._fail(decision.message or f"{who} did not approve this call.", "denied", attempts)
            case "error":
                self._fail(decision.message or f"{who} decided that this call has no result.", attempts=attempts)
            case "cancel":
                self._round.state.verdict = End("cancelled")
        return False

    def _climb_last_rung(self, closed: Escalation, attempts: int) -> None:
        self._round.meter.climbed(closed.on_deadline)
        match closed.on_deadline:
            case "deny":
                self._fail("Nobody approved this call in time.", "denied", attempts)
            case "error_output":
                self._fail(f"{closed.detail} Nobody decided about it in time.", "unresolved", attempts)
            case "cancel":
                self._round.state.verdict = End("cancelled")
            case "replace":
                self._round.state.verdict = Replace(f"Nobody decided about a call of {self._call.name!r} in time.")

    def _fail(
        self, message: str, outcome: Literal["failed", "denied", "unresolved"] = "failed", attempts: int = 0
    ) -> None:
        failure = CallFailure(call_id=self._call.call_id, message=message, outcome=outcome)
        self._round.state.failed(failure, attempts)


def is_out_of_time(error: ActivityError) -> bool:
    """Tell whether the run's deadline, and not a limit of its own, ended the activity."""
    timed_out = isinstance(error.cause, ActivityTimeout) and error.cause.type is TimeoutType.SCHEDULE_TO_CLOSE
    return timed_out or error.retry_state is RetryState.TIMEOUT


def _handler_failure(error: ActivityError, tool: ToolPolicy, before: HandlerFailure | None) -> HandlerFailure:
    cause = error.cause
    all_attempts = (before.attempts if before else 0) + tool.max_attempts
    if isinstance(cause, ApplicationError):
        attempts = int(cause.details[0]) if cause.details else all_attempts
        return HandlerFailure(cause.message, attempts, cause.type == OUTCOME_UNKNOWN)
    if isinstance(cause, ActivityTimeout):
        message = f"No answer from the worker that ran it ({cause})."
        return HandlerFailure(message, all_attempts, unknown=not tool.retry_safe)
    return HandlerFailure(str(cause or error), all_attempts, unknown=False)
