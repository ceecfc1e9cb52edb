"""The default backend: FAISS's exhaustive search, over arrays that are ours.

FAISS's flat indexes are a copy of the descriptors plus the functions called here. Calling those on our
own arrays gives the same search without a second copy, without an id map (8 bytes an id, not FAISS's
hash table) and on the growing buffer of new descriptors too.

FAISS takes its number of threads from the thread that calls it, so that each call sets it to one: many
queries run side by side in the service, and one must not take the cores of all.
"""

import math
import threading
from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Metric, Scheme
from indexers.index.base import Hits
from indexers.index.contract import COSINE_STEP, check_new, check_query, found_in, joined, selected
from indexers.index.table import Descriptors, Rows, Table

_RECHECKED = 1 << 22
"""Float64 numbers used at a time to recompute cosine distances: 32 MiB."""
_SPARE = 16
"""Float rows fetched beyond the limit, so that one pass nearly always shows that none of the rest belongs."""


class FlatRows:
    """`Rows` that are all compared, by FAISS. Exact for both metrics."""

    all_may_be_near = True

    def __init__(self, scheme: Scheme, descriptors: npt.NDArray[Any]) -> None:
        """Take descriptors that fit the scheme, C-contiguous; they are not copied."""
        self.descriptors = descriptors
        self._hamming = scheme.metric is Metric.HAMMING
        self._dim = scheme.dim
        # Jeannerod and Rump, "Improved error bounds for inner products in floating-point arithmetic",
        # 2013: a float32 dot of unit rows is off by at most dim * 2^-24.
        self._tolerance = scheme.dim * 2.0**-24 * 1.01 + COSINE_STEP

    @property
    def nbytes(self) -> int:
        """Memory of the descriptors."""
        return self.descriptors.nbytes

    def search(self, queries: npt.NDArray[Any], *, radius: float, limit: int | None) -> Hits:
        """Find rows; see `Rows.search`."""
        if len(queries) == 0 or len(self.descriptors) == 0:
            return Hits(np.zeros(len(queries) + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        if limit is None or limit >= len(self.descriptors) or (self._hamming and radius * 4 <= self._dim):
            return self._within(queries, radius)  # so near, unrelated codes are not found: few hits
        if not self._hamming:
            return self._nearest(queries, radius, limit)
        # Whatever is as near as the limit-th neighbour is wanted; ties make `knn` itself ambiguous.
        faiss.omp_set_num_threads(1)
        bits, _ = faiss.knn_hamming(queries, self.descriptors, limit)
        reach = np.minimum(bits[:, -1], radius)
        return joined([self._within(queries[i : i + 1], float(reach[i])) for i in range(len(queries))])

    def _nearest(self, queries: npt.NDArray[np.float32], radius: float, limit: int) -> Hits:
        """Float rows, in one pass; a second one for a query whose farthest hits tie with what was left."""
        faiss.omp_set_num_threads(1)
        depth = min(limit + _SPARE, len(self.descriptors))
        similarities, rows = faiss.knn(queries, self.descriptors, depth, faiss.METRIC_INNER_PRODUCT)
        least = 1.0 - similarities.astype(np.float64) - self._tolerance  # no row is nearer than it says here
        every = Hits(np.arange(0, rows.size + 1, depth), rows.ravel(), similarities.ravel())
        hits = rechecked(self.descriptors, queries, selected(every, least.ravel() <= radius), radius)
        parts = []
        for number in range(len(queries)):
            ids, distances = hits.of(number)
            reach = radius if len(ids) < limit else float(np.partition(distances, limit - 1)[limit - 1])
            if depth == len(self.descriptors) or least[number, -1] > reach:
                parts.append(Hits(np.array([0, len(ids)]), ids, distances))
            else:
                parts.append(self._within(queries[number : number + 1], reach))
        return joined(parts)

    def _within(self, queries: npt.NDArray[Any], radius: float) -> Hits:
        faiss.omp_set_num_threads(1)
        result = faiss.RangeSearchResult(len(queries))
        ours, theirs = faiss.swig_ptr(self.descriptors), faiss.swig_ptr(queries)
        if self._hamming:
            exclusive = math.floor(min(radius, self._dim)) + 1
            faiss.hamming_range_search(  # type: ignore[attr-defined]  # FAISS's own stubs lack it
                theirs, ours, len(queries), len(self.descriptors), exclusive, queries.shape[1], result
            )
        else:
            least = 1.0 - min(radius, 3.0) - self._tolerance
            faiss.range_search_inner_product(
                theirs, ours, self._dim, len(queries), len(self.descriptors), least, result
            )
        offsets = faiss.rev_swig_ptr(result.lims, len(queries) + 1).astype(np.int64)
        count = int(offsets[-1])
        if count == 0:
            return Hits(offsets, np.empty(0, np.int64), np.empty(0, np.float32))
        hits = Hits(
            offsets,
            faiss.rev_swig_ptr(result.labels, count).copy(),
            faiss.rev_swig_ptr(result.distances, count).copy(),
        )
        return hits if self._hamming else rechecked(self.descriptors, queries, hits, radius)


def rechecked(descriptors: Descriptors, queries: npt.NDArray[np.float32], hits: Hits, radius: float) -> Hits:
    """The hits with distances from float64, as `exact.distances_to` gives them, and cut to the radius.

    Args:
        descriptors: (n, dim). Rows that are no hits are not read.
        queries: (q, dim).
        hits: Of the queries; ids are row numbers. Their distances are not looked at.
        radius: Largest distance of a hit, inclusive.
    """
    distances = np.empty(len(hits.ids), np.float32)
    query = np.repeat(np.arange(len(queries)), np.diff(hits.offsets))
    size = max(1, _RECHECKED // queries.shape[1])
    for start in range(0, len(hits.ids), size):
        part = slice(start, start + size)
        one = queries[query[part]].astype(np.float64)
        other = descriptors[hits.ids[part]].astype(np.float64)
        distance = 1.0 - np.einsum("ij,ij->i", one, other)
        distances[part] = (np.round(distance / COSINE_STEP) * COSINE_STEP).clip(0.0, 2.0)
    return selected(Hits(hits.offsets, hits.ids, distances), distances <= radius)


class FaissIndex:
    """A `VectorIndex` in memory, exact, of descriptors sorted by id.

    `add` and `remove` copy all descriptors: for sets that are built once. `live.LiveIndex` takes a
    stream of changes.
    """

    def __init__(
        self, scheme: Scheme, build_rows: Callable[[Scheme, npt.NDArray[Any]], Rows] = FlatRows
    ) -> None:
        """Start empty.

        Args:
            scheme: Of the descriptors.
            build_rows: How they are searched: `FlatRows`, or `multi_index.HashedRows`.
        """
        self.scheme = scheme
        self._build_rows = build_rows
        self._lock = threading.Lock()
        self._table = self._build(np.empty(0, np.int64), np.empty((0, scheme.columns), scheme.dtype))

    def __len__(self) -> int:
        """Number of descriptors."""
        return len(self._table)

    def add(self, ids: npt.NDArray[np.int64], descriptors: npt.NDArray[Any]) -> None:
        """Add descriptors; see `VectorIndex.add`."""
        check_new(self.scheme, ids, descriptors)
        with self._lock:
            table = self._table
            if found_in(table.ids, ids).any():
                raise ValueError(f"{self.scheme.id} has one of these ids already: remove it first")
            all_ids = np.concatenate([table.ids, ids])
            order = np.argsort(all_ids)
            rows = np.concatenate([table.rows.descriptors[:], descriptors])[order]
            self._table = self._build(all_ids[order], rows)

    def remove(self, ids: npt.NDArray[np.int64]) -> int:
        """Remove descriptors; see `VectorIndex.remove`."""
        with self._lock:
            table = self._table
            gone = found_in(np.unique(ids), table.ids)
            self._table = self._build(table.ids[~gone], table.rows.descriptors[~gone])
            return int(gone.sum())

    def search(self, queries: npt.NDArray[Any], *, radius: float, limit: int | None = None) -> Hits:
        """Find neighbours; see `VectorIndex.search`."""
        queries = check_query(self.scheme, queries, radius, limit)
        return self._table.search(queries, radius=radius, limit=limit)

    def _build(self, ids: npt.NDArray[np.int64], descriptors: npt.NDArray[Any]) -> Table:
        return Table(ids, self._build_rows(self.scheme, descriptors), np.empty(0, np.int64))
