"""An index that takes a stream of changes, answers while it does, and comes back after a crash.

It is derived data. The database holds the truth and numbers its changes; this index keeps a snapshot on
disk as of one change, and what came after in memory::

    base     the descriptors of the snapshot, sorted by id, never changed
    delta    the descriptors that were added since, in the order of adding
    dead     rows of either that were removed since

`fold` makes a new snapshot of all three. After a crash, `open` loads the newest snapshot and the database
replays what came after it.
"""

import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Scheme
from indexers.index import snapshot
from indexers.index.backend import Backend
from indexers.index.base import Hits
from indexers.index.buffer import Buffer
from indexers.index.contract import check_new, check_query, found_in, merged
from indexers.index.merge import Merged
from indexers.index.multi_index import HashedRows
from indexers.index.sealed import DamagedError
from indexers.index.snapshot import OtherSourceError
from indexers.index.table import Table

_log = logging.getLogger(__name__)

_NONE_DEAD = np.empty(0, np.int64)
_DICT_ITEM = 64
"""Bytes of the two integers that an entry of a dictionary points to."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What one committed change of the database means for this index.

    Attributes:
        sequence: Its number; several changes may share one.
        ids: (n,) int64.
        descriptors: What is added under these ids, (n, scheme.columns); None: the ids are removed.
    """

    sequence: int
    ids: npt.NDArray[np.int64]
    descriptors: npt.NDArray[Any] | None


@dataclass(frozen=True, slots=True)
class IndexStats:
    """How large an index is, and how far it is from its snapshot.

    Attributes:
        descriptors: How many can be found.
        delta: How many rows were added since the snapshot, removed ones included.
        tombstones: How many rows were removed since the snapshot and still take memory.
        snapshot_sequence: The last change that the snapshot includes; 0: there is none.
        sequence: The last change that was applied.
        resident_bytes: Memory held.
        oldest_unfolded_seconds: Age of the oldest change that the snapshot lacks; 0: it lacks none.
    """

    descriptors: int
    delta: int
    tombstones: int
    snapshot_sequence: int
    sequence: int
    resident_bytes: int
    oldest_unfolded_seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    """All that a search looks at; replaced as a whole.

    `unfolded_since` is when the oldest change was applied that the snapshot lacks, on the monotonic clock.
    """

    base: Table
    delta: Table
    sequence: int
    snapshot_sequence: int
    unfolded_since: float | None


class LiveIndex:
    """Descriptors of one scheme; searched as a `VectorIndex`, changed by `apply`.

    Searches of Hamming schemes are exact, with any number of descriptors: from `approximate_from` on the
    base is searched through tables (`multi_index.HashedRows`) that take more memory and far less time.
    Those of cosine schemes are exact below `float_approximate_from`; from there on the base is searched
    through inverted lists (`inverted.InvertedRows`, which states its recall) that take less of both. So are
    Hamming schemes whose neighbours are far (`inverted_codes.InvertedCodes`).

    Any method may be called from any thread. A search takes no lock and sees all of an `apply` or
    nothing. An `apply` waits for other changes, for a `fold` only for the moment in which it swaps in
    its result. The delta is searched exhaustively: fold before it passes about 100,000 rows.
    """

    def __init__(self, backend: Backend, folder: Path, base: Table, sequence: int) -> None:
        """Start from a snapshot; `open` finds it."""
        self.scheme = backend.scheme
        self._backend = backend
        self._folder = folder
        self._untidy = False  # whether files may lie in the folder that hold what was removed
        self._changing = threading.Lock()
        self._folding = threading.Lock()
        self._buffer = Buffer(self.scheme)
        self._delta_rows: dict[int, int] = {}  # row in the delta of each id that lives there
        self._later_since: float | None = None  # when the first change came after a fold began
        self._state = _State(base, self._buffer.table(_NONE_DEAD), sequence, sequence, None)

    @classmethod
    def open(
        cls,
        scheme: Scheme,
        folder: Path,
        *,
        source: str = "",
        approximate_from: int = 4_000_000,
        float_approximate_from: int = 50_000,
        far: bool = False,
    ) -> "LiveIndex":
        """Load the newest snapshot of a folder that is intact; none: start empty, at sequence 0.

        A damaged snapshot is set aside and one of another database dropped, which is logged; the database
        then has more to replay.

        Args:
            scheme: Of the descriptors.
            folder: Of this index alone; made if it is missing.
            source: Id of the database whose changes are applied.
            approximate_from: From how many descriptors on the base of a Hamming scheme is searched through
                tables.
            float_approximate_from: The same for a cosine scheme, or a far one, and inverted lists.
            far: Whether the nearest of a Hamming scheme are looked for, however far.

        Raises:
            SnapshotError: If a snapshot is of another scheme or a newer format.
            OSError: If the folder cannot be read or written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        backend = Backend(scheme, source, approximate_from, float_approximate_from, far)
        for path in snapshot.snapshots(folder):
            try:
                base, sequence = backend.load(path)
            except OtherSourceError as error:
                _log.warning("%s; it is dropped, and this database replays all", error)
                continue
            except DamagedError as error:
                aside = snapshot.set_aside(path)
                _log.warning("%s; it is now %s, and the database replays what is missing", error, aside.name)
                continue
            snapshot.delete_others(folder, path)
            return cls(backend, folder, base, sequence)
        snapshot.delete_others(folder, None)
        return cls(backend, folder, backend.empty(), 0)

    @property
    def sequence(self) -> int:
        """The last change that was applied."""
        return self._state.sequence

    @property
    def snapshot_sequence(self) -> int:
        """The last change that the snapshot on disk includes; 0: there is none."""
        return self._state.snapshot_sequence

    @property
    def has_tables(self) -> bool:
        """Whether the base is searched through tables, which small radii alone make fast."""
        return isinstance(self._state.base.rows, HashedRows)

    def __len__(self) -> int:
        """Number of descriptors that can be found."""
        state = self._state
        return len(state.base) + len(state.delta)

    def apply(self, changes: Sequence[Change]) -> None:
        """Make committed changes searchable: all of them at once, or none if one is wrong.

        Changes that were applied before (up to `sequence`) are ignored, so that a replay may overlap;
        all changes of one sequence number therefore belong into one call.

        Raises:
            ValueError: If the sequence falls from one change to the next, an added id is negative,
                repeated or present.
            FingerprintError: If descriptors do not fit the scheme.
        """
        with self._changing:
            before = self._state
            state = before
            later = [change for change in changes if change.sequence > before.sequence]
            _check_order(later)
            try:
                for change in _joined(later):
                    state = self._changed(state, change)
            except BaseException:
                self._buffer.truncate(len(before.delta.ids))
                self._delta_rows = _live_rows(before.delta)
                raise
            if state is not before:
                now = time.monotonic()
                self._later_since = self._later_since or now
                self._state = replace(state, unfolded_since=before.unfolded_since or now)

    def advance(self, sequence: int) -> None:
        """Note a committed change that concerns other schemes only; an old one is ignored."""
        with self._changing:
            if sequence > self._state.sequence:
                self._state = replace(self._state, sequence=sequence)

    def search(self, queries: npt.NDArray[Any], *, radius: float, limit: int | None = None) -> Hits:
        """Find neighbours; see `VectorIndex.search`."""
        queries = check_query(self.scheme, queries, radius, limit)
        state = self._state
        hits = state.base.search(queries, radius=radius, limit=limit)
        later = state.delta.search(queries, radius=radius, limit=limit)
        if not len(later.ids):
            return hits
        return merged([hits, later], limit) if len(hits.ids) else later

    def fold(self) -> bool:
        """Write a snapshot of all that was applied, and drop older ones with what was removed since.

        Takes as long as writing all descriptors to disk (and, of a large base, building its tables or lists).
        Searches and changes go on meanwhile. If it fails, the index is as it was.

        Returns:
            False if the snapshot lacks no change of this scheme; nothing was written then.

        Raises:
            OSError: If the disk is full or fails.
        """
        with self._folding:
            with self._changing:
                folded = self._state
                self._later_since = None
            if folded.unfolded_since is None:
                return False
            base = self._backend.folded(self._folder, folded.sequence, folded.base, folded.delta)
            with self._changing:
                self._swap_in(base, folded)
            self._untidy = True
            self._tidy()
            return True

    def tidy(self) -> None:
        """Delete files that may hold what was removed, where `fold` or `rebuild` could not.

        Raises:
            OSError: If they cannot be deleted now either.
        """
        if self._untidy:
            with self._folding:
                self._tidy()

    def rebuild(self, changes: Iterable[Sequence[Change]], sequence: int) -> None:
        """Forget all, and hold what a replay from 0 gives: for when this index and the database differ.

        Searches see what was held before until all is replayed. Other changes must wait meanwhile. All is
        in memory, and floats are compared exhaustively, until the next `fold`.

        Args:
            changes: All changes up to `sequence`, as `apply` takes them.
            sequence: The last change.

        Raises:
            OSError: If the snapshots of what was held before cannot be deleted; the rest is done then.
        """
        with self._folding:
            fresh = LiveIndex(self._backend, self._folder, self._backend.empty(), 0)
            for some in changes:
                fresh.apply(some)
            fresh.advance(sequence)
            replayed = Merged(self.scheme, fresh._state.base, fresh._state.delta)
            base = self._backend.in_memory(replayed.ids, replayed[:])
            with self._changing:
                self._buffer = Buffer(self.scheme)
                self._delta_rows = {}
                self._later_since = None
                empty = self._buffer.table(_NONE_DEAD)
                self._state = _State(base, empty, sequence, 0, time.monotonic())
            self._untidy = True
            self._tidy()

    def stats(self) -> IndexStats:
        """Sizes at this moment."""
        state = self._state
        since = state.unfolded_since
        return IndexStats(
            descriptors=len(state.base) + len(state.delta),
            delta=len(state.delta.ids),
            tombstones=len(state.base.dead) + len(state.delta.dead),
            snapshot_sequence=state.snapshot_sequence,
            sequence=state.sequence,
            resident_bytes=state.base.nbytes
            + self._buffer.nbytes
            + state.delta.dead.nbytes
            + sys.getsizeof(self._delta_rows)
            + len(self._delta_rows) * _DICT_ITEM,
            oldest_unfolded_seconds=0.0 if since is None else time.monotonic() - since,
        )

    def _tidy(self) -> None:
        latest = self._folder / snapshot.file_name(self.snapshot_sequence)
        snapshot.delete_others(self._folder, latest if self.snapshot_sequence else None)
        snapshot.delete_damaged(self._folder)
        self._untidy = False

    def _changed(self, state: _State, change: Change) -> _State:
        if change.descriptors is None:
            return self._removed(replace(state, sequence=change.sequence), change.ids)
        return self._added(replace(state, sequence=change.sequence), change.ids, change.descriptors)

    def _added(self, state: _State, ids: npt.NDArray[np.int64], descriptors: npt.NDArray[Any]) -> _State:
        check_new(self.scheme, ids, descriptors)
        listed = ids.tolist()
        if len(_live_base_rows(state.base, ids)) or not self._delta_rows.keys().isdisjoint(listed):
            raise ValueError(f"{self.scheme.id} has one of these ids already: remove it first")
        self._delta_rows.update(
            zip(listed, range(len(self._buffer), len(self._buffer) + len(ids)), strict=True)
        )
        self._buffer.append(ids, descriptors)
        return replace(state, delta=self._buffer.table(state.delta.dead))

    def _removed(self, state: _State, ids: npt.NDArray[np.int64]) -> _State:
        in_delta = [self._delta_rows.pop(one) for one in ids.tolist() if one in self._delta_rows]
        return replace(
            state,
            base=state.base.without(_live_base_rows(state.base, ids)),
            delta=state.delta.without(np.array(sorted(in_delta), np.int64)),
        )

    def _swap_in(self, base: Table, folded: _State) -> None:
        """Replace what was folded by its result, and carry over what changed since."""
        now = self._state
        split = len(folded.delta.ids)
        base_died = now.base.dead[~found_in(folded.base.dead, now.base.dead)]
        delta_died = now.delta.dead[~found_in(folded.delta.dead, now.delta.dead)]
        died = np.concatenate([now.base.ids[base_died], now.delta.ids[delta_died[delta_died < split]]])
        self._buffer = Buffer(self.scheme)
        self._buffer.append(now.delta.ids[split:], now.delta.rows.descriptors[split:])
        delta = self._buffer.table(delta_died[delta_died >= split] - split)
        self._delta_rows = _live_rows(delta)
        self._state = _State(
            base.without(_live_base_rows(base, died)), delta, now.sequence, folded.sequence, self._later_since
        )


def _check_order(changes: Sequence[Change]) -> None:
    for one, other in pairwise(changes):
        if other.sequence < one.sequence:
            raise ValueError(f"change {other.sequence} comes after {one.sequence}: apply them in order")


def _joined(changes: Sequence[Change]) -> Iterator[Change]:
    """Join additions that follow each other: a thousand at once cost little more than one."""
    for kind, run in groupby(changes, _kind):
        some = list(run)
        if kind is None or len(some) == 1:
            yield from some
        else:
            yield Change(
                some[-1].sequence,
                np.concatenate([change.ids for change in some]),
                np.concatenate([change.descriptors for change in some if change.descriptors is not None]),
            )


def _kind(change: Change) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Shape and type of the rows that are added; None: some are removed."""
    return None if change.descriptors is None else (change.descriptors.shape[1:], change.descriptors.dtype)


def _live_base_rows(base: Table, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows, rising, of those of the ids that live in a base, whose ids rise."""
    present = np.unique(ids[found_in(base.ids, ids)])
    rows = np.searchsorted(base.ids, present)
    return rows[~found_in(base.dead, rows)]


def _live_rows(delta: Table) -> dict[int, int]:
    rows = delta.live()
    return dict(zip(delta.ids[rows].tolist(), rows.tolist(), strict=True))
