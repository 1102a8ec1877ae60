"""Errors that an endpoint reports inside a stream, after it had answered with 200."""

from lockstitch.errors import UpstreamError

_RATE_LIMITS = frozenset({"rate_limit_exceeded", "rate_limit_error", "too_many_requests", "429"})
_QUOTAS = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_REFUSALS = frozenset(
    {
        "bio_policy",
        "content_policy_violation",
        "context_length_exceeded",
        "data_residency_mismatch",
        "empty_image_file",
        "failed_to_download_image",
        "image_file_not_found",
        "invalid_prompt",
        "invalid_request_error",
        "misalignment_policy_violation",
        "model_not_found",
        "string_above_max_length",
        "unsupported_image_media_type",
        "BadRequestError",
    }
)
"""Codes and types that say that the request itself will not do."""


def error_in_stream(message: str | None, code: object, kind: object = None) -> UpstreamError:
    """The error for a ``code`` and a ``type`` as endpoints send them; unknown ones are worth another try."""
    names = {str(name) for name in (code, kind) if name}
    said = message or "The model endpoint reported an error without a message."
    if names & _QUOTAS:
        return UpstreamError(said, code="rate_limit_exceeded", retryable=False)
    if names & _RATE_LIMITS:
        return UpstreamError(said, code="rate_limit_exceeded", retryable=True)
    if names & _REFUSALS or any(_is_refusal(name) for name in names):
        return UpstreamError(said, code="invalid_prompt", retryable=False)
    return UpstreamError(said, code="server_error", retryable=True)


def _is_refusal(name: str) -> bool:
    """Whether a code is about an image, or a status of the 4xx that no other try will change."""
    status = int(name) if name.isdecimal() else 0
    is_status = 400 <= status < 500 and status not in (408, 409, 425)
    return is_status or name.startswith(("invalid_image", "invalid_base64", "image_"))


def stream_broke_off() -> UpstreamError:
    """The error for a stream that ended without the event that finishes it."""
    return UpstreamError("The model endpoint's stream ended before the answer was complete.", retryable=True)
