"""The headers of a request, without a mapping of them all: every request is asked for three."""

from starlette.types import Scope

_SCOPE_KEY = "lockstitch.headers"


def header_values(scope: Scope, name: bytes) -> list[str]:
    """Return the values of the header called ``name``, in small letters, as often as it was sent."""
    names = scope.get(_SCOPE_KEY)
    if names is None:
        names = scope[_SCOPE_KEY] = {key for key, _ in scope["headers"]}
    if name not in names:  # as most are not
        return []
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
