"""Containers: references that are parts of another, and how much each says.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    container_id = sa.LargeBinary(16).with_variant(sa.Uuid(), "postgresql")
    op.add_column("work_references", sa.Column("container_id", container_id))
    op.add_column("work_references", sa.Column("weight", sa.Float))
    # Two containers of one work may hold the same file; other references are kept apart by `Transaction`.
    op.drop_index("ux_work_references_sha256", "work_references")
    op.create_index(
        "ix_work_references_sha256",
        "work_references",
        ["sha256", "work_id"],
        sqlite_where=sa.text("sha256 IS NOT NULL"),
        postgresql_where=sa.text("sha256 IS NOT NULL"),
    )
