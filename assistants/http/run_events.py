"""The event log of a run as a stream: our own addition to the API.

Unlike the streams of the API, this one can be left and taken up again, and goes on through rounds of tool
calls until the run has ended.
"""

from typing import NamedTuple

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import StreamingResponse

from lockstitch.assistants import refusals
from lockstitch.assistants.http.caller import project_of
from lockstitch.assistants.http.ids import path_id
from lockstitch.assistants.http.pages import parse_number
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.http.sse import ENDS, ended_stream, event_stream
from lockstitch.assistants.store import event_log, runs
from lockstitch.assistants.store.rows import Row
from lockstitch.errors import RunNotFound
from lockstitch.starter.contract import MAX_INTEGER


class _Log(NamedTuple):
    """What the store knows of a run."""

    run: Row | None
    ended_at: int | None
    """The number of the event that ended the run."""


class RunEvents:
    """The operation on the event logs of runs."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def stream(self, request: Request) -> StreamingResponse:
        """Stream what follows ``Last-Event-ID`` (or ``?after=``) until the run has ended.

        A run that was started but has not begun is waited for.
        """
        run_id, after = path_id(request, "run_id"), _after(request)
        log = await self._services.database.read(lambda connection: _look(connection, run_id))
        project, thread_id = await self._owner_elsewhere(run_id) if log.run is None else _owner(log.run)
        if project != project_of(request):
            raise refusals.no_run(run_id)
        if "thread_id" in request.path_params and path_id(request, "thread_id") != thread_id:
            raise refusals.no_run(run_id)
        if log.ended_at is not None and after >= log.ended_at:
            return ended_stream()
        self._services.streams.admit(request)
        return event_stream(self._services.feed, run_id, after, ENDS)

    async def _owner_elsewhere(self, run_id: str) -> tuple[str, str | None]:
        """Return the project and the thread of a run that is not in the store: it is to come, or of another backend.

        It is shown to the project that is named as its tenant.
        """
        try:
            snapshot = await self._services.starter.snapshot(run_id)
        except RunNotFound:
            raise refusals.no_run(run_id) from None
        return snapshot.tenant, snapshot.thread_id


def _owner(run: Row) -> tuple[str, str]:
    return run["project_id"], run["thread_id"]


def _after(request: Request) -> int:
    for param, text in (
        ("Last-Event-ID", request.headers.get("last-event-id")),
        ("after", request.query_params.get("after")),
    ):
        if text:
            return parse_number(param, text, at_least=0, at_most=MAX_INTEGER)
    return 0


def _look(connection: Connection, run_id: str) -> _Log:
    run = runs.find(connection, run_id)
    newest = event_log.after(connection, run_id, event_log.last_seq(connection, run_id) - 1)
    return _Log(run, newest[-1].seq if newest and newest[-1].event in ENDS else None)
