"""How slowly a client may send the body of a request."""

import asyncio
import time

from starlette.types import Message, Receive, Scope

from lockstitch.assistants import refusals

SLOWEST_BYTES_PER_SECOND = 1024

_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


def paced(scope: Scope, receive: Receive, patience: float) -> Receive:
    """Return ``receive`` for a request whose body may take ``patience`` seconds and what its size takes.

    Where it takes longer, the one that is returned raises `ApiError`. Only the time counts in which the server waits
    for the client.
    """
    return _Paced(receive, patience) if scope["method"] in _WITH_BODY else receive


class _Paced:
    """Receives one body; raises `ApiError` (408) where it comes too slowly."""

    def __init__(self, receive: Receive, patience: float) -> None:
        self._receive = receive
        self._seconds_left = patience
        self._complete = False

    async def __call__(self) -> Message:
        if self._complete:  # what is waited for now is that the client goes away
            return await self._receive()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._seconds_left):
                message = await self._receive()
        except TimeoutError:
            self._complete = True
            raise refusals.too_slow() from None
        self._seconds_left -= time.monotonic() - began
        self._seconds_left += len(message.get("body", b"")) / SLOWEST_BYTES_PER_SECOND
        self._complete = not message.get("more_body", False)
        return message
