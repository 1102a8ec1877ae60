"""What may happen to a run, as values that hypothesis draws: a schedule's repr is all it takes to replay it.

Times are seconds. Those of the policy that are about the patience with an upstream pass twenty times as fast.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from hypothesis import strategies as st

from lockstitch.starter.contract import BackendName
from lockstitch.starter.escalations import Action
from lockstitch.testing.assistants_upstream import (
    BreakConnection,
    DelayAnswer,
    DropStream,
    ExpireRun,
    FailRequest,
    Fault,
    HangInCancelling,
    LoseAnswer,
    LoseRun,
    RepeatEvent,
    StayInProgress,
    StayQueued,
    StreamError,
    WrongThreadLock,
)

Behaviour = Literal[
    "return",
    "slow",
    "raise",
    "raise_for_good",
    "hang",
    "hang_after_effect",
    "die",
    "die_after_effect",
    "restart",
    "restart_after_effect",
]
"""What a handler does in one attempt. ``die``: its worker is killed; ``restart``: its worker stops and another starts;
``after_effect``: the side effect has happened, and nobody was told."""


@dataclass(frozen=True)
class Work:
    """One call that the model makes; ``number``, its argument, is what makes it one piece of work."""

    number: int
    tool: int | None
    """The place of its tool among those of the schedule; ``None``: a function for which nobody has a handler."""
    behaves: tuple[Behaviour, ...] = ()
    """In its attempts, one after the other; later ones return."""
    reconciles: tuple[Literal["tell", "fail"], ...] = ()
    """What reconcile does when it is asked; later it tells the truth."""


@dataclass(frozen=True)
class ToolPlan:
    """A tool's policy."""

    retry_safe: bool = False
    reconcile: bool = False
    approval: bool = False
    on_failure: Literal["error_output", "fail_run", "escalate"] = "error_output"
    max_attempts: int = 2


@dataclass(frozen=True)
class Crash:
    """The worker is killed in an activity: at its write number ``write`` to the store, before or after it.

    It happens in the ``nth`` execution of activities with this name. A ``silent`` death is noticed by its missing
    heartbeats only, any other at once.
    """

    activity: Literal["start_run", "submit_tool_outputs", "replace_run", "read_run", "end_run", "tool"]
    nth: int = 1
    write: int = 1
    after: bool = False
    silent: bool = False


@dataclass(frozen=True)
class Happening:
    """Something that happens to the run from outside, after a pause."""

    pause: float
    what: Literal["decide", "answer", "cancel", "restart_worker", "stop_worker", "start_worker"]
    action: Action = "approve"
    which: int = 0
    """Among the escalations, open and closed, or the calls that wait for outputs."""
    makes_sense: bool = False
    """Whether a decision is one of those that an open escalation takes, instead of ``action``."""
    times: int = 1


@dataclass(frozen=True)
class TurnFailure:
    """How the model of the backend ``local`` fails in the turn of a round."""

    round: int
    status: int | None
    times: int
    after_deltas: int


@dataclass(frozen=True)
class Schedule:
    """Everything that happens to one run."""

    backend: BackendName
    rounds: tuple[tuple[Work, ...], ...]
    tools: tuple[ToolPlan, ...]
    policy: dict[str, Any]
    faults: tuple[Fault, ...] = ()
    turn_failures: tuple[TurnFailure, ...] = ()
    crashes: tuple[Crash, ...] = ()
    happenings: tuple[Happening, ...] = ()


_BEHAVIOURS: list[Behaviour] = [
    "return", "slow", "raise", "raise_for_good", "hang", "hang_after_effect", "die", "die_after_effect", "restart",
    "restart_after_effect",
]  # fmt: skip
_ACTIONS: list[Action] = ["approve", "deny", "answer", "retry", "error", "cancel"]
_ACTIVITIES = ["start_run", "submit_tool_outputs", "replace_run", "read_run", "end_run", "tool", "tool"]
_STREAMING = st.sampled_from(["create_run", "submit_tool_outputs"])
_ANY = st.sampled_from(
    ["create_thread", "create_run", "submit_tool_outputs", "retrieve_run", "list_runs", "list_steps", "list_messages",
     "cancel_run"]
)  # fmt: skip
_NTH, _TIMES = st.integers(1, 4), st.integers(1, 3)

tool_plans = st.builds(
    ToolPlan,
    retry_safe=st.booleans(),
    reconcile=st.booleans(),
    approval=st.sampled_from([False, False, True]),
    on_failure=st.sampled_from(["error_output", "fail_run", "escalate", "escalate"]),
    max_attempts=st.integers(1, 3),
)

crashes = st.builds(
    Crash,
    activity=st.sampled_from(
        ["start_run", "submit_tool_outputs", "replace_run", "read_run", "end_run", "tool", "tool"]
    ),
    nth=st.integers(1, 3),
    write=st.integers(1, 5),
    after=st.booleans(),
    silent=st.sampled_from([False] * 7 + [True]),
)

happenings = st.builds(
    Happening,
    pause=st.sampled_from([0.02, 0.1, 0.2, 0.4, 0.8, 1.5]),
    what=st.sampled_from(["decide"] * 6 + ["answer"] * 2 + ["cancel", "restart_worker", "stop_worker", "start_worker"]),
    action=st.sampled_from(_ACTIONS),
    which=st.integers(0, 3),
    makes_sense=st.sampled_from([True, True, True, False]),
    times=st.sampled_from([1, 1, 1, 2]),
)

turn_failures = st.builds(
    TurnFailure,
    round=st.integers(0, 3),
    status=st.sampled_from([429, 500, 503, None, 400]),
    times=st.integers(1, 3),
    after_deltas=st.integers(0, 4),
)

faults = st.one_of(
    st.builds(FailRequest, on=_ANY, status=st.sampled_from([429, 500, 503]), nth=_NTH, times=_TIMES),
    st.builds(BreakConnection, on=_ANY, nth=_NTH, times=_TIMES),
    st.builds(LoseAnswer, on=_ANY, nth=_NTH, times=_TIMES),
    st.builds(DropStream, on=_STREAMING, after_events=st.integers(0, 12), nth=st.integers(1, 2), times=_TIMES),
    st.builds(StreamError, on=_STREAMING, after_events=st.integers(0, 12), nth=st.integers(1, 2)),
    st.builds(RepeatEvent, on=_STREAMING, event=st.integers(1, 12), nth=st.integers(1, 2)),
    st.builds(WrongThreadLock, times=_TIMES),
    st.builds(StayQueued, on=_STREAMING, nth=st.integers(1, 2)),
    st.builds(StayInProgress, on=_STREAMING, nth=st.integers(1, 2)),
    st.builds(HangInCancelling),
    st.builds(
        ExpireRun,
        on=st.sampled_from(["create_run", "submit_tool_outputs", "retrieve_run", "cancel_run"]),
        at=st.sampled_from(["now", "requires_action", "mid_turn"]),
        nth=_NTH,
    ),
    st.builds(
        LoseRun, on=st.sampled_from(["retrieve_run", "submit_tool_outputs", "list_steps", "cancel_run"]), nth=_NTH
    ),
    st.builds(DelayAnswer, on=_ANY, delay=st.just(timedelta(milliseconds=20)), nth=_NTH),
)


@st.composite
def rounds(draw: st.DrawFn, tools: int) -> tuple[tuple[Work, ...], ...]:
    """Draw 1 to 4 rounds of 1 to 3 calls; no two calls are the same work."""
    shape = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    made = iter(range(1, sum(shape) + 1))
    which = st.sampled_from([*range(tools), *range(tools), None])
    behaves = st.lists(st.sampled_from(_BEHAVIOURS), max_size=4).map(tuple)
    reconciles = st.lists(st.sampled_from(["tell", "fail"]), max_size=2).map(tuple)
    return tuple(
        tuple(Work(next(made), draw(which), draw(behaves), draw(reconciles)) for _ in range(calls)) for calls in shape
    )


def policies(backend: BackendName) -> st.SearchStrategy[dict[str, Any]]:
    """Draw a run's policy."""
    last = ["error_output", "cancel", *(["replace"] if backend == "assistants" else [])]
    return st.fixed_dictionaries(
        {
            "deadline": st.sampled_from([2, 5, 8, 8]),
            "decision_timeout": st.sampled_from([0.5, 2, 60]),
            "on_missing_handler": st.sampled_from(["escalate", "wait"]),
            "on_unresolved": st.sampled_from(last),
            "on_tool_failure": st.sampled_from([None, None, "escalate", "error_output"]),
            "queued_timeout": st.sampled_from([10, 60]),
            "in_progress_timeout": st.sampled_from([20, 120]),
            "cancelling_timeout": st.sampled_from([5, 30]),
            "max_replacements": st.integers(0, 2),
            "upstream_attempts": st.integers(2, 6),
        }
    )


@st.composite
def schedules(draw: st.DrawFn, backend: BackendName) -> Schedule:
    """Draw what happens to one run of a backend."""
    tools = draw(st.lists(tool_plans, min_size=1, max_size=3))
    is_local = backend == "local"
    return Schedule(
        backend=backend,
        rounds=draw(rounds(len(tools))),
        tools=tuple(tools),
        policy=draw(policies(backend)),
        faults=() if is_local else tuple(draw(st.lists(faults, max_size=4))),
        turn_failures=tuple(draw(st.lists(turn_failures, max_size=2))) if is_local else (),
        crashes=tuple(draw(st.lists(crashes, max_size=3))),
        happenings=tuple(draw(st.lists(happenings, max_size=8))),
    )
