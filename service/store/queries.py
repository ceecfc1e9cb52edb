"""Reading. Each function works on a connection, in whatever transaction that is in."""

import heapq
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Select,
    Table,
    TableValuedAlias,
    Text,
    and_,
    bindparam,
    column,
    exists,
    func,
    null,
    select,
    tuple_,
)

from indexers.fingerprint import Fingerprint, Scheme
from service.domain import (
    CONTAINER,
    Counts,
    DescriptorOwner,
    Holding,
    IndexChange,
    Reference,
    Registered,
    Work,
)
from service.store.codec import (
    load_descriptors,
    load_fingerprint,
    load_labels,
    load_lost,
    load_policy,
)
from service.store.prepared import Query
from service.store.schema import (
    counters,
    fingerprints,
    removals,
    schemes,
    suppressions,
    work_references,
    works,
)

_SIZES = (1, 4, 16, 64, 256, 1000)
"""Numbers of ids that statements take; databases limit the number of parameters."""

_SEPARATOR = "\n"
"""Between the names of a reference's schemes."""

BEFORE_ALL = UUID(int=0)
"""An id that is smaller than every UUIDv7."""

_COUNTERS = select(counters.c.sequence, counters.c.works, counters.c.work_references)
_SEQUENCE = Query(select(counters.c.sequence))
_DATABASE_ID = select(counters.c.database_id)
_FORGOTTEN = select(schemes.c.forgotten_sequence).where(schemes.c.id == bindparam("scheme_id"))
_WORK = select(works).where(works.c.id == bindparam("id"))
_WORK_BY_EXTERNAL_ID = select(works).where(
    works.c.external_id == bindparam("external_id"), works.c.owner == bindparam("owner")
)
_SCHEMES_OF_REFERENCE = (
    select(func.aggregate_strings(schemes.c.name, _SEPARATOR))
    .select_from(fingerprints.join(schemes, schemes.c.id == fingerprints.c.scheme_id))
    .where(fingerprints.c.reference_id == work_references.c.id)
    .scalar_subquery()
)
_REFERENCES = select(work_references, _SCHEMES_OF_REFERENCE.label("schemes"))
_REFERENCE_COLUMNS = len(_REFERENCES.selected_columns)
_REFERENCES_OF_WORK = _REFERENCES.where(work_references.c.work_id == bindparam("work_id"))
_BY_SHA256 = (
    select(work_references.c.id)
    .where(work_references.c.sha256 == bindparam("sha256"))
    .order_by(work_references.c.work_id)
    .limit(bindparam("limit"))
)
_REFERENCES_BY_SHA256 = Query(_BY_SHA256)
_REFERENCES_OF_OWNER_BY_SHA256 = Query(
    _BY_SHA256.join(works, works.c.id == work_references.c.work_id).where(works.c.owner == bindparam("owner"))
)
_REFERENCE_IN_WORK = _REFERENCES.where(
    work_references.c.sha256 == bindparam("sha256"),
    work_references.c.work_id == bindparam("work_id"),
    work_references.c.container_id.is_(None),
)
_HOLDINGS = select(
    work_references.c.work_id,
    work_references.c.container_id,
    work_references.c.modality,
    func.count(),
    func.sum(func.coalesce(work_references.c.weight, 1.0)),
).group_by(work_references.c.work_id, work_references.c.container_id, work_references.c.modality)


class _ByIds:
    """A query for the rows with some ids, as one statement for each of a few numbers of ids.

    An expanding IN would be rendered anew each time, which costs more than to run it. Where there are fewer
    ids than a statement takes, the last one fills it up.
    """

    def __init__(self, query: Select[Any], ids: Column[UUID]) -> None:
        self._statements = {
            size: Query(query.where(ids.in_([bindparam(f"id_{i}", type_=ids.type) for i in range(size)])))
            for size in _SIZES
        }

    def rows(
        self, connection: Connection, ids: Collection[UUID], **others: object
    ) -> Iterator[Sequence[Any]]:
        """The rows with these ids, in no particular order; `others` are the query's own parameters."""
        wanted = list(ids)
        for start in range(0, len(wanted), _SIZES[-1]):
            chunk = wanted[start : start + _SIZES[-1]]
            size = next(size for size in _SIZES if size >= len(chunk))
            chunk += chunk[-1:] * (size - len(chunk))
            key = {f"id_{i}": one for i, one in enumerate(chunk)}
            yield from self._statements[size].rows(connection, {**others, **key})


_WORKS_BY_ID = _ByIds(select(works), works.c.id)
_HOLDINGS_OF = _ByIds(_HOLDINGS, work_references.c.work_id)
_REFERENCES_BY_ID = _ByIds(_REFERENCES, work_references.c.id)
_HELD_BACK = exists().where(
    suppressions.c.subject_id.in_([work_references.c.id, work_references.c.container_id, works.c.id])
)
_REGISTERED_BY_ID = _ByIds(
    _REFERENCES.join(works, works.c.id == work_references.c.work_id).add_columns(
        _HELD_BACK.label("suppressed"), *works.c
    ),
    work_references.c.id,
)
_SCHEMES_AT_ONCE = 8
_FINGERPRINTS_OF = _ByIds(
    select(
        fingerprints.c.reference_id,
        fingerprints.c.scheme_id,
        fingerprints.c.count,
        fingerprints.c.descriptors,
        fingerprints.c.spans,
        fingerprints.c.quality,
        fingerprints.c.regions,
        # Plus nothing, so that databases start from the references: SQLite would walk through whole schemes.
    ).where((fingerprints.c.scheme_id + 0).in_([bindparam(f"scheme_{i}") for i in range(_SCHEMES_AT_ONCE)])),
    fingerprints.c.reference_id,
)


def sequence(connection: Connection) -> int:
    """The last change."""
    ((last,),) = _SEQUENCE.rows(connection, {})
    return int(last)


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
    return {row[0]: _to_work(row, None) for row in _WORKS_BY_ID.rows(connection, ids)}


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
    return {row[0]: _to_reference(row) for row in _REFERENCES_BY_ID.rows(connection, ids)}


def registered_by_id(connection: Connection, ids: Collection[UUID]) -> list[Registered]:
    """References with their works; missing ones are absent."""
    found: list[Registered] = []
    known: dict[UUID, Work] = {}
    for row in _REGISTERED_BY_ID.rows(connection, ids):
        reference, stored = _to_reference(row[:_REFERENCE_COLUMNS]), row[_REFERENCE_COLUMNS + 1 :]
        work = known.get(reference.work_id) or _to_work(stored, None)
        known[reference.work_id] = work
        found.append(Registered(reference, work, suppressed=row[_REFERENCE_COLUMNS]))
    return found


def references_by_sha256(connection: Connection, sha256: bytes, owner: str | None, limit: int) -> list[UUID]:
    """The references that are this very file; those of old works first."""
    key = {"sha256": sha256, "limit": limit}
    found = (
        _REFERENCES_BY_SHA256.rows(connection, key)
        if owner is None
        else _REFERENCES_OF_OWNER_BY_SHA256.rows(connection, {**key, "owner": owner})
    )
    return [reference_id for (reference_id,) in found]


def reference_in_work(connection: Connection, work_id: UUID, sha256: bytes) -> Reference | None:
    """The reference of a work that is this very file, parts of containers left aside."""
    row = connection.execute(_REFERENCE_IN_WORK, {"work_id": work_id, "sha256": sha256}).one_or_none()
    if row is None:
        return None
    found = _to_reference(row)
    if found.modality != CONTAINER:
        return found
    holdings = holdings_of(connection, [work_id])[work_id]
    counts = {one.modality: one.count for one in holdings if one.container_id == found.id}
    return replace(found, part_counts=counts)


def holdings_of(connection: Connection, work_ids: Collection[UUID]) -> dict[UUID, list[Holding]]:
    """What works hold, by container and kind of media; works without references are absent."""
    found: dict[UUID, list[Holding]] = {}
    for work_id, container_id, modality, count, weight in _HOLDINGS_OF.rows(connection, work_ids):
        found.setdefault(work_id, []).append(Holding(container_id, modality, count, float(weight)))
    return found


def fingerprints_of(
    connection: Connection, reference_ids: Collection[UUID], known: Mapping[int, Scheme]
) -> dict[UUID, tuple[Fingerprint, ...]]:
    """The fingerprints of references, by scheme; missing references are absent.

    Args:
        connection: Where to read.
        reference_ids: Which references.
        known: The schemes wanted, by their rows.
    """
    found: dict[UUID, list[Fingerprint]] = {}
    wanted = list(known)
    for start in range(0, len(wanted), _SCHEMES_AT_ONCE):
        some = wanted[start : start + _SCHEMES_AT_ONCE]
        some += some[-1:] * (_SCHEMES_AT_ONCE - len(some))
        key = {f"scheme_{i}": row for i, row in enumerate(some)}
        for reference_id, scheme_id, count, descriptors, spans, quality, regions in _FINGERPRINTS_OF.rows(
            connection, reference_ids, **key
        ):
            fingerprint = load_fingerprint(
                known[scheme_id],
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
    wanted: list[int] = ids.tolist()
    on_sqlite = connection.dialect.name == "sqlite"
    key = {"scheme_id": scheme_id, "ids": json.dumps(wanted) if on_sqlite else wanted, "owner": owner}
    queries = _OWNERS_SQLITE if on_sqlite else _OWNERS_POSTGRESQL
    return {
        descriptor_id: DescriptorOwner(work_id, reference_id, first_id, count)
        for descriptor_id, first_id, count, reference_id, work_id in queries[owner is not None].rows(
            connection, key
        )
        if work_id is not None and descriptor_id - first_id < count
    }


def _owners_query(wanted: TableValuedAlias, *, of_owner: bool) -> Select[Any]:
    """Whose the wanted ids are: each can belong to the fingerprint with the largest first id up to it alone.

    The outer joins keep databases from starting with all fingerprints, or all works, instead of the ids.
    """
    earlier = fingerprints.alias("earlier")
    first_id = (
        select(func.max(earlier.c.first_id))
        .where(earlier.c.scheme_id == bindparam("scheme_id"), earlier.c.first_id <= wanted.c.value)
        .scalar_subquery()
    )
    found = wanted.outerjoin(
        fingerprints,
        and_(fingerprints.c.scheme_id == bindparam("scheme_id"), fingerprints.c.first_id == first_id),
    ).outerjoin(work_references, work_references.c.id == fingerprints.c.reference_id)
    work_id: ColumnElement[UUID] = work_references.c.work_id
    if of_owner:
        found = found.outerjoin(
            works, and_(works.c.id == work_references.c.work_id, works.c.owner == bindparam("owner"))
        )
        work_id = works.c.id
    return select(
        wanted.c.value, fingerprints.c.first_id, fingerprints.c.count, fingerprints.c.reference_id, work_id
    ).select_from(found)


_WANTED_SQLITE = func.json_each(bindparam("ids", type_=Text)).table_valued(
    column("value", BigInteger), name="wanted"
)
_WANTED_POSTGRESQL = (
    func.unnest(bindparam("ids", type_=ARRAY(BigInteger)))
    .table_valued(column("value", BigInteger), name="wanted")
    .render_derived()
)
_OWNERS_SQLITE, _OWNERS_POSTGRESQL = (
    {of_owner: Query(_owners_query(wanted, of_owner=of_owner)) for of_owner in (False, True)}
    for wanted in (_WANTED_SQLITE, _WANTED_POSTGRESQL)
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


def _with_references(connection: Connection, row: Sequence[Any]) -> Work:
    found = connection.execute(_REFERENCES_OF_WORK, {"work_id": row[0]})
    references = sorted(
        (_to_reference(reference) for reference in found),
        key=lambda reference: (reference.sequence, reference.id),
    )
    counts: dict[UUID, Counter[str]] = defaultdict(Counter)
    for reference in references:
        if reference.container_id is not None:
            counts[reference.container_id][reference.modality] += 1
    return _to_work(row, tuple(replace(one, part_counts=counts.get(one.id, {})) for one in references))


def _to_work(row: Sequence[Any], references: tuple[Reference, ...] | None) -> Work:
    """A work from the columns of `works`."""
    work_id, owner, external_id, title, labels, policy = row[:6]
    reference_count, revision, created_at, updated_at, number = row[6:]
    return Work(
        id=work_id,
        owner=owner,
        external_id=external_id,
        title=title,
        labels=load_labels(labels),
        policy=load_policy(policy),
        references=references,
        reference_count=reference_count,
        revision=revision,
        created_at=created_at,
        updated_at=updated_at,
        sequence=number,
    )


def _to_reference(row: Sequence[Any]) -> Reference:
    """A reference from the columns of `_REFERENCES`."""
    reference_id, work_id, filename, modality, sha256, byte_count, created_at, number, *rest = row
    container_id, weight, lost, names = rest
    return Reference(
        id=reference_id,
        work_id=work_id,
        filename=filename,
        modality=modality,
        sha256=sha256,
        byte_count=byte_count,
        schemes=tuple(sorted(names.split(_SEPARATOR))) if names else (),
        created_at=created_at,
        sequence=number,
        container_id=container_id,
        weight=1.0 if weight is None else weight,
        lost=load_lost(lost),
    )
