"""What the built-in tools of an assistant or a thread may use."""

from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy import Connection

from lockstitch.assistants.http.vector_store_bodies import ChunkingStrategy, stored_chunking
from lockstitch.assistants.objects import Object
from lockstitch.assistants.store import files, vector_store_files, vector_stores
from lockstitch.assistants.store.vector_store_files import MAX_FILES, AddedFile
from lockstitch.starter.contract import Metadata


class CodeInterpreterResources(BaseModel):
    """Files for the code interpreter."""

    file_ids: Annotated[list[str], Field(max_length=20)] | None = None


class FileSearchResources(BaseModel):
    """What file search looks through."""

    vector_store_ids: Annotated[list[str], Field(max_length=1)] | None = None


class ToolResources(BaseModel):
    """The resources of each built-in tool."""

    code_interpreter: CodeInterpreterResources | None = None
    file_search: FileSearchResources | None = None


class AddedVectorStore(BaseModel):
    """A vector store to create for whatever is being created."""

    file_ids: Annotated[list[str], Field(max_length=MAX_FILES)] | None = None
    chunking_strategy: ChunkingStrategy | None = None
    metadata: Metadata | None = None


class NewFileSearchResources(FileSearchResources):
    """What file search looks through: a vector store that there is, or a new one.

    The description wants one of the two, and the SDK's own tests send both: then the new one is attached.
    """

    vector_stores: Annotated[list[AddedVectorStore], Field(max_length=1)] | None = None


class NewToolResources(ToolResources):
    """The resources of something that is being created."""

    file_search: NewFileSearchResources | None = None


def settle(connection: Connection, project: str, resources: ToolResources | None, now: int) -> Object:
    """Return the resources as the store keeps them, and make the vector store where one is to be made.

    Raises `ApiError` (404) for files and vector stores that the project does not have.
    """
    if resources is None:
        return {}
    if resources.code_interpreter is not None:
        files.check(connection, resources.code_interpreter.file_ids or (), project=project)
    search = resources.file_search
    for store_id in (search and search.vector_store_ids) or ():
        vector_stores.find(connection, store_id, project=project)
    made: Object = resources.model_dump(exclude_none=True)
    if isinstance(search, NewFileSearchResources):
        added = [_add_store(connection, project, store, now) for store in search.vector_stores or ()]
        made.get("file_search", {}).pop("vector_stores", None)
        if added:
            made["file_search"] = {"vector_store_ids": added}
    return made


def _add_store(connection: Connection, project: str, store: AddedVectorStore, now: int) -> str:
    row = vector_stores.create(connection, {"project_id": project, "metadata": store.metadata}, now)
    if store.file_ids:
        chunking = stored_chunking(store.chunking_strategy)
        added = [AddedFile(file_id, chunking) for file_id in store.file_ids]
        vector_store_files.add(connection, row["id"], added, now)
    return str(row["id"])
