"""Runs on an Assistants server that hang, vanish, are replaced, ended or taken over."""

from datetime import timedelta

import openai
import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from lockstitch.activities.backends.assistants.api import AssistantsApi
from lockstitch.activities.backends.assistants.backend import AssistantsBackend
from lockstitch.activities.backends.base import Patience
from lockstitch.activities.messages import RunRef, StartRun
from lockstitch.activities.runs import RunActivities
from lockstitch.assistants.store import event_log, tool_calls, upstream_runs
from lockstitch.errors import ApiError, UpstreamError, UpstreamRunBroken, WriterFenced
from lockstitch.starter.contract import NewMessage, ThreadRunRequest
from lockstitch.testing.assistants_upstream import (
    AssistantsUpstream,
    DropStream,
    ExpireRun,
    FailRequest,
    HangInCancelling,
    LoseAnswer,
    LoseRun,
    StayInProgress,
    StayQueued,
)
from lockstitch.tests.activities.conftest import SCRIPT, SkippedTime
from lockstitch.tools import ToolRegistry

# --- runs that hang or vanish


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (StayQueued(), "stayed queued for 2 minutes."),
        (StayInProgress(), "gave no sign of life for 5 minutes."),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_run_that_hangs_is_broken_when_patience_is_over(connect, fault, problem, streamed):
    time = SkippedTime()
    faults = [fault] if streamed else [fault, LoseAnswer(on="create_run")]
    async with connect(*faults, time=time) as client:
        client.server.set_poll_after(timedelta(seconds=10))
        run = await client.create()
        with pytest.raises(UpstreamRunBroken, match=problem) as broken:
            await client.follow(run)

    assert broken.value.upstream_id == run.upstream_id
    assert timedelta(minutes=2) <= timedelta(seconds=time.now) < timedelta(minutes=6)


async def test_a_run_that_hangs_in_cancelling_counts_as_cancelled(connect):
    time = SkippedTime()
    async with connect(StayInProgress(), HangInCancelling(), time=time) as client:
        run = await client.create()
        async with openai.AsyncOpenAI(base_url=client.server.base_url, api_key="none") as sdk:
            await sdk.beta.threads.runs.cancel(run.upstream_id, thread_id=run.thread_id)
        stop = await client.follow(run)
        names = await client.names()

    assert (stop.status, stop.broken, names[-2:]) == ("cancelled", None, ["run.cancelling", "run.cancelled"])
    assert timedelta(minutes=1) <= timedelta(seconds=time.now) < timedelta(minutes=3)


@pytest.mark.parametrize("ask", ["follow", "retrieve", "submit"])
async def test_a_run_that_vanished_is_broken(connect, ask):
    async with connect(DropStream(after_events=6)) as client:
        run = await client.create()
        client.server.inject(LoseRun(on="retrieve_run"))
        asked = {"follow": client.follow, "retrieve": client.backend.retrieve, "submit": client.submit}
        with pytest.raises(UpstreamRunBroken, match=f"The run {run.upstream_id} upstream vanished"):
            await asked[ask](run)


async def test_a_run_is_read_again_when_its_stream_falls_silent(connect):
    """The stream of a run that was held tells nothing; that the run is over is found by looking after it."""
    time = SkippedTime()
    async with connect(StayInProgress(), time=time) as client:
        run = await client.create()
        client.server.inject(ExpireRun(on="retrieve_run", at="now"))
        stop = await client.follow(run)

    assert stop.status == "expired"


# --- replacement


async def test_a_run_that_expired_is_replaced_once_and_what_was_computed_is_known(connect):
    async with connect(ExpireRun(on="submit_tool_outputs", at="now")) as client:
        run = await client.create(additional_messages=[{"role": "user", "content": "Be quick."}])
        await client.follow(run)
        await client.submit(run)
        client.server.inject(LoseAnswer(on="create_run"))
        request = client.request(additional_messages=[{"role": "user", "content": "Be quick."}])
        made = await client.backend.replace(run, request, 1, Patience())
        again = await client.backend.replace(run, request, 1, Patience())
        stop = await client.follow(made, attempt=2)
        reused = await client.database.write(
            lambda connection: tool_calls.recognise_repeats(connection, "run_1", made.upstream_id)
        )
        await client.submit(made, {})
        ended = await client.follow(made)
        [asked] = client.server.journal.of("create_run", run_id=made.upstream_id)
        upstream_run = client.upstream_run(lockstitch_run="run_1", lockstitch_number="1")

    assert made == again == run.model_copy(update={"upstream_id": upstream_run["id"], "replacement": 1})
    assert [call.call_id for call in stop.calls] == ["call_a~1", "call_b~1"] == reused
    assert (ended.status, ended.last_message_text) == ("completed", "It costs nine euros.")
    assert "additional_messages" not in asked.body
    assert client.server.journal.accepted(made.upstream_id) == {"call_a": 1, "call_b": 1}
    assert (await client.names()).count("run.completed") == 1


async def test_what_a_run_left_open_that_vanished_is_closed_before_another_one_is_told(connect):
    async with connect(script=[{"say": "One two three."}]) as client:
        run = await client.create()
        await client.follow(run, break_after=5)
        client.server.lose(run.upstream_id)
        with pytest.raises(UpstreamRunBroken):
            await client.follow(run, attempt=2)
        made = await client.backend.replace(run, client.request(), 1, Patience())
        stop = await client.follow(made)
        names = await client.names()

    closed = names.index("message.incomplete")
    assert names[closed + 1] == "run.step.failed"
    assert names.index("message.completed") > closed
    assert (stop.status, names.count("run.in_progress"), names.count("run.queued")) == ("completed", 1, 1)


async def test_a_run_that_has_ended_by_itself_needs_no_replacement(connect):
    async with connect(script=[{"say": "One two three."}]) as client:
        run = await client.create()
        await client.server.reached(run.upstream_id, "completed")

        assert await client.backend.replace(run, client.request(), 1, Patience()) == run
        assert (await client.follow(run)).status == "completed"
        assert len(client.server.runs()) == 1


async def test_a_run_that_stays_in_cancelling_holds_its_thread_and_the_replacement_is_tried_again(connect):
    time = SkippedTime()
    async with connect(StayInProgress(), HangInCancelling(), time=time) as client:
        client.server.set_poll_after(timedelta(seconds=10))
        run = await client.create()
        with pytest.raises(UpstreamError, match="already has an active run") as locked:
            await client.backend.replace(run, client.request(), 1, Patience())
        waited = time.now
        client.server.cancel_done(run.upstream_id)
        made = await client.backend.replace(run, client.request(), 1, Patience())
        stop = await client.follow(made)

    assert locked.value.retryable
    assert timedelta(seconds=waited) >= timedelta(minutes=1)
    assert stop.status == "requires_action"


# --- end


async def test_a_run_is_ended_that_was_created_without_anybody_knowing(connect):
    async with connect(LoseAnswer(on="create_run"), FailRequest(on="list_runs", status=503)) as client:
        with pytest.raises(UpstreamError):
            await client.create()
        unknown = RunRef(run_id="run_1", thread_id="", assistant_id=client.assistant_id, backend="assistants")
        stop = await client.backend.end(unknown, "expired", None)

        assert stop.status == "expired"
        assert [it["status"] for it in client.server.runs()] == ["cancelled"]
        assert (await client.names())[-1] == "run.expired"


async def test_watchers_learn_the_end_of_a_run_though_its_server_is_out_of_reach(connect):
    async with connect() as client:
        run = await client.create()
        await client.follow(run)
        client.server.inject(FailRequest(on="retrieve_run", status=503))
        with pytest.raises(UpstreamError):
            await client.backend.end(run, "cancelled", None)
        told = await client.names()
        stop = await client.backend.end(run, "cancelled", None)

        assert told[-1] == "run.cancelled"
        assert await client.names() == told
        assert stop.status == "cancelled" == client.upstream_run()["status"]


async def test_a_run_whose_end_came_first_is_not_begun(connect):
    async with connect() as client:
        unknown = RunRef(run_id="run_1", thread_id="", assistant_id=client.assistant_id, backend="assistants")
        await client.backend.end(unknown, "cancelled", None)
        with pytest.raises(WriterFenced):
            await client.create()
        events = await client.database.read(lambda connection: event_log.after(connection, "run_1", 0))

        assert client.server.runs() == []
    assert [event.event for event in events] == ["error"]


async def test_a_run_that_was_being_created_when_its_end_came_is_ended_upstream(connect):
    """Whoever ended it could not know of it, and it would hold its thread."""
    async with connect() as client:
        run = await client.create()
        await client.database.write(lambda connection: event_log.close(connection, "run_1", "The run was cancelled."))
        activities = RunActivities(client.database, {"assistants": client.backend}, ToolRegistry([]))
        start = StartRun(run_id="run_1", request=client.request(thread_id=run.thread_id))
        with pytest.raises(ApplicationError, match="newer attempt"):
            await ActivityEnvironment().run(activities.start_run, start)

        assert client.upstream_run()["status"] == "cancelled"
        events = await client.database.read(lambda connection: event_log.after(connection, "run_1", 0))
    assert [event.event for event in events].index("error") == len(events) - 1


async def test_a_run_that_was_never_created_has_ended_all_the_same(connect):
    async with connect() as client:
        unknown = RunRef(run_id="run_1", thread_id="", assistant_id=client.assistant_id, backend="assistants")
        stop = await client.backend.end(unknown, "cancelled", None)
        again = await client.backend.end(unknown, "cancelled", None)
        events = await client.database.read(lambda connection: event_log.after(connection, "run_1", 0))

    assert stop == again
    assert [event.event for event in events] == ["error"]


# --- addressing and adoption


async def test_azure_is_addressed_under_its_resource_with_a_version_and_a_key(database):
    async with AssistantsUpstream(SCRIPT, api_key="secret") as server:
        api = AssistantsApi(base_url=server.origin, api_key="secret", api_version="2024-05-01-preview")
        backend = AssistantsBackend(database, api, ())
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="secret") as sdk:
            assistant = await sdk.beta.assistants.create(model="test")
        request = ThreadRunRequest(
            assistant_id=assistant.id, messages=[NewMessage(role="user", content="Hi")], backend="assistants"
        )
        run = await backend.create("run_1", request)
        await backend.aclose()
        asked = [it for it in server.journal if it.operation in ("create_thread", "create_run")]

    assert [it.path for it in asked] == ["/openai/threads", f"/openai/threads/{run.thread_id}/runs"]
    assert [it.status for it in asked] == [200, 200]


async def test_a_run_that_others_created_is_taken_over_where_it_stands(connect):
    async with connect() as client:
        async with openai.AsyncOpenAI(base_url=client.server.base_url, api_key="none") as sdk:
            thread = await sdk.beta.threads.create(messages=[{"role": "user", "content": "Well?"}])
            theirs = await sdk.beta.threads.runs.create(thread.id, assistant_id=client.assistant_id)
        await client.server.reached(theirs.id, "requires_action")
        run = await client.create(thread_id=thread.id, adopted_run_id=theirs.id)
        stop = await client.backend.retrieve(run)
        names = await client.names()
        await client.submit(run)
        ended = await client.follow(run)
        marked = client.upstream_run(lockstitch_run="run_1")
        row = await client.database.read(lambda connection: upstream_runs.latest(connection, "run_1"))

    assert (run.upstream_id, marked["id"], row["upstream_id"]) == (theirs.id, theirs.id, theirs.id)
    assert [call.call_id for call in stop.calls] == ["call_a", "call_b"]
    assert names[-1] == "run.requires_action"
    assert (ended.status, len(ended.message_ids)) == ("completed", 2)


async def test_a_run_that_is_taken_over_may_have_ended(connect):
    async with connect(script=[{"say": "Hello."}]) as client:
        theirs = await client.backend.create("run_0", client.request())
        await client.server.reached(theirs.upstream_id, "completed")
        run = await client.create(thread_id=theirs.thread_id, adopted_run_id=theirs.upstream_id)
        stop = await client.backend.retrieve(run)

        assert (stop.status, stop.last_message_text) == ("completed", "Hello.")
        assert (await client.names())[-1] == "run.completed"


async def test_a_run_that_is_not_there_cannot_be_taken_over(connect):
    async with connect() as client:
        theirs = await client.backend.create("run_0", client.request())
        with pytest.raises(ApiError, match="There is no run run_unknown on the thread"):
            await client.create(thread_id=theirs.thread_id, adopted_run_id="run_unknown")
