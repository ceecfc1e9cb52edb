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
    op.add_column("suspect_fingerprints", sa.Column("first_id", sa.BigInteger))
    op.create_index("ix_suspect_fingerprints_first_id", "suspect_fingerprints", ["scheme_id", "first_id"])
    op.create_table(
        "suspect_removals",
        sa.Column("scheme_id", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("first_id", sa.BigInteger, nullable=False),
        sa.Column("descriptor_count", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("scheme_id", "sequence", "first_id", name="pk_suspect_removals"),
        sa.ForeignKeyConstraint(["scheme_id"], ["schemes.id"], name="fk_suspect_removals_scheme_id"),
        sqlite_with_rowid=False,
    )
    _number_suspects()
    op.add_column("sightings", sa.Column("uploader", sa.String(255)))
    op.create_index(
        "ix_sightings_uploader",
        "sightings",
        ["uploader", "id"],
        sqlite_where=sa.text("uploader IS NOT NULL"),
        postgresql_where=sa.text("uploader IS NOT NULL"),
    )


def _number_suspects() -> None:
    """Give what was captured before the ids by which indexes know it, as if it had been read one by one."""
    connection = op.get_bind()
    rows = sa.table("suspect_fingerprints", sa.column("content_sha256"), sa.column("first_id"))
    counters = sa.table("counters", sa.column("sequence"))
    known = connection.execute(sa.select(rows.c.content_sha256).distinct()).scalars().all()
    for number, sha256 in enumerate(sorted(known), 1):
        values = {"first_id": number * 2**28}
        connection.execute(sa.update(rows).where(rows.c.content_sha256 == sha256).values(**values))
    connection.execute(
        sa.update(counters).where(counters.c.sequence < len(known)).values(sequence=len(known))
    )
