"""The reference implementation: every pair is compared. What the other backends must agree with."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Metric, Scheme
from indexers.index.base import Hits
from indexers.index.contract import COSINE_STEP, check_new, check_query, merged, ordered

_CHUNK = 1 << 14
"""Descriptors compared with one query at a time: bounds the memory of a search."""


class ExactIndex:
    """A `VectorIndex` of two arrays, in the order of adding."""

    def __init__(self, scheme: Scheme) -> None:
        """Start empty."""
        self.scheme = scheme
        self._lock = threading.Lock()
        self._rows = (np.empty(0, np.int64), np.empty((0, scheme.columns), scheme.dtype))

    def __len__(self) -> int:
        """Number of descriptors."""
        return len(self._rows[0])

    def add(self, ids: npt.NDArray[np.int64], descriptors: npt.NDArray[Any]) -> None:
        """Add descriptors; see `VectorIndex.add`."""
        check_new(self.scheme, ids, descriptors)
        with self._lock:
            old_ids, old_descriptors = self._rows
            if np.isin(ids, old_ids).any():
                raise ValueError(f"{self.scheme.id} has one of these ids already: remove it first")
            self._rows = (np.concatenate([old_ids, ids]), np.concatenate([old_descriptors, descriptors]))

    def remove(self, ids: npt.NDArray[np.int64]) -> int:
        """Remove descriptors; see `VectorIndex.remove`."""
        with self._lock:
            old_ids, old_descriptors = self._rows
            stays = ~np.isin(old_ids, ids)
            self._rows = (old_ids[stays], old_descriptors[stays])
            return int(len(stays) - stays.sum())

    def search(self, queries: npt.NDArray[Any], *, radius: float, limit: int | None = None) -> Hits:
        """Find neighbours; see `VectorIndex.search`."""
        check_query(self.scheme, queries, radius, limit)
        ids, descriptors = self._rows
        hits = Hits(np.zeros(len(queries) + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        for start in range(0, len(ids), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            hits = merged([hits, self._compare(queries, ids[chunk], descriptors[chunk], radius)], limit)
        return hits

    def _compare(
        self,
        queries: npt.NDArray[Any],
        ids: npt.NDArray[np.int64],
        descriptors: npt.NDArray[Any],
        radius: float,
    ) -> Hits:
        rows = [distances_to(self.scheme.metric, query, descriptors) for query in queries]
        near = [np.flatnonzero(row <= radius) for row in rows]
        empty_ids, empty_distances = np.empty(0, np.int64), np.empty(0, np.float32)
        return ordered(
            np.cumsum([0, *map(len, near)], dtype=np.int64),
            np.concatenate([empty_ids, *(ids[places] for places in near)]),
            np.concatenate([empty_distances, *(r[p] for r, p in zip(rows, near, strict=True))]),
            None,
        )


def distances_to(
    metric: Metric, query: npt.NDArray[Any], descriptors: npt.NDArray[Any]
) -> npt.NDArray[np.float32]:
    """Distance of one query, (columns,), to each descriptor, (n, columns).

    Hamming: the number of differing bits. Cosine: 1 - dot in float64, rounded to `COSINE_STEP`; rows of
    length 1 ± 0.001 may give a dot beyond ±1, so that it is cut to 0..2.
    """
    if metric is Metric.HAMMING:
        bits: npt.NDArray[np.float32] = np.bitwise_count(descriptors ^ query).sum(axis=1, dtype=np.float32)
        return bits
    distance: npt.NDArray[np.float64] = 1.0 - descriptors.astype(np.float64) @ query.astype(np.float64)
    rounded: npt.NDArray[np.float64] = np.round(distance / COSINE_STEP) * COSINE_STEP
    return rounded.clip(0.0, 2.0).astype(np.float32)
