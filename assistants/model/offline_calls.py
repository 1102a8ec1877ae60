"""Which functions and built-in tools the offline model calls in a turn, and with what."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lockstitch.assistants.model.arguments import fill_arguments
from lockstitch.assistants.model.built_in_tools import BUILT_IN, CODE_INTERPRETER, FILE_SEARCH
from lockstitch.assistants.model.offline_analysis import next_code
from lockstitch.assistants.model.offline_passages import next_query
from lockstitch.assistants.model.offline_plans import data_place
from lockstitch.assistants.model.turn import FunctionTool, ModelTurn, NamedFunction
from lockstitch.assistants.model.wording import subjects, words


@dataclass(frozen=True, slots=True)
class ChosenCall:
    """A call to make; ``place`` is where the message speaks of it, ``None`` where it does not."""

    name: str
    arguments: dict[str, Any]
    place: int | None

    @property
    def arguments_text(self) -> str:
        """The arguments as they are streamed."""
        return json.dumps(self.arguments, ensure_ascii=False)


def choose_calls(turn: ModelTurn) -> list[ChosenCall]:
    """The calls to make in this turn; none when it is time to answer.

    A message with the word "then" has them made one after the other, in the order in which it mentions them.
    """
    possible = list(_possible_calls(turn))
    match turn.tool_choice_now:
        case "none":
            return []
        case NamedFunction(name):
            return [call for call in possible if call.name == name]
        case "required":
            chosen = [call for call in possible if call.place is not None or call.name not in BUILT_IN] or possible
        case _:
            chosen = [call for call in possible if call.place is not None]
    if any(word.text == "then" for word in words(turn.last_user_text)):
        return sorted(chosen, key=lambda call: math.inf if call.place is None else call.place)[:1]
    return chosen if turn.parallel_tool_calls else chosen[:1]


def mention(tool: FunctionTool, message: str) -> int | None:
    """Where ``message`` first has a word of the function's name, else of its description."""
    said = subjects(message)
    for text in (tool.name, tool.description):
        places = [said[stem] for stem in subjects(text) if stem in said]
        if places:
            return min(places)
    return None


def _possible_calls(turn: ModelTurn) -> Iterator[ChosenCall]:
    """A call of each tool, in the order of the tools, as far as it was not called yet or has more to do."""
    message = turn.last_user_text
    answered = {call.name for tool_round in turn.rounds for call in tool_round.calls}
    places = {tool.name: mention(tool, message) for tool in turn.tools if tool.name not in BUILT_IN}
    wanted = _built_in_arguments(turn, others_fit=any(place is not None for place in places.values()))
    for tool in turn.tools:
        if tool.name in wanted:
            yield ChosenCall(tool.name, wanted[tool.name], data_place(message))
        elif tool.name not in answered:
            yield ChosenCall(tool.name, fill_arguments(tool.parameters, message), places.get(tool.name))


def _built_in_arguments(turn: ModelTurn, *, others_fit: bool) -> dict[str, dict[str, Any]]:
    """What the built-in tools that have something to do are called with."""
    offered = {tool.name for tool in turn.tools}
    found = {}
    code = next_code(turn) if CODE_INTERPRETER.name in offered else None
    if code is not None:
        found[CODE_INTERPRETER.name] = {"code": code}
    others_fit |= code is not None or bool(turn.outputs_of(CODE_INTERPRETER.name))
    query = next_query(turn, others_fit=others_fit) if FILE_SEARCH.name in offered else None
    if query is not None:
        found[FILE_SEARCH.name] = {"query": query}
    return found
