"""Writing: what may change in one step, and what that means for the indexes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from uuid_utils.compat import uuid7

from indexers.fingerprint import Fingerprint, Scheme
from service.domain import (
    Import,
    ImportRow,
    ImportState,
    IndexChange,
    NewReference,
    NewWork,
    Reference,
    RowState,
    StoredResponse,
    Work,
    WorkChange,
)
from service.errors import (
    AlreadyExistsError,
    BusyError,
    InvalidRequestError,
    NotFoundError,
    StaleError,
    StorageFullError,
)
from service.store import importing, queries, writing
from service.store.captures import CaptureWriter
from service.store.cases import CaseWriter
from service.store.codec import dump_labels, dump_policy
from service.store.database import DISK_WAS_FULL
from service.store.lists import ListWriter
from service.store.previews import PreviewWriter
from service.store.reports import ReportWriter
from service.store.review import ReviewWriter
from service.store.writing import PlacedFingerprint

MAX_REFERENCES = 10_000
"""Most references of one work, parts of containers among them."""


@dataclass(frozen=True, slots=True)
class _Tally:
    """The counters as the transaction has moved them so far."""

    sequence: int
    works: int
    references: int
    next_ids: dict[str, int] = field(default_factory=dict)


class Transaction:
    """One write transaction; `Store.transaction` makes them. For one thread at a time."""

    def __init__(
        self, connection: Connection, known: Mapping[str, Scheme], scheme_ids: Mapping[str, int]
    ) -> None:
        """Take the write lock.

        Args:
            connection: In a transaction of its own, that the caller commits after `finish`.
            known: The schemes that this version knows, by id.
            scheme_ids: Their rows.
        """
        self._connection = connection
        connection.info.pop(DISK_WAS_FULL, None)
        self._tally = self._stored = _Tally(*writing.lock_counters(connection))
        self.started_at = self._tally.sequence
        """The last sequence number before this transaction."""
        self._schemes = writing.scheme_rows(connection)
        self._changes: list[IndexChange] = []
        self.lists = ListWriter(connection, self._next_sequence)
        """Monitoring lists and runs."""
        self.cases = CaseWriter(connection)
        """Cases that reports are in."""
        self.reviews = ReviewWriter(connection, self.cases)
        """Decisions, and what follows from them."""
        self.captures = CaptureWriter(connection, known, scheme_ids, self._next_sequence, self.cases)
        """Captures and suspects."""
        self.reports = ReportWriter(connection, self._next_sequence, self.cases)
        """Match reports."""
        self.previews = PreviewWriter(connection)
        """What people are shown."""

    @property
    def changes(self) -> Sequence[IndexChange]:
        """What the transaction means for the indexes once it is committed, in order."""
        return self._changes

    @property
    def sequence(self) -> int:
        """The last sequence number that was given out."""
        return self._tally.sequence

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what is done inside, and nothing else, if an error leaves it; the error goes on.

        A full disk and a lost connection are the exceptions: the database has given up the transaction,
        or may have, so it fails as a whole when it ends, whatever became of the error.

        Raises:
            StorageFullError: If the disk was full earlier in the transaction.
            BusyError: If the connection was lost earlier in the transaction.
        """
        self._check_usable()
        tally, change_count = self._tally, len(self._changes)
        self._connection.exec_driver_sql("SAVEPOINT item")
        try:
            yield
        except BaseException:
            self._tally = tally
            del self._changes[change_count:]
            if not self._connection.invalidated and DISK_WAS_FULL not in self._connection.info:
                self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT item")
                self._connection.exec_driver_sql("RELEASE SAVEPOINT item")
            raise
        self._connection.exec_driver_sql("RELEASE SAVEPOINT item")

    def finish(self) -> None:
        """Write the counters back; the commit follows.

        Raises:
            StorageFullError: If the disk was full at some point: nothing may be committed.
            BusyError: If the connection was lost at some point: nothing can be committed.
        """
        self._check_usable()
        if self._tally is self._stored:
            return
        writing.set_counters(
            self._connection, self._tally.sequence, self._tally.works, self._tally.references
        )
        if self._tally.next_ids:
            writing.set_next_ids(self._connection, self._tally.next_ids)

    def create_work(self, work: NewWork, references: Sequence[NewReference]) -> Work:
        """Register a work with its references, as one change.

        Of references with the same SHA-256 the first is kept. Every fingerprint is of a scheme that the
        store was opened with.

        Raises:
            AlreadyExistsError: If the owner has a work with this external id; metadata `work` names it.
            InvalidRequestError: If these are more than `MAX_REFERENCES` references.
        """
        self._check_external_id(work.owner, work.external_id)
        distinct = _distinct(references)
        _check_room(0, distinct)
        now = datetime.now(UTC)
        created = Work(
            id=uuid7(),
            owner=work.owner,
            external_id=work.external_id,
            title=work.title,
            labels=dict(work.labels),
            policy=work.policy,
            references=(),
            reference_count=_count(distinct),
            revision=1,
            created_at=now,
            updated_at=now,
            sequence=self._tally.sequence + 1,
        )
        writing.insert_work(self._connection, created)
        registered = self._insert_references(created, distinct, created.sequence, now)
        self._tally = replace(
            self._tally,
            sequence=created.sequence,
            works=self._tally.works + 1,
            references=self._tally.references + created.reference_count,
        )
        return replace(created, references=registered)

    def get_work(self, work_id: UUID) -> Work:
        """A work without its references.

        Raises:
            NotFoundError: If there is no such work.
        """
        return self._work(work_id)

    def find_work(self, owner: str, external_id: str) -> Work | None:
        """An owner's work without its references."""
        return queries.work_by_external_id(self._connection, owner, external_id)

    def add_reference(self, work_id: UUID, reference: NewReference) -> tuple[Reference, bool]:
        """Add a reference to a work, unless the work has this very file.

        Returns:
            The reference, and whether it was there before.

        Raises:
            NotFoundError: If there is no such work.
            InvalidRequestError: If the work would have more than `MAX_REFERENCES` references.
        """
        work = self._work(work_id)
        if reference.sha256 is not None:
            present = queries.reference_in_work(self._connection, work_id, reference.sha256)
            if present is not None:
                return present, True
        _check_room(work.reference_count, [reference])
        now = datetime.now(UTC)
        sequence = self._tally.sequence + 1
        (added,) = self._insert_references(work, [reference], sequence, now)
        count = _count([reference])
        self._set_work(work, sequence, now, reference_count=work.reference_count + count)
        self._tally = replace(self._tally, sequence=sequence, references=self._tally.references + count)
        return added, False

    def update_work(self, work_id: UUID, change: WorkChange, *, revision: int | None) -> Work:
        """Change a work's fields; an empty external id takes it away.

        Previews that the new policy does not want are erased.

        Args:
            work_id: Which work.
            change: The new values.
            revision: What the work's revision must be; None: anything.

        Returns:
            The work with its references.

        Raises:
            NotFoundError: If there is no such work.
            StaleError: If the work has another revision.
            AlreadyExistsError: If another work of the owner has the external id.
        """
        work = self._work(work_id, revision)
        values: dict[str, Any] = {}
        if change.external_id is not None:
            values["external_id"] = change.external_id or None
            if values["external_id"] != work.external_id:
                self._check_external_id(work.owner, values["external_id"])
        if change.title is not None:
            values["title"] = change.title
        if change.labels is not None:
            values["labels"] = dump_labels(change.labels)
        if change.policy is not None:
            values["policy"] = dump_policy(change.policy)
        sequence, now = self._tally.sequence + 1, datetime.now(UTC)
        if change.policy is not None and work.policy.previews and not change.policy.previews:
            self.previews.erase_of_work(work_id, now, keep_rows=True)
        self._set_work(work, sequence, now, **values)
        self._tally = replace(self._tally, sequence=sequence)
        return _present(queries.work(self._connection, work_id), work_id)

    def delete_work(self, work_id: UUID, *, revision: int | None) -> int:
        """Erase a work with its references, fingerprints and previews.

        Args:
            work_id: Which work.
            revision: What the work's revision must be; None: anything.

        Returns:
            The sequence number of the deletion.

        Raises:
            NotFoundError: If there is no such work.
            StaleError: If the work has another revision.
        """
        work = self._work(work_id, revision)
        sequence = self._tally.sequence + 1
        self.reviews.forget_work(work_id)
        self.previews.erase_of_work(work_id, datetime.now(UTC))
        self._changes += [
            IndexChange(sequence, scheme, first_id, count, None)
            for scheme, first_id, count in writing.erase_work(self._connection, work_id, sequence)
        ]
        self._tally = replace(
            self._tally,
            sequence=sequence,
            works=self._tally.works - 1,
            references=self._tally.references - work.reference_count,
        )
        return sequence

    def find_response(self, key_id: str, request_id: str) -> StoredResponse | None:
        """What a request id was answered with."""
        return writing.find_response(self._connection, key_id, request_id)

    def keep_response(self, key_id: str, request_id: str, stored: StoredResponse) -> None:
        """Remember what a request id was answered with. It must be new: see `find_response`."""
        writing.insert_response(self._connection, key_id, request_id, stored)

    def create_import(self, key_id: str | None, rows: Sequence[ImportRow]) -> Import:
        """Keep the rows of an import, pending or failed already; one without pending rows is done at once."""
        return importing.create(self._connection, key_id, rows)

    def finish_row(
        self, import_id: UUID, number: int, state: RowState, *, reason: str = "", message: str = ""
    ) -> None:
        """Count a row as finished; the last one makes the import DONE.

        Raises:
            NotFoundError: If the row is not pending: it was finished before, or the import was cancelled.
        """
        importing.finish_row(self._connection, import_id, number, state, reason=reason, message=message)

    def set_import_state(self, import_id: UUID, state: ImportState) -> None:
        """Move an import on; one that is done or cancelled stays so. Cancelling drops the pending rows.

        Raises:
            NotFoundError: If there is no such import.
        """
        importing.set_state(self._connection, import_id, state)

    def _next_sequence(self) -> int:
        """The number of another change, one that no index follows."""
        self._tally = replace(self._tally, sequence=self._tally.sequence + 1)
        return self._tally.sequence

    def _check_usable(self) -> None:
        if self._connection.invalidated:
            raise BusyError("The connection to the database was lost: nothing was changed. Try again")
        if DISK_WAS_FULL in self._connection.info:
            raise StorageFullError(
                "The database's disk was full: nothing was changed. Free space, then try again"
            )

    def _work(self, work_id: UUID, revision: int | None = None) -> Work:
        work = _present(queries.work_alone(self._connection, work_id), work_id)
        if revision is not None and revision != work.revision:
            raise StaleError(
                f"Work {work_id} was changed meanwhile; get it again and repeat the change",
                work=str(work_id),
                revision=str(work.revision),
            )
        return work

    def _set_work(self, work: Work, sequence: int, now: datetime, **values: object) -> None:
        stamp = {"revision": work.revision + 1, "updated_at": now, "sequence": sequence}
        writing.set_work(self._connection, work.id, **stamp, **values)

    def _check_external_id(self, owner: str, external_id: str | None) -> None:
        if external_id is None:
            return
        existing = writing.id_by_external_id(self._connection, owner, external_id)
        if existing is not None:
            raise AlreadyExistsError(
                f"{owner} has a work with the external id {external_id} already; update that one, or add "
                "references to it",
                work=str(existing),
            )

    def _insert_references(
        self, work: Work, references: Sequence[NewReference], sequence: int, now: datetime
    ) -> tuple[Reference, ...]:
        """Insert references, each followed by its parts; return those that are no parts."""
        pairs: list[tuple[NewReference, Reference]] = []
        for reference in references:
            whole = _numbered(reference, work.id, sequence, now)
            pairs.append((reference, whole))
            pairs += [(part, _numbered(part, work.id, sequence, now, whole.id)) for part in reference.parts]
        if pairs:
            writing.insert_references(self._connection, [registered for _, registered in pairs])
            placed = [
                self._place(registered.id, fingerprint, sequence)
                for given, registered in pairs
                for fingerprint in given.fingerprints
            ]
            writing.insert_fingerprints(self._connection, placed, sequence)
            shown = [
                (registered.id, registered.modality, given.preview)
                for given, registered in pairs
                if given.preview is not None
            ]
            self.previews.add(work.id, shown, now, keep=work.policy.previews)
        return tuple(registered for _, registered in pairs if registered.container_id is None)

    def _place(self, reference_id: UUID, fingerprint: Fingerprint, sequence: int) -> PlacedFingerprint:
        """Give a fingerprint its descriptor ids."""
        scheme, count = fingerprint.scheme.id, len(fingerprint)
        row = self._schemes[scheme]
        first_id = self._tally.next_ids.get(scheme, row.next_id)
        self._tally = replace(self._tally, next_ids={**self._tally.next_ids, scheme: first_id + count})
        self._changes.append(IndexChange(sequence, scheme, first_id, count, fingerprint.descriptors))
        return PlacedFingerprint(reference_id, row.id, first_id, fingerprint)


def _numbered(
    reference: NewReference, work_id: UUID, sequence: int, now: datetime, container_id: UUID | None = None
) -> Reference:
    """A reference with an id of its own."""
    return Reference(
        id=uuid7(),
        work_id=work_id,
        filename=reference.filename,
        modality=reference.modality,
        sha256=reference.sha256,
        byte_count=reference.byte_count,
        schemes=tuple(sorted(fingerprint.scheme.id for fingerprint in reference.fingerprints)),
        created_at=now,
        sequence=sequence,
        container_id=container_id,
        weight=reference.weight,
        part_counts=Counter(part.modality for part in reference.parts),
        lost=reference.lost,
    )


def _count(references: Sequence[NewReference]) -> int:
    """How many references these are, with their parts."""
    return sum(1 + len(reference.parts) for reference in references)


def _check_room(present: int, references: Sequence[NewReference]) -> None:
    if present + _count(references) > MAX_REFERENCES:
        raise InvalidRequestError(
            "media",
            f"a work has at most {MAX_REFERENCES:,} references, and each part of a container is one; make "
            "another work, or split the container",
        )


def _present(work: Work | None, work_id: UUID) -> Work:
    if work is None:
        raise NotFoundError(f"There is no work {work_id}", work=str(work_id))
    return work


def _distinct(references: Sequence[NewReference]) -> list[NewReference]:
    """The references without repetitions of the same file."""
    seen: set[bytes] = set()
    distinct = []
    for reference in references:
        if reference.sha256 is None or reference.sha256 not in seen:
            distinct.append(reference)
        if reference.sha256 is not None:
            seen.add(reference.sha256)
    return distinct
