"""Works, references, fingerprints, keys, imports, remembered answers.

Revision ID: 0001
Revises:
"""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _uuid() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary(16).with_variant(sa.Uuid(), "postgresql")


def upgrade() -> None:
    counters = op.create_table(
        "counters",
        sa.Column("id", sa.Integer, autoincrement=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("works", sa.BigInteger, nullable=False),
        sa.Column("work_references", sa.BigInteger, nullable=False),
        sa.Column("database_id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_counters"),
    )
    zeros = {"sequence": 0, "works": 0, "work_references": 0}
    op.bulk_insert(counters, [{"id": 1, "database_id": uuid4().hex, **zeros}])
    op.create_table(
        "schemes",
        sa.Column("id", sa.Integer),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("next_id", sa.BigInteger, nullable=False),
        sa.Column("forgotten_sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_schemes"),
    )
    op.create_index("ux_schemes_name", "schemes", ["name"], unique=True)
    _create_works()
    _create_fingerprints()
    _create_imports()
    op.create_table(
        "responses",
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("request_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key_id", "request_id", name="pk_responses"),
    )
    op.create_index("ix_responses_created_at", "responses", ["created_at"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(64)),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(128)),
        sa.Column("requests_per_minute", sa.BigInteger, nullable=False),
        sa.Column("bytes_per_minute", sa.BigInteger, nullable=False),
        sa.Column("secret_sha256", sa.LargeBinary(32), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
    )


def _create_works() -> None:
    op.create_table(
        "works",
        sa.Column("id", _uuid()),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("external_id", sa.String(255)),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("labels", sa.Text),
        sa.Column("policy", sa.Text),
        sa.Column("reference_count", sa.Integer, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_works"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_works_owner", "works", ["owner", "id"])
    op.create_index(
        "ux_works_external_id",
        "works",
        ["external_id", "owner"],
        unique=True,
        sqlite_where=sa.text("external_id IS NOT NULL"),
        postgresql_where=sa.text("external_id IS NOT NULL"),
    )
    op.create_table(
        "work_references",
        sa.Column("id", _uuid()),
        sa.Column("work_id", _uuid(), nullable=False),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("modality", sa.String(32), nullable=False),
        sa.Column("sha256", sa.LargeBinary(32)),
        sa.Column("byte_count", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_work_references"),
        sa.ForeignKeyConstraint(["work_id"], ["works.id"], name="fk_work_references_work_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_work_references_work_id", "work_references", ["work_id", "id"])
    op.create_index(
        "ux_work_references_sha256",
        "work_references",
        ["sha256", "work_id"],
        unique=True,
        sqlite_where=sa.text("sha256 IS NOT NULL"),
        postgresql_where=sa.text("sha256 IS NOT NULL"),
    )


def _create_fingerprints() -> None:
    op.create_table(
        "fingerprints",
        sa.Column("scheme_id", sa.Integer, nullable=False),
        sa.Column("first_id", sa.BigInteger, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("reference_id", _uuid(), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("descriptors", sa.LargeBinary, nullable=False),
        sa.Column("spans", sa.LargeBinary),
        sa.Column("quality", sa.LargeBinary),
        sa.Column("regions", sa.LargeBinary),
        sa.PrimaryKeyConstraint("scheme_id", "first_id", name="pk_fingerprints"),
        sa.ForeignKeyConstraint(["scheme_id"], ["schemes.id"], name="fk_fingerprints_scheme_id"),
        sa.ForeignKeyConstraint(
            ["reference_id"], ["work_references.id"], name="fk_fingerprints_reference_id"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ux_fingerprints_reference_id", "fingerprints", ["reference_id", "scheme_id"], unique=True
    )
    op.create_index("ix_fingerprints_sequence", "fingerprints", ["scheme_id", "sequence", "first_id"])
    op.create_table(
        "removals",
        sa.Column("scheme_id", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("first_id", sa.BigInteger, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("scheme_id", "sequence", "first_id", name="pk_removals"),
        sa.ForeignKeyConstraint(["scheme_id"], ["schemes.id"], name="fk_removals_scheme_id"),
        sqlite_with_rowid=False,
    )


def _create_imports() -> None:
    op.create_table(
        "imports",
        sa.Column("id", _uuid()),
        sa.Column("key_id", sa.String(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("pending", sa.Integer, nullable=False),
        sa.Column("created", sa.Integer, nullable=False),
        sa.Column("skipped", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_imports"),
    )
    op.create_index("ix_imports_key_id", "imports", ["key_id", "id"])
    op.create_index("ix_imports_state", "imports", ["state", "id"])
    op.create_table(
        "import_rows",
        sa.Column("import_id", _uuid(), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("work", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("import_id", "number", name="pk_import_rows"),
        sa.ForeignKeyConstraint(["import_id"], ["imports.id"], name="fk_import_rows_import_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_import_rows_state", "import_rows", ["import_id", "state", "number"])
