"""The store: opening it, reading it, and starting a write transaction."""

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from uuid import UUID

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import DatabaseError

from indexers.fingerprint import Fingerprint, Scheme
from service.domain import (
    ApiKey,
    Counts,
    DescriptorOwner,
    Import,
    ImportRow,
    IndexChange,
    Reference,
    RowState,
    Session,
    StoredResponse,
    Work,
)
from service.errors import BusyError, NotFoundError, StartupError
from service.store import importing, keys, queries, sessions, writing
from service.store.cases import CaseWriter
from service.store.database import Database, connect
from service.store.migrate import migrate
from service.store.schema import counters, removals, responses, schemes
from service.store.transaction import Transaction
from service.store.view import View

_FILED_AT_ONCE = 200


class RemovalsForgottenError(Exception):
    """A replay was asked for from before removals that are forgotten: only one from 0 is right."""


class Store:
    """Works, fingerprints, keys, imports and remembered answers. For many threads at a time.

    Each reading method sees one committed state and never waits for a writer. Writers wait for each
    other, so sequence numbers rise in the order of commits: whoever has read the changes up to N and
    then reads those above N misses none.

    Methods raise StorageFullError when the disk is full and BusyError when another process holds the
    database; both leave it as it was.
    """

    def __init__(
        self, database: Database, known: Mapping[str, Scheme], scheme_ids: Mapping[str, int]
    ) -> None:
        """Use `open`."""
        self._database = database
        self._known = known
        with self._reading() as connection:
            self.id = queries.database_id(connection)
            """Drawn when the database was made: no other database has it."""
        self._scheme_ids = scheme_ids
        self._write_lock = threading.Lock()

    @classmethod
    def open(cls, url: str, schemes: Mapping[str, Scheme]) -> "Store":
        """Open a database, after making or migrating its tables.

        Args:
            url: SQLAlchemy URL: ``sqlite:////folder/copyhound.db`` or ``postgresql://user@host/name``.
            schemes: The schemes that this version knows, by id.

        Raises:
            StoreVersionError: If a newer version of Copyhound wrote the database.
            StartupError: If the database cannot be reached, or the URL names none.
            StorageFullError: If the disk is full.
        """
        database = connect(url)
        try:
            migrate(database.writer)
            _file_reports(database)
            return cls(database, schemes, _scheme_ids(database, schemes))
        except (DatabaseError, BusyError) as error:
            database.dispose()
            shown = database.url.render_as_string(hide_password=True)
            raise StartupError(f"The database {shown} cannot be opened: {error.__cause__}") from error
        except BaseException:
            database.dispose()
            raise

    def close(self) -> None:
        """Close all connections, after a running transaction has ended."""
        with self._write_lock:
            self._database.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Start a write transaction, after those of others; commit it unless an error leaves it."""
        with self._writing() as connection:
            transaction = Transaction(connection, self._known, self._scheme_ids)
            yield transaction
            transaction.finish()

    @property
    def schemes(self) -> Collection[str]:
        """Ids of the schemes that this version knows."""
        return self._known.keys()

    @contextmanager
    def view(self) -> Iterator[View]:
        """Read several times from one committed state; one read after the other costs more."""
        with self._reading() as connection:
            yield View(connection, self._known, self._scheme_ids)

    def sequence(self) -> int:
        """The last committed change; 0: none yet."""
        with self._reading() as connection:
            return queries.sequence(connection)

    def counts(self) -> Counts:
        """How much is registered."""
        with self._reading() as connection:
            return queries.counts(connection)

    def get_work(self, work_id: UUID) -> Work:
        """A work with its references.

        Raises:
            NotFoundError: If there is none.
        """
        with self._reading() as connection:
            work = queries.work(connection, work_id)
        if work is None:
            raise NotFoundError(f"There is no work {work_id}", work=str(work_id))
        return work

    def get_works(self, ids: Collection[UUID]) -> dict[UUID, Work]:
        """As `View.get_works`."""
        with self.view() as view:
            return view.get_works(ids)

    def list_works(
        self, *, owner: str | None, external_id: str | None, after: UUID | None, limit: int
    ) -> list[Work]:
        """A page of works without their references, in order of id, which is the order of creation.

        Args:
            owner: Only this owner's; None: all.
            external_id: Only with this external id; None: all.
            after: Only works with larger ids; None: from the first.
            limit: Most works, ≥ 1.
        """
        with self._reading() as connection:
            return queries.list_works(
                connection, owner=owner, external_id=external_id, after=after, limit=limit
            )

    def get_references(self, ids: Collection[UUID]) -> dict[UUID, Reference]:
        """As `View.get_references`."""
        with self.view() as view:
            return view.get_references(ids)

    def references_by_sha256(
        self, sha256: bytes, *, owner: str | None = None, limit: int = 1000
    ) -> list[UUID]:
        """As `View.references_by_sha256`."""
        with self.view() as view:
            return view.references_by_sha256(sha256, owner=owner, limit=limit)

    def fingerprints(self, reference_ids: Collection[UUID]) -> dict[UUID, tuple[Fingerprint, ...]]:
        """As `View.fingerprints`."""
        with self.view() as view:
            return view.fingerprints(reference_ids)

    def descriptor_owners(
        self, scheme: str, ids: npt.NDArray[np.int64], *, owner: str | None = None
    ) -> dict[int, DescriptorOwner]:
        """As `View.descriptor_owners`."""
        with self.view() as view:
            return view.descriptor_owners(scheme, ids, owner=owner)

    def changes_since(
        self, scheme: str, sequence: int, *, batch: int = 10_000, until: int | None = None
    ) -> Iterator[list[IndexChange]]:
        """Replay what happened to one scheme's index, in rising order of sequence.

        Applied to the live descriptors as of `sequence`, the changes give those as of `until`, or
        already without what was deleted later: then the deletion's removal of absent ids does nothing.

        Args:
            scheme: Scheme id, one of those that the store was opened with.
            sequence: Only later changes.
            batch: About how many descriptors a list holds.
            until: The last change to replay; None: the last one committed when this is called.

        Raises:
            RemovalsForgottenError: If removals after `sequence` are forgotten, and that is not 0: what
                an index had then may still hold what was removed. From 0 the changes are always right.

        Yields:
            Changes, never an empty list; those of one sequence number come together. What was added and
            removed within the range comes as a removal alone. Lists are read in short transactions.
        """
        last = self.sequence() if until is None else until
        return self._replay(scheme, sequence, last, batch)

    def _replay(self, scheme: str, sequence: int, until: int, batch: int) -> Iterator[list[IndexChange]]:
        after = (sequence, np.iinfo(np.int64).max)
        held: list[IndexChange] = []  # of the last sequence number read: more of it may follow
        while True:
            with self._reading() as connection:
                forgotten = queries.forgotten_sequence(connection, self._scheme_ids[scheme])
                if 0 < sequence < forgotten:
                    raise RemovalsForgottenError(f"{scheme}: removals up to {forgotten} are forgotten")
                changes = queries.changes(
                    connection,
                    self._known[scheme],
                    self._scheme_ids[scheme],
                    after=after,
                    until=until,
                    batch=batch,
                )
            if not changes:
                break
            after = (changes[-1].sequence, changes[-1].first_id)
            changes = held + changes
            held = [change for change in changes if change.sequence == after[0]]
            if len(held) < len(changes):
                yield changes[: -len(held)]
        if held:
            yield held

    def forget_removals(self, sequences: Mapping[str, int]) -> None:
        """Drop the removals that this server's snapshots have seen; remember up to where.

        Another server whose index has not seen them is told so by `changes_since`.

        Args:
            sequences: For each scheme id the change up to which its snapshot reaches.
        """
        with self._writing() as connection:
            for scheme, sequence in sequences.items():
                seen = (removals.c.scheme_id == self._scheme_ids[scheme], removals.c.sequence <= sequence)
                last = connection.execute(select(func.max(removals.c.sequence)).where(*seen)).scalar_one()
                if last is not None:
                    connection.execute(delete(removals).where(*seen))
                    connection.execute(
                        update(schemes)
                        .where(schemes.c.id == self._scheme_ids[scheme])
                        .values(forgotten_sequence=last)
                    )

    def find_responses(self, key_id: str, request_ids: Collection[str]) -> dict[str, StoredResponse]:
        """What request ids were answered with; those that were not are absent."""
        with self._reading() as connection:
            found = {one: writing.find_response(connection, key_id, one) for one in request_ids}
        return {request_id: kept for request_id, kept in found.items() if kept is not None}

    def forget_responses(self, before: datetime) -> int:
        """Drop the answers that were remembered before a moment; return how many that was."""
        with self._writing() as connection:
            return connection.execute(delete(responses).where(responses.c.created_at < before)).rowcount

    def forget_imports(self, before: datetime) -> int:
        """Drop the imports that ended before a moment; return how many that was."""
        with self._writing() as connection:
            return importing.forget(connection, before)

    def create_key(self, key: ApiKey) -> None:
        """Keep a new key."""
        with self._writing() as connection:
            keys.create(connection, key)

    def find_key(self, key_id: str) -> ApiKey | None:
        """A key, revoked or not."""
        with self._reading() as connection:
            return keys.find(connection, key_id)

    def list_keys(self) -> list[ApiKey]:
        """All keys, oldest first."""
        with self._reading() as connection:
            return keys.list_all(connection)

    def revoke_key(self, key_id: str, at: datetime) -> ApiKey:
        """Revoke a key; the first revocation's time stays.

        Raises:
            NotFoundError: If there is no such key.
        """
        with self._writing() as connection:
            return keys.revoke(connection, key_id, at)

    def key_names(self) -> dict[str, str]:
        """Who has which key, by the keys' ids; keys without a name are absent."""
        with self._reading() as connection:
            return keys.names(connection)

    def rename_key(self, key_id: str, name: str) -> ApiKey:
        """Say whose a key is, revoked or not.

        Raises:
            NotFoundError: If there is no such key.
        """
        with self._writing() as connection:
            return keys.rename(connection, key_id, name)

    def create_session(self, token_sha256: bytes, session: Session) -> None:
        """Keep a new session under the digest of its token, 32 bytes."""
        with self._writing() as connection:
            sessions.create(connection, token_sha256, session)

    def find_session(self, token_sha256: bytes) -> Session | None:
        """A session with its key as it is now, expired or not."""
        with self._reading() as connection:
            return sessions.find(connection, token_sha256)

    def touch_session(self, token_sha256: bytes, at: datetime) -> None:
        """Say that a session was used."""
        with self._writing() as connection:
            sessions.touch(connection, token_sha256, at)

    def end_session(self, token_sha256: bytes) -> None:
        """Forget a session."""
        with self._writing() as connection:
            sessions.end(connection, token_sha256)

    def end_sessions(self, key_id: str | None) -> int:
        """Forget all sessions of a key, or (None) all anonymous ones; return how many that was."""
        with self._writing() as connection:
            return sessions.end_all(connection, key_id)

    def forget_sessions(self, *, created_before: datetime, seen_before: datetime) -> None:
        """Drop the sessions that began, or were last used, before a moment."""
        with self._writing() as connection:
            sessions.forget(connection, created_before, seen_before)

    def get_import(self, import_id: UUID) -> Import:
        """One import.

        Raises:
            NotFoundError: If there is none.
        """
        with self._reading() as connection:
            return importing.get(connection, import_id)

    def list_imports(self, *, key_id: str | None, after: UUID | None, limit: int) -> list[Import]:
        """A page of imports, oldest first.

        Args:
            key_id: Only this key's; None: all.
            after: Only imports with larger ids; None: from the first.
            limit: Most imports, ≥ 1.
        """
        with self._reading() as connection:
            return importing.list_page(connection, key_id=key_id, after=after, limit=limit)

    def unfinished_imports(self) -> list[UUID]:
        """Imports that are pending or running, oldest first."""
        with self._reading() as connection:
            return importing.unfinished(connection)

    def pending_rows(self, import_id: UUID, *, limit: int) -> list[ImportRow]:
        """The first rows, by number, that are still to do."""
        with self._reading() as connection:
            return importing.rows_in_state(connection, import_id, RowState.PENDING, limit)

    def failed_rows(self, import_id: UUID, *, limit: int) -> list[ImportRow]:
        """The first rows, by number, that failed."""
        with self._reading() as connection:
            return importing.rows_in_state(connection, import_id, RowState.FAILED, limit)

    def _reading(self) -> AbstractContextManager[Connection]:
        """A connection whose reads see one committed state."""
        return self._database.reading()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._write_lock, self._database.writer.begin() as connection:
            yield connection


def _file_reports(database: Database) -> None:
    """Put reports from before there were cases into cases, some at a time: what was done stays done."""
    while True:
        with database.writer.begin() as connection:
            writing.lock_counters(connection)  # servers that start at once: one by one
            if not CaseWriter(connection).file_some(_FILED_AT_ONCE):
                return


def _scheme_ids(database: Database, known: Mapping[str, Scheme]) -> dict[str, int]:
    """Rows of the known schemes, made where they are missing."""
    with database.writer.begin() as connection:
        connection.execute(select(counters).with_for_update())  # servers that start at once: one by one
        query = select(schemes.c.name, schemes.c.id)
        present = {row.name for row in connection.execute(query)}
        missing = [
            {"name": name, "next_id": 0, "forgotten_sequence": 0} for name in known if name not in present
        ]
        if missing:
            connection.execute(insert(schemes), missing)
        return {row.name: row.id for row in connection.execute(query) if row.name in known}
