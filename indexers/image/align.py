"""How a query picture and a reference picture relate, by their hashes alone.

Whole pictures are compared, or whole frames: a hash of a picture says nothing of its parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Fingerprint, SpanUnit
from indexers.image.hashes import PDQ, PHASH, TRANSFORMS
from indexers.modality import WHOLE, AlignedRegion, AlignedSegment, Alignment

CLOSE = {PDQ.id: 48, PHASH.id: 8}
"""Bits up to which two frames count as corresponding.

One pair of unrelated pictures in a million has a view within 48 bits of PDQ, 42 within 8 bits of pHash
(measured on 3,100 photographs).
"""

_SIGNALS = {PDQ.id: "pdq", PHASH.id: "phash"}
"""What the signals of a scheme begin with."""

_PAIRS = 1 << 15
"""Pairs of descriptors compared at a time: 1 MiB of PDQ's differences."""


@dataclass(frozen=True, slots=True, eq=False)
class _Comparison:
    """Distances under one scheme, and the pair that is closest."""

    query: Fingerprint
    work: Fingerprint
    distances: npt.NDArray[np.uint16]
    """(query descriptors, work descriptors), bits."""
    row: int
    column: int

    @property
    def distance(self) -> float:
        return float(self.distances[self.row, self.column])

    @property
    def quality(self) -> float:
        """Of the worse side of the closest pair."""
        return float(min(self.query.quality[self.row], self.work.quality[self.column]))

    @property
    def view(self) -> int:
        return int(self.query.views[self.row])

    @property
    def still(self) -> bool:
        """Whether both sides have one frame."""
        views = self.query.views
        return len(self.work) == 1 and (len(views) == 1 or np.count_nonzero(views == views[0]) == 1)


def align(query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
    """Relate a query in all its views to a reference; see `indexers.modality.Modality.align`.

    Signals, for each scheme that both have: ``pdq_distance`` and ``phash_distance``, the smallest distance
    over views and frames in bits, and ``pdq_quality`` and ``phash_quality``, 0..1, of the worse side of that
    pair. The region's transform is that pair's view, PDQ's where there is one.

    Of animations, coverages count the frames that have a neighbour (`CLOSE`) on the other side under that
    view, and one segment reaches from the first of them to the last. Two stills cover each other entirely.
    """
    by_scheme = {fingerprint.scheme.id: fingerprint for fingerprint in work}
    signals: dict[str, float] = {}
    leading: _Comparison | None = None
    for scheme_id, name in _SIGNALS.items():
        mine = next((f for f in query if f.scheme.id == scheme_id), None)
        theirs = by_scheme.get(scheme_id)
        if mine is None or theirs is None:
            continue
        comparison = _compare(mine, theirs)
        signals[f"{name}_distance"] = comparison.distance
        signals[f"{name}_quality"] = comparison.quality
        leading = leading or comparison
    if leading is None:
        return None
    regions = (AlignedRegion(WHOLE, WHOLE, TRANSFORMS[leading.view]),)
    if leading.still:
        return Alignment(signals, regions=regions)
    return _animated(leading, signals, regions)


def _compare(query: Fingerprint, work: Fingerprint) -> _Comparison:
    words = np.ascontiguousarray(query.descriptors).view(np.uint64)
    others = np.ascontiguousarray(work.descriptors).view(np.uint64)
    at_once = max(1, _PAIRS // len(others))
    if len(words) <= at_once:
        distances = _distances(words, others)
    else:
        distances = np.empty((len(words), len(others)), np.uint16)
        for start in range(0, len(words), at_once):
            part = slice(start, start + at_once)
            distances[part] = _distances(words[part], others)
    row, column = divmod(int(distances.argmin()), distances.shape[1])
    return _Comparison(query, work, distances, row, column)


def _distances(words: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint16]:
    """Bits that differ, (len(words), len(others))."""
    bits: npt.NDArray[np.uint16] = np.bitwise_count(words[:, np.newaxis] ^ others).sum(
        axis=2, dtype=np.uint16
    )
    return bits


def _animated(
    comparison: _Comparison, signals: dict[str, float], regions: tuple[AlignedRegion, ...]
) -> Alignment:
    """Add which frames correspond, under the view of the closest pair."""
    rows = np.flatnonzero(comparison.query.views == comparison.view)
    distances = comparison.distances[rows]
    close = distances <= CLOSE[comparison.query.scheme.id]
    matched = np.flatnonzero(close.any(axis=1))
    partners = distances.argmin(axis=1)[matched]
    segments: tuple[AlignedSegment, ...] = ()
    if len(matched):
        mine = comparison.query.spans[rows[matched]]
        theirs = comparison.work.spans[partners]
        segments = (_segment(mine, theirs),)
    return Alignment(
        signals,
        segments,
        regions,
        query_coverage=float(close.any(axis=1).mean()),
        work_coverage=float(close.any(axis=0).mean()),
    )


def _segment(query: npt.NDArray[np.float64], work: npt.NDArray[np.float64]) -> AlignedSegment:
    """Span the paired frames, (n, 2) each; the speed is the slope between the first pair and the last."""
    run, covered = query[-1, 0] - query[0, 0], work[-1, 0] - work[0, 0]
    return AlignedSegment(
        query=(float(query[:, 0].min()), float(query[:, 1].max())),
        work=(float(work[:, 0].min()), float(work[:, 1].max())),
        speed=float(covered / run) if run and covered else 1.0,
        unit=SpanUnit.FRAME,
    )
