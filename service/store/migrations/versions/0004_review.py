"""Cases, decisions, events, feedback, suppressions, saved views.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _uuid() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(16).with_variant(sa.Uuid(), "postgresql")


def upgrade() -> None:
    _create_cases()
    _create_decisions()
    _create_choices()
    op.execute("INSERT INTO unfiled_reports (report_id) SELECT id FROM reports")


def _create_cases() -> None:
    op.create_table(
        "unfiled_reports",
        sa.Column("report_id", _uuid()),
        sa.PrimaryKeyConstraint("report_id", name="pk_unfiled_reports"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cases",
        sa.Column("id", _uuid()),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("work_id", _uuid(), nullable=False),
        sa.Column("site", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.Column("decision_number", sa.Integer, nullable=False),
        sa.Column("work_title", sa.Text, nullable=False),
        sa.Column("external_id", sa.Text, nullable=False),
        sa.Column("page_url", sa.Text, nullable=False),
        sa.Column("page_title", sa.Text, nullable=False),
        sa.Column("media_url", sa.Text, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("modality", sa.String(32), nullable=False),
        sa.Column("report_count", sa.Integer, nullable=False),
        sa.Column("open_count", sa.Integer, nullable=False),
        sa.Column("assignee", sa.String(64)),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("lease_holder", sa.String(64)),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("reported_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_cases"),
    )
    op.create_index("ix_cases_assignee", "cases", ["assignee", "state"])
    op.create_index("ix_cases_due_at", "cases", ["state", "due_at", "id"])
    op.create_index("ix_cases_modality", "cases", ["modality", "state"])
    op.create_index("ix_cases_outcome", "cases", ["outcome", "state"])
    op.create_index("ix_cases_owner_due_at", "cases", ["owner", "state", "due_at", "id"])
    op.create_index("ix_cases_owner_probability", "cases", ["owner", "state", "probability", "id"])
    op.create_index("ix_cases_owner_reported_at", "cases", ["owner", "state", "reported_at", "id"])
    op.create_index("ix_cases_probability", "cases", ["state", "probability", "id"])
    op.create_index("ix_cases_reported_at", "cases", ["state", "reported_at", "id"])
    op.create_index("ix_cases_site", "cases", ["site", "state"])
    op.create_index("ux_cases_work_id", "cases", ["work_id", "site"], unique=True)
    op.create_table(
        "case_reports",
        sa.Column("case_id", _uuid(), nullable=False),
        sa.Column("report_id", _uuid(), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("settled_case_id", _uuid()),
        sa.Column("settled_number", sa.Integer),
        sa.PrimaryKeyConstraint("case_id", "report_id", name="pk_case_reports"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_case_reports_case_id"),
        sa.ForeignKeyConstraint(["report_id"], ["reports.id"], name="fk_case_reports_report_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_case_reports_number", "case_reports", ["case_id", "number"])
    op.create_index("ix_case_reports_report_id", "case_reports", ["report_id", "case_id"])
    op.create_index(
        "ix_case_reports_settled_case_id",
        "case_reports",
        ["settled_case_id"],
        sqlite_where=sa.text("settled_case_id IS NOT NULL"),
        postgresql_where=sa.text("settled_case_id IS NOT NULL"),
    )
    op.create_table(
        "case_lists",
        sa.Column("list_id", _uuid(), nullable=False),
        sa.Column("case_id", _uuid(), nullable=False),
        sa.PrimaryKeyConstraint("list_id", "case_id", name="pk_case_lists"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_case_lists_case_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_case_lists_case_id", "case_lists", ["case_id", "list_id"])
    op.create_table(
        "case_words",
        sa.Column("word", sa.LargeBinary(128), nullable=False),
        sa.Column("case_id", _uuid(), nullable=False),
        sa.PrimaryKeyConstraint("word", "case_id", name="pk_case_words"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_case_words_case_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_case_words_case_id", "case_words", ["case_id", "word"])


def _create_decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("case_id", _uuid(), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("batch_id", _uuid()),
        sa.Column("undone_by", sa.Integer),
        sa.PrimaryKeyConstraint("case_id", "number", name="pk_decisions"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_decisions_case_id"),
    )
    op.create_index(
        "ix_decisions_batch_id",
        "decisions",
        ["batch_id"],
        sqlite_where=sa.text("batch_id IS NOT NULL"),
        postgresql_where=sa.text("batch_id IS NOT NULL"),
    )
    op.create_table(
        "review_events",
        sa.Column("id", _uuid()),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("subject_id", _uuid(), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("sha256", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_review_events"),
    )
    op.create_index("ix_review_events_actor", "review_events", ["actor", "id"])
    op.create_index("ix_review_events_owner", "review_events", ["owner", "id"])
    op.create_index("ux_review_events_subject_id", "review_events", ["subject_id", "number"], unique=True)
    op.create_table(
        "examples",
        sa.Column("id", _uuid()),
        sa.Column("case_id", _uuid(), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("standing", sa.Integer, nullable=False),
        sa.Column("report_id", _uuid(), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("work_id", _uuid(), nullable=False),
        sa.Column("reference_id", _uuid(), nullable=False),
        sa.Column("content_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("modality", sa.String(32), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("is_copy", sa.Integer, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("signals", sa.Text, nullable=False),
        sa.Column("lists", sa.Text, nullable=False),
        sa.Column("policy_revision", sa.String(128), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_examples"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_examples_case_id"),
    )
    op.create_index("ix_examples_case_id", "examples", ["case_id", "number"])
    op.create_index("ix_examples_owner", "examples", ["owner", "id"])
    op.create_table(
        "tallies",
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("second", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("owner", "kind", "name", name="pk_tallies"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_tallies_first", "tallies", ["owner", "kind", "first", "name"])
    op.create_index("ix_tallies_second", "tallies", ["owner", "kind", "second", "name"])


def _create_choices() -> None:
    op.create_table(
        "suppressions",
        sa.Column("subject_id", _uuid()),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("work_id", _uuid(), nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("subject_id", name="pk_suppressions"),
        sa.ForeignKeyConstraint(["work_id"], ["works.id"], name="fk_suppressions_work_id"),
    )
    op.create_index("ix_suppressions_at", "suppressions", ["at"])
    op.create_index("ix_suppressions_work_id", "suppressions", ["work_id"])
    op.create_table(
        "saved_views",
        sa.Column("id", _uuid()),
        sa.Column("actor", sa.String(64), nullable=False),
        sa.Column("title", sa.String(255), nullable=False),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_saved_views"),
    )
    op.create_index("ux_saved_views_actor", "saved_views", ["actor", "title"], unique=True)
