"""What a turn keeps of a thread that is too long."""

import pytest

from lockstitch.activities.backends.truncation import fit, prompt_tokens, surely_fits
from lockstitch.assistants.model.context_windows import context_window
from lockstitch.assistants.model.turn import FunctionCall, FunctionTool, Message, ModelTurn, ToolRound

WORDS = "one two three four five six seven eight nine ten"  # ten tokens, and four that frame a message


def turn(*texts, **values):
    return ModelTurn("gpt-4o", "", tuple(Message("user", (text,)) for text in texts), **values)


def kept(made):
    return [message.text.split()[0] for message in made.messages]


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (4 + 5 * 14, ["a", "b", "c", "d", "e"]),
        (4 + 4 * 14, ["a", "c", "d", "e"]),
        (4 + 2 * 14, ["a", "e"]),
        (4 + 14, ["e"]),
        (0, ["e"]),
    ],
)
def test_messages_in_the_middle_are_dropped_until_the_rest_fits(room, expected):
    long = turn(*(f"{name} {WORDS.removeprefix('one ')}" for name in "abcde"))
    fitted = fit(long, room)

    assert kept(fitted) == expected
    assert room < 18 or prompt_tokens(fitted) <= room


def test_a_first_message_that_is_too_long_goes_before_the_newest_ones():
    assert kept(fit(turn("a " + WORDS * 20, f"b {WORDS}", f"c {WORDS}"), 60)) == ["b", "c"]


def test_tool_rounds_and_tools_take_room_and_are_never_dropped():
    rounds = (ToolRound((FunctionCall("call_1", "f", "{}", WORDS * 3),)),)
    tools = (FunctionTool("f", WORDS, {"type": "object"}),)
    bare, full = turn("a", "b", "c"), turn("a", "b", "c", rounds=rounds, tools=tools)
    fitted = fit(full, prompt_tokens(bare))

    assert prompt_tokens(full) > prompt_tokens(bare) + 40
    assert (kept(fitted), fitted.rounds, fitted.tools) == (["c"], rounds, tools)


def test_a_short_turn_is_known_to_fit_without_counting_tokens():
    assert surely_fits(turn("short"), 100)
    assert not surely_fits(turn("x" * 200), 100)
    assert fit(turn(), 0).messages == ()


@pytest.mark.parametrize(
    ("model", "window"),
    [("gpt-4", 8192), ("gpt-4o-mini", 128_000), ("gpt-4.1-nano", 1_047_576), ("gpt-3.5-turbo-0125", 16_385)],
)
def test_the_window_follows_from_the_longest_known_beginning_of_the_name(model, window):
    assert context_window(model) == window
    assert context_window("llama-3") is None
