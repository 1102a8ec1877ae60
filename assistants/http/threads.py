"""Threads: create, retrieve, modify, delete."""

import time

from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.requests import Request

from lockstitch.assistants import objects
from lockstitch.assistants.http.answers import JsonAnswer
from lockstitch.assistants.http.bodies import read_body, stored
from lockstitch.assistants.http.ids import path_id
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.http.tool_resources import ToolResources, stored_resources
from lockstitch.assistants.store import run_commands, runs, threads
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
        thread = await read_body(request, NewThread)
        row = await self._database.write(lambda connection: add_thread(connection, thread, int(time.time())))
        return JsonAnswer(objects.thread(row))

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return a thread."""
        thread_id = path_id(request, "thread_id")
        row = await self._database.read(lambda connection: threads.get(connection, thread_id))
        return JsonAnswer(objects.thread(row))

    async def modify(self, request: Request) -> JsonAnswer:
        """Change what the body names, and nothing else."""
        thread_id = path_id(request, "thread_id")
        values = _columns(await read_body(request, ModifiedThread))
        row = await self._database.write(lambda connection: threads.change(connection, thread_id, values))
        return JsonAnswer(objects.thread(row))

    async def delete(self, request: Request) -> JsonAnswer:
        """Delete a thread with its messages and runs; a run that is active is cancelled."""
        thread_id = path_id(request, "thread_id")
        await self._services.accept(lambda connection: _delete(connection, thread_id))
        return JsonAnswer(objects.deleted(thread_id, "thread.deleted"))


def add_thread(connection: Connection, thread: NewThread, now: int) -> Row:
    """Add a thread with its messages."""
    row = threads.create(connection, {"metadata": {}, "tool_resources": {}} | _columns(thread), now)
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


def _delete(connection: Connection, thread_id: str) -> tuple[None, Row | None]:
    threads.lock(connection, thread_id)
    run_id, command = threads.active_run_id(connection, thread_id), None
    if run_id is not None:
        # Whoever follows the run learns that it has ended before it is gone.
        runs.end(connection, run_id, "cancelled", int(time.time()))
        command = run_commands.add(connection, run_id, "cancel", {})
    threads.delete(connection, thread_id)
    return None, command
