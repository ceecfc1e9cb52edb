"""The statements that write works. `Transaction` decides what they write, and when."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from indexers.fingerprint import Fingerprint
from service.domain import Reference, StoredResponse, Work
from service.store.codec import (
    dump_descriptors,
    dump_labels,
    dump_lost,
    dump_policy,
    dump_quality,
    dump_regions,
    dump_spans,
)
from service.store.schema import (
    counters,
    fingerprints,
    removals,
    responses,
    schemes,
    work_references,
    works,
)

_LOCK_COUNTERS = select(counters.c.sequence, counters.c.works, counters.c.work_references).with_for_update()
_SET_COUNTERS = update(counters)
_SCHEMES = select(schemes.c.name, schemes.c.id, schemes.c.next_id)
_SET_NEXT_ID = (
    update(schemes).where(schemes.c.name == bindparam("scheme")).values(next_id=bindparam("new_next_id"))
)
_ID_BY_EXTERNAL_ID = select(works.c.id).where(
    works.c.external_id == bindparam("external_id"), works.c.owner == bindparam("owner")
)
_INSERT_WORK = insert(works)
_INSERT_REFERENCE = insert(work_references)
_INSERT_FINGERPRINT = insert(fingerprints)
_INSERT_REMOVAL = insert(removals)
_SET_WORK = update(works).where(works.c.id == bindparam("work_id"))
_OF_WORK = fingerprints.c.reference_id.in_(
    select(work_references.c.id).where(work_references.c.work_id == bindparam("work_id"))
)
_FINGERPRINTS_OF_WORK = (
    select(schemes.c.name, fingerprints.c.scheme_id, fingerprints.c.first_id, fingerprints.c.count)
    .join(schemes, schemes.c.id == fingerprints.c.scheme_id)
    .where(_OF_WORK)
)
_DELETE_FINGERPRINTS = delete(fingerprints).where(_OF_WORK)
_DELETE_REFERENCES = delete(work_references).where(work_references.c.work_id == bindparam("work_id"))
_DELETE_WORK = delete(works).where(works.c.id == bindparam("work_id"))
_INSERT_RESPONSE = insert(responses)
_FIND_RESPONSE = select(responses.c.request_sha256, responses.c.response).where(
    responses.c.key_id == bindparam("key_id"), responses.c.request_id == bindparam("request_id")
)


class SchemeRow(NamedTuple):
    """A scheme's row, and the next descriptor id that it gives out."""

    id: int
    next_id: int


class PlacedFingerprint(NamedTuple):
    """A fingerprint and where it goes."""

    reference_id: UUID
    scheme_id: int
    first_id: int
    fingerprint: Fingerprint


def lock_counters(connection: Connection) -> tuple[int, int, int]:
    """Take the write lock; return the last sequence number, and how many works and references there are."""
    sequence, work_count, reference_count = connection.execute(_LOCK_COUNTERS).one()
    return sequence, work_count, reference_count


def set_counters(connection: Connection, sequence: int, work_count: int, reference_count: int) -> None:
    """Write the counters back."""
    connection.execute(
        _SET_COUNTERS, {"sequence": sequence, "works": work_count, "work_references": reference_count}
    )


def scheme_rows(connection: Connection) -> dict[str, SchemeRow]:
    """Every scheme's row, by scheme id."""
    return {name: SchemeRow(scheme_id, next_id) for name, scheme_id, next_id in connection.execute(_SCHEMES)}


def set_next_ids(connection: Connection, next_ids: Mapping[str, int]) -> None:
    """Write the next descriptor ids back, by scheme id."""
    connection.execute(
        _SET_NEXT_ID, [{"scheme": scheme, "new_next_id": next_id} for scheme, next_id in next_ids.items()]
    )


def id_by_external_id(connection: Connection, owner: str, external_id: str) -> UUID | None:
    """The work of an owner that has an external id."""
    key = {"owner": owner, "external_id": external_id}
    return connection.execute(_ID_BY_EXTERNAL_ID, key).scalar_one_or_none()


def insert_work(connection: Connection, work: Work) -> None:
    """Insert a work without its references."""
    connection.execute(
        _INSERT_WORK,
        {
            "id": work.id,
            "owner": work.owner,
            "external_id": work.external_id,
            "title": work.title,
            "labels": dump_labels(work.labels),
            "policy": dump_policy(work.policy),
            "reference_count": work.reference_count,
            "revision": work.revision,
            "created_at": work.created_at,
            "updated_at": work.updated_at,
            "sequence": work.sequence,
        },
    )


def insert_references(connection: Connection, references: Sequence[Reference]) -> None:
    """Insert references (at least one) without their fingerprints."""
    connection.execute(
        _INSERT_REFERENCE,
        [
            {
                "id": reference.id,
                "work_id": reference.work_id,
                "filename": reference.filename,
                "modality": reference.modality,
                "sha256": reference.sha256,
                "byte_count": reference.byte_count,
                "created_at": reference.created_at,
                "sequence": reference.sequence,
                "container_id": reference.container_id,
                "weight": None if reference.weight == 1.0 else reference.weight,
                "lost": dump_lost(reference.lost),
            }
            for reference in references
        ],
    )


def insert_fingerprints(connection: Connection, placed: Sequence[PlacedFingerprint], sequence: int) -> None:
    """Insert fingerprints (at least one)."""
    connection.execute(
        _INSERT_FINGERPRINT,
        [
            {
                "scheme_id": scheme_id,
                "first_id": first_id,
                "count": len(fingerprint),
                "reference_id": reference_id,
                "sequence": sequence,
                "descriptors": dump_descriptors(fingerprint),
                "spans": dump_spans(fingerprint.spans),
                "quality": dump_quality(fingerprint.quality),
                "regions": dump_regions(fingerprint.regions),
            }
            for reference_id, scheme_id, first_id, fingerprint in placed
        ],
    )


def set_work(connection: Connection, work_id: UUID, **values: object) -> None:
    """Change columns of a work."""
    connection.execute(_SET_WORK, {"work_id": work_id, **values})


def erase_work(connection: Connection, work_id: UUID, sequence: int) -> list[tuple[str, int, int]]:
    """Erase a work with all that belongs to it, and note which descriptors go.

    Returns:
        Scheme id, first descriptor id and count of each fingerprint, in rising order.
    """
    key = {"work_id": work_id}
    gone = connection.execute(_FINGERPRINTS_OF_WORK, key).all()
    if gone:
        connection.execute(
            _INSERT_REMOVAL,
            [
                {"scheme_id": scheme_id, "sequence": sequence, "first_id": first_id, "count": count}
                for _, scheme_id, first_id, count in gone
            ],
        )
        connection.execute(_DELETE_FINGERPRINTS, key)
    connection.execute(_DELETE_REFERENCES, key)
    connection.execute(_DELETE_WORK, key)
    return sorted((scheme, first_id, count) for scheme, _, first_id, count in gone)


def find_response(connection: Connection, key_id: str, request_id: str) -> StoredResponse | None:
    """What a request id was answered with."""
    key = {"key_id": key_id, "request_id": request_id}
    row = connection.execute(_FIND_RESPONSE, key).one_or_none()
    return None if row is None else StoredResponse(row.request_sha256, row.response)


def insert_response(connection: Connection, key_id: str, request_id: str, stored: StoredResponse) -> None:
    """Remember what a request id was answered with."""
    connection.execute(
        _INSERT_RESPONSE,
        {
            "key_id": key_id,
            "request_id": request_id,
            "request_sha256": stored.request_sha256,
            "response": stored.response,
            "created_at": datetime.now(UTC),
        },
    )
