"""When an event was written, so that it can be told how long watchers wait for it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column; events that are there already, and those of older processes, have no time."""
    op.add_column("run_events", sa.Column("recorded_at", sa.Float(), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("run_events", "recorded_at")
