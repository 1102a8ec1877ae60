"""What the server answers before it can work: that it lives, and that it is not ready yet."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from lockstitch.assistants import refusals
from lockstitch.assistants.http.answers import error_answer
from lockstitch.probes import opening_tables, probes_of


class StartingApp:
    """Answers probes, and everything else with 503, until it has an ``api``, which then gets every request.

    A server whose tables take long to upgrade would otherwise be taken for one that hangs, and killed in the middle.
    """

    def __init__(self) -> None:
        self.api: ASGIApp | None = None
        self._probes = probes_of({"database": opening_tables})

    def __repr__(self) -> str:
        return f"StartingApp(api={self.api!r})"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self.api is not None:
            await self.api(scope, receive, send)
            return
        probe = self._probes.get(scope["path"])
        starting = error_answer(refusals.server_starting())
        answer = starting if probe is None else await probe(Request(scope, receive))
        await answer(scope, receive, send)
