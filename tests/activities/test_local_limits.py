"""The limits of a run of our own server: its tokens, its context, its time."""

import time

import pytest

from lockstitch.activities.backends.base import Patience
from lockstitch.activities.backends.local import LocalBackend
from lockstitch.activities.event_recorder import EventRecorder
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.store import assistants, event_log, rows, runs
from lockstitch.assistants.store.schema import runs as runs_table
from lockstitch.starter.contract import LastError, NewMessage, ThreadRunRequest, ToolOutput

FUNCTION = {"type": "function", "function": {"name": "find"}}
CALL = {"call": [{"name": "find", "arguments": {}}]}


class Listening(ScriptedModel):
    """A scripted model that remembers its turns."""

    def __init__(self, script):
        super().__init__(script)
        self.turns = []

    def stream(self, turn):
        self.turns.append(turn)
        return super().stream(turn)


class LocalRun:
    """One run, carried from turn to turn."""

    def __init__(self, database, model, **settings):
        self.database, self.model = database, model
        self.backend = LocalBackend(database, model, handled=(), **settings)

    async def start(self, *texts, **parameters):
        columns = {"model": "test", "tools": [FUNCTION], "tool_resources": {}, "metadata": {}}
        assistant = await self.database.write(lambda connection: assistants.create(connection, columns, 0))
        asked = [NewMessage(role="user", content=text) for text in texts]
        request = ThreadRunRequest(assistant_id=assistant["id"], messages=asked, **parameters)
        self.run = await self.backend.create("run_1", request)

    async def take_turn(self, number=1):
        async with EventRecorder(self.database, "run_1", attempt=1) as recorder:
            async for progress in self.backend.follow(self.run, number, 1, Patience()):
                await recorder.record(progress)
        return await self.row()

    async def answer(self):
        stop = await self.backend.retrieve(self.run)
        outputs = [ToolOutput(tool_call_id=call.call_id, output="found") for call in stop.calls]
        await self.backend.submit(self.run, outputs, [])

    async def row(self):
        return await self.database.read(lambda connection: runs.find(connection, "run_1"))


@pytest.fixture
def local_run(database):
    """Make a run whose model follows a script."""
    return lambda script, **settings: LocalRun(database, Listening(script), **settings)


@pytest.mark.parametrize("limit", ["max_prompt_tokens", "max_completion_tokens"])
async def test_the_tokens_of_all_turns_count_together(local_run, limit):
    used = {"prompt_tokens": 60, "completion_tokens": 60}
    run = local_run([{**CALL, "usage": used}, {"say": "Found.", "usage": used}])
    await run.start("Find it.", **{limit: 100 if limit == "max_prompt_tokens" else 60})
    asking = await run.take_turn()
    await run.answer()
    ended = await run.take_turn(2)

    assert (asking["status"], ended["status"]) == ("requires_action", "incomplete")
    assert ended["incomplete_details"] == {"reason": limit}
    assert ended["completed_at"] is not None
    assert len(run.model.turns) == 1


async def test_the_model_is_told_what_is_left_of_the_tokens_of_the_run(local_run):
    run = local_run([{**CALL, "usage": {"prompt_tokens": 9, "completion_tokens": 60}}, {"say": "Found."}])
    await run.start("Find it.", max_completion_tokens=100)
    await run.take_turn()
    await run.answer()
    await run.take_turn(2)

    assert [turn.max_completion_tokens for turn in run.model.turns] == [100, 40]


async def test_a_thread_that_is_too_long_for_the_model_loses_its_middle(local_run):
    run = local_run([{"say": "Well."}], context_tokens=100)
    await run.start("first", *["padding " * 20] * 5, "last")
    ended = await run.take_turn()

    assert ended["status"] == "completed"
    [turn] = run.model.turns
    assert [message.text.split()[0] for message in turn.messages] == ["first", "padding", "last"]


async def test_a_budget_of_prompt_tokens_shortens_the_thread_too(local_run):
    run = local_run([{"say": "Well."}])
    await run.start("first", *["padding " * 50] * 5, "last", max_prompt_tokens=110)
    ended = await run.take_turn()

    assert ended["status"] == "completed"
    [turn] = run.model.turns
    assert [message.text for message in turn.messages] == ["first", "padding " * 50, "last"]


@pytest.mark.parametrize("strategy", [None, {"type": "last_messages", "last_messages": 2}])
async def test_a_prompt_that_no_truncation_makes_fit_ends_the_run(local_run, strategy):
    run = local_run([{"say": "Well."}])
    await run.start("first", "padding " * 300, max_prompt_tokens=256, truncation_strategy=strategy)
    ended = await run.take_turn()

    assert (ended["status"], ended["incomplete_details"]) == ("incomplete", {"reason": "max_prompt_tokens"})
    assert run.model.turns == []


async def test_only_the_last_messages_are_read_where_that_is_the_strategy(local_run):
    run = local_run([{"say": "Well."}], context_tokens=10)
    await run.start("one", "two", "three " * 30, truncation_strategy={"type": "last_messages", "last_messages": 2})
    await run.take_turn()

    assert [message.text.split()[0] for message in run.model.turns[0].messages] == ["two", "three"]


async def test_a_number_of_messages_means_nothing_to_the_strategy_auto(local_run):
    run = local_run([{"say": "Well."}])
    await run.start("one", "two", "three", truncation_strategy={"type": "auto", "last_messages": 1})
    await run.take_turn()

    assert len(run.model.turns[0].messages) == 3


async def test_a_run_that_is_begun_after_its_time_expires(local_run, database):
    run = local_run([{"say": "Too late."}])
    await run.start("Well?")
    late = {"expires_at": int(time.time()) - 2}
    await database.write(lambda connection: rows.overwrite(connection, runs_table, {"id": "run_1"}, late))
    ended = await run.take_turn()
    events = await database.read(lambda connection: event_log.after(connection, "run_1", 0))

    assert (ended["status"], run.model.turns) == ("expired", [])
    assert [event.event for event in events][-2:] == ["thread.run.queued", "thread.run.expired"]
    assert (await run.backend.retrieve(run.run)).status == "expired"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("server_error", "server_error"),
        ("rate_limit_exceeded", "rate_limit_exceeded"),
        ("invalid_request_error", "invalid_prompt"),
        ("unsupported_tool", "invalid_prompt"),
    ],
)
async def test_a_run_fails_with_a_code_that_the_api_has(local_run, code, told):
    run = local_run([{"say": "Well."}])
    await run.start("Well?")
    await run.backend.end(run.run, "failed", LastError(code=code, message="No."))

    assert (await run.row())["last_error"] == {"code": told, "message": "No."}


@pytest.mark.parametrize("choice", ["required", "none", {"type": "function", "function": {"name": "find"}}])
async def test_a_tool_choice_forces_the_first_turn_only(local_run, choice):
    run = local_run([{**CALL, "round": 0}, {"say": "Found."}])
    await run.start("Find it.", tool_choice=choice)
    await run.take_turn()
    await run.answer()
    await run.take_turn(2)
    first, second = [turn.tool_choice_now for turn in run.model.turns]

    assert getattr(first, "name", first) == ("find" if isinstance(choice, dict) else choice)
    assert second == ("none" if choice == "none" else "auto")
