"""Turns of a language model over any OpenAI-compatible endpoint: OpenAI, Azure, vLLM, Ollama, llama.cpp.

The Responses API is used where the endpoint has it, else Chat Completions. Importing this module takes two
seconds, because it imports openai: only import it where an endpoint is used.
"""

from collections.abc import AsyncIterator
from datetime import timedelta
from json import JSONDecodeError
from typing import Any, Literal

import openai

from lockstitch.assistants.model.chat import ChatReader, chat_request
from lockstitch.assistants.model.json_object import JsonObject
from lockstitch.assistants.model.responses import ResponsesReader, responses_request
from lockstitch.assistants.model.stream_errors import error_in_stream, stream_broke_off
from lockstitch.assistants.model.turn import ModelEvent, ModelTurn

EndpointApi = Literal["auto", "responses", "chat"]

_ROUTE_MISSING = frozenset({404, 405, 501})
_MODEL_MISSING = frozenset({"model_not_found", "DeploymentNotFound"})
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
                # Read to its end, not to the finishing event: else the connection could not be used again.
                async for received in upstream:
                    for event in reader.read(_object(received)):
                        yield event
            except openai.APIConnectionError:
                if not reader.complete:
                    raise
            except openai.APIError as error:
                if type(error) is not openai.APIError:
                    raise
                # The SDK's name for an error that came as an event of the stream.
                raise error_in_stream(error.message, error.code, error.type) from error
            except (JSONDecodeError, UnicodeDecodeError) as error:
                raise stream_broke_off() from error
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
        """Send a request as it is, and read the events as they are: both are built and checked here already."""
        body = {**body, "stream": True}
        return await self._client.post(
            path, body=body, cast_to=object, stream=True, stream_cls=openai.AsyncStream[object]
        )

    async def aclose(self) -> None:
        """Close the connections; may be called twice."""
        await self._client.close()


def _object(received: object) -> JsonObject:
    if not isinstance(received, dict):
        raise stream_broke_off()
    return JsonObject(received)


def _is_route_missing(error: openai.APIStatusError) -> bool:
    """Whether an endpoint says that it has no such route, and not that it has no such model."""
    is_model_missing = error.code in _MODEL_MISSING or error.param == "model"
    return error.status_code in _ROUTE_MISSING and not is_model_missing
