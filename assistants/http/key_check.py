"""Asks each request for its key, and counts it against the key's limit."""

from collections.abc import Iterator, Mapping

from starlette.types import Scope

from lockstitch.assistants import refusals
from lockstitch.assistants.http.caller import Caller, introduce
from lockstitch.assistants.http.keyring import Keyring
from lockstitch.assistants.http.rate_limits import LimitState, RateLimits
from lockstitch.assistants.http.request_headers import header_values

_SCOPE_KEY = "lockstitch.limit"


class KeyCheck:
    """Lets those in who have a key, where keys are asked for."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._limits = RateLimits()

    def __repr__(self) -> str:
        return f"KeyCheck({self._keyring!r})"

    async def admit(self, scope: Scope) -> None:
        """Take note of who makes a request; raises `ApiError` (401, 429) and `StoreUnavailable`."""
        caller = await self._keyring.caller(_key(scope))
        introduce(scope, caller)
        if caller.key_id is not None and caller.rate_limit is not None:
            self._count(scope, caller.key_id, caller.rate_limit)

    def _count(self, scope: Scope, key_id: str, limit: int) -> None:
        state = scope[_SCOPE_KEY] = self._limits.count(key_id, limit)
        if state.wait_seconds:
            raise refusals.rate_limited(limit, state.wait_seconds)

    def limit_headers(self, scope: Scope) -> Mapping[str, str]:
        """Return the headers that tell where the key of a request stands, if it has a limit."""
        state: LimitState | None = scope.get(_SCOPE_KEY)
        return {} if state is None else state.headers()

    async def note_use(self, caller: Caller) -> None:
        """Take note that a key is used."""
        await self._keyring.note_use(caller)


def _key(scope: Scope) -> str | None:
    """Return the key that the request has; raises `ApiError` where it has several."""
    found = set(_keys(scope))
    if len(found) > 1:
        raise refusals.several_keys()
    return found.pop() if found else None


def _keys(scope: Scope) -> Iterator[str]:
    for value in header_values(scope, b"authorization"):
        scheme, _, key = value.strip().partition(" ")
        if scheme.lower() == "bearer" and key.strip():
            yield key.strip()
    for value in header_values(scope, b"api-key"):
        if value.strip():
            yield value.strip()
