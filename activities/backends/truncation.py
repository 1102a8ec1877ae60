"""Which of a thread's messages a model turn keeps, so that it fits.

The Assistants API's truncation strategy ``auto`` drops messages in the middle of the thread; what is kept is the
first message and the newest ones.
"""

import json
from dataclasses import replace

from lockstitch.assistants.model.tokens import count_tokens
from lockstitch.assistants.model.turn import Message, ModelTurn

_FRAME = 4
"""Tokens that mark where a message, a call or a tool begins and ends."""


def prompt_tokens(turn: ModelTurn) -> int:
    """Return how many tokens the turn's prompt has, by OpenAI's vocabulary; images count nothing."""
    return _fixed_tokens(turn) + sum(map(_message_tokens, turn.messages))


def surely_fits(turn: ModelTurn, most: int) -> bool:
    """Tell without counting tokens whether the turn is small: no text has more tokens than bytes."""
    texts = [*_fixed_texts(turn), *(message.text for message in turn.messages)]
    return sum(len(text.encode()) + _FRAME for text in texts) <= most


def fit(turn: ModelTurn, most: int) -> ModelTurn:
    """Return the turn with so many of its messages as have room in ``most`` tokens; the newest is always kept."""
    if not turn.messages or surely_fits(turn, most):
        return turn
    *others, newest = turn.messages
    room = most - _fixed_tokens(turn) - _message_tokens(newest)
    sizes = [_message_tokens(message) for message in others]
    if sum(sizes) <= room:
        return turn
    first: list[Message] = []
    if others and sizes[0] <= room:
        first, room = [others[0]], room - sizes[0]
    begin = len(others)
    while begin > len(first) and sizes[begin - 1] <= room:
        begin -= 1
        room -= sizes[begin]
    return replace(turn, messages=(*first, *others[begin:], newest))


def _fixed_texts(turn: ModelTurn) -> list[str]:
    """Return what a turn says beside the thread's messages."""
    calls = [call for tool_round in turn.rounds for call in tool_round.calls]
    said = [text for call in calls for text in (call.name, call.arguments, call.output)]
    tools = [text for tool in turn.tools for text in (tool.name, tool.description, json.dumps(tool.parameters))]
    return [turn.instructions, *said, *tools]


def _fixed_tokens(turn: ModelTurn) -> int:
    return sum(count_tokens(text) + _FRAME for text in _fixed_texts(turn))


def _message_tokens(message: Message) -> int:
    return count_tokens(message.text) + _FRAME
