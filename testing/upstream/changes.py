"""Waiting for a fact instead of for time."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

Fact = TypeVar("Fact")


class Changes:
    """Wakes whoever waits for something, each time anything has changed."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def tell(self) -> None:
        """Let everybody who waits look again."""
        waited, self._next = self._next, asyncio.Event()
        waited.set()

    async def until(self, find: Callable[[], Fact | None]) -> Fact:
        """Return what ``find`` finds, as soon as it is not ``None``."""
        while (found := find()) is None:
            await self._next.wait()
        return found
