"""Exact search for equal descriptors: hashes of passages, of tuples of peaks, by the hundred million.

An inverted index whose lists are ranges of one permutation: rows are sorted by their descriptor, and its
first bits lead to a range of a few rows, or of many where many are equal. A search halves the ranges of all
its queries until it has the first and the last row that is equal.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Metric, Scheme
from indexers.index.base import Hits
from indexers.index.faiss import FlatRows

_PREFIX_BITS: Final = 32
_LONGEST: Final = 56
_MOST_RANGE_BITS: Final = 26
_ROWS_A_RANGE_BITS: Final = 2
"""Logarithm of the rows that a range holds on average: the starts of ranges take a byte a row."""


def keyable(scheme: Scheme) -> bool:
    """Tell whether `KeyedRows` serves this scheme: Hamming, 32 to 56 bits.

    So short a descriptor says nothing by being near another one: only by being equal.
    """
    return scheme.metric is Metric.HAMMING and _PREFIX_BITS <= scheme.dim <= _LONGEST


class KeyedRows:
    """`Rows` found by equality: 6 to 9 bytes a row beside the descriptor, the fewer the more rows there are.

    A radius of 1 or more is searched as `FlatRows` does.
    """

    all_may_be_near = False

    def __init__(self, scheme: Scheme, descriptors: npt.NDArray[np.uint8]) -> None:
        """Sort the rows.

        Args:
            scheme: One that is `keyable`.
            descriptors: (n, scheme.columns), C-contiguous, n < 2^32; not copied.
        """
        self.descriptors = descriptors
        self._flat = FlatRows(scheme, descriptors)
        bits = max(0, min(_MOST_RANGE_BITS, len(descriptors).bit_length() - _ROWS_A_RANGE_BITS))
        self._after = 8 * descriptors.shape[1] - bits
        numbers = self._numbers(descriptors)
        self._order = np.argsort(numbers, kind="stable").astype(np.uint32)
        self._starts = np.zeros((1 << bits) + 1, np.uint32)
        np.cumsum(np.bincount(numbers >> self._after, minlength=1 << bits), out=self._starts[1:])
        # In the order of the search, so that no look leaps to a descriptor.
        self._rest = self._rest_of(numbers)[self._order]

    @property
    def nbytes(self) -> int:
        """Memory of the descriptors and their order."""
        return self.descriptors.nbytes + self._order.nbytes + self._rest.nbytes + self._starts.nbytes

    def search(self, queries: npt.NDArray[np.uint8], *, radius: float, limit: int | None) -> Hits:
        """Find rows; see `Rows.search`."""
        if radius >= 1:
            return self._flat.search(queries, radius=radius, limit=limit)
        numbers = self._numbers(queries)
        ranges, rest = numbers >> self._after, self._rest_of(numbers)
        start, end = (self._starts[ranges + after].astype(np.int64) for after in (0, 1))
        start = self._passed(start, end, rest, np.less)
        held = np.flatnonzero(start < end)
        held = held[self._rest[start[held]] == rest[held]]
        first, last = start[held], end[held]
        if limit is not None:  # equal rows lie in the order of their ids
            last = np.minimum(last, first + limit)
        counts = np.zeros(len(queries), np.int64)
        counts[held] = self._passed(first + 1, last, rest[held], np.less_equal) - first
        offsets = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], counts)
        rows = self._order[places].astype(np.int64)
        return Hits(offsets, rows, np.zeros(len(rows), np.float32))

    def _passed(
        self, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], rest: npt.NDArray[Any], over: np.ufunc
    ) -> npt.NDArray[np.int64]:
        """Place of the first row from `start` on that is not `over` with a query; `end` where all are."""
        start, end = start.copy(), end.copy()
        open_ = np.flatnonzero(start < end)
        while len(open_):
            middle = (start[open_] + end[open_]) // 2
            below = over(self._rest[middle], rest[open_])
            start[open_] = np.where(below, middle + 1, start[open_])
            end[open_] = np.where(below, end[open_], middle)
            open_ = open_[start[open_] < end[open_]]
        return start

    def _rest_of(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """What follows the first bits of numbers, in as few bytes as hold it."""
        most = (1 << self._after) - 1
        rest: npt.NDArray[Any] = (numbers & most).astype(np.min_scalar_type(most))
        return rest

    def _numbers(self, descriptors: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Descriptors as numbers below 2^56, which rise with their bytes from the first on."""
        if descriptors.shape[1] == 4:
            return descriptors.view(">u4").ravel().astype(np.int64)
        wide = np.zeros((len(descriptors), 8), np.uint8)
        wide[:, -descriptors.shape[1] :] = descriptors
        return wide.view(">i8").ravel().astype(np.int64)
