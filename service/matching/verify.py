"""Verify: how does the query relate to each candidate, and where?"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol
from uuid import UUID

from indexers.fingerprint import Fingerprint
from indexers.modality import Alignment, Modality

_CHUNK = 32
"""Candidates between two looks at the clock."""


class Fingerprints(Protocol):
    """Loads stored fingerprints."""

    def __call__(
        self, reference_ids: Sequence[UUID], /, *, schemes: Collection[str]
    ) -> Mapping[UUID, Sequence[Fingerprint]]:
        """Reference ids to their fingerprints of these schemes; deleted ones are absent."""
        ...


@dataclass(frozen=True, slots=True)
class Verified:
    """What verification gave.

    Attributes:
        alignments: By reference, in the order of the candidates; those that are not worth it have none.
        left_out: How many candidates there was no time for.
    """

    alignments: Mapping[UUID, Alignment]
    left_out: int


def verify(
    query: Sequence[Fingerprint],
    reference_ids: Iterable[UUID],
    modalities: Mapping[UUID, Modality[Any]],
    fingerprints: Fingerprints,
    in_time: Callable[[], bool],
    *,
    worth: Callable[[UUID, Sequence[Fingerprint]], bool] | None = None,
) -> Verified:
    """Align the query with each candidate.

    Args:
        query: What of the query is compared, with all views.
        reference_ids: The candidates, most promising first.
        modalities: Of each candidate: aligns it.
        fingerprints: Loads stored fingerprints of the query's schemes.
        in_time: Asked before every chunk of candidates; once it says no, the rest is left out.
        worth: Told a candidate and its fingerprints: whether it is aligned at all; None: all are.
    """
    known = {fingerprint.scheme for fingerprint in query}
    schemes = {scheme.id for scheme in known} | {
        channel.scheme.id
        for modality in set(modalities.values())
        for channel in modality.channels
        if channel.beside in known
    }
    remaining = iter(reference_ids)
    alignments: dict[UUID, Alignment] = {}
    while chunk := list(islice(remaining, _CHUNK)):
        if not in_time():
            return Verified(alignments, len(chunk) + sum(1 for _ in remaining))
        stored = fingerprints(chunk, schemes=schemes)
        for reference_id in chunk:
            if reference_id not in stored or not (worth is None or worth(reference_id, stored[reference_id])):
                continue
            alignment = modalities[reference_id].align(query, stored[reference_id])
            if alignment is not None:
                alignments[reference_id] = alignment
    return Verified(alignments, 0)
