"""Projects and their keys, which project each object belongs to, and which handlers may answer a run's calls."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_OWNED = ("assistants", "threads", "runs", "files")
_LISTED = ("assistants", "threads", "files")


def upgrade() -> None:
    """Make the tables, and give what there is to the default project, which may use every handler."""
    projects = op.create_table(
        "projects",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("handlers", sa.JSON(none_as_null=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.bulk_insert(projects, [{"id": "default", "created_at": int(time.time()), "handlers": None}])
    op.create_table(
        "keys",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("project_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=32), nullable=False),
        sa.Column("rate_limit", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.Integer(), nullable=False),
        sa.Column("last_used_at", sa.Integer(), nullable=True),
        sa.Column("revoked_at", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_keys_project_id_projects")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_keys")),
        sa.UniqueConstraint("id", name=op.f("uq_keys_id")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_keys_secret_hash")),
    )
    for table in _OWNED:
        op.add_column(table, sa.Column("project_id", sa.String(length=64), server_default="default", nullable=False))
    for table in _LISTED:
        op.create_index(op.f(f"ix_{table}_project_id_seq"), table, ["project_id", "seq"], unique=False)
    op.add_column("runs", sa.Column("handlers", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Take them away."""
    op.drop_column("runs", "handlers")
    for table in _LISTED:
        op.drop_index(op.f(f"ix_{table}_project_id_seq"), table_name=table)
    for table in _OWNED:
        op.drop_column(table, "project_id")
    op.drop_table("keys")
    op.drop_table("projects")
