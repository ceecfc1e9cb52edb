"""Approximate search for far neighbours among millions of binary codes: FAISS's inverted lists.

Tables that exact search looks codes up in (`multi_index`) serve where neighbours differ in few bits. Codes of
sound that was mixed or tuned differ in a third of their bits from those that they were copied from: what is
looked for are the nearest, however far. So codes are divided as floats are (`inverted`): as rows of ±1, for
which cosine distance and Hamming distance are one, by k-means whose centres need not be codes. A search
compares the query with the centres, and then the bits of the codes in the nearest lists.

Distances are exact, and only what lies in lists that were not looked at can be missed. A search without a
limit looks at all lists, and misses nothing.
"""

import math
from typing import Any, Final

import faiss
import numpy as np
import numpy.typing as npt

from indexers.index.base import Hits
from indexers.index.contract import joined
from indexers.index.inverted import centres_of
from indexers.index.partition import Partition
from indexers.index.table import Descriptors

_LOOKED_AT: Final = 8
"""One list in so many is looked at: of attacked sounds' rows, the nearest of 100,000 is found for 98 in 100,
and 96 of 100 of the twenty nearest."""
_LEAST_LOOKED_AT: Final = 32
_SPARE: Final = 44
"""Codes fetched beyond the limit, since several lie equally far."""


class Signs:
    """Codes as rows of ±1, scaled to length 1: `table.Descriptors`, made as they are read."""

    def __init__(self, codes: Descriptors) -> None:
        """Take codes, at least one, (n, bytes) uint8."""
        self._codes = codes

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._codes)

    def __getitem__(self, rows: Any) -> npt.NDArray[np.float32]:
        """Make rows, by a slice without a step or an array of their numbers."""
        return signs(self._codes[rows])


def signs(codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Codes, (n, bytes), as rows of length 1, (n, bits): the dot of two with h other bits is 1 - 2h/bits."""
    bits = np.unpackbits(codes, axis=1)
    scale = np.float32(1 / math.sqrt(bits.shape[1]))
    return np.where(bits, scale, -scale)


class InvertedCodes:
    """`Rows` of codes in inverted lists. Memory: the code and 8 bytes a row, and the centres."""

    all_may_be_near = True

    def __init__(self, descriptors: Descriptors, partition: Partition) -> None:
        """Fill the lists; takes a second for a million codes of 256 bits.

        Args:
            descriptors: Codes, at least one, (n, bytes) uint8, C-contiguous; they are not copied.
            partition: Of their `Signs`, from `inverted.divided`.
        """
        self.descriptors = descriptors
        self.partition = partition
        lists, bits = partition.centres.shape
        self._looked_at = min(lists, max(_LEAST_LOOKED_AT, math.ceil(lists / _LOOKED_AT)))
        self._coarse = centres_of(partition)
        # It never searches for centres: `_in_lists` tells it which lists to look at.
        self._unused = faiss.IndexBinaryFlat(bits)
        self._index: Any = faiss.IndexBinaryIVF(self._unused, bits, lists)
        self._index.is_trained = True
        self._fill()

    @property
    def nbytes(self) -> int:
        """Memory that it holds; descriptors that lie in a file take none."""
        own = len(self.descriptors) * (int(self._index.code_size) + np.dtype(np.int64).itemsize)
        return own + 2 * self.partition.centres.nbytes + self.partition.list_of.nbytes

    def search(self, queries: npt.NDArray[np.uint8], *, radius: float, limit: int | None) -> Hits:
        """Find rows; see `Rows.search`."""
        if len(queries) == 0:
            return Hits(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        faiss.omp_set_num_threads(1)
        reach = math.floor(min(radius, self._index.d))
        if limit is None or limit >= len(self.descriptors):
            return self._all(queries, reach)
        depth = min(limit + _SPARE, len(self.descriptors))
        return joined(self._nearest(queries, reach, limit, depth, self._looked_at))

    def _all(self, queries: npt.NDArray[np.uint8], reach: int) -> Hits:
        lists, similarities = self._lists(queries, self._index.nlist)
        result = faiss.RangeSearchResult(len(queries))
        self._index.nprobe = self._index.nlist
        self._index.range_search_preassigned_c(
            len(queries),
            faiss.swig_ptr(queries),
            reach + 1,  # exclusive
            faiss.swig_ptr(lists),
            faiss.swig_ptr(similarities),
            result,
        )
        offsets = faiss.rev_swig_ptr(result.lims, len(queries) + 1).astype(np.int64)
        count = int(offsets[-1])
        if count == 0:
            return Hits(offsets, np.empty(0, np.int64), np.empty(0, np.float32))
        return Hits(
            offsets,
            faiss.rev_swig_ptr(result.labels, count).copy(),
            faiss.rev_swig_ptr(result.distances, count).copy(),
        )

    def _nearest(
        self, queries: npt.NDArray[np.uint8], reach: int, limit: int, depth: int, looked_at: int
    ) -> list[Hits]:
        """At least `limit` of each query and all that tie with them; it looks on for those that lack some."""
        bits, rows = self._in_lists(queries, depth, looked_at)
        short = rows[:, limit - 1] < 0
        if looked_at == self._index.nlist:
            short[:] = False
        tied = (bits[:, limit - 1] == bits[:, -1]) & (rows[:, -1] >= 0) & (bits[:, -1] <= reach)
        if depth == len(self.descriptors):
            tied[:] = False
        kept = (rows >= 0) & (bits <= reach)
        found = [_hits(rows[i, kept[i]], bits[i, kept[i]]) for i in range(len(queries))]
        for number in np.flatnonzero(short | tied).tolist():
            wider = min((4 if short[number] else 1) * looked_at, self._index.nlist)
            deeper = min((4 if tied[number] else 1) * depth, len(self.descriptors))
            (found[number],) = self._nearest(queries[number : number + 1], reach, limit, deeper, wider)
        return found

    def _in_lists(
        self, queries: npt.NDArray[np.uint8], depth: int, looked_at: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Distances and row numbers of the nearest in the nearest lists, (queries, depth) both; -1: none."""
        lists, similarities = self._lists(queries, looked_at)
        bits = np.empty((len(queries), depth), np.int32)
        rows = np.empty((len(queries), depth), np.int64)
        params = faiss.SearchParametersIVF()
        params.nprobe = looked_at
        self._index.search_preassigned_c(
            len(queries),
            faiss.swig_ptr(queries),
            depth,
            faiss.swig_ptr(lists),
            faiss.swig_ptr(similarities),
            faiss.swig_ptr(bits),
            faiss.swig_ptr(rows),
            False,
            params,
        )
        return bits, rows

    def _lists(
        self, queries: npt.NDArray[np.uint8], looked_at: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """The nearest lists of each query, nearest first, and room for distances that nothing reads."""
        _, lists = self._coarse.search(signs(queries), looked_at)
        return lists, np.zeros(lists.shape, np.int32)

    def _fill(self) -> None:
        """Put the codes into their lists."""
        inside: Any = self._index.invlists
        order = np.argsort(self.partition.list_of, kind="stable")
        sizes = np.bincount(self.partition.list_of, minlength=self._index.nlist)
        for number, rows in enumerate(np.split(order, np.cumsum(sizes)[:-1])):
            if len(rows):
                codes = np.ascontiguousarray(self.descriptors[rows])
                inside.add_entries(number, len(rows), faiss.swig_ptr(rows), faiss.swig_ptr(codes))
        self._index.ntotal = len(self.descriptors)


def _hits(rows: npt.NDArray[np.int64], bits: npt.NDArray[np.int32]) -> Hits:
    """Those of one query."""
    return Hits(np.array([0, len(rows)]), rows, bits.astype(np.float32))
