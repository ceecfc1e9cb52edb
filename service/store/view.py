"""Several reads of one committed state."""

from collections.abc import Collection, Mapping
from uuid import UUID

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from indexers.fingerprint import Fingerprint, Scheme
from service.domain import ApiKey, DescriptorOwner, Holding, Reference, Registered, Work
from service.store import keys, queries
from service.store.captures import Captures
from service.store.cases import Cases
from service.store.lists import Lists
from service.store.previews import Previews
from service.store.reports import Reports
from service.store.review import Reviews


class View:
    """The works as they are at its first read; `Store.view` makes them. For one thread at a time."""

    def __init__(
        self, connection: Connection, known: Mapping[str, Scheme], scheme_ids: Mapping[str, int]
    ) -> None:
        """Read through `connection`, whose transaction sees one state."""
        self._connection = connection
        self._known = known
        self._scheme_ids = scheme_ids
        self.lists = Lists(connection)
        """Monitoring lists and runs."""
        self.captures = Captures(connection, known, scheme_ids)
        """Captures and suspects."""
        self.reports = Reports(connection)
        """Match reports."""
        self.cases = Cases(connection)
        """Cases that reports are in."""
        self.reviews = Reviews(connection)
        """Decisions, and what follows from them."""
        self.previews = Previews(connection)
        """What people are shown."""

    def key_names(self) -> dict[str, str]:
        """Who has which key, by the keys' ids; keys without a name are absent."""
        return keys.names(self._connection)

    def list_keys(self) -> list[ApiKey]:
        """All keys, oldest first."""
        return keys.list_all(self._connection)

    def get_works(self, ids: Collection[UUID]) -> dict[UUID, Work]:
        """Works without their references; missing ones are absent."""
        return queries.works_by_id(self._connection, ids)

    def list_works(self, *, owner: str, limit: int) -> list[Work]:
        """The first works of an owner, without their references, oldest first."""
        return queries.list_works(self._connection, owner=owner, external_id=None, after=None, limit=limit)

    def find_work(self, owner: str, external_id: str) -> Work | None:
        """An owner's work without its references."""
        return queries.work_by_external_id(self._connection, owner, external_id)

    def get_references(self, ids: Collection[UUID]) -> dict[UUID, Reference]:
        """References; missing ones are absent."""
        return queries.references_by_id(self._connection, ids)

    def get_registered(self, reference_ids: Collection[UUID]) -> list[Registered]:
        """References with their works; missing ones are absent."""
        return queries.registered_by_id(self._connection, reference_ids)

    def get_holdings(self, work_ids: Collection[UUID]) -> dict[UUID, list[Holding]]:
        """What works hold, by container and kind of media; works without references are absent."""
        return queries.holdings_of(self._connection, work_ids)

    def references_by_sha256(
        self, sha256: bytes, *, owner: str | None = None, limit: int = 1000
    ) -> list[UUID]:
        """Ids of the references that are this very file; those of old works first.

        A work has several where more than one of its containers hold it.

        Args:
            sha256: Of the file.
            owner: Only of this owner's works; None: of all.
            limit: Most references, ≥ 1.
        """
        return queries.references_by_sha256(self._connection, sha256, owner, limit)

    def fingerprints(
        self, reference_ids: Collection[UUID], *, schemes: Collection[str] | None = None
    ) -> dict[UUID, tuple[Fingerprint, ...]]:
        """The fingerprints of references, in order of scheme id; missing references are absent.

        Args:
            reference_ids: Which references.
            schemes: Of these schemes alone; None: of all that this version knows.
        """
        wanted = self._known if schemes is None else {scheme: self._known[scheme] for scheme in schemes}
        by_row = {self._scheme_ids[scheme]: known for scheme, known in wanted.items()}
        return queries.fingerprints_of(self._connection, reference_ids, by_row)

    def descriptor_owners(
        self, scheme: str, ids: npt.NDArray[np.int64], *, owner: str | None = None
    ) -> dict[int, DescriptorOwner]:
        """Whose descriptors these are.

        Args:
            scheme: Scheme id, one of those that the store was opened with.
            ids: (n,) descriptor ids.
            owner: Only of this owner's works; None: of all.

        Returns:
            Descriptor id to owner; ids of deleted fingerprints, and of others' works, are absent.
        """
        return queries.descriptor_owners(self._connection, self._scheme_ids[scheme], ids, owner)
