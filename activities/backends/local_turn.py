"""Turns what a model says in one turn into the steps, messages and events of a run of our own server."""

import time
from collections.abc import Container, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

from lockstitch.activities.backends.annotations import AnnotatedText, Piece
from lockstitch.activities.backends.base import Progress
from lockstitch.activities.backends.made_so_far import MadeSoFar
from lockstitch.activities.backends.turn_calls import TurnCalls, awaited_of
from lockstitch.assistants import objects
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    ModelEvent,
    TextDelta,
    TurnFinished,
    Usage,
)
from lockstitch.assistants.store import runs, steps, threads, tool_calls
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.rows import Row


class TurnWriter:
    """Writes one turn of one run.

    ``handled`` knows the functions that have a handler here, ``taken`` the ids of the run's earlier calls, ``broken``
    has the steps that an attempt which broke off left open, ``made`` what the run's built-in tools gave so far.

    Each method returns progress to record; nothing is written by the writer itself.
    """

    def __init__(
        self,
        run: Row,
        turn: int,
        *,
        handled: Container[str],
        taken: Container[str],
        broken: Sequence[Row],
        made: MadeSoFar | None = None,
    ) -> None:
        self._run = run
        self._turn = turn
        self._handled = handled
        self._broken = broken
        self._made = made or MadeSoFar()
        self._text = AnnotatedText(self._made.sources)
        self._text_is_told = False
        self._images: list[str] = []
        self._message: dict[str, Any] | None = None
        self._message_step: dict[str, Any] | None = None
        self._tool_step: dict[str, Any] | None = None
        self._calls = TurnCalls(run, taken)
        self._told: dict[str, dict[str, Any]] = {}

    def begin(self, connection: Connection) -> Sequence[NewEvent]:
        """Close what a broken attempt left open and say that the run is in progress.

        Watchers saw the broken attempt's message begin, so they see it end; the thread keeps the finished one only.
        """
        now = _now()
        error = {"code": "server_error", "message": "The attempt was broken off; another follows."}
        events = runs.close_steps(connection, self._broken, self._run, "failed", now, error)
        for step in self._broken:
            if step["message_id"] is not None:
                threads.drop_message(connection, step["message_id"])
        values = {"status": "in_progress", "started_at": now}
        started = runs.change(connection, self._run["id"], when=["queued"], values=values)
        if started is not None:
            events.append(NewEvent("thread.run.in_progress", objects.run(started)))
        return events

    def out_of_tokens(self, connection: Connection) -> Sequence[NewEvent]:
        """End a run that has spent its tokens before this turn."""
        budget = self._run["max_completion_tokens"]
        spent = budget is not None and self._run["usage"].get("completion_tokens", 0) >= budget
        reason = "max_completion_tokens" if spent else "max_prompt_tokens"
        return self._change_run(connection, _incomplete(reason, _now()))

    def write(self, event: ModelEvent) -> Iterator[Progress]:
        """Yield what one event of the model means for the run."""
        match event:
            case TextDelta(text):
                yield from self._write_text(text)
            case CallStarted():
                yield from self._start_call(event)
            case ArgumentsDelta():
                told = self._calls.add_arguments(self._tool_step_id, event)
                if told is not None:
                    yield _tell(told)
            case TurnFinished():
                yield from self._finish(event)

    def _write_text(self, text: str) -> Iterator[Progress]:
        if self._message is None:
            yield from self._begin_message()
        yield from self._tell_pieces(self._text.feed(text))

    def _begin_message(self) -> Iterator[Progress]:
        """Begin a message with the pictures that code has shown since the last one."""
        self._message = threads.new_run_message(self._run, _now())
        self._message_step = steps.new_step(self._run, "message_creation", _now(), self._message["id"])
        yield _together(self._insert_step(self._message_step), _insert_message(self._message))
        self._images = self._made.take_images()
        for index, file_id in enumerate(self._images):
            yield _tell(NewEvent("thread.message.delta", objects.image_delta(self._message["id"], index, file_id)))

    def _tell_pieces(self, pieces: Sequence[Piece]) -> Iterator[Progress]:
        for piece in pieces:
            yield _tell(self._text_delta(piece))

    def _text_delta(self, piece: Piece) -> NewEvent:
        assert self._message is not None  # noqa: S101 - text belongs to a message
        first, self._text_is_told = not self._text_is_told, True
        annotation = None
        if piece.annotation is not None:
            annotation = (self._text.annotations.index(piece.annotation), piece.annotation)
        delta = objects.message_delta(
            self._message["id"], piece.text, first=first, index=len(self._images), annotation=annotation
        )
        return NewEvent("thread.message.delta", delta)

    def _start_call(self, event: CallStarted) -> Iterator[Progress]:
        if self._tool_step is None:
            yield from self._tell_message_finished()
            self._tool_step = steps.new_step(self._run, "tool_calls", _now())
            yield self._insert_step(self._tool_step)
        yield _tell(self._calls.start(self._tool_step_id, event))

    @property
    def _tool_step_id(self) -> str:
        assert self._tool_step is not None  # noqa: S101 - arguments follow a call, which has a step
        return str(self._tool_step["id"])

    def _finish(self, event: TurnFinished) -> Iterator[Progress]:
        usage = _usage_values(event.usage)
        cut_off = {"length": "max_tokens", "content_filter": "content_filter"}.get(event.reason)
        if self._message is None and not self._calls and event.reason == "stop":
            yield from self._begin_message()
            yield _tell(self._text_delta(Piece("")))  # an empty answer is an answer
        yield from self._tell_pieces(self._text.close())
        parts = [self._settle_told, self._finish_message(cut_off, None if self._calls else usage)]
        if cut_off is None and self._calls:
            parts.append(lambda connection: self._ask_for_outputs(connection, usage))
        else:
            parts.append(lambda connection: self._end_run(connection, event, usage))
        yield _together(*parts)

    def _tell_message_finished(self) -> Iterator[Progress]:
        """Finish a message that comes before calls.

        Its step is told to be completed, as the real API does, and stays open in the store until the turn is
        recorded: if the attempt breaks off among the calls, the message goes with it.
        """
        message, step = self._message, self._message_step
        if message is None or step is None:
            return
        yield from self._tell_pieces(self._text.close())
        self._message = self._message_step = None
        now = _now()
        changed = {"status": "completed", **self._take_content(), "completed_at": now}
        finished = objects.message({**message, **changed})
        ended = {"status": "completed", "completed_at": now}
        told = objects.run_step({**step, **ended}, expires_at=self._run["expires_at"])
        self._told[step["id"]] = ended

        def tell(connection: Connection) -> Sequence[NewEvent]:
            threads.change_message(connection, finished["id"], changed)
            return [NewEvent("thread.message.completed", finished), NewEvent("thread.run.step.completed", told)]

        yield tell

    def _settle_told(self, connection: Connection) -> Sequence[NewEvent]:
        for step_id, ended in self._told.items():
            steps.change(connection, step_id, ended)
        return []

    def _finish_message(self, cut_off: str | None, usage: dict[str, int] | None) -> Progress:
        message, step = self._message, self._message_step
        if message is None or step is None:
            return _together()
        now = _now()
        changed: dict[str, Any] = {"status": "completed", **self._take_content(), "completed_at": now}
        if cut_off is not None:
            changed |= {"status": "incomplete", "completed_at": None, "incomplete_at": now}
            changed["incomplete_details"] = {"reason": cut_off}
        finished = objects.message({**message, **changed})
        ended = {"status": "completed", "completed_at": now, "usage": usage}

        def finish(connection: Connection) -> Sequence[NewEvent]:
            threads.change_message(connection, finished["id"], changed)
            told = steps.finish(connection, self._run, step, ended)
            return [NewEvent(f"thread.message.{finished['status']}", finished), told]

        return finish

    def _take_content(self) -> dict[str, Any]:
        """Return what the message says, and the files that it points to, as clients find them on it."""
        text, images = self._text, self._images
        self._text, self._text_is_told, self._images = AnnotatedText(self._made.sources), False, []
        made = [it["file_path"]["file_id"] for it in text.annotations if it["type"] == "file_path"]
        return {
            "content": [*map(objects.image_content, images), objects.text_content(text.value, text.annotations)],
            "attachments": [{"file_id": each, "tools": [{"type": "code_interpreter"}]} for each in dict.fromkeys(made)],
        }

    def _ask_for_outputs(self, connection: Connection, usage: dict[str, int]) -> Sequence[NewEvent]:
        rows = self._calls.rows(self._tool_step_id)
        tool_calls.add(connection, rows)
        steps.change(connection, self._tool_step_id, {"usage": usage})
        awaited = awaited_of(rows, self._handled)
        if not awaited:  # handlers and built-in tools settle the calls, and nobody outside has to do anything
            runs.overwrite(connection, self._run["id"], when=["in_progress"], values=self._turn_taken(usage))
            return []
        asked = {"status": "requires_action", "required_action": objects.required_action(awaited)}
        return self._change_run(connection, {**self._turn_taken(usage), **asked})

    def _end_run(self, connection: Connection, event: TurnFinished, usage: dict[str, int]) -> Sequence[NewEvent]:
        now = _now()
        ended = self._change_run(connection, {**self._turn_taken(usage), **_ending(event, now)})
        if not ended:
            return []
        open_steps = steps.open_steps(connection, self._run["id"])
        closed = runs.close_steps(connection, open_steps, self._run, "completed", now)
        return [*closed, *ended]

    def _insert_step(self, step: dict[str, Any]) -> Progress:
        made, values = objects.run_step(step, expires_at=self._run["expires_at"]), dict(step)

        def insert(connection: Connection) -> Sequence[NewEvent]:
            steps.insert(connection, values)
            return [NewEvent("thread.run.step.created", made), NewEvent("thread.run.step.in_progress", made)]

        return insert

    def _change_run(self, connection: Connection, values: dict[str, Any]) -> Sequence[NewEvent]:
        run = runs.change(connection, self._run["id"], when=["in_progress"], values=values)
        return [] if run is None else [NewEvent(f"thread.run.{values['status']}", objects.run(run))]

    def _turn_taken(self, usage: dict[str, int]) -> dict[str, Any]:
        total = {name: self._run["usage"].get(name, 0) + tokens for name, tokens in usage.items()}
        return {"turns": self._turn, "usage": total}


def _ending(event: TurnFinished, now: int) -> dict[str, Any]:
    match event.reason:
        case "length":
            return _incomplete("max_completion_tokens", now)
        case "content_filter":
            error = {"code": "invalid_prompt", "message": "The model's content filter stopped the answer."}
            return {"status": "failed", "failed_at": now, "last_error": error}
        case _:
            return {"status": "completed", "completed_at": now, "expires_at": None}


def _incomplete(reason: str, now: int) -> dict[str, Any]:
    return {"status": "incomplete", "incomplete_details": {"reason": reason}, "completed_at": now}


def _usage_values(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def _together(*parts: Progress) -> Progress:
    """Make one progress of several, so that they are recorded in one transaction."""
    return lambda connection: [event for part in parts for event in part(connection)]


def _insert_message(message: dict[str, Any]) -> Progress:
    made, values = objects.message(message), dict(message)

    def insert(connection: Connection) -> Sequence[NewEvent]:
        threads.insert_message(connection, values)
        return [NewEvent("thread.message.created", made), NewEvent("thread.message.in_progress", made)]

    return insert


def _tell(event: NewEvent) -> Progress:
    told = [event]
    return lambda _connection: told


def _now() -> int:
    return int(time.time())
