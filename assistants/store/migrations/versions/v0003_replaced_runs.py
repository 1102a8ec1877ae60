"""What is known of a call's attempts, and of the runs upstream that carried a run."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns and make the table."""
    op.add_column("tool_calls", sa.Column("upstream_id", sa.String(length=128), nullable=True))
    op.add_column("tool_calls", sa.Column("ended_attempt", sa.Integer(), server_default="0", nullable=False))
    op.add_column("tool_calls", sa.Column("repeats", sa.String(length=128), nullable=True))
    op.create_table(
        "upstream_runs",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("thread_id", sa.String(length=128), nullable=False),
        sa.Column("upstream_id", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_upstream_runs")),
    )
    op.create_index(op.f("ix_upstream_runs_upstream_id"), "upstream_runs", ["upstream_id"], unique=False)


def downgrade() -> None:
    """Take them away."""
    op.drop_index(op.f("ix_upstream_runs_upstream_id"), table_name="upstream_runs")
    op.drop_table("upstream_runs")
    for column in ("repeats", "ended_attempt", "upstream_id"):
        op.drop_column("tool_calls", column)
