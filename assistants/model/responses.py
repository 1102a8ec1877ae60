"""A model turn over the Responses API: the request, and what its stream's events mean.

Nothing is stored upstream (``store`` is false): the whole turn travels in the request.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

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

_INCOMPLETE: Mapping[str, FinishReason] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}


def responses_request(turn: ModelTurn) -> dict[str, Any]:
    """The body of ``POST /responses`` without ``stream``: what the turn sets and nothing else."""
    request: dict[str, Any] = {
        "model": turn.model,
        "input": [*map(_message, turn.messages), *(item for each in turn.rounds for item in _round(each))],
        "store": False,
        "instructions": turn.instructions or None,
        "temperature": turn.temperature,
        "top_p": turn.top_p,
        "max_output_tokens": turn.max_completion_tokens,
        "reasoning": {"effort": turn.reasoning_effort} if turn.reasoning_effort else None,
        "text": _text(turn.response_format),
    }
    if turn.tools:
        choice = turn.tool_choice_now
        request["tools"] = [_tool(tool) for tool in turn.tools]
        request["tool_choice"] = _choice(choice) if choice != "auto" else None
        request["parallel_tool_calls"] = None if turn.parallel_tool_calls else False
    return {key: value for key, value in request.items() if value is not None}


def _message(message: Message) -> dict[str, Any]:
    """A message as an input item; an assistant's has text only, the API takes no images from it."""
    if message.role == "assistant" or not message.has_images:
        return {"role": message.role, "content": message.text_only}
    return {"role": message.role, "content": [_part(part) for part in message.content]}


def _part(part: str | ImagePart) -> dict[str, Any]:
    if isinstance(part, ImagePart):
        return {"type": "input_image", "image_url": part.url, "detail": part.detail}
    return {"type": "input_text", "text": part}


def _round(tool_round: ToolRound) -> Iterator[dict[str, Any]]:
    for call in tool_round.calls:
        yield {
            "type": "function_call",
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments,
        }
    for call in tool_round.calls:
        yield {"type": "function_call_output", "call_id": call.call_id, "output": call.output}


def _tool(tool: FunctionTool) -> dict[str, Any]:
    """A tool; without ``strict`` the API would take it as strict."""
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }


def _choice(choice: str | NamedFunction) -> str | dict[str, Any]:
    return {"type": "function", "name": choice.name} if isinstance(choice, NamedFunction) else choice


def _text(response_format: str | dict[str, Any]) -> dict[str, Any] | None:
    match response_format:
        case {"type": "json_schema", "json_schema": dict(schema)}:
            return {"format": {"type": "json_schema", **schema}}
        case {"type": "json_object"}:
            return {"format": {"type": "json_object"}}
    return None


class ResponsesReader:
    """Reads one stream of the Responses API; keeps what it needs to know about the events before."""

    def __init__(self) -> None:
        self._calls: dict[int, int] = {}
        """Our index of the call at an output index."""
        self._received: defaultdict[tuple[Any, ...], int] = defaultdict(int)
        """Characters received of each text and each call's arguments."""
        self._last_text: int | None = None
        self._refused = False
        self._finished: TurnFinished | None = None
        self._readers: Mapping[str, Callable[[Any], Iterable[ModelEvent]]] = {
            "response.output_text.delta": self._text_delta,
            "response.output_text.done": self._text_done,
            "response.refusal.delta": self._refusal_delta,
            "response.refusal.done": self._refusal_done,
            "response.output_item.added": self._item,
            "response.output_item.done": self._item,
            "response.function_call_arguments.delta": self._arguments_delta,
            "response.function_call_arguments.done": self._arguments_done,
            "response.completed": self._completed,
            "response.incomplete": self._incomplete,
            "response.failed": self._failed,
            "error": self._error,
        }

    def read(self, event: Any) -> Iterable[ModelEvent]:
        """What an event of the SDK means; `UpstreamError` if it reports one.

        Goes by ``type`` and not by class: the SDK gives an event that it does not know some other class.
        """
        reader = self._readers.get(event.type)
        return reader(event) if reader else ()

    @property
    def complete(self) -> bool:
        """Whether the finishing event has come."""
        return self._finished is not None

    def finish(self) -> TurnFinished:
        """What the end of the stream means; `UpstreamError` if no finishing event had come."""
        if self._finished is None:
            raise stream_broke_off()
        return self._finished

    def _text_delta(self, event: Any) -> Iterator[ModelEvent]:
        yield from self._text_more(event, event.delta)

    def _text_done(self, event: Any) -> Iterator[ModelEvent]:
        """What a server that sends no deltas, or too few, has left out."""
        whole = getattr(event, "text", None) or getattr(event, "refusal", None) or ""
        yield from self._text_more(event, whole[self._received[event.output_index, event.content_index] :])

    def _refusal_delta(self, event: Any) -> Iterator[ModelEvent]:
        self._refused = True
        yield from self._text_delta(event)

    def _refusal_done(self, event: Any) -> Iterator[ModelEvent]:
        self._refused = True
        yield from self._text_done(event)

    def _text_more(self, event: Any, text: str) -> Iterator[ModelEvent]:
        if not text:
            return
        if self._last_text not in (None, event.output_index):
            yield TextDelta("\n\n")  # a second message of the same answer
        self._last_text = event.output_index
        self._received[event.output_index, event.content_index] += len(text)
        yield TextDelta(text)

    def _item(self, event: Any) -> Iterator[ModelEvent]:
        item = event.item
        if item.type != "function_call":
            return
        if event.output_index not in self._calls:
            index = self._calls[event.output_index] = len(self._calls)
            yield CallStarted(index, item.call_id or item.id, item.name)
        yield from self._arguments_rest(event.output_index, item.arguments or "")

    def _arguments_delta(self, event: Any) -> Iterator[ModelEvent]:
        yield from self._arguments_more(event.output_index, event.delta)

    def _arguments_done(self, event: Any) -> Iterator[ModelEvent]:
        yield from self._arguments_rest(event.output_index, event.arguments or "")

    def _arguments_rest(self, output_index: int, whole: str) -> Iterator[ModelEvent]:
        yield from self._arguments_more(output_index, whole[self._received[(output_index,)] :])

    def _arguments_more(self, output_index: int, text: str) -> Iterator[ModelEvent]:
        if text and output_index in self._calls:
            self._received[(output_index,)] += len(text)
            yield ArgumentsDelta(self._calls[output_index], text)

    def _completed(self, event: Any) -> Iterable[ModelEvent]:
        reason: FinishReason = "tool_calls" if self._calls else "stop"
        self._finished = TurnFinished(reason, _usage(event.response.usage), refused=self._refused)
        return ()

    def _incomplete(self, event: Any) -> Iterable[ModelEvent]:
        reason = str(getattr(event.response.incomplete_details, "reason", None))
        if reason not in _INCOMPLETE:
            raise error_in_stream(f"The model's answer is incomplete: {reason}.", None)
        self._finished = TurnFinished(_INCOMPLETE[reason], _usage(event.response.usage))
        return ()

    def _failed(self, event: Any) -> Iterable[ModelEvent]:
        error = event.response.error
        raise error_in_stream(getattr(error, "message", None), getattr(error, "code", None))

    def _error(self, event: Any) -> Iterable[ModelEvent]:
        raise error_in_stream(event.message, event.code)


def _usage(usage: Any) -> Usage:
    if usage is None:
        return Usage()
    return Usage(
        prompt_tokens=usage.input_tokens or 0,
        completion_tokens=usage.output_tokens or 0,
        cached_tokens=getattr(usage.input_tokens_details, "cached_tokens", None) or 0,
        reasoning_tokens=getattr(usage.output_tokens_details, "reasoning_tokens", None) or 0,
    )
