"""A small language model on this machine: SmolLM2 on llama.cpp, without a key and without a network.

It has 135 million parameters. It shows that everything works with a real model; it is not clever. In a run it makes
one call of a function, and answers from what that gave back. Importing this module takes two seconds, because it
imports openai: only import it where the model is used.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import cast

from lockstitch.assistants.model.endpoint import OpenAIEndpoint
from lockstitch.assistants.model.local_process import LocalProcess, find_weights
from lockstitch.assistants.model.local_prompt import ReplyReader, local_turn, offered_tools
from lockstitch.assistants.model.turn import ModelEvent, ModelTurn, TextDelta, TurnFinished
from lockstitch.errors import UpstreamError

_SILENT_AT_MOST = timedelta(seconds=120)


class LocalModel:
    """A `Model` that answers from a process of its own, one turn at a time; a process that ended is started anew."""

    name = "local"

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._process: LocalProcess | None = None
        self._endpoint: OpenAIEndpoint | None = None
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"LocalModel({self._weights.stem!r}, {self._process!r})"

    @classmethod
    async def start(cls) -> "LocalModel":
        """Load the model; raises `LocalModelMissing` and `ProcessFailed`."""
        model = cls(find_weights())
        await model._running()
        return model

    async def stream(self, turn: ModelTurn) -> AsyncIterator[ModelEvent]:
        """Take one turn.

        Raises the openai SDK's errors, such as that for a schema that llama.cpp cannot keep to, and `UpstreamError`
        for a message with an image.
        """
        _refuse_images(turn)
        async with self._turn:
            endpoint = await self._running()
            received = cast("AsyncGenerator[ModelEvent, None]", endpoint.stream(local_turn(turn)))
            async with aclosing(received) as events:
                if not offered_tools(turn):
                    async for event in events:
                        yield event
                    return
                reader = ReplyReader()
                async for event in events:
                    for meant in _meaning(reader, event):
                        yield meant

    async def aclose(self) -> None:
        """End the process; may be called twice."""
        if self._endpoint is not None:
            await self._endpoint.aclose()
        if self._process is not None:
            await self._process.aclose()
        self._endpoint = self._process = None

    async def _running(self) -> OpenAIEndpoint:
        if self._process is not None and self._endpoint is not None and self._process.is_running:
            return self._endpoint
        await self.aclose()
        process = self._process = await LocalProcess.start(self._weights)
        self._endpoint = OpenAIEndpoint(
            base_url=f"{process.url}/v1", api_key=process.key, api="chat", timeout=_SILENT_AT_MOST
        )
        return self._endpoint


def _meaning(reader: ReplyReader, event: ModelEvent) -> list[ModelEvent]:
    match event:
        case TextDelta(text):
            return list(reader.read(text))
        case TurnFinished():
            return list(reader.finish(event))
    return []


def _refuse_images(turn: ModelTurn) -> None:
    """Refuse the user's last message if it has an image; those of earlier messages are only noted."""
    if turn.last_user_message.has_images:
        raise UpstreamError(
            "The local model cannot see images; send the message without, or use a model endpoint that takes them.",
            status=400,
            code="invalid_prompt",
            retryable=False,
        )
