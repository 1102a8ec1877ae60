"""Reading bodies: how large they may be, and JSON that fits a model or is refused in the API's words."""

import json
import re
from collections.abc import AsyncGenerator
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from lockstitch.assistants import refusals
from lockstitch.assistants.http.complaints import complaint

Body = TypeVar("Body", bound=BaseModel)

# Pages of other sites may send any other type without asking the browser's permission.
_IS_JSON = re.compile(r"application/([\w.+-]+\+)?json\s*(;|$)", re.IGNORECASE)
MAX_JSON_BYTES = 16 * 1024 * 1024


async def read_body(request: Request, model: type[Body], *, optional: bool = False) -> Body:
    """Read a JSON body; where it is ``optional``, an empty one is an object without entries. Raises `ApiError`."""
    body = await json_bytes(request)
    if b"NaN" in body or b"Infinity" in body:
        _refuse_what_is_no_number(body)
    try:
        read = model.model_validate_json(body or b"{}", strict=True, extra="forbid")
    except ValidationError as error:
        raise complaint(error) from None
    if not body and not optional:
        raise refusals.not_json()
    return read


async def json_bytes(request: Request) -> bytes:
    """Read a body that is announced as JSON, or as nothing; raises `ApiError`."""
    body = b"".join([chunk async for chunk in limited_stream(request, MAX_JSON_BYTES)])
    content_type = request.headers.get("content-type", "")
    if body and content_type and not _IS_JSON.match(content_type):
        raise refusals.unsupported_content_type(content_type, "application/json")
    return body


async def limited_stream(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes; raises `ApiError` (413) where it has more than ``limit`` bytes."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise refusals.body_too_large(limit)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise refusals.body_too_large(limit)
        yield chunk


def _refuse_what_is_no_number(body: bytes) -> None:
    # The parser that validates takes these for numbers, but JSON does not have them and neither has the store.
    try:
        json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise refusals.not_json() from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def stored(model: BaseModel, **replaced: Any) -> dict[str, Any]:
    """Return what was given, as the store keeps it; ``replaced`` takes the place of fields that were given."""
    values = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return values | {name: value for name, value in replaced.items() if name in values}
