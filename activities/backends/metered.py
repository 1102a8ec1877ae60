"""Measures what a model turn takes: requests and their answers, time to the first token, tokens."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import openai

from lockstitch import telemetry
from lockstitch.activities.upstream_errors import translate
from lockstitch.assistants.model.turn import Model, ModelEvent, ModelTurn, TurnFinished
from lockstitch.errors import UpstreamError

OPERATION = "model_turn"


async def metered_turn(model: Model, turn: ModelTurn, backend: str) -> AsyncGenerator[ModelEvent, None]:
    """Take one turn of ``model`` and count it."""
    asked = time.monotonic()
    first = True
    try:
        async with aclosing(cast("AsyncGenerator[ModelEvent, None]", model.stream(turn))) as events:
            async for event in events:
                if first:
                    telemetry.TIME_TO_FIRST_TOKEN.labels(backend).observe(time.monotonic() - asked)
                    first = False
                if isinstance(event, TurnFinished):
                    _count_tokens(turn.model, event)
                yield event
    except (UpstreamError, openai.OpenAIError) as error:
        status = translate(error).status
        telemetry.UPSTREAM_REQUESTS.labels(backend, OPERATION, "none" if status is None else str(status)).inc()
        raise
    telemetry.UPSTREAM_REQUESTS.labels(backend, OPERATION, "200").inc()


def _count_tokens(model: str, finished: TurnFinished) -> None:
    telemetry.TOKENS.labels(model, "prompt").inc(finished.usage.prompt_tokens)
    telemetry.TOKENS.labels(model, "completion").inc(finished.usage.completion_tokens)
