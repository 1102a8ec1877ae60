"""The files of a vector store: add, retrieve, list, change attributes, take out, content."""

import time

from pydantic import BaseModel
from sqlalchemy import Connection
from starlette.requests import Request

from lockstitch.assistants import refusals
from lockstitch.assistants import vector_store_objects as objects
from lockstitch.assistants.http.answers import JsonAnswer, page_answer
from lockstitch.assistants.http.bodies import read_body
from lockstitch.assistants.http.caller import project_of
from lockstitch.assistants.http.ids import could_be_id, path_id
from lockstitch.assistants.http.pages import page_cursor
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.http.vector_store_bodies import Attributes, ChunkingStrategy, stored_chunking
from lockstitch.assistants.http.vector_stores import POLL_AFTER_MS
from lockstitch.assistants.objects import deleted
from lockstitch.assistants.store import vector_store_files
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.vector_store_files import AddedFile

STATUSES = ("in_progress", "completed", "failed", "cancelled")


class NewVectorStoreFile(BaseModel):
    """A file to add to a vector store."""

    file_id: str
    chunking_strategy: ChunkingStrategy | None = None
    attributes: Attributes | None = None

    def added(self) -> AddedFile:
        """Return it as the store takes it."""
        return AddedFile(self.file_id, stored_chunking(self.chunking_strategy), self.attributes or {})


class ModifiedVectorStoreFile(BaseModel):
    """What can be changed about a file of a vector store."""

    attributes: Attributes | None


class VectorStoreFiles:
    """The operations on the files of a vector store."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database

    async def create(self, request: Request) -> JsonAnswer:
        """Accept that a file is ingested; one that is there already is ingested anew."""
        store_id, project = path_id(request, "vector_store_id"), project_of(request)
        body = await read_body(request, NewVectorStoreFile)

        def add(connection: Connection) -> Row:
            vector_store_files.add(connection, store_id, [body.added()], int(time.time()), project=project)
            return vector_store_files.get(connection, store_id, body.file_id)

        return _file_answer(await self._services.accept(add))

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return a file of the vector store."""
        store_id, file_id = _path_ids(request)
        project = project_of(request)
        row = await self._database.read(
            lambda connection: vector_store_files.get(connection, store_id, file_id, project=project)
        )
        return _file_answer(row)

    async def list_page(self, request: Request) -> JsonAnswer:
        """Return a page of the vector store's files, of one status only where ``filter`` is given."""
        store_id, project = path_id(request, "vector_store_id"), project_of(request)
        cursor, status = page_cursor(request, "file"), status_filter(request)
        page = await self._database.read(
            lambda connection: vector_store_files.listed(connection, store_id, cursor, status, project=project)
        )
        return page_answer(page, objects.vector_store_file)

    async def modify(self, request: Request) -> JsonAnswer:
        """Replace the attributes of a file."""
        store_id, file_id = _path_ids(request)
        project, body = project_of(request), await read_body(request, ModifiedVectorStoreFile)
        row = await self._database.write(
            lambda connection: vector_store_files.set_attributes(
                connection, store_id, file_id, body.attributes or {}, project=project
            )
        )
        return _file_answer(row)

    async def delete(self, request: Request) -> JsonAnswer:
        """Take a file out of the vector store; the file itself stays."""
        store_id, file_id = _path_ids(request)
        project = project_of(request)
        await self._database.write(
            lambda connection: vector_store_files.remove(connection, store_id, file_id, project=project), long=True
        )
        return JsonAnswer(deleted(file_id, "vector_store.file.deleted"))

    async def content(self, request: Request) -> JsonAnswer:
        """Return the text of a file, as it was parsed."""
        store_id, file_id = _path_ids(request)
        project = project_of(request)
        text = await self._database.read(
            lambda connection: vector_store_files.text_of(connection, store_id, file_id, project=project), long=True
        )
        return JsonAnswer(objects.file_content(text))


def status_filter(request: Request) -> str | None:
    """Read ``filter``, the status of the files that are listed; raises `ApiError`."""
    status = request.query_params.get("filter") or None
    if status is not None and status not in STATUSES:
        raise refusals.unsupported_value("filter", status, STATUSES)
    return status


def _path_ids(request: Request) -> tuple[str, str]:
    """Return the ids of a store and a file in it; raises `ApiError` where they cannot be such."""
    store_id, file_id = path_id(request, "vector_store_id"), request.path_params["file_id"]
    if not could_be_id(file_id):
        raise refusals.no_vector_store_file(file_id, store_id)
    return store_id, file_id


def _file_answer(row: Row) -> JsonAnswer:
    headers = {"openai-poll-after-ms": POLL_AFTER_MS} if row["status"] == "in_progress" else None
    return JsonAnswer(objects.vector_store_file(row), headers=headers)
