"""Which upstream error is worth another try, when, and what the run says of it."""

from datetime import timedelta

import httpx2
import openai
import pytest
from temporalio.exceptions import ApplicationError

from lockstitch.activities.upstream_errors import (
    ASSISTANTS_SERVER,
    RETRYABLE_STATUSES,
    raise_for_temporal,
    refusal,
    translate,
)
from lockstitch.assistants import refusals
from lockstitch.errors import ApiError, StoreUnavailable, UpstreamError, WriterFenced
from lockstitch.probes import listen

REQUEST = httpx2.Request("POST", "http://models.example/v1/responses")
SECOND = timedelta(seconds=1)


def answer(status: int, headers: dict[str, str] | None = None, **error: str) -> openai.APIStatusError:
    """Make the SDK's own error of an answer, as the SDK does."""
    response = httpx2.Response(status, headers=headers or {}, json={"error": error}, request=REQUEST)
    client = openai.AsyncOpenAI(api_key="none", http_client=httpx2.AsyncClient())
    return client._make_status_error_from_response(response)


def for_temporal(error: Exception) -> ApplicationError:
    with pytest.raises(ApplicationError) as raised:
        raise_for_temporal(error)
    return raised.value


@pytest.mark.parametrize(
    ("status", "error_code", "retryable", "code"),
    [
        (400, "invalid_value", False, "invalid_prompt"),
        (401, "invalid_api_key", False, "server_error"),
        (403, "forbidden", False, "server_error"),
        (404, "model_not_found", False, "server_error"),
        (408, "timeout", True, "server_error"),
        (409, "conflict", True, "server_error"),
        (413, "too_large", False, "invalid_prompt"),
        (422, "unprocessable", False, "invalid_prompt"),
        (425, "too_early", True, "server_error"),
        (429, "rate_limit_exceeded", True, "rate_limit_exceeded"),
        (429, "insufficient_quota", False, "rate_limit_exceeded"),
        (500, "server_error", True, "server_error"),
        (501, "not_implemented", False, "server_error"),
        (502, "bad_gateway", True, "server_error"),
        (503, "overloaded", True, "server_error"),
        (504, "gateway_timeout", True, "server_error"),
        (529, "overloaded", True, "server_error"),
    ],
)
def test_a_status_says_whether_to_try_again_and_what_the_run_says(status, error_code, retryable, code):
    upstream = translate(answer(status, code=error_code, message="No."))

    assert (upstream.status, upstream.retryable, upstream.code) == (status, retryable, code)
    assert str(upstream).startswith(f"The model endpoint answered {status}: ")
    assert "No." in str(upstream)
    assert retryable == (status in RETRYABLE_STATUSES and error_code != "insufficient_quota")


@pytest.mark.parametrize(
    ("status", "said", "retryable"), [(400, "true", True), (503, "false", False), (400, "?", False), (503, "?", True)]
)
def test_the_upstream_may_say_itself_whether_to_try_again(status, said, retryable):
    assert translate(answer(status, {"x-should-retry": said})).retryable is retryable


def test_a_spent_quota_is_not_tried_again_whatever_the_header_says():
    assert not translate(answer(429, {"x-should-retry": "true"}, code="insufficient_quota")).retryable


@pytest.mark.parametrize(
    ("headers", "delay"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7 * SECOND),
        ({"retry-after": "0.5"}, 0.5 * SECOND),
        ({"retry-after-ms": "250"}, 0.25 * SECOND),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25 * SECOND),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7 * SECOND),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, None),
        ({"retry-after": "-3"}, 0 * SECOND),
        ({"retry-after": "86400"}, 300 * SECOND),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_the_upstream_may_say_when_to_try_again(headers, delay):
    error = answer(429, headers)

    assert translate(error).retry_after == delay
    assert for_temporal(error).next_retry_delay == delay


def test_a_body_that_is_no_error_object_is_an_error_all_the_same():
    response = httpx2.Response(502, text="<html>Bad gateway</html>", request=REQUEST)
    client = openai.AsyncOpenAI(api_key="none", http_client=httpx2.AsyncClient())
    upstream = translate(client._make_status_error_from_response(response))

    assert (upstream.status, upstream.retryable, upstream.code) == (502, True, "server_error")


async def test_an_endpoint_that_nobody_serves_is_named_and_tried_again():
    listener = listen("127.0.0.1", 0, purpose="a port that is free", option="")
    port = listener.getsockname()[1]
    listener.close()
    async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.APIConnectionError) as refused:
            await client.models.list()
    upstream = translate(refused.value)

    assert str(upstream).startswith("The model endpoint 127.0.0.1 cannot be reached: ")
    assert (upstream.retryable, upstream.status) == (True, None)


async def test_an_endpoint_that_is_silent_is_tried_again():
    listener = listen("127.0.0.1", 0, purpose="a port on which nobody answers", option="")
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, timeout=0.1) as client:
        with pytest.raises(openai.APITimeoutError) as silent:
            await client.models.list()
    listener.close()
    upstream = translate(silent.value)

    assert (str(upstream), upstream.retryable) == ("The model endpoint did not answer in time.", True)


def test_an_error_without_a_status_is_not_understood_and_tried_again():
    upstream = translate(openai.APIError("An error occurred during streaming.", REQUEST, body=None))

    assert (upstream.status, upstream.retryable, upstream.code) == (None, True, "server_error")
    assert "An error occurred during streaming." in str(upstream)


def test_an_upstream_error_is_left_as_it_is():
    error = UpstreamError("Slow down.", status=429, code="rate_limit_exceeded", retryable=True, retry_after=3 * SECOND)

    assert translate(error) is error


@pytest.mark.parametrize(
    ("error", "message", "code", "final", "delay"),
    [
        (ApiError("No thread found.", status=404), "No thread found.", "invalid_request_error", True, None),
        (ApiError("Nothing to run.", code="invalid_thread"), "Nothing to run.", "invalid_thread", True, None),
        (StoreUnavailable("sqlite:///a.db", "the disk is full"),
         "The database sqlite:///a.db cannot be used: the disk is full", "server_error", False, None),
        (WriterFenced("run_1"), "A newer attempt writes the events of run run_1.", "server_error", True, None),
        (UpstreamError("No.", code="invalid_prompt", retryable=False), "No.", "invalid_prompt", True, None),
        (UpstreamError("Wait.", retryable=True, retry_after=3 * SECOND), "Wait.", "server_error", False, 3 * SECOND),
        (KeyError("gone"), "KeyError: 'gone'", "server_error", False, None),
    ],
)  # fmt: skip
def test_temporal_is_told_whether_to_try_again_and_the_run_what_went_wrong(error, message, code, final, delay):
    raised = for_temporal(error)

    assert (raised.message, raised.type) == (message, code)
    assert (raised.non_retryable, raised.next_retry_delay) == (final, delay)
    assert raised.__cause__ is error


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (refusals.run_while_run_is_active("thread_1", "run_1"), "thread_locked"),
        (refusals.message_while_run_is_active("thread_1", "run_1"), "thread_locked"),
        (refusals.outputs_not_accepted("expired"), "outputs_not_accepted"),
        (refusals.not_cancellable("completed"), "not_cancellable"),
        (refusals.not_updatable("in_progress"), "not_updatable"),
        (refusals.nothing_to_run(), None),
        (refusals.no_run("run_1"), None),
    ],
)
def test_the_words_of_an_assistants_server_say_what_it_refuses(said, means):
    error = translate(answer(said.status, message=said.message), ASSISTANTS_SERVER)

    assert str(error) == f"The Assistants server answered {said.status}: {said.message}"
    assert (refusal(error), error.retryable) == (means, False)


@pytest.mark.parametrize("status", [401, 403])
def test_whoever_is_locked_out_learns_what_to_check(status):
    assert "Check LOCKSTITCH_ASSISTANTS_API_KEY" in str(translate(answer(status, message="No."), ASSISTANTS_SERVER))
    assert "LOCKSTITCH" not in str(translate(answer(status, message="No.")))
