"""A model turn over Chat Completions: the request, and what its stream's chunks mean."""

from collections.abc import Iterator, Mapping
from typing import Any

from lockstitch.assistants.model.call_ids import random_call_id
from lockstitch.assistants.model.stream_errors import error_in_stream, stream_broke_off
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    FinishReason,
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

_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "content_filter": "content_filter",
}


def chat_request(turn: ModelTurn) -> dict[str, Any]:
    """The body of ``POST /chat/completions`` without ``stream``: what the turn sets and nothing else."""
    request: dict[str, Any] = {
        "model": turn.model,
        "messages": list(_messages(turn)),
        "stream_options": {"include_usage": True},
        "temperature": turn.temperature,
        "top_p": turn.top_p,
        "max_completion_tokens": turn.max_completion_tokens,
        "reasoning_effort": turn.reasoning_effort,
        "response_format": _format(turn.response_format),
    }
    if turn.tools:
        choice = turn.tool_choice_now
        request["tools"] = [_tool(tool) for tool in turn.tools]
        request["tool_choice"] = _choice(choice) if choice != "auto" else None
        request["parallel_tool_calls"] = None if turn.parallel_tool_calls else False
    return {key: value for key, value in request.items() if value is not None}


def _messages(turn: ModelTurn) -> Iterator[dict[str, Any]]:
    if turn.instructions:
        yield {"role": "system", "content": turn.instructions}
    for message in turn.messages:
        yield _message(message)
    for tool_round in turn.rounds:
        yield from _round(tool_round)


def _message(message: Message) -> dict[str, Any]:
    """A message; an assistant's has text only, the API takes no images from it."""
    if message.role == "assistant" or not message.has_images:
        return {"role": message.role, "content": message.text_only}
    return {"role": message.role, "content": [_part(part) for part in message.content]}


def _part(part: str | ImagePart) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        return {"type": "image_url", "image_url": {"url": part.url, "detail": part.detail}}
    return {"type": "text", "text": part}


def _round(tool_round: ToolRound) -> Iterator[dict[str, Any]]:
    calls = [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for call in tool_round.calls
    ]
    yield {"role": "assistant", "content": None, "tool_calls": calls}
    for call in tool_round.calls:
        yield {"role": "tool", "tool_call_id": call.call_id, "content": call.output}


def _tool(tool: FunctionTool) -> dict[str, Any]:
    """A tool; servers that know no ``strict`` are not bothered with it."""
    function: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function | ({"strict": True} if tool.strict else {})}


def _choice(choice: str | NamedFunction) -> str | dict[str, Any]:
    if isinstance(choice, NamedFunction):
        return {"type": "function", "function": {"name": choice.name}}
    return choice


def _format(response_format: str | dict[str, Any]) -> dict[str, Any] | None:
    if isinstance(response_format, str) or response_format.get("type") == "text":
        return None
    return response_format


class ChatReader:
    """Reads one stream of Chat Completions; keeps what it needs to know about the chunks before."""

    def __init__(self) -> None:
        self._reason: str | None = None
        self._usage = Usage()
        self._refused = False
        self._calls: list[tuple[Any, str]] = []
        """The upstream's index and id of each call, at our index."""

    def read(self, chunk: Any) -> Iterator[ModelEvent]:
        """What a chunk of the SDK means; it may be the one without choices that has the usage."""
        if chunk.usage:
            self._usage = _usage(chunk.usage)
        for choice in (chunk.choices or ())[:1]:
            self._reason = choice.finish_reason or self._reason
            delta = choice.delta
            for text in (getattr(delta, "content", None), getattr(delta, "refusal", None)):
                if text:
                    yield TextDelta(text)
            self._refused |= bool(getattr(delta, "refusal", None))
            for call in getattr(delta, "tool_calls", None) or ():
                yield from self._call(call)

    @property
    def complete(self) -> bool:
        """Whether a reason to finish has come; the usage may still follow."""
        return self._reason is not None

    def finish(self) -> TurnFinished:
        """What the end of the stream means; `UpstreamError` if no reason to finish had come."""
        if self._reason is None:
            raise stream_broke_off()
        if self._reason not in _REASONS:
            raise error_in_stream(f"The model's answer ended with {self._reason!r}.", self._reason)
        reason = _REASONS[self._reason]
        # For a function that tool_choice names, OpenAI says "stop"; so do some servers for every call.
        reason = "tool_calls" if reason == "stop" and self._calls else reason
        return TurnFinished(reason, self._usage, refused=self._refused)

    def _call(self, call: Any) -> Iterator[ModelEvent]:
        index = self._index(call.index, call.id)
        if index is None:
            index = len(self._calls)
            call_id = call.id or random_call_id()
            self._calls.append((call.index, call_id))
            yield CallStarted(index, call_id, getattr(call.function, "name", None) or "")
        arguments = getattr(call.function, "arguments", None)
        if arguments:
            yield ArgumentsDelta(index, arguments)

    def _index(self, upstream_index: Any, call_id: str | None) -> int | None:
        """Our index of the call that a delta continues; None if it begins one.

        Some servers give each of several calls the index 0, or none: then the id tells them apart.
        """
        for index in reversed(range(len(self._calls))):
            known_index, known_id = self._calls[index]
            if known_index == upstream_index and call_id in (None, "", known_id):
                return index
        return None


def _usage(usage: Any) -> Usage:
    return Usage(
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=usage.completion_tokens or 0,
        cached_tokens=getattr(usage.prompt_tokens_details, "cached_tokens", None) or 0,
        reasoning_tokens=getattr(usage.completion_tokens_details, "reasoning_tokens", None) or 0,
    )
