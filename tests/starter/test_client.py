"""The starter on a real Temporal server without any worker, and on servers that misbehave."""

import asyncio
import sysconfig
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from temporalio.testing import WorkflowEnvironment

from lockstitch.errors import (
    AnswerRefused,
    LockstitchError,
    PageUnknown,
    RunBroken,
    RunFinished,
    RunNotFound,
    ServerUnreachable,
    SettingsInvalid,
    TemporalUnreachable,
)
from lockstitch.probes import listen, serving
from lockstitch.starter.client import MAX_ANSWER_BYTES, Starter
from lockstitch.starter.contract import RunEvent, ThreadRunRequest, ToolOutput
from lockstitch.starter.event_stream import read_events


@pytest.fixture
async def starter(temporal) -> AsyncIterator[Starter]:
    """A starter on a task queue that no worker reads."""
    async with Starter(temporal, task_queue=f"test-{uuid4()}") as opened:
        yield opened


def request(**values: object) -> ThreadRunRequest:
    return ThreadRunRequest.model_validate({"assistant_id": "asst_1", "thread_id": "thread_1"} | values)


def one_sentence(error: LockstitchError) -> str:
    assert "\n" not in str(error)
    assert len(str(error)) < 400
    return str(error)


# --- errors


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:99999", "not an address", ""])
async def test_an_address_without_a_temporal_server_is_told_in_one_sentence(address):
    with pytest.raises(TemporalUnreachable) as refused:
        await Starter.connect(address)

    assert one_sentence(refused.value).startswith(f"No Temporal server answers at {address} (")
    assert refused.value.address == address


async def test_a_namespace_that_is_missing_is_named(temporal):
    address = temporal.service_client.config.target_host
    async with await Starter.connect(address, namespace="nowhere") as starter:
        for action in (starter.start(request()), starter.count("queued"), starter.list(), starter.snapshot("run_1")):
            with pytest.raises(SettingsInvalid, match="has no namespace 'nowhere'"):
                await action


async def test_temporals_server_for_tests_can_be_connected_to():
    """It has no schedules, by which the keys of payloads are compared otherwise."""
    binary = Path(sysconfig.get_path("scripts")) / "temporal-test-server"
    async with await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(binary)) as environment:
        address = environment.client.service_client.config.target_host
        async with await Starter.connect(address) as starter:
            assert repr(starter) == "Starter(namespace='default', task_queue='lockstitch')"


async def test_what_is_asked_of_an_unknown_run_is_refused(starter):
    output = ToolOutput(tool_call_id="call_1", output="")
    for action in (
        starter.snapshot("run_unknown"),
        starter.result("run_unknown"),
        starter.cancel("run_unknown"),
        starter.answer("run_unknown", [output]),
        starter.outputs_stored("run_unknown", ["call_1"]),
    ):
        with pytest.raises(RunNotFound, match="No run found with id 'run_unknown'"):
            await action


async def test_a_run_whose_workflow_was_terminated_is_broken_and_takes_nothing_more(starter, temporal):
    run_id = await starter.start(request())
    await temporal.get_workflow_handle(run_id).terminate("by hand")

    with pytest.raises(RunBroken, match=f"The workflow of run {run_id} ended without a result"):
        await starter.result(run_id)
    assert (await starter.snapshot(run_id)).status == "failed"
    for action in (starter.cancel(run_id), starter.answer(run_id, []), starter.outputs_stored(run_id, [])):
        with pytest.raises(RunFinished, match=f"Run {run_id} has ended"):
            await action


# --- starting


async def test_a_run_that_was_accepted_is_queued_and_known_by_what_it_was_asked(starter):
    run_id = await starter.start(request(tenant="acme"))
    snapshot = await starter.snapshot(run_id)

    assert (snapshot.run_id, snapshot.status, snapshot.ended_at) == (run_id, "queued", None)
    assert (snapshot.thread_id, snapshot.assistant_id, snapshot.tenant) == ("thread_1", "asst_1", "acme")
    assert snapshot.pending_calls == []


async def test_the_same_key_and_tenant_mean_the_same_run_even_after_its_end(starter, temporal):
    key = uuid4().hex
    first = await starter.start(request(), key=key)
    assert await starter.start(request(), key=key) == first
    await temporal.get_workflow_handle(first).terminate()

    assert await starter.start(request(), key=key) == first
    assert await starter.start(request(tenant="acme"), key=key) != first


async def test_a_tenant_may_have_any_letters(starter):
    tenant = "ü" * 64  # more bytes than Temporal takes as a key
    run_id = await starter.start(request(tenant=tenant))

    assert (await starter.snapshot(run_id)).tenant == tenant


# --- listing


@pytest.mark.parametrize("name", ["a b", "50 %", "`", "a_b", "(x) AND y = z -- ;", "ü🚀"])
async def test_values_are_searched_for_as_they_are(starter, eventually, name):
    tenant = f"{uuid4().hex[:8]} {name}"
    run_id = await starter.start(request(tenant=tenant))
    await starter.start(request(tenant=f"{tenant} not"))
    found = await eventually(lambda: starter.list(tenant=tenant))

    assert [snapshot.run_id for snapshot in found] == [run_id]


@pytest.mark.parametrize("name", ["o'clock", "''", "' OR ''='", '"', "back\\slash", "line\nbreak", "\x00"])
async def test_what_could_mean_something_else_in_a_query_is_no_name_and_finds_nothing(starter, name):
    await starter.start(request())
    with pytest.raises(ValidationError, match="should match pattern"):
        request(tenant=name)

    for place in ("tenant", "thread_id", "assistant_id"):
        assert await starter.list(**{place: name}) == []


async def test_runs_are_listed_newest_first_by_all_that_is_asked_for(starter, eventually):
    tenant = uuid4().hex
    runs = [await starter.start(request(tenant=tenant, assistant_id=f"asst_{number % 2}")) for number in range(4)]

    async def listed(count: int, **wanted: object) -> list[str]:
        found = await starter.list(tenant=tenant, **wanted)
        return [snapshot.run_id for snapshot in found] if len(found) == count else []

    assert await eventually(lambda: listed(4)) == runs[::-1]
    assert await listed(2, assistant_id="asst_1") == [runs[3], runs[1]]
    assert await listed(2, limit=2) == [runs[3], runs[2]]
    assert await listed(4, status="queued", thread_id="thread_1")
    assert await starter.list(tenant=tenant, status="completed") == []


async def test_pages_hold_every_run_once_where_runs_ended_in_another_order_than_they_began(
    starter, temporal, eventually
):
    tenant = uuid4().hex
    runs = [await starter.start(request(tenant=tenant)) for _ in range(7)]
    for number in (4, 0, 5, 1):
        await temporal.get_workflow_handle(runs[number]).terminate()

    async def ended() -> bool:
        return sum(run.ended_at is not None for run in await starter.list(tenant=tenant)) == 4

    await eventually(ended)
    pages, token = [], b""
    while not pages or token:
        page = await starter.page(tenant=tenant, size=2, token=token)
        pages.append([runs.index(run.run_id) for run in page.runs])
        token = page.next_token

    assert pages == [[6, 3], [2, 1], [5, 0], [4]]


@pytest.mark.parametrize("token", [b"x", b"[]", b"\xff\x00", b'{"CloseTime": 7}'])
async def test_a_token_of_no_page_is_refused_at_once(starter, token):
    async with asyncio.timeout(5):  # tried again as failures of the server are, it would take longer
        with pytest.raises(PageUnknown, match="no such page"):
            await starter.page(token=token)


async def test_no_run_has_a_name_that_could_mean_something_else_on_a_page(starter):
    assert (await starter.page(tenant="o'clock")).runs == ()


async def test_runs_are_counted_by_their_status(starter, eventually):
    before = await starter.count("queued")
    await starter.start(request())

    async def counted() -> bool:
        return await starter.count("queued") > before

    await eventually(counted)


# --- answering


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        ([], "there are none"),
        ([("call_1", "a")], "it does not wait for call_1; it waits for []"),
        ([("call_2", "a"), ("call_1", "b"), ("call_2", "c")], "it does not wait for call_1, call_2"),
    ],
)
async def test_an_answer_that_the_run_does_not_wait_for_is_refused(starter, outputs, problem):
    run_id = await starter.start(request())
    given = [ToolOutput(tool_call_id=call_id, output=output) for call_id, output in outputs]
    with pytest.raises(AnswerRefused) as refused:
        await starter.answer(run_id, given)

    assert problem in one_sentence(refused.value)


async def test_an_answer_may_be_large_but_not_too_large(engine, eventually):
    definition = {"type": "function", "function": {"name": "find_report", "parameters": {"type": "object"}}}
    async with engine([]) as lockstitch:
        starter = lockstitch.starter
        run_id = await starter.start(await lockstitch.request("Find the report.", tools=[definition]))

        async def pending() -> list[str]:
            return [call.call_id for call in (await starter.snapshot(run_id)).pending_calls]

        [call_id] = await eventually(pending)
        with pytest.raises(AnswerRefused, match="a call has two"):
            await starter.answer(run_id, [ToolOutput(tool_call_id=call_id, output="a")] * 2)
        too_large = "ü" * (MAX_ANSWER_BYTES // 2 + 1)
        with pytest.raises(AnswerRefused, match=f"{MAX_ANSWER_BYTES + 2} bytes, and {MAX_ANSWER_BYTES} is the most"):
            await starter.answer(run_id, [ToolOutput(tool_call_id=call_id, output=too_large)])
        await starter.answer(run_id, [ToolOutput(tool_call_id=call_id, output="x" * MAX_ANSWER_BYTES)])

        assert (await starter.result(run_id)).tool_calls[0].outcome == "answered"


# --- the stream


async def frames(text: str) -> list[RunEvent | None]:
    async def lines() -> AsyncIterator[str]:
        for line in text.split("\n"):
            yield line

    return [event async for event in read_events(lines())]


EVENT = RunEvent(seq=7, event="thread.created", data={"id": "thread_1"})


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ('event: thread.created\nid: 7\ndata: {"id":"thread_1"}\n\n', [EVENT]),
        ('data:{"id":"thread_1"}\nid:7\nevent:thread.created\n\n', [EVENT]),
        ('event: thread.created\nid: 7\nattempt: 2\ndata: {"id":"thread_1"}\n\n',
         [EVENT.model_copy(update={"attempt": 2})]),
        ('event: thread.created\nid: 7\ndata: {"id":\ndata: "thread_1"}\n\n', [EVENT]),
        ('id: 7\ndata: {"id":"thread_1"}\n\n', [EVENT.model_copy(update={"event": "message"})]),
        (": ping\n\n: ping\n\n", []),
        ("\n\n\n", []),
        ("retry: 100\n\n", []),
        ('event: error\ndata: {"error":{}}\n\n', []),
        ('event: thread.created\nid: seven\ndata: {"id":"thread_1"}\n\n', []),
        ("event: thread.created\nid: 7\n\n", []),
        ('event: thread.created\nid: 7\ndata: {"id":"thread_1"}', []),
        ("event: done\ndata: [DONE]\n\n", [None]),
        (': ping\nevent: thread.created\nfuture: x\nid: 7\ndata: {"id":"thread_1"}\n\nevent: done\n\n', [EVENT, None]),
    ],
)  # fmt: skip
async def test_a_stream_is_read_frame_by_frame_and_odd_ones_are_skipped(text, events):
    assert await frames(text) == events


@asynccontextmanager
async def serve(answer: Callable[[Request], Response], temporal) -> AsyncIterator[Starter]:
    """A server that answers every request for a stream as ``answer`` says, and a starter that reads it."""

    async def endpoint(asked: Request) -> Response:
        return answer(asked)

    listener = listen("127.0.0.1", 0, purpose="a test", option="")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    app = Starlette(routes=[Route("/v1/runs/{run_id}/events", endpoint)])
    async with serving(app, listener), Starter(temporal, server_url=url, api_key="sk-test") as starter:
        yield starter


def frame(seq: int) -> str:
    return f'event: thread.message.delta\nid: {seq}\ndata: {{"seq": {seq}}}\n\n'


def stream_of(*parts: str) -> StreamingResponse:
    async def body() -> AsyncIterator[str]:
        for part in parts:
            yield part

    return StreamingResponse(body(), media_type="text/event-stream")


async def test_a_stream_that_ends_early_is_taken_up_where_it_broke(temporal):
    asked = []

    def answer(request: Request) -> Response:
        asked.append(request.headers["last-event-id"])
        assert request.headers["authorization"] == "Bearer sk-test"
        if len(asked) == 1:
            return stream_of(frame(1), frame(2), "event: thread.message.delta\nid: 3\nda")
        if len(asked) == 2:
            return Response(status_code=503)
        return stream_of(frame(3), "event: done\ndata: [DONE]\n\n")

    async with serve(answer, temporal) as starter:
        events = [event.seq async for event in starter.stream("run_1")]

    assert events == [1, 2, 3]
    assert asked == ["0", "2", "2"]


async def test_a_stream_of_an_unknown_run_says_so(temporal):
    async with serve(lambda _: Response(status_code=404), temporal) as starter:
        with pytest.raises(RunNotFound):
            await anext(starter.stream("run_unknown"))


async def test_a_server_that_refuses_is_not_asked_again(temporal):
    async with serve(lambda _: Response(status_code=403), temporal) as starter:
        with pytest.raises(ServerUnreachable, match="it answered 403") as refused:
            await anext(starter.stream("run_1"))

    assert one_sentence(refused.value)


async def test_a_stream_waits_for_a_server_that_is_not_up_yet(temporal):
    listener = listen("127.0.0.1", 0, purpose="a test", option="")
    port = listener.getsockname()[1]
    listener.close()
    app = Starlette(routes=[Route("/v1/runs/{run_id}/events", lambda _: stream_of(frame(1)))])
    async with Starter(temporal, server_url=f"http://127.0.0.1:{port}") as starter:
        stream = starter.stream("run_1")
        first = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.05)  # the first connection is refused
        async with serving(app, listen("127.0.0.1", port, purpose="a test", option="")):
            assert (await asyncio.wait_for(first, 10)).seq == 1
            await stream.aclose()
