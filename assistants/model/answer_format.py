"""Holds answers to the ``response_format`` that a run asks for, whichever model gave them.

Endpoints differ in how far they keep to a schema, and some do not know the parameter: so the finished answer is
checked here. The schema is a client's and the answer a model's, neither of which is trusted: nothing is fetched for a
schema, and its patterns are matched in linear time or given up.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import jsonschema_rs
from pydantic_core import from_json

from lockstitch.assistants.model.turn import CallStarted, Model, ModelEvent, ModelTurn, TextDelta, TurnFinished
from lockstitch.errors import UpstreamError


class AnswerFormat:
    """The JSON that an answer has to be; any object will do without a schema."""

    def __init__(self, schema: dict[str, Any] | bool) -> None:
        """Take a JSON schema; raises `UpstreamError` if it is none."""
        try:
            self._validator = jsonschema_rs.validator_for(schema, offline=True)
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            raise UpstreamError(
                f"The schema of the response_format cannot be used: {_message(error)}",
                status=400,
                code="invalid_prompt",
                retryable=False,
            ) from error

    @classmethod
    def of(cls, turn: ModelTurn) -> "AnswerFormat | None":
        """The format that a turn asks for; ``None``: any text."""
        match turn.response_format:
            case {"type": "json_schema", "json_schema": dict(wanted)}:
                schema = wanted.get("schema")
                return cls(True if schema is None else schema)
            case {"type": "json_object"}:
                return cls({"type": "object"})
        return None

    def problem(self, answer: str) -> str | None:
        """What is wrong with an answer, in words; ``None`` if it fits."""
        try:
            value = from_json(answer)
        except ValueError as error:
            return f"it is not JSON ({error})"
        wrong = next(iter(self._validator.iter_errors(value)), None)
        if wrong is None:
            return None
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in wrong.instance_path)
        return f"{place.lstrip('.') or 'the answer'}: {wrong.message}"


async def formatted_turn(model: Model, turn: ModelTurn, *, may_try_again: bool) -> AsyncGenerator[ModelEvent, None]:
    """Take a turn of ``model`` and hold its answer to the format that is asked for.

    Raises `UpstreamError` instead of ending the turn where the answer does not fit. Calls, refusals and answers that
    were cut off are no answers in that sense.
    """
    wanted = AnswerFormat.of(turn)
    events = model.stream(turn)
    try:
        async for event in events if wanted is None else _checked(events, wanted, may_try_again=may_try_again):
            yield event
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


async def _checked(
    events: AsyncIterator[ModelEvent], wanted: AnswerFormat, *, may_try_again: bool
) -> AsyncIterator[ModelEvent]:
    texts: list[str] = []
    has_calls = False
    async for event in events:
        match event:
            case TextDelta(text):
                texts.append(text)
            case CallStarted():
                has_calls = True
            case TurnFinished("stop", refused=False) if not has_calls:
                problem = wanted.problem("".join(texts))
                if problem is not None:
                    raise UpstreamError(
                        f"The model's answer does not fit the response_format: {problem}.", retryable=may_try_again
                    )
        yield event


def _message(error: Exception) -> str:
    return error.message if isinstance(error, jsonschema_rs.ValidationError) else str(error)
