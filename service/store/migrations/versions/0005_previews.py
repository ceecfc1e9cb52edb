"""Previews of references and of captured contents.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _uuid() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(16).with_variant(sa.Uuid(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "preview_sets",
        sa.Column("subject", sa.LargeBinary(32)),
        sa.Column("work_id", _uuid()),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("modality", sa.String(32), nullable=False),
        sa.Column("source_sha256", sa.LargeBinary(32)),
        sa.Column("source_bytes", sa.BigInteger),
        sa.Column("source_place", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_preview_sets"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_preview_sets_work_id", "preview_sets", ["work_id"])
    op.create_index("ix_preview_sets_state", "preview_sets", ["state", "created_at"])
    op.create_index("ix_preview_sets_source_sha256", "preview_sets", ["source_sha256"])
    op.create_table(
        "preview_files",
        sa.Column("subject", sa.LargeBinary(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("byte_count", sa.BigInteger, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("characters", sa.Integer, nullable=False),
        sa.Column("whole", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("subject", "kind", name="pk_preview_files"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_preview_files_sha256", "preview_files", ["sha256"])
    op.create_table(
        "erasures",
        sa.Column("sha256", sa.LargeBinary(32)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_erasures"),
        sqlite_with_rowid=False,
    )
    _ask_for_reported()


def _ask_for_reported() -> None:
    """Have previews made of the contents that there are reports on."""
    reported = (
        "INSERT INTO preview_sets (subject, state, reason, modality, created_at) "
        "SELECT reports.content_sha256, 'pending', '', MIN(reports.modality), MIN(reports.created_at) "
        "FROM reports JOIN contents ON contents.sha256 = reports.content_sha256 "
        "GROUP BY reports.content_sha256"
    )
    op.execute(reported)
