"""Whatever goes wrong, in the API's error shape."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match

from lockstitch import telemetry
from lockstitch.assistants import refusals
from lockstitch.assistants.http.answers import error_answer
from lockstitch.errors import ApiError, StoreUnavailable


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - see the table below
    return error_answer(error)


async def _store_is_away(_request: Request, error: Exception) -> Response:
    telemetry.log.error("store_unavailable", error=str(error))
    return error_answer(refusals.store_unavailable())


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - see the table below
    method, path = request.method, request.scope["path"]
    if error.status_code == 405:
        return error_answer(refusals.method_not_allowed(method, path), {"allow": _methods_of(request)})
    if error.status_code == 404:
        return error_answer(refusals.unknown_url(method, path))
    return error_answer(ApiError(error.detail, status=error.status_code), error.headers)


def _methods_of(request: Request) -> str:
    """Return the methods that this path takes; each has a route of its own."""
    path = request.scope["route"].path
    routes = [it for it in request.app.routes if it.path == path and it.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in routes for method in route.methods}
    return ", ".join(sorted(methods))


async def _client_is_gone(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)  # nobody reads it


HANDLERS: dict[Any, Any] = {
    ApiError: _refused,
    StoreUnavailable: _store_is_away,
    HTTPException: _no_route,
    ClientDisconnect: _client_is_gone,
}
"""How each error is answered; any other is a fault of the server, which `headers` answers."""
