"""Answers: JSON, errors, event streams, and none."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from lockstitch.errors import ApiError
from lockstitch.testing.upstream.connections import Connections
from lockstitch.testing.upstream.faults import DropStream, FailRequest, Fault, RepeatEvent, StreamError
from lockstitch.testing.upstream.feed import StreamEvent

_DONE = b"event: done\ndata: [DONE]\n\n"


class JsonAnswer(Response):
    """An object as JSON, indented as the API's."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the object."""
        return to_json(content, indent=2)


class NoAnswer(Response):
    """Closes the connection and sends nothing."""

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Close the connection, and wait for it: a server that has no answer by now sends one of its own."""
        self._connections.close(tuple(scope["client"]))
        while (await receive())["type"] != "http.disconnect":
            pass


class StreamBroken(Exception):
    """Leaves a stream unfinished, so that the server closes the connection."""


def api_headers() -> dict[str, str]:
    """The headers that every answer of the API has."""
    return {
        "x-request-id": f"req_{secrets.token_hex(16)}",
        "openai-processing-ms": "1",
        "openai-version": "2020-10-01",
        "openai-organization": "org-lockstitch",
    }


def json_answer(made: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> JsonAnswer:
    """Answer with JSON."""
    return JsonAnswer(made, status, {**api_headers(), **(headers or {})})


def error_answer(error: ApiError) -> JsonAnswer:
    """Answer with an error object."""
    return json_answer(error.body(), error.status, error.headers)


def failed_answer(fault: FailRequest) -> JsonAnswer:
    """Answer as the fault says."""
    kinds = {429: "rate_limit_error", 401: "authentication_error"}
    kind = "server_error" if fault.status >= 500 else kinds.get(fault.status, "invalid_request_error")
    error = ApiError(fault.message, status=fault.status, type=kind, param=fault.param, code=fault.code)
    headers = {
        "retry-after": _seconds(fault.retry_after),
        "retry-after-ms": None if fault.retry_after_ms is None else str(fault.retry_after_ms),
        "x-should-retry": None if fault.should_retry is None else str(fault.should_retry).lower(),
    }
    sent = {name: value for name, value in headers.items() if value is not None}
    return json_answer(error.body() if fault.body is None else fault.body, fault.status, sent)


def _seconds(wait: timedelta | None) -> str | None:
    return None if wait is None else f"{wait.total_seconds():g}"


def stream_answer(events: AsyncGenerator[StreamEvent, None], faults: Sequence[Fault]) -> StreamingResponse:
    """Answer with an event stream to which the faults happen."""
    return StreamingResponse(_frames(events, faults), media_type="text/event-stream", headers=api_headers())


async def _frames(events: AsyncGenerator[StreamEvent, None], faults: Sequence[Fault]) -> AsyncIterator[bytes]:
    cuts = [fault for fault in faults if isinstance(fault, DropStream | StreamError)]
    repeated = [fault.event for fault in faults if isinstance(fault, RepeatEvent)]
    number = 0
    async with aclosing(events):
        while True:
            for cut in cuts:
                if number >= cut.after_events:
                    if isinstance(cut, DropStream):
                        raise StreamBroken
                    yield _error_frame(cut)
                    return
            event = await anext(events, None)
            if event is None:
                break
            number += 1
            frame = f"event: {event.event}\ndata: {event.data}\n\n".encode()
            yield frame
            if again := [which for which in repeated if which in (number, event.event)]:
                repeated.remove(again[0])
                yield frame
    yield _DONE


def _error_frame(fault: StreamError) -> bytes:
    # SDKs look for the object under "error"; the bare object, as the description has it, they misread.
    error = ApiError(fault.message, type="server_error", code=fault.code)
    return b"event: error\ndata: " + to_json(error.body()) + b"\n\n"
