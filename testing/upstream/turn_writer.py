"""Turns what a model says in one turn into the steps, messages and events of a run."""

from collections.abc import Callable
from dataclasses import asdict

from lockstitch.assistants import objects
from lockstitch.assistants.model.turn import ArgumentsDelta, CallStarted, TextDelta, TurnFinished
from lockstitch.testing.upstream import rows
from lockstitch.testing.upstream.feed import RunFeed
from lockstitch.testing.upstream.state import Row, State


class TurnWriter:
    """Writes one turn of one run, in the order of events that the Assistants API has."""

    def __init__(self, state: State, run: Row, feed: RunFeed, now: Callable[[], int]) -> None:
        self._state = state
        self._run = run
        self._feed = feed
        self._now = now
        self._text: list[str] = []
        self._message: Row | None = None
        self._step: Row | None = None
        self._calls: list[Row] = []

    def write(self, event: TextDelta | CallStarted | ArgumentsDelta) -> None:
        """Write one event of the model."""
        match event:
            case TextDelta(text):
                self._write_text(text)
            case CallStarted(index, call_id, name):
                self._close_message(None)
                step = self._open_step("tool_calls")
                self._calls.append({"call_id": call_id, "name": name, "arguments": "", "output": None})
                started = objects.call_started_delta(step["id"], index, call_id, name)
                self._feed.tell("thread.run.step.delta", started)
            case ArgumentsDelta(index, delta):
                self._calls[index]["arguments"] += delta
                step = self._open_step("tool_calls")
                self._feed.tell("thread.run.step.delta", objects.call_arguments_delta(step["id"], index, delta))

    def finish(self, event: TurnFinished) -> list[Row]:
        """Close the turn; returns the calls that it made, whose step stays open."""
        if self._message is None and not self._calls and event.reason == "stop":
            self._write_text("")  # an empty answer is an answer
        usage = asdict(event.usage)
        self._run["usage"] = {name: self._run["usage"].get(name, 0) + tokens for name, tokens in usage.items()}
        if self._message is not None:
            self._close_message({"length": "max_tokens", "content_filter": "content_filter"}.get(event.reason), usage)
        if self._calls and self._step is not None:
            self._step["calls"] = self._calls
            self._step["usage"] = usage
        return self._calls

    def _write_text(self, text: str) -> None:
        first = self._message is None
        if self._message is None:
            message = self._message = rows.new_run_message(self._run, self._now())
            self._open_step("message_creation", message["id"])
            self._state.messages[message["id"]] = message
            self._state.threads[self._run["thread_id"]]["message_ids"].append(message["id"])
            self._feed.tell("thread.message.created", objects.message(message))
            self._feed.tell("thread.message.in_progress", objects.message(message))
        self._text.append(text)
        # What a run that is cut off has said so far stands in its message.
        self._message["content"] = [objects.text_content("".join(self._text))]
        self._feed.tell("thread.message.delta", objects.message_delta(self._message["id"], text, first=first))

    def _open_step(self, kind: str, message_id: str | None = None) -> Row:
        if self._step is None:
            self._step = step = rows.new_step(self._run, kind, self._now(), message_id)
            self._state.steps[step["id"]] = step
            self._run["step_ids"].append(step["id"])
            self._feed.tell("thread.run.step.created", objects.run_step(step))
            self._feed.tell("thread.run.step.in_progress", objects.run_step(step))
        return self._step

    def _close_message(self, cut_off: str | None, usage: Row | None = None) -> None:
        message, step, now = self._message, self._step, self._now()
        if message is None or step is None:
            return
        self._message = self._step = None
        self._text = []
        message |= {"status": "completed", "completed_at": now}
        if cut_off is not None:
            details = {"reason": cut_off}
            message |= {
                "status": "incomplete",
                "completed_at": None,
                "incomplete_at": now,
                "incomplete_details": details,
            }
        step |= {"status": "completed", "completed_at": now, "usage": usage}
        self._feed.tell(f"thread.message.{message['status']}", objects.message(message))
        self._feed.tell("thread.run.step.completed", objects.run_step(step))
