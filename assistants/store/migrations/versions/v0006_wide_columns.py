"""Columns as wide on PostgreSQL as they are on SQLite: times after 2038, and names that others gave, of any length."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_TIMES = {
    "projects": ("created_at",),
    "keys": (
        "created_at",
        "last_used_at",
        "revoked_at",
    ),
    "assistants": ("created_at",),
    "threads": ("created_at",),
    "messages": (
        "created_at",
        "completed_at",
        "incomplete_at",
    ),
    "runs": (
        "created_at",
        "started_at",
        "expires_at",
        "cancelled_at",
        "failed_at",
        "completed_at",
    ),
    "run_steps": (
        "created_at",
        "cancelled_at",
        "completed_at",
        "expired_at",
        "failed_at",
    ),
    "webhook_deliveries": ("at",),
    "files": (
        "created_at",
        "expires_at",
    ),
    "vector_stores": (
        "created_at",
        "last_active_at",
        "expires_at",
    ),
    "vector_store_batches": (
        "created_at",
        "cancelled_at",
    ),
    "vector_store_files": ("created_at",),
}
_NAMES = {
    "tool_calls": {"call_id": 128, "thread_id": 64, "name": 64, "upstream_id": 128, "repeats": 128},
    "upstream_runs": {"thread_id": 128, "upstream_id": 128},
    "webhook_deliveries": {"escalation_id": 255, "message_id": 300},
}


def upgrade() -> None:
    """Widen them."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in _TIMES.items():
        for column in columns:
            op.alter_column(table, column, type_=sa.BigInteger())
    for table, lengths in _NAMES.items():
        for column in lengths:
            op.alter_column(table, column, type_=sa.Text())


def downgrade() -> None:
    """Narrow them; fails where something is in them that needs the width."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, columns in _TIMES.items():
        for column in columns:
            op.alter_column(table, column, type_=sa.Integer())
    for table, lengths in _NAMES.items():
        for column, length in lengths.items():
            op.alter_column(table, column, type_=sa.String(length))
