"""The tables. A change here needs a migration; a test holds the two together."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Double,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    text,
)
from sqlalchemy.types import TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Id(TypeDecorator[UUID]):
    """A UUID: 16 bytes in SQLite, the native type in PostgreSQL. Both sort it bytewise."""

    impl = LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type."""
        return dialect.type_descriptor(Uuid() if dialect.name == "postgresql" else LargeBinary(16))

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> object:
        """Turn a UUID into what the driver takes."""
        return value if value is None or dialect.name == "postgresql" else value.bytes

    def process_result_value(self, value: Any | None, dialect: Dialect) -> UUID | None:
        """Turn what the driver gives into a UUID."""
        return value if value is None or dialect.name == "postgresql" else UUID(bytes=value)


class UtcTime(TypeDecorator[datetime]):
    """A moment, kept as microseconds since 1970: exact, small and the same on every backend."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Turn an aware datetime into microseconds; a naive one raises TypeError."""
        return None if value is None else (value - _EPOCH) // _MICROSECOND

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Turn microseconds into an aware datetime."""
        return None if value is None else _EPOCH + timedelta(microseconds=value)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

counters = Table(
    "counters",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("works", BigInteger, nullable=False),
    Column("work_references", BigInteger, nullable=False),
    Column("database_id", String(32), nullable=False),
)
"""One row. Whoever writes locks it first, so that sequence numbers rise in the order of commits.
`database_id` is drawn when the tables are made: indexes tell by it whose changes they hold."""

schemes = Table(
    "schemes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(128), nullable=False),
    Column("next_id", BigInteger, nullable=False),
    Column("forgotten_sequence", BigInteger, nullable=False),
    Index("ux_schemes_name", "name", unique=True),
)
"""The schemes ever used, the next descriptor id of each (an id is never given out twice), and the last
removal that `removals` has no more."""

works = Table(
    "works",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner", String(128), nullable=False),
    Column("external_id", String(255)),
    Column("title", Text, nullable=False),
    Column("labels", Text),
    Column("policy", Text),
    Column("reference_count", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Index("ix_works_owner", "owner", "id"),
    Index(
        "ux_works_external_id",
        "external_id",
        "owner",
        unique=True,
        sqlite_where=text("external_id IS NOT NULL"),
        postgresql_where=text("external_id IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
"""`labels` and `policy` are JSON, NULL for none and for the default."""

work_references = Table(
    "work_references",
    metadata,
    Column("id", Id, primary_key=True),
    Column("work_id", ForeignKey("works.id"), nullable=False),
    Column("filename", Text, nullable=False),
    Column("modality", String(32), nullable=False),
    Column("sha256", LargeBinary(32)),
    Column("byte_count", BigInteger, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("container_id", Id),
    Column("weight", Float),
    Column("lost", Text),
    Index("ix_work_references_work_id", "work_id", "id"),
    Index(
        "ix_work_references_sha256",
        "sha256",
        "work_id",
        sqlite_where=text("sha256 IS NOT NULL"),
        postgresql_where=text("sha256 IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
"""`container_id` is that of the reference, of the same work, that this one is a part of; `weight` is NULL for
1, `lost` where all of it was read. Of references that are no parts, a work has one with a SHA-256 at most."""

fingerprints = Table(
    "fingerprints",
    metadata,
    Column("scheme_id", ForeignKey("schemes.id"), nullable=False),
    Column("first_id", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("reference_id", ForeignKey("work_references.id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("descriptors", LargeBinary, nullable=False),
    Column("spans", LargeBinary),
    Column("quality", LargeBinary),
    Column("regions", LargeBinary),
    PrimaryKeyConstraint("scheme_id", "first_id"),
    Index("ux_fingerprints_reference_id", "reference_id", "scheme_id", unique=True),
    Index("ix_fingerprints_sequence", "scheme_id", "sequence", "first_id"),
    sqlite_with_rowid=False,
)
"""Arrays are row-major and little-endian; NULL where every row has the usual value (see `codec`)."""

removals = Table(
    "removals",
    metadata,
    Column("scheme_id", ForeignKey("schemes.id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("first_id", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    PrimaryKeyConstraint("scheme_id", "sequence", "first_id"),
    sqlite_with_rowid=False,
)
"""Descriptor ids that an index may still hold; dropped when every snapshot is younger."""

responses = Table(
    "responses",
    metadata,
    Column("key_id", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("request_sha256", LargeBinary(32), nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    PrimaryKeyConstraint("key_id", "request_id"),
    Index("ix_responses_created_at", "created_at"),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("owner", String(128)),
    Column("requests_per_minute", BigInteger, nullable=False),
    Column("bytes_per_minute", BigInteger, nullable=False),
    Column("secret_sha256", LargeBinary(32), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("revoked_at", UtcTime),
    Column("name", String(128), nullable=False, server_default=""),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_sha256", LargeBinary(32), primary_key=True),
    Column("key_id", String(64)),
    Column("created_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Index("ix_sessions_key_id", "key_id"),
)
"""Who is signed in to the pages; `key_id` is missing where keys are not asked for. Of the token only its
digest is kept: who reads the database cannot take a session over."""

imports = Table(
    "imports",
    metadata,
    Column("id", Id, primary_key=True),
    Column("key_id", String(64)),
    Column("state", String(16), nullable=False),
    Column("pending", Integer, nullable=False),
    Column("created", Integer, nullable=False),
    Column("skipped", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Index("ix_imports_key_id", "key_id", "id"),
    Index("ix_imports_state", "state", "id"),
)

import_rows = Table(
    "import_rows",
    metadata,
    Column("import_id", ForeignKey("imports.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("work", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String(64), nullable=False),
    Column("message", Text, nullable=False),
    PrimaryKeyConstraint("import_id", "number"),
    Index("ix_import_rows_state", "import_id", "state", "number"),
    sqlite_with_rowid=False,
)
"""Pending and failed rows alone: of the others, the counts in `imports` remain."""

monitoring_lists = Table(
    "monitoring_lists",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner", String(128), nullable=False),
    Column("title", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("items", Text, nullable=False),
    Column("place_count", Integer, nullable=False),
    Column("expires_at", UtcTime),
    Column("next_run_at", UtcTime),
    Column("latest_run", Id),
    Column("revision", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Index("ix_monitoring_lists_owner", "owner", "id"),
    Index("ix_monitoring_lists_next_run_at", "next_run_at"),
)
"""`settings` and `items` are JSON: small values, and works, places and exceptions."""

runs = Table(
    "runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("list_id", ForeignKey("monitoring_lists.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("scheduled", Integer, nullable=False),
    Column("progress", Text, nullable=False),
    Column("crawler", String(128), nullable=False),
    Column("lease_expires_at", UtcTime),
    Column("message", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("updated_at", UtcTime),
    Column("ended_at", UtcTime),
    Index("ix_runs_list_id", "list_id", "id"),
    Index("ix_runs_state", "state", "id"),
)

captures = Table(
    "captures",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run_id", Id, nullable=False),
    Column("list_id", Id, nullable=False),
    Column("owner", String(128), nullable=False),
    Column("content_sha256", LargeBinary(32), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("header", Text, nullable=False),
    Column("captured_at", UtcTime, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)
"""What was handed over; it stays when its list is deleted. `header` is JSON."""

custody_events = Table(
    "custody_events",
    metadata,
    Column("capture_id", ForeignKey("captures.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    PrimaryKeyConstraint("capture_id", "number"),
)
"""Rows are added and never changed; each digest covers the one before."""

contents = Table(
    "contents",
    metadata,
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("modality", String(32)),
    Column("byte_count", BigInteger, nullable=False),
    Column("capture_id", Id, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_contents_state", "state", "created_at"),
)

suspect_fingerprints = Table(
    "suspect_fingerprints",
    metadata,
    Column("scheme_id", ForeignKey("schemes.id"), nullable=False),
    Column("content_sha256", LargeBinary(32), nullable=False),
    Column("descriptor_count", Integer, nullable=False),
    Column("descriptors", LargeBinary, nullable=False),
    Column("spans", LargeBinary),
    Column("quality", LargeBinary),
    Column("views", LargeBinary),
    Column("regions", LargeBinary),
    Column("first_id", BigInteger),
    PrimaryKeyConstraint("scheme_id", "content_sha256"),
    Index("ix_suspect_fingerprints_content_sha256", "content_sha256", "scheme_id"),
    Index("ix_suspect_fingerprints_first_id", "scheme_id", "first_id"),
    sqlite_with_rowid=False,
)
"""As `fingerprints`, of captured contents and, under their keys, of the parts of captured containers; NULL
`views`: view 0 alone. `first_id` is the id of the first descriptor: the change that added it, times
`SUSPECT_IDS`, and its place among the content's descriptors of the scheme."""

SUSPECT_IDS = 2**28
"""Descriptors that one captured content can have of a scheme."""

suspect_removals = Table(
    "suspect_removals",
    metadata,
    Column("scheme_id", ForeignKey("schemes.id"), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("first_id", BigInteger, nullable=False),
    Column("descriptor_count", Integer, nullable=False),
    PrimaryKeyConstraint("scheme_id", "sequence", "first_id"),
    sqlite_with_rowid=False,
)
"""Descriptors of suspects that were erased, and that an index may still hold. They are few, and stay."""

suspect_parts = Table(
    "suspect_parts",
    metadata,
    Column("key", LargeBinary(32), primary_key=True),
    Column("content_sha256", LargeBinary(32), nullable=False),
    Column("number", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("modality", String(32), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("place", Text, nullable=False),
    Column("weight", Double, nullable=False),
    Index("ix_suspect_parts_content_sha256", "content_sha256", "number"),
    Index("ix_suspect_parts_sha256", "sha256"),
    sqlite_with_rowid=False,
)
"""The parts of captured containers. `key` is made of the container's digest and the part's place, `place` is
JSON, `sha256` what the sandbox said of the part's file."""

watches = Table(
    "watches",
    metadata,
    Column("content_sha256", LargeBinary(32), nullable=False),
    Column("list_id", ForeignKey("monitoring_lists.id"), nullable=False),
    Column("run_id", Id, nullable=False),
    Column("state", String(16), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("reports", Integer, nullable=False),
    PrimaryKeyConstraint("content_sha256", "list_id"),
    Index("ix_watches_state", "state", "sequence"),
    Index("ix_watches_list_id", "list_id", "content_sha256"),
    Index("ix_watches_run_id", "run_id", "state"),
    sqlite_with_rowid=False,
)
"""Which lists saw a content: `waiting` until it was read, `ready` to be matched, `matched`, `unreadable`."""

sightings = Table(
    "sightings",
    metadata,
    Column("id", Id, primary_key=True),
    Column("content_sha256", LargeBinary(32), nullable=False),
    Column("list_id", Id, nullable=False),
    Column("place", LargeBinary(16), nullable=False),
    Column("run_id", Id, nullable=False),
    Column("capture_id", Id),
    Column("page_url", Text, nullable=False),
    Column("page_title", Text, nullable=False),
    Column("media_url", Text, nullable=False),
    Column("found_as", String(64), nullable=False),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("last_seen_at", UtcTime, nullable=False),
    Column("uploader", String(255)),
    Index("ux_sightings_place", "content_sha256", "list_id", "place", unique=True),
    Index("ix_sightings_content_sha256", "content_sha256", "id"),
    Index(
        "ix_sightings_uploader",
        "uploader",
        "id",
        sqlite_where=text("uploader IS NOT NULL"),
        postgresql_where=text("uploader IS NOT NULL"),
    ),
)

reports = Table(
    "reports",
    metadata,
    Column("id", Id, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("owner", String(128), nullable=False),
    Column("work_id", Id, nullable=False),
    Column("content_sha256", LargeBinary(32), nullable=False),
    Column("probability", Double, nullable=False),
    Column("match", Text, nullable=False),
    Column("modality", String(32), nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("sighting_count", Integer, nullable=False),
    Column("policy_revision", String(128), nullable=False),
    Column("index_sequence", BigInteger, nullable=False),
    Column("on_registration", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Index("ux_reports_content_sha256", "content_sha256", "work_id", unique=True),
    Index("ix_reports_owner", "owner", "id"),
    Index("ix_reports_work_id", "work_id", "id"),
    Index("ix_reports_sequence", "sequence"),
)
"""One row for a work and a content; it stays when the work is deleted. `match` is JSON and holds no
fingerprints."""

report_lists = Table(
    "report_lists",
    metadata,
    Column("list_id", Id, nullable=False),
    Column("report_id", ForeignKey("reports.id"), nullable=False),
    PrimaryKeyConstraint("list_id", "report_id"),
    Index("ix_report_lists_report_id", "report_id", "list_id"),
    sqlite_with_rowid=False,
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Id, primary_key=True),
    Column("list_id", ForeignKey("monitoring_lists.id"), nullable=False),
    Column("event", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", UtcTime, nullable=False),
    Index("ix_deliveries_next_at", "next_at"),
    Index("ix_deliveries_list_id", "list_id"),
)
"""Events that are still to be posted: delivered ones, and those given up, are dropped."""

registration_marks = Table(
    "registration_marks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("asked", BigInteger, nullable=False),
    Column("asking", BigInteger, nullable=False),
)
"""One row. Works registered up to change `asked` were looked for among all suspects; those up to `asking` are
being looked for: a match of a suspect that has not seen that change is made again."""

recalls = Table(
    "recalls",
    metadata,
    Column("reference_id", Id, primary_key=True),
)
"""References that are suppressed no more, and still have to be looked for among all suspects."""

unfiled_reports = Table(
    "unfiled_reports",
    metadata,
    Column("report_id", Id, primary_key=True),
    sqlite_with_rowid=False,
)
"""Reports from before there were cases. They are put into cases when the database is opened."""

cases = Table(
    "cases",
    metadata,
    Column("id", Id, primary_key=True),
    Column("owner", String(128), nullable=False),
    Column("work_id", Id, nullable=False),
    Column("site", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("outcome", String(16)),
    Column("decision_number", Integer, nullable=False),
    Column("work_title", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("page_url", Text, nullable=False),
    Column("page_title", Text, nullable=False),
    Column("media_url", Text, nullable=False),
    Column("probability", Double, nullable=False),
    Column("modality", String(32), nullable=False),
    Column("report_count", Integer, nullable=False),
    Column("open_count", Integer, nullable=False),
    Column("assignee", String(64)),
    Column("due_at", UtcTime, nullable=False),
    Column("lease_holder", String(64)),
    Column("lease_until", UtcTime),
    Column("revision", Integer, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("reported_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Index("ux_cases_work_id", "work_id", "site", unique=True),
    Index("ix_cases_reported_at", "state", "reported_at", "id"),
    Index("ix_cases_probability", "state", "probability", "id"),
    Index("ix_cases_due_at", "state", "due_at", "id"),
    Index("ix_cases_owner_reported_at", "owner", "state", "reported_at", "id"),
    Index("ix_cases_owner_probability", "owner", "state", "probability", "id"),
    Index("ix_cases_owner_due_at", "owner", "state", "due_at", "id"),
    Index("ix_cases_site", "site", "state"),
    Index("ix_cases_modality", "modality", "state"),
    Index("ix_cases_outcome", "outcome", "state"),
    Index("ix_cases_assignee", "assignee", "state"),
    Index(
        "ix_cases_lease_until",
        "lease_until",
        sqlite_where=text("lease_until IS NOT NULL"),
        postgresql_where=text("lease_until IS NOT NULL"),
    ),
)
"""One row for a work and a site. `revision` is the number of its last event, `decision_number` that of the
decision that stands, 0 for none; a case without a date is due at the end of time."""

case_reports = Table(
    "case_reports",
    metadata,
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("report_id", ForeignKey("reports.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("settled_case_id", Id),
    Column("settled_number", Integer),
    PrimaryKeyConstraint("case_id", "report_id"),
    Index("ix_case_reports_number", "case_id", "number"),
    Index("ix_case_reports_report_id", "report_id", "case_id"),
    Index(
        "ix_case_reports_settled_case_id",
        "settled_case_id",
        sqlite_where=text("settled_case_id IS NOT NULL"),
        postgresql_where=text("settled_case_id IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
"""`number` is that of the event by which a report came into a case: later decisions cover it.
`settled_case_id` and `settled_number` name a decision on the same report in another case that covers it here
too."""

case_lists = Table(
    "case_lists",
    metadata,
    Column("list_id", Id, nullable=False),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    PrimaryKeyConstraint("list_id", "case_id"),
    Index("ix_case_lists_case_id", "case_id", "list_id"),
    sqlite_with_rowid=False,
)

case_words = Table(
    "case_words",
    metadata,
    Column("word", LargeBinary(128), nullable=False),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    PrimaryKeyConstraint("word", "case_id"),
    Index("ix_case_words_case_id", "case_id", "word"),
    sqlite_with_rowid=False,
)
"""Words of titles and sites, folded, in UTF-8: bytes sort alike everywhere, so that words are found by their
beginnings. See `words`."""

decisions = Table(
    "decisions",
    metadata,
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("note", Text, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("batch_id", Id),
    Column("undone_by", Integer),
    PrimaryKeyConstraint("case_id", "number"),
    Index(
        "ix_decisions_batch_id",
        "batch_id",
        sqlite_where=text("batch_id IS NOT NULL"),
        postgresql_where=text("batch_id IS NOT NULL"),
    ),
)

review_events = Table(
    "review_events",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("subject_id", Id, nullable=False),
    Column("owner", String(128), nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", UtcTime, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Index("ux_review_events_subject_id", "subject_id", "number", unique=True),
    Index("ix_review_events_owner", "owner", "id"),
    Index("ix_review_events_actor", "actor", "id"),
)
"""Rows are added and never changed; each digest covers the one before of the same subject."""

examples = Table(
    "examples",
    metadata,
    Column("id", Id, primary_key=True),
    Column("case_id", ForeignKey("cases.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("standing", Integer, nullable=False),
    Column("report_id", Id, nullable=False),
    Column("owner", String(128), nullable=False),
    Column("work_id", Id, nullable=False),
    Column("reference_id", Id, nullable=False),
    Column("content_sha256", LargeBinary(32), nullable=False),
    Column("modality", String(32), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("is_copy", Integer, nullable=False),
    Column("probability", Double, nullable=False),
    Column("signals", Text, nullable=False),
    Column("lists", Text, nullable=False),
    Column("policy_revision", String(128), nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_examples_case_id", "case_id", "number"),
    Index("ix_examples_owner", "owner", "id"),
)
"""Reports as they were when they were decided. `standing` is 0 while another decision, or none, stands;
`lists` is JSON: those that had led to the case."""

tallies = Table(
    "tallies",
    metadata,
    Column("owner", String(128), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("second", BigInteger, nullable=False),
    PrimaryKeyConstraint("owner", "kind", "name"),
    Index("ix_tallies_first", "owner", "kind", "first", "name"),
    Index("ix_tallies_second", "owner", "kind", "second", "name"),
    sqlite_with_rowid=False,
)
"""Counts that are kept up to date with what they count, of each owner and, under an empty one, of all. See
`service.store.tallies`."""

suppressions = Table(
    "suppressions",
    metadata,
    Column("subject_id", Id, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("work_id", ForeignKey("works.id"), nullable=False),
    Column("owner", String(128), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("note", Text, nullable=False),
    Column("at", UtcTime, nullable=False),
    Index("ix_suppressions_work_id", "work_id"),
    Index("ix_suppressions_at", "at"),
)
"""References and works whose matches are kept back; erased with the work."""

saved_views = Table(
    "saved_views",
    metadata,
    Column("id", Id, primary_key=True),
    Column("actor", String(64), nullable=False),
    Column("title", String(255), nullable=False),
    Column("query", Text, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    Index("ux_saved_views_actor", "actor", "title", unique=True),
)
preview_sets = Table(
    "preview_sets",
    metadata,
    Column("subject", LargeBinary(32), primary_key=True),
    Column("work_id", Id),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("modality", String(32), nullable=False),
    Column("source_sha256", LargeBinary(32)),
    Column("source_bytes", BigInteger),
    Column("source_place", Text),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_preview_sets_work_id", "work_id"),
    Index("ix_preview_sets_state", "state", "created_at"),
    Index("ix_preview_sets_source_sha256", "source_sha256"),
    sqlite_with_rowid=False,
)
"""`subject` is a reference's id (16 bytes), or a content's SHA-256 or a part's key (32 bytes); `work_id` is
NULL for these. What a reference's preview is still to be made of is kept as the file `source_sha256`;
`source_place` is JSON: where in that container it is, and its size."""

preview_files = Table(
    "preview_files",
    metadata,
    Column("subject", LargeBinary(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("characters", Integer, nullable=False),
    Column("whole", Integer, nullable=False),
    PrimaryKeyConstraint("subject", "kind"),
    Index("ix_preview_files_sha256", "sha256"),
    sqlite_with_rowid=False,
)

erasures = Table(
    "erasures",
    metadata,
    Column("sha256", LargeBinary(32), primary_key=True),
    Column("created_at", UtcTime, nullable=False),
    sqlite_with_rowid=False,
)
"""Files of previews that may not be needed any more: erased soon, unless something needs them."""
