"""Monitoring lists, runs, captures, suspects, reports, webhooks.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _uuid() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(16).with_variant(sa.Uuid(), "postgresql")


def upgrade() -> None:
    _create_lists()
    _create_captures()
    _create_reports()
    marks = sa.table("registration_marks", sa.column("id"), sa.column("asked"), sa.column("asking"))
    op.bulk_insert(marks, [{"id": 1, "asked": 0, "asking": 0}])


def _create_lists() -> None:
    op.create_table(
        "monitoring_lists",
        sa.Column("id", _uuid()),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("items", sa.Text, nullable=False),
        sa.Column("place_count", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("next_run_at", sa.BigInteger),
        sa.Column("latest_run", _uuid()),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_monitoring_lists"),
    )
    op.create_index("ix_monitoring_lists_next_run_at", "monitoring_lists", ["next_run_at"])
    op.create_index("ix_monitoring_lists_owner", "monitoring_lists", ["owner", "id"])
    op.create_table(
        "runs",
        sa.Column("id", _uuid()),
        sa.Column("list_id", _uuid(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("scheduled", sa.Integer, nullable=False),
        sa.Column("progress", sa.Text, nullable=False),
        sa.Column("crawler", sa.String(128), nullable=False),
        sa.Column("lease_expires_at", sa.BigInteger),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("updated_at", sa.BigInteger),
        sa.Column("ended_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.ForeignKeyConstraint(["list_id"], ["monitoring_lists.id"], name="fk_runs_list_id"),
    )
    op.create_index("ix_runs_list_id", "runs", ["list_id", "id"])
    op.create_index("ix_runs_state", "runs", ["state", "id"])
    op.create_table(
        "deliveries",
        sa.Column("id", _uuid()),
        sa.Column("list_id", _uuid(), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.ForeignKeyConstraint(["list_id"], ["monitoring_lists.id"], name="fk_deliveries_list_id"),
    )
    op.create_index("ix_deliveries_list_id", "deliveries", ["list_id"])
    op.create_index("ix_deliveries_next_at", "deliveries", ["next_at"])


def _create_captures() -> None:
    op.create_table(
        "captures",
        sa.Column("id", _uuid()),
        sa.Column("run_id", _uuid(), nullable=False),
        sa.Column("list_id", _uuid(), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("byte_count", sa.BigInteger, nullable=False),
        sa.Column("header", sa.Text, nullable=False),
        sa.Column("captured_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_captures"),
    )
    op.create_table(
        "custody_events",
        sa.Column("capture_id", _uuid(), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("capture_id", "number", name="pk_custody_events"),
        sa.ForeignKeyConstraint(["capture_id"], ["captures.id"], name="fk_custody_events_capture_id"),
    )
    op.create_table(
        "contents",
        sa.Column("sha256", sa.LargeBinary(32)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("modality", sa.String(32)),
        sa.Column("byte_count", sa.BigInteger, nullable=False),
        sa.Column("capture_id", _uuid(), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_contents"),
    )
    op.create_index("ix_contents_state", "contents", ["state", "created_at"])
    op.create_table(
        "suspect_fingerprints",
        sa.Column("scheme_id", sa.Integer, nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("descriptor_count", sa.Integer, nullable=False),
        sa.Column("descriptors", sa.LargeBinary, nullable=False),
        sa.Column("spans", sa.LargeBinary),
        sa.Column("quality", sa.LargeBinary),
        sa.Column("views", sa.LargeBinary),
        sa.Column("regions", sa.LargeBinary),
        sa.PrimaryKeyConstraint("scheme_id", "content_sha256", name="pk_suspect_fingerprints"),
        sa.ForeignKeyConstraint(["scheme_id"], ["schemes.id"], name="fk_suspect_fingerprints_scheme_id"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_suspect_fingerprints_content_sha256", "suspect_fingerprints", ["content_sha256", "scheme_id"]
    )
    op.create_table(
        "watches",
        sa.Column("content_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("list_id", _uuid(), nullable=False),
        sa.Column("run_id", _uuid(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("reports", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("content_sha256", "list_id", name="pk_watches"),
        sa.ForeignKeyConstraint(["list_id"], ["monitoring_lists.id"], name="fk_watches_list_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_watches_list_id", "watches", ["list_id", "content_sha256"])
    op.create_index("ix_watches_run_id", "watches", ["run_id", "state"])
    op.create_index("ix_watches_state", "watches", ["state", "sequence"])
    op.create_table(
        "sightings",
        sa.Column("id", _uuid()),
        sa.Column("content_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("list_id", _uuid(), nullable=False),
        sa.Column("place", sa.LargeBinary(16), nullable=False),
        sa.Column("run_id", _uuid(), nullable=False),
        sa.Column("capture_id", _uuid()),
        sa.Column("page_url", sa.Text, nullable=False),
        sa.Column("page_title", sa.Text, nullable=False),
        sa.Column("media_url", sa.Text, nullable=False),
        sa.Column("found_as", sa.String(64), nullable=False),
        sa.Column("first_seen_at", sa.BigInteger, nullable=False),
        sa.Column("last_seen_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sightings"),
    )
    op.create_index("ix_sightings_content_sha256", "sightings", ["content_sha256", "id"])
    op.create_index("ux_sightings_place", "sightings", ["content_sha256", "list_id", "place"], unique=True)


def _create_reports() -> None:
    op.create_table(
        "reports",
        sa.Column("id", _uuid()),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("work_id", _uuid(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("match", sa.Text, nullable=False),
        sa.Column("modality", sa.String(32), nullable=False),
        sa.Column("byte_count", sa.BigInteger, nullable=False),
        sa.Column("sighting_count", sa.Integer, nullable=False),
        sa.Column("policy_revision", sa.String(128), nullable=False),
        sa.Column("index_sequence", sa.BigInteger, nullable=False),
        sa.Column("on_registration", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
    )
    op.create_index("ix_reports_owner", "reports", ["owner", "id"])
    op.create_index("ix_reports_sequence", "reports", ["sequence"])
    op.create_index("ix_reports_work_id", "reports", ["work_id", "id"])
    op.create_index("ux_reports_content_sha256", "reports", ["content_sha256", "work_id"], unique=True)
    op.create_table(
        "report_lists",
        sa.Column("list_id", _uuid(), nullable=False),
        sa.Column("report_id", _uuid(), nullable=False),
        sa.PrimaryKeyConstraint("list_id", "report_id", name="pk_report_lists"),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_report_lists_report_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_report_lists_report_id", "report_lists", ["report_id", "list_id"])
    op.create_table(
        "registration_marks",
        sa.Column("id", sa.Integer, autoincrement=False),
        sa.Column("asked", sa.BigInteger, nullable=False),
        sa.Column("asking", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_registration_marks"),
    )
