"""How the base of a live index is searched, by its metric and size."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Metric, Scheme
from indexers.index import partition, snapshot
from indexers.index.faiss import FlatRows
from indexers.index.inverted import InvertedRows, divided
from indexers.index.inverted_codes import InvertedCodes, Signs
from indexers.index.keyed import KeyedRows, keyable
from indexers.index.merge import Merged
from indexers.index.multi_index import HashedRows, hashable
from indexers.index.partition import NO_LIST, Partition
from indexers.index.sealed import DamagedError
from indexers.index.snapshot import Snapshot
from indexers.index.table import Descriptors, Rows, Table

_log = logging.getLogger(__name__)
_NONE_DEAD = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Backend:
    """Builds bases, and the files that they come from.

    Attributes:
        scheme: Of the descriptors.
        source: Id of the database whose changes they hold.
        tables_from: From how many Hamming descriptors on they are searched through tables; short ones, which
            are found by equality, always are.
        lists_from: From how many cosine descriptors on, or far ones, they are searched through inverted
            lists, and remain in the snapshot's file.
        far: Whether a Hamming scheme's neighbours are so far away that tables do not serve.
    """

    scheme: Scheme
    source: str
    tables_from: int
    lists_from: int
    far: bool = False

    def empty(self) -> Table:
        """A base without rows."""
        return self.in_memory(np.empty(0, np.int64), np.empty((0, self.scheme.columns), self.scheme.dtype))

    def in_memory(self, ids: npt.NDArray[np.int64], descriptors: npt.NDArray[Any]) -> Table:
        """A base of these rows; ids rise."""
        rows: Rows
        if keyable(self.scheme):
            rows = KeyedRows(self.scheme, descriptors)
        elif len(ids) >= self.tables_from and hashable(self.scheme) and not self.far:
            rows = HashedRows(self.scheme, descriptors)
        else:
            rows = FlatRows(self.scheme, descriptors)
        return Table(ids, rows, _NONE_DEAD)

    def load(self, path: Path) -> tuple[Table, int]:
        """The base that a snapshot holds, and its sequence number; errors as in `snapshot.read`."""
        mapped_from = self.lists_from if self._listed else None
        read = snapshot.read(path, self.scheme, source=self.source, mapped_from=mapped_from)
        if not self._inverts(len(read.ids)):
            return self.in_memory(read.ids, read.descriptors[:]), read.sequence
        kept = _kept(path)
        if kept is None:
            kept = self._divided(read.descriptors, None)
            _keep(path, kept)
        return self._in_lists(read.ids, read.descriptors, kept), read.sequence

    def folded(self, folder: Path, sequence: int, base: Table, delta: Table) -> Table:
        """Write the snapshot of what lives in two tables, and return it as a base.

        Raises:
            OSError: If the disk is full or fails.
        """
        merged = Merged(self.scheme, base, delta)
        if not self._inverts(len(merged)):
            descriptors = merged[:]
            fresh = Snapshot(sequence, merged.ids, descriptors)
            snapshot.write(folder, self.scheme, fresh, source=self.source)
            return self.in_memory(merged.ids, descriptors)
        fresh = Snapshot(sequence, merged.ids, merged)
        path = snapshot.write(folder, self.scheme, fresh, source=self.source)
        mapped = snapshot.mapped(path, self.scheme, len(merged))
        kept = self._divided(mapped, _carried(base.rows, merged))
        _keep(path, kept)
        return self._in_lists(merged.ids, mapped, kept)

    @property
    def _listed(self) -> bool:
        """Whether large bases are inverted."""
        return self.far or self.scheme.metric is Metric.COSINE

    def _inverts(self, count: int) -> bool:
        return self._listed and count >= max(1, self.lists_from)

    def _divided(self, descriptors: Descriptors, before: Partition | None) -> Partition:
        return divided(Signs(descriptors) if self.far else descriptors, before)

    def _in_lists(self, ids: npt.NDArray[np.int64], descriptors: Descriptors, kept: Partition) -> Table:
        rows: Rows = InvertedCodes(descriptors, kept) if self.far else InvertedRows(descriptors, kept)
        return Table(ids, rows, _NONE_DEAD)


def _carried(rows: Rows, merged: Merged) -> Partition | None:
    """The partition of a base for what becomes of it."""
    if not isinstance(rows, InvertedRows | InvertedCodes):
        return None
    is_old = merged.origin >= 0
    list_of = np.full(len(merged), NO_LIST, np.uint16)
    list_of[is_old] = rows.partition.list_of[merged.origin[is_old]]
    return replace(rows.partition, list_of=list_of)


def _kept(path: Path) -> Partition | None:
    try:
        return partition.read(path)
    except DamagedError as error:
        _log.warning("%s; the descriptors are divided anew", error)
        return None


def _keep(path: Path, made: Partition) -> None:
    try:
        partition.write(path, made)
    except OSError as error:  # without it all is right, but the next start takes longer
        _log.warning("the partition of %s could not be kept, the next start makes it anew: %s", path, error)
