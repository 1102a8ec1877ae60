"""What a run knows about itself and which step may follow; pure, so that a table can test it."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta

from lockstitch.activities.messages import CallFailure, RequestedCall, RunRef, RunStop, ToolCallDone
from lockstitch.starter.contract import (
    OPEN_STATUSES,
    Answer,
    LastError,
    PendingCall,
    RunPolicy,
    RunStatus,
    ThreadRunResult,
    ToolCallReport,
    ToolOutput,
)


@dataclass(frozen=True, slots=True)
class Finish:
    """The run has ended upstream."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The run cannot go on and is ended as ``failed``."""

    error: LastError


@dataclass(frozen=True, slots=True)
class Submit:
    """Each call of the round has an output or has failed: give them to the run."""

    outputs: tuple[ToolOutput, ...]
    failures: tuple[CallFailure, ...]


@dataclass(frozen=True, slots=True)
class SettleCalls:
    """Calls are open: call the handlers of some, wait for outputs from outside for the others."""

    to_handle: tuple[RequestedCall, ...]
    to_wait_for: tuple[RequestedCall, ...]


@dataclass(frozen=True, slots=True)
class AwaitEnd:
    """The upstream is ending the run; whoever asked for that tells the workflow too."""


Step = Finish | Fail | Submit | SettleCalls | AwaitEnd


@dataclass(slots=True)
class RunState:
    """A run as its workflow sees it. The methods say what happened; `next_step` says what follows."""

    run_id: str
    status: RunStatus = "queued"
    turn: int = 0
    run: RunRef | None = None
    stop: RunStop | None = None
    reports: dict[str, ToolCallReport] = field(default_factory=dict)
    """Of every call of the run, by call id, in the order in which they were made."""
    outputs: dict[str, ToolOutput] = field(default_factory=dict)
    """Outputs from outside that the run does not have yet."""
    failures: dict[str, CallFailure] = field(default_factory=dict)
    """Of this round."""
    open_calls: dict[str, RequestedCall] = field(default_factory=dict)
    """Of this round."""
    fatal: LastError | None = None
    early_answers: list[Answer] = field(default_factory=list)
    """Answers that overtook the news of the stop that they belong to."""

    def stopped(self, stop: RunStop) -> None:
        """The upstream came to a stop after one more turn."""
        self.run, self.stop, self.status = stop.run, stop, stop.status
        self.turn += 1
        self.outputs, self.failures = {}, {}
        self.open_calls = {call.call_id: call for call in stop.calls if call.outcome is None}
        for call in stop.calls:
            outcome = call.outcome or "unanswered"
            self.reports[call.call_id] = ToolCallReport(call_id=call.call_id, name=call.name, outcome=outcome)
        early, self.early_answers = self.early_answers, []
        for answer in early:
            self.answered(answer)

    def handled(self, done: ToolCallDone) -> None:
        """A handler's output is in the store."""
        self._settle(
            done.call_id,
            outcome=done.outcome,
            attempts=done.attempts,
            duration=done.duration,
            error=done.error,
        )

    def handler_failed(self, call: RequestedCall, error: str, attempts: int, *, fatal: bool) -> None:
        """A handler failed for good; ``fatal`` says that the run must end."""
        if not self._settle(call.call_id, outcome="failed", attempts=attempts, error=error):
            return
        self.failures[call.call_id] = CallFailure(call_id=call.call_id, message=error)
        if fatal:
            self.fatal = LastError(code="server_error", message=f"The tool {call.name!r} failed: {error}")

    def answered(self, answer: Answer) -> None:
        """Outputs came from outside; those for calls that have one already change nothing."""
        if self._is_early(answer):
            self.early_answers.append(answer)
            return
        for output in answer.outputs:
            if self._settle(output.tool_call_id, outcome="answered"):
                self.outputs[output.tool_call_id] = output
        for call_id in answer.stored_call_ids:
            self._settle(call_id, outcome="answered")

    def _is_early(self, answer: Answer) -> bool:
        call_ids = [*answer.stored_call_ids, *(output.tool_call_id for output in answer.outputs)]
        return any(call_id not in self.reports for call_id in call_ids)

    def _settle(self, call_id: str, **report: object) -> bool:
        if self.open_calls.pop(call_id, None) is None:
            return False
        self.reports[call_id] = self.reports[call_id].model_copy(update=report)
        return True

    @property
    def round_is_over(self) -> bool:
        """Whether nothing of the round is left to wait for."""
        return self.fatal is not None or not self.open_calls

    @property
    def waiting_for_answers(self) -> list[PendingCall]:
        """The open calls that no handler will settle."""
        return [
            PendingCall(call_id=call.call_id, name=call.name) for call in _without_handler(self.open_calls.values())
        ]

    def result(self, duration: timedelta) -> ThreadRunResult:
        """Return how the run ended."""
        result = ThreadRunResult(
            run_id=self.run_id, status=self.status, tool_calls=list(self.reports.values()), duration=duration
        )
        if self.stop is None:
            return result
        return result.model_copy(
            update={
                "thread_id": self.stop.run.thread_id,
                "assistant_id": self.stop.run.assistant_id,
                "backend": self.stop.run.backend,
                "message_ids": self.stop.message_ids,
                "last_message_id": self.stop.message_ids[-1] if self.stop.message_ids else None,
                "last_message_text": self.stop.last_message_text,
                "last_message_truncated": self.stop.last_message_truncated,
                "usage": self.stop.usage,
                "last_error": self.stop.last_error,
            }
        )


def next_step(state: RunState, policy: RunPolicy) -> Step:
    """Decide what a run that has stopped gets next."""
    if state.status not in OPEN_STATUSES:
        return Finish()
    if state.status == "cancelling":
        return AwaitEnd()
    if state.fatal is not None:
        return Fail(state.fatal)
    if state.turn > policy.max_rounds:
        return Fail(
            LastError(code="server_error", message=f"The run asked for more than {policy.max_rounds} tool rounds.")
        )
    if not state.open_calls:
        return Submit(tuple(state.outputs.values()), tuple(state.failures.values()))
    open_calls = state.open_calls.values()
    return SettleCalls(
        to_handle=tuple(call for call in open_calls if call.policy is not None),
        to_wait_for=_without_handler(open_calls),
    )


def _without_handler(calls: Collection[RequestedCall]) -> tuple[RequestedCall, ...]:
    return tuple(call for call in calls if call.policy is None)
