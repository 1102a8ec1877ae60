"""Server-sent events, read from an HTTP response line by line."""

import json
from collections.abc import AsyncIterable, AsyncIterator

from lockstitch.starter.contract import RunEvent

DONE = "done"
"""The name of the event that closes a stream."""


async def read_events(lines: AsyncIterable[str]) -> AsyncIterator[RunEvent | None]:
    """Yield the events of a stream; ``None`` for the one that says that the run has ended.

    The server gives each event its number as ``id`` and, in a field that other readers skip, its ``attempt``.
    """
    fields: dict[str, str] = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
            continue
        if fields.get("event") == DONE:
            yield None
        elif "data" in fields and fields.get("id", "").isdecimal():
            yield RunEvent(
                seq=int(fields["id"]),
                event=fields.get("event", "message"),
                data=json.loads(fields["data"]),
                attempt=int(fields.get("attempt", "1")),
            )
        fields = {}
