"""Tells Temporal that an activity lives for as long as it runs, and so learns when it was cancelled."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from temporalio import activity


@contextmanager
def heartbeats() -> Iterator[None]:
    """Send a heartbeat four times in each heartbeat timeout, while the body runs."""
    timeout = activity.info().heartbeat_timeout
    if timeout is None:
        yield
        return
    beating = _Beating(timeout.total_seconds() / 4)
    try:
        yield
    finally:
        beating.stop()


class _Beating:
    """A timer rather than a task, for most activities end before the first beat."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._beat)

    def _beat(self) -> None:
        activity.heartbeat()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._beat)

    def stop(self) -> None:
        self._timer.cancel()
