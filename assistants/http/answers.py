"""Answers: JSON, indented as the API's."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

from lockstitch.assistants import objects
from lockstitch.assistants.store.rows import Page, Row
from lockstitch.errors import ApiError


class JsonAnswer(Response):
    """An object as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Encode the object; indentation costs nothing here."""
        return to_json(content, indent=2)


def page_answer(page: Page, make: Callable[[Row], objects.Object]) -> JsonAnswer:
    """Answer with one page of a list."""
    return JsonAnswer(objects.page([make(row) for row in page.rows], has_more=page.has_more))


def error_answer(error: ApiError, headers: Mapping[str, str] | None = None) -> JsonAnswer:
    """Answer with an error object."""
    return JsonAnswer(error.body(), error.status, {**error.headers, **(headers or {})})
