"""Messages: create, retrieve, list, modify, delete."""

import time

from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.requests import Request

from lockstitch.assistants import objects
from lockstitch.assistants.http import file_ids
from lockstitch.assistants.http.answers import JsonAnswer, page_answer
from lockstitch.assistants.http.bodies import read_body, stored
from lockstitch.assistants.http.caller import project_of
from lockstitch.assistants.http.ids import checked_id, path_id
from lockstitch.assistants.http.pages import page_cursor
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.store import files, threads
from lockstitch.assistants.store.rows import Row
from lockstitch.starter.contract import Metadata, NewMessage


class ModifiedMessage(BaseModel):
    """What can be changed about a message."""

    metadata: Metadata | None = None


class Messages:
    """The operations on the messages of a thread."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database

    async def create(self, request: Request) -> JsonAnswer:
        """Add a message, unless a run is active on the thread."""
        thread_id, project = path_id(request, "thread_id"), project_of(request)
        message = await read_body(request, NewMessage)
        row = await self._services.accept(lambda connection: _add(connection, project, thread_id, message))
        return JsonAnswer(objects.message(row))

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return a message."""
        thread_id, message_id = path_id(request, "thread_id"), path_id(request, "message_id")
        project = project_of(request)
        row = await self._database.read(
            lambda connection: threads.get_message(connection, thread_id, message_id, project=project)
        )
        return JsonAnswer(objects.message(row))

    async def list_page(self, request: Request) -> JsonAnswer:
        """Return a page of the thread's messages, of one run only where ``run_id`` is given."""
        thread_id, cursor = path_id(request, "thread_id"), page_cursor(request, "msg")
        project, run_id = project_of(request), request.query_params.get("run_id") or None
        if run_id is not None:
            checked_id("run_id", run_id)
        page = await self._database.read(
            lambda connection: threads.list_messages(connection, thread_id, cursor, run_id, project=project)
        )
        return page_answer(page, objects.message)

    async def modify(self, request: Request) -> JsonAnswer:
        """Change a message's metadata."""
        thread_id, message_id = path_id(request, "thread_id"), path_id(request, "message_id")
        project = project_of(request)
        body = await read_body(request, ModifiedMessage)
        values = stored(body, metadata=body.metadata or {})

        def change(connection: Connection) -> Row:
            threads.get_message(connection, thread_id, message_id, project=project)
            if values:
                threads.change_message(connection, message_id, values)
            return threads.get_message(connection, thread_id, message_id)

        return JsonAnswer(objects.message(await self._database.write(change)))

    async def delete(self, request: Request) -> JsonAnswer:
        """Delete a message."""
        thread_id, message_id = path_id(request, "thread_id"), path_id(request, "message_id")
        project = project_of(request)

        def drop(connection: Connection) -> None:
            threads.lock(connection, thread_id, project=project)
            threads.get_message(connection, thread_id, message_id, project=project)
            threads.drop_message(connection, message_id)

        await self._database.write(drop)
        return JsonAnswer(objects.deleted(message_id, "thread.message.deleted"))


def _add(connection: Connection, project: str, thread_id: str, message: NewMessage) -> Row:
    threads.lock_idle(connection, thread_id, project=project)
    files.check(connection, file_ids.of_messages([message]), project=project)
    return threads.add_message(connection, thread_id, message, int(time.time()))
