"""Sessions kept ready: importing the packages that analyses begin with takes longer than most analyses."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from lockstitch.errors import SandboxUnavailable
from lockstitch.sandbox.session import KernelSession


class WarmPool:
    """So many sessions in which no code has run yet; each is taken once, and another one is started for it."""

    def __init__(self, open_session: Callable[[], Awaitable[KernelSession]], size: int) -> None:
        self._open_session = open_session
        self._size = size
        self.ready: deque[KernelSession] = deque()
        self._starting: set[asyncio.Task[None]] = set()
        self._closed = False

    def __repr__(self) -> str:
        return f"WarmPool(ready={len(self.ready)}, starting={len(self._starting)}, size={self._size})"

    def fill(self) -> None:
        """Start what is missing, in the background."""
        if self._closed:
            return
        for _ in range(self._size - len(self.ready) - len(self._starting)):
            task = asyncio.create_task(self._start())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def filled(self) -> None:
        """Wait until nothing is being started."""
        while self._starting:
            await asyncio.wait(self._starting)

    def take(self) -> KernelSession | None:
        """Return a session that is ready, None where there is none yet."""
        while self.ready and self.ready[0].is_lost:  # killed from outside, say for want of memory
            self.ready.popleft()
        session = self.ready.popleft() if self.ready else None
        self.fill()
        return session

    async def aclose(self) -> None:
        """End all of them; may be called twice."""
        self._closed = True
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        await asyncio.gather(*(session.aclose() for session in self.ready))
        self.ready.clear()

    async def _start(self) -> None:
        try:
            session = await self._open_session()
        except SandboxUnavailable:
            return  # whoever opens a session gets the same error and can tell somebody
        self.ready.append(session)
