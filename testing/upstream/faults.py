"""What can go wrong, on demand.

Each fault says *when* it happens (``on`` which operation, from the ``nth`` request that fits, how many ``times``,
to which run) and *what* happens. ``docs/testing.md`` lists them all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lockstitch.errors import FaultInvalid
from lockstitch.testing.upstream.journal import Operation, ReceivedRequest

_STREAMING: tuple[Operation, ...] = ("create_run", "submit_tool_outputs")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """When a fault happens. Counted are the requests that fit, from when the fault was injected on."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    on: Operation | tuple[Operation, ...]
    nth: int = 1
    """The first request that it happens to."""
    times: int | None = 1
    """How many requests it happens to; ``None`` for every one."""
    run_id: str | None = None
    """Requests about this run only."""
    thread_id: str | None = None
    """Requests about this thread only."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Runs with this metadata only."""
    matching: Callable[[ReceivedRequest], bool] | None = None
    """Requests of which this is true only; not in JSON."""

    def fits(self, request: ReceivedRequest) -> bool:
        """Whether a request is one that the fault counts."""
        operations = (self.on,) if isinstance(self.on, str) else self.on
        return (
            request.operation in operations
            and self.run_id in (None, request.run_id)
            and self.thread_id in (None, request.thread_id)
            and self.metadata.items() <= request.metadata.items()
            and (self.matching is None or self.matching(request))
        )


# --- instead of carrying a request out


@dataclass(frozen=True, kw_only=True)
class FailRequest(Fault):
    """Answers with an error before anything was done. The body is OpenAI's error object unless ``body`` is given."""

    status: int = 500
    message: str = "The upstream was told to fail."
    code: str | None = None
    param: str | None = None
    body: Any = None
    retry_after: timedelta | None = None
    """Sent as ``retry-after``, in seconds."""
    retry_after_ms: int | None = None
    """Sent as ``retry-after-ms``."""
    should_retry: bool | None = None
    """Sent as ``x-should-retry``."""


@dataclass(frozen=True, kw_only=True)
class BreakConnection(Fault):
    """Closes the connection without an answer and without doing anything."""


@dataclass(frozen=True, kw_only=True)
class WrongThreadLock(Fault):
    """Says that a run is active on the thread, though none is."""

    on: Operation | tuple[Operation, ...] = "create_run"
    active_run_id: str | None = None
    """The run to name; else one that does not exist."""


# --- to the run that a request is about


@dataclass(frozen=True, kw_only=True)
class StayQueued(Fault):
    """Lets the run stay ``queued`` until it is resumed, cancelled or expired."""

    on: Operation | tuple[Operation, ...] = "create_run"


@dataclass(frozen=True, kw_only=True)
class StayInProgress(Fault):
    """Lets the run stay ``in_progress``, before the model says anything, until it is resumed, cancelled or expired."""

    on: Operation | tuple[Operation, ...] = "create_run"


@dataclass(frozen=True, kw_only=True)
class HangInCancelling(Fault):
    """Lets the run stay ``cancelling`` until `cancel_done`."""

    on: Operation | tuple[Operation, ...] = "cancel_run"


@dataclass(frozen=True, kw_only=True)
class ExpireRun(Fault):
    """Expires the run with its open step and message.

    Before the request is carried out (``now``), as soon as the run enters ``requires_action``, or after the first
    delta of its next model turn (``mid_turn``).
    """

    on: Operation | tuple[Operation, ...] = "create_run"
    at: Literal["now", "requires_action", "mid_turn"] = "requires_action"


@dataclass(frozen=True, kw_only=True)
class LoseRun(Fault):
    """Lets the run vanish before the request is carried out: from then on it is not found."""

    on: Operation | tuple[Operation, ...] = "retrieve_run"


# --- to the answer to a request that was carried out


@dataclass(frozen=True, kw_only=True)
class LoseAnswer(Fault):
    """Carries the request out, and closes the connection without an answer."""


@dataclass(frozen=True, kw_only=True)
class DelayAnswer(Fault):
    """Carries the request out and answers late: after ``delay`` of real time, or when `release_answers` is called."""

    delay: timedelta | None = None


@dataclass(frozen=True, kw_only=True)
class DropStream(Fault):
    """Breaks the event stream off after ``after_events`` events; the run goes on."""

    on: Operation | tuple[Operation, ...] = _STREAMING
    after_events: int = 1


@dataclass(frozen=True, kw_only=True)
class RepeatEvent(Fault):
    """Sends an event twice: the one with this number in the stream (from 1), or the first with this name."""

    on: Operation | tuple[Operation, ...] = _STREAMING
    event: int | str = 1


@dataclass(frozen=True, kw_only=True)
class StreamError(Fault):
    """Ends the event stream with an ``error`` event after ``after_events`` events; the run goes on."""

    on: Operation | tuple[Operation, ...] = _STREAMING
    after_events: int = 1
    message: str = "The server had an error while streaming."
    code: str | None = "server_error"


INSTEAD: tuple[type[Fault], ...] = (FailRequest, BreakConnection, WrongThreadLock)
TO_RUN: tuple[type[Fault], ...] = (StayQueued, StayInProgress, HangInCancelling, ExpireRun, LoseRun)
TO_ANSWER: tuple[type[Fault], ...] = (DelayAnswer, LoseAnswer)
TO_STREAM: tuple[type[Fault], ...] = (DropStream, RepeatEvent, StreamError)

KINDS: dict[str, type[Fault]] = {kind.__name__: kind for kind in (*INSTEAD, *TO_RUN, *TO_ANSWER, *TO_STREAM)}
"""Every fault by its name, which is also what it is called in JSON."""


def fault_from_json(described: Mapping[str, Any]) -> Fault:
    """Make a fault of ``{"fault": "FailRequest", "on": "create_run", "status": 429}``; times are in seconds.

    Raises `FaultInvalid`.
    """
    name = str(described.get("fault"))
    if name not in KINDS:
        raise FaultInvalid(name, f"there is none of this name, only {', '.join(KINDS)}")
    values = {key: value for key, value in described.items() if key != "fault"}
    try:
        return TypeAdapter(KINDS[name]).validate_python(values)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]
        raise FaultInvalid(name, "; ".join(problems)) from error


def fault_as_json(fault: Fault) -> dict[str, Any]:
    """Describe a fault as `fault_from_json` takes it, with what differs from the defaults only."""
    described: dict[str, Any] = {"fault": type(fault).__name__}
    for entry in fields(fault):
        value = getattr(fault, entry.name)
        if entry.name != "matching" and value not in (entry.default, {}):
            described[entry.name] = value.total_seconds() if isinstance(value, timedelta) else value
    return described


@dataclass(slots=True)
class PlannedFault:
    """A fault, how many requests fitted it and how many it happened to."""

    fault: Fault
    fitted: int = 0
    happened: int = 0

    @property
    def spent(self) -> bool:
        """Whether it will not happen any more."""
        return self.fault.times is not None and self.happened >= self.fault.times

    def as_json(self) -> dict[str, Any]:
        """The fault and its counts."""
        return {**fault_as_json(self.fault), "fitted": self.fitted, "happened": self.happened}


Kind = TypeVar("Kind", bound=Fault)


class FaultPlan:
    """The faults that are yet to happen, in the order in which they were injected."""

    def __init__(self) -> None:
        self._planned: list[PlannedFault] = []

    def inject(self, faults: Iterable[Fault]) -> None:
        """Add faults."""
        self._planned += [PlannedFault(fault) for fault in faults]

    def clear(self) -> None:
        """Forget every fault; what has happened has happened."""
        self._planned.clear()

    def restore(self, described: Sequence[Mapping[str, Any]]) -> None:
        """Take over what `as_json` described."""
        for entry in described:
            counts = {name: entry[name] for name in ("fitted", "happened")}
            fault = fault_from_json({name: value for name, value in entry.items() if name not in counts})
            self._planned.append(PlannedFault(fault, **counts))

    def as_json(self) -> list[dict[str, Any]]:
        """Every fault with its counts; those with a ``matching`` cannot be described and are left out."""
        return [planned.as_json() for planned in self._planned if planned.fault.matching is None]

    def take_one(self, request: ReceivedRequest, kinds: tuple[type[Kind], ...]) -> Kind | None:
        """Return the first fault of these kinds that is due for the request; the others wait for the next."""
        due: PlannedFault | None = None
        for planned in self._fitting(request, kinds):
            planned.fitted += 1
            if due is None and not planned.spent and planned.fitted >= planned.fault.nth:
                due = planned
        return None if due is None else self._use(due, request)  # type: ignore[return-value] # it is of these kinds

    def take(self, request: ReceivedRequest, kinds: tuple[type[Kind], ...]) -> list[Kind]:
        """Return what is due for the request: of each of these kinds one at most."""
        return [fault for kind in kinds if (fault := self.take_one(request, (kind,))) is not None]

    def _fitting(self, request: ReceivedRequest, kinds: tuple[type[Kind], ...]) -> list[PlannedFault]:
        return [
            planned for planned in self._planned if isinstance(planned.fault, kinds) and planned.fault.fits(request)
        ]

    def _use(self, planned: PlannedFault, request: ReceivedRequest) -> Fault:
        planned.happened += 1
        request.faults.append(type(planned.fault).__name__)
        return planned.fault
