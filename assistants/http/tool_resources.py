"""What the built-in tools of an assistant or a thread may use."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from lockstitch.assistants import refusals
from lockstitch.assistants.objects import Object


class CodeInterpreterResources(BaseModel):
    """Files for the code interpreter."""

    file_ids: Annotated[list[str], Field(max_length=20)] | None = None


class FileSearchResources(BaseModel):
    """What file search looks through."""

    vector_store_ids: Annotated[list[str], Field(max_length=1)] | None = None
    vector_stores: Annotated[list[dict[str, Any]], Field(max_length=1)] | None = None


class ToolResources(BaseModel):
    """The resources of each built-in tool."""

    code_interpreter: CodeInterpreterResources | None = None
    file_search: FileSearchResources | None = None


def stored_resources(resources: ToolResources | None) -> Object:
    """Return the resources as the store keeps them; raises `ApiError` for a vector store that would have to be made."""
    if resources is None:
        return {}
    if resources.file_search and resources.file_search.vector_stores:
        raise refusals.built_in_tool_unavailable("file_search", "tool_resources.file_search.vector_stores")
    return resources.model_dump(exclude_none=True)
