"""Ids in paths, queries and bodies."""

from starlette.requests import Request

from lockstitch.assistants import refusals

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
    """Return ``value``; raises `ApiError` where it has another prefix than ids of this kind have."""
    prefix = _PREFIXES[param]
    if not value.startswith(f"{prefix}_"):
        raise refusals.wrong_id(param, value, prefix)
    return value
