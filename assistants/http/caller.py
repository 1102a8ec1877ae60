"""Who asks: the key with which a request was made, and the project whose objects it may see."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Scope

from lockstitch.assistants.store.schema import DEFAULT_PROJECT

_SCOPE_KEY = "lockstitch.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a request; ``rate_limit`` is in requests per minute, ``None`` where there is no limit."""

    project: str
    key_id: str | None = None
    """``None`` where this server asks for no keys."""
    rate_limit: int | None = None
    is_operator: bool = False
    """Whether what concerns all projects is open too."""


ANYBODY = Caller(DEFAULT_PROJECT, is_operator=True)
"""Who makes requests where there are no keys."""


def introduce(scope: Scope, caller: Caller) -> None:
    """Take note of who makes the request."""
    scope[_SCOPE_KEY] = caller


def caller_in(scope: Scope) -> Caller | None:
    """Return who makes a request, ``None`` where nobody has looked."""
    return scope.get(_SCOPE_KEY)


def caller_of(request: Request) -> Caller:
    """Return who makes the request; raises `KeyError` where nobody has looked."""
    caller: Caller = request.scope[_SCOPE_KEY]
    return caller


def project_of(request: Request) -> str:
    """Return the project for which the request is made; there is one alone where there are no keys."""
    return caller_of(request).project
