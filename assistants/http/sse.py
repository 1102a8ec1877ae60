"""Event streams: what stands in a run's event log, and what is added to it while the client reads."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

from pydantic_core import to_json
from starlette.responses import StreamingResponse

from lockstitch import telemetry
from lockstitch.assistants import objects, refusals
from lockstitch.assistants.store import event_log
from lockstitch.assistants.store.event_feed import EventFeed
from lockstitch.assistants.store.event_log import LoggedEvent
from lockstitch.errors import ApiError, StoreUnavailable

PING_SECONDS = 15.0
"""A stream on which nothing happens sends a comment so often: proxies cut what is silent for a minute."""

ENDS = frozenset(f"thread.run.{status}" for status in objects.ENDED) | {event_log.ERROR}
"""The events after which nothing comes any more."""

STOPS = ENDS | {"thread.run.requires_action"}
"""The events after which a run does nothing until it is told to."""

# No empty line: the openai SDK takes one after an event that had an id for another event, and cannot read it.
_PING = b": ping\n"
_DONE = b"event: done\ndata: [DONE]\n\n"
_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}

# Line breaks to some readers of streams, and nothing special to JSON.
_LINE_BREAKS = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


def event_stream(
    feed: EventFeed, run_id: str, after: int, last: frozenset[str], *, ping_seconds: float = PING_SECONDS
) -> StreamingResponse:
    """Stream the run's events that follow number ``after``, up to the first whose name is in ``last``.

    A client that goes away ends the stream and nothing else.
    """
    return _answer(_frames(feed, run_id, after, last, ping_seconds))


def ended_stream() -> StreamingResponse:
    """Stream nothing but the end, for a client that has read everything."""
    return _answer(_only_the_end())


def _answer(frames: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(frames, media_type="text/event-stream", headers=_HEADERS)


async def _only_the_end() -> AsyncIterator[bytes]:
    yield _DONE


async def _frames(
    feed: EventFeed, run_id: str, after: int, last: frozenset[str], ping_seconds: float
) -> AsyncGenerator[bytes, None]:
    connected_at = time.time()
    with telemetry.OPEN_STREAMS.track_inprogress():
        try:
            async with aclosing(feed.batches(run_id, after, idle_timeout=ping_seconds)) as batches:
                async for batch in batches:
                    until = next((at for at, logged in enumerate(batch, 1) if logged.event in last), None)
                    frames = _encode(batch[:until]) if batch else _PING
                    _measure(batch[:until], connected_at)
                    if until is not None:
                        yield frames + _DONE
                        return
                    yield frames
            yield _error_frame(refusals.server_stopping())
        except StoreUnavailable as error:
            telemetry.log.error("stream_broken", run_id=run_id, error=str(error))
            yield _error_frame(refusals.store_unavailable())


def _measure(batch: Sequence[LoggedEvent], connected_at: float) -> None:
    """Take note of how long the first event of a batch, which waited longest, took to reach a client that waited."""
    written = next((logged.recorded_at for logged in batch if (logged.recorded_at or 0) >= connected_at), None)
    if written is not None:
        telemetry.STREAM_LAG.observe(max(time.time() - written, 0.0))  # clocks of two machines may differ


def _encode(events: Sequence[LoggedEvent]) -> bytes:
    return "".join([_frame(logged) for logged in events]).encode()


def _frame(logged: LoggedEvent) -> str:
    data = logged.data if logged.data.isascii() else logged.data.translate(_LINE_BREAKS)
    attempt = f"attempt: {logged.attempt}\n" if logged.attempt > 1 else ""
    return f"event: {logged.event}\nid: {logged.seq}\n{attempt}data: {data}\n\n"


def _error_frame(error: ApiError) -> bytes:
    # Readers look for the object under "error"; the bare object, as the description has it, they misread.
    return b"event: error\ndata: " + to_json(error.body()) + b"\n\n"
