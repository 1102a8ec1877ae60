"""Calls of built-in tools, and the sessions and files of the code interpreter."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add them."""
    with op.batch_alter_table("tool_calls") as calls:
        calls.add_column(sa.Column("type", sa.String(24), nullable=False, server_default="function"))
        calls.add_column(sa.Column("result", sa.JSON()))
    op.create_table(
        "code_sessions",
        sa.Column("thread_id", sa.String(length=64), nullable=False),
        sa.Column("task_queue", sa.Text(), nullable=False),
        sa.Column("opened_at", _number(), nullable=False),
        _of_a_thread("code_sessions"),
        sa.PrimaryKeyConstraint("thread_id", name=op.f("pk_code_sessions")),
    )
    op.create_table(
        "code_files",
        sa.Column("seq", _number(), nullable=False),
        sa.Column("thread_id", sa.String(length=64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("file_id", sa.String(length=64), nullable=False),
        _of_a_thread("code_files"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_code_files")),
    )
    op.create_index(op.f("ix_code_files_thread_id_seq"), "code_files", ["thread_id", "seq"])


def downgrade() -> None:
    """Take them away."""
    op.drop_table("code_files")
    op.drop_table("code_sessions")
    with op.batch_alter_table("tool_calls") as calls:
        calls.drop_column("result")
        calls.drop_column("type")


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _of_a_thread(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_thread_id_threads")
    return sa.ForeignKeyConstraint(["thread_id"], ["threads.id"], name=name, ondelete="CASCADE")
