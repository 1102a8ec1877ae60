"""The Responses API as a server speaks it: the turn that a request asks for, and the frames of the answer."""

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    FinishReason,
    FunctionCall,
    FunctionTool,
    ImagePart,
    Message,
    ModelEvent,
    ModelTurn,
    NamedFunction,
    TextDelta,
    ToolRound,
    TurnFinished,
    Usage,
)
from lockstitch.errors import UpstreamError

_INCOMPLETE: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}


def turn_of_responses(body: dict[str, Any]) -> ModelTurn:
    """The turn that the body of ``POST /responses`` asks for."""
    given = body.get("input") or ""
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    system = [_text(item["content"]) for item in items if item.get("role") in ("system", "developer")]
    return ModelTurn(
        model=body["model"],
        instructions="\n".join(filter(None, [body.get("instructions"), *system])),
        messages=tuple(_messages(items)),
        rounds=tuple(_rounds(items)),
        tools=tuple(_tool(tool) for tool in body.get("tools") or () if tool["type"] == "function"),
        tool_choice=_choice(body.get("tool_choice") or "auto"),
        parallel_tool_calls=body.get("parallel_tool_calls") is not False,
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        max_completion_tokens=body.get("max_output_tokens"),
        reasoning_effort=(body.get("reasoning") or {}).get("effort"),
        response_format=_format((body.get("text") or {}).get("format")),
    )


def _messages(items: list[dict[str, Any]]) -> Iterator[Message]:
    for item in items:
        if item.get("role") in ("user", "assistant"):
            content = item["content"]
            parts = [content] if isinstance(content, str) else [_part(part) for part in content]
            yield Message(item["role"], tuple(parts))


def _part(part: dict[str, Any]) -> str | ImagePart:
    if part["type"] == "input_image":
        return ImagePart(part["image_url"], part.get("detail") or "auto")
    return str(part.get("text") or part.get("refusal") or "")


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(str(part.get("text", "")) for part in content)


def _rounds(items: list[dict[str, Any]]) -> Iterator[ToolRound]:
    """The calls after the last message, those that were made together in one round."""
    last = max((place for place, item in enumerate(items) if "role" in item), default=-1)
    after = items[last + 1 :]
    outputs = {item["call_id"]: _text(item["output"]) for item in after if "output" in item}
    calls: list[FunctionCall] = []
    answering = False
    for item in after:
        if item["type"] == "function_call":
            if answering:
                yield ToolRound(tuple(calls))
                calls = []
            call_id = item["call_id"]
            calls.append(FunctionCall(call_id, item["name"], item["arguments"], outputs.get(call_id, "")))
        answering = item["type"] == "function_call_output"
    if calls:
        yield ToolRound(tuple(calls))


def _tool(tool: dict[str, Any]) -> FunctionTool:
    return FunctionTool(
        tool["name"], tool.get("description") or "", tool.get("parameters") or {}, bool(tool.get("strict"))
    )


def _choice(choice: Any) -> Any:
    return NamedFunction(choice["name"]) if isinstance(choice, dict) else choice


def _format(form: dict[str, Any] | None) -> str | dict[str, Any]:
    match form:
        case {"type": "json_schema", **schema}:
            return {"type": "json_schema", "json_schema": schema}
        case dict():
            return form
    return "auto"


class ResponsesWriter:
    """Writes one answer of the Responses API, as frames of a stream or as a whole."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body
        self._id = "resp_" + secrets.token_hex(24)
        self._created_at = int(time.time())
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        self._pieces: list[str] = []
        """The text or the arguments of the last item of the output, while it is open."""
        self._status = "in_progress"
        self._finished = TurnFinished("stop")

    def start(self) -> str:
        """The frames that come before everything else."""
        response = self.answer()
        return self._frame("response.created", response=response) + self._frame(
            "response.in_progress", response=response
        )

    def frames(self, event: ModelEvent) -> str:
        """The frames for an event of the model; the last one's end the stream."""
        match event:
            case TextDelta(text):
                return self._text(text)
            case ArgumentsDelta(_, delta):
                return self._arguments(delta)
            case CallStarted(_, call_id, name):
                return self._close() + self._open_call(call_id, name)
            case TurnFinished():
                return self._finish(event)

    def failed(self, error: UpstreamError) -> str:
        """The frames for an error that comes after the stream has begun."""
        self._status = "failed"
        response = self.answer() | {"error": {"code": error.code, "message": str(error)}}
        return self._frame("response.failed", response=response)

    def answer(self) -> dict[str, Any]:
        """The response object as far as it has come."""
        reason = _INCOMPLETE.get(self._finished.reason)
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created_at,
            "status": self._status,
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "instructions": self._body.get("instructions"),
            "max_output_tokens": self._body.get("max_output_tokens"),
            "metadata": self._body.get("metadata") or {},
            "model": self._body["model"],
            "output": list(self._output),
            "parallel_tool_calls": self._body.get("parallel_tool_calls") is not False,
            "store": False,
            "temperature": self._body.get("temperature"),
            "tool_choice": self._body.get("tool_choice") or "auto",
            "tools": self._body.get("tools") or [],
            "top_p": self._body.get("top_p"),
            "usage": None if self._status == "in_progress" else _usage(self._finished.usage),
        }

    def _frame(self, kind: str, **data: Any) -> str:
        body = json.dumps({"type": kind, "sequence_number": self._next(), **data})
        return f"event: {kind}\ndata: {body}\n\n"

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence - 1

    def _text(self, text: str) -> str:
        opened = ""
        if not self._output or self._output[-1]["type"] != "message":
            opened = self._close() + self._open_message()
        self._pieces.append(text)
        item, place = self._output[-1]["id"], len(self._output) - 1
        return (
            f'{opened}event: response.output_text.delta\ndata: {{"type":"response.output_text.delta",'
            f'"sequence_number":{self._next()},"item_id":"{item}","output_index":{place},"content_index":0,'
            f'"delta":{json.dumps(text)},"logprobs":[]}}\n\n'
        )

    def _arguments(self, delta: str) -> str:
        self._pieces.append(delta)
        item, place = self._output[-1]["id"], len(self._output) - 1
        return (
            "event: response.function_call_arguments.delta\n"
            'data: {"type":"response.function_call_arguments.delta",'
            f'"sequence_number":{self._next()},"item_id":"{item}","output_index":{place},'
            f'"delta":{json.dumps(delta)}}}\n\n'
        )

    def _open_message(self) -> str:
        item = {"id": "msg_" + secrets.token_hex(24), "type": "message", "role": "assistant", "content": []}
        return self._open(item) + self._frame(
            "response.content_part.added", **self._place(), content_index=0, part=_output_text("")
        )

    def _open_call(self, call_id: str, name: str) -> str:
        item = {"id": "fc_" + secrets.token_hex(24), "type": "function_call", "call_id": call_id}
        return self._open(item | {"name": name, "arguments": ""})

    def _open(self, item: dict[str, Any]) -> str:
        self._output.append(item | {"status": "in_progress"})
        self._pieces = []
        return self._frame("response.output_item.added", output_index=len(self._output) - 1, item=self._output[-1])

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1}

    def _close(self, status: str = "completed") -> str:
        """Complete the last item."""
        if not self._output:
            return ""
        item, whole = self._output[-1], "".join(self._pieces)
        item["status"] = status
        if item["type"] == "message":
            part = _output_text(whole)
            item["content"] = [part]
            frames = self._frame(
                "response.output_text.done", **self._place(), content_index=0, text=whole, logprobs=[]
            ) + self._frame("response.content_part.done", **self._place(), content_index=0, part=part)
        else:
            item["arguments"] = whole
            frames = self._frame("response.function_call_arguments.done", **self._place(), arguments=whole)
        place = len(self._output) - 1
        return frames + self._frame("response.output_item.done", output_index=place, item=item)

    def _finish(self, finished: TurnFinished) -> str:
        self._finished = finished
        status = "incomplete" if finished.reason in _INCOMPLETE else "completed"
        closed = self._close(status)
        self._status = status
        return closed + self._frame(f"response.{status}", response=self.answer())


def _output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
