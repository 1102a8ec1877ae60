"""The local model itself, with its real weights: `make local-model` installs it and runs these."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import openai
import psutil
import pytest

from lockstitch.assistants.model.local import LocalModel
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
from lockstitch.errors import UpstreamError
from lockstitch.tools import tool

pytestmark = pytest.mark.local_model


def object_of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


WEATHER = FunctionTool("get_weather", "Current weather in a city.", object_of(city={"type": "string"}))
PEOPLE = FunctionTool("get_population", "How many people live in a city.", object_of(city={"type": "string"}))
ORDERS = FunctionTool("lookup_order", "Look up the status of an order.", object_of(order_id={"type": "string"}))
MAIL = FunctionTool("send_mail", "Send a mail to a person.", object_of(to={"type": "string"}, text={"type": "string"}))


@pytest.fixture(scope="module")
async def model() -> AsyncIterator[LocalModel]:
    started = await LocalModel.start()
    yield started
    await started.aclose()


def turn(said: str, *tools: FunctionTool, **settings: Any) -> ModelTurn:
    return ModelTurn("local", "", (Message("user", (said,)),), tools=tools, **settings)


async def take(model: LocalModel, asked: ModelTurn) -> list[ModelEvent]:
    return [event async for event in model.stream(asked)]


def text_of(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def call_of(events: list[ModelEvent]) -> tuple[str, str] | None:
    started = [event.name for event in events if isinstance(event, CallStarted)]
    return (started[0], "".join(e.delta for e in events if isinstance(e, ArgumentsDelta))) if started else None


async def test_a_run_calls_the_function_that_fits_and_answers_from_its_output(model: LocalModel, engine: Any) -> None:
    """A real model chooses, a real worker calls the handler, and the answer says what came back."""
    asked_for = []

    @tool
    async def get_weather(city: str) -> dict[str, Any]:
        """Current weather in a city."""
        asked_for.append(city)
        return {"temperature": 31, "condition": "sunny"}

    @tool
    async def get_population(city: str) -> int:
        """How many people live in a city."""
        raise AssertionError(city)

    async with engine([get_population, get_weather], model=model) as up:
        run_id = await up.starter.start(await up.request("What is the weather in the city of Oslo?"))
        result = await up.starter.result(run_id)

    assert result.status == "completed"
    assert asked_for == ["Oslo"]
    assert "31" in result.last_message_text
    assert "sunny" in result.last_message_text


@pytest.mark.parametrize(
    ("said", "call"),
    [
        ("What is the weather in Oslo?", ("get_weather", '{"city": "Oslo"}')),
        ("Where is my order A-17?", ("lookup_order", '{"order_id": "A-17"}')),
        ("Tell me the weather of the city Bergen", ("get_weather", '{"city": "Bergen"}')),
        ("How many people live in the city of Rome?", ("get_population", '{"city": "Rome"}')),
        ("Check order 99", ("lookup_order", '{"order_id": "99"}')),
        ("What is the capital of France?", None),
    ],
)
async def test_it_calls_what_fits_or_answers(model: LocalModel, said: str, call: tuple[str, str] | None) -> None:
    events = await take(model, turn(said, WEATHER, PEOPLE, ORDERS, MAIL))

    assert call_of(events) == call
    assert bool(text_of(events)) is (call is None)


async def test_a_named_function_is_called_whatever_was_said(model: LocalModel) -> None:
    events = await take(model, turn("Hello", WEATHER, MAIL, tool_choice=NamedFunction("send_mail")))
    called = call_of(events)

    assert called is not None
    assert called[0] == "send_mail"
    assert isinstance(events[-1], TurnFinished)
    assert events[-1].reason == "tool_calls"
    assert call_of(await take(model, turn("Hello", WEATHER, tool_choice="none"))) is None


async def test_text_comes_in_pieces_and_keeps_to_its_budget(model: LocalModel) -> None:
    events = await take(model, turn("Tell me a long story.", max_completion_tokens=7))
    finished = events[-1]

    assert isinstance(finished, TurnFinished)
    assert (finished.reason, finished.usage.completion_tokens) == ("length", 7)
    assert len(events) > 3


async def test_an_answer_fits_the_schema_that_is_asked_for(model: LocalModel) -> None:
    schema = object_of(stars={"type": "integer", "minimum": 1, "maximum": 5})
    form = {"type": "json_schema", "json_schema": {"name": "rating", "schema": schema}}
    events = await take(model, turn("Rate the weather in Rome.", response_format=form))

    assert text_of(events).replace(" ", "").replace("\n", "") in {f'{{"stars":{number}}}' for number in range(1, 6)}


async def test_a_schema_that_cannot_be_kept_to_is_refused(model: LocalModel) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "odd", "schema": object_of(a={"type": "strange"})}}

    with pytest.raises(openai.BadRequestError, match="strange"):
        await take(model, turn("Hello", response_format=form))


async def test_an_image_is_refused(model: LocalModel) -> None:
    seen = Message("user", ("What is this?", ImagePart("data:image/png;base64,AAAA")))

    with pytest.raises(UpstreamError, match="cannot see images") as caught:
        await take(model, ModelTurn("local", "", (seen,)))

    assert (caught.value.code, caught.value.retryable) == ("invalid_prompt", False)


async def test_a_turn_that_is_given_up_leaves_the_model_to_the_next(model: LocalModel) -> None:
    events = model.stream(turn("Tell me a long story."))
    await anext(events)
    await events.aclose()  # type: ignore[attr-defined]  # the protocol's iterators are generators

    assert text_of(await take(model, turn("Hello")))


async def test_a_process_that_was_killed_is_started_anew_and_ends_with_the_model() -> None:
    model = await LocalModel.start()
    process = model._process
    assert process is not None
    os.kill(process._process.pid, signal.SIGKILL)
    await process._process.wait()

    assert text_of(await take(model, turn("Hello")))
    assert model._process is not process
    running = model._process
    await model.aclose()
    await model.aclose()
    assert running is not None
    assert not running.is_running


async def test_the_process_ends_when_whoever_started_it_is_killed(eventually: Any) -> None:
    code = (
        "import asyncio\n"
        "from lockstitch.assistants.model.local import LocalModel\n"
        "async def main():\n"
        "    model = await LocalModel.start()\n"
        "    print(model._process._process.pid, flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    worker = await asyncio.create_subprocess_exec(sys.executable, "-P", "-c", code, stdout=asyncio.subprocess.PIPE)
    assert worker.stdout is not None
    pid = int(await worker.stdout.readline())
    assert psutil.pid_exists(pid)
    worker.kill()
    await worker.wait()

    async def is_gone() -> bool:
        return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    await eventually(is_gone)
