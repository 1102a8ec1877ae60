"""Which upstream error is worth another try, and when: the one place where foreign errors are translated."""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NoReturn

import httpx2
import openai
from temporalio.exceptions import ApplicationError

from lockstitch.errors import ApiError, LockstitchError, StoreUnavailable, UpstreamError, WriterFenced

RETRYABLE_STATUSES = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})

# What a run's `last_error` says for a status; every other refusal is the request's own fault.
_LAST_ERROR_CODES = {
    429: "rate_limit_exceeded",
    400: "invalid_prompt",
    413: "invalid_prompt",
    422: "invalid_prompt",
}

_LONGEST_RETRY_AFTER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Upstream:
    """Who refused or broke: how sentences call it, and what to do where it does not let us in."""

    subject: str
    when_locked_out: str = ""


MODEL_ENDPOINT = Upstream("The model endpoint")
ASSISTANTS_SERVER = Upstream(
    "The Assistants server",
    when_locked_out="Check LOCKSTITCH_ASSISTANTS_API_KEY, and on Azure LOCKSTITCH_ASSISTANTS_API_VERSION.",
)

EMBEDDINGS_ENDPOINT = Upstream("The embeddings endpoint", when_locked_out="Check LOCKSTITCH_EMBEDDINGS_API_KEY.")

Refusal = Literal["thread_locked", "outputs_not_accepted", "not_cancellable", "not_updatable"]

# The Assistants API says these in words only; other servers that speak it say them in the same.
_REFUSALS: dict[Refusal, re.Pattern[str]] = {
    "thread_locked": re.compile(r"already has an active run|while a run \S+ is active"),
    "outputs_not_accepted": re.compile(r"do(es)? not accept tool outputs"),
    "not_cancellable": re.compile(r"[Cc]annot cancel run"),
    "not_updatable": re.compile(r"[Cc]annot update run"),
}
_REFUSING_STATUSES = frozenset({400, 409, 422})


def refusal(error: UpstreamError) -> Refusal | None:
    """Tell which of the refusals that belong to the life of a run an Assistants server has answered."""
    if error.status not in _REFUSING_STATUSES:
        return None
    return next((name for name, said in _REFUSALS.items() if said.search(str(error))), None)


def translate(error: Exception, upstream: Upstream = MODEL_ENDPOINT) -> UpstreamError:
    """Return what an error of the openai SDK, or a `TimeoutError`, means for a run."""
    who = upstream.subject
    if isinstance(error, UpstreamError):
        return error
    if isinstance(error, openai.APITimeoutError | TimeoutError) and not _could_not_connect(error):
        return UpstreamError(f"{who} did not answer in time.", retryable=True)
    if isinstance(error, openai.APIConnectionError):
        reason = error.__cause__ or error
        return UpstreamError(f"{who} {error.request.url.host} cannot be reached: {reason}", retryable=True)
    if isinstance(error, openai.APIStatusError):
        return _from_status(error, upstream)
    return UpstreamError(f"{who} gave an answer that is not understood: {error}", retryable=True)


def _could_not_connect(error: Exception) -> bool:
    """Whether no connection came about; over aiohttp, one that was refused counts as one that took too long."""
    return isinstance(error.__cause__, httpx2.ConnectTimeout)


def _from_status(error: openai.APIStatusError, upstream: Upstream) -> UpstreamError:
    status = error.status_code
    should_retry = error.response.headers.get("x-should-retry")
    retryable = should_retry == "true" or (should_retry != "false" and status in RETRYABLE_STATUSES)
    if error.code == "insufficient_quota":  # sent with 429, and waiting does not help
        retryable = False
    hint = f" {upstream.when_locked_out}" if status in (401, 403) and upstream.when_locked_out else ""
    return UpstreamError(
        f"{upstream.subject} answered {status}: {_said(error)}{hint}",
        status=status,
        code=_LAST_ERROR_CODES.get(status, "server_error"),
        retryable=retryable,
        retry_after=_retry_after(error),
    )


def _said(error: openai.APIStatusError) -> str:
    """Return the upstream's own words; the SDK's message repeats the status before them."""
    said = error.body.get("message") if isinstance(error.body, dict) else None
    return said if isinstance(said, str) and said else error.message


def _retry_after(error: openai.APIStatusError) -> timedelta | None:
    headers = error.response.headers
    for name, unit in (("retry-after-ms", timedelta(milliseconds=1)), ("retry-after", timedelta(seconds=1))):
        try:
            wait = float(headers[name]) * unit
        except (KeyError, ValueError, OverflowError):  # a date is allowed too; then Temporal's own back-off serves
            continue
        return min(max(wait, timedelta(0)), _LONGEST_RETRY_AFTER)
    return None


def raise_for_temporal(error: Exception) -> NoReturn:
    """Raise what tells Temporal whether and when to try again, and the run what went wrong.

    The type of the `ApplicationError` is the code of the run's ``last_error``.
    """
    raise _for_temporal(error) from error


def _for_temporal(error: Exception) -> ApplicationError:
    if isinstance(error, ApiError):
        return ApplicationError(error.message, type=error.code or "invalid_request_error", non_retryable=True)
    if isinstance(error, WriterFenced):
        return ApplicationError(str(error), type="server_error", non_retryable=True)
    if isinstance(error, StoreUnavailable):
        return ApplicationError(str(error), type="server_error")
    if isinstance(error, LockstitchError | openai.OpenAIError):
        upstream = translate(error)
        return ApplicationError(
            str(upstream),
            type=upstream.code,
            non_retryable=not upstream.retryable,
            next_retry_delay=upstream.retry_after,
        )
    return ApplicationError(f"{type(error).__name__}: {error}", type="server_error")
