"""New objects, with the columns that `lockstitch.assistants.objects` reads and a few of the server's own."""

from typing import Any

from lockstitch.assistants.objects import text_content, tools
from lockstitch.starter.contract import NewMessage
from lockstitch.starter.identifiers import new_id
from lockstitch.testing.upstream.bodies import NewRun, given
from lockstitch.testing.upstream.state import Row

_OVERRIDABLE = ("model", "temperature", "top_p", "reasoning_effort", "tools", "response_format")


def new_assistant(values: Row, now: int) -> Row:
    """Make an assistant of what a request gave."""
    unset = dict.fromkeys(
        ("name", "description", "instructions", "temperature", "top_p", "reasoning_effort", "response_format")
    )
    made = {**unset, "tools": [], "tool_resources": {}, "metadata": {}, **values}
    return {"id": new_id("asst"), "created_at": now, **made}


def new_thread(values: Row, now: int) -> Row:
    """Make a thread of what a request gave; it knows its messages and runs by their ids, oldest first."""
    own = {"id": new_id("thread"), "created_at": now, "message_ids": [], "run_ids": []}
    return {**own, "metadata": {}, "tool_resources": {}, **values}


def new_message(thread_id: str, message: NewMessage, now: int) -> Row:
    """Make a message that a client wrote."""
    content = message.content
    parts = [text_content(content)] if isinstance(content, str) else [_part(part) for part in content]
    return _message(thread_id, now) | {
        "role": message.role,
        "content": parts,
        "attachments": [attachment.model_dump() for attachment in message.attachments or ()],
        "metadata": message.metadata or {},
        "status": "completed",
        "completed_at": now,
    }


def _part(part: Any) -> Row:
    return text_content(part.text) if part.type == "text" else dict(part.model_dump())


def new_run_message(run: Row, now: int) -> Row:
    """Make the message that a run begins to write."""
    own = {"role": "assistant", "status": "in_progress", "run_id": run["id"], "assistant_id": run["assistant_id"]}
    return _message(run["thread_id"], now) | own


def _message(thread_id: str, now: int) -> Row:
    return {
        "id": new_id("msg"),
        "thread_id": thread_id,
        "created_at": now,
        "content": [],
        "attachments": [],
        "metadata": {},
        "assistant_id": None,
        "run_id": None,
        "completed_at": None,
        "incomplete_at": None,
        "incomplete_details": None,
    }


def new_run(thread_id: str, body: NewRun, assistant: Row, now: int, lifetime: int) -> Row:
    """Make a run that is queued; ``lifetime`` is in seconds.

    The server's own columns: ``hold_in`` are the statuses in which the run will stay, ``held`` is the one in which
    it stays, ``expire_at`` is when it will expire before its time, ``lost`` whether it vanished.
    """
    values = given(body, tools=tools(body.tools or ()))
    overridden = {name: assistant[name] if values.get(name) is None else values[name] for name in _OVERRIDABLE}
    instructions = assistant["instructions"] if body.instructions is None else body.instructions
    own: Row = {"step_ids": [], "hold_in": [], "held": None, "expire_at": None, "lost": False}
    return {**own, **_unset_times()} | overridden | {
        "id": new_id("run"),
        "thread_id": thread_id,
        "assistant_id": body.assistant_id,
        "created_at": now,
        "expires_at": now + lifetime,
        "status": "queued",
        "instructions": "\n".join(part for part in (instructions, body.additional_instructions) if part),
        "tool_resources": assistant["tool_resources"],
        "metadata": body.metadata or {},
        "max_prompt_tokens": body.max_prompt_tokens,
        "max_completion_tokens": body.max_completion_tokens,
        "truncation_strategy": {"type": "auto", "last_messages": None} | (values.get("truncation_strategy") or {}),
        "tool_choice": values.get("tool_choice"),
        "parallel_tool_calls": body.parallel_tool_calls,
        "usage": {},
    }  # fmt: skip


def _unset_times() -> Row:
    times = ("started_at", "cancelled_at", "failed_at", "completed_at")
    return dict.fromkeys((*times, "required_action", "last_error", "incomplete_details"))


def new_step(run: Row, kind: str, now: int, message_id: str | None = None) -> Row:
    """Make a step that begins; ``kind`` is ``message_creation`` or ``tool_calls``, whose ``calls`` come later."""
    unset = ("cancelled_at", "completed_at", "expired_at", "failed_at", "last_error", "usage")
    return dict.fromkeys(unset) | {
        "id": new_id("step"),
        "run_id": run["id"],
        "thread_id": run["thread_id"],
        "assistant_id": run["assistant_id"],
        "created_at": now,
        "type": kind,
        "status": "in_progress",
        "message_id": message_id,
        "metadata": {},
        "calls": [],
    }
