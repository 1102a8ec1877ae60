"""Which keys open the operator's page."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column; keys that exist, and keys that an older process makes, have no value there and open nothing."""
    op.add_column("keys", sa.Column("operator", sa.Boolean(), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("keys", "operator")
