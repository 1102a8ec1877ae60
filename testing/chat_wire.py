"""Chat Completions as a server speaks it: the turn that a request asks for, and the frames of the answer."""

import json
import secrets
import time
from collections.abc import Iterator
from typing import Any

from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
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


def turn_of_chat(body: dict[str, Any]) -> ModelTurn:
    """The turn that the body of ``POST /chat/completions`` asks for."""
    messages = body["messages"]
    system = [_text(message["content"]) for message in messages if message["role"] in ("system", "developer")]
    said = [message for message in messages if message["role"] in ("user", "assistant")]
    return ModelTurn(
        model=body["model"],
        instructions="\n".join(system),
        messages=tuple(_message(message) for message in said if not message.get("tool_calls")),
        rounds=tuple(_rounds(messages)),
        tools=tuple(_tool(tool["function"]) for tool in body.get("tools") or ()),
        tool_choice=_choice(body.get("tool_choice") or "auto"),
        parallel_tool_calls=body.get("parallel_tool_calls") is not False,
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        max_completion_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        reasoning_effort=body.get("reasoning_effort"),
        response_format=body.get("response_format") or "auto",
    )


def _message(message: dict[str, Any]) -> Message:
    content = message.get("content") or ""
    parts = [content] if isinstance(content, str) else [_part(part) for part in content]
    return Message(message["role"], tuple(parts))


def _part(part: dict[str, Any]) -> str | ImagePart:
    if part["type"] == "image_url":
        return ImagePart(part["image_url"]["url"], part["image_url"].get("detail") or "auto")
    return str(part.get("text") or "")


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "\n".join(str(part.get("text", "")) for part in content)


def _rounds(messages: list[dict[str, Any]]) -> Iterator[ToolRound]:
    """The rounds after the last message that is not about tools."""
    plain = [
        place for place, message in enumerate(messages) if message["role"] != "tool" and not message.get("tool_calls")
    ]
    after = messages[max(plain, default=-1) + 1 :]
    outputs = {message["tool_call_id"]: _text(message["content"]) for message in after if _is_output(message)}
    for message in after:
        if not _is_output(message):
            calls = [(call["id"], call["function"]) for call in message["tool_calls"]]
            yield ToolRound(
                tuple(
                    FunctionCall(call_id, made["name"], made["arguments"], outputs.get(call_id, ""))
                    for call_id, made in calls
                )
            )


def _is_output(message: dict[str, Any]) -> bool:
    return bool(message["role"] == "tool")


def _tool(function: dict[str, Any]) -> FunctionTool:
    return FunctionTool(
        function["name"],
        function.get("description") or "",
        function.get("parameters") or {},
        bool(function.get("strict")),
    )


def _choice(choice: Any) -> Any:
    return NamedFunction(choice["function"]["name"]) if isinstance(choice, dict) else choice


class ChatWriter:
    """Writes one answer of Chat Completions, as frames of a stream or as a whole."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._head: dict[str, Any] = {
            "id": "chatcmpl-" + secrets.token_hex(12),
            "created": int(time.time()),
            "model": body["model"],
        }
        self._with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._opening = json.dumps(self._head | {"object": "chat.completion.chunk"})[:-1]
        self._text: list[str] = []
        self._calls: list[dict[str, Any]] = []
        self._finished = TurnFinished("stop")

    def start(self) -> str:
        """The frame that comes before everything else."""
        return self._chunk('{"role":"assistant","content":""}')

    def frames(self, event: ModelEvent) -> str:
        """The frames for an event of the model; the last one's end the stream."""
        match event:
            case TextDelta(text):
                self._text.append(text)
                return self._chunk(f'{{"content":{json.dumps(text)}}}')
            case CallStarted(index, call_id, name):
                function = {"name": name, "arguments": ""}
                self._calls.append({"id": call_id, "type": "function", "function": dict(function)})
                call = {"index": index, "id": call_id, "type": "function", "function": function}
                return self._chunk(json.dumps({"tool_calls": [call]}))
            case ArgumentsDelta(index, delta):
                self._calls[index]["function"]["arguments"] += delta
                more = f'{{"index":{index},"function":{{"arguments":{json.dumps(delta)}}}}}'
                return self._chunk(f'{{"tool_calls":[{more}]}}')
            case TurnFinished():
                return self._finish(event)

    def failed(self, error: UpstreamError) -> str:
        """The frame for an error that comes after the stream has begun."""
        told = {"message": str(error), "type": error.code, "param": None, "code": error.code}
        return f"data: {json.dumps({'error': told})}\n\n"

    def answer(self) -> dict[str, Any]:
        """The completion object, once the model has finished."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": "".join(self._text) or None,
            "refusal": None,
        }
        if self._calls:
            message["tool_calls"] = self._calls
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": self._finished.reason,
        }
        usage = _usage(self._finished.usage)
        return self._head | {"object": "chat.completion", "choices": [choice], "usage": usage}

    def _chunk(self, delta: str, reason: str = "null") -> str:
        choice = f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{reason}}}'
        return f'data: {self._opening},"choices":[{choice}]}}\n\n'

    def _finish(self, finished: TurnFinished) -> str:
        self._finished = finished
        frames = self._chunk("{}", f'"{finished.reason}"')
        if self._with_usage:
            usage = json.dumps(_usage(finished.usage))
            frames += f'data: {self._opening},"choices":[],"usage":{usage}}}\n\n'
        return frames + "data: [DONE]\n\n"


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens": usage.completion_tokens,
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
