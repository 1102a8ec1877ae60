"""Sends the head and the body of an answer together: each packet costs the server a call and wakes the client."""

import asyncio
from typing import Any

MOST_BYTES = 16 * 1024
"""What is larger is sent at once, so that whoever writes without a pause learns when the client does not keep up."""


class JoinedWrites:
    """A transport that sends small pieces which are written in one turn of the event loop together, at its end."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []

    def __repr__(self) -> str:
        return f"JoinedWrites({self._transport!r})"

    def write(self, data: bytes) -> None:
        """Send data before the event loop waits again."""
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)
        if len(data) > MOST_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._written:
            self._transport.write(b"".join(self._written))
            self._written.clear()

    def close(self) -> None:
        """Send what was written, then close."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether the connection is gone or about to be."""
        return self._transport.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
