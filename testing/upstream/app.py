"""The server's routes, and what a request passes before it comes to one."""

from collections.abc import Sequence
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lockstitch.assistants import refusals
from lockstitch.errors import ApiError
from lockstitch.testing.upstream.answers import error_answer
from lockstitch.testing.upstream.operations import Operations
from lockstitch.testing.upstream.reception import Reception

_PREFIXES = ("/v1", "/openai/v1", "/openai")
_ASSISTANT = "/assistants/{assistant_id}"
_THREAD = "/threads/{thread_id}"
_RUN = _THREAD + "/runs/{run_id}"


def upstream_app(
    reception: Reception, operations: Operations, control: Sequence[BaseRoute], api_key: str | None
) -> Starlette:
    """The API under ``/v1``, ``/openai`` and the root, and the control routes."""
    app = Starlette(
        routes=[*control, *_routes(reception, operations)],
        middleware=[Middleware(_Entrance, api_key=api_key)],
        exception_handlers={404: _not_found, 405: _not_found},
    )
    app.router.redirect_slashes = False
    return app


def _routes(reception: Reception, operations: Operations) -> list[Route]:
    made, endpoint = operations, reception.endpoint
    get, post, delete = ["GET"], ["POST"], ["DELETE"]
    return [
        Route("/assistants", endpoint("create_assistant", made.create_assistant), methods=post),
        Route("/assistants", endpoint("list_assistants", made.list_assistants), methods=get),
        Route(_ASSISTANT, endpoint("retrieve_assistant", made.retrieve_assistant), methods=get),
        Route(_ASSISTANT, endpoint("modify_assistant", made.modify_assistant), methods=post),
        Route(_ASSISTANT, endpoint("delete_assistant", made.delete_assistant), methods=delete),
        Route("/threads/runs", endpoint("create_run", made.create_thread_and_run), methods=post),
        Route("/threads", endpoint("create_thread", made.create_thread), methods=post),
        Route(_THREAD, endpoint("retrieve_thread", made.retrieve_thread), methods=get),
        Route(_THREAD, endpoint("modify_thread", made.modify_thread), methods=post),
        Route(_THREAD, endpoint("delete_thread", made.delete_thread), methods=delete),
        Route(_THREAD + "/messages", endpoint("create_message", made.create_message), methods=post),
        Route(_THREAD + "/messages", endpoint("list_messages", made.list_messages), methods=get),
        Route(_THREAD + "/messages/{message_id}", endpoint("retrieve_message", made.retrieve_message), methods=get),
        Route(_THREAD + "/runs", endpoint("create_run", made.create_run), methods=post),
        Route(_THREAD + "/runs", endpoint("list_runs", made.list_runs), methods=get),
        Route(_RUN, endpoint("retrieve_run", made.retrieve_run), methods=get),
        Route(_RUN, endpoint("modify_run", made.modify_run), methods=post),
        Route(_RUN + "/cancel", endpoint("cancel_run", made.cancel_run), methods=post),
        Route(_RUN + "/submit_tool_outputs", endpoint("submit_tool_outputs", made.submit_tool_outputs), methods=post),
        Route(_RUN + "/steps", endpoint("list_steps", made.list_steps), methods=get),
        Route(_RUN + "/steps/{step_id}", endpoint("retrieve_step", made.retrieve_step), methods=get),
    ]


class _Entrance:
    """Takes the prefix off the path, and asks for the key and the beta header where the API does."""

    def __init__(self, app: ASGIApp, api_key: str | None) -> None:
        self._app = app
        self._api_key = api_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in."""
        if scope["type"] == "http" and not scope["path"].startswith("/control/"):
            path: str = scope["path"]
            prefix = next((prefix for prefix in _PREFIXES if path.startswith(f"{prefix}/")), "")
            scope["root_path"] = prefix
            if refused := self._refused(scope):
                await error_answer(refused)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refused(self, scope: Scope) -> ApiError | None:
        headers = Headers(scope=scope)
        given = headers.get("api-key") or headers.get("authorization", "").removeprefix("Bearer ").strip()
        if self._api_key is not None and given != self._api_key:
            message = f"Incorrect API key provided: {given[:3]}***."
            return ApiError(message, status=401, code="invalid_api_key")
        query = parse_qs(scope["query_string"].decode("latin-1"))
        # Azure's clients say which version they mean in the query.
        if "assistants=v2" not in headers.get("openai-beta", "") and "api-version" not in query:
            return refusals.beta_header_missing()
        return None


async def _not_found(request: Request, _error: Exception) -> Response:
    return error_answer(refusals.unknown_url(request.method, request.url.path))
