"""The scripted model: which entry serves a turn, how it fails, and what a wrong script is told."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lockstitch.assistants.model import script as script_module
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    FunctionCall,
    Message,
    ModelEvent,
    ModelTurn,
    TextDelta,
    ToolRound,
    TurnFinished,
    Usage,
)
from lockstitch.errors import ModelScriptInvalid, UpstreamError


def turn(said: str = "hello", rounds: int = 0) -> ModelTurn:
    done = ToolRound((FunctionCall("call_1", "f", "{}", "{}"),))
    return ModelTurn("scripted", "", (Message("user", (said,)),), rounds=(done,) * rounds)


async def take(model: ScriptedModel, asked: ModelTurn) -> list[ModelEvent]:
    return [event async for event in model.stream(asked)]


async def say(model: ScriptedModel, asked: ModelTurn) -> str:
    return "".join(event.text for event in await take(model, asked) if isinstance(event, TextDelta))


async def test_the_first_entry_that_matches_the_message_and_the_round_is_done() -> None:
    model = ScriptedModel(
        [{"when": "Weather", "round": 1, "say": "seven"}, {"when": "weather", "say": "wait"}, {"say": "what?"}]
    )

    assert await say(model, turn("the weather", rounds=1)) == "seven"
    assert await say(model, turn("the weather")) == "wait"
    assert await say(model, turn("hello")) == "what?"
    assert await say(model, turn("hello")) == "what?"


async def test_an_entry_serves_no_more_than_its_times() -> None:
    model = ScriptedModel([{"say": "once", "times": 1}, {"say": "later"}])

    assert [await say(model, turn()) for _ in range(3)] == ["once", "later", "later"]


async def test_text_comes_word_by_word_and_calls_after_it() -> None:
    called = {"name": "f", "arguments": {"a": 1}, "call_id": "call_x"}
    model = ScriptedModel([{"say": "Let me look.", "call": [called, {"name": "g", "arguments": "{bad"}]}])
    events = await take(model, turn())

    assert events[:3] == [TextDelta("Let "), TextDelta("me "), TextDelta("look.")]
    assert events[3:5] == [CallStarted(0, "call_x", "f"), ArgumentsDelta(0, '{"a": 1}')]
    assert isinstance(events[5], CallStarted)
    assert events[5].call_id.startswith("call_")
    assert events[6] == ArgumentsDelta(1, "{bad")
    assert isinstance(events[7], TurnFinished)
    assert events[7].reason == "tool_calls"


async def test_long_answers_have_as_many_words_as_the_script_says() -> None:
    events = await take(ScriptedModel([{"say": "on and", "say_words": 500}]), turn())

    assert len(events) == 501
    assert events[2] == TextDelta("on ")


async def test_finish_and_usage_are_those_of_the_script() -> None:
    used = {"prompt_tokens": 12, "completion_tokens": 3, "cached_tokens": 2, "reasoning_tokens": 1}
    events = await take(ScriptedModel([{"say": "cut", "finish": "length", "usage": used}]), turn())

    assert events[-1] == TurnFinished("length", Usage(**used))


async def test_a_failure_comes_after_its_deltas_and_stops_after_its_times() -> None:
    fail = {"status": 429, "message": "Slow down", "retry_after_seconds": 2, "after_deltas": 2, "times": 1}
    model = ScriptedModel([{"say": "one two three", "fail": fail}])
    failing = model.stream(turn())
    seen = [await anext(failing), await anext(failing)]
    with pytest.raises(UpstreamError, match="Slow down") as caught:
        await anext(failing)

    assert seen == [TextDelta("one "), TextDelta("two ")]
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    assert caught.value.retryable
    assert caught.value.retry_after == timedelta(seconds=2)
    assert await say(model, turn()) == "one two three"


@pytest.mark.parametrize(
    ("fail", "code", "retryable"),
    [
        ({"status": 503}, "server_error", True),
        ({}, "server_error", True),
        ({"status": 400}, "invalid_prompt", False),
        ({"status": 429, "code": "insufficient_quota"}, "insufficient_quota", True),
    ],
)
async def test_the_status_says_whether_another_try_is_worth_it(
    fail: dict[str, Any], code: str, retryable: bool
) -> None:
    with pytest.raises(UpstreamError) as caught:
        await take(ScriptedModel([{"say": "x", "fail": fail}]), turn())

    assert (caught.value.code, caught.value.retryable) == (code, retryable)


async def test_a_turn_that_no_entry_matches_is_refused_for_good() -> None:
    with pytest.raises(UpstreamError, match="has no turn for this message in round 2") as caught:
        await take(ScriptedModel([{"round": 0, "say": "x"}]), turn(rounds=2))

    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[{"say": "x"}, {"sya": "y"}]', r"\[1\]\.sya: unknown field"),
        ('[{"call": [{"name": "f", "argument": {}}]}]', r"\[0\]\.call\[0\]\.argument: unknown field"),
        ('[{"delay_seconds": -1}]', r"\[0\]\.delay_seconds: .*greater than or equal to 0"),
        ('{"say": "x"}', "must be a JSON array of turns"),
        ("[", "it is not JSON"),
    ],
)
def test_a_wrong_script_is_told_where_it_is_wrong(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "script.json"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(ModelScriptInvalid, match=problem) as caught:
        ScriptedModel.from_file(path)
    assert str(path) in str(caught.value)


def test_a_script_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelScriptInvalid, match=r"absent\.json cannot be used: No such file"):
        ScriptedModel.from_file(tmp_path / "absent.json")


async def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    documented = script_module.__doc__ or ""
    example = documented[documented.index("    [\n") : documented.index("    ]\n") + 5]
    path = tmp_path / "script.json"
    path.write_text(json.dumps(json.loads(example)), encoding="utf-8")
    model = ScriptedModel.from_file(path)

    assert await say(model, turn("the weather", rounds=1)) == "It is 7 degrees in Oslo."
    assert repr(model) == f"ScriptedModel({str(path)!r}, entries=5, served=1)"
