"""How a run went, as lanes with bars and marks: what the picture draws and the table below it says; pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from lockstitch.escalation_wording import what_became
from lockstitch.starter.contract import RunSnapshot, RunStatus
from lockstitch.starter.escalations import Escalation
from lockstitch.starter.run_history import ActivityRecord, RunHistory

Kind = Literal["good", "bad", "work", "model", "idle", "person", "wait"]
"""What a bar or a mark is about, and so its colour."""

MOST_CALLS = 25
"""Lanes of tool calls in a picture: the first ones, and those that a person was asked about."""

_TURNS = ("start_run", "submit_tool_outputs", "replace_run")
_BUILT_IN = ("run_code", "search_files")
_OTHER = {"read_run": "reading the run again", "end_run": "ending the run"}
_NOTES = {
    "answer": "outputs came from outside",
    "cancel_requested": "somebody asked for the run to be cancelled",
    "continued": "the run left a long history behind and went on",
    "terminated": "somebody terminated the workflow",
}
_STATUS_KINDS: dict[RunStatus, Kind] = {"queued": "idle", "in_progress": "work", "requires_action": "person"}
_KINDS: dict[str, Kind] = {"completed": "good", "failed": "bad", "timed_out": "bad", "cancelled": "idle"}
_NOTICEABLE = timedelta(milliseconds=50)


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that took time; ``end`` is ``None`` while it lasts."""

    begin: datetime
    end: datetime | None
    kind: Kind
    label: str
    """A word or two, for the picture."""
    said: str
    """The whole of it, in a sentence without a full stop."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a moment."""

    at: datetime
    kind: Kind
    said: str


@dataclass(frozen=True, slots=True)
class Lane:
    """What belongs together, from left to right."""

    name: str
    state: str = ""
    """Where it stands, in a few words."""
    bars: Sequence[Bar] = ()
    marks: Sequence[Mark] = ()
    is_below: bool = False
    """Whether it says more of the lane above."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the table."""

    at: datetime
    lane: str
    said: str
    duration: timedelta | None
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run from its beginning until its end, or until now."""

    lanes: Sequence[Lane]
    until: datetime
    is_open: bool
    calls_left_out: int = 0
    """Tool calls that the picture has no lane for; the table has them."""
    entries: Sequence[Entry] = ()

    @property
    def moments(self) -> list[datetime]:
        """When something begins or ends."""
        bars = [at for lane in self.lanes for bar in lane.bars for at in (bar.begin, bar.end or self.until)]
        return [*bars, *(mark.at for lane in self.lanes for mark in lane.marks), self.until]


def timeline(
    snapshot: RunSnapshot, history: RunHistory, deliveries: Sequence[Mapping[str, Any]], now: datetime
) -> Timeline:
    """Put together how a run went; ``deliveries`` are rows of the delivery log."""
    calls = list(_calls(snapshot, history, deliveries))
    first = [_status_lane(snapshot, history), _model_lane(history)]
    last = [lane for lane in (_other_lane(history), _outside_lane(history)) if lane.bars or lane.marks]
    shown = _worth_showing(calls)
    everything = [*first, *(lane for lanes in calls for lane in lanes), *last]
    return Timeline(
        lanes=[*first, *(lane for lanes in shown for lane in lanes), *last],
        until=snapshot.ended_at or now,
        is_open=snapshot.ended_at is None,
        calls_left_out=len(calls) - len(shown),
        entries=sorted(_entries(everything, snapshot.ended_at or now), key=lambda entry: entry.at),
    )


def _worth_showing(calls: Sequence[Sequence[Lane]]) -> Sequence[Sequence[Lane]]:
    """Return so many calls as a picture takes, in their order; a call with several lanes was put before a person."""
    by_worth = sorted(range(len(calls)), key=lambda place: (len(calls[place]) == 1, place))
    return [calls[place] for place in sorted(by_worth[:MOST_CALLS])]


def _status_lane(snapshot: RunSnapshot, history: RunHistory) -> Lane:
    bars, changes = list[Bar](), list(history.statuses)
    until = [*(change.at for change in changes[1:]), snapshot.ended_at]
    for change, left_at in zip(changes, until, strict=False):
        kind = _STATUS_KINDS.get(change.status)
        if kind is not None:
            name = change.status.replace("_", " ")
            bars.append(Bar(change.at, left_at, kind, name, name))
    if not changes or changes[-1].status in _STATUS_KINDS:
        return Lane("Status", snapshot.status.replace("_", " "), bars)
    name = changes[-1].status.replace("_", " ")
    end: Kind = "good" if changes[-1].status == "completed" else "bad"
    return Lane("Status", name, bars, [Mark(changes[-1].at, end, name)])


def _model_lane(history: RunHistory) -> Lane:
    turns = [activity for activity in history.activities if activity.name in _TURNS]
    bars = [
        bar
        for number, turn in enumerate(turns, 1)
        for bar in _activity_bars(turn, f"turn {number}", str(number), "model")
    ]
    return Lane("Model", f"{len(turns)} {'turn' if len(turns) == 1 else 'turns'}", bars)


def _other_lane(history: RunHistory) -> Lane:
    found = [activity for activity in history.activities if activity.name in _OTHER]
    return Lane("Other work", "", [bar for it in found for bar in _activity_bars(it, _OTHER[it.name], "", "work")])


def _outside_lane(history: RunHistory) -> Lane:
    return Lane("From outside", "", marks=[Mark(note.at, "idle", _NOTES[note.kind]) for note in history.notes])


def _calls(
    snapshot: RunSnapshot, history: RunHistory, deliveries: Sequence[Mapping[str, Any]]
) -> Iterator[Sequence[Lane]]:
    """Yield the lanes of each tool call: that of its handler, and one for each question about it."""
    tried: dict[str, list[ActivityRecord]] = {}
    names: dict[str, str] = {}
    for activity in history.activities:
        if activity.name.startswith("tool.") or activity.name in _BUILT_IN:
            name, _, call_id = activity.summary.rpartition(" ")
            tried.setdefault(call_id, []).append(activity)
            names[call_id] = name
    began = {call_id: activities[0].scheduled_at for call_id, activities in tried.items()}
    for asked in snapshot.escalations:
        names.setdefault(asked.call_id, asked.tool)
        began[asked.call_id] = min(began.get(asked.call_id, asked.opened_at), asked.opened_at)
    waiting = {call.call_id: call.name for call in snapshot.pending_calls}
    since = max((it.ended_at for it in history.activities if it.name in _TURNS and it.ended_at), default=None)
    for call_id in sorted(began, key=lambda it: began[it]):
        activities = tried.get(call_id, [])
        asked_about = [it for it in snapshot.escalations if it.call_id == call_id]
        bars = [bar for it in activities for bar in _activity_bars(it, "", str(it.attempts or ""), "good")]
        handler = Lane(names[call_id], _state(activities, asked_about), bars)
        yield [handler, *(_question_lane(it, deliveries) for it in asked_about)]
    for call_id, name in waiting.items():
        if call_id not in began and since is not None:
            yield [Lane(name, "waits for outputs", [Bar(since, None, "person", "", "waits for outputs from outside")])]


def _state(activities: Sequence[ActivityRecord], asked: Sequence[Escalation]) -> str:
    if not activities:
        return "not called" if asked else ""
    last, attempts = activities[-1], sum(it.attempts for it in activities)
    tries = f", {attempts} attempts" if attempts > 1 else ""
    if last.outcome != "pending":
        return f"{_said_outcome(last)}{tries}"
    if last.started_at is None:
        return f"waits for attempt {last.attempts}" if last.attempts > 1 else "not begun"
    return f"running{tries}"


def _question_lane(asked: Escalation, deliveries: Sequence[Mapping[str, Any]]) -> Lane:
    said = f"a person was asked ({asked.reason}): {asked.detail}"
    bar = Bar(asked.opened_at, asked.closed_at, "person", "" if asked.closed_at else "waits", said)
    marks = [_delivery_mark(row, asked) for row in deliveries if row["escalation_id"] == asked.id]
    if asked.closed_at is not None:
        marks.append(Mark(asked.closed_at, "good" if asked.decision else "idle", what_became(asked)))
    state = what_became(asked) if asked.closed_at is not None else asked.reason.replace("_", " ")
    return Lane("asked", state, [bar], marks, is_below=True)


def _delivery_mark(row: Mapping[str, Any], asked: Escalation) -> Mark:
    occasion = str(row["event"]).rpartition(".")[2]
    if row["delivered"]:
        said = f"{row['target']} was told that it was {occasion}"
    else:
        reason = row["error"] or f"status {row['status']}"
        said = f"{row['target']} could not be told that it was {occasion}, attempt {row['attempt']}: {reason}"
    # The log knows whole seconds, so it may name a time a little before what it tells of.
    earliest = (asked.closed_at if occasion == "resolved" else None) or asked.opened_at
    at = max(datetime.fromtimestamp(row["at"], UTC), earliest)
    return Mark(at, "good" if row["delivered"] else "bad", said)


def _activity_bars(activity: ActivityRecord, what: str, label: str, kind: Kind) -> Iterator[Bar]:
    """Yield the time before the last attempt, where there was any to speak of, and that attempt.

    ``what`` is tried, such as "turn 1"; it is empty where the lane says what.
    """
    begun, about = activity.started_at, f"{what}: " if what else ""
    if begun is None:
        yield Bar(activity.scheduled_at, activity.ended_at, "wait", "", f"{about}{_waits(activity)}")
        return
    if begun - activity.scheduled_at > _NOTICEABLE or activity.attempts > 1:
        yield Bar(activity.scheduled_at, begun, "wait", "", f"{about}{_waited(activity)}")
    attempt = what if what and activity.attempts == 1 else f"{about}attempt {activity.attempts}"
    if activity.outcome == "pending":
        yield Bar(begun, None, "work", label, f"{attempt} is under way")
        return
    shown = kind if activity.outcome == "completed" else _KINDS[activity.outcome]
    failure = f": {activity.failure}" if activity.failure and _has_failed(activity) else ""
    yield Bar(begun, activity.ended_at, shown, label, f"{attempt} {_said_outcome(activity)}{failure}")


def _waits(activity: ActivityRecord) -> str:
    """Say what an attempt waits for that has not begun."""
    if activity.outcome != "pending":
        return f"no attempt began, {_said_outcome(activity)}"
    if activity.attempts <= 1:
        return "waits for a worker"
    return f"waits for attempt {activity.attempts}; {_earlier(activity)}"


def _waited(activity: ActivityRecord) -> str:
    """Say what passed before the last attempt."""
    return "waited for a worker" if activity.attempts <= 1 else _earlier(activity)


def _earlier(activity: ActivityRecord) -> str:
    failed = activity.attempts - 1
    attempts = "attempt 1 failed" if failed == 1 else f"attempts 1 to {failed} failed"
    # What is known of an activity that has failed is what its last attempt said, not what those before it did.
    if not activity.failure or _has_failed(activity):
        return attempts
    return f"{attempts} with: {activity.failure}" if failed == 1 else f"{attempts}, the last with: {activity.failure}"


def _has_failed(activity: ActivityRecord) -> bool:
    return activity.outcome in ("failed", "timed_out")


def _said_outcome(activity: ActivityRecord) -> str:
    return {"completed": "succeeded", "timed_out": "timed out"}.get(activity.outcome, activity.outcome)


def _entries(lanes: Iterable[Lane], until: datetime) -> Iterator[Entry]:
    above = ""
    for lane in lanes:
        name = f"{above}, asked" if lane.is_below else lane.name
        above = above if lane.is_below else lane.name
        for bar in lane.bars:
            yield Entry(bar.begin, name, bar.said, (bar.end or until) - bar.begin, bar.end is None)
        for mark in lane.marks:
            yield Entry(mark.at, name, mark.said, None)
