"""Asks each request for its key, and counts it against the key's limit."""

from collections.abc import Iterator

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockstitch import telemetry
from lockstitch.assistants import refusals
from lockstitch.assistants.http.answers import error_answer
from lockstitch.assistants.http.caller import Caller, introduce
from lockstitch.assistants.http.entrance import path_of
from lockstitch.assistants.http.keyring import Keyring
from lockstitch.assistants.http.rate_limits import RateLimits
from lockstitch.assistants.http.request_headers import header_values
from lockstitch.errors import ApiError, StoreUnavailable

_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_OPEN_FOLDER = "/decisions/"
"""Decision links are signed: whoever has one may decide."""


class KeyCheck:
    """Lets those in who have a key, where keys are asked for."""

    def __init__(self, app: ASGIApp, keyring: Keyring) -> None:
        self._app = app
        self._keyring = keyring
        self._limits = RateLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or have it answered."""
        if scope["type"] != "http" or _is_open(path_of(scope)):
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._keyring.caller(_key(scope))
        except ApiError as error:
            await error_answer(error)(scope, receive, send)
        except StoreUnavailable as error:
            telemetry.log.error("store_unavailable", error=str(error))
            await error_answer(refusals.store_unavailable())(scope, receive, send)
        else:
            introduce(scope, caller)
            await self._answer(caller, scope, receive, send)
            await self._keyring.note_use(caller)

    async def _answer(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        if caller.key_id is None or caller.rate_limit is None:
            await self._app(scope, receive, send)
            return
        state = self._limits.count(caller.key_id, caller.rate_limit)

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message["headers"]).update(state.headers())
            await send(message)

        if state.wait_seconds:
            refused = refusals.rate_limited(caller.rate_limit, state.wait_seconds)
            await error_answer(refused)(scope, receive, send_with_limits)
        else:
            await self._app(scope, receive, send_with_limits)


def _is_open(path: str) -> bool:
    return path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER)


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
