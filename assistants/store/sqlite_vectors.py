"""Vectors in SQLite: kept in its rows, file by file, and compared in the memory of each process that searches.

Importing this module needs the extra ``file-search``: import it only where there is an embedder.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Mapping
from datetime import timedelta

import numpy as np
from sqlalchemy import Connection, text

from lockstitch.assistants.embedding.embedder import Vector, Vectors
from lockstitch.assistants.store.held_vectors import FileVectors, HeldVectors
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.vector_index import ChunkPlace, Near

MEMORY = 512 * 1024 * 1024
"""So many bytes of vectors one process keeps at most, unless a single store has more."""

UNUSED = timedelta(minutes=10)
"""After that the vectors of a store are let go of: it may have been deleted, by whatever process."""

_State = tuple[int, int]
"""How many files of a store have vectors, and the largest of their numbers."""

_Key = tuple[str, str]
"""A vector store, and a space."""


class SqliteVectorIndex:
    """What the tables hold of each store that was searched lately, loaded when it is needed.

    Whether anything has changed is told by the number of a store's rows and the largest of their own numbers, which
    SQLite never gives twice (``AUTOINCREMENT``): two different sets of rows cannot have both in common. Only what is
    new is read then.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._held: OrderedDict[_Key, HeldVectors] = OrderedDict()
        self._states: dict[_Key, _State] = {}
        self._used: dict[_Key, float] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"SqliteVectorIndex({len(self._held)} stores, {sum(map(len, self._held.values()))} chunks)"

    def prepare(self, connection: Connection, *, upgrades: bool) -> None:
        """Do nothing: the migrations make the table."""

    def put(self, connection: Connection, file: Row, space: str, vectors: Vectors) -> None:
        """Keep the vectors of a file's chunks."""
        connection.execute(text("DELETE FROM vector_store_vectors WHERE file_seq = :file"), {"file": file["seq"]})
        statement = """
            INSERT INTO vector_store_vectors (file_seq, vector_store_id, space, vectors)
            VALUES (:file, :store, :space, :vectors)
        """
        values = {"file": file["seq"], "store": file["vector_store_id"], "space": space}
        connection.execute(text(statement), {**values, "vectors": vectors.astype("<f2").tobytes()})

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
        return self._current(connection, vector_store_id, space, len(vector)).nearest(vector, limit, file_seqs)

    def similarities(
        self, connection: Connection, vector_store_id: str, space: str, vector: Vector, places: Collection[ChunkPlace]
    ) -> Mapping[ChunkPlace, float]:
        """Return how similar chunks are."""
        return self._current(connection, vector_store_id, space, len(vector)).similarities(vector, places)

    def _current(self, connection: Connection, vector_store_id: str, space: str, dimensions: int) -> HeldVectors:
        """Return what the connection's snapshot has of the store."""
        key, state = (vector_store_id, space), _state(connection, vector_store_id, space)
        with self._lock:
            held = self._held.get(key)
            if held is None or self._states[key] != state:
                held = _changed(connection, key, held or HeldVectors.of((), dimensions))
            self._keep(key, state, held)
        return held

    def _keep(self, key: _Key, state: _State, held: HeldVectors) -> None:
        now = time.monotonic()
        self._held[key], self._states[key], self._used[key] = held, state, now
        self._held.move_to_end(key)
        size = sum(each.size for each in self._held.values())
        for oldest in list(self._held)[:-1]:
            if size <= self._memory and now - self._used[oldest] < UNUSED.total_seconds():
                break
            size -= self._held.pop(oldest).size
            del self._states[oldest], self._used[oldest]


def _state(connection: Connection, vector_store_id: str, space: str) -> _State:
    query = """
        SELECT count(*), coalesce(max(seq), 0) FROM vector_store_vectors
        WHERE vector_store_id = :store AND space = :space
    """
    count, largest = connection.execute(text(query), {"store": vector_store_id, "space": space}).one()
    return count, largest


def _changed(connection: Connection, key: _Key, held: HeldVectors) -> HeldVectors:
    """Return what is there now; what is held already is not read again."""
    query = """
        SELECT seq, file_seq FROM vector_store_vectors
        WHERE vector_store_id = :store AND space = :space ORDER BY seq
    """
    rows = connection.execute(text(query), {"store": key[0], "space": key[1]}).all()
    kept = {file.seq: file for file in held.files}
    files = [kept.get(seq) or _load(connection, seq, file_seq, held.dimensions) for seq, file_seq in rows]
    return HeldVectors.of(files, held.dimensions, graph=held.graph)


def _load(connection: Connection, seq: int, file_seq: int, dimensions: int) -> FileVectors:
    raw = connection.scalar(text("SELECT vectors FROM vector_store_vectors WHERE seq = :seq"), {"seq": seq})
    return FileVectors(seq, file_seq, np.frombuffer(raw, dtype="<f2").reshape(-1, dimensions))
