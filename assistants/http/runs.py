"""Runs: create, retrieve, list, modify, cancel, answer; alone and together with their thread."""

import time
from collections.abc import Sequence

from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from lockstitch.assistants import objects, refusals
from lockstitch.assistants.http import file_ids
from lockstitch.assistants.http.answers import JsonAnswer, page_answer
from lockstitch.assistants.http.bodies import read_body, stored
from lockstitch.assistants.http.caller import project_of
from lockstitch.assistants.http.ids import checked_id, path_id
from lockstitch.assistants.http.include import check_include
from lockstitch.assistants.http.pages import page_cursor
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.http.sse import STOPS, event_stream
from lockstitch.assistants.http.threads import NewThread, add_thread
from lockstitch.assistants.http.tool_resources import ToolResources, settle
from lockstitch.assistants.objects import Object
from lockstitch.assistants.store import answerers, commands, event_log, files, projects, runs
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

_POLL_AFTER = (b"openai-poll-after-ms", b"500")
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


_NOT_WITH_A_THREAD = ("additional_messages", "additional_instructions", "reasoning_effort")
"""What a run can be given only on a thread that exists."""


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
        thread_id, project = path_id(request, "thread_id"), project_of(request)
        check_include(request)
        body = await read_body(request, CreatedRun)
        checked_id("assistant_id", body.assistant_id)
        self._admit(request, stream=body.stream)
        row = await self._services.accept(lambda connection: self._create(connection, project, thread_id, body))
        return self._answer(row, stream=body.stream)

    async def create_with_thread(self, request: Request) -> Response:
        """Accept a run together with its thread."""
        project, body = project_of(request), await read_body(request, CreatedThreadAndRun)
        checked_id("assistant_id", body.assistant_id)
        for field in _NOT_WITH_A_THREAD:
            if field in body.model_fields_set:
                raise refusals.unknown_parameter(field)
        self._admit(request, stream=body.stream)

        def create(connection: Connection) -> Row:
            now = int(time.time())
            thread = add_thread(connection, project, body.thread or NewThread(), now)
            created = NewEvent("thread.created", objects.thread(thread))
            resources = settle(connection, project, body.tool_resources, now) if body.tool_resources else None
            return self._create(connection, project, thread["id"], body, [created], resources)

        return self._answer(await self._services.accept(create), stream=body.stream)

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return a run."""
        thread_id, run_id, project = path_id(request, "thread_id"), path_id(request, "run_id"), project_of(request)
        row = await self._database.read(
            lambda connection: runs.get(connection, thread_id, run_id, project=project), one_query=True
        )
        return _run_answer(row)

    async def list_page(self, request: Request) -> JsonAnswer:
        """Return a page of the thread's runs."""
        thread_id, cursor, project = path_id(request, "thread_id"), page_cursor(request, "run"), project_of(request)
        page = await self._database.read(lambda connection: runs.listed(connection, thread_id, cursor, project=project))
        return page_answer(page, objects.run)

    async def modify(self, request: Request) -> JsonAnswer:
        """Change a run's metadata, unless it is being worked on."""
        thread_id, run_id, project = path_id(request, "thread_id"), path_id(request, "run_id"), project_of(request)
        body = await read_body(request, ModifiedRun)
        answerers.check_metadata(body.metadata)
        values = stored(body, metadata=body.metadata or {})

        def change(connection: Connection) -> Row:
            event_log.lock(connection, run_id)
            run = runs.get(connection, thread_id, run_id, project=project)
            if run["status"] not in _MODIFIABLE:
                raise refusals.not_updatable(run["status"])
            return (runs.change(connection, run_id, when=_MODIFIABLE, values=values) if values else None) or run

        return _run_answer(await self._database.write(change))

    async def cancel(self, request: Request) -> JsonAnswer:
        """Accept that a run is to be cancelled."""
        thread_id, run_id, project = path_id(request, "thread_id"), path_id(request, "run_id"), project_of(request)

        def cancel(connection: Connection) -> Row:
            run = runs.begin_cancel(connection, thread_id, run_id, project=project)
            commands.add(connection, run_id, "cancel", {})
            return run

        return _run_answer(await self._services.accept(cancel))

    async def submit_tool_outputs(self, request: Request) -> Response:
        """Accept the outputs that a run waits for; once they are stored, nothing that fails is told to the client."""
        thread_id, run_id, project = path_id(request, "thread_id"), path_id(request, "run_id"), project_of(request)
        body = await read_body(request, SubmittedOutputs)
        self._admit(request, stream=body.stream)

        def submit(connection: Connection) -> tuple[Row, int]:
            event_log.lock(connection, run_id)
            seen = event_log.last_seq(connection, run_id)
            now, outputs = int(time.time()), body.tool_outputs
            run = runs.submit_outputs(connection, thread_id, run_id, outputs, now, project=project)
            payload = {"call_ids": [output.tool_call_id for output in body.tool_outputs]}
            commands.add(connection, run_id, "answer", payload)
            return run, seen

        run, seen = await self._services.accept(submit)
        return self._answer(run, stream=body.stream, after=seen)

    def _create(
        self,
        connection: Connection,
        project: str,
        thread_id: str,
        body: CreatedRun,
        leading_events: Sequence[NewEvent] = (),
        tool_resources: Object | None = None,
    ) -> Row:
        new = NewRun(
            new_id("run"),
            thread_id,
            body.assistant_id,
            body,
            int(time.time()),
            project=project,
            handlers=projects.handlers(connection, project),
            tool_resources=tool_resources,
            runs_code=self._services.runs_code,
        )
        row = runs.create(connection, new, leading_events)
        files.check(connection, file_ids.of_messages(body.additional_messages), project=project)
        start = ThreadRunRequest(
            thread_id=thread_id,
            assistant_id=body.assistant_id,
            tenant=project,
            policy=RunPolicy(on_missing_handler="wait"),
        )
        commands.add(connection, row["id"], "start", start.model_dump(mode="json", exclude_unset=True))
        return row

    def _admit(self, request: Request, *, stream: bool | None) -> None:
        """Refuse a stream that would be one too many before anything is accepted."""
        if stream:
            self._services.streams.admit(request)

    def _answer(self, run: Row, *, stream: bool | None, after: int = 0) -> Response:
        if stream:
            return event_stream(self._services.feed, run["id"], after, STOPS)
        return _run_answer(run)


def _run_answer(run: Row) -> JsonAnswer:
    answer = JsonAnswer(objects.run(run))
    if run["status"] in OPEN_STATUSES:
        answer.raw_headers.append(_POLL_AFTER)
    return answer
