"""Waiting for a fact instead of for time."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Fact = TypeVar("Fact")


class Changes:
    """Wakes whoever waits for something, each time anything has changed; in whatever event loop they wait."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def tell(self) -> None:
        """Let everybody who waits look again."""
        waiting, self._waiting = self._waiting, []
        here = _running_loop()
        for waiter in waiting:
            loop = waiter.get_loop()
            if loop is here:
                _wake(waiter)
            else:
                with suppress(RuntimeError):  # that loop is closed, and nobody waits in it any more
                    loop.call_soon_threadsafe(_wake, waiter)

    async def until(self, find: Callable[[], Fact | None]) -> Fact:
        """Return what ``find`` finds, as soon as it is not ``None``."""
        while True:
            # Told first and looked afterwards, so that no change falls between the two.
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                if (found := find()) is not None:
                    return found
                await waiter
            finally:
                with suppress(ValueError):
                    self._waiting.remove(waiter)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
