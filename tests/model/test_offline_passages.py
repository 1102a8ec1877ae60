"""The offline model answers questions from the passages that a search of files found."""

import json

import pytest

from lockstitch.assistants.model.built_in_tools import CODE_INTERPRETER, FILE_SEARCH
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    FunctionCall,
    FunctionTool,
    Message,
    ModelTurn,
    TextDelta,
    ToolRound,
)

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = FunctionTool("get_weather", "Current weather in a city.", CITY)
PASSAGES = """【4:0†returns.md】
# Returns

Items may be returned within 30 days of delivery. Shipping back is free in Norway.
Refunds reach your account five days later.

【4:1†parking.txt】
How much is parking?
- Parking is $5 an hour.
- Staff park for free behind the building.

【4:2†returns-old.md】
Items may be returned within 30 days of delivery. Refunds were slow.
"""


async def take(said: str, *tools: FunctionTool, output: str | None = None) -> tuple[str, dict[str, str]]:
    """The text of a turn, and the arguments of its calls by name; ``output`` is what a search found before."""
    call = FunctionCall("call_1", "file_search", "{}", output or "")
    rounds = () if output is None else (ToolRound((call,)),)
    turn = ModelTurn("offline", "", (Message("user", (said,)),), tools=tools or (FILE_SEARCH,), rounds=rounds)
    events = [event async for event in OfflineModel().stream(turn)]
    calls = {
        call.name: "".join(e.delta for e in events if isinstance(e, ArgumentsDelta) and e.index == call.index)
        for call in (event for event in events if isinstance(event, CallStarted))
    }
    return "".join(event.text for event in events if isinstance(event, TextDelta)), calls


@pytest.mark.parametrize(
    "said", ["How long may items be returned?", "Explain the refunds", "Tell me about parking", "refunds?"]
)
async def test_a_question_is_searched_for_in_the_users_words(said: str) -> None:
    _, calls = await take(said)

    assert {name: json.loads(arguments) for name, arguments in calls.items()} == {"file_search": {"query": said}}


@pytest.mark.parametrize("said", ["Hello there", "Thank you", "", "What can you do for me?"])
async def test_what_is_no_question_is_not_searched_for(said: str) -> None:
    assert (await take(said))[1] == {}


async def test_a_function_that_fits_is_called_instead_unless_the_message_speaks_of_files() -> None:
    tools = (FILE_SEARCH, WEATHER)

    assert list((await take("What is the weather in Oslo?", *tools))[1]) == ["get_weather"]
    assert list((await take("What do the files say of the weather in Oslo?", *tools))[1]) == [
        "file_search",
        "get_weather",
    ]
    assert list((await take("What is 17 * 23?", FILE_SEARCH, CODE_INTERPRETER))[1]) == ["code_interpreter"]


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (
            "How long do customers have to return an item?",
            "Items may be returned within 30 days of delivery.【4:0†returns.md】",
        ),
        ("What does parking cost per hour?", "Parking is $5 an hour.【4:1†parking.txt】"),
        ("When do refunds reach my account?", "Refunds reach your account five days later.【4:0†returns.md】"),
        ("Is shipping free in Norway?", "Shipping back is free in Norway.【4:0†returns.md】"),
    ],
)
async def test_the_best_sentence_is_the_answer_with_its_mark_behind_it(said: str, answer: str) -> None:
    text, calls = await take(said, output=PASSAGES)

    assert calls == {}
    assert text == f"Offline model: {answer}"


async def test_several_sentences_that_answer_are_told_each_with_its_mark() -> None:
    passages = "【1:0†a.txt】\nThe pump needs oil every week.\n\n【1:1†b.txt】\nOil for the pump is in the cellar.\n"

    assert (await take("Where is the oil of the pump?", output=passages))[0] == (
        "Offline model: The pump needs oil every week.【1:0†a.txt】 Oil for the pump is in the cellar.【1:1†b.txt】"
    )


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        (PASSAGES, "The search found passages, but none of them answers the question."),
        ("", "The search found no passage that answers this."),
        ("No passages fit.", "The search found no passage that answers this. It said: No passages fit."),
    ],
)
async def test_what_is_not_in_the_files_is_not_answered(output: str, answer: str) -> None:
    text, _ = await take("Who wrote the constitution of Iceland?", output=output)

    assert text == f"Offline model: {answer}"
