"""Which older processes work on the tables, so that one that starts after an upgrade knows whether it may."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

OLDEST = "0008"
"""Migrations since this version have only added."""


def upgrade() -> None:
    """Add the table with its one row."""
    table = op.create_table(
        "compatibility",
        sa.Column("oldest_version", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("oldest_version", name=op.f("pk_compatibility")),
    )
    op.bulk_insert(table, [{"oldest_version": OLDEST}])


def downgrade() -> None:
    """Take it away."""
    op.drop_table("compatibility")
