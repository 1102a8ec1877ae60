"""How many streams are open: of this process, and of each key."""

from collections import Counter

from starlette.requests import Request
from starlette.types import Scope

from lockstitch.assistants import refusals
from lockstitch.assistants.http.caller import caller_of

_SCOPE_KEY = "lockstitch.stream"


class OpenStreams:
    """Lets a request have a stream for as long as it is answered, while there are not too many."""

    def __init__(self, *, most: int = 5000, most_per_key: int = 1000) -> None:
        self._most = most
        self._most_per_key = most_per_key
        self._by_key: Counter[str | None] = Counter()

    def __repr__(self) -> str:
        return f"OpenStreams({self._by_key.total()} of {self._most})"

    def admit(self, request: Request) -> None:
        """Let the request have a stream; raises `ApiError` (429 or 503), before anything is changed for it."""
        key_id = caller_of(request).key_id
        if key_id is not None and self._by_key[key_id] >= self._most_per_key:
            raise refusals.too_many_streams(self._most_per_key)
        if self._by_key.total() >= self._most:
            raise refusals.server_has_too_many_streams()
        self._by_key[key_id] += 1
        request.scope[_SCOPE_KEY] = key_id

    def release(self, scope: Scope) -> None:
        """Give back what a request had, if anything: it is answered, or its client is gone."""
        if _SCOPE_KEY in scope:
            key_id = scope.pop(_SCOPE_KEY)
            self._by_key[key_id] -= 1
            if not self._by_key[key_id]:
                del self._by_key[key_id]
