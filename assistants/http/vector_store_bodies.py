"""What several operations on vector stores take."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from lockstitch.assistants.store.vector_store_files import DEFAULT_CHUNKING

MAX_ATTRIBUTE_LENGTH = 512


class AutoChunking(BaseModel):
    """The default strategy."""

    type: Literal["auto"]


class ChunkSizes(BaseModel):
    """How large chunks are, and how much they overlap, in tokens."""

    max_chunk_size_tokens: Annotated[int, Field(ge=100, le=4096)]
    chunk_overlap_tokens: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def _chunks_overlap_by_half_at_most(self) -> "ChunkSizes":
        if self.chunk_overlap_tokens * 2 > self.max_chunk_size_tokens:
            raise ValueError("'chunk_overlap_tokens' must not exceed half of 'max_chunk_size_tokens'")
        return self


class StaticChunking(BaseModel):
    """Sizes of one's own."""

    type: Literal["static"]
    static: ChunkSizes


ChunkingStrategy = Annotated[AutoChunking | StaticChunking, Field(discriminator="type")]


def stored_chunking(strategy: AutoChunking | StaticChunking | None) -> dict[str, Any]:
    """Return the strategy with its sizes, as the store keeps it and clients see it."""
    return strategy.model_dump() if isinstance(strategy, StaticChunking) else DEFAULT_CHUNKING


def _attribute(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise PydanticCustomError("attribute_type", "neither text, a number nor a boolean")
    if isinstance(value, str) and len(value) > MAX_ATTRIBUTE_LENGTH:
        raise PydanticCustomError("string_too_long", "too long", {"max_length": MAX_ATTRIBUTE_LENGTH})
    return value


Attributes = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[Any, AfterValidator(_attribute)]], Field(max_length=16)
]


class ExpiresAfter(BaseModel):
    """So many days after it was last used, a store expires."""

    anchor: Literal["last_active_at"]
    days: Annotated[int, Field(ge=1, le=365)]
