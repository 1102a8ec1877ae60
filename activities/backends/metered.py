"""Measures what a model turn takes: requests and their answers, time to the first token, tokens."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import openai

from lockstitch import telemetry
from lockstitch.activities.upstream_errors import translate
from lockstitch.assistants.model.answer_format import formatted_turn
from lockstitch.assistants.model.turn import Model, ModelEvent, ModelTurn, TurnFinished
from lockstitch.errors import UpstreamError

OPERATION = "model_turn"


MISFITS = 3
"""How often a turn is taken whose answer does not have the form that was asked for."""


async def metered_turn(
    model: Model, turn: ModelTurn, backend: str, attempt: int = 1
) -> AsyncGenerator[ModelEvent, None]:
    """Take one turn of ``model``, hold it to its response format and count it; ``attempt`` is which one this is."""
    asked = time.monotonic()
    first = True
    try:
        async with aclosing(formatted_turn(model, turn, may_try_again=attempt < MISFITS)) as events:
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
    used = finished.usage
    telemetry.MODELS.count(model, used.prompt_tokens, used.completion_tokens, used.cached_tokens)
