"""Which chunks of a vector store mean nearly the same as a query.

It is the part of search that each kind of database does in its own way, beside `lexical_index`.

Vectors have the length 1, so that their product is their similarity. Each belongs to a *space*: the embedder that made
it and its number of dimensions. Nothing is compared across spaces. A file has vectors of one space at a time; they go
with it, however it goes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sqlalchemy import Connection, bindparam, inspect, text
from sqlalchemy.exc import ProgrammingError

from lockstitch.assistants.embedding.embedder import Vector, Vectors
from lockstitch.errors import PgvectorMissing

if TYPE_CHECKING:
    from lockstitch.assistants.store.rows import Row


class ChunkPlace(NamedTuple):
    """Names a chunk: the number of its file in the store, and its place among the file's chunks."""

    file_seq: int
    position: int


@dataclass(frozen=True, slots=True)
class Near:
    """A chunk and how similar it is to a query: the cosine of the angle between their vectors."""

    place: ChunkPlace
    similarity: float


def space_of(embedder: str, vectors: Vectors) -> str:
    """Return the name of the space in which such vectors are."""
    return f"{embedder}/{vectors.shape[-1]}d"


class VectorIndex(Protocol):
    """Finds chunks of one vector store by their vectors."""

    def prepare(self, connection: Connection, *, upgrades: bool) -> None:
        """Make what the database lacks, where ``upgrades`` allows it; raises `PgvectorMissing`."""
        ...

    def put(self, connection: Connection, file: "Row", space: str, vectors: Vectors) -> None:
        """Keep the vectors of a file's chunks, one for each in their order, in place of those that it has."""
        ...

    def nearest(
        self,
        connection: Connection,
        vector_store_id: str,
        space: str,
        vector: Vector,
        *,
        limit: int,
        file_seqs: Collection[int] | None = None,
    ) -> list[Near]:
        """Return the most similar chunks, the best first; with ``file_seqs`` only of these files."""
        ...

    def similarities(
        self, connection: Connection, vector_store_id: str, space: str, vector: Vector, places: Collection[ChunkPlace]
    ) -> Mapping[ChunkPlace, float]:
        """Return how similar chunks are; one that has no vector in the space is left out."""
        ...


_TABLE = "vector_store_vectors"
_NUMBER = 7_202_608_27
"""The number of PostgreSQL's advisory lock of whoever makes the table."""

_NEEDED = (0, 7)
"""The release of pgvector that brought vectors of half the size."""

_POSTGRESQL_TABLE = (
    f"""
    CREATE TABLE {_TABLE} (
        file_seq BIGINT NOT NULL REFERENCES vector_store_files (seq) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        vector_store_id VARCHAR(64) NOT NULL,
        space TEXT NOT NULL,
        vector HALFVEC NOT NULL,
        PRIMARY KEY (file_seq, position)
    )
    """,
    f"CREATE INDEX ix_{_TABLE}_store ON {_TABLE} (vector_store_id, space)",
)


class PgvectorIndex:
    """PostgreSQL's extension pgvector: every vector of the store is looked at, by the server."""

    def prepare(self, connection: Connection, *, upgrades: bool) -> None:
        """Make the table, and the extension where the server has it and lets us."""
        if inspect(connection).has_table(_TABLE):
            return
        if not upgrades:
            raise PgvectorMissing(f"it has no table {_TABLE}; `lockstitch db upgrade` with this embedder makes it")
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _NUMBER})
        if inspect(connection).has_table(_TABLE):
            return
        self._make_extension(connection)
        for statement in _POSTGRESQL_TABLE:
            connection.execute(text(statement))

    def _make_extension(self, connection: Connection) -> None:
        query = "SELECT coalesce(installed_version, default_version) FROM pg_available_extensions WHERE name = 'vector'"
        version = connection.scalar(text(query))
        if version is None:
            raise PgvectorMissing("the server has no extension `vector`")
        if tuple(int(part) for part in version.split(".")[:2]) < _NEEDED:
            raise PgvectorMissing(f"its extension `vector` is {version}")
        try:
            with connection.begin_nested():
                connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
        except ProgrammingError as error:
            raise PgvectorMissing(str(error.orig).splitlines()[0]) from error

    def put(self, connection: Connection, file: "Row", space: str, vectors: Vectors) -> None:
        """Keep the vectors of a file's chunks."""
        connection.execute(text(f"DELETE FROM {_TABLE} WHERE file_seq = :file"), {"file": file["seq"]})  # noqa: S608
        statement = f"""
            INSERT INTO {_TABLE} (file_seq, position, vector_store_id, space, vector)
            VALUES (:file, :position, :store, :space, CAST(:vector AS halfvec))
        """  # noqa: S608 - nothing in it comes from outside
        of_file = {"file": file["seq"], "store": file["vector_store_id"], "space": space}
        values = [{**of_file, "position": at, "vector": _literal(vector)} for at, vector in enumerate(vectors)]
        connection.execute(text(statement), values)

    def nearest(
        self,
        connection: Connection,
        vector_store_id: str,
        space: str,
        vector: Vector,
        *,
        limit: int,
        file_seqs: Collection[int] | None = None,
    ) -> list[Near]:
        """Return the most similar chunks."""
        only = "" if file_seqs is None else "AND file_seq = ANY(:files)"
        query = f"""
            SELECT file_seq, position, vector <#> CAST(:vector AS halfvec) AS distance FROM {_TABLE}
            WHERE vector_store_id = :store AND space = :space {only} ORDER BY distance, file_seq, position LIMIT :limit
        """  # noqa: S608 - nothing in it comes from outside
        values = {"vector": _literal(vector), "store": vector_store_id, "space": space, "limit": limit}
        given = values if file_seqs is None else {**values, "files": list(file_seqs)}
        return [Near(ChunkPlace(row[0], row[1]), -row[2]) for row in connection.execute(text(query), given)]

    def similarities(
        self, connection: Connection, vector_store_id: str, space: str, vector: Vector, places: Collection[ChunkPlace]
    ) -> Mapping[ChunkPlace, float]:
        """Return how similar chunks are."""
        query = f"""
            SELECT file_seq, position, vector <#> CAST(:vector AS halfvec) FROM {_TABLE}
            WHERE vector_store_id = :store AND space = :space AND (file_seq, position) IN :places
        """  # noqa: S608 - nothing in it comes from outside
        if not places:
            return {}
        statement = text(query).bindparams(bindparam("places", expanding=True))
        values = {"vector": _literal(vector), "store": vector_store_id, "space": space, "places": list(places)}
        return {ChunkPlace(row[0], row[1]): -row[2] for row in connection.execute(statement, values)}


def _literal(vector: Vector) -> str:
    return f"[{','.join(format(float(number), '.5g') for number in vector)}]"
