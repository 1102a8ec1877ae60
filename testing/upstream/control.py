"""The control routes: what a test in another process reads and commands over HTTP.

They are for tests only, and ask for no key.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from lockstitch.errors import FaultInvalid, RunNotFound
from lockstitch.testing.upstream.faults import fault_from_json

if TYPE_CHECKING:
    from lockstitch.testing.assistants_upstream import AssistantsUpstream


def control_routes(upstream: "AssistantsUpstream") -> list[Route]:
    """The routes under ``/control``."""
    control = _Control(upstream)
    return [
        Route("/control/journal", control.journal),
        Route("/control/faults", control.faults, methods=["GET"]),
        Route("/control/faults", control.inject, methods=["POST"]),
        Route("/control/faults", control.clear, methods=["DELETE"]),
        Route("/control/release_answers", control.release, methods=["POST"]),
        Route("/control/runs", control.runs),
        Route("/control/runs/{run_id}", control.run),
        Route("/control/runs/{run_id}/{command}", control.command, methods=["POST"]),
    ]


class _Control:
    def __init__(self, upstream: "AssistantsUpstream") -> None:
        self._upstream = upstream
        self._commands: dict[str, Callable[[str], None]] = {
            "resume": upstream.resume,
            "expire": upstream.expire,
            "cancel_done": upstream.cancel_done,
            "complete": upstream.complete,
            "fail": upstream.fail,
            "lose": upstream.lose,
        }

    async def journal(self, _request: Request) -> Response:
        """Every request that was received."""
        return JSONResponse([entry.as_json() for entry in self._upstream.journal])

    async def faults(self, _request: Request) -> Response:
        """The planned faults."""
        return JSONResponse(self._upstream.planned_faults)

    async def inject(self, request: Request) -> Response:
        """Add the fault or the faults in the body."""
        body = await request.json()
        try:
            found = [fault_from_json(described) for described in (body if isinstance(body, list) else [body])]
        except FaultInvalid as error:
            return JSONResponse({"problem": str(error)}, status_code=400)
        self._upstream.inject(*found)
        return JSONResponse(self._upstream.planned_faults)

    async def clear(self, _request: Request) -> Response:
        """Forget the faults."""
        self._upstream.clear_faults()
        return JSONResponse([])

    async def release(self, _request: Request) -> Response:
        """Send the answers that are held."""
        self._upstream.release_answers()
        return JSONResponse({})

    async def runs(self, request: Request) -> Response:
        """The runs, by ``status``, ``thread_id`` and any other query parameter as metadata."""
        query = dict(request.query_params)
        named: dict[str, Any] = {name: query.pop(name, None) for name in ("status", "thread_id")}
        return JSONResponse(self._upstream.runs(**named, metadata=query))

    async def run(self, request: Request) -> Response:
        """A run, and how often each of its calls' outputs was accepted."""
        return self._told(request.path_params["run_id"])

    async def command(self, request: Request) -> Response:
        """Do something to a run."""
        command = self._commands.get(request.path_params["command"])
        if command is None:
            return JSONResponse({"problem": f"commands: {', '.join(self._commands)}"}, status_code=404)
        run_id = request.path_params["run_id"]
        try:
            command(run_id)
        except RunNotFound as error:
            return JSONResponse({"problem": str(error)}, status_code=404)
        return self._told(run_id)

    def _told(self, run_id: str) -> Response:
        try:
            run = self._upstream.run(run_id)
        except RunNotFound as error:
            return JSONResponse({"problem": str(error)}, status_code=404)
        return JSONResponse({"run": run, "accepted": self._upstream.journal.accepted(run_id)})
