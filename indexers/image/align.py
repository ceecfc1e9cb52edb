"""How a query picture and a reference picture relate: hashes of the whole, CNN descriptors, local features.

Hashes say nothing of a picture's parts; local features say which part of the query shows which part of the
reference. Reported is the whole where hashes are near, else what local features agree on, else the window of
the query whose CNN descriptor is nearest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Fingerprint, Scheme, SpanUnit
from indexers.image.embed import CNN
from indexers.image.geometry import Geometry, relate
from indexers.image.hashes import PDQ, PHASH, TRANSFORMS
from indexers.image.local import LOCAL
from indexers.modality import WHOLE, AlignedRegion, AlignedSegment, Alignment, Box
from indexers.transforms import Matrix

CLOSE = {PDQ.id: 48, PHASH.id: 8}
"""Bits up to which two frames count as corresponding.

One pair of unrelated pictures in a million has a view within 48 bits of PDQ, 42 within 8 bits of pHash
(measured on 3,100 photographs).
"""

TELLING = {PDQ.id: 0.5, PHASH.id: 0.25}
"""Quality of the worse side below which a distance says nothing: blank pictures are all alike.

Queries of less quality are not looked up either (Meta's rule for PDQ).
"""

LOCATED = 8
"""Inliers from which on local features tell where the copy is."""

_SIGNALS = {PDQ.id: "pdq", PHASH.id: "phash"}
"""What the signals of a hash begin with."""

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


@dataclass(frozen=True, slots=True, eq=False)
class _Nearest:
    """The pair of CNN descriptors that are most alike."""

    similarity: float
    quality: float
    window: Box
    query_span: npt.NDArray[np.float64]
    work_span: npt.NDArray[np.float64]


def align(
    query: Sequence[Fingerprint], work: Sequence[Fingerprint], network: Scheme = CNN
) -> Alignment | None:
    """Relate a query in all its views to a reference; see `indexers.modality.Modality.align`.

    Signals, for each hash that both have: ``pdq_distance`` and ``phash_distance``, the smallest distance
    over views and frames in bits, and ``pdq_quality`` and ``phash_quality``, 0..1, of the worse side of that
    pair; neither where that quality is below `TELLING`. Of CNN descriptors: ``cnn_similarity``, -1..1, the
    largest over windows and frames, and ``cnn_quality``, 0..1, of the query's side of that pair; of another
    network than ours ``network_similarity`` and ``network_quality``: what they mean differs by network. Of
    local features, for the frames that are most alike: ``local_inliers``, ``local_spread`` (see
    `geometry.Geometry`, the larger of both sides) and ``local_agreement``, 0..1; all are 0 where no
    transform was found.

    Of animations, coverages count the frames that have a neighbour (`CLOSE`) on the other side under the
    nearest view, and one segment reaches from the first of them to the last.
    """
    theirs = {fingerprint.scheme.id: fingerprint for fingerprint in work}
    mine = {fingerprint.scheme.id: fingerprint for fingerprint in query if fingerprint.scheme.id in theirs}
    if not mine:
        return None
    signals: dict[str, float] = {}
    compared = [_compare(mine[scheme], theirs[scheme]) for scheme in _SIGNALS if scheme in mine]
    hashed = [one for one in compared if one.quality >= TELLING[one.query.scheme.id]]
    for comparison in hashed:
        name = _SIGNALS[comparison.query.scheme.id]
        signals[f"{name}_distance"] = comparison.distance
        signals[f"{name}_quality"] = comparison.quality
    nearest = _nearest(mine[network.id], theirs[network.id]) if network.id in mine else None
    if nearest is not None:
        name = "cnn" if network == CNN else "network"
        signals |= {f"{name}_similarity": nearest.similarity, f"{name}_quality": nearest.quality}
    geometry = None
    if LOCAL.id in mine:
        geometry = _geometry(mine[LOCAL.id], theirs[LOCAL.id], nearest)
        signals |= {
            "local_inliers": float(geometry.inliers) if geometry else 0.0,
            "local_spread": float(max(geometry.query_spread, geometry.work_spread)) if geometry else 0.0,
            "local_agreement": geometry.agreement if geometry else 0.0,
        }
    place = _place(hashed, geometry, nearest)
    moving = next((one for one in compared if not one.still), None)
    if moving is not None:
        place = _animated(moving, place)
    return replace(place, signals=signals)


def identity(query: Sequence[Fingerprint]) -> Alignment | None:
    """Relate a query to a reference of the same file, as `align` would.

    Returns:
        None for animations, and where there is more than hashes: of that, references have less.
    """
    signals: dict[str, float] = {}
    for one in query:
        name, own = _SIGNALS.get(one.scheme.id), np.flatnonzero(one.views == 0)
        if name is None or len(own) != 1:
            return None
        quality = float(one.quality[own[0]])
        if quality >= TELLING[one.scheme.id]:
            signals |= {f"{name}_distance": 0.0, f"{name}_quality": quality}
    return Alignment(signals, regions=(AlignedRegion(WHOLE, WHOLE, TRANSFORMS[0]),))


def _place(hashed: Sequence[_Comparison], geometry: Geometry | None, nearest: _Nearest | None) -> Alignment:
    """Where the copy lies, by what can tell best."""
    whole = next((one for one in hashed if one.distance <= CLOSE[one.query.scheme.id]), None)
    located = geometry if geometry is not None and geometry.inliers >= LOCATED else None
    if whole is None and located is not None:
        return _located(located)
    if whole is None and nearest is not None:
        return Alignment(
            {},
            regions=(AlignedRegion(nearest.window, WHOLE, TRANSFORMS[0]),),
            query_coverage=_area(nearest.window),
        )
    leading = whole or next(iter(hashed), None)
    view = 0 if leading is None else leading.view
    exact = () if located is None else _matrix(located)
    return Alignment({}, regions=(AlignedRegion(WHOLE, WHOLE, TRANSFORMS[view], exact),))


def _nearest(query: Fingerprint, work: Fingerprint) -> _Nearest:
    similarities = query.descriptors @ work.descriptors.T
    row, column = divmod(int(similarities.argmax()), similarities.shape[1])
    region = WHOLE if query.regions is None else Box(*map(float, query.regions[row]))
    return _Nearest(
        float(similarities[row, column]),
        float(query.quality[row]),
        region,
        query.spans[row],
        work.spans[column],
    )


def _geometry(query: Fingerprint, work: Fingerprint, nearest: _Nearest | None) -> Geometry | None:
    """Relate the frames that are most alike; the first ones where nothing tells which those are."""
    mine = _of_frame(query, None if nearest is None else nearest.query_span)
    theirs = _of_frame(work, None if nearest is None else nearest.work_span)
    if query.regions is None or work.regions is None:
        return None
    return relate(
        query.descriptors[mine], query.regions[mine], work.descriptors[theirs], work.regions[theirs]
    )


def _of_frame(fingerprint: Fingerprint, span: npt.NDArray[np.float64] | None) -> npt.NDArray[np.bool_]:
    """The rows of the frame with this span; of the first frame where it has none."""
    starts = fingerprint.spans[:, 0]  # no two frames start at once
    of_span: npt.NDArray[np.bool_] = starts == (starts[0] if span is None else span[0])
    of_first: npt.NDArray[np.bool_] = starts == starts[0]
    return of_span if of_span.any() else of_first


def _located(geometry: Geometry) -> Alignment:
    name = "invert" if geometry.inverted and geometry.name == TRANSFORMS[0] else geometry.name
    return Alignment(
        {},
        regions=(AlignedRegion(geometry.query, geometry.work, name, _matrix(geometry)),),
        query_coverage=geometry.query_coverage,
        work_coverage=geometry.work_coverage,
    )


def _matrix(geometry: Geometry) -> Matrix:
    return tuple(map(float, geometry.transform.flat))


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)


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


def _animated(comparison: _Comparison, place: Alignment) -> Alignment:
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
    return replace(
        place,
        segments=segments,
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
