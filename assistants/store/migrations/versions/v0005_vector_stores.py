"""Vector stores, and commands that are about more than runs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables; the commands move into theirs."""
    _replace_commands("run_commands", "run_id", "commands", "subject_id")
    _make_stores()
    _make_files()
    _make_chunks()
    _make_index_of_words()
    _index("files", "expires_at")


def downgrade() -> None:
    """Drop the tables; the commands of runs move back."""
    op.drop_index(op.f("ix_files_expires_at"), table_name="files")
    if _is_sqlite():
        op.execute("DROP TABLE vector_store_words")
    for table in ("vector_store_chunks", "vector_store_files", "vector_store_batches", "vector_stores"):
        op.drop_table(table)
    op.execute("DELETE FROM commands WHERE kind = 'ingest'")
    _replace_commands("commands", "subject_id", "run_commands", "run_id")


def _replace_commands(old: str, old_id: str, new: str, new_id: str) -> None:
    op.create_table(
        new,
        sa.Column("position", _sequence(), nullable=False),
        sa.Column(new_id, sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f(f"pk_{new}")),
    )
    op.execute(
        f"INSERT INTO {new} ({new_id}, kind, payload, created_at) "  # noqa: S608 - both names are ours
        f"SELECT {old_id}, kind, payload, created_at FROM {old} ORDER BY position"
    )
    op.drop_table(old)


def _make_stores() -> None:
    op.create_table(
        "vector_stores",
        sa.Column("seq", _sequence(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), server_default="default", nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("last_active_at", sa.Integer(), nullable=False),
        sa.Column("expires_after", sa.JSON(), nullable=True),
        sa.Column("expires_at", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_vector_stores")),
        sa.UniqueConstraint("id", name=op.f("uq_vector_stores_id")),
    )
    op.create_index(op.f("ix_vector_stores_expires_at"), "vector_stores", ["expires_at"])
    op.create_index(op.f("ix_vector_stores_project_id_seq"), "vector_stores", ["project_id", "seq"])
    op.create_table(
        "vector_store_batches",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("vector_store_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("cancelled_at", sa.Integer(), nullable=True),
        _foreign_key("vector_store_batches", "vector_store_id", "vector_stores.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vector_store_batches")),
    )
    op.create_index(op.f("ix_vector_store_batches_vector_store_id"), "vector_store_batches", ["vector_store_id"])


def _make_files() -> None:
    op.create_table(
        "vector_store_files",
        sa.Column("seq", _sequence(), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("vector_store_id", sa.String(length=64), nullable=False),
        sa.Column("ingestion_id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("last_error", sa.JSON(), nullable=True),
        sa.Column("chunking_strategy", sa.JSON(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("usage_bytes", sa.BigInteger(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("word_count", sa.Integer(), nullable=False),
        _foreign_key("vector_store_files", "id", "files.id"),
        _foreign_key("vector_store_files", "vector_store_id", "vector_stores.id"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_vector_store_files")),
    )
    _index("vector_store_files", "id")
    _index("vector_store_files", "vector_store_id", "id", unique=True)
    _index("vector_store_files", "vector_store_id", "status")
    _index("vector_store_files", "ingestion_id", "status", "seq")
    in_progress = sa.text("status = 'in_progress'")
    op.create_index(
        "ix_vector_store_files_in_progress",
        "vector_store_files",
        ["created_at"],
        sqlite_where=in_progress,
        postgresql_where=in_progress,
    )


def _make_chunks() -> None:
    op.create_table(
        "vector_store_chunks",
        sa.Column("seq", _sequence(), nullable=False),
        sa.Column("vector_store_id", sa.String(length=64), nullable=False),
        sa.Column("file_seq", _sequence(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        _foreign_key("vector_store_chunks", "file_seq", "vector_store_files.seq"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_vector_store_chunks")),
    )
    _index("vector_store_chunks", "file_seq", "position", unique=True)
    _index("vector_store_chunks", "vector_store_id")


# SQLite's index of words holds none of the text: it reads the chunks, and triggers tell it what happens to them,
# also where a chunk goes with its file or its store. The store's id is a word of its own, so that what is looked for in
# one store never reads what stands in others.
_SQLITE_INDEX = (
    """
    CREATE VIRTUAL TABLE vector_store_words USING fts5(
        vector_store_id, words,
        content='vector_store_chunks', content_rowid='seq', tokenize="unicode61 remove_diacritics 0 tokenchars '_'"
    )
    """,
    """
    CREATE TRIGGER vector_store_chunks_added AFTER INSERT ON vector_store_chunks BEGIN
        INSERT INTO vector_store_words (rowid, vector_store_id, words)
        VALUES (new.seq, new.vector_store_id, new.words);
    END
    """,
    """
    CREATE TRIGGER vector_store_chunks_removed AFTER DELETE ON vector_store_chunks BEGIN
        INSERT INTO vector_store_words (vector_store_words, rowid, vector_store_id, words)
        VALUES ('delete', old.seq, old.vector_store_id, old.words);
    END
    """,
)
_POSTGRESQL_INDEX = """
    CREATE INDEX ix_vector_store_chunks_words ON vector_store_chunks
    USING gin (array_to_tsvector(string_to_array(words, ' ')))
"""


def _make_index_of_words() -> None:
    for statement in _SQLITE_INDEX if _is_sqlite() else (_POSTGRESQL_INDEX,):
        op.execute(statement)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _sequence() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _foreign_key(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_{column}_{target.partition('.')[0]}"
    return sa.ForeignKeyConstraint([column], [target], name=op.f(name), ondelete="CASCADE")


def _index(table: str, *columns: str, unique: bool = False) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns), unique=unique)
