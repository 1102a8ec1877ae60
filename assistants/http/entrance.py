"""What a request passes before its route is looked up: its path loses the prefix, and it says which API it means."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from lockstitch.assistants import refusals
from lockstitch.assistants.http.answers import error_answer
from lockstitch.assistants.http.azure import names_api_version
from lockstitch.assistants.http.request_headers import header_values

# Azure's clients put the project before the path, some gateways the deployment.
_PREFIX = re.compile(r"(/api/projects/[^/]+)?(/v1|/openai/v1|/openai/deployments/[^/]+|/openai)?(?=/)")
_BETA_PATHS = ("/assistants", "/threads")


class Entrance:
    """Takes the prefix off the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in."""
        if scope["type"] == "http":
            found = _PREFIX.match(scope["path"])
            scope["root_path"] = found[0] if found else ""
        await self._app(scope, receive, send)


class BetaCheck:
    """Asks for the beta header where the API does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in."""
        if scope["type"] == "http":
            path = path_of(scope)
            if path.startswith(_BETA_PATHS) and not _says_which_version(scope, path):
                await error_answer(refusals.beta_header_missing())(scope, receive, send)
                return
        await self._app(scope, receive, send)


def path_of(scope: Scope) -> str:
    """Return the path of a request that came through the `Entrance`, without its prefix."""
    path: str = scope["path"]
    return path[len(scope["root_path"]) :]


def _says_which_version(scope: Scope, path: str) -> bool:
    if any("assistants=v2" in value for value in header_values(scope, b"openai-beta")):
        return True
    # Azure's clients send no such header. Event streams are our own, and browsers cannot add headers to one.
    if path.endswith("/events"):
        return True
    return names_api_version(scope)
