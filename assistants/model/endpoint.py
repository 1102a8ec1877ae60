"""Turns of a language model over any OpenAI-compatible endpoint: OpenAI, Azure, vLLM, Ollama, llama.cpp.

The Responses API is used where the endpoint has it, else Chat Completions. Importing this module takes two
seconds, because it imports openai: only import it where an endpoint is used.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Literal

import aiohttp
import openai

from lockstitch.assistants.model.chat import ChatReader, chat_request
from lockstitch.assistants.model.json_object import JsonObject
from lockstitch.assistants.model.responses import ResponsesReader, responses_request
from lockstitch.assistants.model.sse_batches import event_batches
from lockstitch.assistants.model.turn import ModelEvent, ModelTurn

EndpointApi = Literal["auto", "responses", "chat"]

_ROUTE_MISSING = frozenset({404, 405, 501})
_MODEL_MISSING = frozenset({"model_not_found", "DeploymentNotFound"})
_CLOSED = (aiohttp.ClientConnectionResetError, aiohttp.ServerDisconnectedError)
_CONNECT_AT_MOST = timedelta(seconds=10)


class OpenAIEndpoint:
    """A `Model` behind an OpenAI-compatible endpoint.

    ``timeout`` bounds the silence between two pieces of an answer, not the whole answer. The SDK does not try
    again by itself. With the API ``auto`` the endpoint is asked for Responses, and if it has no such route,
    Chat Completions are used from then on. ``api_key`` may not be empty; an endpoint without keys takes any.
    """

    name = "openai"

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        timeout: timedelta,
        api: EndpointApi = "auto",
        organization: str | None = None,
        project: str | None = None,
    ) -> None:
        seconds = timeout.total_seconds()
        connect = min(seconds, _CONNECT_AT_MOST.total_seconds())
        limits = openai.Timeout(seconds, connect=connect)
        self._client = openai.AsyncOpenAI(
            base_url=base_url,
            api_key=api_key,
            timeout=limits,
            max_retries=0,
            http_client=openai.DefaultAioHttpClient(timeout=limits),  # a third cheaper than the default one
        )
        # Where the constructor gets None, it reads the environment, and that is done elsewhere.
        self._client.organization = organization
        self._client.project = project
        self._api: EndpointApi = api

    def __repr__(self) -> str:
        return f"OpenAIEndpoint({str(self._client.base_url)!r}, api={self._api!r})"

    async def stream(self, turn: ModelTurn) -> AsyncIterator[ModelEvent]:
        """Take one turn.

        Raises the SDK's errors as they are, and `UpstreamError` for what goes wrong inside the stream: an
        error that the endpoint reports there, or an end before the answer is complete.
        """
        upstream, reader = await self._open(turn)
        async with upstream:
            try:
                async for batch in event_batches(upstream.response):
                    for received in batch:
                        for event in reader.read(JsonObject(received)):
                            yield event
            except openai.APIConnectionError:
                if not reader.complete:
                    raise
        yield reader.finish()

    async def _open(self, turn: ModelTurn) -> tuple[openai.AsyncStream[object], ResponsesReader | ChatReader]:
        """Send the request, over the API that the endpoint has."""
        if self._api != "chat":
            try:
                answer = await self._post("/responses", responses_request(turn))
            except openai.APIStatusError as error:
                if self._api == "responses" or not _is_route_missing(error):
                    raise
            else:
                self._api = "responses"
                return answer, ResponsesReader()
        chunks = await self._post("/chat/completions", chat_request(turn))
        self._api = "chat"  # only now: the 404 may have meant a model or a path that no API has
        return chunks, ChatReader()

    async def _post(self, path: str, body: dict[str, Any]) -> openai.AsyncStream[object]:
        """Send a request; where the endpoint had closed the connection that was kept, send it on a new one."""
        try:
            return await self._send(path, body)
        except openai.APIConnectionError as error:
            if not _was_closed_before(error):
                raise
        return await self._send(path, body)

    async def _send(self, path: str, body: dict[str, Any]) -> openai.AsyncStream[object]:
        """Send a request as it is: it is built and checked here already."""
        body = {**body, "stream": True}
        return await self._client.post(
            path, body=body, cast_to=object, stream=True, stream_cls=openai.AsyncStream[object]
        )

    async def aclose(self) -> None:
        """Close the connections; may be called twice."""
        await self._client.close()


def _is_route_missing(error: openai.APIStatusError) -> bool:
    """Whether an endpoint says that it has no such route, and not that it has no such model."""
    is_model_missing = error.code in _MODEL_MISSING or error.param == "model"
    return error.status_code in _ROUTE_MISSING and not is_model_missing


def _was_closed_before(error: BaseException) -> bool:
    """Whether the connection was closed before an answer began, as llama.cpp does after each without saying so.

    A turn changes nothing at the endpoint, so one that it may have seen can be sent again.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, _CLOSED):
        cause = cause.__cause__ or cause.__context__
    return cause is not None
