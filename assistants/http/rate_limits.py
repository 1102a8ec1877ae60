"""How many requests each key may make: a token bucket for each, in this process."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LimitState:
    """Where a key stands after a request; ``wait_seconds`` is zero for a request that may be made."""

    limit: int
    remaining: int
    reset_seconds: float
    """Until the key has made no request that counts any more."""
    wait_seconds: float = 0.0

    def headers(self) -> dict[str, str]:
        """Return the API's headers."""
        return {
            "x-ratelimit-limit-requests": str(self.limit),
            "x-ratelimit-remaining-requests": str(self.remaining),
            "x-ratelimit-reset-requests": _duration(self.reset_seconds),
        }


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class RateLimits:
    """Counts requests; ``clock`` tells seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def count(self, key_id: str, limit: int) -> LimitState:
        """Count one request of a key that may make ``limit`` requests per minute, all at once or spread out."""
        now, per_second = self._clock(), limit / 60
        bucket = self._buckets.setdefault(key_id, _Bucket(limit, now))
        bucket.tokens = min(limit, bucket.tokens + (now - bucket.filled_at) * per_second)
        bucket.filled_at = now
        wait = 0.0
        if bucket.tokens >= 1:
            bucket.tokens -= 1
        else:
            wait = (1 - bucket.tokens) / per_second
        return LimitState(limit, math.floor(bucket.tokens), (limit - bucket.tokens) / per_second, wait)


def _duration(seconds: float) -> str:
    """Return a duration as the API writes it: ``20ms``, ``1.5s``, ``6m0s``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(round(seconds, 3), 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"
