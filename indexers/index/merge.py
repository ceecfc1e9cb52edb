"""Base and delta as one, sorted by id, without a copy of all of it."""

from typing import Any

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Scheme
from indexers.index.table import Table


class Merged:
    """What lives in two tables: `table.Descriptors`, put together as they are read.

    Attributes:
        ids: (n,), rising.
        origin: (n,) int64. The row of the base that each is, or -1 - its row in the delta.
    """

    def __init__(self, scheme: Scheme, base: Table, delta: Table) -> None:
        """Merge tables whose ids differ; those of the base rise."""
        self._scheme = scheme
        self._base = base.rows.descriptors
        self._delta = delta.rows.descriptors
        old, new = base.live(), delta.live()
        new = new[np.argsort(delta.ids[new])]
        places = np.searchsorted(base.ids[old], delta.ids[new])
        self.ids = np.insert(base.ids[old], places, delta.ids[new])
        self.origin = np.insert(old, places, -1 - new)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.ids)

    def __getitem__(self, rows: Any) -> npt.NDArray[Any]:
        """Copy rows, by a slice without a step."""
        origin = self.origin[rows]
        copy = np.empty((len(origin), self._scheme.columns), self._scheme.dtype)
        is_old = origin >= 0
        old = origin[is_old]  # they rise: read what spans them at once
        if len(old):
            copy[is_old] = self._base[int(old[0]) : int(old[-1]) + 1][old - old[0]]
        copy[~is_old] = self._delta[-1 - origin[~is_old]]
        return copy
