"""What a run knows about itself and which step may follow; pure, so that a table can test it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

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
    UpstreamAttempt,
)
from lockstitch.workflows.carried_run import CarriedRun


@dataclass(frozen=True, slots=True)
class Finish:
    """The run has ended upstream."""


@dataclass(frozen=True, slots=True)
class End:
    """The run cannot or must not go on and is ended."""

    status: Literal["cancelled", "failed", "expired"]
    error: LastError | None = None


@dataclass(frozen=True, slots=True)
class Replace:
    """The run upstream will not go on: another takes its place."""

    reason: str


@dataclass(frozen=True, slots=True)
class Submit:
    """Each call of the round has an output or has failed: give them to the run."""

    outputs: tuple[ToolOutput, ...]
    failures: tuple[CallFailure, ...]


@dataclass(frozen=True, slots=True)
class SettleCalls:
    """Calls are open: each is settled, by its handler, from outside, or by a person."""

    calls: tuple[RequestedCall, ...]


@dataclass(frozen=True, slots=True)
class AwaitEnd:
    """The upstream is ending the run; whoever asked for that tells the workflow too."""


Step = Finish | End | Replace | Submit | SettleCalls | AwaitEnd


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
    attempts: list[UpstreamAttempt] = field(default_factory=list)
    """The runs upstream, the one that carries the run last."""
    outputs: dict[str, ToolOutput] = field(default_factory=dict)
    """Outputs from outside that the run does not have yet."""
    failures: dict[str, CallFailure] = field(default_factory=dict)
    """Of this round."""
    open_calls: dict[str, RequestedCall] = field(default_factory=dict)
    """Of this round."""
    verdict: End | Replace | None = None
    """What was decided about the whole run while a call was being settled."""
    moved_on: RunStop | None = None
    """Where the run stands upstream, if it went on without this round."""
    early_answers: list[Answer] = field(default_factory=list)
    """Answers that overtook the news of the stop that they belong to."""

    @classmethod
    def carried_on(cls, run_id: str, carried: CarriedRun) -> "RunState":
        """Return the state that an earlier execution of the workflow left behind."""
        state = cls(run_id, turn=carried.turn, attempts=list(carried.attempts))
        state.reports = {report.call_id: report for report in carried.reports}
        state.early_answers = list(carried.early_answers)
        state._take(carried.stop)
        return state

    def stopped(self, stop: RunStop, now: datetime) -> None:
        """The upstream came to a stop after one more turn."""
        self.turn = max(self.turn + 1, stop.turns)
        self._count_attempt(stop, now)
        self._take(stop)

    def _take(self, stop: RunStop) -> None:
        self.run, self.stop, self.status = stop.run, stop, stop.status
        self.outputs, self.failures, self.verdict, self.moved_on = {}, {}, None, None
        self.open_calls = {call.call_id: call for call in stop.calls if call.outcome is None}
        for call in stop.calls:
            outcome = call.outcome or "unanswered"
            self.reports[call.call_id] = ToolCallReport(call_id=call.call_id, name=call.name, outcome=outcome)
        early, self.early_answers = self.early_answers, []
        for answer in early:
            self.answered(answer)

    def _count_attempt(self, stop: RunStop, now: datetime) -> None:
        if not self.attempts or self.attempts[-1].upstream_id != stop.run.upstream_id:
            began_at = self.attempts[-1].ended_at or now if self.attempts else now
            self.attempts.append(UpstreamAttempt(upstream_id=stop.run.upstream_id, began_at=began_at))
        ended_at = now if stop.broken or stop.status not in OPEN_STATUSES else None
        self.attempts[-1] = self.attempts[-1].model_copy(update={"ended_at": ended_at, "problem": stop.broken})

    def handled(self, done: ToolCallDone) -> None:
        """A handler's output is in the store."""
        self._settle(
            done.call_id,
            outcome=done.outcome,
            attempts=done.attempts,
            duration=done.duration,
            error=done.error,
        )

    def failed(self, failure: CallFailure, attempts: int = 0) -> None:
        """A call gets no output; the model reads why."""
        if self._settle(failure.call_id, outcome=failure.outcome, attempts=attempts, error=failure.message):
            self.failures[failure.call_id] = failure

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

    def read_again(self, call_id: str, stop: RunStop) -> bool:
        """Take note of what the upstream says of a call, and tell whether the call still waits for an output."""
        if stop.broken or stop.status not in OPEN_STATUSES:
            self.moved_on = stop
            return False
        found = next((call for call in stop.calls if call.call_id == call_id), None)
        if found is None:
            self.moved_on = stop
            return False
        if found.outcome is not None:
            self._settle(call_id, outcome=found.outcome)
        return call_id in self.open_calls

    @property
    def round_is_over(self) -> bool:
        """Whether nothing of the round is left to wait for, whatever its handlers are doing."""
        return isinstance(self.verdict, End) or not self.open_calls

    @property
    def leaves_the_round(self) -> bool:
        """Whether the round is given up once its handlers have finished: their outputs will be reused."""
        return self.verdict is not None or self.moved_on is not None

    @property
    def waiting_for_answers(self) -> list[PendingCall]:
        """The open calls that neither a handler nor a built-in tool will settle."""
        return [
            PendingCall(call_id=call.call_id, name=call.name)
            for call in self.open_calls.values()
            if call.policy is None and call.built_in is None
        ]

    def carried(self, began: datetime) -> CarriedRun:
        """Return what the next execution of the workflow has to know."""
        assert self.stop is not None  # noqa: S101 - a run is carried on between rounds
        return CarriedRun(
            began=began,
            turn=self.turn,
            stop=self.stop,
            reports=list(self.reports.values()),
            attempts=self.attempts,
            early_answers=self.early_answers,
        )

    def result(self, duration: timedelta) -> ThreadRunResult:
        """Return how the run ended."""
        result = ThreadRunResult(
            run_id=self.run_id,
            status=self.status,
            tool_calls=list(self.reports.values()),
            duration=duration,
            attempts=self.attempts,
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
    if state.stop is not None and state.stop.broken:
        return _replace(state, policy, state.stop.broken)
    if state.status not in OPEN_STATUSES:
        return Finish()
    if state.status == "cancelling":
        return AwaitEnd()
    if isinstance(state.verdict, Replace):
        return _replace(state, policy, state.verdict.reason)
    if state.verdict is not None:
        return state.verdict
    if state.turn > policy.max_rounds:
        return End("failed", _server_error(f"The run asked for more than {policy.max_rounds} tool rounds."))
    if state.open_calls:
        return SettleCalls(tuple(state.open_calls.values()))
    return Submit(tuple(state.outputs.values()), tuple(state.failures.values()))


def _replace(state: RunState, policy: RunPolicy, reason: str) -> Replace | End:
    replaced = state.run.replacement if state.run else 0
    if replaced < policy.max_replacements:
        return Replace(reason)
    if state.status == "expired":
        return End("expired")
    return End("failed", _server_error(f"{reason} It was replaced {replaced} times, which is the most."))


def _server_error(message: str) -> LastError:
    return LastError(code="server_error", message=message)
