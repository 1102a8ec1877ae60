"""Ids in paths, queries and bodies."""

from starlette.requests import Request

from lockstitch.assistants import refusals

MAX_ID_LENGTH = 256

_PREFIXES = {
    "assistant_id": "asst_",
    "thread_id": "thread_",
    "message_id": "msg_",
    "run_id": "run_",
    "step_id": "step_",
    "vector_store_id": "vs_",
    "batch_id": "vsfb_",
}


def path_id(request: Request, param: str) -> str:
    """Return the id that stands in the path as ``param``; raises `ApiError` where it cannot be one."""
    return checked_id(param, request.path_params[param])


def checked_id(param: str, value: str) -> str:
    """Return ``value``; raises `ApiError` where it cannot be an id of this kind, for its prefix or otherwise."""
    prefix = _PREFIXES[param]
    if not (value.startswith(prefix) and could_be_id(value)):
        raise refusals.wrong_id(param, value, prefix[:-1])
    return value


def file_id(request: Request) -> str:
    """Return the id of a file that stands in the path; raises `ApiError` where it cannot be one."""
    value: str = request.path_params["file_id"]
    if not could_be_id(value):
        raise refusals.no_file(value)
    return value


def could_be_id(value: str) -> bool:
    """Tell whether a text could be an id; not every database takes a question about one with a NUL in it."""
    return len(value) <= MAX_ID_LENGTH and value.isascii() and value.isprintable()
