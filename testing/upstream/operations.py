"""What each operation of the Assistants API does with the state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lockstitch.assistants import objects, refusals
from lockstitch.starter.contract import NewMessage
from lockstitch.testing.upstream import bodies, rows
from lockstitch.testing.upstream.bodies import given, read_body
from lockstitch.testing.upstream.lifecycle import Lifecycle
from lockstitch.testing.upstream.pages import page
from lockstitch.testing.upstream.state import Row, State


@dataclass(frozen=True, slots=True)
class Call:
    """A request as an operation sees it."""

    ids: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Done:
    """What an operation answers: an object, and the run if it is one; its stream begins after ``seen`` events."""

    object: dict[str, Any]
    run: Row | None = None
    seen: int = 0


class Operations:
    """The operations. Each is done at once and whole, or raises `ApiError` and changes nothing."""

    def __init__(self, state: State, lifecycle: Lifecycle, now: Callable[[], int], lifetime: int) -> None:
        self._state = state
        self._lifecycle = lifecycle
        self._now = now
        self._lifetime = lifetime

    # --- assistants

    def create_assistant(self, call: Call) -> Done:
        """Add an assistant."""
        row = rows.new_assistant(_assistant_values(read_body(bodies.NewAssistant, call.body)), self._now())
        self._state.assistants[row["id"]] = row
        self._state.changed("assistant", row["id"])
        return Done(objects.assistant(row))

    def retrieve_assistant(self, call: Call) -> Done:
        """Return an assistant."""
        return Done(objects.assistant(self._assistant(call.ids["assistant_id"])))

    def list_assistants(self, call: Call) -> Done:
        """Return a page of the assistants."""
        return _listed(list(self._state.assistants.values()), call, objects.assistant)

    def modify_assistant(self, call: Call) -> Done:
        """Change what the body names."""
        row = self._assistant(call.ids["assistant_id"])
        row |= _assistant_values(read_body(bodies.ModifiedAssistant, call.body))
        self._state.changed("assistant", row["id"])
        return Done(objects.assistant(row))

    def delete_assistant(self, call: Call) -> Done:
        """Delete an assistant."""
        row = self._assistant(call.ids["assistant_id"])
        del self._state.assistants[row["id"]]
        self._state.changed("assistant", row["id"])
        return Done(objects.deleted(row["id"], "assistant.deleted"))

    # --- threads

    def create_thread(self, call: Call) -> Done:
        """Add a thread."""
        return Done(objects.thread(self._add_thread(read_body(bodies.NewThread, call.body))))

    def retrieve_thread(self, call: Call) -> Done:
        """Return a thread."""
        return Done(objects.thread(self._thread(call)))

    def modify_thread(self, call: Call) -> Done:
        """Change what the body names."""
        row = self._thread(call)
        body = read_body(bodies.ModifiedThread, call.body)
        row |= given(body, metadata=body.metadata or {}, tool_resources=body.tool_resources or {})
        self._state.changed("thread", row["id"])
        return Done(objects.thread(row))

    def delete_thread(self, call: Call) -> Done:
        """Delete a thread; an open run is cancelled and gone with it."""
        row = self._thread(call)
        for run in self._state.runs_of(row):
            self._lifecycle.end(run, "cancelled")
            self._lifecycle.lose(run)
        del self._state.threads[row["id"]]
        self._state.changed("thread", row["id"])
        return Done(objects.deleted(row["id"], "thread.deleted"))

    # --- messages

    def create_message(self, call: Call) -> Done:
        """Add a message, unless a run is active on the thread."""
        thread = self._thread(call)
        body = read_body(NewMessage, call.body)
        if active := self._active_run(thread):
            raise refusals.message_while_run_is_active(thread["id"], active["id"])
        return Done(objects.message(self._add_message(thread, body)))

    def retrieve_message(self, call: Call) -> Done:
        """Return a message."""
        thread, message_id = self._thread(call), call.ids["message_id"]
        if message_id not in thread["message_ids"]:
            raise refusals.no_message(message_id)
        return Done(objects.message(self._state.messages[message_id]))

    def list_messages(self, call: Call) -> Done:
        """Return a page of the thread's messages, of one run only where ``run_id`` is given."""
        run_id = call.query.get("run_id")
        messages = self._state.messages_of(self._thread(call))
        return _listed([row for row in messages if run_id in (None, row["run_id"])], call, objects.message)

    # --- runs

    def create_run(self, call: Call) -> Done:
        """Queue a run of the thread; whoever calls this lets it start."""
        thread = self._thread(call)
        if active := self._active_run(thread):
            raise refusals.run_while_run_is_active(thread["id"], active["id"])
        body = read_body(bodies.NewRun, call.body)
        return self._create_run(thread, body, self._assistant(body.assistant_id))

    def create_thread_and_run(self, call: Call) -> Done:
        """Add a thread and queue a run of it."""
        body = read_body(bodies.NewThreadAndRun, call.body)
        assistant = self._assistant(body.assistant_id)
        new_thread = body.thread or bodies.NewThread()
        messages = [*(new_thread.messages or ()), *(body.additional_messages or ())]
        self._check_that_there_is_something_to_run(messages, body, assistant)
        thread = self._add_thread(new_thread)
        return self._create_run(thread, body, assistant, leading_thread=True)

    def retrieve_run(self, call: Call) -> Done:
        """Return a run."""
        run = self._run(call)
        return Done(objects.run(run), run)

    def list_runs(self, call: Call) -> Done:
        """Return a page of the thread's runs."""
        return _listed(self._state.runs_of(self._thread(call)), call, objects.run)

    def modify_run(self, call: Call) -> Done:
        """Change a run's metadata, unless it is being worked on."""
        run = self._run(call)
        if run["status"] == "in_progress":
            raise refusals.not_updatable(run["status"])
        body = read_body(bodies.ModifiedRun, call.body)
        run |= given(body, metadata=body.metadata or {})
        self._state.changed("run", run["id"])
        return Done(objects.run(run), run)

    def cancel_run(self, call: Call) -> Done:
        """Begin to cancel a run."""
        run = self._run(call)
        self._lifecycle.cancel(run)
        return Done(objects.run(run), run)

    def submit_tool_outputs(self, call: Call) -> Done:
        """Take the outputs that the run asks for; whoever calls this lets it go on."""
        run = self._run(call)
        seen = len(self._lifecycle.feed(run["id"]))
        self._lifecycle.submit(run, read_body(bodies.SubmittedOutputs, call.body).tool_outputs)
        return Done(objects.run(run), run, seen)

    # --- steps

    def retrieve_step(self, call: Call) -> Done:
        """Return a step."""
        run, step_id = self._run(call), call.ids["step_id"]
        if step_id not in run["step_ids"]:
            raise refusals.no_run_step(step_id)
        return Done(_step(self._state.steps[step_id]))

    def list_steps(self, call: Call) -> Done:
        """Return a page of the run's steps."""
        return _listed(self._state.steps_of(self._run(call)), call, _step)

    # --- what they share

    def _assistant(self, assistant_id: str) -> Row:
        if assistant_id not in self._state.assistants:
            raise refusals.no_assistant(assistant_id)
        return self._state.assistants[assistant_id]

    def _thread(self, call: Call) -> Row:
        thread_id = call.ids["thread_id"]
        if thread_id not in self._state.threads:
            raise refusals.no_thread(thread_id)
        return self._state.threads[thread_id]

    def _run(self, call: Call) -> Row:
        thread, run_id = self._thread(call), call.ids["run_id"]
        run = self._state.runs.get(run_id)
        if run is None or run["lost"] or run["thread_id"] != thread["id"]:
            raise refusals.no_run(run_id)
        return run

    def _active_run(self, thread: Row) -> Row | None:
        """The run that holds the thread's lock; only the last one can."""
        last = self._state.runs_of(thread)[-1:]
        return last[0] if last and last[0]["status"] not in objects.ENDED else None

    def _add_thread(self, body: bodies.NewThread) -> Row:
        values = given(body, metadata=body.metadata or {}, tool_resources=body.tool_resources or {})
        values.pop("messages", None)
        thread = rows.new_thread(values, self._now())
        self._state.threads[thread["id"]] = thread
        for message in body.messages or ():
            self._add_message(thread, message)
        self._state.changed("thread", thread["id"])
        return thread

    def _add_message(self, thread: Row, body: NewMessage) -> Row:
        message = rows.new_message(thread["id"], body, self._now())
        self._state.messages[message["id"]] = message
        thread["message_ids"].append(message["id"])
        self._state.changed("message", message["id"])
        self._state.changed("thread", thread["id"])
        return message

    def _create_run(self, thread: Row, body: bodies.NewRun, assistant: Row, *, leading_thread: bool = False) -> Done:
        there = self._state.messages_of(thread)
        self._check_that_there_is_something_to_run([*there, *(body.additional_messages or ())], body, assistant)
        for message in body.additional_messages or ():
            self._add_message(thread, message)
        run = rows.new_run(thread["id"], body, assistant, self._now(), self._lifetime)
        self._state.runs[run["id"]] = run
        thread["run_ids"].append(run["id"])
        self._state.changed("run", run["id"])
        self._state.changed("thread", thread["id"])
        feed = self._lifecycle.feed(run["id"])
        if leading_thread:
            feed.tell("thread.created", objects.thread(thread))
        feed.tell("thread.run.created", objects.run(run))
        feed.tell("thread.run.queued", objects.run(run))
        return Done(objects.run(run), run)

    def _check_that_there_is_something_to_run(
        self, messages: Sequence[Row | NewMessage], body: bodies.NewRun, assistant: Row
    ) -> None:
        roles = {message.role if isinstance(message, NewMessage) else message["role"] for message in messages}
        told = body.instructions or body.additional_instructions or assistant["instructions"]
        if "user" not in roles and not told:
            raise refusals.nothing_to_run()


def _assistant_values(body: bodies.ModifiedAssistant) -> Row:
    values = given(
        body,
        tools=objects.tools(body.tools or ()),
        tool_resources=body.tool_resources or {},
        metadata=body.metadata or {},
    )
    if body.model is None:  # there is always one
        values.pop("model", None)
    return values


def _step(row: Row) -> dict[str, Any]:
    return objects.run_step(row, row["calls"])


def _listed(found: list[Row], call: Call, make: Callable[[Row], dict[str, Any]]) -> Done:
    return Done(page([make(row) for row in found], call.query))
