"""Event streams over HTTP: those of the API, and the event log that can be taken up again."""

import asyncio
from contextlib import asynccontextmanager

import httpx2
import openai
import pytest
from openai import AsyncAssistantEventHandler
from openai._streaming import SSEDecoder as OpenAiReader

from lockstitch import telemetry
from lockstitch.assistants.http.sse import STOPS, event_stream
from lockstitch.assistants.model.turn import TextDelta
from lockstitch.assistants.store import event_log, runs
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.starter.contract import ThreadRunRequest
from lockstitch.starter.identifiers import new_id

OUTPUTS = [{"tool_call_id": "call_a", "output": "cold"}, {"tool_call_id": "call_b", "output": "warm"}]
ANSWER = [
    "run.step.created", "run.step.in_progress", "message.created", "message.in_progress",
    "message.delta", "message.delta", "message.completed", "run.step.completed", "run.completed",
]  # fmt: skip


def names(frames):
    return [frame.event.removeprefix("thread.") for frame in frames]


async def runs_of(client, thread):
    return (await client.beta.threads.runs.list(thread.id)).data


async def test_a_plain_run_is_streamed_in_the_order_of_the_real_api(
    client, assistant, thread, worker, open_stream, eventually
):
    body = {"assistant_id": assistant.id, "stream": True}
    async with open_stream(f"/v1/threads/{thread.id}/runs", body) as stream:
        [run] = await runs_of(client, thread)
        await worker.say(run.id)
        frames = [frame async for frame in stream]

    assert names(frames) == ["run.created", "run.queued", "run.in_progress", *ANSWER, "done"]
    assert [frame.id for frame in frames] == [*range(1, len(frames)), None]
    assert frames[-1].data == "[DONE]"
    deltas = [frame.data["delta"]["content"][0]["text"] for frame in frames if frame.event == "thread.message.delta"]
    assert deltas == [{"value": "Hello", "annotations": []}, {"value": " there"}]
    assert stream.response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.response.headers["cache-control"] == "no-cache"
    assert stream.response.headers["x-accel-buffering"] == "no"


async def test_how_long_events_take_to_reach_a_client_that_waits_is_measured(
    client, assistant, thread, worker, open_stream, read_stream
):
    def measured() -> tuple[float, float]:
        read = telemetry.registry.get_sample_value
        return read("lockstitch_stream_lag_seconds_count"), read("lockstitch_stream_lag_seconds_sum")

    before = measured()
    async with open_stream(f"/v1/threads/{thread.id}/runs", {"assistant_id": assistant.id, "stream": True}) as stream:
        [run] = await runs_of(client, thread)
        await worker.say(run.id)
        [_ async for _ in stream]
    after = measured()

    assert 1 <= after[0] - before[0] <= len(ANSWER)
    assert 0 < after[1] - before[1] < 10
    await read_stream(f"/v1/runs/{run.id}/events")
    assert measured() == after, "whoever comes later waits for nothing"


async def test_the_stream_of_a_run_ends_when_it_asks_for_outputs(
    client, assistant, thread, worker, open_stream, read_stream
):
    body = {"assistant_id": assistant.id, "stream": True}
    async with open_stream(f"/v1/threads/{thread.id}/runs", body) as stream:
        [run] = await runs_of(client, thread)
        await worker.ask(run.id)
        frames = [frame async for frame in stream]

    assert names(frames)[-2:] == ["run.requires_action", "done"]
    submitted = {"tool_outputs": OUTPUTS, "stream": True}
    path = f"/v1/threads/{thread.id}/runs/{run.id}"
    async with open_stream(f"{path}/submit_tool_outputs", submitted) as stream:
        await worker.say(run.id, number=2)
        rest = [frame async for frame in stream]
    assert names(rest) == ["run.step.completed", "run.queued", "run.in_progress", *ANSWER, "done"]
    assert rest[0].id == frames[-2].id + 1


async def test_a_thread_that_is_created_with_its_run_comes_first(assistant, worker, open_stream):
    body = {"assistant_id": assistant.id, "stream": True, "thread": {"messages": [{"role": "user", "content": "Hi"}]}}
    async with open_stream("/v1/threads/runs", body) as stream:
        frames = aiter(stream)
        created, run_created = await anext(frames), await anext(frames)
        await worker.say(run_created.data["id"])
        rest = [frame async for frame in frames]

    assert (created.event, created.data["object"]) == ("thread.created", "thread")
    assert run_created.data["thread_id"] == created.data["id"]
    assert rest[-1].event == "done"


class Listener(AsyncAssistantEventHandler):
    """Hears what the SDK makes of a stream."""

    def __init__(self):
        super().__init__()
        self.text, self.arguments = "", ""

    async def on_text_delta(self, delta, snapshot):
        self.text = snapshot.value

    async def on_tool_call_delta(self, delta, snapshot):
        self.arguments += delta.function.arguments or ""


async def test_the_sdks_stream_helpers_build_the_message_and_the_calls(client, assistant, thread, worker):
    listener = Listener()
    created = client.beta.threads.runs.stream(thread_id=thread.id, assistant_id=assistant.id, event_handler=listener)
    async with created as stream:
        [run] = await runs_of(client, thread)
        await worker.ask(run.id)
        await stream.until_done()

    assert listener.arguments == '{"city":"Oslo"}{"city":"Rome"}'
    listener = Listener()
    submitted = client.beta.threads.runs.submit_tool_outputs_stream(
        run_id=run.id, thread_id=thread.id, tool_outputs=OUTPUTS, event_handler=listener
    )
    async with submitted as stream:
        await worker.say(run.id, number=2)
        await stream.until_done()
        assert [message.status for message in await stream.get_final_messages()] == ["completed"]
    assert listener.text == "Hello there"


@pytest.mark.parametrize("status", ["failed", "expired", "cancelled", "incomplete"])
async def test_a_stream_ends_however_the_run_does(run, worker, read_stream, status):
    await worker.end(run.id, status)

    assert names(await read_stream(f"/v1/runs/{run.id}/events"))[-2:] == [f"run.{status}", "done"]


async def test_a_reader_that_comes_back_misses_nothing_and_sees_nothing_twice(run, worker, open_stream, read_stream):
    path = f"/v1/runs/{run.id}/events"
    async with open_stream(path) as stream:
        first = [frame.id async for frame, _ in zip_async(stream, range(2))]
    await worker.say(run.id)
    rest = await read_stream(path, headers={"last-event-id": str(first[-1])})

    assert first == [1, 2]
    assert [frame.id for frame in rest[:-1]] == list(range(3, 13))
    assert names(await read_stream(f"{path}?after=11")) == ["run.completed", "done"]
    assert names(await read_stream(path, headers={"last-event-id": "12"})) == ["done"]


async def zip_async(frames, numbers):
    iterator = aiter(frames)
    for number in numbers:
        yield await anext(iterator), number


async def test_the_event_log_is_followed_through_rounds_of_tool_calls(client, run, worker, open_stream):
    async with open_stream(f"/v1/threads/{run.thread_id}/runs/{run.id}/events") as stream:
        frames = aiter(stream)
        await worker.ask(run.id)
        await client.beta.threads.runs.submit_tool_outputs(run.id, thread_id=run.thread_id, tool_outputs=OUTPUTS)
        await worker.say(run.id, number=2)
        seen = names([frame async for frame in frames])

    assert seen.index("run.requires_action") < seen.index("run.completed") == len(seen) - 2


async def test_every_reader_of_a_run_sees_the_same(run, worker, read_stream):
    readers = [asyncio.create_task(read_stream(f"/v1/runs/{run.id}/events")) for _ in range(5)]
    await worker.say(run.id)
    first, *others = await asyncio.gather(*readers)

    assert len(first) == 13
    assert all(other == first for other in others)


async def test_a_repeated_attempt_is_told_with_its_number(run, server, worker, read_stream):
    await worker.take_turn(run.id, [TextDelta("Half")])
    worker_again = type(worker)(server.database, attempt=2)
    await worker_again.say(run.id)
    frames = await read_stream(f"/v1/runs/{run.id}/events")

    assert [frame.event for frame in frames if frame.attempt == 2][:2] == [
        "thread.message.incomplete",
        "thread.run.step.failed",
    ]
    assert [frame.data["status"] for frame in frames if frame.event == "thread.message.completed"] == ["completed"]


async def test_a_reader_that_goes_away_does_not_stop_the_run(client, assistant, thread, worker, server, eventually):
    async with httpx2.AsyncClient(base_url=server.url, headers={"openai-beta": "assistants=v2"}) as impatient:
        body = {"assistant_id": assistant.id, "stream": True}
        async with impatient.stream("POST", f"/v1/threads/{thread.id}/runs", json=body) as response:
            await anext(response.aiter_bytes())
    [run] = await runs_of(client, thread)

    async def nobody_watches():
        return repr(server.services.feed) == "EventFeed(watched_runs=0)"

    await eventually(nobody_watches)
    await worker.say(run.id)
    assert (await client.beta.threads.runs.retrieve(run.id, thread_id=thread.id)).status == "completed"


async def test_a_run_that_has_not_begun_is_waited_for(server, thread, assistant, worker, open_stream):
    run_id = new_id("run")
    await server.services.starter.start(ThreadRunRequest(thread_id=thread.id, assistant_id=assistant.id), run_id=run_id)
    async with open_stream(f"/v1/runs/{run_id}/events") as stream:
        new = runs.NewRun(run_id, thread.id, assistant.id, ThreadRunRequest(thread_id="x", assistant_id="y"), 1)
        await server.database.write(lambda connection: runs.create(connection, new))
        await worker.say(run_id)
        frames = [frame async for frame in stream]

    assert names(frames)[0] == "run.created"
    assert names(frames)[-1] == "done"


async def test_an_unknown_run_has_no_events(http, run, thread):
    for path in (f"/v1/runs/{new_id('run')}/events", f"/v1/threads/{thread.id}x/runs/{run.id}/events"):
        answer = await http.get(path)
        assert answer.status_code == 404
        assert "No run found with id 'run_" in answer.json()["error"]["message"]


async def test_line_breaks_that_only_some_readers_know_do_not_break_a_frame(server, run, worker, read_stream):
    odd = "a\u2028b\x85c\r\nd"
    await server.database.write(
        lambda connection: event_log.append(connection, run.id, [NewEvent("thread.message.delta", {"odd": odd})])
    )
    await worker.end(run.id, "failed")
    frames = await read_stream(f"/v1/runs/{run.id}/events")

    assert {"odd": odd} in [frame.data for frame in frames]


async def test_a_stream_on_which_nothing_happens_sends_comments(server, run, worker):
    frames = event_stream(server.services.feed, run.id, 0, STOPS, ping_seconds=0.01).body_iterator
    first, *pings = [await anext(frames) for _ in range(3)]
    await worker.say(run.id)
    *_, last = [frame async for frame in frames]

    assert first.startswith(b"event: thread.run.created\nid: 1\ndata: {")
    assert pings == [b": ping\n"] * 2
    # The openai SDK makes an event without a name or data of an empty line that follows a comment, and breaks on it.
    heard = [event.event for event in OpenAiReader().iter_bytes(iter([first, *pings, last]))]
    assert heard[0] == "thread.run.created"
    assert None not in heard
    assert last.endswith(b"event: done\ndata: [DONE]\n\n")


async def test_many_waiting_events_come_in_one_piece(server, run, worker, http):
    events = [NewEvent("thread.message.delta", {"n": n}) for n in range(400)]
    await server.database.write(lambda connection: event_log.append(connection, run.id, events))
    await worker.end(run.id, "failed")
    async with http.stream("GET", f"/v1/runs/{run.id}/events") as response:
        pieces = [piece async for piece in response.aiter_raw()]

    assert sum(piece.count(b"\n\n") for piece in pieces) == 404
    assert len(pieces) < 20


@asynccontextmanager
async def sdk_and_run(server):
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="anything", max_retries=0) as sdk:
        assistant = await sdk.beta.assistants.create(model="test")
        yield (
            sdk,
            await sdk.beta.threads.create_and_run(
                assistant_id=assistant.id, thread={"messages": [{"role": "user", "content": "Hi"}]}
            ),
        )


@pytest.mark.on_database("sqlite")  # PostgreSQL does not call when there is nothing to read
async def test_a_store_that_breaks_ends_the_stream_with_an_error(another_server, open_stream):
    async with (
        another_server() as server,
        sdk_and_run(server) as (_, run),
        open_stream(f"/v1/runs/{run.id}/events", url=server.url) as stream,
    ):
        frames = aiter(stream)
        first = [await anext(frames) for _ in range(3)]
        await server.database.write(lambda connection: connection.exec_driver_sql("DROP TABLE run_events"))
        [error] = [frame async for frame in frames]

    assert [frame.id for frame in first] == [1, 2, 3]
    assert (error.event, error.data["error"]["type"]) == ("error", "server_error")


async def test_a_server_that_stops_says_so_to_those_who_read(another_server, open_stream):
    async with another_server() as server, sdk_and_run(server) as (sdk, run):
        async with open_stream(f"/v1/runs/{run.id}/events", url=server.url) as stream:
            frames = aiter(stream)
            await anext(frames)
            server.services.feed.dismiss()
            rest = [frame async for frame in frames]
        assert [frame.event for frame in rest] == ["thread.run.created", "thread.run.queued", "error"]

        thread = await sdk.beta.threads.create(messages=[{"role": "user", "content": "Hi"}])
        with pytest.raises(openai.APIError, match="The server is stopping"):
            async with sdk.beta.threads.runs.stream(thread_id=thread.id, assistant_id=run.assistant_id) as stream:
                await stream.until_done()
