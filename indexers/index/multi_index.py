"""Exact Hamming search that looks at a few candidates, for catalogues of millions.

Multi-index hashing (Norouzi, Punjani and Fleet, "Fast Exact Search in Hamming Space with Multi-Index
Hashing", 2014): cut a code of `dim` bits into m = dim/16 pieces of 16 bits. Codes that differ in r bits
differ, by the pigeonhole principle, in at most a = r // m bits of one of the first r - m·a + 1 pieces, or
in at most a - 1 bits of one of the others. One table for each piece lists the codes by that piece's
value, so that a search reads a few lists and compares what is in them. Nothing is missed.

FAISS's `IndexBinaryMultiHash` rests on the same idea; it keeps its lists in hash tables, which take more
memory, and where it is as fast it misses some neighbours. At 256 bits and radius 31 the search here reads
16 · 17 lists, one code in 240 of a catalogue whose bits are evenly spread.
"""

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Metric, Scheme
from indexers.index.base import Hits
from indexers.index.contract import joined
from indexers.index.faiss import FlatRows

_VALUES = 1 << 16
_ONES = np.bitwise_count(np.arange(_VALUES, dtype=np.uint16))
_WORTH = 20
"""To fetch and compare a listed code costs as much as to compare this many in a row (measured: 15 to 20):
with more candidates than one code in 20, comparing all is cheaper."""


def hashable(scheme: Scheme) -> bool:
    """Tell whether `HashedRows` can hold this scheme: Hamming, a multiple of 16 bits."""
    return scheme.metric is Metric.HAMMING and scheme.dim % 16 == 0


class HashedRows:
    """`Rows` with a table for each 16 bits of a code: 4 bytes a code and table, beside the code.

    A radius that would need too many candidates (beyond 31 of 256 bits) is searched as `FlatRows` does.
    """

    all_may_be_near = True

    def __init__(self, scheme: Scheme, descriptors: npt.NDArray[np.uint8]) -> None:
        """Build the tables.

        Args:
            scheme: One that is `hashable`.
            descriptors: (n, scheme.columns), C-contiguous, n < 2^32; not copied.
        """
        self.descriptors = descriptors
        self._scheme = scheme
        self._flat = FlatRows(scheme, descriptors)
        pieces = scheme.dim // 16
        # Table t lists, for value v, the rows _lists[t, _starts[t, v] : _starts[t, v + 1]].
        self._lists = np.empty((pieces, len(descriptors)), np.uint32)
        self._starts = np.zeros((pieces, _VALUES + 1), np.uint32)
        values = descriptors.view(np.uint16)
        for piece in range(pieces):
            value = np.ascontiguousarray(values[:, piece])
            self._lists[piece] = np.argsort(value, kind="stable")
            np.cumsum(np.bincount(value, minlength=_VALUES), out=self._starts[piece, 1:])

    @property
    def nbytes(self) -> int:
        """Memory of the descriptors and the tables."""
        return self.descriptors.nbytes + self._lists.nbytes + self._starts.nbytes

    def search(self, queries: npt.NDArray[np.uint8], *, radius: float, limit: int | None) -> Hits:
        """Find rows; see `Rows.search`."""
        pieces, flips = self._probes(radius)
        if len(queries) == 0 or len(flips) * _WORTH > _VALUES:
            return self._flat.search(queries, radius=radius, limit=limit)
        return joined(
            [self._search_one(queries[i : i + 1], radius, limit, pieces, flips) for i in range(len(queries))]
        )

    def _probes(self, radius: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint16]]:
        """Which pieces to look up, and the bits to flip in each before: two arrays of one length."""
        flips, rest = divmod(int(min(radius, self._scheme.dim)), len(self._lists))
        more = np.flatnonzero(flips >= _ONES).astype(np.uint16)
        fewer = np.flatnonzero(flips > _ONES).astype(np.uint16)
        patterns = [more if piece <= rest else fewer for piece in range(len(self._lists))]
        return np.repeat(np.arange(len(patterns)), [len(one) for one in patterns]), np.concatenate(patterns)

    def _search_one(
        self,
        query: npt.NDArray[np.uint8],
        radius: float,
        limit: int | None,
        pieces: npt.NDArray[np.int64],
        flips: npt.NDArray[np.uint16],
    ) -> Hits:
        values = (query.view(np.uint16)[0, pieces] ^ flips).astype(np.int64)
        starts, ends = self._starts[pieces, values], self._starts[pieces, values + 1]
        if int((ends - starts).sum()) * _WORTH > len(self.descriptors):
            return self._flat.search(query, radius=radius, limit=limit)
        places = zip(pieces.tolist(), starts.tolist(), ends.tolist(), strict=True)
        candidates = np.concatenate([self._lists[piece, start:end] for piece, start, end in places])
        gathered = FlatRows(self._scheme, np.take(self.descriptors, candidates, axis=0))
        hits = gathered.search(query, radius=radius, limit=None)
        rows, first = np.unique(candidates[hits.ids].astype(np.int64), return_index=True)
        return Hits(np.array([0, len(rows)]), rows, hits.distances[first])
