"""The event log of a run as a stream: our own addition to the API.

Unlike the streams of the API, this one can be left and taken up again, and goes on through rounds of tool
calls until the run has ended.
"""

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import StreamingResponse

from lockstitch.assistants import refusals
from lockstitch.assistants.http.ids import path_id
from lockstitch.assistants.http.pages import parse_number
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.http.sse import ENDS, ended_stream, event_stream
from lockstitch.assistants.store import event_log, runs
from lockstitch.errors import RunNotFound
from lockstitch.starter.contract import MAX_INTEGER


class RunEvents:
    """The operation on the event logs of runs."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def stream(self, request: Request) -> StreamingResponse:
        """Stream what follows ``Last-Event-ID`` (or ``?after=``) until the run has ended.

        A run that was started but has not begun is waited for.
        """
        run_id = path_id(request, "run_id")
        thread_id = path_id(request, "thread_id") if "thread_id" in request.path_params else None
        after = _after(request)
        ended_at = await self._services.database.read(lambda connection: _ended_at(connection, run_id))
        await self._check(run_id, thread_id)
        if ended_at is not None and after >= ended_at:
            return ended_stream()
        return event_stream(self._services.feed, run_id, after, ENDS)

    async def _check(self, run_id: str, thread_id: str | None) -> None:
        def known_thread(connection: Connection) -> tuple[bool, str | None]:
            run = runs.find(connection, run_id)
            return event_log.exists(connection, run_id), None if run is None else run["thread_id"]

        has_log, found = await self._services.database.read(known_thread)
        if not has_log:
            try:
                found = (await self._services.starter.snapshot(run_id)).thread_id
            except RunNotFound:
                raise refusals.no_run(run_id) from None
        if thread_id is not None and found != thread_id:
            raise refusals.no_run(run_id)


def _after(request: Request) -> int:
    for param, text in (
        ("Last-Event-ID", request.headers.get("last-event-id")),
        ("after", request.query_params.get("after")),
    ):
        if text:
            return parse_number(param, text, at_least=0, at_most=MAX_INTEGER)
    return 0


def _ended_at(connection: Connection, run_id: str) -> int | None:
    """Return the number of the event that ended the run, ``None`` where it goes on."""
    newest = event_log.after(connection, run_id, event_log.last_seq(connection, run_id) - 1)
    return newest[-1].seq if newest and newest[-1].event in ENDS else None
