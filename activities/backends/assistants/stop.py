"""How a run of an Assistants server ended, as its watchers were told."""

from typing import Any

from lockstitch.activities.backends.assistants.story import Story
from lockstitch.activities.backends.inline_text import clip
from lockstitch.activities.messages import RunRef, RunStop
from lockstitch.starter.contract import LastError, Usage

JsonObject = dict[str, Any]

_NEVER_CREATED = LastError(code="server_error", message="The run ended before it was created upstream.")


def ended_stop(run: RunRef, story: Story) -> RunStop:
    """Return the stop of a run that has ended."""
    if story.run_object is None:
        return RunStop(run=run, status="cancelled", last_error=_NEVER_CREATED)
    message_ids = list(story.messages)
    text = _text(story.messages[message_ids[-1]].whole) if message_ids else None
    told = story.run_object
    return RunStop(
        run=run,
        status=told["status"],
        message_ids=message_ids,
        last_message_text=None if text is None else clip(text),
        last_message_truncated=text is not None and clip(text) != text,
        usage=_usage(told.get("usage") or {}),
        last_error=_last_error(told.get("last_error")),
    )


def _text(message: JsonObject) -> str:
    return "\n".join(part["text"]["value"] for part in message.get("content") or () if part.get("type") == "text")


def _usage(usage: JsonObject) -> Usage:
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    # The description of the API says `prompt_tokens_details`, the API itself the other.
    of_prompt = usage.get("prompt_token_details") or usage.get("prompt_tokens_details") or {}
    of_completion = usage.get("completion_tokens_details") or {}
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=usage.get("total_tokens") or prompt + completion,
        cached_tokens=of_prompt.get("cached_tokens") or 0,
        reasoning_tokens=of_completion.get("reasoning_tokens") or 0,
    )


def _last_error(error: JsonObject | None) -> LastError | None:
    if not error:
        return None
    return LastError(code=str(error.get("code") or "server_error"), message=str(error.get("message") or ""))
