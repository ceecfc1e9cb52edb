"""What every backend checks, and how every backend orders its hits."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Scheme
from indexers.index.base import Hits

COSINE_STEP = 2.0**-20
"""Cosine distances are rounded to multiples of this, about 1e-6: as much as float32 descriptors can
carry, so that all backends agree on which side of a radius a descriptor lies. A float32 holds every
multiple up to 2 exactly."""


def check_query(
    scheme: Scheme, queries: npt.NDArray[Any], radius: float, limit: int | None
) -> npt.NDArray[Any]:
    """Return the queries, C-contiguous, if `VectorIndex.search` may be asked this.

    Raises:
        ValueError: If `radius` is negative or NaN, or `limit` below 1.
        FingerprintError: If the queries do not fit the scheme.
    """
    if math.isnan(radius) or radius < 0:
        raise ValueError(f"radius must be 0 or more, not {radius}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be 1 or more, or None for all hits, not {limit}")
    return np.ascontiguousarray(scheme.check(queries))


def check_new(scheme: Scheme, ids: npt.NDArray[np.int64], descriptors: npt.NDArray[Any]) -> None:
    """Check what is to be added, but for whether the ids are present.

    Raises:
        ValueError: If the ids are not one for each descriptor, or one is negative or repeated.
        FingerprintError: If the descriptors do not fit the scheme.
    """
    scheme.check(descriptors)
    if ids.shape != (len(descriptors),):
        raise ValueError(f"{len(descriptors)} descriptors need as many ids, not shape {ids.shape}")
    if len(ids) and ids.min() < 0:
        raise ValueError(f"id {ids.min()} is negative; ids are 0 or more")
    if len(np.unique(ids)) < len(ids):
        raise ValueError("an id is repeated among those to be added; each descriptor needs its own")


def ordered(
    offsets: npt.NDArray[np.int64],
    ids: npt.NDArray[np.int64],
    distances: npt.NDArray[np.float32],
    limit: int | None,
) -> Hits:
    """Sort each query's hits by (distance, id) and keep the first `limit`; arguments as in `Hits`."""
    if len(ids) < 2:  # most queries of unknown media
        return Hits(offsets, ids, distances)
    if _in_order(offsets, ids, distances) and (limit is None or np.diff(offsets).max() <= limit):
        return Hits(offsets, ids, distances)
    query = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((ids, distances, query))
    if limit is not None:
        rank = np.arange(len(ids)) - offsets[query]  # sorting leaves `query` as it is
        order = order[rank < limit]
        offsets = _offsets(np.minimum(np.diff(offsets), limit))
    return Hits(offsets, ids[order], distances[order])


def _in_order(
    offsets: npt.NDArray[np.int64], ids: npt.NDArray[np.int64], distances: npt.NDArray[np.float32]
) -> bool:
    """Whether the hits of each query are sorted already, as those of equal keys are: sorting takes longer."""
    falls = distances[1:] < distances[:-1]
    falls |= (distances[1:] == distances[:-1]) & (ids[1:] < ids[:-1])
    begins = offsets[1:-1]
    falls[begins[(begins > 0) & (begins < len(ids))] - 1] = False
    return not falls.any()


def selected(hits: Hits, keep: npt.NDArray[np.bool_]) -> Hits:
    """The hits, less those where `keep` is false."""
    kept_before = np.concatenate(([0], np.cumsum(keep)))
    return Hits(kept_before[hits.offsets], hits.ids[keep], hits.distances[keep])


def merged(parts: list[Hits], limit: int | None) -> Hits:
    """The hits of the same queries on disjoint sets of descriptors as one, cut to `limit`."""
    counts = [np.diff(part.offsets) for part in parts]
    query = np.concatenate([np.repeat(np.arange(len(count)), count) for count in counts])
    grouped = np.argsort(query, kind="stable")
    return ordered(
        _offsets(np.sum(counts, axis=0)),
        np.concatenate([part.ids for part in parts])[grouped],
        np.concatenate([part.distances for part in parts])[grouped],
        limit,
    )


def joined(parts: list[Hits]) -> Hits:
    """The hits of consecutive queries, of at least one, as one."""
    return Hits(
        _offsets(np.concatenate([np.diff(part.offsets) for part in parts])),
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.distances for part in parts]),
    )


def found_in(ordered_values: npt.NDArray[np.int64], values: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Tell which of `values` are among `ordered_values`, which rise."""
    if len(ordered_values) == 0:
        return np.zeros(len(values), np.bool_)
    place = np.searchsorted(ordered_values, values)
    place[place == len(ordered_values)] = 0
    found: npt.NDArray[np.bool_] = ordered_values[place] == values
    return found


def _offsets(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets
