"""Looking for something in vector stores: by words, and by meaning where there is an embedder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from lockstitch import telemetry
from lockstitch.assistants.embedding.embedder import Vector
from lockstitch.assistants.search import ranking
from lockstitch.assistants.search.filters import Comparison, Compound, holds
from lockstitch.assistants.search.ranking import Corpus
from lockstitch.assistants.search.semantics import Semantics
from lockstitch.assistants.search.words import words_of
from lockstitch.assistants.store import vector_store_files
from lockstitch.assistants.store.database import Database
from lockstitch.assistants.store.lexical_index import index_of
from lockstitch.assistants.store.rows import Row
from lockstitch.assistants.store.vector_index import ChunkPlace, VectorIndex, space_of

CANDIDATES = 100
"""Chunks that each index proposes for each query; they are ranked anew, by this store alone."""

MANY = 5_000
"""Where more chunks than that have words of a query, only those that have its rarest words are looked at."""

MAX_WORDS = 64
"""Different words of a query that are looked for, from its beginning."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for: any of ``texts``, in files that ``condition`` means, with at least the ``threshold``."""

    texts: Sequence[str]
    limit: int = 10
    condition: Comparison | Compound | None = None
    threshold: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One text of a query in the forms in which it is compared; the vector's space says what it is compared with."""

    words: Sequence[str]
    space: str = ""
    vector: Vector | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A query that is ready to be looked for, in any number of stores."""

    query: Query
    asked: Sequence[Asked]


@dataclass(frozen=True, slots=True)
class Found:
    """A chunk that was found, and how well it answers: from 0 to 1."""

    file_id: str
    filename: str
    score: float
    text: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Search:
    """Looks for something in vector stores; without ``semantics``, by words alone."""

    def __init__(self, semantics: Semantics | None = None) -> None:
        self._semantics = semantics

    def __repr__(self) -> str:
        return f"Search({self._semantics or 'by words alone'})"

    async def prepare(self, query: Query) -> Question:
        """Make a query ready, which takes a while: no transaction should wait for it.

        Raises `EmbedderUnavailable`.
        """
        return Question(query, [await self._asked(text) for text in query.texts])

    async def search(self, database: Database, vector_store_ids: Sequence[str], query: Query) -> list[Found]:
        """Return what answers best in any of the stores; raises `EmbedderUnavailable`."""
        question = await self.prepare(query)
        return await database.read(lambda connection: self.find(connection, vector_store_ids, question), long=True)

    def find(self, connection: Connection, vector_store_ids: Sequence[str], question: Question) -> list[Found]:
        """Return the chunks of the stores that answer best, the best first.

        Of equals, the one comes first that was added first. A file that is in several of the stores is found once.
        """
        query = question.query
        best: dict[tuple[str, str], Found] = {}
        for vector_store_id in dict.fromkeys(vector_store_ids):
            for found in self._find_in(connection, vector_store_id, question):
                known = best.get((found.file_id, found.text))
                if known is None or known.score < found.score:
                    best[found.file_id, found.text] = found
        return sorted(best.values(), key=lambda found: -found.score)[: query.limit]

    async def _asked(self, text: str) -> Asked:
        words = list(dict.fromkeys(words_of(text)))[:MAX_WORDS]
        if self._semantics is None or not words:
            return Asked(words)
        embedder = self._semantics.embedder
        vector = await embedder.embed_query(text)
        return Asked(words, space_of(embedder.name, vector), vector)

    def _find_in(self, connection: Connection, vector_store_id: str, question: Question) -> list[Found]:
        meant, query = None, question.query
        if query.condition is not None:
            files = vector_store_files.attributes_of(connection, vector_store_id)
            meant = [seq for seq, attributes in files if holds(query.condition, attributes)]
            if not meant:
                return []
        vectors = None if self._semantics is None else self._semantics.index
        looking = _Looking(connection, vectors, vector_store_id, meant)
        best: dict[int, tuple[float, Row]] = {}
        for asked in question.asked:
            for score, chunk in looking.ranked(asked):
                if chunk["seq"] not in best or best[chunk["seq"]][0] < score:
                    best[chunk["seq"]] = (score, chunk)
        ordered = sorted(best.values(), key=lambda found: (-found[0], found[1]["file_seq"], found[1]["position"]))
        answering = [(score, chunk) for score, chunk in ordered if score >= query.threshold][: query.limit]
        files_found = vector_store_files.by_seq(connection, {chunk["file_seq"] for _, chunk in answering})
        return [_found(score, chunk, files_found[chunk["file_seq"]]) for score, chunk in answering]


class _Looking:
    """One search in one store; what is known of the store is gathered once."""

    def __init__(
        self, connection: Connection, vectors: VectorIndex | None, vector_store_id: str, file_seqs: list[int] | None
    ) -> None:
        self._connection = connection
        self._vectors = vectors
        self._vector_store_id = vector_store_id
        self._file_seqs = file_seqs
        self._lexical = index_of(connection)
        self._chunks, self._words = vector_store_files.size_of_text(connection, vector_store_id)

    def ranked(self, asked: Asked) -> Iterator[tuple[float, Row]]:
        """Yield candidates with their scores."""
        if not asked.words or not self._chunks:
            return
        having = {word: self._lexical.count(self._connection, self._vector_store_id, word) for word in asked.words}
        corpus = Corpus(self._chunks, self._words, having)
        chunks, similarity = self._candidates(asked, having)
        for place, chunk in chunks.items():
            by_words = ranking.score(corpus, asked.words, chunk["words"].split())
            yield ranking.fused(by_words, similarity.get(place)), chunk

    def _candidates(
        self, asked: Asked, having: Mapping[str, int]
    ) -> tuple[Mapping[ChunkPlace, Row], Mapping[ChunkPlace, float]]:
        """Return the chunks that either index proposes, and how similar those are that have vectors."""
        chunks = {_place(chunk): chunk for chunk in self._with_words(having)}
        if self._vectors is None or asked.vector is None:
            return chunks, {}
        here = (self._connection, self._vector_store_id, asked.space, asked.vector)
        near = self._vectors.nearest(*here, limit=CANDIDATES, file_seqs=self._file_seqs)
        if not near and self._file_seqs is None:
            telemetry.log.warning("vectors_missing", vector_store_id=self._vector_store_id, space=asked.space)
        similarity = {each.place: each.similarity for each in near}
        others = [place for place in chunks if place not in similarity]
        missing = [place for place in similarity if place not in chunks]
        chunks |= {_place(chunk): chunk for chunk in vector_store_files.chunks_at(self._connection, missing)}
        return chunks, {**similarity, **self._vectors.similarities(*here, others)}

    def _with_words(self, having: Mapping[str, int]) -> list[Row]:
        there = [word for word, count in having.items() if count]
        if not there:
            return []
        rare = rarest(having)
        return self._lexical.find(
            self._connection,
            self._vector_store_id,
            there,
            limit=CANDIDATES,
            rare=None if len(rare) == len(there) else rare,
            file_seqs=self._file_seqs,
        )


def rarest(having: Mapping[str, int]) -> list[str]:
    """Return the words that few chunks have, of those that any has: not more than `MANY` together, but at least one.

    Nearly every chunk has the common ones, and they tell next to nothing; looking at all those chunks takes longer than
    all the rest.
    """
    chosen, total = list[str](), 0
    for word in sorted(having, key=lambda word: having[word]):
        total += having[word]
        if chosen and total > MANY:
            break
        if having[word]:
            chosen.append(word)
    return chosen


def _place(chunk: Row) -> ChunkPlace:
    return ChunkPlace(chunk["file_seq"], chunk["position"])


def _found(score: float, chunk: Row, file: Row) -> Found:
    return Found(file["id"], file["filename"], round(score, 6), chunk["text"], file["attributes"])
