"""Descriptors under ids, some of them dead: immutable, so that a search needs no lock."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from indexers.index.base import Hits
from indexers.index.contract import found_in, joined, ordered, selected

_PAIRS = 1 << 21
"""Queries times rows searched at a time where there is a limit: if all rows are near, the hits before they
are cut take 12 bytes each."""
_LEAST_QUERIES = 8
"""Fewer at a time would cost more than it saves."""


class Descriptors(Protocol):
    """(n, scheme.columns) numbers, in memory or in a file."""

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, rows: Any, /) -> npt.NDArray[Any]:
        """Rows by a slice without a step, or by an array of their numbers."""
        ...


class Rows(Protocol):
    """Immutable descriptors that can be searched."""

    @property
    def descriptors(self) -> Descriptors:
        """(n, scheme.columns)."""
        ...

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        ...

    @property
    def all_may_be_near(self) -> bool:
        """Whether most rows may be hits of each query: then only some queries are searched at a time."""
        ...

    def search(self, queries: npt.NDArray[Any], *, radius: float, limit: int | None) -> Hits:
        """Find the rows within `radius`, inclusive, in any order; ids are row numbers.

        With a limit it may leave out rows that lie farther than a query's `limit`-th nearest. It never
        leaves out one that lies equally near: the caller decides by id. It finds at least `limit` rows of
        each query, or all within the radius.

        An approximate one may miss some of the nearest, and finds farther ones instead.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Rows, their ids and which of them are dead.

    Attributes:
        ids: (n,), unique among the rows that live.
        rows: n descriptors.
        dead: Numbers of rows that are not to be found, rising.
    """

    ids: npt.NDArray[np.int64]
    rows: Rows
    dead: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of rows that live."""
        return len(self.ids) - len(self.dead)

    @property
    def nbytes(self) -> int:
        """Memory that it holds."""
        return self.ids.nbytes + self.rows.nbytes + self.dead.nbytes

    def without(self, rows: npt.NDArray[np.int64]) -> "Table":
        """The same with further rows dead: `rows`, (m,), rise, and none of them is dead yet."""
        return replace(self, dead=np.insert(self.dead, np.searchsorted(self.dead, rows), rows))

    def live(self) -> npt.NDArray[np.int64]:
        """Numbers of the rows that live, rising."""
        lives = np.ones(len(self.ids), np.bool_)
        lives[self.dead] = False
        return np.flatnonzero(lives)

    def search(self, queries: npt.NDArray[Any], *, radius: float, limit: int | None) -> Hits:
        """Find neighbours as `VectorIndex.search` does; the arguments were checked."""
        at_once = max(_LEAST_QUERIES, _PAIRS // max(1, len(self.ids)))
        if limit is None or len(queries) <= at_once or not self.rows.all_may_be_near:
            return self._search(queries, radius, limit)
        starts = range(0, len(queries), at_once)
        return joined([self._search(queries[i : i + at_once], radius, limit) for i in starts])

    def _search(self, queries: npt.NDArray[Any], radius: float, limit: int | None) -> Hits:
        depth = limit
        while True:
            found = self.rows.search(queries, radius=radius, limit=depth)
            if len(self.dead) == 0 or len(found.ids) == 0:
                return ordered(found.offsets, self.ids[found.ids], found.distances, limit)
            hits = selected(found, ~found_in(self.dead, found.ids))
            if limit is None or depth is None or not _cut_short(found, depth, hits, limit):
                return ordered(hits.offsets, self.ids[hits.ids], hits.distances, limit)
            depth *= 4  # dead rows took the places of live ones: look deeper


def _cut_short(found: Hits, depth: int, live: Hits, limit: int) -> bool:
    """Tell whether a query lacks hits though more may lie beyond `depth`."""
    lacks = np.diff(live.offsets) < limit
    return bool((lacks & (np.diff(found.offsets) >= depth)).any())
