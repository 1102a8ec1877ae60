"""Models behind OpenAI-compatible endpoints: one conformance set for both APIs, over real HTTP on loopback."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Literal

import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from lockstitch.assistants.model.endpoint import OpenAIEndpoint
from lockstitch.assistants.model.offline import OfflineModel
from lockstitch.assistants.model.script import ScriptedModel
from lockstitch.assistants.model.turn import (
    ArgumentsDelta,
    CallStarted,
    FunctionCall,
    FunctionTool,
    ImagePart,
    Message,
    Model,
    ModelEvent,
    ModelTurn,
    NamedFunction,
    TextDelta,
    ToolRound,
    TurnFinished,
    Usage,
)
from lockstitch.errors import UpstreamError
from lockstitch.testing.model_endpoint import model_endpoint_app, serve

Api = Literal["responses", "chat"]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = FunctionTool("get_weather", "Current weather.", CITY, strict=True)
SALES = FunctionTool("sales_report", "Sales of a month.", {"type": "object", "properties": {}})


@pytest.fixture(params=["responses", "chat"])
def api(request: pytest.FixtureRequest) -> Api:
    chosen: Api = request.param
    return chosen


@asynccontextmanager
async def endpoint(
    app: ASGIApp, api: Literal["auto", "responses", "chat"], api_key: str = "sk-test"
) -> AsyncIterator[OpenAIEndpoint]:
    async with serve(app) as origin:
        client = OpenAIEndpoint(base_url=f"{origin}/v1", api_key=api_key, api=api, timeout=timedelta(seconds=10))
        try:
            yield client
        finally:
            await client.aclose()


async def take(model: Model, asked: ModelTurn) -> list[ModelEvent]:
    return [event async for event in model.stream(asked)]


async def through(model: Model, api: Api, asked: ModelTurn) -> list[ModelEvent]:
    """The events of a turn of ``model``, as they come through an endpoint."""
    async with endpoint(model_endpoint_app(model), api) as client:
        return await take(client, asked)


def turn(said: str = "hello", *tools: FunctionTool, **settings: Any) -> ModelTurn:
    return ModelTurn("a-model", "", (Message("user", (said,)),), tools=tools, **settings)


def text_of(events: Sequence[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def calls_of(events: Sequence[ModelEvent]) -> list[tuple[str, str]]:
    started = [event for event in events if isinstance(event, CallStarted)]
    deltas = [event for event in events if isinstance(event, ArgumentsDelta)]
    return [(call.name, "".join(each.delta for each in deltas if each.index == call.index)) for call in started]


class Recorder:
    """A model that keeps the turns it is asked for."""

    name = "offline"

    def __init__(self) -> None:
        self.turns: list[ModelTurn] = []

    async def stream(self, asked: ModelTurn) -> AsyncIterator[ModelEvent]:
        self.turns.append(asked)
        yield TurnFinished("stop")

    async def aclose(self) -> None:
        pass


async def test_text_arrives_as_the_model_streams_it(api: Api) -> None:
    model = ScriptedModel([{"say": 'A "stitch" — näht,\nin time 🧵'}])

    assert await through(model, api, turn()) == await take(model, turn())


async def test_calls_made_together_arrive_with_ids_names_and_arguments(api: Api) -> None:
    numbers = iter(range(2))
    model = OfflineModel(new_call_id=lambda: f"call_{next(numbers)}")
    events = await through(model, api, turn("Weather in Oslo and sales", WEATHER, SALES))

    assert [event.call_id for event in events if isinstance(event, CallStarted)] == ["call_0", "call_1"]
    assert calls_of(events) == [("get_weather", '{"city": "Oslo"}'), ("sales_report", "{}")]
    assert isinstance(events[-1], TurnFinished)
    assert events[-1].reason == "tool_calls"


async def test_of_an_assistants_images_only_a_note_is_sent_back(api: Api) -> None:
    picture = ImagePart("data:image/png;base64,AAAA")
    said = (Message("assistant", ("Here:", picture)), Message("assistant", (picture,)), Message("user", (picture,)))
    seen = Recorder()
    await through(seen, api, ModelTurn("a-model", "", said))

    assert [message.content for message in seen.turns[0].messages] == [("Here:",), ("[An image.]",), (picture,)]


async def test_text_before_a_call_is_kept(api: Api) -> None:
    model = ScriptedModel([{"say": "Let me look.", "call": [{"name": "get_weather"}]}])
    events = await through(model, api, turn("x", WEATHER))

    assert text_of(events) == "Let me look."
    assert calls_of(events) == [("get_weather", "{}")]


async def test_everything_that_a_turn_says_reaches_the_model(api: Api) -> None:
    picture = ImagePart("data:image/png;base64,AAAA", "low")
    first = ToolRound((FunctionCall("c1", "get_weather", '{"city":"Oslo"}', "7"), FunctionCall("c2", "f", "{}", "")))
    second = ToolRound((FunctionCall("c3", "get_weather", '{"city":"Rome"}', '{"error": "no"}'),))
    schema = {"name": "reply", "schema": {"type": "object", "properties": {}}, "strict": True}
    sent = ModelTurn(
        model="a-model",
        instructions="Be brief.",
        messages=(Message("user", ("hi",)), Message("assistant", ("yes?",)), Message("user", ("look", picture))),
        rounds=(first, second),
        tools=(WEATHER, SALES),
        parallel_tool_calls=False,
        temperature=0.5,
        top_p=0.9,
        max_completion_tokens=77,
        reasoning_effort="low",
        response_format={"type": "json_schema", "json_schema": schema},
    )
    recorder = Recorder()
    await through(recorder, api, sent)

    assert recorder.turns == [sent]


@pytest.mark.parametrize("choice", ["none", "required", NamedFunction("get_weather")])
async def test_a_tool_choice_reaches_the_model_in_the_first_turn_only(api: Api, choice: Any) -> None:
    later = (ToolRound((FunctionCall("c1", "get_weather", "{}", "7"),)),)
    recorder = Recorder()
    async with endpoint(model_endpoint_app(recorder), api) as client:
        await take(client, turn("x", WEATHER, tool_choice=choice))
        await take(client, turn("x", WEATHER, tool_choice=choice, rounds=later))

    assert [each.tool_choice for each in recorder.turns] == [choice, "none" if choice == "none" else "auto"]


async def test_parameters_that_the_run_does_not_set_are_not_sent(api: Api) -> None:
    bodies = []

    async def refuse(request: Request) -> Response:
        bodies.append(await request.json())
        return JSONResponse({"error": {"message": "no", "code": "x"}}, status_code=400)

    async with endpoint(everywhere(refuse), api) as client:
        with pytest.raises(openai.BadRequestError):
            await take(client, turn())

    message = {"role": "user", "content": "hello"}
    expected: dict[Api, dict[str, Any]] = {
        "responses": {"input": [message], "store": False},
        "chat": {"messages": [message], "stream_options": {"include_usage": True}},
    }
    assert bodies == [{"model": "a-model", "stream": True, **expected[api]}]


async def test_a_run_with_two_rounds_of_calls_comes_to_its_answer(api: Api) -> None:
    rounds: tuple[ToolRound, ...] = ()
    async with endpoint(model_endpoint_app(OfflineModel()), api) as client:
        for output in ("7 degrees", "12 pieces"):
            asked = turn("First the weather in Oslo, then sales", WEATHER, SALES, rounds=rounds)
            ((name, arguments),) = calls_of(await take(client, asked))
            rounds += (ToolRound((FunctionCall(f"call_{name}", name, arguments, output),)),)
        answer = text_of(await take(client, turn("Weather, then sales", WEATHER, SALES, rounds=rounds)))

    assert answer == "Offline model: get_weather: 7 degrees. sales_report: 12 pieces."


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_an_answer_that_was_cut_says_why(api: Api, reason: str) -> None:
    events = await through(ScriptedModel([{"say": "cut off", "finish": reason}]), api, turn())

    assert text_of(events) == "cut off"
    assert isinstance(events[-1], TurnFinished)
    assert events[-1].reason == reason


async def test_usage_arrives_with_cached_and_reasoning_tokens(api: Api) -> None:
    used = {"prompt_tokens": 12, "completion_tokens": 5, "cached_tokens": 8, "reasoning_tokens": 3}
    events = await through(ScriptedModel([{"say": "x", "usage": used}]), api, turn())

    assert events[-1] == TurnFinished("stop", Usage(**used))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (503, openai.InternalServerError),
    ],
)
async def test_a_refused_request_raises_the_sdk_s_error(
    api: Api, status: int, error: type[openai.APIStatusError]
) -> None:
    fail = {"status": status, "message": "Not now", "code": "some_code", "retry_after_seconds": 1.5}

    with pytest.raises(error, match="Not now") as caught:
        await through(ScriptedModel([{"say": "x", "fail": fail}]), api, turn())
    assert caught.value.code == "some_code"
    assert caught.value.response.headers["retry-after"] == "1.5"


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [(500, "server_error", True), (429, "rate_limit_exceeded", True), (400, "invalid_prompt", False)],
)
async def test_an_error_inside_the_stream_is_raised(api: Api, status: int, code: str, retryable: bool) -> None:
    fail = {"status": status, "message": "It broke", "after_deltas": 2}
    model = ScriptedModel([{"say": "one two three", "fail": fail}])
    async with endpoint(model_endpoint_app(model), api) as client:
        events = client.stream(turn())
        assert [await anext(events), await anext(events)] == [TextDelta("one "), TextDelta("two ")]
        with pytest.raises(UpstreamError, match="It broke") as caught:
            await anext(events)

    assert (caught.value.code, caught.value.retryable) == (code, retryable)


@pytest.mark.parametrize("deltas", [0, 2])
async def test_a_connection_that_breaks_is_no_short_answer(api: Api, deltas: int) -> None:
    model = ScriptedModel([{"say": "one two three", "fail": {"after_deltas": deltas}}])

    with pytest.raises(openai.APIConnectionError):
        await through(model, api, turn())


async def test_a_wrong_key_is_refused(api: Api) -> None:
    async with endpoint(model_endpoint_app(Recorder(), api_key="right"), api, api_key="wrong") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            await take(client, turn())

    assert caught.value.code == "invalid_api_key"


async def test_a_turn_that_is_given_up_ends_upstream(api: Api) -> None:
    ended = asyncio.Event()

    class Endless(Recorder):
        async def stream(self, asked: ModelTurn) -> AsyncIterator[ModelEvent]:
            try:
                while True:
                    yield TextDelta("on ")
                    await asyncio.sleep(0)
            finally:
                ended.set()

    async with endpoint(model_endpoint_app(Endless()), api) as client:
        events = client.stream(turn())
        assert await anext(events) == TextDelta("on ")
        await events.aclose()  # type: ignore[attr-defined]  # the protocol's iterators are generators
        async with asyncio.timeout(5):
            await ended.wait()


async def test_one_connection_serves_turn_after_turn(api: Api) -> None:
    seen = Paths(model_endpoint_app(ScriptedModel([{"say": "x"}])))
    async with endpoint(seen, api) as client:
        for _ in range(3):
            await take(client, turn())

    assert len(seen.clients) == 1


async def test_a_connection_that_was_closed_after_an_answer_is_replaced_at_once() -> None:
    frames = ('{"choices":[{"delta":{"content":"x"},"finish_reason":"stop"}]}', "[DONE]")
    body = "".join(f"data: {frame}\n\n" for frame in frames).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    asked = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Does as llama.cpp does: closes the connection, and has not said that it would."""
        request = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in request.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        asked.append(await reader.readexactly(int(length.partition(b":")[2])))
        writer.write(head + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = OpenAIEndpoint(
            base_url=f"http://127.0.0.1:{port}/v1", api_key="any", api="chat", timeout=timedelta(seconds=10)
        )
        answers = [await take(client, turn()) for _ in range(3)]
        await client.aclose()

    assert answers == [[TextDelta("x"), TurnFinished("stop")]] * 3
    assert len(asked) == 3


class Paths:
    """Notes the path and the client's address of each request on the way to an app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.seen: list[str] = []
        self.clients: set[Any] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.seen.append(scope["path"])
            self.clients.add(tuple(scope["client"]))
        await self._app(scope, receive, send)


async def test_without_responses_chat_completions_are_used_from_then_on() -> None:
    seen = Paths(model_endpoint_app(ScriptedModel([{"say": "hi"}]), responses=False))
    async with endpoint(seen, "auto") as client:
        assert [text_of(await take(client, turn())) for _ in range(2)] == ["hi", "hi"]
        assert repr(client).endswith("api='chat')")

    assert seen.seen == ["/v1/responses", "/v1/chat/completions", "/v1/chat/completions"]


async def test_with_responses_chat_completions_are_never_tried() -> None:
    seen = Paths(model_endpoint_app(ScriptedModel([{"say": "hi", "times": 1}])))
    async with endpoint(seen, "auto") as client:
        assert text_of(await take(client, turn())) == "hi"
        with pytest.raises(openai.BadRequestError):
            await take(client, turn())

    assert set(seen.seen) == {"/v1/responses"}


async def test_an_unknown_model_is_not_taken_for_a_missing_route() -> None:
    error = {"message": "The model `a-model` does not exist", "param": None, "code": "model_not_found"}

    async def unknown(request: Request) -> Response:
        return JSONResponse({"error": error}, status_code=404)

    seen = Paths(everywhere(unknown))
    async with endpoint(seen, "auto") as client:
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await take(client, turn())

    assert seen.seen == ["/v1/responses"]


async def test_a_404_of_both_apis_settles_nothing() -> None:
    async with endpoint(Starlette(), "auto") as client:
        with pytest.raises(openai.NotFoundError):
            await take(client, turn())
        assert repr(client).endswith("api='auto')")
        await client.aclose()


def everywhere(answer: Any) -> Starlette:
    paths = ("/v1/responses", "/v1/chat/completions")
    return Starlette(routes=[Route(path, answer, methods=["POST"]) for path in paths])


async def from_frames(api: Api, *frames: str) -> list[ModelEvent]:
    """What comes of a stream with this data in its frames."""
    body = "".join(f"data: {frame}\n\n" for frame in frames)

    async def answer(request: Request) -> Response:
        return StreamingResponse(iter([body]), media_type="text/event-stream")

    async with endpoint(everywhere(answer), api) as client:
        return await take(client, turn())


HALF: dict[Api, str] = {
    "responses": '{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"half"}',
    "chat": '{"choices":[{"index":0,"delta":{"content":"half"},"finish_reason":null}]}',
}


@pytest.mark.parametrize("last", ["[DONE]", '{"type":"response.created"}', '{"unfinished'])
async def test_a_stream_without_its_finishing_event_is_no_answer(api: Api, last: str) -> None:
    with pytest.raises(UpstreamError, match="ended before the answer was complete") as caught:
        await from_frames(api, HALF[api], last)

    assert caught.value.retryable


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        ('{"message":"m","code":null,"type":"server_error"}', "server_error", True),
        ('{"message":"m","code":"rate_limit_exceeded"}', "rate_limit_exceeded", True),
        ('{"message":"m","code":"insufficient_quota"}', "rate_limit_exceeded", False),
        ('{"message":"m","code":400,"type":"BadRequestError"}', "invalid_prompt", False),
        ('{"message":"m","code":502}', "server_error", True),
    ],
)
async def test_an_error_frame_is_judged_by_its_code(api: Api, error: str, code: str, retryable: bool) -> None:
    with pytest.raises(UpstreamError, match=r"^m$") as caught:
        await from_frames(api, HALF[api], f'{{"error":{error}}}')

    assert (caught.value.code, caught.value.retryable) == (code, retryable)


async def test_the_error_event_of_responses_is_raised() -> None:
    with pytest.raises(UpstreamError, match="bad image") as caught:
        await from_frames("responses", '{"type":"error","code":"invalid_image_url","message":"bad image"}')

    assert caught.value.code == "invalid_prompt"


async def test_a_refusal_is_text() -> None:
    events = await from_frames(
        "responses",
        '{"type":"response.refusal.delta","output_index":0,"content_index":0,"delta":"I will not."}',
        '{"type":"response.refusal.done","output_index":0,"content_index":0,"refusal":"I will not."}',
        '{"type":"response.completed","response":{"usage":null}}',
    )
    of_chat = await from_frames(
        "chat", '{"choices":[{"delta":{"refusal":"I will not."},"finish_reason":"stop"}]}', "[DONE]"
    )

    assert events == of_chat == [TextDelta("I will not."), TurnFinished("stop", refused=True)]


async def test_what_a_server_sends_without_deltas_is_not_lost() -> None:
    call = '{"type":"function_call","id":"fc_1","call_id":"call_1","name":"f","arguments":"{\\"a\\":1}"}'
    events = await from_frames(
        "responses",
        '{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"Well"}',
        '{"type":"response.output_text.done","output_index":1,"content_index":0,"text":"then"}',
        f'{{"type":"response.output_item.done","output_index":2,"item":{call}}}',
        '{"type":"response.something.new","output_index":0}',
        '{"type":"response.completed","response":{"usage":null}}',
    )

    assert text_of(events) == "Well\n\nthen"
    assert calls_of(events) == [("f", '{"a":1}')]


@pytest.mark.parametrize("index", ["0", "null"])
async def test_calls_of_servers_that_do_not_number_them_are_told_apart_by_id(index: str) -> None:
    def call(call_id: str) -> str:
        function = '{"name":"f","arguments":"{}"}'
        calls = f'[{{"index":{index},"id":"{call_id}","type":"function","function":{function}}}]'
        return f'{{"choices":[{{"index":0,"delta":{{"tool_calls":{calls}}},"finish_reason":null}}]}}'

    end = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
    events = await from_frames("chat", call("call_a"), call("call_b"), end, "[DONE]")

    assert calls_of(events) == [("f", "{}"), ("f", "{}")]
    assert events[-1] == TurnFinished("tool_calls")


async def test_the_served_model_answers_the_sdk_without_streaming_too() -> None:
    model = ScriptedModel([{"say": "Hi", "call": [{"name": "f", "arguments": {"a": 1}, "call_id": "call_1"}]}])
    async with (
        serve(model_endpoint_app(model)) as origin,
        openai.AsyncOpenAI(base_url=f"{origin}/v1", api_key="any", max_retries=0) as client,
    ):
        response = await client.responses.create(model="m", input="hello")
        completion = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
        models = [model.id async for model in client.models.list()]

    assert (response.output_text, response.output[1].type) == ("Hi", "function_call")
    choice = completion.choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Hi", "tool_calls")
    assert [call.id for call in choice.message.tool_calls or ()] == ["call_1"]
    assert models == ["offline"]


async def test_the_sdk_s_own_stream_helper_puts_the_served_answer_together() -> None:
    async with (
        serve(model_endpoint_app(ScriptedModel([{"say": "one two"}]))) as origin,
        openai.AsyncOpenAI(base_url=f"{origin}/v1", api_key="any", max_retries=0) as client,
        client.responses.stream(model="m", input="hello") as stream,
    ):
        final = await stream.get_final_response()

    assert (final.status, final.output_text) == ("completed", "one two")


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"model":"m","input":[{"role":"user"}]}'])
async def test_a_request_that_cannot_be_read_is_refused(body: bytes) -> None:
    async with (
        serve(model_endpoint_app(Recorder())) as origin,
        openai.AsyncOpenAI(base_url=f"{origin}/v1", api_key="any", max_retries=0) as client,
    ):
        with pytest.raises(openai.BadRequestError):
            await client.post("/responses", cast_to=object, content=body)


def test_openai_is_imported_by_the_endpoint_only() -> None:
    code = (
        "import sys, lockstitch.assistants.model.offline, lockstitch.assistants.model.script\n"
        "import lockstitch.testing.model_endpoint\n"
        "raise SystemExit('openai' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
