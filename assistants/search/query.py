"""Looking for something in a vector store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from lockstitch.assistants.search import ranking
from lockstitch.assistants.search.filters import Comparison, Compound, holds
from lockstitch.assistants.search.ranking import Corpus
from lockstitch.assistants.search.words import words_of
from lockstitch.assistants.store import vector_store_files
from lockstitch.assistants.store.lexical_index import LexicalIndex, index_of
from lockstitch.assistants.store.rows import Row

CANDIDATES = 200
"""Chunks that the database proposes for each query; they are ranked anew, by the words of this store alone."""

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
class Found:
    """A chunk that was found, and how well it answers: from 0 to 1."""

    file_id: str
    filename: str
    score: float
    text: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


def search(connection: Connection, vector_store_id: str, query: Query) -> list[Found]:
    """Return the chunks of the store that answer best, the best first; of equals, the one that came first."""
    meant = None
    if query.condition is not None:
        files = vector_store_files.attributes_of(connection, vector_store_id)
        meant = [seq for seq, attributes in files if holds(query.condition, attributes)]
        if not meant:
            return []
    looking = _Looking(connection, vector_store_id, meant)
    best: dict[int, tuple[float, Row]] = {}
    for asked in query.texts:
        for score, chunk in looking.ranked(list(dict.fromkeys(words_of(asked)))[:MAX_WORDS]):
            if chunk["seq"] not in best or best[chunk["seq"]][0] < score:
                best[chunk["seq"]] = (score, chunk)
    ordered = sorted(best.values(), key=lambda found: (-found[0], found[1]["file_seq"], found[1]["position"]))
    answering = [(score, chunk) for score, chunk in ordered if score >= query.threshold][: query.limit]
    files_found = vector_store_files.by_seq(connection, {chunk["file_seq"] for _, chunk in answering})
    return [_found(score, chunk, files_found[chunk["file_seq"]]) for score, chunk in answering]


class _Looking:
    """One search; what is known of the store is gathered once."""

    def __init__(self, connection: Connection, vector_store_id: str, file_seqs: list[int] | None) -> None:
        self._connection = connection
        self._vector_store_id = vector_store_id
        self._file_seqs = file_seqs
        self._index: LexicalIndex = index_of(connection)
        self._chunks, self._words = vector_store_files.size_of_text(connection, vector_store_id)

    def ranked(self, words: Sequence[str]) -> list[tuple[float, Row]]:
        """Return candidates for a query with their scores."""
        if not words:
            return []
        having = {word: self._index.count(self._connection, self._vector_store_id, word) for word in words}
        corpus = Corpus(self._chunks, self._words, having)
        candidates = self._index.find(
            self._connection, self._vector_store_id, words, limit=CANDIDATES, file_seqs=self._file_seqs
        )
        return [(ranking.score(corpus, words, chunk["words"].split()), chunk) for chunk in candidates]


def _found(score: float, chunk: Row, file: Row) -> Found:
    return Found(file["id"], file["filename"], round(score, 6), chunk["text"], file["attributes"])
