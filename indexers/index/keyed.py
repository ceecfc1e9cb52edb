"""Exact search for equal descriptors: hashes of passages, of tuples of peaks, by the hundred million.

An inverted index whose lists are ranges of one permutation: rows are sorted by the first bits of their
descriptor, as many bits as make ranges of a few rows. A search compares what is in the ranges of its queries,
all of them in one pass.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Metric, Scheme
from indexers.index.base import Hits
from indexers.index.contract import selected
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
    """`Rows` found by equality: 5 bytes a row beside the descriptor.

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
        self._shift = _PREFIX_BITS - bits
        ranges = self._ranges(descriptors)
        self._order = np.argsort(ranges, kind="stable").astype(np.uint32)
        self._starts = np.zeros((1 << bits) + 1, np.uint32)
        np.cumsum(np.bincount(ranges, minlength=1 << bits), out=self._starts[1:])

    @property
    def nbytes(self) -> int:
        """Memory of the descriptors and their order."""
        return self.descriptors.nbytes + self._order.nbytes + self._starts.nbytes

    def search(self, queries: npt.NDArray[np.uint8], *, radius: float, limit: int | None) -> Hits:
        """Find rows; see `Rows.search`."""
        if radius >= 1:
            return self._flat.search(queries, radius=radius, limit=limit)
        ranges = self._ranges(queries)
        starts = self._starts[ranges].astype(np.int64)
        counts = self._starts[ranges + 1].astype(np.int64) - starts
        offsets = np.concatenate([[0], np.cumsum(counts)])
        query = np.repeat(np.arange(len(queries)), counts)
        rows = self._order[np.arange(offsets[-1]) + (starts - offsets[:-1])[query]].astype(np.int64)
        equal = (self.descriptors[rows] == queries[query]).all(axis=1)
        return selected(Hits(offsets, rows, np.zeros(len(rows), np.float32)), equal)

    def _ranges(self, descriptors: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """The range that each descriptor belongs to: its first bits."""
        prefix = np.ascontiguousarray(descriptors[:, : _PREFIX_BITS // 8]).view(">u4").ravel()
        return prefix.astype(np.int64) >> self._shift
