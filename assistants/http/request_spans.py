"""One span for each request to the API; a caller's ``traceparent`` is continued."""

from starlette.types import Message, Receive, Scope, Send

from lockstitch import tracing
from lockstitch.assistants.http.api import Api

_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


class TracedApi:
    """The API with spans around its requests; a probe of the process has none."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        route = self._api.route_of(scope)
        if route in _PROBES:
            await self._api(scope, receive, send)
            return
        method = scope["method"]
        # Never the path itself: it may hold the token of a decision link.
        told: dict[str, tracing.Value] = {"http.request.method": method, "http.route": route}
        caller = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with tracing.span(f"{method} {route}", told, kind="server", caller=caller) as span:

            async def told_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attributes({"http.response.status_code": message["status"]})
                await send(message)

            await self._api(scope, receive, told_send)
