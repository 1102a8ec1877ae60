"""The offline model: which functions it calls, what it answers, and that it keeps to its budget."""

import json
import re
from typing import Any

import pytest

from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.model.tokens import count_tokens
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    FunctionCall,
    FunctionTool,
    Message,
    ModelTurn,
    NamedFunction,
    TextDelta,
    ToolRound,
    TurnFinished,
)

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = FunctionTool("get_weather", "Current weather in a city.", CITY)
SALES = FunctionTool("salesReport", "", {"type": "object", "properties": {}})
MAIL = FunctionTool("send_mail", "Writes to a person.", {"type": "object", "properties": {}})


def turn(said: str, *tools: FunctionTool, **settings: Any) -> ModelTurn:
    return ModelTurn("offline", "", (Message("user", (said,)),), tools=tools, **settings)


def answered(*names: str, output: str = "{}") -> tuple[ToolRound, ...]:
    return tuple(ToolRound((FunctionCall(f"call_{name}", name, "{}", output),)) for name in names)


async def take(asked: ModelTurn) -> tuple[str, dict[str, str], TurnFinished]:
    """The text, the calls' arguments by name, and the end of a turn."""
    events = [event async for event in OfflineModel().stream(asked)]
    names = {event.index: event.name for event in events if isinstance(event, CallStarted)}
    calls = dict.fromkeys(names.values(), "")
    for event in events:
        if isinstance(event, ArgumentsDelta):
            calls[names[event.index]] += event.delta
    finished = events[-1]
    assert isinstance(finished, TurnFinished)
    return "".join(event.text for event in events if isinstance(event, TextDelta)), calls, finished


@pytest.mark.parametrize(
    ("said", "called"),
    [
        ("What is the weather in Oslo?", ["get_weather"]),
        ("Any sale today?", ["salesReport"]),
        ("Weather and sales please", ["get_weather", "salesReport"]),
        ("Write to Ada", ["send_mail"]),
        ("Say something about persons", ["send_mail"]),
        ("What can you do for me?", []),
    ],
)
async def test_functions_are_called_whose_words_the_message_has(said: str, called: list[str]) -> None:
    text, calls, finished = await take(turn(said, WEATHER, SALES, MAIL))

    assert list(calls) == called
    assert finished.reason == ("tool_calls" if called else "stop")
    assert bool(text) != bool(called)


async def test_arguments_are_filled_from_the_message() -> None:
    _, calls, _ = await take(turn("What is the weather in Oslo?", WEATHER))

    assert json.loads(calls["get_weather"]) == {"city": "Oslo"}


@pytest.mark.parametrize(
    ("done", "called"), [((), "send_mail"), (("send_mail",), "get_weather"), (("send_mail", "get_weather"), None)]
)
async def test_with_then_functions_are_called_in_the_order_of_the_message(
    done: tuple[str, ...], called: str | None
) -> None:
    asked = turn("First the mail, then the weather", WEATHER, MAIL, rounds=answered(*done))

    assert list((await take(asked))[1]) == ([called] if called else [])


async def test_without_parallel_calls_each_round_has_one() -> None:
    asked = turn("Weather and sales", WEATHER, SALES, parallel_tool_calls=False)
    second = turn("Weather and sales", WEATHER, SALES, parallel_tool_calls=False, rounds=answered("get_weather"))

    assert list((await take(asked))[1]) == ["get_weather"]
    assert list((await take(second))[1]) == ["salesReport"]


@pytest.mark.parametrize(
    ("choice", "first", "second"),
    [
        ("required", ["get_weather", "salesReport"], []),
        ("none", [], []),
        (NamedFunction("salesReport"), ["salesReport"], []),
    ],
)
async def test_a_tool_choice_forces_calls_in_the_first_turn_only(
    choice: Any, first: list[str], second: list[str]
) -> None:
    asked = turn("Hello", WEATHER, SALES, tool_choice=choice)
    later = turn("Hello", WEATHER, SALES, tool_choice=choice, rounds=answered(*first) or answered("other"))

    assert list((await take(asked))[1]) == first
    assert list((await take(later))[1]) == second


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ('{"city": "Oslo", "degrees": 7}', "get_weather: city Oslo, degrees 7."),
        ('{"rain": true, "wind": {"from": "west"}}', "get_weather: rain yes, wind (from west)."),
        ("[1, 2]", "get_weather: 1; 2."),
        ("Sunny!", "get_weather: Sunny!"),
        ("", "get_weather: nothing."),
        ('{"error": "no such city"}', "get_weather failed: no such city."),
        ('{"error": {"message": "timeout"}}', "get_weather failed: timeout."),
        ("Error: broken", "get_weather failed: broken."),
    ],
)
async def test_the_answer_tells_what_the_functions_gave_back(output: str, sentence: str) -> None:
    text, _, _ = await take(turn("Weather in Oslo", WEATHER, rounds=answered("get_weather", output=output)))

    assert text == f"Offline model: {sentence}"


async def test_without_tools_it_says_what_it_is_and_what_was_asked() -> None:
    text, _, finished = await take(turn("How are you?"))

    assert text.startswith('Offline model: you asked "How are you?"')
    assert finished.usage.completion_tokens == count_tokens(text)
    assert finished.usage.prompt_tokens == count_tokens("How are you?")


async def test_the_text_comes_word_by_word() -> None:
    events = [event async for event in OfflineModel().stream(turn("How are you?"))]

    assert [event.text for event in events[:3] if isinstance(event, TextDelta)] == ["Offline ", "model: ", "you "]


async def test_an_answer_that_is_too_long_is_cut_at_the_budget() -> None:
    text, _, finished = await take(turn("How are you?", max_completion_tokens=5))

    assert finished.reason == "length"
    assert finished.usage.completion_tokens == 5
    assert count_tokens(text) == 5


async def test_calls_that_are_too_long_are_cut_at_the_budget() -> None:
    whole = (await take(turn("Weather in Oslo", WEATHER)))[1]["get_weather"]
    _, calls, finished = await take(turn("Weather in Oslo", WEATHER, max_completion_tokens=4))

    assert finished.reason == "length"
    assert whole.startswith(calls["get_weather"])
    assert calls["get_weather"] != whole


async def test_the_answer_is_json_when_the_run_asks_for_it() -> None:
    text, _, _ = await take(turn("Hello there", response_format={"type": "json_object"}))

    assert json.loads(text)["answer"].startswith("Offline model:")


async def test_the_answer_fits_the_schema_that_the_run_asks_for() -> None:
    parts = {"score": {"type": "integer"}, "summary": {"type": "string"}}
    schema = {"type": "object", "properties": parts, "required": ["score", "summary"]}
    form = {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}
    text, _, _ = await take(turn("Rate it 9", response_format=form))

    assert json.loads(text)["score"] == 9
    assert json.loads(text)["summary"].startswith("Offline model:")


async def test_only_the_ids_of_calls_differ_and_they_can_be_given() -> None:
    asked = turn("Weather and sales in Oslo", WEATHER, SALES)
    ids = [event.call_id async for event in OfflineModel().stream(asked) if isinstance(event, CallStarted)]
    numbers = iter(range(2))
    model = OfflineModel(new_call_id=lambda: f"call_{next(numbers)}")
    given = [event.call_id async for event in model.stream(asked) if isinstance(event, CallStarted)]

    assert all(re.fullmatch(r"call_[A-Za-z0-9]{24}", call_id) for call_id in ids)
    assert len(set(ids)) == 2
    assert given == ["call_0", "call_1"]
