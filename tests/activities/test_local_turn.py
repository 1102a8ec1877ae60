"""One turn of a run of our own server, told by a model that does what no script can."""

import json
from collections.abc import AsyncIterator, Sequence

import pytest

from lockstitch.activities.backends.base import Patience
from lockstitch.activities.backends.local import LocalBackend
from lockstitch.activities.event_recorder import EventRecorder
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    ModelEvent,
    ModelTurn,
    TextDelta,
    TurnFinished,
    Usage,
)
from lockstitch.assistants.store import assistants, event_log, steps, threads
from lockstitch.assistants.store.rows import PageCursor
from lockstitch.starter.contract import NewMessage, ThreadRunRequest

USAGE = Usage(prompt_tokens=7, completion_tokens=3)


class Sayings:
    """A model that says the same in each of its turns."""

    name = "offline"

    def __init__(self, events: Sequence[ModelEvent]) -> None:
        self.events = events
        self.asked: list[ModelTurn] = []

    async def stream(self, turn: ModelTurn) -> AsyncIterator[ModelEvent]:
        self.asked.append(turn)
        for event in self.events:
            yield event

    async def aclose(self) -> None:
        pass


@pytest.fixture
def take_turn(database):
    """Take the first turn of a new run with what a model says; return where the run stopped."""

    async def take(*events: ModelEvent, **parameters):
        columns = {"model": "test", "tools": [], "tool_resources": {}, "metadata": {}}
        assistant = await database.write(lambda connection: assistants.create(connection, columns, 0))
        asked = [NewMessage(role="user", content="Well?")]
        request = ThreadRunRequest(assistant_id=assistant["id"], messages=asked, **parameters)
        backend = LocalBackend(database, Sayings(events), handled=())
        run = await backend.create("run_1", request)
        async with EventRecorder(database, "run_1", attempt=1) as recorder:
            async for progress in backend.follow(run, 1, 1, Patience()):
                await recorder.record(progress)
        return await backend.retrieve(run)

    return take


async def names(database) -> list[str]:
    events = await database.read(lambda connection: event_log.after(connection, "run_1", 4))
    return [event.event.removeprefix("thread.") for event in events]


async def test_text_before_the_calls_and_text_among_them_is_a_message_each(database, take_turn):
    stop = await take_turn(
        TextDelta("First."),
        CallStarted(0, "call_a", "find"),
        TextDelta("Second."),
        ArgumentsDelta(0, "{}"),
        CallStarted(1, "call_b", "find"),
        TextDelta(" Third."),
        TurnFinished("tool_calls", USAGE),
    )
    page = await database.read(lambda it: threads.list_messages(it, stop.run.thread_id, PageCursor(), "run_1"))
    open_steps = await database.read(lambda connection: steps.open_steps(connection, "run_1"))

    assert [row["content"][0]["text"]["value"] for row in page.rows] == ["Second. Third.", "First."]
    assert {row["status"] for row in page.rows} == {"completed"}
    assert [call.call_id for call in stop.calls] == ["call_a", "call_b"]
    assert [step["type"] for step in open_steps] == ["tool_calls"]
    assert (await names(database)).count("message.completed") == 2


async def test_the_usage_of_a_turn_stands_in_one_step(database, take_turn):
    await take_turn(TextDelta("Hm."), CallStarted(0, "call_a", "find"), TurnFinished("tool_calls", USAGE))
    found = await database.read(lambda it: steps.listed(it, {"id": "run_1"}, PageCursor()))

    assert [step["usage"] and step["usage"]["prompt_tokens"] for step in found.rows] == [7, None]


async def test_a_turn_that_says_nothing_leaves_an_empty_message(database, take_turn):
    stop = await take_turn(TurnFinished("stop", USAGE))

    assert (stop.status, stop.last_message_text) == ("completed", "")


async def test_a_turn_that_is_cut_off_among_its_calls_asks_for_nothing(database, take_turn):
    stop = await take_turn(
        TextDelta("Let me look."),
        CallStarted(0, "call_a", "find"),
        ArgumentsDelta(0, '{"n'),
        TurnFinished("length", USAGE),
    )

    assert (stop.status, stop.calls, stop.last_message_text) == ("incomplete", [], "Let me look.")
    assert await names(database) == [
        "run.step.created", "run.step.in_progress", "message.created", "message.in_progress", "message.delta",
        "message.completed", "run.step.completed",
        "run.step.created", "run.step.in_progress", "run.step.delta", "run.step.delta",
        "run.step.completed", "run.incomplete",
    ]  # fmt: skip


async def test_a_filtered_answer_fails_the_run(database, take_turn):
    stop = await take_turn(TextDelta("Well,"), TurnFinished("content_filter", USAGE))

    assert (stop.status, stop.last_error.code) == ("failed", "invalid_prompt")


async def test_a_call_without_an_id_of_its_own_gets_one(database, take_turn):
    stop = await take_turn(CallStarted(0, "", "find"), TurnFinished("tool_calls", USAGE))

    [call] = stop.calls
    assert call.call_id.startswith("call_")
    [asked] = [
        json.loads(event.data)
        for event in await database.read(lambda connection: event_log.after(connection, "run_1", 0))
        if event.event == "thread.run.requires_action"
    ]
    assert asked["required_action"]["submit_tool_outputs"]["tool_calls"][0]["id"] == call.call_id
