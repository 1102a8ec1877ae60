"""Batches of files for a vector store: create, retrieve, cancel, list their files."""

import time
from typing import Annotated

from pydantic import BaseModel, Field
from starlette.requests import Request

from lockstitch.assistants import refusals
from lockstitch.assistants import vector_store_objects as objects
from lockstitch.assistants.http.answers import JsonAnswer, page_answer
from lockstitch.assistants.http.bodies import read_body
from lockstitch.assistants.http.caller import project_of
from lockstitch.assistants.http.ids import path_id
from lockstitch.assistants.http.pages import page_cursor
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.http.vector_store_bodies import Attributes, ChunkingStrategy, stored_chunking
from lockstitch.assistants.http.vector_store_files import NewVectorStoreFile, status_filter
from lockstitch.assistants.http.vector_stores import POLL_AFTER_MS
from lockstitch.assistants.store import vector_store_files
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.vector_store_files import AddedFile

MAX_FILES = 2000


class NewBatch(BaseModel):
    """Files to add together: all alike as ``file_ids``, or each with its own strategy and attributes as ``files``."""

    file_ids: Annotated[list[str], Field(min_length=1, max_length=MAX_FILES)] | None = None
    files: Annotated[list[NewVectorStoreFile], Field(min_length=1, max_length=MAX_FILES)] | None = None
    chunking_strategy: ChunkingStrategy | None = None
    attributes: Attributes | None = None

    def added(self) -> list[AddedFile]:
        """Return the files as the store takes them; raises `ApiError` unless they are given in one of the two ways."""
        if (self.file_ids is None) == (self.files is None):
            raise refusals.one_of_two("file_ids", "files")
        if self.files is not None:
            return [file.added() for file in self.files]
        chunking = stored_chunking(self.chunking_strategy)
        return [AddedFile(file_id, chunking, self.attributes or {}) for file_id in self.file_ids or ()]


class VectorStoreBatches:
    """The operations on batches of files."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database

    async def create(self, request: Request) -> JsonAnswer:
        """Accept that files are ingested."""
        store_id, project = path_id(request, "vector_store_id"), project_of(request)
        added = (await read_body(request, NewBatch)).added()
        row = await self._services.accept(
            lambda connection: vector_store_files.add_batch(
                connection, store_id, added, int(time.time()), project=project
            ),
            long=True,
        )
        return _batch_answer(row)

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return a batch."""
        store_id, batch_id = path_id(request, "vector_store_id"), path_id(request, "batch_id")
        project = project_of(request)
        row = await self._database.read(
            lambda connection: vector_store_files.batch(connection, store_id, batch_id, project=project)
        )
        return _batch_answer(row)

    async def cancel(self, request: Request) -> JsonAnswer:
        """Cancel the files of a batch that are not done."""
        store_id, batch_id = path_id(request, "vector_store_id"), path_id(request, "batch_id")
        now, project = int(time.time()), project_of(request)
        row = await self._database.write(
            lambda connection: vector_store_files.cancel_batch(connection, store_id, batch_id, now, project=project)
        )
        return _batch_answer(row)

    async def list_files(self, request: Request) -> JsonAnswer:
        """Return a page of the batch's files, of one status only where ``filter`` is given."""
        store_id, batch_id = path_id(request, "vector_store_id"), path_id(request, "batch_id")
        cursor, status, project = page_cursor(request, "file"), status_filter(request), project_of(request)
        page = await self._database.read(
            lambda connection: vector_store_files.batch_files(
                connection, store_id, batch_id, cursor, status, project=project
            )
        )
        return page_answer(page, objects.vector_store_file)


def _batch_answer(row: Row) -> JsonAnswer:
    headers = {"openai-poll-after-ms": POLL_AFTER_MS} if row["status"] == "in_progress" else None
    return JsonAnswer(objects.file_batch(row), headers=headers)
