"""Token counts by OpenAI's o200k vocabulary, which is bundled: nothing is downloaded."""

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

from lockstitch.assistants.model.turn import ModelTurn

_PIECE = 50_000
"""Characters that are encoded at once: the encoder refuses pieces of more than 200,000 tokens."""


@cache
def load_vocabulary() -> Any:
    """Load the vocabulary, once per process: it takes about a second, so do it before the first turn."""
    with warnings.catch_warnings():
        # The package reads its data in a way that Python 3.11 and 3.12 call deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        import bpe_openai  # type: ignore[import-untyped]  # no stubs

        return bpe_openai.get_encoding("o200k_base")


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def count_tokens(text: str) -> int:
    """How many tokens ``text`` is."""
    return sum(len(load_vocabulary().encode_ordinary(piece)) for piece in _pieces(text))


def first_tokens(text: str, limit: int) -> str:
    """The beginning of ``text`` that fits into ``limit`` tokens, without half a character at its end."""
    kept: list[int] = []
    for piece in _pieces(text):
        kept += load_vocabulary().encode_ordinary(piece)
        if len(kept) > limit:
            return str(load_vocabulary().decode(kept[: max(limit, 0)], errors="ignore"))
    return text


def count_prompt(turn: ModelTurn) -> int:
    """How many tokens a turn's instructions, messages and tool rounds are; images count nothing."""
    texts = [turn.instructions, *(message.text for message in turn.messages)]
    for tool_round in turn.rounds:
        texts += [text for call in tool_round.calls for text in (call.name, call.arguments, call.output)]
    return sum(count_tokens(text) for text in texts)
