"""What finds passages by their meaning: an embedder, and the index of what it made."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy import Connection

from lockstitch.assistants.embedding.embedder import Embedder, Vectors
from lockstitch.assistants.embedding.opening import EmbedderChoice, EmbeddingsEndpoint, open_embedder
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.vector_index import PgvectorIndex, VectorIndex, space_of


@dataclass(frozen=True, slots=True)
class Semantics:
    """An embedder and an index; one is of no use without the other."""

    embedder: Embedder
    index: VectorIndex

    def __repr__(self) -> str:
        return f"Semantics({self.embedder.name!r}, {self.index!r})"

    def put(self, connection: Connection, file: Row, vectors: Vectors) -> None:
        """Keep the vectors that the embedder made of a file's chunks."""
        self.index.put(connection, file, space_of(self.embedder.name, vectors), vectors)


@asynccontextmanager
async def open_semantics(
    database: Database, choice: EmbedderChoice, endpoint: EmbeddingsEndpoint, *, upgrades: bool
) -> AsyncIterator[Semantics | None]:
    """Load the embedder and make the index ready; ``None`` where search goes by words alone.

    ``upgrades`` allows to make the tables of an index. Raises what `open_embedder` raises, and `PgvectorMissing`.
    """
    async with open_embedder(choice, endpoint) as embedder:
        if embedder is None:
            yield None
        else:
            yield Semantics(embedder, await open_vector_index(database, upgrades=upgrades))


async def open_vector_index(database: Database, *, upgrades: bool) -> VectorIndex:
    """Return the index of vectors that the database has, made ready; raises `PgvectorMissing`."""
    index = _vector_index(database)
    await database.write(lambda connection: index.prepare(connection, upgrades=upgrades))
    return index


def _vector_index(database: Database) -> VectorIndex:
    if database.kind == "postgresql":
        return PgvectorIndex()
    from lockstitch.assistants.store.sqlite_vectors import SqliteVectorIndex  # needs NumPy, which comes with an extra

    return SqliteVectorIndex()
