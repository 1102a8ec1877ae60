"""Which page of a list a client asks for."""

from starlette.requests import Request

from lockstitch.assistants import refusals
from lockstitch.assistants.http.ids import could_be_id
from lockstitch.assistants.store.rows import PageCursor

MAX_LIMIT = 100
DEFAULT_LIMIT = 20


def page_cursor(
    request: Request, id_prefix: str, *, default_limit: int = DEFAULT_LIMIT, max_limit: int = MAX_LIMIT
) -> PageCursor:
    """Read ``limit``, ``order``, ``after`` and ``before``; raises `ApiError`.

    ``id_prefix`` is what the ids of the listed objects begin with.
    """
    query = request.query_params
    if not query:
        return PageCursor(default_limit)
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise refusals.unsupported_value("order", order, ("asc", "desc"))
    return PageCursor(
        limit=query_number(request, "limit", default_limit, at_least=1, at_most=max_limit),
        descending=order == "desc",
        after=_anchor(request, "after", id_prefix),
        before=_anchor(request, "before", id_prefix),
    )


def query_number(request: Request, param: str, default: int, *, at_least: int, at_most: int) -> int:
    """Read a whole number out of the query; raises `ApiError`."""
    text = request.query_params.get(param)
    return default if text is None else parse_number(param, text, at_least=at_least, at_most=at_most)


def parse_number(param: str, text: str, *, at_least: int, at_most: int) -> int:
    """Read a whole number; raises `ApiError`."""
    if not text.removeprefix("-").isdecimal() or len(text) > 20:
        raise refusals.wrong_type(param, "an integer", "a string")
    number = int(text)
    if number > at_most:
        raise refusals.above_maximum(param, "integer", str(at_most), number)
    if number < at_least:
        raise refusals.below_minimum(param, "integer", str(at_least), number)
    return number


def _anchor(request: Request, param: str, prefix: str) -> str | None:
    value = request.query_params.get(param)
    if value and not (value.startswith(prefix) and could_be_id(value)):
        raise refusals.wrong_id(param, value, prefix)
    return value or None
