"""Reads the server-sent events of an answer, all that arrived together at a time.

The SDK hands events on one by one through four generators, which takes longer than everything else that is done with
a small event such as a token.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import openai
from pydantic_core import from_json

from lockstitch.assistants.model.stream_errors import error_in_stream, stream_broke_off
from lockstitch.errors import UpstreamError

_END_OF_EVENT = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_END_OF_LINE = re.compile(rb"\r\n|\n|\r")
_DONE = b"[DONE]"


async def event_batches(response: httpx2.Response) -> AsyncIterator[list[dict[str, Any]]]:
    """Yield the data of the events as JSON objects, to the end of the body, so that the connection can be used again.

    Raises `UpstreamError` for an error that comes as an event and for an event that cannot be read, and the SDK's
    `APIConnectionError` where the connection breaks.
    """
    pending, wrong = b"", None
    try:
        async for piece in response.aiter_bytes():
            *events, pending = _END_OF_EVENT.split(pending + piece)
            batch, wrong = _read(events)
            if batch:
                yield batch
            if wrong is not None:
                raise wrong
        batch, wrong = _read([pending])
        if batch:
            yield batch
    except httpx2.TimeoutException as error:
        raise openai.APITimeoutError(request=response.request) from error
    except httpx2.HTTPError as error:
        raise openai.APIConnectionError(request=response.request) from error
    if wrong is not None:
        raise wrong


def _read(events: list[bytes]) -> tuple[list[dict[str, Any]], UpstreamError | None]:
    """Return what can be read, and what is wrong with the event after it."""
    batch: list[dict[str, Any]] = []
    for event in events:
        data = _data(event)
        if not data or data.startswith(_DONE):
            continue
        try:
            read = from_json(data)
        except ValueError:
            return batch, stream_broke_off()
        if not isinstance(read, dict):
            return batch, stream_broke_off()
        if told := read.get("error"):
            said = told if isinstance(told, dict) else {}
            return batch, error_in_stream(said.get("message"), said.get("code"), said.get("type"))
        batch.append(read)
    return batch, None


def _data(event: bytes) -> bytes:
    """Return the data of one event; most have one line of it."""
    lines = _END_OF_LINE.split(event)
    found = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    return found[0] if len(found) == 1 else b"\n".join(found)
