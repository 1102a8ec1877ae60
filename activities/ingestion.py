"""Ingest files of vector stores: read, parse, divide, embed, store."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy import Connection
from temporalio import activity

from lockstitch import telemetry
from lockstitch.activities.heartbeats import heartbeats
from lockstitch.activities.upstream_errors import EMBEDDINGS_ENDPOINT, raise_for_temporal, translate
from lockstitch.assistants.embedding.embedder import Vectors
from lockstitch.assistants.ingestion.chunking import chunks_of
from lockstitch.assistants.ingestion.parsing import MAX_BYTES, FileParser
from lockstitch.assistants.search.semantics import Semantics
from lockstitch.assistants.store import files, vector_store_files
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.vector_store_files import MAX_ATTEMPTS, Chunk
from lockstitch.errors import ApiError, EmbedderUnavailable, FileRefused, StoreUnavailable
from lockstitch.starter.ingestion import EmbedSlice

FILES_AT_ONCE = 25
"""Files that one activity ingests before it lets the workflow look: so a batch of thousands keeps a small history."""

LONG_ENOUGH = timedelta(minutes=5)
"""After that, an activity begins no further file: what it has done is seen."""

IngestionOutcome = Literal["ingested", "refused", "gave_up"]
"""What became of a file: ``refused`` ones cannot be read, and on ``gave_up`` ones every attempt broke."""


class IngestSlice(BaseModel):
    """Ingest the next files of an ingestion, in one of the lanes that share its files out among themselves."""

    ingestion_id: str
    lane: int = 0
    lanes: int = 1


class IngestedSlice(BaseModel):
    """How many files were looked at, and whether there are more in the lane."""

    files: int
    more: bool


class EmbeddedSlice(BaseModel):
    """Up to which file vectors were made, how many files the embedder refused, and whether there are more."""

    after: int
    refused: int = 0
    more: bool


class IngestionActivities:
    """Ingests files: ``parser`` reads them, and ``semantics``, where there are any, find them by their meaning."""

    def __init__(self, database: Database, parser: FileParser, semantics: Semantics | None = None) -> None:
        self._database = database
        self._parser = parser
        self._semantics = semantics

    def activities(self) -> list[Callable[..., Any]]:
        """Return what a worker of the queue of files registers."""
        return [self.ingest_files, self.embed_files]

    @activity.defn(name="ingest_files")
    async def ingest_files(self, part: IngestSlice) -> IngestedSlice:
        """Ingest files until there are no more, or enough; whoever does it again goes on where this was left.

        A file that was cancelled or taken out is not begun, or what was made of it is thrown away.
        """
        began, done = time.monotonic(), 0
        with heartbeats():
            while done < FILES_AT_ONCE and time.monotonic() - began < LONG_ENOUGH.total_seconds():
                file = await self._database.write(
                    lambda connection: vector_store_files.begin_next(
                        connection, part.ingestion_id, part.lane, part.lanes
                    )
                )
                if file is None:
                    return IngestedSlice(files=done, more=False)
                await self._ingest(file)
                done += 1
        return IngestedSlice(files=done, more=True)

    @activity.defn(name="embed_files")
    async def embed_files(self, part: EmbedSlice) -> EmbeddedSlice:
        """Make vectors for files that have none of this embedder; whoever does it again goes on where this was left.

        A file that is taken out meanwhile gets none; one that the embedder refuses keeps what it has.
        """
        semantics = self._semantics
        if semantics is None:
            return EmbeddedSlice(after=part.after, more=False)
        began, done = time.monotonic(), EmbeddedSlice(after=part.after, more=True)
        with heartbeats():
            while time.monotonic() - began < LONG_ENOUGH.total_seconds():
                file = await self._database.read(
                    lambda connection: vector_store_files.next_outdated(connection, semantics.embedder.name, done.after)
                )
                if file is None:
                    done.more = False
                    break
                done.refused += not await self._embed_anew(semantics, file)
                done.after = file["seq"]
        return done

    async def _embed_anew(self, semantics: Semantics, file: Row) -> bool:
        """Make vectors of a file that is in its store; ``False`` where the embedder refuses it."""
        texts = await self._database.read(
            lambda connection: vector_store_files.texts_of_chunks(connection, file), long=True
        )
        try:
            vectors = await semantics.embedder.embed_passages(texts)
        except EmbedderUnavailable as error:
            upstream = translate(error.cause, EMBEDDINGS_ENDPOINT)
            if upstream.retryable:
                raise_for_temporal(upstream)
            telemetry.log.warning("file_not_embedded", file_id=file["id"], error=str(upstream))
            return False

        def store(connection: Connection) -> None:
            if vector_store_files.embedded(connection, file, semantics.embedder.name):
                semantics.put(connection, file, vectors)

        await self._database.write(store, long=True)
        return True

    async def _ingest(self, file: Row) -> None:
        log = telemetry.log.bind(vector_store_id=file["vector_store_id"], file_id=file["id"])
        try:
            chunks = await self._chunks(file)
            vectors = await self._vectors([chunk.text for chunk in chunks])
        except FileRefused as error:
            await self._fail(file, error.code, str(error), "refused")
            log.info("file_refused", code=error.code, error=str(error))
        except StoreUnavailable:
            raise
        except EmbedderUnavailable as error:
            await self._embedder_unavailable(file, error)
        except ApiError:  # the file was deleted meanwhile, and its row with it
            log.info("file_gone")
        except Exception as error:
            log.exception("file_not_ingested", attempt=file["attempts"])
            if file["attempts"] >= MAX_ATTEMPTS:
                problem = f"The file could not be processed: {type(error).__name__}."
                await self._fail(file, "server_error", problem, "gave_up")
        else:
            wanted = await self._complete(file, chunks, vectors)
            telemetry.FILES_INGESTED.labels("ingested").inc(int(wanted))
            log.info("file_ingested" if wanted else "file_not_wanted", chunks=len(chunks))

    async def _embedder_unavailable(self, file: Row, error: EmbedderUnavailable) -> None:
        """Let Temporal try again what may succeed another time, which is not the file's fault; else fail the file."""
        upstream = translate(error.cause, EMBEDDINGS_ENDPOINT)
        if upstream.retryable:
            await self._database.write(lambda connection: vector_store_files.put_back(connection, file))
            raise_for_temporal(upstream)
        await self._fail(file, "server_error", str(upstream), "gave_up")
        telemetry.log.warning("file_not_embedded", file_id=file["id"], error=str(upstream))

    async def _complete(self, file: Row, chunks: Sequence[Chunk], vectors: Vectors | None) -> bool:
        """Store a file's text and vectors, both or neither; ``False`` where the file is not wanted any more."""
        semantics = self._semantics
        if semantics is None or vectors is None:
            return await self._database.write(
                lambda connection: vector_store_files.complete(connection, file, chunks), long=True
            )

        def store(connection: Connection) -> bool:
            wanted = vector_store_files.complete(connection, file, chunks, semantics.embedder.name)
            if wanted:
                semantics.put(connection, file, vectors)
            return wanted

        return await self._database.write(store, long=True)

    async def _vectors(self, texts: Sequence[str]) -> Vectors | None:
        return None if self._semantics is None else await self._semantics.embedder.embed_passages(texts)

    async def _chunks(self, file: Row) -> list[Chunk]:
        uploaded = await self._database.read(lambda connection: files.get(connection, file["id"]))
        if uploaded["bytes"] > MAX_BYTES:
            raise FileRefused("invalid_file", f"The file has {uploaded['bytes']} bytes; at most {MAX_BYTES} are read.")
        text = await self._parser.parse(uploaded["filename"], await self._content(uploaded))
        chunks = await asyncio.to_thread(chunks_of, text, file["chunking_strategy"])
        if not any(chunk.words for chunk in chunks):
            raise FileRefused("invalid_file", "The file has no words in it.")
        return chunks

    async def _content(self, uploaded: Row) -> bytes:
        """Read the bytes piece by piece: a read holds up everything else that this process does."""
        pieces: list[bytes] = []

        def read(connection: Connection) -> bytes | None:
            return files.chunk(connection, uploaded["id"], len(pieces))

        while (piece := await self._database.read(read)) is not None:
            pieces.append(piece)
        return b"".join(pieces)

    async def _fail(self, file: Row, code: str, message: str, outcome: IngestionOutcome) -> None:
        last_error = {"code": code, "message": message}
        if await self._database.write(lambda connection: vector_store_files.fail(connection, file, last_error)):
            telemetry.FILES_INGESTED.labels(outcome).inc()
