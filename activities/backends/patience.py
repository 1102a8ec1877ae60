"""When a run upstream counts as hanging."""

from collections.abc import Callable
from datetime import timedelta

from lockstitch.activities.backends.base import Patience


class SignsOfLife:
    """Knows since when a run has given no sign of life; ``clock`` tells seconds that only grow."""

    def __init__(self, patience: Patience, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self._since = clock()
        self._last: object = None

    def saw(self, status: str, sign: object) -> None:
        """Take note of a run's status and of whatever changes while it works; in other statuses only they count."""
        sign = (status, sign if status == "in_progress" else None)
        if sign != self._last:
            self._last = sign
            self._since = self._clock()

    def left(self, status: str) -> timedelta:
        """Return how much longer the run may stay as it is."""
        return self._allowed(status) - timedelta(seconds=self._clock() - self._since)

    def problem(self, status: str) -> str:
        """Say what is wrong with a run of which nothing is left to wait for."""
        allowed = spoken(self._allowed(status))
        return f"gave no sign of life for {allowed}." if status == "in_progress" else f"stayed {status} for {allowed}."

    def _allowed(self, status: str) -> timedelta:
        match status:
            case "queued":
                return self._patience.queued
            case "cancelling":
                return self._patience.cancelling
            case _:
                return self._patience.in_progress


def spoken(span: timedelta) -> str:
    """Return a span of time in words."""
    seconds = span.total_seconds()
    count, unit = (seconds / 60, "minute") if seconds >= 60 and seconds % 60 == 0 else (seconds, "second")
    return f"{count:g} {unit}" if count == 1 else f"{count:g} {unit}s"
