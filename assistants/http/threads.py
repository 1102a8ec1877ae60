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
from lockstitch.assistants.http.tool_resources import NewToolResources, ToolResources, settle
from lockstitch.assistants.store import commands, files, runs, threads
from lockstitch.assistants.store.rows import Row
from lockstitch.starter.contract import Metadata, NewMessage


class ModifiedThread(BaseModel):
    """What can be changed about a thread."""

    metadata: Metadata | None = None
    tool_resources: ToolResources | None = None


class NewThread(ModifiedThread):
    """A thread to create, and the messages with which it begins."""

    tool_resources: NewToolResources | None = None
    messages: list[NewMessage] | None = None


class Threads:
    """The operations on threads."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database

    async def create(self, request: Request) -> JsonAnswer:
        """Add a thread."""
        project, thread = project_of(request), await read_body(request, NewThread, optional=True)
        row = await self._services.accept(lambda connection: add_thread(connection, project, thread, int(time.time())))
        return JsonAnswer(objects.thread(row))

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return a thread."""
        thread_id, project = path_id(request, "thread_id"), project_of(request)
        row = await self._database.read(lambda connection: threads.get(connection, thread_id, project=project))
        return JsonAnswer(objects.thread(row))

    async def list_page(self, request: Request) -> JsonAnswer:
        """Return a page of the threads."""
        cursor, project = page_cursor(request, "thread"), project_of(request)
        page = await self._database.read(lambda connection: threads.listed(connection, cursor, project=project))
        return page_answer(page, objects.thread)

    async def modify(self, request: Request) -> JsonAnswer:
        """Change what the body names, and nothing else."""
        thread_id, project = path_id(request, "thread_id"), project_of(request)
        body = await read_body(request, ModifiedThread)
        values = stored(body, metadata=body.metadata or {})

        def change(connection: Connection) -> Row:
            if "tool_resources" in values:
                values["tool_resources"] = settle(connection, project, body.tool_resources, int(time.time()))
            return threads.change(connection, thread_id, values, project=project)

        return JsonAnswer(objects.thread(await self._database.write(change)))

    async def delete(self, request: Request) -> JsonAnswer:
        """Delete a thread with its messages and runs; a run that is active is cancelled."""
        thread_id, project = path_id(request, "thread_id"), project_of(request)
        await self._services.accept(lambda connection: _delete(connection, project, thread_id))
        return JsonAnswer(objects.deleted(thread_id, "thread.deleted"))


def add_thread(connection: Connection, project: str, thread: NewThread, now: int) -> Row:
    """Add a thread with its messages; raises `ApiError` (404) for files that the project does not have."""
    files.check(connection, file_ids.of_messages(thread.messages), project=project)
    resources = settle(connection, project, thread.tool_resources, now)
    values = {"metadata": thread.metadata or {}, "tool_resources": resources, "project_id": project}
    row = threads.create(connection, values, now)
    for message in thread.messages or ():
        threads.add_message(connection, row["id"], message, now)
    # What is attached to messages has become what the thread's tools may use.
    return threads.get(connection, row["id"]) if thread.messages else row


def _delete(connection: Connection, project: str, thread_id: str) -> None:
    threads.lock(connection, thread_id, project=project)
    run_id = threads.active_run_id(connection, thread_id)
    if run_id is not None:
        # Whoever follows the run learns that it has ended before it is gone.
        runs.end(connection, run_id, "cancelled", int(time.time()))
        commands.add(connection, run_id, "cancel", {})
    threads.delete(connection, thread_id)
