"""The fields of a JSON object as attributes, without a class for each kind of object.

The SDK builds a validated object for each event of a stream, which takes longer than everything else that is done
with the event.
"""

from collections.abc import Mapping
from typing import Any


class JsonObject:
    """Reads like the SDK's objects; a field that is not there is ``None``."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        return _as_attribute(self._fields.get(name))

    def __repr__(self) -> str:
        return f"JsonObject({self._fields!r})"


def _as_attribute(value: Any) -> Any:
    if isinstance(value, dict):
        return JsonObject(value)
    return [_as_attribute(item) for item in value] if isinstance(value, list) else value
