"""Answers: JSON, indented as the API's."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

from lockstitch.assistants import objects
from lockstitch.assistants.store.rows import Page, Row
from lockstitch.errors import ApiError

_IS_JSON = (b"content-type", b"application/json")


class JsonAnswer(Response):
    """An object as JSON."""

    media_type = "application/json"

    def __init__(self, content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        # What Starlette's own does for any kind of body takes longer than encoding the object.
        self.status_code = status
        self.background = None
        self.body = to_json(content, indent=2)  # indentation costs nothing here
        self.raw_headers = [(b"content-length", b"%d" % len(self.body)), _IS_JSON]
        if headers:
            self.raw_headers += encoded_headers(headers)


def encoded_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers as they go over the wire."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def page_answer(page: Page, make: Callable[[Row], objects.Object]) -> JsonAnswer:
    """Answer with one page of a list."""
    return JsonAnswer(objects.page([make(row) for row in page.rows], has_more=page.has_more))


def error_answer(error: ApiError, headers: Mapping[str, str] | None = None) -> JsonAnswer:
    """Answer with an error object."""
    return JsonAnswer(error.body(), error.status, {**error.headers, **(headers or {})})
