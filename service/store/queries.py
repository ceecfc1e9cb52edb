"""Reading. Each function works on a connection, in whatever transaction that is in."""

import heapq
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeVar
from uuid import UUID

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    TableValuedAlias,
    Text,
    bindparam,
    column,
    func,
    null,
    select,
    tuple_,
)

from indexers.fingerprint import Fingerprint, Scheme
from service.domain import Counts, DescriptorOwner, IndexChange, Reference, Work
from service.store.codec import load_descriptors, load_fingerprint, load_labels, load_policy
from service.store.schema import counters, fingerprints, removals, schemes, work_references, works

T = TypeVar("T")

_CHUNK = 1000
"""Most ids in one statement; databases limit the number of parameters."""

BEFORE_ALL = UUID(int=0)
"""An id that is smaller than every UUIDv7."""

_COUNTERS = select(counters.c.sequence, counters.c.works, counters.c.work_references)
_DATABASE_ID = select(counters.c.database_id)
_FORGOTTEN = select(schemes.c.forgotten_sequence).where(schemes.c.id == bindparam("scheme_id"))
_WORK = select(works).where(works.c.id == bindparam("id"))
_WORKS_BY_ID = select(works).where(works.c.id.in_(bindparam("ids", expanding=True)))
_WORK_BY_EXTERNAL_ID = select(works).where(
    works.c.external_id == bindparam("external_id"), works.c.owner == bindparam("owner")
)
_REFERENCES_BY_ID = select(work_references).where(work_references.c.id.in_(bindparam("ids", expanding=True)))
_REFERENCES_OF_WORK = select(work_references).where(work_references.c.work_id == bindparam("work_id"))
_REFERENCES_BY_SHA256 = (
    select(work_references)
    .where(work_references.c.sha256 == bindparam("sha256"))
    .order_by(work_references.c.work_id)
    .limit(bindparam("limit"))
)
_REFERENCES_OF_OWNER_BY_SHA256 = _REFERENCES_BY_SHA256.join(
    works, works.c.id == work_references.c.work_id
).where(works.c.owner == bindparam("owner"))
_REFERENCE_IN_WORK = select(work_references).where(
    work_references.c.sha256 == bindparam("sha256"), work_references.c.work_id == bindparam("work_id")
)
_SCHEMES_OF = (
    select(fingerprints.c.reference_id, schemes.c.name)
    .join(schemes, schemes.c.id == fingerprints.c.scheme_id)
    .where(fingerprints.c.reference_id.in_(bindparam("ids", expanding=True)))
)
_FINGERPRINTS_OF = (
    select(
        fingerprints.c.reference_id,
        schemes.c.name,
        fingerprints.c.count,
        fingerprints.c.descriptors,
        fingerprints.c.spans,
        fingerprints.c.quality,
        fingerprints.c.regions,
    )
    .join(schemes, schemes.c.id == fingerprints.c.scheme_id)
    .where(fingerprints.c.reference_id.in_(bindparam("ids", expanding=True)))
)


def sequence(connection: Connection) -> int:
    """The last change."""
    return int(connection.execute(_COUNTERS).one().sequence)


def database_id(connection: Connection) -> str:
    """What tells this database from every other."""
    return str(connection.execute(_DATABASE_ID).scalar_one())


def forgotten_sequence(connection: Connection, scheme_id: int) -> int:
    """The last removal of a scheme that is no longer kept; 0: all are."""
    return int(connection.execute(_FORGOTTEN, {"scheme_id": scheme_id}).scalar_one())


def counts(connection: Connection) -> Counts:
    """How much is registered."""
    row = connection.execute(_COUNTERS).one()
    return Counts(works=row.works, references=row.work_references)


def work(connection: Connection, work_id: UUID) -> Work | None:
    """A work with its references."""
    row = connection.execute(_WORK, {"id": work_id}).one_or_none()
    return None if row is None else _with_references(connection, row)


def work_alone(connection: Connection, work_id: UUID) -> Work | None:
    """A work without its references."""
    row = connection.execute(_WORK, {"id": work_id}).one_or_none()
    return None if row is None else _to_work(row, None)


def work_by_external_id(connection: Connection, owner: str, external_id: str) -> Work | None:
    """An owner's work without its references."""
    key = {"owner": owner, "external_id": external_id}
    row = connection.execute(_WORK_BY_EXTERNAL_ID, key).one_or_none()
    return None if row is None else _to_work(row, None)


def works_by_id(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Work]:
    """Works without their references; missing ones are absent."""
    return {
        row.id: _to_work(row, None)
        for chunk in _chunks(ids)
        for row in connection.execute(_WORKS_BY_ID, {"ids": chunk})
    }


def list_works(
    connection: Connection, *, owner: str | None, external_id: str | None, after: UUID | None, limit: int
) -> list[Work]:
    """A page of works without their references, in order of id."""
    query = select(works).where(works.c.id > (after or BEFORE_ALL)).order_by(works.c.id).limit(limit)
    if owner is not None:
        query = query.where(works.c.owner == owner)
    if external_id is not None:
        query = query.where(works.c.external_id == external_id)
    return [_to_work(row, None) for row in connection.execute(query)]


def references_by_id(connection: Connection, ids: Collection[UUID]) -> dict[UUID, Reference]:
    """References; missing ones are absent."""
    rows = [row for chunk in _chunks(ids) for row in connection.execute(_REFERENCES_BY_ID, {"ids": chunk})]
    return {reference.id: reference for reference in _to_references(connection, rows)}


def references_by_sha256(
    connection: Connection, sha256: bytes, owner: str | None, limit: int
) -> list[Reference]:
    """The references that are this very file, at most one of each work; those of old works first."""
    key = {"sha256": sha256, "limit": limit}
    found = (
        connection.execute(_REFERENCES_BY_SHA256, key)
        if owner is None
        else connection.execute(_REFERENCES_OF_OWNER_BY_SHA256, {**key, "owner": owner})
    )
    return _to_references(connection, found.all())


def reference_in_work(connection: Connection, work_id: UUID, sha256: bytes) -> Reference | None:
    """The reference of a work that is this very file."""
    rows = connection.execute(_REFERENCE_IN_WORK, {"work_id": work_id, "sha256": sha256}).all()
    return next(iter(_to_references(connection, rows)), None)


def fingerprints_of(
    connection: Connection, reference_ids: Collection[UUID], known: Mapping[str, Scheme]
) -> dict[UUID, tuple[Fingerprint, ...]]:
    """The fingerprints of references under known schemes, by scheme; missing references are absent."""
    found: dict[UUID, list[Fingerprint]] = {}
    for chunk in _chunks(reference_ids):
        for reference_id, scheme, count, descriptors, spans, quality, regions in connection.execute(
            _FINGERPRINTS_OF, {"ids": chunk}
        ):
            if scheme in known:
                fingerprint = load_fingerprint(
                    known[scheme],
                    count,
                    descriptors=descriptors,
                    spans=spans,
                    quality=quality,
                    regions=regions,
                )
                found.setdefault(reference_id, []).append(fingerprint)
    return {
        reference_id: tuple(sorted(items, key=lambda item: item.scheme.id))
        for reference_id, items in found.items()
    }


def descriptor_owners(
    connection: Connection, scheme_id: int, ids: npt.NDArray[np.int64], owner: str | None
) -> dict[int, DescriptorOwner]:
    """Whose descriptors these are; ids of deleted fingerprints, and of other owners, are absent."""
    # In two steps: joined into one, SQLite may start from all fingerprints instead of from the ids.
    wanted: list[int] = ids.tolist()
    on_sqlite = connection.dialect.name == "sqlite"
    nearest = connection.execute(
        _FIRST_IDS_SQLITE if on_sqlite else _FIRST_IDS_POSTGRESQL,
        {"scheme_id": scheme_id, "ids": json.dumps(wanted) if on_sqlite else wanted},
    ).all()
    query, key = _FINGERPRINTS_AT, dict[str, Any](scheme_id=scheme_id)
    if owner is not None:
        query, key = _FINGERPRINTS_OF_OWNER_AT, {**key, "owner": owner}
    fingerprint_at = {
        first_id: (count, reference_id, work_id)
        for chunk in _chunks({first_id for _, first_id in nearest if first_id is not None})
        for first_id, count, reference_id, work_id in connection.execute(query, {**key, "first_ids": chunk})
    }
    owners: dict[int, DescriptorOwner] = {}
    for descriptor_id, first_id in nearest:
        if first_id in fingerprint_at:
            count, reference_id, work_id = fingerprint_at[first_id]
            if descriptor_id - first_id < count:
                owners[descriptor_id] = DescriptorOwner(work_id, reference_id, descriptor_id - first_id)
    return owners


def _first_ids_query(wanted: TableValuedAlias) -> Select[Any]:
    """Each id can belong to the fingerprint with the largest first id up to it alone."""
    first_id = (
        select(func.max(fingerprints.c.first_id))
        .where(fingerprints.c.scheme_id == bindparam("scheme_id"), fingerprints.c.first_id <= wanted.c.value)
        .scalar_subquery()
    )
    return select(wanted.c.value, first_id)


_FIRST_IDS_SQLITE = _first_ids_query(
    func.json_each(bindparam("ids", type_=Text)).table_valued(column("value", BigInteger), name="wanted")
)
_FIRST_IDS_POSTGRESQL = _first_ids_query(
    func.unnest(bindparam("ids", type_=ARRAY(BigInteger)))
    .table_valued(column("value", BigInteger), name="wanted")
    .render_derived()
)
_FINGERPRINTS_AT = (
    select(
        fingerprints.c.first_id,
        fingerprints.c.count,
        fingerprints.c.reference_id,
        work_references.c.work_id,
    )
    .join(work_references, work_references.c.id == fingerprints.c.reference_id)
    .where(
        fingerprints.c.scheme_id == bindparam("scheme_id"),
        fingerprints.c.first_id.in_(bindparam("first_ids", expanding=True)),
    )
)
_FINGERPRINTS_OF_OWNER_AT = _FINGERPRINTS_AT.join(works, works.c.id == work_references.c.work_id).where(
    works.c.owner == bindparam("owner")
)


def _changes_query(table: Table, descriptors: ColumnElement[Any]) -> Select[Any]:
    after = tuple_(bindparam("sequence", type_=BigInteger), bindparam("first_id", type_=BigInteger))
    return (
        select(table.c.sequence, table.c.first_id, table.c.count, descriptors)
        .where(
            table.c.scheme_id == bindparam("scheme_id"),
            tuple_(table.c.sequence, table.c.first_id) > after,
            table.c.sequence <= bindparam("until"),
        )
        .order_by(table.c.sequence, table.c.first_id)
        .limit(bindparam("limit"))
    )


_ADDED = _changes_query(fingerprints, fingerprints.c.descriptors)
_REMOVED = _changes_query(removals, null())
_ROWS_AT_ONCE = 500


def changes(
    connection: Connection,
    scheme: Scheme,
    scheme_id: int,
    *,
    after: tuple[int, int],
    until: int,
    batch: int,
) -> list[IndexChange]:
    """The next changes, in rising order of (sequence, first id), that hold about `batch` descriptors.

    Args:
        connection: Where to read.
        scheme: Which scheme.
        scheme_id: Its row.
        after: Sequence and first id of the last change that is known.
        until: Last sequence to be returned.
        batch: Descriptors after which to stop; a single change may hold more.
    """
    key = {"scheme_id": scheme_id, "sequence": after[0], "first_id": after[1], "until": until, "limit": batch}
    options = {"yield_per": _ROWS_AT_ONCE}
    found: list[IndexChange] = []
    room = batch
    with (
        connection.execute(_ADDED, key, execution_options=options) as added,
        connection.execute(_REMOVED, key, execution_options=options) as removed,
    ):
        # A change either adds or removes, so the sequence number alone orders the two.
        for number, first_id, count, stored in heapq.merge(added, removed, key=itemgetter(0)):
            descriptors = None if stored is None else load_descriptors(scheme, count, stored)
            found.append(IndexChange(number, scheme.id, first_id, count, descriptors))
            room -= count
            if room <= 0:
                break
    return found


def _with_references(connection: Connection, row: Row[Any]) -> Work:
    references = _to_references(
        connection, connection.execute(_REFERENCES_OF_WORK, {"work_id": row.id}).all()
    )
    references.sort(key=lambda reference: (reference.sequence, reference.id))
    return _to_work(row, tuple(references))


def _to_work(row: Row[Any], references: tuple[Reference, ...] | None) -> Work:
    return Work(
        id=row.id,
        owner=row.owner,
        external_id=row.external_id,
        title=row.title,
        labels=load_labels(row.labels),
        policy=load_policy(row.policy),
        references=references,
        reference_count=row.reference_count,
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
        sequence=row.sequence,
    )


def _to_references(connection: Connection, rows: Sequence[Row[Any]]) -> list[Reference]:
    """References with the names of their schemes, in the order of the rows."""
    names: dict[UUID, list[str]] = {row.id: [] for row in rows}
    for chunk in _chunks(names):
        for reference_id, name in connection.execute(_SCHEMES_OF, {"ids": chunk}):
            names[reference_id].append(name)
    return [
        Reference(
            id=row.id,
            work_id=row.work_id,
            filename=row.filename,
            modality=row.modality,
            sha256=row.sha256,
            byte_count=row.byte_count,
            schemes=tuple(sorted(names[row.id])),
            created_at=row.created_at,
            sequence=row.sequence,
        )
        for row in rows
    ]


def _chunks(ids: Iterable[T]) -> Iterator[list[T]]:
    everything = list(ids)
    for start in range(0, len(everything), _CHUNK):
        yield everything[start : start + _CHUNK]
