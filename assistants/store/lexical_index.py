"""Which chunks of a vector store have a word: the part of search that each kind of database does in its own way.

Words come in the form in which chunks keep them, letters and digits alone, so that nothing in them can mean
something to a database's query language. How chunks are ranked is no business of a database: see `search.ranking`.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from sqlalchemy import Connection, bindparam, text

from lockstitch.assistants.store.rows import Row


class LexicalIndex(Protocol):
    """Finds chunks of one vector store by their words."""

    def count(self, connection: Connection, vector_store_id: str, word: str) -> int:
        """Return how many chunks have the word."""
        ...

    def find(
        self,
        connection: Connection,
        vector_store_id: str,
        words: Sequence[str],
        *,
        limit: int,
        rare: Sequence[str] | None = None,
        file_seqs: Collection[int] | None = None,
    ) -> list[Row]:
        """Return chunks that have any of the words, those first that look best to the database.

        Each has ``seq``, ``file_seq``, ``position``, ``text`` and ``words``. With ``rare`` only those are looked at
        that have one of these words, with ``file_seqs`` only those of these files.
        """
        ...


_COLUMNS = "chunk.seq, chunk.file_seq, chunk.position, chunk.text, chunk.words"
_OF_FILES = "AND chunk.file_seq IN :file_seqs"


class Fts5Index:
    """SQLite's FTS5; the table ``vector_store_words`` is the index."""

    def count(self, connection: Connection, vector_store_id: str, word: str) -> int:
        """Return how many chunks have the word."""
        query = text("SELECT count(*) FROM vector_store_words WHERE vector_store_words MATCH :query")
        return int(connection.scalar(query, {"query": _fts5_query(vector_store_id, [word])}) or 0)

    def find(
        self,
        connection: Connection,
        vector_store_id: str,
        words: Sequence[str],
        *,
        limit: int,
        rare: Sequence[str] | None = None,
        file_seqs: Collection[int] | None = None,
    ) -> list[Row]:
        """Return chunks that have any of the words."""
        statement = f"""
            SELECT {_COLUMNS} FROM vector_store_words JOIN vector_store_chunks AS chunk
            ON chunk.seq = vector_store_words.rowid
            WHERE vector_store_words MATCH :query {"" if file_seqs is None else _OF_FILES}
            ORDER BY bm25(vector_store_words, 0.0, 1.0), chunk.seq LIMIT :limit
        """  # noqa: S608 - nothing in it comes from outside
        values = {"query": _fts5_query(vector_store_id, words, rare), "limit": limit}
        return _fetch(connection, statement, values, file_seqs)


class TsvectorIndex:
    """PostgreSQL's GIN index of a tsvector, made of the words as they are: no dictionary has a say."""

    def count(self, connection: Connection, vector_store_id: str, word: str) -> int:
        """Return how many chunks have the word."""
        query = text(f"SELECT count(*) FROM vector_store_chunks AS chunk WHERE {_TSVECTOR_MATCH}")  # noqa: S608
        values = {"store": vector_store_id, "query": _tsquery([word])}
        return int(connection.scalar(query, values) or 0)

    def find(
        self,
        connection: Connection,
        vector_store_id: str,
        words: Sequence[str],
        *,
        limit: int,
        rare: Sequence[str] | None = None,
        file_seqs: Collection[int] | None = None,
    ) -> list[Row]:
        """Return chunks that have any of the words."""
        statement = f"""
            SELECT {_COLUMNS} FROM vector_store_chunks AS chunk
            WHERE {_TSVECTOR_MATCH} {"" if file_seqs is None else _OF_FILES}
            ORDER BY ts_rank({_TSVECTOR}, CAST(:query AS tsquery)) DESC, chunk.seq LIMIT :limit
        """  # noqa: S608 - nothing in it comes from outside
        values = {"store": vector_store_id, "query": _tsquery(words, rare), "limit": limit}
        return _fetch(connection, statement, values, file_seqs)


_TSVECTOR = "array_to_tsvector(string_to_array(chunk.words, ' '))"
_TSVECTOR_MATCH = f"chunk.vector_store_id = :store AND {_TSVECTOR} @@ CAST(:query AS tsquery)"

_INDEXES: dict[str, LexicalIndex] = {"sqlite": Fts5Index(), "postgresql": TsvectorIndex()}


def index_of(connection: Connection) -> LexicalIndex:
    """Return the index that the connection's database has."""
    return _INDEXES[connection.dialect.name]


def _fts5_query(vector_store_id: str, words: Sequence[str], rare: Sequence[str] | None = None) -> str:
    query = f'vector_store_id : "{vector_store_id}" AND words : ({_fts5_any(words)})'
    return query if rare is None else f"{query} AND words : ({_fts5_any(rare)})"


def _fts5_any(words: Sequence[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)


def _tsquery(words: Sequence[str], rare: Sequence[str] | None = None) -> str:
    query = _tsquery_any(words)
    return query if rare is None else f"({query}) & ({_tsquery_any(rare)})"


def _tsquery_any(words: Sequence[str]) -> str:
    return " | ".join(f"'{word}'" for word in words)


def _fetch(connection: Connection, statement: str, values: Row, file_seqs: Collection[int] | None) -> list[Row]:
    query = text(statement)
    if file_seqs is None:
        return [row._asdict() for row in connection.execute(query, dict(values))]
    query = query.bindparams(bindparam("file_seqs", expanding=True))
    return [row._asdict() for row in connection.execute(query, {**values, "file_seqs": list(file_seqs)})]
