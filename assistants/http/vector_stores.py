"""Vector stores: create, retrieve, list, modify, delete, search."""

import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy import Connection
from starlette.requests import Request

from lockstitch.assistants import refusals
from lockstitch.assistants import vector_store_objects as objects
from lockstitch.assistants.http.answers import JsonAnswer, page_answer
from lockstitch.assistants.http.bodies import read_body, stored
from lockstitch.assistants.http.caller import project_of
from lockstitch.assistants.http.ids import path_id
from lockstitch.assistants.http.pages import page_cursor
from lockstitch.assistants.http.services import Services
from lockstitch.assistants.http.vector_store_bodies import ChunkingStrategy, ExpiresAfter, stored_chunking
from lockstitch.assistants.objects import deleted
from lockstitch.assistants.search.filters import MAX_COMPARISONS, Filter, comparisons
from lockstitch.assistants.search.query import Found, Query
from lockstitch.assistants.store import vector_store_files, vector_stores
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.vector_store_files import AddedFile
from lockstitch.starter.contract import Metadata

POLL_AFTER_MS = "500"
"""How long the SDK's helpers wait before they ask again for files that are being ingested."""


class ModifiedVectorStore(BaseModel):
    """What can be changed about a vector store."""

    name: str | None = None
    expires_after: ExpiresAfter | None = None
    metadata: Metadata | None = None


class NewVectorStore(ModifiedVectorStore):
    """A vector store to create, and the files with which it begins."""

    description: str | None = None
    file_ids: Annotated[list[str], Field(max_length=500)] | None = None
    chunking_strategy: ChunkingStrategy | None = None


class RankingOptions(BaseModel):
    """How results are ranked. There is one ranker, whichever is named."""

    ranker: Literal["none", "auto", "default-2024-11-15"] = "auto"
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0


class Search(BaseModel):
    """What to look for. Queries are taken as they are: nothing here can rewrite one."""

    query: (
        Annotated[str, Field(max_length=32_768)]
        | Annotated[list[Annotated[str, Field(max_length=32_768)]], Field(min_length=1, max_length=20)]
    )
    rewrite_query: bool = False
    max_num_results: Annotated[int, Field(ge=1, le=50)] = 10
    filters: Filter | None = None
    ranking_options: RankingOptions | None = None

    def for_store(self) -> Query:
        """Return what the store is asked; raises `ApiError` for a filter that asks too much."""
        if self.filters is not None and comparisons(self.filters) > MAX_COMPARISONS:
            raise refusals.wrong_value("filters", f"more than {MAX_COMPARISONS} comparisons")
        return Query(
            texts=[self.query] if isinstance(self.query, str) else self.query,
            limit=self.max_num_results,
            condition=self.filters,
            threshold=self.ranking_options.score_threshold if self.ranking_options else 0.0,
        )


class VectorStores:
    """The operations on vector stores."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database

    async def create(self, request: Request) -> JsonAnswer:
        """Add a vector store, and accept that its files are ingested."""
        project, body = project_of(request), await read_body(request, NewVectorStore)
        row = await self._services.accept(
            lambda connection: add_vector_store(connection, project, body, int(time.time())),
            long=bool(body.file_ids),
        )
        return JsonAnswer(objects.vector_store(row))

    async def retrieve(self, request: Request) -> JsonAnswer:
        """Return a vector store."""
        store_id, project = path_id(request, "vector_store_id"), project_of(request)
        row = await self._database.read(
            lambda connection: vector_stores.get(connection, store_id, int(time.time()), project=project)
        )
        headers = {"openai-poll-after-ms": POLL_AFTER_MS} if row["status"] == "in_progress" else None
        return JsonAnswer(objects.vector_store(row), headers=headers)

    async def list_page(self, request: Request) -> JsonAnswer:
        """Return a page of the vector stores."""
        cursor, project = page_cursor(request, "vs"), project_of(request)
        page = await self._database.read(
            lambda connection: vector_stores.listed(connection, cursor, int(time.time()), project=project)
        )
        return page_answer(page, objects.vector_store)

    async def modify(self, request: Request) -> JsonAnswer:
        """Change what the body names, and nothing else."""
        store_id, project = path_id(request, "vector_store_id"), project_of(request)
        body = await read_body(request, ModifiedVectorStore)
        values = stored(body, metadata=body.metadata or {})
        row = await self._database.write(
            lambda connection: vector_stores.change(connection, store_id, values, int(time.time()), project=project)
        )
        return JsonAnswer(objects.vector_store(row))

    async def delete(self, request: Request) -> JsonAnswer:
        """Delete a vector store; its files stay, and ingestion that is under way comes to nothing."""
        store_id, project = path_id(request, "vector_store_id"), project_of(request)
        await self._database.write(
            lambda connection: vector_stores.delete_store(connection, store_id, project=project), long=True
        )
        return JsonAnswer(deleted(store_id, "vector_store.deleted"))

    async def search(self, request: Request) -> JsonAnswer:
        """Return what answers a query best."""
        store_id, project = path_id(request, "vector_store_id"), project_of(request)
        body, now = await read_body(request, Search), int(time.time())
        query = body.for_store()
        await self._database.read(
            lambda connection: vector_stores.open_for_search(connection, store_id, now, project=project)
        )
        question = await self._services.search.prepare(query)

        def look(connection: Connection) -> tuple[bool, list[Found]]:
            stale = vector_stores.open_for_search(connection, store_id, now, project=project)
            return stale, self._services.search.find(connection, [store_id], question)

        stale, found = await self._database.read(look, long=True)
        if stale:
            await self._database.write(lambda connection: vector_stores.touch(connection, store_id, now))
        return JsonAnswer(objects.search_results(query.texts, [_result(each) for each in found]))


def add_vector_store(connection: Connection, project: str, body: NewVectorStore, now: int) -> Row:
    """Add a vector store with its files; raises `ApiError` (404) for files that the project does not have."""
    values: dict[str, Any] = body.model_dump(include={"name", "description", "metadata", "expires_after"})
    row = vector_stores.create(connection, values | {"project_id": project}, now)
    if not body.file_ids:
        return row
    chunking = stored_chunking(body.chunking_strategy)
    added = [AddedFile(file_id, chunking) for file_id in body.file_ids]
    vector_store_files.add(connection, row["id"], added, now)
    return vector_stores.get(connection, row["id"], now)


def _result(found: Found) -> objects.Object:
    return objects.search_result(found.file_id, found.filename, found.score, found.attributes, found.text)
