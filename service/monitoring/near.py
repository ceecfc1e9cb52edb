"""Which suspects are near a reference: indexes over all that was captured, asked by what is registered.

One live index holds the searched descriptors of all suspects for each scheme, all views of them: a snapshot
on disk, and what was read since in memory. It follows the database when it is asked, so nothing waits for it.
What is near here goes through the very stages that a query goes through; this only says which suspects are
worth that.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from indexers import registry
from indexers.fingerprint import Scheme
from indexers.index import Hits
from indexers.index.live import Change, LiveIndex
from indexers.modality import Channel
from service.catalogue import Folding
from service.store import Store
from service.store.schema import SUSPECT_IDS

_BATCH: Final = 2000
"""Fingerprints that are replayed at a time."""
_FIRST: Final = 256
"""Neighbours of a descriptor that are looked for at first, where a scheme looks for the nearest."""
_COPIES: Final = 0.5
"""As far as copies usually lie, by the distances of networks: while even the last neighbour lies nearer, more
are looked for."""
_VOTING: Final = 1024
"""Neighbours of a descriptor that are looked for where they vote."""
_MOST: Final = 16_384
"""Neighbours of a descriptor that are looked for at most."""
_MOST_NEAR: Final = 2_000
"""Suspects that one reference is compared with for each scheme, those that agree in most descriptors."""
_VOTES: Final = 2
"""Descriptors that have to agree where a scheme counts them, or all, if there are fewer."""


@dataclass(slots=True)
class _Held:
    """An index, and whose descriptors are in it.

    Attributes:
        first_ids: Of each fingerprint, rising.
        keys: Digests of contents, and keys of parts, in the same order.
    """

    index: LiveIndex
    first_ids: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)


class SuspectIndexes:
    """The suspects' descriptors, to be asked which lie near others. For one thread at a time; blocking."""

    def __init__(self, store: Store, folder: Path, folding: Folding) -> None:
        """Follow `store`; snapshots go below `folder`."""
        self._store = store
        self._folder = folder
        self._folding = folding
        self._held: dict[str, _Held] = {}
        self._tend_at = 0.0

    def tend(self) -> None:
        """From time to time: follow the database, and write snapshots without what was erased.

        Raises:
            OSError: If the folder cannot be used.
        """
        if monotonic() < self._tend_at:
            return
        self._tend_at = monotonic() + self._folding.after_seconds
        self.refresh(self._store.sequence())
        for held in self._held.values():
            stats = held.index.stats()
            if stats.tombstones or stats.delta >= self._folding.after_changes:
                held.index.fold()

    def refresh(self, until: int) -> None:
        """Follow the database up to a change; the first time, load the snapshots.

        Raises:
            OSError: If the folder cannot be used.
        """
        for scheme in registry.searched().values():
            held = self._held.get(scheme.id)
            if held is None:
                held = self._held[scheme.id] = self._open(scheme)
            if held.index.sequence > until:  # the database was put back to an earlier state
                held.index.rebuild([], 0)
                held.first_ids, held.keys = [], []
            self._follow(scheme.id, held, until)

    def near(self, channel: Channel, references: Mapping[int, npt.NDArray[Any]]) -> set[bytes]:
        """The suspects near some references by one scheme.

        Args:
            channel: How the scheme is searched.
            references: Descriptors of each, by any number.

        Returns:
            Digests of contents, and keys of parts.
        """
        held = self._held[channel.scheme.id]
        found: set[bytes] = set()
        for rows in references.values() if len(held.index) else ():
            found |= self._near(held, channel, rows)
        return found

    def _near(self, held: _Held, channel: Channel, rows: npt.NDArray[Any]) -> set[bytes]:
        search = channel.search
        if search is None:
            raise AssertionError("only searched schemes have indexes")
        radius = search.narrow_radius if held.index.has_tables else search.radius
        limit = _VOTING if search.votes else _MOST if search.nearest is None else _FIRST
        hits = held.index.search(rows, radius=radius, limit=limit)
        while limit < _MOST and not search.votes and self._more(hits, limit):
            limit *= 4
            hits = held.index.search(rows, radius=radius, limit=limit)
        agreeing: Counter[bytes] = Counter()
        for start, end in zip(hits.offsets[:-1], hits.offsets[1:], strict=True):
            agreeing.update({self._key(held, one) for one in hits.ids[start:end].tolist()} - {b""})
        least = min(max(_VOTES, int(search.least_votes)), len(rows)) if search.votes else 1
        return {key for key, count in agreeing.most_common(_MOST_NEAR) if count >= least}

    @staticmethod
    def _more(hits: Hits, limit: int) -> bool:
        """Whether a descriptor has more neighbours that may be copies than were looked for."""
        full = np.flatnonzero(np.diff(hits.offsets) == limit)
        return bool((hits.distances[hits.offsets[1:][full] - 1] <= _COPIES).any())

    @staticmethod
    def _key(held: _Held, descriptor: int) -> bytes:
        """Whose a descriptor is; empty: nobody's any more."""
        place = bisect_right(held.first_ids, descriptor) - 1
        return held.keys[place] if place >= 0 else b""

    def _open(self, scheme: Scheme) -> _Held:
        far = any(
            one.far for modality in registry.modalities() for one in modality.channels if one.scheme == scheme
        )
        index = LiveIndex.open(
            scheme,
            self._folder / scheme.id,
            source=self._store.id,
            approximate_from=self._folding.approximate_from,
            float_approximate_from=self._folding.float_approximate_from,
            far=far,
        )
        held = _Held(index)
        with self._store.view() as view:
            for first_id, key in view.captures.suspect_ids(scheme.id, index.sequence):
                held.first_ids.append(first_id)
                held.keys.append(key)
        return held

    def _follow(self, scheme: str, held: _Held, until: int) -> None:
        if held.index.sequence >= until:
            return
        for changes in self._changes(scheme, held, until):
            held.index.apply(changes)
            self._fold(held.index)
        held.index.advance(until)

    def _changes(self, scheme: str, held: _Held, until: int) -> Iterator[Sequence[Change]]:
        """What happened since, in order of changes; whose descriptors come in is noted."""
        after = held.index.sequence
        with self._store.view() as view:
            removed = view.captures.suspect_removals(scheme, after, until)
        while True:
            with self._store.view() as view:
                added = view.captures.suspect_additions(scheme, after, until, limit=_BATCH)
            last = added[-1][0] // SUSPECT_IDS if added else until
            changes = [_removal(*one) for one in removed if one[0] <= last]
            removed = [one for one in removed if one[0] > last]
            for first_id, key, rows in added:
                ids = np.arange(first_id, first_id + len(rows), dtype=np.int64)
                changes.append(Change(first_id // SUSPECT_IDS, ids, rows))
                held.first_ids.append(first_id)
                held.keys.append(key)
            if changes:
                yield sorted(changes, key=lambda change: change.sequence)
            if not added:
                return
            after = last

    def _fold(self, index: LiveIndex) -> None:
        stats = index.stats()
        if stats.delta + stats.tombstones >= max(self._folding.after_changes, len(index) // 2):
            index.fold()


def _removal(sequence: int, first_id: int, count: int) -> Change:
    return Change(sequence, np.arange(first_id, first_id + count, dtype=np.int64), None)
