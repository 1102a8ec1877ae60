"""Any model as an OpenAI-compatible endpoint: Responses, Chat Completions and the list of models.

::

    app = model_endpoint_app(ScriptedModel.from_file("script.json"))
    async with serve(app) as origin:
        client = AsyncOpenAI(base_url=f"{origin}/v1", api_key="any")

An `UpstreamError` of the model before its first event is answered with its status; later it becomes an error
event, or a broken connection if it has no status.
"""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from lockstitch.assistants.model.turn import Model, ModelEvent, ModelTurn
from lockstitch.errors import UpstreamError
from lockstitch.testing.chat_wire import ChatWriter, turn_of_chat
from lockstitch.testing.responses_wire import ResponsesWriter, turn_of_responses

_SILENT = logging.CRITICAL + 10

Writer = ResponsesWriter | ChatWriter


def model_endpoint_app(model: Model, *, responses: bool = True, api_key: str | None = None) -> Starlette:
    """The endpoint as an ASGI app.

    Without ``responses`` it has no such route, like servers that know Chat Completions only. With an
    ``api_key``, requests with another are refused as OpenAI refuses them.
    """
    endpoint = _Endpoint(model, api_key)
    routes = [
        Route("/v1/models", endpoint.models),
        Route("/v1/chat/completions", endpoint.chat_completions, methods=["POST"]),
    ]
    if responses:
        routes.append(Route("/v1/responses", endpoint.responses, methods=["POST"]))
    return Starlette(routes=routes, exception_handlers={404: _not_found})


class _ConnectionBroken(Exception):
    """Leaves the answer unfinished, so that the server closes the connection."""


class _Refused(Exception):
    """The request is answered without the model."""

    def __init__(self, answer: Response) -> None:
        self.answer = answer


class _Endpoint:
    def __init__(self, model: Model, api_key: str | None) -> None:
        self._model = model
        self._api_key = api_key

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``."""
        try:
            self._check_key(request)
        except _Refused as refused:
            return refused.answer
        entry = {"id": self._model.name, "object": "model", "created": 0, "owned_by": "lockstitch"}
        return JSONResponse({"object": "list", "data": [entry]})

    async def responses(self, request: Request) -> Response:
        """``POST /v1/responses``."""
        return await self._answer(request, turn_of_responses, ResponsesWriter)

    async def chat_completions(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        return await self._answer(request, turn_of_chat, ChatWriter)

    async def _answer(
        self,
        request: Request,
        turn_of: Callable[[dict[str, Any]], ModelTurn],
        writer_of: Callable[[dict[str, Any]], Writer],
    ) -> Response:
        try:
            self._check_key(request)
            body = await _body(request)
            turn = turn_of(body)
        except _Refused as refused:
            return refused.answer
        except (KeyError, TypeError, AttributeError) as error:
            return _error(400, f"The request cannot be read: {error!r}.", "invalid_value")
        writer = writer_of(body)
        events = _events(self._model, turn)
        try:
            first = await anext(events)
            if body.get("stream"):
                return StreamingResponse(_frames(writer, first, events), media_type="text/event-stream")
            writer.frames(first)
            async for event in events:
                writer.frames(event)
        except UpstreamError as error:
            return _error_answer(error)
        return JSONResponse(writer.answer())

    def _check_key(self, request: Request) -> None:
        if self._api_key is None:
            return
        given = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        if not given:
            raise _Refused(_error(401, "You didn't provide an API key.", None))
        if given != self._api_key:
            raise _Refused(_error(401, f"Incorrect API key provided: {given[:3]}***.", "invalid_api_key"))


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except ValueError as error:
        message = "We could not parse the JSON body of your request."
        raise _Refused(_error(400, message, None)) from error
    if not isinstance(body, dict) or not body.get("model"):
        raise _Refused(_error(400, "you must provide a model parameter", None))
    return body


async def _events(model: Model, turn: ModelTurn) -> AsyncGenerator[ModelEvent, None]:
    stream = model.stream(turn)
    try:
        async for event in stream:
            yield event
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()


async def _frames(writer: Writer, first: ModelEvent, events: AsyncGenerator[ModelEvent, None]) -> AsyncIterator[str]:
    try:
        yield writer.start() + writer.frames(first)
        async for event in events:
            yield writer.frames(event)
    except UpstreamError as error:
        if error.status is None:
            raise _ConnectionBroken(str(error)) from error
        yield writer.failed(error)
    finally:
        await events.aclose()


def _error_answer(error: UpstreamError) -> Response:
    """An answer with the error's status; one that breaks off at once if it has none."""
    if error.status is None:
        return StreamingResponse(_broken_off(str(error)), media_type="text/event-stream")
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = f"{error.retry_after.total_seconds():g}"
    return _error(error.status, str(error), error.code, headers)


async def _broken_off(message: str) -> AsyncIterator[str]:
    yield ": \n\n"
    raise _ConnectionBroken(message)


def _error(status: int, message: str, code: str | None, headers: dict[str, str] | None = None) -> Response:
    kind = "rate_limit_error" if status == 429 else "server_error" if status >= 500 else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return JSONResponse(body, status_code=status, headers=headers)


async def _not_found(request: Request, _error: Exception) -> Response:
    return JSONResponse({"detail": "Not Found"}, status_code=404)


class _Server(uvicorn.Server):
    """A server inside a running event loop: it leaves signals alone and stops when it is told to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told_to_stop = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals belong to the process, not to a server inside it."""
        yield

    async def main_loop(self) -> None:
        """Wait, instead of looking ten times a second."""
        await self._told_to_stop.wait()

    def stop(self) -> None:
        """Let `serve` return."""
        self._told_to_stop.set()


@asynccontextmanager
async def serve(
    app: ASGIApp, *, port: int = 0, protocol: type[asyncio.Protocol] | Literal["auto"] = "auto"
) -> AsyncIterator[str]:
    """Serve an ASGI app on 127.0.0.1, in this event loop and with uvicorn's logs off.

    Gives ``http://127.0.0.1:<port>``, a free port unless one is named; ``protocol`` is a class of uvicorn's. Answers
    that are on the way at the end are broken off.
    """
    # Named as TCP: asyncio leaves Nagle's algorithm on, 40 ms per answer, where a socket's protocol is 0.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(2048)
        config = uvicorn.Config(
            app,
            http=protocol,
            log_config=None,
            log_level=_SILENT,
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=0,
        )
        server = _Server(config)
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop()
            await task
            if server.server_state.tasks:
                await asyncio.wait(server.server_state.tasks)
