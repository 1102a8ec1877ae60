"""The offline model: rules instead of a language model, so that everything runs without a key.

It calls the functions whose name or description shares words with the user's message, fills their arguments
from the message, and tells what they gave back. It writes code for tables and sums, and answers questions with
sentences from the files that it searches. It says of itself that it is the offline model.
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from lockstitch.assistants.model.arguments import fill_answer
from lockstitch.assistants.model.built_in_tools import BUILT_IN
from lockstitch.assistants.model.call_ids import random_call_id
from lockstitch.assistants.model.offline_analysis import code_answer
from lockstitch.assistants.model.offline_calls import ChosenCall, choose_calls
from lockstitch.assistants.model.offline_passages import passages_answer
from lockstitch.assistants.model.tokens import count_prompt, count_tokens, first_tokens, load_vocabulary
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    FinishReason,
    ModelEvent,
    ModelTurn,
    TextDelta,
    TurnFinished,
    Usage,
)
from lockstitch.assistants.model.wording import output_sentence, streamed_words

_CHUNK = 24
"""Characters of a call's arguments that are streamed at once."""
_QUOTED = 200
"""Characters of a user's message that an answer repeats."""


@dataclass(frozen=True, slots=True)
class _Output:
    """What a turn gives: a text, or calls; ``cut`` if the budget of tokens ended it."""

    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    """Name and arguments of each call."""
    tokens: int = 0
    cut: bool = False

    @property
    def reason(self) -> FinishReason:
        if self.cut:
            return "length"
        return "tool_calls" if self.calls else "stop"


class OfflineModel:
    """A deterministic, rule-based `Model`; only the ids of its calls differ from run to run."""

    name = "offline"

    def __init__(self, new_call_id: Callable[[], str] = random_call_id) -> None:
        self._new_call_id = new_call_id
        load_vocabulary()

    def __repr__(self) -> str:
        return "OfflineModel()"

    async def stream(self, turn: ModelTurn) -> AsyncIterator[ModelEvent]:
        """Call what fits the user's message; when all of that was answered, tell what came back."""
        calls, budget = choose_calls(turn), turn.max_completion_tokens
        output = _make_calls(calls, budget) if calls else _write(answer_text(turn), budget)
        for word in streamed_words(output.text):
            yield TextDelta(word)
        for index, (name, arguments) in enumerate(output.calls):
            yield CallStarted(index, self._new_call_id(), name)
            for start in range(0, len(arguments), _CHUNK):
                yield ArgumentsDelta(index, arguments[start : start + _CHUNK])
        yield TurnFinished(output.reason, Usage(count_prompt(turn), output.tokens))

    async def aclose(self) -> None:
        """Nothing is held."""


def answer_text(turn: ModelTurn) -> str:
    """The answer in the form that the turn asks for: text, or JSON."""
    text = _plain_answer(turn)
    match turn.response_format:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return json.dumps(fill_answer(schema, turn.last_user_text, text), ensure_ascii=False)
        case {"type": "json_object" | "json_schema"}:
            return json.dumps({"answer": text}, ensure_ascii=False)
    return text


def _plain_answer(turn: ModelTurn) -> str:
    unseen = " It cannot see images." if turn.last_user_message.has_images else ""
    return _told_outputs(turn) + unseen


def _told_outputs(turn: ModelTurn) -> str:
    calls = [call for tool_round in turn.rounds for call in tool_round.calls if call.name not in BUILT_IN]
    told = [output_sentence(call.name, call.output) for call in calls]
    found = [answer for answer in (passages_answer(turn), code_answer(turn)) if answer]
    if told or found:
        return "Offline model: " + " ".join([*told, *found])
    said = " ".join(turn.last_user_message.text_only.split())
    if not said:
        return "Offline model: there is no message to answer."
    quoted = said if len(said) <= _QUOTED else said[:_QUOTED].rstrip() + "..."
    no_tool = "; no tool fits it" if turn.tools else ""
    return f'Offline model: you asked "{quoted}"{no_tool}. An answer of its own takes a language model.'


def _write(text: str, budget: int | None) -> _Output:
    tokens = count_tokens(text)
    if budget is None or tokens <= budget:
        return _Output(text, tokens=tokens)
    return _Output(first_tokens(text, budget), tokens=budget, cut=True)


def _make_calls(chosen: Sequence[ChosenCall], budget: int | None) -> _Output:
    """The calls as far as the budget of tokens goes; the last one's arguments may be cut."""
    calls: list[tuple[str, str]] = []
    spent = 0
    for call in chosen:
        named = spent + count_tokens(call.name)
        needed = named + count_tokens(call.arguments_text)
        if budget is not None and needed > budget:
            cut = [(call.name, first_tokens(call.arguments_text, budget - named))] if named < budget else []
            return _Output(calls=(*calls, *cut), tokens=budget, cut=True)
        calls.append((call.name, call.arguments_text))
        spent = needed
    return _Output(calls=tuple(calls), tokens=spent)
