"""Runs: how they are created, what may follow on what, and how they end.

Every change of status names the statuses from which it may happen, so that of two that race one wins and the
other learns that it came too late. A change and the events that tell it are one transaction. Where a ``project``
is given, only what belongs to it exists.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, select

from lockstitch.assistants import objects, refusals
from lockstitch.assistants.store import answerers, assistants, event_log, rows, steps, threads, tool_calls
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.prepared import Prepared
from lockstitch.assistants.store.projects import Handlers
from lockstitch.assistants.store.rows import Page, PageCursor, Row
from lockstitch.assistants.store.schema import ACTIVE_RUN, messages, runs
from lockstitch.starter.contract import OPEN_STATUSES, RunParameters, RunStatus, ToolOutput

DEFAULT_TRUNCATION = {"type": "auto", "last_messages": None}

_OPEN = Prepared(select(runs).where(ACTIVE_RUN, runs.c.created_at < bindparam("before")).order_by(runs.c.seq))

_NEVER_SHOWN = frozenset({"seq", "handlers", "turns"})

# What clients that poll ask for all the time, so it reads what they see and no more.
_GET = Prepared(
    select(*(column for column in runs.c if column.name not in _NEVER_SHOWN)).where(
        runs.c.id == bindparam("run"), runs.c.thread_id == bindparam("thread")
    )
)

_OVERRIDABLE = ("model", "temperature", "top_p", "reasoning_effort", "tools", "response_format")


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to create; ``lifetime`` is in seconds, and says when the run expires.

    It belongs to its thread's project, and so must its assistant; where ``project`` is given, it has to be that one.
    ``handlers`` are those that it may use; ``None`` means all. Without ``tool_resources``, it has its assistant's.
    """

    run_id: str
    thread_id: str
    assistant_id: str
    parameters: RunParameters
    created_at: int
    lifetime: int = 600
    project: str | None = None
    handlers: Handlers = None
    tool_resources: Row | None = None
    runs_code: bool = False
    """Whether this server has the code interpreter."""


def create(connection: Connection, new: NewRun, leading_events: Sequence[NewEvent] = ()) -> Row:
    """Create a run in the status ``queued`` and begin its event log with ``leading_events``.

    Raises `ApiError` when the thread or the assistant is unknown, the thread has an active run, there is nothing to
    run, the run would need a tool that is not there, or its metadata say in no known word who answers its calls.
    """
    project = threads.lock(connection, new.thread_id, project=new.project)["project_id"]
    if active := threads.active_run_id(connection, new.thread_id):
        raise refusals.run_while_run_is_active(new.thread_id, active)
    assistant = assistants.get(connection, new.assistant_id, project=project)
    for message in new.parameters.additional_messages or ():
        threads.add_message(connection, new.thread_id, message, new.created_at)
    values = _run_values(new, assistant)
    _check_tools(new, values)
    if not values["instructions"] and not threads.has_user_message(connection, new.thread_id):
        raise refusals.nothing_to_run()
    row = rows.add(connection, runs, values)
    created = objects.run(row)
    own = [NewEvent("thread.run.created", created), NewEvent("thread.run.queued", created)]
    event_log.begin(connection, new.run_id, [*leading_events, *own])
    return row


def _run_values(new: NewRun, assistant: Row) -> dict[str, Any]:
    parameters = new.parameters
    given = parameters.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if parameters.tools is not None:
        given["tools"] = objects.tools(parameters.tools)
    overridden = {name: assistant[name] if given.get(name) is None else given[name] for name in _OVERRIDABLE}
    instructions = assistant["instructions"] if parameters.instructions is None else parameters.instructions
    parts = [part for part in (instructions, parameters.additional_instructions) if part]
    return overridden | {
        "id": new.run_id,
        "thread_id": new.thread_id,
        "assistant_id": new.assistant_id,
        "project_id": assistant["project_id"],
        "handlers": answerers.handlers_of(parameters.metadata, assistant["metadata"], new.handlers),
        "created_at": new.created_at,
        "expires_at": new.created_at + new.lifetime,
        "status": "queued",
        "instructions": "\n".join(parts),
        "tool_resources": new.tool_resources or assistant["tool_resources"],
        "metadata": parameters.metadata or {},
        "max_prompt_tokens": parameters.max_prompt_tokens,
        "max_completion_tokens": parameters.max_completion_tokens,
        "truncation_strategy": DEFAULT_TRUNCATION | (given.get("truncation_strategy") or {}),
        "tool_choice": given.get("tool_choice"),
        "parallel_tool_calls": parameters.parallel_tool_calls,
        "usage": {},
    }


def _check_tools(new: NewRun, values: Row) -> None:
    """Refuse tools that this server does not have, and functions that could be taken for one that it has."""
    types = {tool["type"] for tool in values["tools"]}
    for position, tool in enumerate(values["tools"]):
        param = "assistant_id" if new.parameters.tools is None else f"tools[{position}]"
        if tool["type"] == "code_interpreter" and not new.runs_code:
            raise refusals.no_code_run_here(param)
        if tool["type"] == "function" and tool["function"]["name"] in types - {"function"}:
            raise refusals.named_as_built_in_tool(tool["function"]["name"], param)
    choice = values["tool_choice"]
    if isinstance(choice, dict) and choice["type"] != "function" and choice["type"] not in types:
        raise refusals.tool_not_there(choice["type"])


def find(connection: Connection, run_id: str) -> Row | None:
    """Return the run with this id, whatever its thread."""
    return rows.get(connection, runs, id=run_id)


def get(connection: Connection, thread_id: str, run_id: str, *, project: str | None = None) -> Row:
    """Return a run of the thread; raises `ApiError` (404)."""
    row = _GET.one(connection, {"run": run_id, "thread": thread_id})
    if row is None or (project is not None and row["project_id"] != project):
        threads.get(connection, thread_id, project=project)  # an unknown thread is said to be unknown
        raise refusals.no_run(run_id)
    return row


def listed(connection: Connection, thread_id: str, cursor: PageCursor, *, project: str | None = None) -> Page:
    """Return a page of the thread's runs; raises `ApiError` (404)."""
    threads.get(connection, thread_id, project=project)
    return rows.page(connection, runs, cursor, [runs.c.thread_id == thread_id])


def open_runs(connection: Connection, created_before: int) -> list[Row]:
    """Return the runs that have not ended, of all threads, created before a time in seconds, oldest first."""
    return _OPEN.all(connection, {"before": created_before})


def change(connection: Connection, run_id: str, *, when: Collection[RunStatus], values: Row) -> Row | None:
    """Write new values into a run that has one of the statuses ``when``; ``None`` where it has another."""
    return rows.change(connection, runs, {"id": run_id, "status": frozenset(when)}, values)


def overwrite(connection: Connection, run_id: str, *, when: Collection[RunStatus], values: Row) -> bool:
    """Do what `change` does and tell whether the run had such a status, without reading it."""
    return rows.overwrite(connection, runs, {"id": run_id, "status": frozenset(when)}, values)


def submit_outputs(
    connection: Connection,
    thread_id: str,
    run_id: str,
    outputs: Sequence[ToolOutput],
    now: int,
    *,
    project: str | None = None,
) -> Row:
    """Take the outputs that a run in ``requires_action`` asks for, all of them, and queue it again.

    Raises `ApiError` where the run is unknown, asks for nothing, or asks for other outputs; nothing is stored
    then.
    """
    event_log.lock(connection, run_id)
    run = get(connection, thread_id, run_id, project=project)
    if run["status"] != "requires_action":
        raise refusals.outputs_not_accepted(run["status"])
    wanted = [call["id"] for call in run["required_action"]["submit_tool_outputs"]["tool_calls"]]
    got = [output.tool_call_id for output in outputs]
    if sorted(wanted) != sorted(got):
        raise refusals.wrong_outputs(wanted, got)
    for output in outputs:
        tool_calls.record_output(connection, run_id, output.tool_call_id, output.output, "answered")
    queued = change(connection, run_id, when=["requires_action"], values={"status": "queued", "required_action": None})
    if queued is None:
        raise refusals.outputs_not_accepted(find_status(connection, run_id))
    finished = [] if tool_calls.unanswered(connection, run_id) else _complete_tool_step(connection, queued, now)
    event_log.append(connection, run_id, [*finished, NewEvent("thread.run.queued", objects.run(queued))])
    return queued


def resume(connection: Connection, run_id: str, now: int) -> None:
    """Let a run whose calls all have outputs go on; one that goes on already is left as it is."""
    event_log.lock(connection, run_id)
    if tool_calls.unanswered(connection, run_id):
        return
    run = find(connection, run_id)
    events = [] if run is None else _complete_tool_step(connection, run, now)
    values = {"status": "queued", "required_action": None}
    queued = change(connection, run_id, when=["requires_action"], values=values)
    events += [NewEvent("thread.run.queued", objects.run(queued))] if queued else []
    event_log.append(connection, run_id, events)


def _complete_tool_step(connection: Connection, run: Row, now: int) -> list[NewEvent]:
    """Complete the open tool step, each of whose calls has an output, and return the event that tells it."""
    return [
        steps.finish(connection, run, step, {"status": "completed", "completed_at": now})
        for step in steps.open_steps(connection, run["id"])
        if step["type"] == "tool_calls"
    ]


def find_status(connection: Connection, run_id: str) -> RunStatus:
    """Return the run's status as it is now; ``cancelled`` where the run was deleted with its thread."""
    row = find(connection, run_id)
    return row["status"] if row else "cancelled"


def begin_cancel(connection: Connection, thread_id: str, run_id: str, *, project: str | None = None) -> Row:
    """Mark an open run as ``cancelling``; raises `ApiError` where it is unknown or has ended."""
    event_log.lock(connection, run_id)
    run = get(connection, thread_id, run_id, project=project)
    if run["status"] == "cancelling":
        return run
    row = change(
        connection,
        run_id,
        when=["queued", "in_progress", "requires_action"],
        values={"status": "cancelling", "required_action": None},
    )
    if row is None:
        raise refusals.not_cancellable(run["status"])
    event_log.append(connection, run_id, [NewEvent("thread.run.cancelling", objects.run(row))])
    return row


_END_TIMES: dict[RunStatus, str | None] = {
    "completed": "completed_at",
    "incomplete": "completed_at",
    "failed": "failed_at",
    "cancelled": "cancelled_at",
    "expired": None,
}
STEP_ENDS: dict[str, tuple[str, str]] = {
    "completed": ("completed", "completed_at"),
    "incomplete": ("completed", "completed_at"),
    "failed": ("failed", "failed_at"),
    "cancelled": ("cancelled", "cancelled_at"),
    "expired": ("expired", "expired_at"),
}
"""How a step that is open ends with its run: its status, and the column of the time."""

MESSAGE_ENDS: dict[str, str] = {
    "incomplete": "max_tokens",
    "failed": "run_failed",
    "cancelled": "run_cancelled",
    "expired": "run_expired",
}
"""Why a message that a run was writing is incomplete."""


def end(connection: Connection, run_id: str, status: RunStatus, now: int, **values: Any) -> Row | None:
    """End an open run with its open steps and message; ``None`` where it had ended before.

    ``values`` are further columns, such as ``last_error``. Whoever was still writing the run's events is
    fenced off.
    """
    ended: dict[str, Any] = {"status": status, "required_action": None, **values}
    if time_column := _END_TIMES[status]:
        ended[time_column] = now
    if status == "completed":
        ended["expires_at"] = None
    event_log.lock(connection, run_id)
    row = change(connection, run_id, when=OPEN_STATUSES, values=ended)
    if row is None:
        return None
    fence = event_log.claim(connection, run_id)
    open_steps = steps.open_steps(connection, run_id)
    events = close_steps(connection, open_steps, row, status, now, row["last_error"])
    event_log.append(connection, run_id, [*events, NewEvent(f"thread.run.{status}", objects.run(row))], fence=fence)
    return row


def close_steps(
    connection: Connection, open_steps: Collection[Row], run: Row, status: RunStatus, now: int, last_error: Any = None
) -> list[NewEvent]:
    """End steps of ``run`` that are in progress, and their messages, as a run that ends with ``status`` does."""
    events = []
    for step in open_steps:
        if step["message_id"] is not None:
            events += _close_message(connection, step["message_id"], status, now)
        step_status, time_column = STEP_ENDS[status]
        values = {"status": step_status, time_column: now}
        if step_status == "failed":
            values["last_error"] = last_error
        events.append(steps.finish(connection, run, step, values))
    return events


def _close_message(connection: Connection, message_id: str, status: RunStatus, now: int) -> list[NewEvent]:
    values = {
        "status": "incomplete",
        "incomplete_at": now,
        "incomplete_details": {"reason": MESSAGE_ENDS[status]},
    }
    row = rows.change(connection, messages, {"id": message_id}, values)
    return [] if row is None else [NewEvent("thread.message.incomplete", objects.message(row))]  # a client deleted it
