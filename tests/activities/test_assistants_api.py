"""Servers that speak the Assistants API less well than the API itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lockstitch.activities.backends.assistants.api import AssistantsApi
from lockstitch.errors import UpstreamError
from lockstitch.probes import listen, serving


@asynccontextmanager
async def api_of(answer: Any) -> AsyncIterator[AssistantsApi]:
    """Address a server that gives every request this answer."""

    async def give(request: Request) -> Response:
        return answer if isinstance(answer, Response) else answer(request)

    listener = listen("127.0.0.1", 0, purpose="a test", option="nothing")
    app = Starlette(routes=[Route("/{path:path}", give, methods=["GET", "POST"])])
    async with serving(app, listener):
        host, port = listener.getsockname()
        api = AssistantsApi(base_url=f"http://{host}:{port}/v1", api_key="")
        yield api
        await api.aclose()


async def test_a_server_that_does_not_stream_answers_with_the_run():
    async with api_of(JSONResponse({"id": "run_1", "status": "queued"})) as api:
        run, stream = await api.create_run("thread_1", {"assistant_id": "asst_1"})

    assert (run, stream) == ({"id": "run_1", "status": "queued"}, None)


@pytest.mark.parametrize("answer", [Response("<html>", media_type="text/html"), JSONResponse([1])])
async def test_an_answer_that_is_not_understood_is_worth_another_try(answer):
    async with api_of(answer) as api:
        with pytest.raises(UpstreamError, match="gave an answer that is not understood") as failed:
            await api.run("thread_1", "run_1")

    assert failed.value.retryable


@pytest.mark.parametrize(
    ("sent", "seconds"), [(None, 1), ("250", 0.25), ("1", 0.1), ("99999", 10), ("soon", 1), ("-5", 0.1)]
)
async def test_a_server_says_when_it_wants_to_be_asked_again_within_bounds(sent, seconds):
    headers = {} if sent is None else {"openai-poll-after-ms": sent}
    async with api_of(JSONResponse({"id": "run_1", "status": "queued"}, headers=headers)) as api:
        polled = await api.run("thread_1", "run_1")

    assert polled.poll_after == timedelta(seconds=seconds)


async def test_an_id_leads_nowhere_else():
    asked = []

    def answer(request: Request) -> Response:
        asked.append(request.scope["raw_path"])
        return JSONResponse({"id": "run_1", "status": "queued"})

    async with api_of(answer) as api:
        await api.run("../files", "run_1?x=/")
        with pytest.raises(UpstreamError, match="is no path of the Assistants API"):
            await api.run("..", "run_1")

    assert asked == [b"/v1/threads/..%2Ffiles/runs/run_1%3Fx=%2F"]


async def test_the_beta_header_is_sent_and_pages_are_read_to_the_last():
    pages = [
        {"data": [{"id": "step_1"}], "has_more": True},
        {"data": [{"id": "step_2"}], "has_more": False},
    ]
    asked = []

    def answer(request: Request) -> Response:
        asked.append((request.headers["openai-beta"], request.query_params.get("after")))
        return JSONResponse(pages[len(asked) - 1])

    async with api_of(answer) as api:
        steps = await api.steps("thread_1", "run_1")

    assert [step["id"] for step in steps] == ["step_1", "step_2"]
    assert asked == [("assistants=v2", None), ("assistants=v2", "step_1")]


async def test_a_server_that_is_not_there_is_said_to_be_so():
    api = AssistantsApi(base_url="http://127.0.0.1:1/v1", api_key="")
    with pytest.raises(UpstreamError, match=r"The Assistants server 127\.0\.0\.1 cannot be reached") as failed:
        await api.run("thread_1", "run_1")
    await api.aclose()

    assert failed.value.retryable
