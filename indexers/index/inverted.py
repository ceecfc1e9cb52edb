"""Approximate cosine search for large catalogues, in a quarter of the memory: FAISS's inverted lists.

Rows are divided among the lists of k-means centres, and kept there as one byte a number
(`IndexIVFScalarQuantizer`). A search compares the query with the centres, then with the rows of the
nearest lists. What comes out is compared once more with the descriptors themselves, which stay in the
snapshot's file: distances are exact, and only what lies in lists that were not looked at can be missed.
Of clustered descriptors at least 98 of 100 of the ten nearest are found (benchmarks/README.md), of near
duplicates practically all.

A search without a limit looks at all lists, and misses nothing.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from indexers.index.base import Hits
from indexers.index.contract import COSINE_STEP, selected
from indexers.index.faiss import rechecked
from indexers.index.partition import MOST_LISTS, NO_LIST, Partition
from indexers.index.table import Descriptors

_SEED = 1
_ROUNDS = 8
"""Of k-means; more hardly change the centres."""
_SAMPLE = 32
"""Rows for each list, at most, that k-means looks at."""
_LEAST_SAMPLE = 39
"""Rows for each list, at least: FAISS's own rule."""
_FEWEST = 8
"""Rows for which a list stays. The centre of fewer would nearly be a descriptor, and outlive its deletion."""
_LOOKED_AT = 16
"""One list in so many is looked at: chosen for a recall of 0.98 on hard synthetic descriptors."""
_LEAST_LOOKED_AT = 16
_SPARE = 64
"""Rows fetched beyond the limit, since bytes rank a little differently than the numbers."""
_WIDER = 0.25
"""Part of a column's range by which the bytes reach further on either side than the sample did. A number
beyond that is cut off, and its row may rank wrong."""
_BLOCK_BYTES = 1 << 23
"""Descriptors read at a time."""


class InvertedRows:
    """`Rows` in inverted lists. Memory: a byte for each number, 10 bytes a row, and the centres."""

    all_may_be_near = True

    def __init__(self, descriptors: Descriptors, partition: Partition) -> None:
        """Fill the lists; takes a second for a million rows of 256 numbers.

        Args:
            descriptors: Unit rows, at least one, float32, C-contiguous; they are not copied.
            partition: Of these, from `divided`.
        """
        self.descriptors = descriptors
        self.partition = partition
        lists, dim = partition.centres.shape
        self._looked_at = min(lists, max(_LEAST_LOOKED_AT, math.ceil(lists / _LOOKED_AT)))
        self._coarse = centres_of(partition)
        quantiser = faiss.ScalarQuantizer.QT_8bit
        metric = faiss.METRIC_INNER_PRODUCT
        self._index = faiss.IndexIVFScalarQuantizer(self._coarse, dim, lists, quantiser, metric, False)
        faiss.copy_array_to_vector(
            np.concatenate([partition.lowest, partition.width]), self._index.sq.trained
        )
        self._index.is_trained = True
        self._tolerance = 1.01 * self._fill() + dim * 2.0**-23 + COSINE_STEP

    @property
    def nbytes(self) -> int:
        """Memory that it holds; descriptors that lie in a file take none."""
        centres = 2 * self.partition.centres.nbytes
        own = len(self.descriptors) * (self._index.code_size + np.dtype(np.int64).itemsize)
        return own + centres + self.partition.list_of.nbytes

    def search(self, queries: npt.NDArray[np.float32], *, radius: float, limit: int | None) -> Hits:
        """Find rows; see `Rows.search`."""
        if len(queries) == 0:
            return Hits(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        faiss.omp_set_num_threads(1)
        reach = min(radius, 3.0) + self._tolerance  # of a byte-wise distance: what is farther is no hit
        if limit is None:
            found = self._all(queries, reach)
        else:
            found = self._nearest(queries, reach, min(limit, len(self.descriptors)))
        return rechecked(self.descriptors, queries, found, radius)

    def _all(self, queries: npt.NDArray[np.float32], reach: float) -> Hits:
        offsets, similarities, rows = self._index.range_search(
            queries, 1.0 - reach, params=_looking_at(self._index.nlist)
        )
        return Hits(offsets.astype(np.int64), rows, similarities)

    def _nearest(self, queries: npt.NDArray[np.float32], reach: float, limit: int) -> Hits:
        """The nearest by their bytes: at least `limit` of each query, and all that tie with them."""
        looked_at = self._looked_at
        depth = min(limit + _SPARE, len(self.descriptors))
        while True:
            similarities, rows = self._index.search(queries, depth, params=_looking_at(looked_at))
            last, farthest = similarities[:, limit - 1], similarities[:, -1]
            if looked_at < self._index.nlist and (rows[:, limit - 1] < 0).any():
                looked_at = min(4 * looked_at, self._index.nlist)
            elif depth < len(self.descriptors) and ((last == farthest) & (1.0 - last <= reach)).any():
                depth = min(4 * depth, len(self.descriptors))
            else:
                break
        every = Hits(np.arange(0, rows.size + 1, depth), rows.ravel(), similarities.ravel())
        return selected(every, (every.ids >= 0) & (1.0 - every.distances <= reach))

    def _fill(self) -> float:
        """Put the rows into their lists; return how far the bytes of any lie from the row."""
        faiss.omp_set_num_threads(1)
        inside: Any = self._index.invlists
        sizes = np.bincount(self.partition.list_of, minlength=self._index.nlist)
        for number, size in enumerate(sizes.tolist()):
            inside.resize(number, size)  # once: growing lists would take up to twice the memory
        ends = np.zeros(self._index.nlist, np.int64)
        farthest = 0.0
        for start, rows in _blocks(self.descriptors):
            codes = self._index.sq.compute_codes(rows)
            off = self._index.sq.decode(codes)
            off -= rows
            farthest = max(farthest, float(np.linalg.norm(off, axis=1).max()))
            list_of = self.partition.list_of[start : start + len(rows)]
            order = np.argsort(list_of, kind="stable")
            ids, codes = start + order, codes[order]
            present, firsts, counts = np.unique(list_of[order], return_index=True, return_counts=True)
            places = zip(present.tolist(), firsts.tolist(), counts.tolist(), strict=True)
            for number, first, count in places:
                part = slice(first, first + count)
                inside.update_entries(
                    number, int(ends[number]), count, faiss.swig_ptr(ids[part]), faiss.swig_ptr(codes[part])
                )
            ends[present] += counts
        self._index.ntotal = len(self.descriptors)
        return farthest


def divided(descriptors: Descriptors, before: Partition | None) -> Partition:
    """Divide rows, at least one, among lists.

    Centres are found anew where there are none, and after the number of rows has doubled or halved; the
    result is the same each time. For a million rows of 256 numbers that takes a minute of one core.

    Args:
        descriptors: (n, dim) unit rows, float32.
        before: What they were divided by before: `list_of` is of these rows, with `NO_LIST` for new ones.
            None: they never were.
    """
    if before is None or not before.trained_on <= 2 * len(descriptors) <= 4 * before.trained_on:
        before = _trained(descriptors)
    partition = _assigned(descriptors, before)
    sizes = np.bincount(partition.list_of, minlength=len(partition.centres))
    stays = sizes >= _FEWEST
    if stays.all() or len(stays) == 1:
        return partition
    if stays.sum() < 2:
        return _single(descriptors, partition)
    numbers = np.full(len(stays), NO_LIST, np.uint16)
    numbers[stays] = np.arange(stays.sum())
    left = replace(partition, centres=partition.centres[stays], list_of=numbers[partition.list_of])
    return _assigned(descriptors, left)


def _trained(descriptors: Descriptors) -> Partition:
    """Centres by spherical k-means and ranges, of a sample that is bounded; no row is in a list yet."""
    count = len(descriptors)
    lists = max(1, min(MOST_LISTS, int(4 * math.sqrt(count)), count // _LEAST_SAMPLE))
    chosen = np.random.default_rng(_SEED).choice(count, min(count, _SAMPLE * lists), replace=False)
    sample = descriptors[np.sort(chosen)]
    lowest, width = sample.min(axis=0), np.ptp(sample, axis=0)
    partition = Partition(
        np.zeros((1, sample.shape[1]), np.float32),
        lowest - np.float32(_WIDER) * width,
        np.float32(1 + 2 * _WIDER) * width,
        count,
        np.full(count, NO_LIST, np.uint16),
    )
    if lists == 1:
        return partition
    faiss.omp_set_num_threads(1)
    means = faiss.Kmeans(
        sample.shape[1],
        lists,
        niter=_ROUNDS,
        spherical=True,
        seed=_SEED,
        min_points_per_centroid=1,
        max_points_per_centroid=_LEAST_SAMPLE,
    )
    means.train(sample)
    return replace(partition, centres=np.asarray(means.centroids, np.float32))


def _assigned(descriptors: Descriptors, partition: Partition) -> Partition:
    """The same, with each row that is in no list put into that of the nearest centre."""
    faiss.omp_set_num_threads(1)
    coarse = centres_of(partition)
    list_of = partition.list_of.copy()
    new = list_of == NO_LIST
    for start, rows in _blocks(descriptors, new):
        chosen = new[start : start + len(rows)]
        _, nearest = coarse.search(np.ascontiguousarray(rows[chosen]), 1)
        list_of[start : start + len(rows)][chosen] = nearest[:, 0]
    return replace(partition, list_of=list_of)


def _single(descriptors: Descriptors, partition: Partition) -> Partition:
    """The same rows in one list."""
    centres = np.zeros_like(partition.centres[:1])
    return replace(partition, centres=centres, list_of=np.zeros(len(descriptors), np.uint16))


def _looking_at(lists: int) -> faiss.SearchParametersIVF:
    params = faiss.SearchParametersIVF()
    params.nprobe = lists
    return params


def centres_of(partition: Partition) -> Any:
    """FAISS's index of the centres, by dot product."""
    coarse = faiss.IndexFlatIP(partition.centres.shape[1])
    coarse.add(partition.centres)
    return coarse


def _blocks(
    descriptors: Descriptors, wanted: npt.NDArray[np.bool_] | None = None
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Rows in order, a block at a time with the number of its first; only those with a `wanted` row."""
    size = max(1, _BLOCK_BYTES // descriptors[:1].nbytes)
    for start in range(0, len(descriptors), size):
        if wanted is None or wanted[start : start + size].any():
            yield start, descriptors[start : start + size]
