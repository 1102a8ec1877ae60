"""Reads the heads of HTTP requests: only so much of one, and only for so long."""

import asyncio
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from lockstitch.assistants import refusals
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
        self._heads_expected = 0
        self._expect_head()

    def _expect_head(self) -> None:
        self._heads_expected += 1
        self._head_is_read = False
        self._bytes_received = 0  # since then, whatever they are
        self._bytes_of_head = 0  # as far as they are understood
        self._refusal: ApiError | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._begin_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._end_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and see what is left in the middle of a head."""
        expected = self._heads_expected
        super().data_received(data)
        # Where a request ended in this data, most of it may have been its body.
        if self._head_is_read or self._heads_expected > expected or self.transport.is_closing():
            return
        self._bytes_received += len(data)
        if self._bytes_received > MAX_HEAD_BYTES:
            self._refuse(refusals.head_too_large(MAX_HEAD_BYTES))
        elif self._timer is None:
            self._begin_timer()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        self._count(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin with the request."""
        self._head_is_read = True
        self._end_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Be ready for the next head."""
        super().on_message_complete()
        self._expect_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read."""
        self._refuse(self._refusal or refusals.not_http())

    def _count(self, *pieces: bytes) -> None:
        self._bytes_of_head += sum(map(len, pieces))
        if self._bytes_of_head > MAX_HEAD_BYTES:
            self._refusal = refusals.head_too_large(MAX_HEAD_BYTES)
            raise self._refusal  # the parser stops, and `send_400_response` follows

    def _begin_timer(self) -> None:
        self._timer = self.loop.call_later(self.patience.total_seconds(), self._lose_patience)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _lose_patience(self) -> None:
        self._timer = None
        if self._bytes_received:
            self._refuse(refusals.head_too_slow())
        else:
            self.transport.close()

    def _refuse(self, error: ApiError) -> None:
        if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
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
