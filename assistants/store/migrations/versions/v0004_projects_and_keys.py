"""Which project each object belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_OWNED = ("assistants", "threads", "runs", "files")
_LISTED = ("assistants", "threads", "files")


def upgrade() -> None:
    """Give what there is to the default project."""
    for table in _OWNED:
        op.add_column(table, sa.Column("project_id", sa.String(length=64), server_default="default", nullable=False))
    for table in _LISTED:
        op.create_index(op.f(f"ix_{table}_project_id_seq"), table, ["project_id", "seq"], unique=False)


def downgrade() -> None:
    """Take the columns away."""
    for table in _LISTED:
        op.drop_index(op.f(f"ix_{table}_project_id_seq"), table_name=table)
    for table in _OWNED:
        op.drop_column(table, "project_id")
