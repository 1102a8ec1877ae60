"""Ids in paths, queries and bodies."""

from starlette.requests import Request

from lockstitch.assistants import refusals

MAX_ID_LENGTH = 256

_PREFIXES = {
    "assistant_id": "asst",
    "thread_id": "thread",
    "message_id": "msg",
    "run_id": "run",
    "step_id": "step",
    "vector_store_id": "vs",
    "batch_id": "vsfb",
}


def path_id(request: Request, param: str) -> str:
    """Return the id that stands in the path as ``param``; raises `ApiError` where it cannot be one."""
    return checked_id(param, request.path_params[param])


def checked_id(param: str, value: str) -> str:
    """Return ``value``; raises `ApiError` where it cannot be an id of this kind, for its prefix or otherwise."""
    prefix = _PREFIXES[param]
    if not (value.startswith(f"{prefix}_") and could_be_id(value)):
        raise refusals.wrong_id(param, value, prefix)
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
