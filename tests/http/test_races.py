"""Two who want different things of one thread at the same moment: whoever wins, everything agrees about it.

Each race is run a hundred times, deletions with all rivals together, on a real server with real workflows.
"""

import asyncio
import json
import random
import re
import time
from datetime import timedelta
from uuid import uuid4

import openai
import pytest

from lockstitch.assistants.http.sse import STOPS
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.objects import ENDED
from lockstitch.assistants.store import commands, event_log, rows, runs, steps
from lockstitch.assistants.store.schema import messages
from lockstitch.config import Config
from lockstitch.starter.contract import RunPolicy, ThreadRunRequest
from lockstitch.tools import ToolRegistry
from lockstitch.worker import build_workers

pytestmark = pytest.mark.long

RACES = 100
AT_ONCE = 10
WEATHER = {"type": "function", "function": {"name": "get_weather"}}
ASKS = "What is the weather?"
LOCKED = re.compile(
    r"Can't add messages to (thread_\w+) while a run (run_\w+) is active\.|"
    r"Thread (thread_\w+) already has an active run (run_\w+)\."
)


class Arena:
    """A server with a worker, and what can be asked about a race when it is over."""

    def __init__(self, server, api, assistant_id):
        self.server = server
        self.api = api.beta.threads
        self.assistant_id = assistant_id

    async def new_thread(self, text):
        return (await self.api.create(messages=[{"role": "user", "content": text}])).id

    async def start(self, thread_id):
        return await self.api.runs.create(thread_id, assistant_id=self.assistant_id)

    async def asking_run(self):
        """Start a run and wait until it asks for outputs."""
        thread_id = await self.new_thread(ASKS)
        stream = await self.api.runs.create(thread_id, assistant_id=self.assistant_id, stream=True)
        [*_, asks] = [event async for event in stream]
        assert asks.event == "thread.run.requires_action"
        return asks.data

    async def answer(self, run):
        calls = run.required_action.submit_tool_outputs.tool_calls
        outputs = [{"tool_call_id": call.id, "output": "7 C"} for call in calls]
        return await self.api.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=outputs)

    async def cancel(self, run):
        return await self.api.runs.cancel(run.id, thread_id=run.thread_id)

    async def end_of(self, run):
        """Wait for the end of a run, hold everything that is known of it against it, and return the status."""
        result = await self.server.services.starter.result(run.id)
        ended = await self.api.runs.retrieve(run.id, thread_id=run.thread_id)
        assert result.status == ended.status in ENDED
        assert ended.required_action is None
        await self._events_and_steps_agree(ended)
        return ended.status

    async def deliver_the_rest(self):
        """Let the sweep deliver what came too late for its run, and return what it could not."""
        await self.server.services.delivery.sweep(older_than_seconds=-60)
        return await self.server.database.read(lambda it: commands.undelivered(it, older_than_seconds=-60))

    async def _events_and_steps_agree(self, ended):
        events, open_steps, said = await self.server.database.read(lambda it: _written(it, ended.id))
        terminal = [event.event for event in events if event.event.removeprefix("thread.run.") in ENDED]
        assert terminal == [events[-1].event] == [f"thread.run.{ended.status}"]
        assert json.loads(events[-1].data)["status"] == ended.status
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert open_steps == []
        assert "in_progress" not in {message["status"] for message in said}


def _written(connection, run_id):
    events = event_log.after(connection, run_id, 0)
    return events, steps.open_steps(connection, run_id), rows.find(connection, messages, "seq", run_id=run_id)


@pytest.fixture
async def arena(another_server, temporal):
    queue = f"test-{uuid4()}"
    async with another_server(task_queue=queue) as server:
        parts = (temporal, Config(task_queue=queue), server.database, OfflineModel(), ToolRegistry([]))
        worker, *_ = build_workers(*parts)
        async with worker, openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as api:
            assistant = await api.beta.assistants.create(model="test", tools=[WEATHER])
            arena = Arena(server, api, assistant.id)
            async with server.services.delivery:  # as every server, it sweeps up what came through too late
                yield arena
            assert await arena.deliver_the_rest() == []


async def races(race, at_once=AT_ONCE, count=RACES):
    """Run a race ``count`` times, some at a time, and return what came of each."""
    free = asyncio.Semaphore(at_once)

    async def one(number):
        async with free:
            return await race(number)

    return await asyncio.gather(*(one(number) for number in range(count)))


async def both(first, second):
    """Do two things as good as at once, in either order; an answer of the API that refuses is what came of it."""
    order = [first, second]
    random.shuffle(order)
    done = dict(zip(order, await asyncio.gather(*map(_outcome, order)), strict=True))
    return done[first], done[second]


async def _outcome(doing):
    try:
        return await doing
    except openai.APIStatusError as error:
        return error


def refused(outcome, status=400):
    return isinstance(outcome, openai.APIStatusError) and outcome.status_code == status


def the_lock(error):
    """Return the thread and the run that a refusal names."""
    return tuple(name for name in LOCKED.fullmatch(error.body["message"]).groups() if name)


async def test_of_two_runs_on_one_thread_one_is_accepted_and_the_other_told_of_it(arena):
    async def race(_number):
        thread_id = await arena.new_thread("Hello")
        outcomes = await both(arena.start(thread_id), arena.start(thread_id))
        accepted = [outcome for outcome in outcomes if not refused(outcome)]
        assert await arena.end_of(accepted[0]) == "completed"
        for error in filter(refused, outcomes):
            assert the_lock(error) == (thread_id, accepted[0].id)
        listed = await arena.api.runs.list(thread_id)
        assert {run.id for run in listed.data} == {run.id for run in accepted}
        return len(accepted)

    assert 1 in await races(race)


async def test_a_message_that_meets_a_run_is_on_the_thread_before_it_or_refused(arena):
    async def race(_number):
        thread_id = await arena.new_thread(ASKS)
        adding = arena.api.messages.create(thread_id, role="user", content=ASKS)
        message, run = await both(adding, arena.start(thread_id))
        listed = [found.id for found in (await arena.api.messages.list(thread_id)).data]
        if refused(message):
            assert the_lock(message) == (thread_id, run.id)
            assert len(listed) == 1
        else:
            assert message.id in listed
        await arena.cancel(run)
        assert await arena.end_of(run) == "cancelled"
        return refused(message)

    assert set(await races(race)) == {True, False}


async def test_a_cancellation_that_meets_outputs_cancels_or_comes_too_late(arena):
    async def race(_number):
        run = await arena.asking_run()
        submitted, cancelled = await both(arena.answer(run), arena.cancel(run))
        status = await arena.end_of(run)
        if refused(submitted):
            assert submitted.body["message"] == 'Runs in status "cancelling" do not accept tool outputs.'
        if refused(cancelled):
            assert cancelled.body["message"] == "Cannot cancel run with status 'completed'."
        assert not (refused(submitted) and refused(cancelled))
        assert status == ("completed" if refused(cancelled) else "cancelled")
        return refused(submitted)

    assert set(await races(race)) == {True, False}


async def test_outputs_that_are_sent_twice_at_once_are_taken_once(arena):
    async def race(_number):
        run = await arena.asking_run()
        outcomes = await both(arena.answer(run), arena.answer(run))
        [error] = filter(refused, outcomes)
        assert re.fullmatch(r'Runs in status "\w+" do not accept tool outputs\.', error.body["message"])
        return await arena.end_of(run)

    assert set(await races(race)) == {"completed"}


async def test_outputs_that_meet_the_end_of_the_time_complete_the_run_or_are_refused(arena):
    lifetime = 2.0

    async def race(number):
        began = time.monotonic()
        run = await _expiring_run(arena, lifetime)
        if run is None:  # a machine that is busy does not even begin it in its time
            return "expired"
        # The times of submission lie around the end, so that some come before it and some after.
        await asyncio.sleep(max(0.0, began + lifetime - 0.2 + 0.4 * number / RACES - time.monotonic()))
        submitted = await _outcome(arena.answer(run)) if run.required_action else None
        status = await arena.end_of(run)
        if refused(submitted):
            assert submitted.body["message"] == 'Runs in status "expired" do not accept tool outputs.'
            assert status == "expired"
        return status

    outcomes = await races(race, at_once=RACES // 5)
    assert set(outcomes) <= {"completed", "expired"}
    assert "expired" in outcomes


async def _expiring_run(arena, lifetime):
    """Start a run that soon expires and return it as it stops, which it should do to ask for outputs.

    Returns ``None`` where it expired before it began.
    """
    thread_id = await arena.new_thread(ASKS)
    policy = RunPolicy(deadline=timedelta(seconds=lifetime), on_missing_handler="wait")
    request = ThreadRunRequest(thread_id=thread_id, assistant_id=arena.assistant_id, policy=policy)
    run_id = await arena.server.services.starter.start(request)
    async for batch in arena.server.services.feed.batches(run_id, 0, idle_timeout=20):
        if any(event.event in STOPS for event in batch):
            break
    if await arena.server.database.read(lambda connection: runs.find(connection, run_id)) is None:
        assert (await arena.server.services.starter.result(run_id)).status == "expired"
        return None
    return await arena.api.runs.retrieve(run_id, thread_id=thread_id)


@pytest.mark.parametrize("rival", ["start", "message", "submit", "cancel", "run"])
async def test_a_thread_that_is_deleted_meanwhile_takes_everything_with_it(arena, rival):
    async def race(_number):
        run = None if rival in ("start", "message") else await arena.start(await arena.new_thread("Hello"))
        if rival in ("submit", "cancel"):
            run = await arena.asking_run()
        thread_id = run.thread_id if run else await arena.new_thread(ASKS)
        deleted, other = await both(arena.api.delete(thread_id), _rival(arena, rival, thread_id, run))
        assert deleted.deleted
        if isinstance(other, openai.APIStatusError):
            assert refused(other, 404) or refused(other, 400)
        await _is_gone(arena, thread_id, run or (other if rival == "start" else None))

    await races(race, count=RACES // 4)  # of each rival; a thread that is gone takes the same way with all of them


def _rival(arena, rival, thread_id, run):
    match rival:
        case "start":
            return arena.start(thread_id)
        case "message":
            return arena.api.messages.create(thread_id, role="user", content="And this?")
        case "submit":
            return arena.answer(run)
        case "cancel":
            return arena.cancel(run)
    return arena.api.runs.retrieve(run.id, thread_id=thread_id)


async def _is_gone(arena, thread_id, run):
    with pytest.raises(openai.NotFoundError, match=f"No thread found with id '{thread_id}'"):
        await arena.api.retrieve(thread_id)
    if run is not None and not isinstance(run, openai.APIStatusError):
        result = await arena.server.services.starter.result(run.id)
        assert result.status in ENDED
        assert await arena.server.database.read(lambda connection: runs.find(connection, run.id)) is None
        assert await arena.server.database.read(lambda it: rows.find(it, messages, "seq", thread_id=thread_id)) == []
