"""What the Temporal server knows of how a run went: its statuses, its activities with their attempts, what came in.

It is read from the workflow's history, so it is there for the runs of every backend, and without a worker.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client
from temporalio.converter import DataConverter, decode_typed_search_attributes
from temporalio.service import RPCError, RPCStatusCode

from lockstitch.starter import contract
from lockstitch.starter.contract import RunStatus

MOST_EVENTS = 10_000
"""Events that are read of a run, as far as they come in whole executions; a run leaves its history behind after some
2,000."""

ActivityOutcome = Literal["pending", "completed", "failed", "timed_out", "cancelled"]

NoteKind = Literal["answer", "cancel_requested", "continued", "terminated"]
"""``answer``: outputs came from outside; ``continued``: the run left a long history behind."""


@dataclass(frozen=True, slots=True)
class ActivityRecord:
    """One activity of a run.

    The server keeps the last attempt only: ``started_at`` is when that one began, ``None`` where it has not yet or
    never did, and ``attempts`` says which it was.
    """

    name: str
    summary: str
    scheduled_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: int = 0
    outcome: ActivityOutcome = "pending"
    failure: str | None = None
    """Of the last attempt that failed, in one sentence."""
    next_attempt_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A status that the run took on."""

    status: RunStatus
    at: datetime


@dataclass(frozen=True, slots=True)
class RunNote:
    """Something that happened to the run from outside."""

    kind: NoteKind
    at: datetime


@dataclass(frozen=True, slots=True)
class RunHistory:
    """How a run went so far; each list is in the order in which things began."""

    statuses: Sequence[StatusChange] = ()
    activities: Sequence[ActivityRecord] = ()
    notes: Sequence[RunNote] = ()
    is_whole: bool = True
    """Whether it goes back to the beginning of the run."""


class HistoryReader:
    """Puts a history together, event by event, oldest first."""

    def __init__(self, converter: DataConverter) -> None:
        self._converter = converter
        self._execution = 0
        self._activities: dict[tuple[int, int], ActivityRecord] = {}
        self._by_activity_id: dict[str, tuple[int, int]] = {}
        self._statuses: list[StatusChange] = []
        self._notes: list[RunNote] = []

    async def read(self, event: HistoryEvent) -> None:
        """Take note of one event; most tell nothing about the run."""
        attributes = event.WhichOneof("attributes")
        reading = _READINGS.get(attributes or "")
        if reading is not None:
            await reading(self, event, getattr(event, str(attributes)))

    async def read_pending(self, pending: PendingActivityInfo) -> None:
        """Take note of how far an activity has come that has not ended; its history does not say."""
        key = self._by_activity_id.get(pending.activity_id)
        if key is None or self._activities[key].outcome != "pending":
            return
        self._activities[key] = replace(
            self._activities[key],
            started_at=_time(pending.last_started_time) if pending.HasField("last_started_time") else None,
            attempts=pending.attempt,
            failure=await self._said(pending.last_failure) if pending.HasField("last_failure") else None,
            next_attempt_at=_time(pending.next_attempt_schedule_time)
            if pending.HasField("next_attempt_schedule_time")
            else None,
        )

    def history(self, *, is_whole: bool) -> RunHistory:
        """Return what was read."""
        return RunHistory(self._statuses, list(self._activities.values()), self._notes, is_whole)

    async def _began(self, event: HistoryEvent, attributes: Any) -> None:
        self._execution += 1
        self._by_activity_id.clear()
        self._take_status(event, attributes)

    async def _attributes_set(self, event: HistoryEvent, attributes: Any) -> None:
        self._take_status(event, attributes)

    def _take_status(self, event: HistoryEvent, attributes: Any) -> None:
        status: Any = decode_typed_search_attributes(attributes.search_attributes).get(contract.STATUS)
        if status is not None and (not self._statuses or self._statuses[-1].status != status):
            self._statuses.append(StatusChange(status, _time(event.event_time)))

    async def _scheduled(self, event: HistoryEvent, attributes: Any) -> None:
        key = (self._execution, event.event_id)
        self._by_activity_id[attributes.activity_id] = key
        summary = ""
        if event.user_metadata.HasField("summary"):
            [summary] = await self._converter.decode([event.user_metadata.summary], [str])
        self._activities[key] = ActivityRecord(attributes.activity_type.name, summary, _time(event.event_time))

    async def _started(self, event: HistoryEvent, attributes: Any) -> None:
        failure = await self._said(attributes.last_failure) if attributes.HasField("last_failure") else None
        at = _time(event.event_time)
        self._change(attributes.scheduled_event_id, started_at=at, attempts=attributes.attempt, failure=failure)

    async def _ended(self, event: HistoryEvent, attributes: Any) -> None:
        ended: dict[str, Any] = {"ended_at": _time(event.event_time), "next_attempt_at": None}
        ended["outcome"] = _OUTCOMES[str(event.WhichOneof("attributes"))]
        if ended["outcome"] in ("failed", "timed_out"):
            ended["failure"] = await self._said(attributes.failure)
        self._change(attributes.scheduled_event_id, **ended)

    def _change(self, scheduled_event_id: int, **values: Any) -> None:
        key = (self._execution, scheduled_event_id)
        self._activities[key] = replace(self._activities[key], **values)

    async def _noted(self, event: HistoryEvent, attributes: Any) -> None:
        kind = _NOTES[str(event.WhichOneof("attributes"))]
        if kind == "answer" and attributes.signal_name != contract.ANSWER_SIGNAL:
            return
        self._notes.append(RunNote(kind, _time(event.event_time)))

    async def _said(self, failure: Failure) -> str:
        error: BaseException = await self._converter.decode_failure(failure)
        return str(getattr(error, "message", None) or error)


_OUTCOMES: dict[str, ActivityOutcome] = {
    "activity_task_completed_event_attributes": "completed",
    "activity_task_failed_event_attributes": "failed",
    "activity_task_timed_out_event_attributes": "timed_out",
    "activity_task_canceled_event_attributes": "cancelled",
}
_NOTES: dict[str, NoteKind] = {
    "workflow_execution_signaled_event_attributes": "answer",
    "workflow_execution_cancel_requested_event_attributes": "cancel_requested",
    "workflow_execution_continued_as_new_event_attributes": "continued",
    "workflow_execution_terminated_event_attributes": "terminated",
}
_Reading = Callable[[HistoryReader, HistoryEvent, Any], Awaitable[None]]
_READINGS: dict[str, _Reading] = {
    "workflow_execution_started_event_attributes": HistoryReader._began,
    "upsert_workflow_search_attributes_event_attributes": HistoryReader._attributes_set,
    "activity_task_scheduled_event_attributes": HistoryReader._scheduled,
    "activity_task_started_event_attributes": HistoryReader._started,
    **dict.fromkeys(_OUTCOMES, HistoryReader._ended),
    **dict.fromkeys(_NOTES, HistoryReader._noted),
}


async def read_history(client: Client, run_id: str) -> RunHistory:
    """Read how a run went so far; raises `RPCError`."""
    newest = await client.get_workflow_handle(run_id).describe()
    executions, is_whole = await _executions(client, run_id, newest.run_id)
    reader = HistoryReader(client.data_converter)
    for execution in reversed(executions):
        for event in execution:
            await reader.read(event)
    for pending in newest.raw_description.pending_activities:
        await reader.read_pending(pending)
    return reader.history(is_whole=is_whole)


async def _executions(client: Client, run_id: str, newest: str) -> tuple[Sequence[Sequence[HistoryEvent]], bool]:
    """Return the events of the executions that carried the run, newest first, and whether these are all."""
    found: list[list[HistoryEvent]] = []
    execution, left = newest, MOST_EVENTS
    while execution and left > 0:
        handle = client.get_workflow_handle(run_id, run_id=execution)
        try:
            events = [event async for event in handle.fetch_history_events()]
        except RPCError as error:
            if found and error.status is RPCStatusCode.NOT_FOUND:
                return found, False  # the server has forgotten what is older
            raise
        found.append(events)
        left -= len(events)
        execution = events[0].workflow_execution_started_event_attributes.continued_execution_run_id
    return found, not execution


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
