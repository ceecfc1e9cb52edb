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
_SHORT: Final = 32
"""Rows of a range that are compared at once: halving so few takes longer."""


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
        ranges = numbers >> self._after
        start = self._starts[ranges].astype(np.int64)
        end = self._starts[ranges + 1].astype(np.int64)
        first, last = self._equal(start, end, self._rest_of(numbers))
        if limit is not None:  # equal rows lie in the order of their ids
            last = np.minimum(last, first + limit)
        offsets = np.concatenate([[0], np.cumsum(last - first)])
        places = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], last - first)
        rows = self._order[places].astype(np.int64)
        return Hits(offsets, rows, np.zeros(len(rows), np.float32))

    def _equal(
        self, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], rest: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """From which place to which the rows of ranges are equal to a query: long ranges are halved first."""
        first, last = start.copy(), start.copy()
        lengths = end - start
        long = np.flatnonzero(lengths > _SHORT)
        if len(long):
            wanted = rest[long].astype(np.int64)
            found = self._passed(
                np.tile(start[long], 2), np.tile(end[long], 2), np.concatenate([wanted, wanted + 1])
            )
            first[long], last[long] = found[: len(long)], found[len(long) :]
            lengths[long] = 0
        ends = np.cumsum(lengths)
        begins = ends - lengths
        looked = self._rest[np.arange(lengths.sum()) + np.repeat(start - begins, lengths)]
        wanted = np.repeat(rest, lengths)
        for bound, over in ((first, np.less), (last, np.less_equal)):
            passed = np.zeros(len(looked) + 1, np.int64)
            np.cumsum(over(looked, wanted), out=passed[1:])
            np.add(bound, passed[ends] - passed[begins], out=bound)
        return first, last

    def _passed(
        self, start: npt.NDArray[np.int64], end: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Place of the first row of each range that is not below `wanted`; else `end`. None is empty."""
        step = 1 << int((end - start).max()).bit_length()
        while step := step >> 1:
            # Beyond the end stands its last row: if that is below, so are all, and the end is the place.
            below = self._rest[np.minimum(start + step, end) - 1] < wanted
            start = start + step * below
        return np.minimum(start, end)

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
