"""The headers of a request, without a mapping of them all: every request is asked for two."""

from starlette.types import Scope


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Return the values of the header called ``name``, in small letters, as often as it was sent."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
