"""The API's objects, on the wire exactly as clients expect them.

Each function makes one object from a row of the store. Where the published description and the recorded
traffic of the real API differ, the object carries the fields of both.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lockstitch.assistants.built_in_arguments import code_of
from lockstitch.starter.contract import ToolParam

Row = Mapping[str, Any]
Object = dict[str, Any]


def assistant(row: Row) -> Object:
    """An ``assistant``."""
    return {
        "id": row["id"],
        "object": "assistant",
        "created_at": row["created_at"],
        "name": row["name"],
        "description": row["description"],
        "model": row["model"],
        "instructions": row["instructions"],
        "tools": row["tools"],
        "tool_resources": row["tool_resources"],
        "metadata": row["metadata"],
        "top_p": 1.0 if row["top_p"] is None else row["top_p"],
        "temperature": 1.0 if row["temperature"] is None else row["temperature"],
        "reasoning_effort": row["reasoning_effort"],
        "response_format": row["response_format"] or "auto",
    }


def tools(given: Iterable[ToolParam]) -> list[Object]:
    """Tools as they stand in an assistant or a run: with the defaults that the API fills in."""
    return [_tool(tool) for tool in given]


def _tool(tool: ToolParam) -> Object:
    made = tool.model_dump(mode="json", exclude_none=True)
    if tool.type == "file_search":
        made["file_search"]["ranking_options"].setdefault("hybrid_search", None)
    return made


def thread(row: Row) -> Object:
    """A ``thread``."""
    return {
        "id": row["id"],
        "object": "thread",
        "created_at": row["created_at"],
        "metadata": row["metadata"],
        "tool_resources": row["tool_resources"],
    }


def message(row: Row) -> Object:
    """A ``thread.message``."""
    return {
        "id": row["id"],
        "object": "thread.message",
        "created_at": row["created_at"],
        "thread_id": row["thread_id"],
        "assistant_id": row["assistant_id"],
        "run_id": row["run_id"],
        "status": row["status"],
        "incomplete_details": row["incomplete_details"],
        "incomplete_at": row["incomplete_at"],
        "completed_at": row["completed_at"],
        "role": row["role"],
        "content": row["content"],
        "attachments": row["attachments"],
        "metadata": row["metadata"],
    }


def text_content(value: str, annotations: Sequence[Object] = ()) -> Object:
    """Text as it stands in a message's content."""
    return {"type": "text", "text": {"value": value, "annotations": list(annotations)}}


def image_content(file_id: str) -> Object:
    """A picture that code has shown, as it stands in a message's content."""
    return {"type": "image_file", "image_file": {"file_id": file_id, "detail": "auto"}}


def run(row: Row) -> Object:
    """A ``thread.run``; ``usage`` is null until the run has ended."""
    ended = row["status"] in ENDED
    return {
        "id": row["id"],
        "object": "thread.run",
        "created_at": row["created_at"],
        "assistant_id": row["assistant_id"],
        "thread_id": row["thread_id"],
        "status": row["status"],
        "started_at": row["started_at"],
        "expires_at": row["expires_at"],
        "cancelled_at": row["cancelled_at"],
        "failed_at": row["failed_at"],
        "completed_at": row["completed_at"],
        "required_action": row["required_action"],
        "last_error": row["last_error"],
        "model": row["model"],
        "instructions": row["instructions"],
        "tools": row["tools"],
        "tool_resources": row["tool_resources"],
        "metadata": row["metadata"],
        "temperature": 1.0 if row["temperature"] is None else row["temperature"],
        "top_p": 1.0 if row["top_p"] is None else row["top_p"],
        "reasoning_effort": row["reasoning_effort"],
        "max_completion_tokens": row["max_completion_tokens"],
        "max_prompt_tokens": row["max_prompt_tokens"],
        "truncation_strategy": row["truncation_strategy"],
        "incomplete_details": row["incomplete_details"],
        "usage": _usage(row["usage"]) if ended else None,
        "response_format": row["response_format"] or "auto",
        "tool_choice": row["tool_choice"] or "auto",
        "parallel_tool_calls": row["parallel_tool_calls"],
    }


ENDED = frozenset({"completed", "failed", "cancelled", "expired", "incomplete"})


def required_action(calls: Iterable[Row]) -> Object:
    """What a run in ``requires_action`` asks for; ``calls`` are rows of tool calls."""
    return {
        "type": "submit_tool_outputs",
        "submit_tool_outputs": {
            "tool_calls": [
                {
                    "id": call["call_id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"]},
                }
                for call in calls
            ]
        },
    }


def run_step(
    row: Row, calls: Sequence[Row] = (), expires_at: int | None = None, *, with_content: bool = False
) -> Object:
    """A ``thread.run.step``; ``calls`` are the tool calls of a step of type ``tool_calls``.

    ``expires_at`` is the run's: streams tell it, and who reads a step later does not see it. ``with_content`` shows
    the text of passages that a search has found.
    """
    return {
        "id": row["id"],
        "object": "thread.run.step",
        "created_at": row["created_at"],
        "run_id": row["run_id"],
        "assistant_id": row["assistant_id"],
        "thread_id": row["thread_id"],
        "type": row["type"],
        "status": row["status"],
        "cancelled_at": row["cancelled_at"],
        "completed_at": row["completed_at"],
        "expired_at": row["expired_at"],
        "expires_at": expires_at,
        "failed_at": row["failed_at"],
        "last_error": _step_error(row["last_error"]),
        "step_details": _step_details(row, calls, with_content=with_content),
        "usage": _usage(row["usage"]) if row["usage"] else None,
        "metadata": row["metadata"],
    }


def _step_error(last_error: Row | None) -> Object | None:
    """A step has fewer codes than its run."""
    if last_error is None:
        return None
    code = "rate_limit_exceeded" if last_error["code"] == "rate_limit_exceeded" else "server_error"
    return {**last_error, "code": code}


def _step_details(row: Row, calls: Sequence[Row], *, with_content: bool) -> Object:
    if row["type"] == "message_creation":
        return {"type": "message_creation", "message_creation": {"message_id": row["message_id"]}}
    return {"type": "tool_calls", "tool_calls": [_tool_call(call, with_content=with_content) for call in calls]}


def _tool_call(call: Row, *, with_content: bool) -> Object:
    match call.get("type"):
        case "code_interpreter":
            return {"id": call["call_id"], "type": "code_interpreter", "code_interpreter": _code(call)}
        case "file_search":
            searched = _search(call, with_content=with_content)
            return {"id": call["call_id"], "type": "file_search", "file_search": searched}
    return function_call(call)


def _code(call: Row) -> Object:
    return call["result"] or {"input": code_of(call["arguments"]), "outputs": []}


def _search(call: Row, *, with_content: bool) -> Object:
    if call["result"] is None:
        return {}
    results = [
        {name: value for name, value in found.items() if with_content or name != "content"}
        for found in call["result"]["results"]
    ]
    return {"ranking_options": call["result"]["ranking_options"], "results": results}


def function_call(call: Row) -> Object:
    """A function call as it stands in a run step."""
    function = {"name": call["name"], "arguments": call["arguments"], "output": call["output"]}
    return {"id": call["call_id"], "type": "function", "function": function}


def message_delta(
    message_id: str, text: str, *, first: bool, index: int = 0, annotation: tuple[int, Object] | None = None
) -> Object:
    """A ``thread.message.delta``; the first one of a text carries the empty annotations.

    ``index`` is the text's place in the content; ``annotation`` comes with its number in the text.
    """
    value: Object = {"value": text}
    if annotation is not None:
        number, made = annotation
        value["annotations"] = [{"index": number, **made}]
    elif first:
        value["annotations"] = []
    return _message_delta(message_id, {"index": index, "type": "text", "text": value})


def image_delta(message_id: str, index: int, file_id: str) -> Object:
    """A ``thread.message.delta`` with a picture that code has shown."""
    return _message_delta(message_id, {"index": index, **image_content(file_id)})


def _message_delta(message_id: str, content: Object) -> Object:
    return {"id": message_id, "object": "thread.message.delta", "delta": {"content": [content]}}


def call_started_delta(step_id: str, index: int, call_id: str, name: str, kind: str = "function") -> Object:
    """The first ``thread.run.step.delta`` of a call of the tool ``kind``; a function also has its ``name`` there."""
    begun: dict[str, Object] = {
        "function": {"name": name, "arguments": "", "output": None},
        "code_interpreter": {"input": "", "outputs": []},
        "file_search": {"results": []},
    }
    return _step_delta(step_id, {"index": index, "id": call_id, "type": kind, kind: begun[kind]})


def call_arguments_delta(step_id: str, index: int, arguments: str) -> Object:
    """A later ``thread.run.step.delta`` of a function call: more of its arguments."""
    return _step_delta(step_id, {"index": index, "type": "function", "function": {"arguments": arguments}})


def code_input_delta(step_id: str, index: int, code: str) -> Object:
    """A later ``thread.run.step.delta`` of a call of the code interpreter: more of its code."""
    return _step_delta(step_id, {"index": index, "type": "code_interpreter", "code_interpreter": {"input": code}})


def code_outputs_delta(step_id: str, index: int, outputs: Sequence[Object]) -> Object:
    """The last ``thread.run.step.delta`` of a call of the code interpreter: what the code gave."""
    numbered = [{"index": number, **output} for number, output in enumerate(outputs)]
    return _step_delta(step_id, {"index": index, "type": "code_interpreter", "code_interpreter": {"outputs": numbered}})


def _step_delta(step_id: str, tool_call: Object) -> Object:
    details = {"type": "tool_calls", "tool_calls": [tool_call]}
    return {"id": step_id, "object": "thread.run.step.delta", "delta": {"step_details": details}}


def _usage(usage: Row) -> Object:
    prompt, completion = usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_token_details": {"cached_tokens": usage.get("cached_tokens", 0)},
        "completion_tokens_details": {"reasoning_tokens": usage.get("reasoning_tokens", 0)},
    }


def file(row: Row) -> Object:
    """A ``file``; ``expires_at`` is left out where there is none, as the description demands."""
    made = {
        "id": row["id"],
        "object": "file",
        "bytes": row["bytes"],
        "created_at": row["created_at"],
        "filename": row["filename"],
        "purpose": row["purpose"],
        "status": row["status"],
    }
    return made if row["expires_at"] is None else {**made, "expires_at": row["expires_at"]}


def deleted(object_id: str, kind: str) -> Object:
    """What a deletion answers."""
    return {"id": object_id, "object": kind, "deleted": True}


def page(data: list[Object], *, has_more: bool) -> Object:
    """One page of a list."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": has_more,
    }
