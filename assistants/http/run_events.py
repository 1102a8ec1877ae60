"""The event log of a run as a stream: our own addition to the API.

Unlike the streams of the API, this one can be left and taken up again, and goes on through rounds of tool
calls until the run has ended.
"""

from typing import NamedTuple

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


class _Log(NamedTuple):
    """What the store knows of a run."""

    exists: bool
    thread_id: str | None
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
        thread_id = log.thread_id if log.exists else await self._thread_of_a_run_to_come(run_id)
        if "thread_id" in request.path_params and path_id(request, "thread_id") != thread_id:
            raise refusals.no_run(run_id)
        if log.ended_at is not None and after >= log.ended_at:
            return ended_stream()
        return event_stream(self._services.feed, run_id, after, ENDS)

    async def _thread_of_a_run_to_come(self, run_id: str) -> str | None:
        try:
            return (await self._services.starter.snapshot(run_id)).thread_id
        except RunNotFound:
            raise refusals.no_run(run_id) from None


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
    return _Log(
        exists=event_log.exists(connection, run_id),
        thread_id=None if run is None else run["thread_id"],
        ended_at=newest[-1].seq if newest and newest[-1].event in ENDS else None,
    )
