"""Descriptors in the order of adding, in arrays that grow."""

from typing import Any

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Scheme
from indexers.index.faiss import FlatRows
from indexers.index.table import Table

_LEAST = 1024


class Buffer:
    """Arrays with room for more; they double when full, so that adding costs the same at any size.

    Tables share the arrays: rows that a table shows never change. One thread at a time may add.
    """

    def __init__(self, scheme: Scheme) -> None:
        """Start empty."""
        self._scheme = scheme
        self._length = 0
        self._ids = np.empty(0, np.int64)
        self._descriptors = np.empty((0, scheme.columns), scheme.dtype)

    def __len__(self) -> int:
        """Number of rows."""
        return self._length

    @property
    def nbytes(self) -> int:
        """Memory held, with the room for more."""
        return self._ids.nbytes + self._descriptors.nbytes

    def append(self, ids: npt.NDArray[np.int64], descriptors: npt.NDArray[Any]) -> None:
        """Add rows that fit the scheme, (n,) and (n, scheme.columns)."""
        end = self._length + len(ids)
        if end > len(self._ids):
            room = max(_LEAST, 2 * len(self._ids), end)
            larger = np.empty(room, np.int64), np.empty((room, self._scheme.columns), self._scheme.dtype)
            larger[0][: self._length] = self._ids[: self._length]
            larger[1][: self._length] = self._descriptors[: self._length]
            self._ids, self._descriptors = larger
        self._ids[self._length : end] = ids
        self._descriptors[self._length : end] = descriptors
        self._length = end

    def truncate(self, length: int) -> None:
        """Forget the last rows, which no table shows."""
        self._length = length

    def table(self, dead: npt.NDArray[np.int64]) -> Table:
        """The rows as they are now; `dead` as in `Table`."""
        rows = FlatRows(self._scheme, self._descriptors[: self._length])
        return Table(self._ids[: self._length], rows, dead)
