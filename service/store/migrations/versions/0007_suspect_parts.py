"""Parts of captured containers, and who put captures where they were found.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "suspect_parts",
        sa.Column("key", sa.LargeBinary(32), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("modality", sa.String(32), nullable=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("byte_count", sa.BigInteger, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("weight", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_suspect_parts"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_suspect_parts_content_sha256", "suspect_parts", ["content_sha256", "number"])
    op.create_index("ix_suspect_parts_sha256", "suspect_parts", ["sha256"])
    op.add_column("sightings", sa.Column("uploader", sa.String(255)))
    op.create_index(
        "ix_sightings_uploader",
        "sightings",
        ["uploader", "id"],
        sqlite_where=sa.text("uploader IS NOT NULL"),
        postgresql_where=sa.text("uploader IS NOT NULL"),
    )
