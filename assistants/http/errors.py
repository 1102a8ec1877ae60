"""Whatever goes wrong, in the API's error shape."""

from collections.abc import Iterable

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from lockstitch import telemetry
from lockstitch.assistants import refusals
from lockstitch.assistants.http.answers import error_answer
from lockstitch.errors import ApiError, EmbedderUnavailable, StoreUnavailable


def answer(error: Exception, request_id: str, path: str) -> Response:
    """Answer a request that came to an error; what nobody foresaw is logged with the operation's ``path``."""
    if isinstance(error, ApiError):
        return error_answer(error)
    if isinstance(error, StoreUnavailable):
        telemetry.log.error("store_unavailable", error=str(error))
        return error_answer(refusals.store_unavailable())
    if isinstance(error, EmbedderUnavailable):
        telemetry.log.error("embedder_unavailable", error=str(error))
        return error_answer(refusals.embedder_unavailable())
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody reads it
    telemetry.log.exception("request_failed", request_id=request_id, route=path)
    return error_answer(refusals.server_error(request_id))


def method_not_allowed(method: str, path: str, allowed: Iterable[str]) -> Response:
    """Answer a request with a method that its path does not take."""
    return error_answer(refusals.method_not_allowed(method, path), {"allow": ", ".join(allowed)})
