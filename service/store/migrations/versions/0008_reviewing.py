"""Names of keys; leases by their end; decisions counted by what they say; references to be looked for again.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COUNT = """
INSERT INTO tallies (owner, kind, name, first, second)
SELECT {owner}, 'outcome', decisions.outcome, count(*), count(decisions.undone_by)
FROM decisions JOIN cases ON cases.id = decisions.case_id GROUP BY {by}decisions.outcome
"""


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("name", sa.String(128), nullable=False, server_default=""))
    op.create_index(
        "ix_cases_lease_until",
        "cases",
        ["lease_until"],
        sqlite_where=sa.text("lease_until IS NOT NULL"),
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    )
    op.create_table(
        "recalls",
        sa.Column("reference_id", sa.LargeBinary(16).with_variant(sa.Uuid(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("reference_id", name="pk_recalls"),
    )
    op.execute(_COUNT.format(owner="''", by=""))
    op.execute(_COUNT.format(owner="cases.owner", by="cases.owner, "))
