"""The events of one run, for every stream that shows them."""

import json
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any, NamedTuple

from lockstitch.assistants.objects import ENDED
from lockstitch.testing.upstream.changes import Changes

STOPS = frozenset({f"thread.run.{status}" for status in ENDED} | {"thread.run.requires_action"})
"""The events with which a stream is over."""


class StreamEvent(NamedTuple):
    """An event as it is sent; ``data`` is JSON, written down when it happened."""

    event: str
    data: str


class RunFeed:
    """What has happened in a run since the server was started."""

    def __init__(self) -> None:
        self._events: list[StreamEvent] = []
        self._changes = Changes()

    def __len__(self) -> int:
        return len(self._events)

    def tell(self, event: str, data: dict[str, Any]) -> None:
        """Add an event."""
        self._events.append(StreamEvent(event, json.dumps(data)))
        self._changes.tell()

    async def after(self, count: int) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events after the first ``count``, up to the first that is one of `STOPS`."""
        while True:
            event = await self._changes.until(partial(self._event, count))
            count += 1
            yield event
            if event.event in STOPS:
                return

    def _event(self, place: int) -> StreamEvent | None:
        return self._events[place] if place < len(self._events) else None
