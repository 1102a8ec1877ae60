"""The server does what the Assistants API does, and every answer is what its description says."""

from datetime import timedelta

import httpx2
import pytest
from jsonschema import Draft202012Validator
from openai import AsyncAzureOpenAI, AuthenticationError, BadRequestError, NotFoundError

from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.errors import RunNotFound
from lockstitch.testing.assistants_upstream import AssistantsUpstream, HangInCancelling, StayQueued
from lockstitch.tests.api_description import API_DESCRIPTION

HEADERS = {"openai-beta": "assistants=v2"}
FUNCTION = {"type": "function", "function": {"name": "find"}}
OUTPUTS = [{"tool_call_id": "call_a", "output": "found"}, {"tool_call_id": "call_b", "output": "9 euros"}]
THREAD = "/threads/{thread_id}"
RUN = THREAD + "/runs/{run_id}"
TOUR = [
    ("post", "/assistants", {"model": "test", "tools": [FUNCTION]}),
    ("get", "/assistants/{assistant_id}", None),
    ("post", "/assistants/{assistant_id}", {"name": "Helper"}),
    ("get", "/assistants", None),
    ("post", "/threads", {"messages": [{"role": "user", "content": "Well?"}]}),
    ("get", THREAD, None),
    ("post", THREAD, {"metadata": {"a": "b"}}),
    ("post", THREAD + "/messages", {"role": "user", "content": [{"type": "text", "text": "Hm?"}]}),
    ("get", THREAD + "/messages/{message_id}", None),
    ("post", THREAD + "/runs", {"assistant_id": "{assistant_id}", "metadata": {"ticket": "17"}}),
    ("wait", "requires_action", None),
    ("get", RUN, None),
    ("post", RUN, {"metadata": {"ticket": "18"}}),
    ("get", RUN + "/steps", None),
    ("post", RUN + "/submit_tool_outputs", {"tool_outputs": OUTPUTS}),
    ("wait", "completed", None),
    ("get", THREAD + "/runs", None),
    ("get", RUN + "/steps", None),
    ("get", RUN + "/steps/{step_id}", None),
    ("get", THREAD + "/messages", None),
    ("post", "/threads/runs", {"assistant_id": "{assistant_id}", "instructions": "Hi"}),
    ("post", RUN + "/cancel", None),
    ("delete", THREAD, None),
    ("delete", "/assistants/{assistant_id}", None),
]
NAMES = {"assistant": "assistant_id", "thread": "thread_id", "thread.message": "message_id", "thread.run": "run_id"}
PLAIN = [
    "thread.created",
    "thread.run.created",
    "thread.run.queued",
    "thread.run.in_progress",
    "thread.run.step.created",
    "thread.run.step.in_progress",
    "thread.message.created",
    "thread.message.in_progress",
    "thread.message.delta",
    "thread.message.completed",
    "thread.run.step.completed",
    "thread.run.completed",
    "done",
]


def problems_with(schema, value):
    validator = Draft202012Validator({**schema, "components": API_DESCRIPTION["components"]})
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]


async def read_frames(http, path, body):
    """Return name and data of each event of a stream."""
    answer = await http.post(path, json=body)
    frames = [frame.split("\ndata: ") for frame in answer.text.split("\n\n") if frame]
    return [(name.removeprefix("event: "), data) for name, data in frames]


@pytest.fixture
async def http(upstream):
    async with httpx2.AsyncClient(base_url=upstream.base_url, headers=HEADERS, trust_env=False) as opened:
        yield opened


async def test_every_answer_fits_the_description(upstream, http):
    ids, problems = {}, []
    for method, path, body in TOUR:
        if method == "wait":
            await upstream.reached(ids["run_id"], path)
            continue
        filled = {
            name: value.format(**ids) if isinstance(value, str) else value for name, value in (body or {}).items()
        }
        answer = await http.request(method, path.format(**ids), json=filled if method == "post" else None)
        assert answer.status_code == 200, (method, path, answer.text)
        made = answer.json()
        schema = API_DESCRIPTION["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
        problems += [(method, path, problem) for problem in problems_with(schema, made)]
        remember(ids, made)

    assert problems == []
    assert len(upstream.journal) == sum(method != "wait" for method, _, _ in TOUR)


def remember(ids, made):
    if made["object"] in NAMES:
        ids[NAMES[made["object"]]] = made["id"]
        ids["thread_id"] = made.get("thread_id", ids.get("thread_id"))
        if made["object"] == "thread":
            ids["thread_id"] = made["id"]
    elif made["object"] == "list" and made["data"][0]["object"] == "thread.run.step":
        ids["step_id"] = made["data"][0]["id"]


async def test_a_stream_has_the_order_and_the_form_of_the_real_one(upstream, http):
    upstream.follow_script([{"say": "One"}])
    assistant = (await http.post("/assistants", json={"model": "test"})).json()
    body = {
        "assistant_id": assistant["id"],
        "stream": True,
        "thread": {"messages": [{"role": "user", "content": "Hi"}]},
    }
    frames = await read_frames(http, "/threads/runs", body)
    schema = {"$ref": "#/components/schemas/AssistantStreamEvent"}

    assert [name for name, _ in frames] == PLAIN
    parsed = [{"event": name, "data": httpx2.Response(200, text=data).json()} for name, data in frames[:-1]]
    assert [found for event in parsed if (found := problems_with(schema, event))] == []


async def test_a_stream_with_calls_stops_for_outputs_and_goes_on_with_them(upstream, asking):
    created = [event.event async for event in await asking.create(stream=True)]
    [run] = upstream.runs()
    submitted = [event.event async for event in await asking.submit(run["id"], stream=True)]

    assert created[-1] == "thread.run.requires_action"
    assert submitted[:3] == ["thread.run.step.completed", "thread.run.queued", "thread.run.in_progress"]
    assert submitted[-1] == "thread.run.completed"
    assert upstream.run(run["id"])["usage"]["total_tokens"] > 16


async def test_outputs_have_to_be_those_of_all_calls(upstream, asking):
    run = await asking.create()
    await upstream.reached(run.id, "requires_action")
    with pytest.raises(BadRequestError) as refused:
        await asking.submit(run.id, tool_outputs=OUTPUTS[:1])

    assert "Expected tool outputs for call_ids ['call_a', 'call_b'], got ['call_a']" in str(refused.value)
    assert upstream.run(run.id)["status"] == "requires_action"


async def test_an_open_run_locks_its_thread(upstream, asking):
    upstream.inject(StayQueued())
    run = await asking.create()
    with pytest.raises(BadRequestError, match=f"already has an active run {run.id}"):
        await asking.create()
    with pytest.raises(BadRequestError, match=f"while a run {run.id} is active"):
        await asking.client.beta.threads.messages.create(asking.thread_id, role="user", content="Hi")


@pytest.mark.parametrize("status", ["queued", "requires_action"])
async def test_a_run_is_cancelled_and_another_may_follow(upstream, asking, status):
    if status == "queued":
        upstream.inject(StayQueued())
    run = await asking.create()
    await upstream.reached(run.id, status)
    await asking.cancel(run.id)
    await upstream.reached(run.id, "cancelled")
    with pytest.raises(BadRequestError, match="Cannot cancel run with status 'cancelled'"):
        await asking.cancel(run.id)

    assert (await asking.create()).status == "queued"


async def test_a_run_that_completes_although_it_is_cancelled(upstream, asking):
    upstream.inject(HangInCancelling())
    run = await asking.create()
    await asking.cancel(run.id)
    upstream.complete(run.id)

    assert (await asking.retrieve(run.id)).status == "completed"


async def test_a_model_that_fails_fails_the_run(upstream, asking):
    upstream.follow_script([{"say": "I", "fail": {"status": 429, "message": "Too much.", "after_deltas": 1}}])
    run = await asking.create()
    failed = await upstream.reached(run.id, "failed")

    assert failed["last_error"] == {"code": "rate_limit_exceeded", "message": "Too much."}
    assert upstream.messages(asking.thread_id)[-1]["status"] == "incomplete"


async def test_lists_have_pages(upstream, asking):
    for _ in range(3):
        run = await asking.create()
        upstream.expire(run.id)
    first = await asking.runs.list(asking.thread_id, limit=2, order="asc")
    everything = [run.id async for run in asking.runs.list(asking.thread_id, limit=2, order="asc")]

    assert (len(first.data), first.has_more) == (2, True)
    assert everything == [run["id"] for run in upstream.runs()]


async def test_runs_are_found_by_status_thread_and_metadata(upstream, asking):
    first = await asking.create(metadata={"ticket": "17"})
    upstream.fail(first.id)
    second = await asking.create(metadata={"ticket": "18"})

    assert [run["id"] for run in upstream.runs(status="failed")] == [first.id]
    assert [run["id"] for run in upstream.runs(metadata={"ticket": "18"})] == [second.id]
    assert len(upstream.runs(thread_id=asking.thread_id)) == 2
    assert upstream.runs(thread_id="thread_other") == []
    with pytest.raises(RunNotFound):
        upstream.expire("run_unknown")


async def test_no_run_expires_before_it_is_told_to_unless_the_clock_counts(ask):
    clock = [1000.0]
    for by_clock, status in ((False, "queued"), (True, "expired")):
        async with AssistantsUpstream(
            faults=[StayQueued()], now=lambda: clock[0], expire_by_clock=by_clock
        ) as upstream:
            asking = await ask(upstream)
            run = await asking.create()
            clock[0] = run.expires_at
            assert run.expires_at == run.created_at + 600
            assert (await asking.retrieve(run.id)).status == status


async def test_open_runs_say_when_to_ask_again(ask):
    async with AssistantsUpstream(faults=[StayQueued()], poll_after=timedelta(milliseconds=250)) as upstream:
        asking = await ask(upstream)
        created = await asking.runs.with_raw_response.create(asking.thread_id, assistant_id=asking.assistant_id)
        upstream.expire(created.parse().id)
        ended = await asking.runs.with_raw_response.retrieve(created.parse().id, thread_id=asking.thread_id)

    assert created.headers["openai-poll-after-ms"] == "250"
    assert "openai-poll-after-ms" not in ended.headers


async def test_a_server_with_a_key_takes_no_other_and_azure_s_header_too(sdk):
    async with AssistantsUpstream(OfflineModel(), api_key="right") as upstream:
        with pytest.raises(AuthenticationError, match="Incorrect API key provided"):
            await sdk.with_options(base_url=upstream.base_url).beta.threads.create()
        azure = AsyncAzureOpenAI(azure_endpoint=upstream.origin, api_key="right", api_version="v1", max_retries=0)
        async with azure:
            assert (await azure.beta.threads.create()).id.startswith("thread_")


async def test_requests_that_the_api_refuses_are_refused(upstream, http, asking):
    assert (await http.post("/assistants", json={})).json()["error"]["code"] == "missing_required_parameter"
    assert (await http.post("/threads", json={"x": 1})).json()["error"]["code"] == "unknown_parameter"
    assert (await http.post("/threads", content=b"{")).status_code == 400
    assert (await http.get("/nowhere")).status_code == 404
    assert (await http.get("/threads", headers={"openai-beta": ""})).json()["error"]["code"] == "invalid_beta"
    with pytest.raises(NotFoundError, match="No thread found with id 'thread_x'"):
        await asking.client.beta.threads.retrieve("thread_x")
    with pytest.raises(NotFoundError, match="No assistant found with id 'asst_x'"):
        await asking.runs.create(asking.thread_id, assistant_id="asst_x")
    assert [run["id"] for run in upstream.runs()] == []


async def test_a_turn_that_was_under_way_when_the_server_stopped_is_taken_again(ask, tmp_path):
    file = tmp_path / "state.db"
    async with AssistantsUpstream([{"say": "One two", "delta_delay_seconds": 1000}], state_file=file) as upstream:
        asking = await ask(upstream)
        stream = await asking.create(stream=True)
        await anext(event async for event in stream if event.event == "thread.message.delta")
        await stream.close()

    async with AssistantsUpstream([{"say": "One two"}], state_file=file) as upstream:
        [run] = upstream.runs()
        await upstream.reached(run["id"], "completed")
        said = [message["content"][0]["text"]["value"] for message in upstream.messages(run["thread_id"])]
        steps = [step["status"] for step in upstream.steps(run["id"])]

    assert (said, steps) == (["Well?", "One two"], ["completed"])


async def test_a_server_in_a_thread_is_waited_for_and_commanded_from_another(ask):
    with AssistantsUpstream([{"say": "One"}], faults=[StayQueued()]) as upstream:
        asking = await ask(upstream)
        run = await asking.create()
        assert (await upstream.journal.received("create_run")).run_id == run.id
        upstream.resume(run.id)
        assert (await upstream.reached(run.id, "completed"))["id"] == run.id
