"""The headers and the metrics of every answer."""

import secrets
import time
from functools import cache

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lockstitch import telemetry
from lockstitch.assistants import refusals
from lockstitch.assistants.http.answers import error_answer

_ALWAYS = ((b"openai-version", b"2020-10-01"), (b"openai-organization", b"lockstitch"))
_METHODS = frozenset({"GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS"})


class AnswerHeaders:
    """Gives each answer the API's headers, counts it, and answers for the server where something broke."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = f"req_{secrets.token_hex(16)}"
        answered = False

        async def send_with_headers(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                took = time.perf_counter() - began
                own = ((b"x-request-id", request_id.encode()), (b"openai-processing-ms", b"%d" % round(took * 1000)))
                message["headers"] = [*message["headers"], *own, *_ALWAYS]
                _count(scope, message["status"], took)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            if answered:
                raise
            # The route and not the path, which may hold the token of a decision link.
            telemetry.log.exception("request_failed", request_id=request_id, route=_route(scope))
            await error_answer(refusals.server_error(request_id))(scope, receive, send_with_headers)


def _count(scope: Scope, status: int, seconds: float) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "unknown"
    requests, durations = _meters(method, _route(scope), status)
    requests.inc()
    durations.observe(seconds)


@cache
def _meters(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Return the metrics of such answers; finding them takes longer than counting."""
    counter: Counter = telemetry.HTTP_REQUESTS.labels(method, route, status)
    histogram: Histogram = telemetry.HTTP_REQUEST_DURATION.labels(method, route)
    return counter, histogram


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", "unknown"))
