"""How a turn is put to the small local model, and what its replies mean.

It calls no functions by itself. It is told of them in words, and the JSON schema of its reply leaves it two ways: an
answer, or one call. What a function gave back it is asked to put into a sentence, which is what it can do.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from lockstitch.assistants.model.call_ids import random_call_id
from lockstitch.assistants.model.offline_calls import mention
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    FunctionTool,
    ImagePart,
    Message,
    ModelEvent,
    ModelTurn,
    NamedFunction,
    TextDelta,
    TurnFinished,
)

ANSWER_TOKENS = 512
"""The most that one turn may give: so small a model may repeat itself for ever."""
_LONGEST_ANSWER, _LONGEST_ARGUMENT = 600, 120
"""Characters of an answer where there are functions, and of a text among arguments."""

Schema = dict[str, Any]


def offered_tools(turn: ModelTurn) -> tuple[FunctionTool, ...]:
    """The functions that may be called in this turn; after the first round of calls it is time to answer.

    So small a model cannot tell many functions apart, and calls any rather than none: it is offered those that have
    a word in common with what the user said.
    """
    if turn.rounds:
        return ()
    fitting = tuple(tool for tool in turn.tools if mention(tool, turn.last_user_text) is not None)
    match turn.tool_choice_now:
        case "none":
            return ()
        case NamedFunction(name):
            return tuple(tool for tool in turn.tools if tool.name == name)
        case "required":
            return fitting or turn.tools
    return fitting


def local_turn(turn: ModelTurn) -> ModelTurn:
    """The turn without functions, which are in its words and its response format instead."""
    tools = offered_tools(turn)
    budget = turn.max_completion_tokens
    said = tuple(Message(message.role, (_seen(message),)) for message in turn.messages)
    return replace(
        turn,
        instructions="" if turn.rounds else _instructions(turn, tools),
        messages=_found(turn) or said,
        rounds=(),
        tools=(),
        tool_choice="auto",
        reasoning_effort=None,
        temperature=turn.temperature or 0.0,  # at any other one it is wrong more often
        max_completion_tokens=ANSWER_TOKENS if budget is None else min(budget, ANSWER_TOKENS),
        response_format=_reply_format(turn, tools) if tools else turn.response_format,
    )


def _seen(message: Message) -> str:
    """The text of a message, with a note in place of each image."""
    return "\n".join("[an image]" if isinstance(part, ImagePart) else part for part in message.content)


def _instructions(turn: ModelTurn, tools: tuple[FunctionTool, ...]) -> str:
    if not tools:
        return turn.instructions
    lines = [turn.instructions, "", "You can call these functions:", ""] if turn.instructions else []
    lines = lines or ["You can call these functions:", ""]
    for tool in tools:
        arguments = dict.fromkeys(tool.parameters.get("properties", {}), "...")
        call = json.dumps({"function": tool.name, "arguments": arguments})
        lines.append(f"- {tool.name}: {tool.description} Call it with {call}")
    if _may_answer(turn):
        lines += ["", "If one of the functions fits what the user asks, call it."]
        lines += ['If none fits, answer with {"answer": "..."}.']
    return "\n".join(lines)


def _may_answer(turn: ModelTurn) -> bool:
    return turn.tool_choice_now == "auto"


def _found(turn: ModelTurn) -> tuple[Message, ...]:
    """What the functions gave back, and nothing else: beside a question the model would rather make up an answer."""
    calls = [call for each in turn.rounds for call in each.calls]
    facts = " ".join(_in_words(call.output) for call in calls)
    return (Message("user", (f"Rewrite in one sentence: {facts}",)),) if calls else ()


def _in_words(output: str) -> str:
    """An object as sentences, "The city is Oslo."; everything else as it is."""
    try:
        value = json.loads(output)
    except ValueError:
        return output
    if not isinstance(value, dict):
        return output
    return " ".join(f"The {name.replace('_', ' ')} is {_plain(each)}." for name, each in value.items())


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _reply_format(turn: ModelTurn, tools: tuple[FunctionTool, ...]) -> dict[str, Any]:
    definitions: Schema = {}
    ways = [_call_schema(tool, _hoisted(tool.parameters, tool.name, definitions)) for tool in tools]
    if _may_answer(turn):
        ways.append(_closed({"answer": _answer_schema(turn, definitions)}))
    schema: Schema = {"anyOf": ways} | ({"$defs": definitions} if definitions else {})
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}


def _call_schema(tool: FunctionTool, parameters: Schema) -> Schema:
    # The name comes first, so that the arguments are written for it.
    return _closed({"function": {"const": tool.name}, "arguments": _bounded(parameters)})


def _answer_schema(turn: ModelTurn, definitions: Schema) -> Schema:
    match turn.response_format:
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return _hoisted(schema, "answer", definitions)
        case {"type": "json_object"}:
            return {"type": "object"}
    return {"type": "string", "minLength": 1, "maxLength": _LONGEST_ANSWER}


def _closed(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _bounded(schema: Schema) -> Schema:
    """The schema of an object with a bound for each text of its own that has none."""
    parts = {
        name: part | {"maxLength": _LONGEST_ARGUMENT} if _is_unbounded(part) else part
        for name, part in schema.get("properties", {}).items()
    }
    return schema | {"type": "object", "properties": parts, "additionalProperties": False}


def _is_unbounded(schema: Any) -> bool:
    is_text = isinstance(schema, dict) and schema.get("type") == "string"
    return is_text and not schema.keys() & {"maxLength", "enum", "const", "pattern", "format"}


def _hoisted(schema: Schema, owner: str, definitions: Schema) -> Schema:
    """The schema without its definitions, which go to ``definitions`` under names of their owner's."""
    own = schema.get("$defs", {}) | schema.get("definitions", {})
    for name, part in own.items():
        definitions[f"{owner}.{name}"] = _pointing(part, owner)
    plain: Schema = _pointing({key: part for key, part in schema.items() if key not in ("$defs", "definitions")}, owner)
    return plain


def _pointing(part: Any, owner: str) -> Any:
    """A part of a schema with its references led to the definitions of their owner."""
    if isinstance(part, list):
        return [_pointing(each, owner) for each in part]
    if not isinstance(part, dict):
        return part
    led = {key: _pointing(each, owner) for key, each in part.items()}
    reference = led.get("$ref")
    if isinstance(reference, str) and reference.startswith(("#/$defs/", "#/definitions/")):
        led["$ref"] = f"#/$defs/{owner}.{reference.rpartition('/')[2]}"
    return led


class ReplyReader:
    """Reads a reply that is an answer or a call, as far as it has come."""

    def __init__(self) -> None:
        self._received = ""
        self._answered = 0
        self._begun = False

    def read(self, text: str) -> Iterator[ModelEvent]:
        """What more of the reply means; a text is told as it comes, a call's arguments when they are complete."""
        self._received += text
        reply = from_json(self._received, allow_partial="trailing-strings") if self._received.strip() else {}
        answer = reply.get("answer")
        if isinstance(answer, str) and len(answer) > self._answered:
            yield TextDelta(answer[self._answered :])
            self._answered = len(answer)
        if "arguments" in reply and not self._begun:
            self._begun = True
            yield CallStarted(0, random_call_id(), reply["function"])

    def finish(self, finished: TurnFinished) -> Iterator[ModelEvent]:
        """What is left to tell, and the end; a reply that was cut off is told as far as it came."""
        reply = from_json(self._received, allow_partial="trailing-strings") if self._received.strip() else {}
        if self._begun:
            yield ArgumentsDelta(0, json.dumps(reply["arguments"], ensure_ascii=False))
        answer = reply.get("answer")
        if answer is not None and not isinstance(answer, str):
            yield TextDelta(json.dumps(answer, ensure_ascii=False))
        is_call = self._begun and finished.reason == "stop"
        yield replace(finished, reason="tool_calls") if is_call else finished
