"""The offline model: rules instead of a language model, so that everything runs without a key.

It calls the functions whose name or description shares words with the user's message, fills their arguments
from the message, and tells what they gave back. It says of itself that it is the offline model.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from lockstitch.assistants.model.arguments import fill_answer, fill_arguments
from lockstitch.assistants.model.call_ids import random_call_id
from lockstitch.assistants.model.tokens import count_prompt, count_tokens, first_tokens, load_vocabulary
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    FinishReason,
    FunctionTool,
    ModelEvent,
    ModelTurn,
    NamedFunction,
    TextDelta,
    TurnFinished,
    Usage,
)
from lockstitch.assistants.model.wording import output_sentence, streamed_words, subjects, words

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
        tools = choose_tools(turn)
        output = _make_calls(tools, turn) if tools else _write(answer_text(turn), turn.max_completion_tokens)
        for word in streamed_words(output.text):
            yield TextDelta(word)
        for index, (name, arguments) in enumerate(output.calls):
            yield CallStarted(index, self._new_call_id(), name)
            for start in range(0, len(arguments), _CHUNK):
                yield ArgumentsDelta(index, arguments[start : start + _CHUNK])
        yield TurnFinished(output.reason, Usage(count_prompt(turn), output.tokens))

    async def aclose(self) -> None:
        """Nothing is held."""


def choose_tools(turn: ModelTurn) -> list[FunctionTool]:
    """The functions to call in this turn; none when it is time to answer.

    A message with the word "then" has them called one after the other, in the order in which it mentions
    them.
    """
    message = _last_user_text(turn)
    answered = {call.name for tool_round in turn.rounds for call in tool_round.calls}
    offered = [tool for tool in turn.tools if tool.name not in answered]
    match turn.tool_choice_now:
        case "none":
            return []
        case NamedFunction(name):
            return [tool for tool in offered if tool.name == name]
        case "required":
            chosen = offered
        case _:
            chosen = [tool for tool in offered if mention(tool, message) is not None]
    if any(word.text == "then" for word in words(message)):
        return sorted(chosen, key=lambda tool: _place(tool, message))[:1]
    return chosen if turn.parallel_tool_calls else chosen[:1]


def mention(tool: FunctionTool, message: str) -> int | None:
    """Where ``message`` first has a word of the function's name, else of its description."""
    said = subjects(message)
    for text in (tool.name, tool.description):
        places = [said[stem] for stem in subjects(text) if stem in said]
        if places:
            return min(places)
    return None


def answer_text(turn: ModelTurn) -> str:
    """The answer in the form that the turn asks for: text, or JSON."""
    text = _plain_answer(turn)
    match turn.response_format:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return json.dumps(fill_answer(schema, _last_user_text(turn), text), ensure_ascii=False)
        case {"type": "json_object" | "json_schema"}:
            return json.dumps({"answer": text}, ensure_ascii=False)
    return text


def _plain_answer(turn: ModelTurn) -> str:
    calls = [call for tool_round in turn.rounds for call in tool_round.calls]
    if calls:
        return "Offline model: " + " ".join(output_sentence(call.name, call.output) for call in calls)
    said = " ".join(_last_user_text(turn).split())
    if not said:
        return "Offline model: there is no message to answer."
    quoted = said if len(said) <= _QUOTED else said[:_QUOTED].rstrip() + "..."
    no_tool = "; no tool fits it" if turn.tools else ""
    return f'Offline model: you asked "{quoted}"{no_tool}. An answer of its own takes a language model.'


def _place(tool: FunctionTool, message: str) -> int:
    place = mention(tool, message)
    return len(message) if place is None else place


def _last_user_text(turn: ModelTurn) -> str:
    return next((message.text for message in reversed(turn.messages) if message.role == "user"), "")


def _write(text: str, budget: int | None) -> _Output:
    tokens = count_tokens(text)
    if budget is None or tokens <= budget:
        return _Output(text, tokens=tokens)
    return _Output(first_tokens(text, budget), tokens=budget, cut=True)


def _make_calls(tools: list[FunctionTool], turn: ModelTurn) -> _Output:
    """The calls as far as the budget of tokens goes; the last one's arguments may be cut."""
    calls: list[tuple[str, str]] = []
    spent = 0
    for name, arguments in _calls(tools, _last_user_text(turn)):
        named = spent + count_tokens(name)
        needed = named + count_tokens(arguments)
        budget = needed if turn.max_completion_tokens is None else turn.max_completion_tokens
        if needed > budget:
            cut = [(name, first_tokens(arguments, budget - named))] if named < budget else []
            return _Output(calls=(*calls, *cut), tokens=budget, cut=True)
        calls.append((name, arguments))
        spent = needed
    return _Output(calls=tuple(calls), tokens=spent)


def _calls(tools: list[FunctionTool], message: str) -> Iterator[tuple[str, str]]:
    for tool in tools:
        yield tool.name, json.dumps(fill_arguments(tool.parameters, message), ensure_ascii=False)
