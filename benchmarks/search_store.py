"""A vector store on a database of its own, filled without a worker, and searched by one leg or both."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from lockstitch.assistants.embedding.embedder import Embedder, Vectors
from lockstitch.assistants.search.query import Found, Query, Search
from lockstitch.assistants.search.semantics import Semantics, open_vector_index
from lockstitch.assistants.store import files, vector_store_files, vector_stores
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.vector_index import space_of
from lockstitch.assistants.store.vector_store_files import AddedFile, Chunk

NOW = 1_700_000_000
AT_ONCE = 50
"""Files that are stored in one transaction."""


class SearchStore:
    """One vector store and the embedder of its vectors."""

    def __init__(self, database: Database, vector_store_id: str, semantics: Semantics) -> None:
        self._database = database
        self._id = vector_store_id
        self._semantics = semantics
        self._fused = Search(semantics)
        self._words = Search()

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, embedder: Embedder) -> AsyncIterator["SearchStore"]:
        """Make the store on a new database."""
        async with Database(url) as database:
            semantics = Semantics(embedder, await open_vector_index(database, upgrades=True))
            row = await database.write(lambda c: vector_stores.create(c, {"project_id": "default"}, NOW))
            yield cls(database, row["id"], semantics)

    async def fill(self, chunks: Mapping[str, Sequence[Chunk]], vectors: Mapping[str, Vectors]) -> None:
        """Put files into the store."""
        names = list(chunks)
        for start in range(0, len(names), AT_ONCE):
            some = names[start : start + AT_ONCE]

            def add(connection: Connection, some: Sequence[str] = some) -> None:
                for name in some:
                    self._add(connection, name, chunks[name], vectors[name])

            await self._database.write(add, long=True)

    def _add(self, connection: Connection, name: str, chunks: Sequence[Chunk], vectors: Vectors) -> None:
        values: dict[str, Any] = {"id": f"file-{name}", "created_at": NOW, "purpose": "assistants", "filename": name}
        files.create(connection, {**values, "bytes": 1}, [])
        vector_store_files.add(connection, self._id, [AddedFile(values["id"])], NOW)
        row = vector_store_files.get(connection, self._id, values["id"])
        vector_store_files.complete(connection, row, chunks, self._semantics.embedder.name)
        self._semantics.put(connection, row, vectors)

    async def fused(self, text: str, limit: int) -> list[Found]:
        """Search as the server does."""
        return await self._fused.search(self._database, [self._id], Query([text], limit=limit))

    async def by_words(self, text: str, limit: int) -> list[Found]:
        """Search by BM25 alone."""
        return await self._words.search(self._database, [self._id], Query([text], limit=limit))

    async def by_vectors(self, text: str, limit: int) -> list[Found]:
        """Search by the similarity of vectors alone."""
        vector = await self._semantics.embedder.embed_query(text)
        space = space_of(self._semantics.embedder.name, vector)

        def look(connection: Connection) -> list[Found]:
            near = self._semantics.index.nearest(connection, self._id, space, vector, limit=limit)
            rows = vector_store_files.chunks_at(connection, [each.place for each in near])
            texts = {(row["file_seq"], row["position"]): row["text"] for row in rows}
            names = vector_store_files.by_seq(connection, {each.place.file_seq for each in near})
            return [
                Found(file["id"], file["filename"], each.similarity, texts[tuple(each.place)])
                for each in near
                if (file := names[each.place.file_seq])
            ]

        return await self._database.read(look, long=True)


def spread(names: Sequence[str], count: int, seed: int = 7) -> list[str]:
    """Return so many of the names, in a random order that is the same every time."""
    return random.Random(seed).sample(list(names), min(count, len(names)))


def database_url(folder: Path) -> str:
    """Return the URL of a new database in a folder."""
    return f"sqlite:///{folder / 'search.db'}"
