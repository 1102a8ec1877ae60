"""What watchers of a run were told of it, and so what is new to them in what its upstream says.

Watchers see one run: ours. Whatever runs upstream carry it, and whether their events were streamed or had to be read
again, each step and message begins once, grows by what was not told yet, and ends once.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from lockstitch.activities.backends.assistants.rounds import (
    CallNames,
    PendingCall,
    pending_calls,
    requested_calls,
    round_step_id,
)
from lockstitch.activities.messages import RunRef
from lockstitch.assistants import objects
from lockstitch.assistants.store.event_log import ERROR, LoggedEvent, NewEvent
from lockstitch.assistants.store.runs import MESSAGE_ENDS, STEP_ENDS
from lockstitch.starter.contract import LastError, RunStatus

JsonObject = dict[str, Any]

RUN_MARK, NUMBER_MARK = "lockstitch_run", "lockstitch_number"
"""The metadata by which a run upstream is found again."""

UPSTREAM_MARK = "lockstitch_upstream_run"
"""The metadata in which watchers learn which run upstream carries the run."""

STOPS = objects.ENDED | {"requires_action"}
"""The statuses in which a run upstream does nothing by itself any more."""

ENDED_BY_ITSELF = ("completed", "failed", "incomplete")
"""How a run ends that nobody ends: so it has ended, whatever was to become of it here."""

_TIMES: dict[str, str] = {
    "completed": "completed_at",
    "incomplete": "completed_at",
    "failed": "failed_at",
    "cancelled": "cancelled_at",
}


@dataclass(slots=True)
class _Part:
    """A step or a message as watchers know it."""

    whole: JsonObject
    state: str = ""
    """``created``, ``in_progress``, or how it ended."""
    pieces: dict[int, str] = field(default_factory=dict)
    """What was told of the text, or of the arguments of calls, by index."""
    call_ids: dict[str, int] = field(default_factory=dict)
    last_delta: Any = None
    held: bool = False
    """Whether what comes next is told only when the whole is known."""

    @property
    def is_open(self) -> bool:
        return self.state in ("created", "in_progress")


class Story:
    """One run as watchers know it. Each method returns the events that are new to them, and counts them as told.

    ``handled`` knows the functions that have a handler here; ``names`` gives calls their ids.
    """

    def __init__(self, run: RunRef, handled: Container[str], names: CallNames) -> None:
        self.status: str | None = None
        """What watchers take for the run's status."""
        self.run_object: JsonObject | None = None
        """The run as it was told last."""
        self.messages: dict[str, _Part] = {}
        self.told = 0
        self._steps: dict[str, _Part] = {}
        self._run = run
        self._handled = handled
        self._names = names

    def __repr__(self) -> str:
        return f"Story({self._run.run_id!r}, status={self.status!r}, told={self.told})"

    @property
    def has_ended(self) -> bool:
        """Whether watchers were told that the run has ended."""
        return self.status in objects.ENDED or self.status == ERROR

    def read(self, events: Iterable[LoggedEvent]) -> None:
        """Take note of what the event log says."""
        for logged in events:
            self._note(logged.event, from_json(logged.data))

    # --- what the upstream says

    def open(self, upstream_run: JsonObject) -> list[NewEvent]:
        """Begin the run, unless it has begun."""
        if self.status is not None:
            return []
        queued = _as_status(self._own_run(upstream_run), "queued")
        return [self._tell("thread.run.created", queued), self._tell("thread.run.queued", queued)]

    def hear(self, event: str, data: JsonObject) -> list[NewEvent]:
        """Hear an event of a stream. An event about a run that has stopped is not for here, but for `stop`."""
        return [] if self.has_ended else list(self._hear(event, data))

    def catch_up(
        self, upstream_run: JsonObject, steps: Sequence[JsonObject], messages: Sequence[JsonObject]
    ) -> list[NewEvent]:
        """Hear what was read of a run: the run first, then its steps and messages; `stop` has to be called too."""
        if self.has_ended:
            return []
        return [*self.open(upstream_run), *self._catch_up(upstream_run, steps, messages)]

    def stop(self, upstream_run: JsonObject, now: int) -> list[NewEvent]:
        """Hear that a run has stopped. That it expired is not told: another may take its place."""
        status = upstream_run["status"]
        if self.has_ended or status == "expired":
            return []
        if status == "requires_action":
            return list(self._ask(upstream_run))
        return list(self._end(self._own_run(upstream_run), now))

    def lacks(self, upstream_run: JsonObject) -> bool:
        """Tell of a run that has stopped whether something of it was not heard that has to be told before."""
        if upstream_run["status"] == "requires_action":
            return self.round_step_id(upstream_run) is None
        return any(part.is_open for part in (*self._steps.values(), *self.messages.values()))

    def awaits_message(self, steps: Sequence[JsonObject]) -> bool:
        """Tell whether one of the steps writes a message of which watchers do not know the end."""
        written = [_message_id(step) for step in steps if step.get("type") == "message_creation"]
        return any(message not in self.messages or self.messages[message].is_open for message in written)

    def round_step_id(self, upstream_run: JsonObject) -> str | None:
        """Return the id of the step that made the calls for which the run asks outputs."""
        opened = [part.whole for part in self._steps.values() if part.is_open]
        return round_step_id({"required_action": None}, opened) if requested_calls(upstream_run) else None

    def calls(self, upstream_run: JsonObject, step_id: str) -> list[PendingCall]:
        """Return the calls for which the run asks outputs, with our ids."""
        return pending_calls(upstream_run, step_id, self._names)

    # --- what is ended here

    def end(self, status: RunStatus, last_error: LastError | None, now: int) -> list[NewEvent]:
        """End the run in a way that its upstream does not say."""
        if self.has_ended or self.run_object is None:
            return []
        ended = {**self.run_object, "status": status, "required_action": None}
        if last_error is not None:
            ended["last_error"] = last_error.model_dump()
        if time_field := _TIMES.get(status):
            ended[time_field] = now
        return list(self._end(ended, now))

    def abandon(self, now: int) -> list[NewEvent]:
        """Close what a run left open that goes on in another one's shape."""
        error = {"code": "server_error", "message": "The run upstream did not go on; another follows."}
        return list(self._close("failed", now, error))

    # --- how it is told

    def _hear(self, event: str, data: JsonObject) -> Iterator[NewEvent]:
        kind, what = _kind(event)
        match kind:
            case "step":
                yield from self._hear_part(self._steps, what, self._own_step(data))
            case "message":
                yield from self._hear_part(self.messages, what, {**data, **self._run_id_of(data)})
            case "run":
                yield from self._hear_status(self._own_run(data))

    def _hear_status(self, own: JsonObject) -> Iterator[NewEvent]:
        """Tell a status in which the run goes on, if it is news. What handlers here do is progress to watchers."""
        match own.get("status"), self.status:
            case "queued", "requires_action":
                yield self._tell("thread.run.queued", own)
            case "in_progress", _:
                yield from self._enter_progress(own)
            case "cancelling", told if told != "cancelling":
                yield self._tell("thread.run.cancelling", own)

    def _enter_progress(self, own: JsonObject | None) -> Iterator[NewEvent]:
        """Tell that the run is in progress, where watchers do not know."""
        base = own or self.run_object
        if base is None:
            return
        if self.status == "requires_action":
            yield self._tell("thread.run.queued", _as_status(base, "queued"))
        if self.status == "queued":
            yield self._tell("thread.run.in_progress", _as_status(base, "in_progress"))

    def _hear_part(self, parts: dict[str, _Part], what: str, data: JsonObject) -> Iterator[NewEvent]:
        part = parts.get(data["id"])
        if what == "delta":
            if part is not None and part.is_open:
                yield from self._hear_delta(part, data)
            return
        name = "thread.message" if parts is self.messages else "thread.run.step"
        if part is None:
            yield from self._enter_progress(None)
            yield self._tell(f"{name}.created", _as_begun(data))
            part = parts[data["id"]]
        if what == "created" or not part.is_open:
            return
        if what != "in_progress":
            yield from self._rest(part, data)
        if part.state != what:
            yield self._tell(f"{name}.{what}", data)

    def _hear_delta(self, part: _Part, data: JsonObject) -> Iterator[NewEvent]:
        """Tell a delta, unless it is the one before sent again.

        Nothing marks a delta, so one that repeats its predecessor may be a word that was said twice. Then what follows
        waits until the whole is known, which decides; but for signs and numbers, which models do repeat.
        """
        repeats, part.last_delta = part.last_delta == data, data
        if repeats and _begins_something(data):
            return
        part.held = part.held or (repeats and any(map(str.isalpha, _delta_text(data))))
        if not part.held:
            yield self._tell(f"{'thread.message' if _is_message(data) else 'thread.run.step'}.delta", data)

    def _rest(self, part: _Part, data: JsonObject) -> Iterator[NewEvent]:
        """Tell the deltas that lead from what was told to the whole, where it is only longer."""
        if _is_message(data):
            for index, text in _texts(data):
                told = part.pieces.get(index)
                if text.startswith(told or "") and (told is None or len(text) > len(told)):
                    delta = _text_delta(data["id"], index, text[len(told or "") :], first=told is None)
                    yield self._tell("thread.message.delta", delta)
        else:
            yield from self._rest_of_calls(part, _step_calls(data))

    def _rest_of_calls(self, part: _Part, calls: Iterable[JsonObject]) -> Iterator[NewEvent]:
        step_id = part.whole["id"]
        for position, call in enumerate(calls):
            if "function" not in call:
                continue
            index = part.call_ids.get(call["id"])
            if index is None:
                index = position
                if index != len(part.pieces):  # clients build a list of these, in which nothing may be missing
                    return
                started = objects.call_started_delta(step_id, index, call["id"], call["function"]["name"])
                yield self._tell("thread.run.step.delta", started)
            told, arguments = part.pieces[index], call["function"].get("arguments") or ""
            if arguments.startswith(told) and len(arguments) > len(told):
                more = objects.call_arguments_delta(step_id, index, arguments[len(told) :])
                yield self._tell("thread.run.step.delta", more)

    def _catch_up(
        self, upstream_run: JsonObject, steps: Sequence[JsonObject], messages: Sequence[JsonObject]
    ) -> Iterator[NewEvent]:
        if upstream_run["status"] not in STOPS:
            yield from self._hear_status(self._own_run(upstream_run))
        written = {message["id"]: message for message in messages}
        for step in steps:
            yield from self._hear("thread.run.step.in_progress", step)
            message = written.pop(_message_id(step), None)
            if message is not None:
                yield from self._catch_up_message(message, step["status"])
            if step["status"] != "in_progress":
                yield from self._hear(f"thread.run.step.{step['status']}", step)
            elif (part := self._steps.get(step["id"])) is not None and part.is_open:
                yield from self._rest(part, self._own_step(step))
        if upstream_run["status"] in ENDED_BY_ITSELF:
            for message in written.values():  # not every server has steps
                yield from self._catch_up_message(message, "completed")

    def _catch_up_message(self, message: JsonObject, step_status: str) -> Iterator[NewEvent]:
        # The real API tells the status of messages in streams only.
        by_step = {"in_progress": "in_progress", "completed": "completed"}.get(step_status, "incomplete")
        state = message.get("status") or by_step
        message = {**message, "status": state}
        yield from self._hear("thread.message.in_progress", message)
        part = self.messages[message["id"]]
        if state != "in_progress":
            yield from self._hear(f"thread.message.{state}", message)
        elif part.is_open:
            yield from self._rest(part, message)

    def _ask(self, upstream_run: JsonObject) -> Iterator[NewEvent]:
        """Tell that outputs are asked for, where somebody outside has to give some."""
        step_id = self.round_step_id(upstream_run) or ""
        calls = self.calls(upstream_run, step_id)
        awaited = [
            {"call_id": call.call_id, "name": call.name, "arguments": call.arguments}
            for call in calls
            if call.name not in self._handled
        ]
        asked = {**self._own_run(upstream_run), "required_action": objects.required_action(awaited)}
        told = self.run_object or {}
        if self.status == "requires_action" and told.get("required_action") == asked["required_action"]:
            return
        yield from self._enter_progress(asked)
        if (step := self._steps.get(step_id)) is not None and step.is_open:
            made = [{"id": call.call_id, "function": call._asdict()} for call in calls]
            yield from self._rest_of_calls(step, made)
        if awaited:
            yield self._tell("thread.run.requires_action", asked)

    def _end(self, own: JsonObject, now: int) -> Iterator[NewEvent]:
        status = own["status"]
        if status in ENDED_BY_ITSELF:
            yield from self._enter_progress(own)
        yield from self._close(status, now, own.get("last_error"))
        yield self._tell(f"thread.run.{status}", own)

    def _close(self, status: str, now: int, last_error: Any = None) -> Iterator[NewEvent]:
        """End what is open, as a run that ends with ``status`` does."""
        for message in [part for part in self.messages.values() if part.is_open]:
            content = message.whole.get("content") or [objects.text_content(text) for text in message.pieces.values()]
            ended: JsonObject = {**message.whole, "content": content, "status": "completed", "completed_at": now}
            if reason := MESSAGE_ENDS.get(status):
                ended |= {"status": "incomplete", "completed_at": None, "incomplete_at": now}
                ended["incomplete_details"] = {"reason": reason}
            yield self._tell(f"thread.message.{ended['status']}", ended)
        step_status, time_field = STEP_ENDS[status]
        for step in [part for part in self._steps.values() if part.is_open]:
            ended = {**step.whole, "status": step_status, time_field: now}
            if step_status == "failed":
                ended["last_error"] = last_error
            yield self._tell(f"thread.run.step.{step_status}", ended)

    # --- what is known

    def _tell(self, event: str, data: JsonObject) -> NewEvent:
        self._note(event, data)
        self.told += 1
        return NewEvent(event, data)

    def _note(self, event: str, data: JsonObject) -> None:
        kind, what = _kind(event)
        if event == ERROR:
            self.status = ERROR
        elif kind == "run":
            self.run_object = data
            self.status = "queued" if what == "created" else what
        elif kind in ("step", "message"):
            parts = self.messages if kind == "message" else self._steps
            part = parts.setdefault(data["id"], _Part(data))
            if what == "delta":
                _note_delta(part, data)
            else:
                part.whole, part.state = data, what

    # --- how it is said here

    def _own_run(self, data: JsonObject) -> JsonObject:
        """Return a run object as ours: under our id, without the marks by which we find it."""
        given = data.get("metadata") or {}
        metadata = {name: value for name, value in given.items() if name not in (RUN_MARK, NUMBER_MARK)}
        return {**data, "id": self._run.run_id, "metadata": {**metadata, UPSTREAM_MARK: self._run.upstream_id}}

    def _own_step(self, data: JsonObject) -> JsonObject:
        """Return a step, or a delta of one, with our ids."""
        where = data.get("delta", data)
        details = where.get("step_details") or {}
        own = {**data, **self._run_id_of(data)}
        if not details.get("tool_calls"):
            return own
        calls = [
            {**call, "id": self._names.own(data["id"], call["id"])} if call.get("id") else call
            for call in details["tool_calls"]
        ]
        told = {"step_details": {**details, "tool_calls": calls}}
        return {**own, "delta": {**data["delta"], **told}} if "delta" in data else {**own, **told}

    def _run_id_of(self, data: JsonObject) -> JsonObject:
        return {"run_id": self._run.run_id} if data.get("run_id") else {}


def _kind(event: str) -> tuple[str, str]:
    """Return what an event is about, and what it says of it."""
    subject, _, what = event.rpartition(".")
    return {"thread.run": "run", "thread.run.step": "step", "thread.message": "message"}.get(subject, ""), what


def _as_status(own: JsonObject, status: str) -> JsonObject:
    return {**own, "status": status, "required_action": None, "usage": None}


def _as_begun(data: JsonObject) -> JsonObject:
    """Return a step or message as it was when it began; not every server tells that."""
    begun = {**data, "status": "in_progress"}
    for time_field in ("completed_at", "failed_at", "cancelled_at", "expired_at", "incomplete_at", "usage"):
        if begun.get(time_field) is not None:
            begun[time_field] = None
    if "content" in begun:
        return {**begun, "content": [], "incomplete_details": None}
    details = begun.get("step_details") or {}
    if details.get("tool_calls"):
        begun["step_details"] = {**details, "tool_calls": []}
    return begun


def _is_message(data: Mapping[str, Any]) -> bool:
    return str(data.get("object")).startswith("thread.message")


def _message_id(step: JsonObject) -> str:
    details = step.get("step_details") or {}
    return str((details.get("message_creation") or {}).get("message_id"))


def _step_calls(step: JsonObject) -> list[JsonObject]:
    return list((step.get("step_details") or {}).get("tool_calls") or ())


def _texts(message: JsonObject) -> list[tuple[int, str]]:
    content = message.get("content") or ()
    return [(index, part["text"]["value"]) for index, part in enumerate(content) if part.get("type") == "text"]


def _text_delta(message_id: str, index: int, text: str, *, first: bool) -> JsonObject:
    delta = objects.message_delta(message_id, text, first=first)
    delta["delta"]["content"][0]["index"] = index
    return delta


def _delta_entries(data: JsonObject) -> list[JsonObject]:
    delta = data.get("delta") or {}
    return list(delta.get("content") or (delta.get("step_details") or {}).get("tool_calls") or ())


def _entry_text(entry: JsonObject) -> str:
    return (entry.get("text") or {}).get("value") or (entry.get("function") or {}).get("arguments") or ""


def _delta_text(data: JsonObject) -> str:
    return "".join(_entry_text(entry) for entry in _delta_entries(data))


def _begins_something(data: JsonObject) -> bool:
    """Whether a delta is one that comes once: the first of a text, or of a call."""
    return any("annotations" in (entry.get("text") or {}) or entry.get("id") for entry in _delta_entries(data))


def _note_delta(part: _Part, data: JsonObject) -> None:
    for entry in _delta_entries(data):
        index = entry.get("index", 0)
        part.pieces[index] = part.pieces.get(index, "") + _entry_text(entry)
        if entry.get("id"):
            part.call_ids[entry["id"]] = index
