"""Threads: create, retrieve, list, modify, delete."""

import time

from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.requests import Request

from lockstitch.assistants import objects
from lockstitch.assistants.http import file_ids
from lockstitch.assistants.http.answers import JsonAnswer, page_answer
from lockstitch.assistants.http.bodies import read_body, stored
from lockstitch.assistants.http.caller import project_of
from lockstitch.assistants.http.ids import path_id
from lockstitch.assistants.http.pages import page_cursor
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.http.tool_resources import ToolResources, stored_resources
from lockstitch.assistants.store import files, run_commands, runs, threads
from lockstitch.assistants.store.rows import Row
from lockstitch.starter.contract import Metadata, NewMessage


class ModifiedThread(BaseModel):
    """What can be changed about a thread."""

    metadata: Metadata | None = None
    tool_resources: ToolResources | None = None


class NewThread(ModifiedThread):
    """A thread to create, and the messages with which it begins."""

    messages: list[NewMessage] | None = None


class Threads:
    """The operations on threads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database

    async def create(self, request: Request) -> JsonAnswer:
        """Add a thread."""
        project, thread = project_of(request), await read_body(request, NewThread)
        row = await self._database.write(lambda connection: add_thread(connection, project, thread, int(time.time())))
        return JsonAnswer(objects.thread(row))

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return a thread."""
        thread_id, project = path_id(request, "thread_id"), project_of(request)
        row = await self._database.read(lambda connection: threads.get(connection, thread_id, project=project))
        return JsonAnswer(objects.thread(row))

    async def list_page(self, request: Request) -> JsonAnswer:
        """Return a page of the threads; Azure has this operation, the published description has not."""
        cursor, project = page_cursor(request, "thread"), project_of(request)
        page = await self._database.read(lambda connection: threads.listed(connection, cursor, project=project))
        return page_answer(page, objects.thread)

    async def modify(self, request: Request) -> JsonAnswer:
        """Change what the body names, and nothing else."""
        thread_id, project = path_id(request, "thread_id"), project_of(request)
        body = await read_body(request, ModifiedThread)
        values = _columns(body)

        def change(connection: Connection) -> Row:
            row = threads.change(connection, thread_id, values, project=project)
            files.check(connection, file_ids.of_resources(body.tool_resources), project=project)
            return row

        return JsonAnswer(objects.thread(await self._database.write(change)))

    async def delete(self, request: Request) -> JsonAnswer:
        """Delete a thread with its messages and runs; a run that is active is cancelled."""
        thread_id, project = path_id(request, "thread_id"), project_of(request)
        await self._services.accept(lambda connection: _delete(connection, project, thread_id))
        return JsonAnswer(objects.deleted(thread_id, "thread.deleted"))


def add_thread(connection: Connection, project: str, thread: NewThread, now: int) -> Row:
    """Add a thread with its messages; raises `ApiError` (404) for files that the project does not have."""
    used = (*file_ids.of_resources(thread.tool_resources), *file_ids.of_messages(thread.messages))
    files.check(connection, used, project=project)
    values = {"metadata": {}, "tool_resources": {}, "project_id": project} | _columns(thread)
    row = threads.create(connection, values, now)
    for message in thread.messages or ():
        threads.add_message(connection, row["id"], message, now)
    return row


def _columns(thread: ModifiedThread) -> dict[str, object]:
    values = stored(
        thread,
        metadata=thread.metadata or {},
        tool_resources=stored_resources(thread.tool_resources),
    )
    values.pop("messages", None)
    return values


def _delete(connection: Connection, project: str, thread_id: str) -> tuple[None, Row | None]:
    threads.get(connection, thread_id, project=project)
    run_id, command = threads.active_run_id(connection, thread_id), None
    if run_id is not None:
        # Whoever follows the run learns that it has ended before it is gone.
        runs.end(connection, run_id, "cancelled", int(time.time()))
        command = run_commands.add(connection, run_id, "cancel", {})
    threads.delete(connection, thread_id)
    return None, command
