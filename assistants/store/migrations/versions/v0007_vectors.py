"""Vectors of chunks. On PostgreSQL they need an extension, so whoever embeds makes their table there."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

# A row is never given the number of another one, so that a process which holds vectors in memory can tell from the
# count of a store's rows and the largest number whether anything came or went. ``vectors`` has the chunks of the file
# in their order, as float16, least byte first.
_TABLE = """
    CREATE TABLE vector_store_vectors (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        file_seq INTEGER NOT NULL UNIQUE REFERENCES vector_store_files (seq) ON DELETE CASCADE,
        vector_store_id VARCHAR(64) NOT NULL,
        space TEXT NOT NULL,
        vectors BLOB NOT NULL
    )
"""


def upgrade() -> None:
    """Make the table, and a column that says what made the vectors of a file."""
    op.add_column("vector_store_files", sa.Column("embedder", sa.Text(), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_TABLE)
        op.execute("CREATE INDEX ix_vector_store_vectors_store ON vector_store_vectors (vector_store_id, space, seq)")


def downgrade() -> None:
    """Drop both."""
    op.drop_column("vector_store_files", "embedder")
    op.execute("DROP TABLE IF EXISTS vector_store_vectors")
