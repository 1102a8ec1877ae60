"""Reads the heads of HTTP requests: only so much of one, and only for so long."""

import asyncio
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lockstitch.assistants import refusals
from lockstitch.assistants.http.joined_writes import JoinedWrites
from lockstitch.errors import ApiError

MAX_HEAD_BYTES = 32 * 1024
"""Of the target and the headers of one request."""


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself takes heads of any size and waits for them without end.

    What cannot be read is refused in the API's form, and the connection closed.
    """

    patience = timedelta(seconds=30)
    """For one head: from the connection on, or from the first byte that follows another request."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._timer: asyncio.TimerHandle | None = None
        self._refusal: ApiError | None = None
        self._in_head = False
        self._ended_in_piece = False  # a request, in the piece that is being read
        self._in_large_piece = False
        self._bytes_received = 0  # of this head, in pieces that have nothing else in them

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self.transport = JoinedWrites(transport, self.loop)  # type: ignore[assignment]  # all that uvicorn calls of one
        self._begin_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._end_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and see whether that ends in the middle of a head."""
        self._ended_in_piece, self._in_large_piece = False, len(data) > MAX_HEAD_BYTES
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if not self._ended_in_piece:
            self._bytes_received += len(data)
        if self._bytes_received > MAX_HEAD_BYTES:
            self._refuse(refusals.head_too_large(MAX_HEAD_BYTES))
        elif self._timer is None:
            self._begin_timer()

    def on_message_begin(self) -> None:
        """Begin with a head."""
        self._in_head, self._bytes_received = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin with the request."""
        # What came in pieces was counted piece by piece; one piece may be too large by itself.
        if self._in_large_piece and self._head_bytes() > MAX_HEAD_BYTES:
            self._refusal = refusals.head_too_large(MAX_HEAD_BYTES)
            raise self._refusal  # the parser stops, and `send_400_response` follows
        self._in_head = False
        self._end_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End one request; what follows in the same piece belongs to the next."""
        self._ended_in_piece = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read."""
        self._refuse(self._refusal or refusals.not_http())

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _begin_timer(self) -> None:
        self._timer = self.loop.call_later(self.patience.total_seconds(), self._lose_patience)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lose_patience(self) -> None:
        self._timer = None
        if self._in_head:
            self._refuse(refusals.head_too_slow())
        else:
            self.transport.close()

    def _refuse(self, error: ApiError) -> None:
        being_answered = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if not self.transport.is_closing() and not being_answered:
            body = to_json(error.body(), indent=2)
            head = (
                f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
                "content-type: application/json\r\n"
                f"content-length: {len(body)}\r\n"
                "connection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()


def guarded_protocol(patience: timedelta) -> type[asyncio.Protocol]:
    """Return the protocol that waits so long for each head."""
    return type("GuardedProtocol", (GuardedProtocol,), {"patience": patience})
