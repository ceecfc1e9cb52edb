"""How a query's sound and a reference relate: which stretch is which, how fast, how high.

Each scheme proposes stretches with evidence (`Stretch`); they are merged, best first, so that no part of the
query is counted twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.audio.chromaprint import (
    CHROMAPRINT,
    CODES,
    PITCHES,
    STEP,
    SUPPORT,
    Codes,
    codes_of,
    positions,
)
from indexers.audio.decode import RATE
from indexers.audio.lines import Hits, Line, lines
from indexers.fingerprint import Fingerprint, SpanUnit
from indexers.modality import AlignedSegment, Alignment

RADIUS: Final = 88
"""Bits within which two rows are a hit."""

TELLING: Final = 0.25
"""Quality of a row below which it says nothing."""

SEGMENTS: Final = 16
"""Most stretches that are reported."""

BREAK_EVEN: Final = 0.36
"""Part of a code's bits that differ from which on it speaks against a copy."""

FLOOR: Final = 100.0
"""Evidence, in bits, below which a stretch is not reported."""

UNRELATED: Final = 0.45
"""Part of the bits that differ outside a copied stretch."""

_PAIRS = 1 << 16
"""Pairs of rows compared at a time."""

_MOST_PAIRS = 1 << 25
"""Pairs of rows compared in all: 0.2 s. Of longer media, fewer rows are compared (`_thinned`)."""

_MOST_HITS = 1 << 12
"""Hits that vote, the nearest ones: what voting costs grows with them."""
_CANDIDATES = 6
"""Lines that are looked at for one stretch."""

_REACH = 10.0 / STEP
"""Codes on both sides of a line's middle that it is first fitted to."""

_MARGIN = 40
"""Codes by which a stretch is tried to be longer, at least."""

_GROWTH = 32.0
"""Evidence that a longer stretch must bring: one code's bits."""

_HALF = SUPPORT / RATE / 2
"""Seconds from the start of a code's sound to its middle."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the query that may be a stretch of the work.

    Attributes:
        segment: Where, how fast, how high.
        evidence: How much speaks for it, in the unit of its scheme.
        seconds: Its length in the query.
        error: Part of the bits that differ along it, 0..1.
        hits: Hits on it.
    """

    segment: AlignedSegment
    evidence: float
    seconds: float
    error: float
    hits: int


def align(query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
    """Relate a query at all its pitches to a reference; see `indexers.modality.Modality.align`.

    Signals: ``chromaprint_seconds``, how much of the query's time is reported; ``chromaprint_error``, the
    part of the bits that differ along the best stretch; ``chromaprint_hits``, how many pairs of rows found
    it; ``chromaprint_evidence``, how many bits fewer differ along all stretches than `BREAK_EVEN` allows.
    Of the best stretch these are given too where it has too little evidence to be reported.
    """
    theirs = {fingerprint.scheme.id: fingerprint for fingerprint in work}
    mine = {fingerprint.scheme.id: fingerprint for fingerprint in query if fingerprint.scheme.id in theirs}
    if CHROMAPRINT.id not in mine:
        return None
    stretches = chromaprint_stretches(mine[CHROMAPRINT.id], theirs[CHROMAPRINT.id])
    reported = [one for one in stretches if one.evidence >= FLOOR]
    best = max(stretches, key=lambda one: one.evidence, default=None)
    segments = tuple(sorted((one.segment for one in reported), key=lambda one: one.query))
    return Alignment(
        {
            "chromaprint_seconds": sum(one.seconds for one in reported),
            "chromaprint_error": best.error if best else 0.5,
            "chromaprint_hits": float(best.hits) if best else 0.0,
            "chromaprint_evidence": sum(one.evidence for one in reported or stretches[:1]),
        },
        segments=segments,
        query_coverage=_coverage([one.query for one in segments], mine[CHROMAPRINT.id]),
        work_coverage=_coverage([one.work for one in segments], theirs[CHROMAPRINT.id]),
    )


def _coverage(parts: Sequence[tuple[float, float]], whole: Fingerprint) -> float:
    """Part of the media that lies in one of some intervals, 0..1."""
    covered, reached = 0.0, 0.0
    for start, end in sorted(parts):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return min(1.0, covered / float(whole.spans[:, 1].max()))


def chromaprint_stretches(query: Fingerprint, work: Fingerprint) -> list[Stretch]:
    """Find stretches of a query that sound like stretches of a work, by Chromaprint's codes, best first."""
    hits = _hits(query, work)
    if hits is None:
        return []
    by_view = _Views(query, work)
    found: list[Stretch] = []
    while len(hits) and len(found) < SEGMENTS:
        rough = [by_view.rough(line) for line in lines(hits, _CANDIDATES)]
        best = by_view.fitted(max(rough, key=lambda one: one.evidence))
        on_line = best.holds(hits)
        if best.evidence > 0:
            found.append(by_view.stretch(best, int(on_line.sum())))
        if best.evidence < FLOOR:
            break
        by_view.take(best)
        left = ~on_line & ~best.covers(hits)
        hits = Hits(hits.query[left], hits.work[left], hits.weight[left], hits.layer[left])
    return found


def _hits(query: Fingerprint, work: Fingerprint) -> Hits | None:
    """Pairs of rows within `RADIUS`; times are those of the rows' first codes. None: no row says anything."""
    mine, theirs = _thinned(query, work)
    if not len(mine) or not len(theirs):
        return None
    words, others = query.descriptors[mine].view(np.uint64), work.descriptors[theirs].view(np.uint64)
    at_once = max(1, _PAIRS // len(theirs))
    rows, columns, bits = [], [], []
    for start in range(0, len(mine), at_once):
        part = words[start : start + at_once]
        distances = np.zeros((len(part), len(others)), np.uint16)
        for place in range(words.shape[1]):
            distances += np.bitwise_count(part[:, place, np.newaxis] ^ others[:, place])
        flat = np.flatnonzero(distances <= RADIUS)
        rows.append(flat // len(others) + start)
        columns.append(flat % len(others))
        bits.append(distances.ravel()[flat])
    row, column, distance = (np.concatenate(values) for values in (rows, columns, bits))
    if len(row) > _MOST_HITS:
        nearest = np.argpartition(distance, _MOST_HITS)[:_MOST_HITS]
        row, column, distance = row[nearest], column[nearest], distance[nearest]
    return Hits(
        positions(query.spans[mine[row]]).astype(np.float64) * STEP,
        positions(work.spans[theirs[column]]).astype(np.float64) * STEP,
        RADIUS + 8.0 - distance.astype(np.float64),
        query.views[mine[row]].astype(np.int64),
    )


def _thinned(query: Fingerprint, work: Fingerprint) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which rows of both are compared: those that say something, and of very long media not all.

    Every second code of a query is enough, as neighbours are alike. Then rows of the work are left out: a
    stretch that is long enough to matter among hours has hits all the same.
    """
    mine = np.flatnonzero(query.quality >= TELLING)
    theirs = np.flatnonzero(work.quality >= TELLING)
    if len(mine) * len(theirs) > _MOST_PAIRS:
        mine = mine[positions(query.spans[mine]) % 2 == 0]
    stride = -(-len(mine) * len(theirs) // _MOST_PAIRS)
    return mine, theirs[:: max(1, stride)]


@dataclass(frozen=True, slots=True)
class _Track:
    """A line through codes: code i of the query lies at code ``slope * i + offset`` of the work."""

    view: int
    slope: float
    offset: float
    first: int
    last: int
    """Codes of the query, half-open."""
    evidence: float

    def at(self, code: float) -> float:
        return self.slope * code + self.offset

    def holds(self, hits: Hits) -> npt.NDArray[np.bool_]:
        """Which hits lie on the line, within a code or two."""
        away = np.abs(hits.work / STEP - self.at(0) - self.slope * hits.query / STEP)
        on_it: npt.NDArray[np.bool_] = (away <= CODES / 2) & self.covers(hits)
        return on_it

    def covers(self, hits: Hits) -> npt.NDArray[np.bool_]:
        """Which hits lie in the stretch of the query, be it anywhere in the work."""
        code = hits.query / STEP + (CODES - 1) / 2
        inside: npt.NDArray[np.bool_] = (code >= self.first) & (code < self.last)
        return inside


class _Views:
    """The codes of a query at each pitch and of a work, and what of the query is not yet accounted for."""

    def __init__(self, query: Fingerprint, work: Fingerprint) -> None:
        self._views: dict[int, Codes] = {}
        for view in np.unique(query.views):
            rows = query.views == view
            start, codes = codes_of(query.descriptors[rows], query.spans[rows])
            self._views[int(view)] = np.concatenate([np.zeros(start, np.uint32), codes])
        start, codes = codes_of(work.descriptors, work.spans)
        self._work = np.concatenate([np.zeros(start, np.uint32), codes])
        self._free = np.ones(max(map(len, self._views.values())))

    def _gains(
        self, view: int, codes: npt.NDArray[np.int64], places: npt.NDArray[np.float64], even: float
    ) -> npt.NDArray[np.float64]:
        """Bits that speak for a copy, at codes of the query and places in the work, as many as `places`."""
        nearest = np.rint(places).astype(np.int64)
        inside = (nearest >= 0) & (nearest < len(self._work))
        others = self._work[nearest.clip(0, len(self._work) - 1)]
        errors = np.bitwise_count(self._views[view][codes] ^ others)
        return np.where(inside, (even * 32 - errors) * self._free[codes], -even * 32)

    def rough(self, line: Line) -> _Track:
        """Fit a line roughly to the codes around the stretch in which it was found."""
        length = len(self._views[line.layer])
        middle = line.query / STEP
        first, last = max(0, int(middle - _REACH)), min(length, int(middle + _REACH) + 1)
        offset = line.work / STEP - line.slope * middle
        track = _Track(line.layer, line.slope, offset, first, last, 0.0)
        return self._better(track, 1.0)

    def fitted(self, track: _Track) -> _Track:
        """Fit a line closely, and follow it as far as it goes."""
        length = len(self._views[track.view])
        for width in (0.5, 0.25):
            track = self._better(track, width)
        while track.evidence >= FLOOR / 2:
            # What is part of it reaches further than what found it.
            margin = max(_MARGIN, (track.last - track.first) // 2)
            first, last = max(0, track.first - margin), min(length, track.last + margin)
            wider = _Track(track.view, track.slope, track.offset, first, last, track.evidence)
            grown = self._better(self._better(wider, 0.5), 0.25)
            if grown.evidence <= track.evidence + _GROWTH:
                break
            track = grown
        return track

    def _better(self, track: _Track, width: float) -> _Track:
        """The best line of those that differ by some codes at the ends of the stretch; its best run."""
        codes = np.arange(track.first, track.last)
        steps = width * np.arange(-2, 3)
        begins, ends = track.at(track.first) + steps, track.at(track.last - 1) + steps
        along = np.linspace(0, 1, len(codes))
        places = (
            begins[:, np.newaxis, np.newaxis] * (1 - along) + ends[np.newaxis, :, np.newaxis] * along
        ).reshape(-1, len(codes))
        gains = self._gains(track.view, codes, places, BREAK_EVEN)
        sums = np.concatenate([np.zeros((len(gains), 1)), gains.cumsum(axis=1)], axis=1)
        lows = np.minimum.accumulate(sums, axis=1)
        row, end = np.unravel_index(np.argmax(sums - lows), sums.shape)
        start = int(np.argmin(sums[row, : end + 1]))
        evidence = float(sums[row, end] - sums[row, start])
        if end - start < 2:
            return track
        slope = float(places[row, -1] - places[row, 0]) / max(1, len(codes) - 1)
        if not 0.65 <= slope <= 1.5:
            return track
        offset = float(places[row, 0]) - slope * track.first
        return _Track(track.view, slope, offset, track.first + start, track.first + int(end), evidence)

    def take(self, track: _Track) -> None:
        """Count a stretch of the query as accounted for."""
        self._free[track.first : track.last] = 0.0

    def stretch(self, track: _Track, hits: int) -> Stretch:
        """What is reported of a track: its ends where as much speaks for a copy as against one."""
        length = len(self._views[track.view])
        first, last, error = self._ends(track)
        start, end = first * STEP + _HALF, (last - 1) * STEP + _HALF
        # A code at the very start or end of either side speaks for all the sound that it was taken from.
        if first == 0 or track.at(first) < 0.5:
            start -= min(_HALF, start, (track.at(first) * STEP + _HALF) / track.slope)
        if last == length or track.at(last - 1) > len(self._work) - 1.5:
            end += _HALF
        work = [max(0.0, track.at(0) * STEP + _HALF + track.slope * (time - _HALF)) for time in (start, end)]
        segment = AlignedSegment(
            query=(start, end),
            work=(work[0], work[1]),
            speed=track.slope,
            unit=SpanUnit.SECOND,
            pitch_cents=self._cents(track, first, last),
        )
        return Stretch(segment, track.evidence, end - start, error, hits)

    def _ends(self, track: _Track) -> tuple[int, int, float]:
        """Where the stretch starts and ends, and the part of its bits that differ."""
        length = len(self._views[track.view])
        codes = np.arange(max(0, track.first - 12), min(length, track.last + 12))
        places = track.at(0) + track.slope * codes.astype(np.float64)
        inner = slice(track.first - int(codes[0]), track.last - int(codes[0]))
        error = 1.0 - self._gains(track.view, codes, places, 1.0)[inner].mean() / 32
        even = (error + UNRELATED) / 2
        sums = np.concatenate([[0.0], self._gains(track.view, codes, places, even).cumsum()])
        end = int(np.argmax(sums - np.minimum.accumulate(sums)))
        start = int(np.argmin(sums[: end + 1]))
        return int(codes[0]) + start, int(codes[0]) + end, float(error)

    def _cents(self, track: _Track, first: int, last: int) -> float:
        """The pitch at which the codes differ least, by the parabola through three of them."""
        codes = np.arange(first, last)
        places = track.at(0) + track.slope * codes.astype(np.float64)
        order = sorted(self._views, key=lambda view: PITCHES[view])
        cents = [PITCHES[view] for view in order]
        here = order.index(track.view)
        if not 0 < here < len(order) - 1 or len(codes) == 0:
            return float(cents[here])
        left, middle, right = (
            float(self._gains(view, codes, places, 0.0).mean()) for view in order[here - 1 : here + 2]
        )
        bend = left - 2 * middle + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        return cents[here] + float(np.clip(shift, -0.5, 0.5)) * (cents[here + 1] - cents[here])
