"""Retrieve: which registered media items might the query be a copy of?"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Fingerprint
from indexers.index import Hits
from indexers.modality import Channel
from service.domain import DescriptorOwner

Search = Callable[[Channel, npt.NDArray[Any], int], Hits]
"""(channel, queries, hits for each query) to hits within the channel's radius."""
Owners = Callable[[str, npt.NDArray[np.int64]], Mapping[int, DescriptorOwner]]
"""(scheme id, descriptor ids) to their owners; deleted ones are absent."""

_HITS_PER_CANDIDATE = 4
"""A reference may have several near descriptors (an animation's frames), so look for more hits than
candidates."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A registered media item near the query.

    Attributes:
        closeness: Smallest distance over all channels, as a fraction of the channel's radius: 0 is
            identical, 1 at the edge.
    """

    work_id: UUID
    reference_id: UUID
    closeness: float


@dataclass(frozen=True, slots=True)
class Candidates:
    """What was retrieved.

    Attributes:
        found: Nearest first.
        truncated: Whether there were more than were asked for.
    """

    found: tuple[Candidate, ...]
    truncated: bool


def retrieve(
    query: Sequence[Fingerprint],
    channels: Iterable[Channel],
    search: Search,
    owners: Owners,
    limit: int,
) -> Candidates:
    """Look the query's descriptors up in the index of every channel.

    Args:
        query: The query's fingerprints, with all views.
        channels: How each scheme is searched.
        search: Finds neighbours.
        owners: Finds the media items that descriptors belong to.
        limit: Most candidates, ≥ 1.
    """
    by_scheme = {fingerprint.scheme.id: fingerprint for fingerprint in query}
    nearest: dict[UUID, Candidate] = {}
    truncated = False
    for channel in channels:
        fingerprint = by_scheme.get(channel.scheme.id)
        if fingerprint is None:
            continue
        telling = fingerprint.quality >= channel.min_quality
        if not telling.any():
            continue
        depth = limit * _HITS_PER_CANDIDATE
        hits = search(channel, fingerprint.descriptors[telling], depth)
        if len(hits.ids) == 0:  # most queries: uploads that resemble nothing
            continue
        truncated |= bool((np.diff(hits.offsets) >= depth).any())
        distances = _smallest(hits)
        found = owners(channel.scheme.id, np.fromiter(distances, np.int64, len(distances)))
        for descriptor_id, owner in found.items():
            closeness = distances[descriptor_id] / channel.radius
            known = nearest.get(owner.reference_id)
            if known is None or closeness < known.closeness:
                nearest[owner.reference_id] = Candidate(owner.work_id, owner.reference_id, closeness)
    ranked = sorted(nearest.values(), key=lambda c: (c.closeness, c.reference_id))
    return Candidates(tuple(ranked[:limit]), truncated or len(ranked) > limit)


def _smallest(hits: Hits) -> dict[int, float]:
    """Smallest distance of each descriptor over all queries, nearest first."""
    order = np.lexsort((hits.ids, hits.distances))
    ids, first = np.unique(hits.ids[order], return_index=True)
    by_distance = np.argsort(first, kind="stable")
    distances = hits.distances[order][first]
    return {int(ids[i]): float(distances[i]) for i in by_distance}
