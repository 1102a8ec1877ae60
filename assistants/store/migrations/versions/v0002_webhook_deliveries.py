"""The log of attempts to tell a person about an escalation."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "webhook_deliveries",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("escalation_id", sa.String(length=255), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("message_id", sa.String(length=300), nullable=False),
        sa.Column("event", sa.String(length=32), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("delivered", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("at", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(
        op.f("ix_webhook_deliveries_escalation_id_seq"), "webhook_deliveries", ["escalation_id", "seq"], unique=False
    )
    op.create_index(op.f("ix_webhook_deliveries_run_id_seq"), "webhook_deliveries", ["run_id", "seq"], unique=False)


def downgrade() -> None:
    """Drop it."""
    op.drop_index(op.f("ix_webhook_deliveries_run_id_seq"), table_name="webhook_deliveries")
    op.drop_index(op.f("ix_webhook_deliveries_escalation_id_seq"), table_name="webhook_deliveries")
    op.drop_table("webhook_deliveries")
