"""What an Assistants server is asked, made of a request of ours."""

from typing import Any

from lockstitch.activities.backends.assistants.story import NUMBER_MARK, RUN_MARK
from lockstitch.errors import ApiError
from lockstitch.starter.contract import RunParameters, ThreadRunRequest

JsonObject = dict[str, Any]

MOST_METADATA = 16
"""Entries that an object's metadata may have, by the Assistants API."""

_PARAMETERS = set(RunParameters.model_fields) - {"metadata"}


def new_thread(run_id: str, request: ThreadRunRequest) -> JsonObject:
    """Return the body that creates the thread of a run."""
    messages = [message.model_dump(mode="json", exclude_none=True) for message in request.messages or ()]
    return {"messages": messages, "metadata": {RUN_MARK: run_id}}


def new_run(run_id: str, number: int, request: ThreadRunRequest) -> JsonObject:
    """Return the body that creates the run first (0) or as its replacement ``number``.

    A replacement adds no messages: the first run has added them. Raises `ApiError` where the caller's metadata leaves
    no room for the marks by which the run is found again.
    """
    given = request.model_dump(mode="json", by_alias=True, exclude_none=True, include=_PARAMETERS)
    if number:
        given.pop("additional_messages", None)
    if given.get("parallel_tool_calls"):  # what the API does by itself, and some servers do not know
        del given["parallel_tool_calls"]
    return {**given, "assistant_id": request.assistant_id, "metadata": _metadata(run_id, number, request)}


def marks(run_id: str, number: int) -> dict[str, str]:
    """Return the metadata by which a run upstream is found again."""
    return {RUN_MARK: run_id, NUMBER_MARK: str(number)}


def is_marked(upstream_run: JsonObject, run_id: str, number: int) -> bool:
    """Tell whether a run upstream carries our run first (0) or as its replacement ``number``."""
    return marks(run_id, number).items() <= (upstream_run.get("metadata") or {}).items()


def is_of_lockstitch(upstream_run: JsonObject) -> bool:
    """Tell whether a run upstream carries a run of some Lockstitch, which looks after it."""
    return RUN_MARK in (upstream_run.get("metadata") or {})


def _metadata(run_id: str, number: int, request: ThreadRunRequest) -> dict[str, str]:
    metadata = {**(request.metadata or {}), **marks(run_id, number)}
    if len(metadata) > MOST_METADATA:
        room = MOST_METADATA - len(marks(run_id, number))
        raise ApiError(
            f"A run of the backend 'assistants' may have {room} entries of metadata, and this one has "
            f"{len(request.metadata or {})}: the others are needed to find the run again.",
            param="metadata",
        )
    return metadata
