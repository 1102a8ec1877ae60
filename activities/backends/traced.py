"""A span for each model turn, in the names of OpenTelemetry's conventions for generative AI."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from lockstitch import tracing
from lockstitch.activities.backends.metered import metered_turn
from lockstitch.assistants.model.turn import Model, ModelEvent, ModelTurn, TurnFinished


async def traced_turn(
    model: Model, turn: ModelTurn, backend: str, attempt: int = 1
) -> AsyncGenerator[ModelEvent, None]:
    """Take one turn as `metered_turn` does, within a span that has the model and its tokens, and no content."""
    told: dict[str, tracing.Value] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": model.name,
        "gen_ai.request.model": turn.model,
        "lockstitch.attempt": attempt,
    }
    with tracing.detached_span(f"chat {turn.model}", told, kind="client") as span:
        async with aclosing(metered_turn(model, turn, backend, attempt)) as events:
            async for event in events:
                if isinstance(event, TurnFinished):
                    span.set_attributes(_ending(event))
                yield event


def _ending(finished: TurnFinished) -> dict[str, tracing.Value]:
    return {
        "gen_ai.response.finish_reasons": [finished.reason],
        "gen_ai.usage.input_tokens": finished.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": finished.usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": finished.usage.cached_tokens,
    }
