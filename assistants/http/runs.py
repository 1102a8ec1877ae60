"""Runs: create, retrieve, list, modify, cancel, answer; alone and together with their thread."""

import time
from collections.abc import Sequence

from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from lockstitch.assistants import objects, refusals
from lockstitch.assistants.http.answers import JsonAnswer, page_answer
from lockstitch.assistants.http.bodies import read_body, stored
from lockstitch.assistants.http.ids import checked_id, path_id
from lockstitch.assistants.http.pages import page_cursor
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.http.sse import STOPS, event_stream
from lockstitch.assistants.http.threads import NewThread, add_thread
from lockstitch.assistants.http.tool_resources import ToolResources
from lockstitch.assistants.store import event_log, run_commands, runs
from lockstitch.assistants.store.event_log import NewEvent
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.runs import NewRun
from lockstitch.starter.contract import (
    OPEN_STATUSES,
    Metadata,
    RunParameters,
    RunPolicy,
    RunStatus,
    ThreadRunRequest,
    ToolOutput,
)
from lockstitch.starter.identifiers import new_id

POLL_AFTER_MS = "500"
"""How long the SDK's helpers wait before they ask again for a run that is open; they would wait a second."""

_MODIFIABLE: tuple[RunStatus, ...] = (
    "queued",
    "requires_action",
    "cancelling",
    "cancelled",
    "failed",
    "completed",
    "incomplete",
    "expired",
)


class CreatedRun(RunParameters):
    """A run to create on a thread that exists."""

    assistant_id: str
    stream: bool | None = None


class CreatedThreadAndRun(CreatedRun):
    """A run to create together with its thread."""

    thread: NewThread | None = None
    tool_resources: ToolResources | None = None


class ModifiedRun(BaseModel):
    """What can be changed about a run."""

    metadata: Metadata | None = None


class SubmittedOutputs(BaseModel):
    """The outputs of all tool calls that a run asks for."""

    tool_outputs: list[ToolOutput]
    stream: bool | None = None


class Runs:
    """The operations on runs."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database

    async def create(self, request: Request) -> Response:
        """Accept a run of the thread."""
        thread_id = path_id(request, "thread_id")
        body = await read_body(request, CreatedRun)
        checked_id("assistant_id", body.assistant_id)
        row = await self._services.accept(lambda connection: _create(connection, thread_id, body))
        return self._answer(row, stream=body.stream)

    async def create_with_thread(self, request: Request) -> Response:
        """Accept a run together with its thread."""
        body = await read_body(request, CreatedThreadAndRun)
        checked_id("assistant_id", body.assistant_id)
        for tool in body.tool_resources.model_fields_set if body.tool_resources else ():
            raise refusals.built_in_tool_unavailable(tool, f"tool_resources.{tool}")

        def create(connection: Connection) -> tuple[Row, Row]:
            thread = add_thread(connection, body.thread or NewThread(), int(time.time()))
            created = NewEvent("thread.created", objects.thread(thread))
            return _create(connection, thread["id"], body, [created])

        return self._answer(await self._services.accept(create), stream=body.stream)

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return a run."""
        thread_id, run_id = path_id(request, "thread_id"), path_id(request, "run_id")
        row = await self._database.read(lambda connection: runs.get(connection, thread_id, run_id), one_query=True)
        return _run_answer(row)

    async def list_page(self, request: Request) -> JsonAnswer:
        """Return a page of the thread's runs."""
        thread_id, cursor = path_id(request, "thread_id"), page_cursor(request, "run")
        page = await self._database.read(lambda connection: runs.listed(connection, thread_id, cursor))
        return page_answer(page, objects.run)

    async def modify(self, request: Request) -> JsonAnswer:
        """Change a run's metadata, unless it is being worked on."""
        thread_id, run_id = path_id(request, "thread_id"), path_id(request, "run_id")
        body = await read_body(request, ModifiedRun)
        values = stored(body, metadata=body.metadata or {})

        def change(connection: Connection) -> Row:
            event_log.lock(connection, run_id)
            run = runs.get(connection, thread_id, run_id)
            if run["status"] not in _MODIFIABLE:
                raise refusals.not_updatable(run["status"])
            return (runs.change(connection, run_id, when=_MODIFIABLE, values=values) if values else None) or run

        return _run_answer(await self._database.write(change))

    async def cancel(self, request: Request) -> JsonAnswer:
        """Accept that a run is to be cancelled."""
        thread_id, run_id = path_id(request, "thread_id"), path_id(request, "run_id")

        def cancel(connection: Connection) -> tuple[Row, Row]:
            run = runs.begin_cancel(connection, thread_id, run_id)
            return run, run_commands.add(connection, run_id, "cancel", {})

        return _run_answer(await self._services.accept(cancel))

    async def submit_tool_outputs(self, request: Request) -> Response:
        """Accept the outputs that a run waits for; once they are stored, nothing that fails is told to the client."""
        thread_id, run_id = path_id(request, "thread_id"), path_id(request, "run_id")
        body = await read_body(request, SubmittedOutputs)

        def submit(connection: Connection) -> tuple[tuple[Row, int], Row]:
            event_log.lock(connection, run_id)
            seen = event_log.last_seq(connection, run_id)
            run = runs.submit_outputs(connection, thread_id, run_id, body.tool_outputs, int(time.time()))
            payload = {"call_ids": [output.tool_call_id for output in body.tool_outputs]}
            return (run, seen), run_commands.add(connection, run_id, "answer", payload)

        run, seen = await self._services.accept(submit)
        return self._answer(run, stream=body.stream, after=seen)

    def _answer(self, run: Row, *, stream: bool | None, after: int = 0) -> Response:
        if stream:
            return event_stream(self._services.feed, run["id"], after, STOPS)
        return _run_answer(run)


def _create(
    connection: Connection, thread_id: str, body: CreatedRun, leading_events: Sequence[NewEvent] = ()
) -> tuple[Row, Row]:
    new = NewRun(new_id("run"), thread_id, body.assistant_id, body, int(time.time()))
    row = runs.create(connection, new, leading_events)
    start = ThreadRunRequest(
        thread_id=thread_id, assistant_id=body.assistant_id, policy=RunPolicy(on_missing_handler="wait")
    )
    return row, run_commands.add(connection, row["id"], "start", start.model_dump(mode="json", exclude_unset=True))


def _run_answer(run: Row) -> JsonAnswer:
    headers = {"openai-poll-after-ms": POLL_AFTER_MS} if run["status"] in OPEN_STATUSES else None
    return JsonAnswer(objects.run(run), headers=headers)
