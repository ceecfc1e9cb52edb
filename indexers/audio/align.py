"""How a query's sound and a reference relate: which stretch is which, how fast, how high.

Codes and peaks both propose stretches (`Stretch`), and each judges what the other proposes: what both find at
one place is worth far more than what they find at two. Then they are merged, heaviest first, so that no part
of the query is counted twice.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.audio import coincide, peaks
from indexers.audio.chromaprint import (
    AS_IT_IS,
    CENTS,
    CHROMAPRINT,
    CODES,
    SLOWED,
    SPED_UP,
    STEP,
    STRETCH_CENTS,
    SUPPORT,
    Codes,
    Played,
    as_played,
    codes_of,
    positions,
)
from indexers.audio.coincide import Asked, Coincidence
from indexers.audio.decode import RATE
from indexers.audio.lines import BLOCK, Hits, Line, lines
from indexers.audio.peaks import Constellation
from indexers.audio.triples import FASTEST
from indexers.fingerprint import Fingerprint, SpanUnit
from indexers.modality import AlignedSegment, Alignment, Place, covered

RADIUS: Final = 88
"""Bits within which two rows are a hit."""

ASKED: Final = 0.1
"""Quality of a query's row below which it is not looked up: what is left of music under noise has little."""

SIDE_SECONDS: Final = 12.0
"""Length of a query up to which places are looked for by what a reference's sides differ by; codes find those
of longer ones."""

TELLING: Final = 0.25
"""Quality of a row below which it says nothing."""

SEGMENTS: Final = 16
"""Most stretches that are reported."""

BREAK_EVEN: Final = 0.36
"""Part of a code's bits that differ from which on it speaks against a copy."""

BITS: Final = 4.0
"""Bits of evidence that say as much as a unit of the peaks' does."""

FLOOR: Final = 45.0
"""What codes and peaks must say together (`Stretch.weight`) for a stretch to be reported."""

SAME: Final = 0.5
"""Seconds of the work by which two stretches may differ that are parts of one copy."""

OVERLAP: Final = 0.5
"""Part of a stretch that may lie in a heavier one; what lies in it more is an echo of it."""

WINDOW: Final = 30.0
"""Seconds of the query in which peaks are compared at a time, where both sides are long."""

PRECISE: Final = 40.0
"""Evidence of peaks from which on they tell place, speed and pitch better than codes do."""

_GO_ON = 100.0
"""Evidence of codes that the best line must have for others to be looked for."""

_MOST_PEAKS = 4_000_000
"""Product of the numbers of peaks up to which all of both are compared: 20 s with 10 minutes."""

_MOST_ASKED = 6_000
"""Peaks of a query up to which all of them are compared: some 3 minutes, whose table takes 12 MB."""

_TABLES = 32
"""Queries, or windows of long ones, whose triples are kept in readiness, since each is compared with many
works: as a rule of 2 MB each."""

_HINTS = 8
"""Areas in which peaks are compared where both sides are longer."""

_SPEEDS = 2
"""Places, those with the most votes, at whose speeds all of a work is looked at."""

AROUND: Final = 10.0
"""Seconds before and after a place that is looked at first."""

_MARGIN_SECONDS = 10.0
"""How much longer than the window the work's part is, before and after."""

UNRELATED: Final = 0.45
"""Part of the bits that differ outside a copied stretch."""

_PAIRS = 1 << 16
"""Pairs of rows compared at a time."""

_MOST_PAIRS = 1 << 25
"""Pairs of rows compared in all: 0.2 s. Of longer media, fewer rows are compared (`_thinned`)."""

_LEAST_HITS = 1 << 10
_MOST_HITS = 1 << 14
"""Hits that vote, the nearest ones: two a row of the query, within these; voting costs as they do."""

_MOST_CODES = 1 << 14
"""Codes that are looked at along a line: of a longer one every second, third, and so on."""

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
        start: Where it starts in the query, seconds.
        end: Where it ends.
        speed: Seconds of the work in one second of the query.
        place: Time of the work at which the query would start, seconds.
        cents: How much higher the query is.
        evidence: How many bits fewer differ along it than `BREAK_EVEN` allows.
        error: Part of the bits that differ along it, 0..1.
        hits: Rows of both that found it.
        peak_evidence: Natural logarithm of how much better a copy explains the peaks than chance does.
        peaks: How many of the work's peaks coincide with one of the query's.
        others: Weight of the other parts of the same copy, where something is cut out between them.
    """

    start: float
    end: float
    speed: float
    place: float
    cents: float
    evidence: float
    error: float
    hits: int = 0
    peak_evidence: float = 0.0
    peaks: int = 0
    others: float = 0.0

    @property
    def weight(self) -> float:
        """What both schemes say together, in the unit of `peak_evidence`."""
        return max(0.0, self.evidence) / BITS + max(0.0, self.peak_evidence)

    @property
    def of_copy(self) -> float:
        """The same of the whole copy that it is a part of."""
        return self.weight + self.others

    @property
    def seconds(self) -> float:
        """Its length in the query."""
        return self.end - self.start

    def at(self, time: float) -> float:
        """The time of the work that a time of the query corresponds to."""
        return self.place + self.speed * time

    def same(self, other: "Stretch") -> bool:
        """Whether another one that overlaps it is a part of the same copy."""
        middle = (max(self.start, other.start) + min(self.end, other.end)) / 2
        return abs(self.at(middle) - other.at(middle)) <= SAME

    def segment(self) -> AlignedSegment:
        """As it is reported."""
        return AlignedSegment(
            query=(self.start, self.end),
            work=(max(0.0, self.at(self.start)), max(0.0, self.at(self.end))),
            speed=self.speed,
            unit=SpanUnit.SECOND,
            pitch_cents=self.cents,
        )


@dataclass(frozen=True, slots=True)
class _Take:
    """A way in which a query is taken to be changed: it is compared as it is once that is undone.

    Attributes:
        stretch: How many times as long it is made for that.
        lower: How many cents lower.
        played: Which of its codes say most about it then.
    """

    stretch: float
    lower: float
    played: Played

    @property
    def pace(self) -> float:
        """How many times as long as its codes were made it is."""
        return self.stretch / self.played.stretch

    def peaks(self, query: Constellation) -> Constellation:
        """Its peaks, once it is undone: those that a reference can have."""
        heard = query.cents >= self.lower
        return Constellation(query.times[heard] * self.stretch, query.cents[heard] - self.lower)

    def undo(self, found: Stretch) -> Stretch:
        """What was found, as it is in the query itself."""
        return replace(
            found,
            start=found.start / self.stretch,
            end=found.end / self.stretch,
            speed=found.speed * self.stretch,
            cents=found.cents + self.lower,
        )


_UNCHANGED: Final = _Take(1.0, 0.0, AS_IT_IS)
_CHANGED: Final = (
    _Take(1.22, STRETCH_CENTS, SPED_UP),
    _Take(1.0 / 1.22, -STRETCH_CENTS, SLOWED),
    _Take(1.26, 0.0, AS_IT_IS),
    _Take(1.0 / 1.26, 0.0, AS_IT_IS),
)
"""From each, peaks tell other tempos by `SLOWEST` to `FASTEST` and other pitches by `MOST_CENTS`: with the
unchanged one tempos from 0.64 to 1.57 at the work's own pitch, speeds from 0.69 to 1.46 that change its pitch
too, and pitches up to six semitones off at the work's own tempo."""


def align(query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
    """Relate a query at all its pitches to a reference; see `indexers.modality.Modality.align`.

    It is looked at as if its speed had been changed by much where codes were made for that, and only as long
    as peaks find nothing.

    Signals: ``chromaprint_evidence``, how many bits fewer differ along all stretches than `BREAK_EVEN`
    allows, and ``peak_evidence``, the natural logarithm of how much better copies explain their peaks than
    chance does; ``chromaprint_error``, the part of the bits that differ along the best stretch;
    ``chromaprint_hits``, how many pairs of rows found it; ``peak_count``, how many of its peaks coincide;
    ``chromaprint_seconds``, how much of the query's time is reported. Of the best stretch these are given
    too where it has too little evidence to be reported. Those of peaks are there where both sides have some.
    """
    theirs = {fingerprint.scheme.id: fingerprint for fingerprint in work}
    mine = {fingerprint.scheme.id: fingerprint for fingerprint in query if fingerprint.scheme.id in theirs}
    if CHROMAPRINT.id not in mine:
        return None
    codes, others = mine[CHROMAPRINT.id], theirs[CHROMAPRINT.id]
    peaks_of, known = _peaks_of(query, work)
    found: list[Stretch] = []
    for take in (_UNCHANGED, *_changed(codes)):
        rows = as_played(codes, take.played)
        if not len(rows):
            continue
        stretches = _stretches(take, rows, others, peaks_of, known)
        found = _merged([*found, *(take.undo(one) for one in stretches)])
        if any(one.of_copy >= FLOOR and one.peak_evidence >= PRECISE for one in found):
            break  # a line of codes alone may lie anywhere
    reported = [one for one in found if one.of_copy >= FLOOR]
    counting = reported or found[:1]
    best = counting[0] if counting else None
    signals = {
        "chromaprint_seconds": sum(one.seconds for one in reported),
        "chromaprint_error": best.error if best else 0.5,
        "chromaprint_hits": float(best.hits) if best else 0.0,
        "chromaprint_evidence": sum(max(0.0, one.evidence) for one in counting),
    }
    if peaks_of is not None and known:
        signals["peak_evidence"] = sum(max(0.0, one.peak_evidence) for one in counting)
        signals["peak_count"] = float(best.peaks) if best else 0.0
    segments = tuple(sorted((one.segment() for one in reported), key=lambda one: one.query))
    return Alignment(
        signals,
        segments=segments,
        query_coverage=covered([one.query for one in segments], as_played(codes, AS_IT_IS) or codes),
        work_coverage=covered([one.work for one in segments], others),
    )


def promising(query: Sequence[Fingerprint], work: Sequence[Fingerprint], places: Sequence[Place]) -> bool:
    """Whether a reference is worth aligning: False where there are peaks, and they agree about nothing.

    Where one of both is long, only places are looked at: in what is long, codes find them. At other speeds it
    is looked at if codes that were made for these vote for a place.

    Args:
        query: As in `align`.
        work: As in `align`.
        places: What may correspond, in the middle of it.
    """
    asked_of, known = _peaks_of(query, work)
    if asked_of is None or not known:
        return True
    changed = [take for one in query if one.scheme == CHROMAPRINT for take in _changed(one)]
    if _short(len(asked_of), len(known[0])):
        views = {view for _, _, view in places[:_SPEEDS]} or set(AS_IT_IS.views)
        return any(
            _asked(asked_of, take).coincides(some)
            for take in (_UNCHANGED, *changed)
            if not views.isdisjoint(take.played.views)
            for some in known
        )
    around = AROUND * FASTEST + _MARGIN_SECONDS
    return any(
        _asked(asked_of, take, asked * take.stretch - AROUND, asked * take.stretch + AROUND).coincides(
            some.between(at - around, at + around)
        )
        for asked, at, view in places
        for take in (_UNCHANGED, *changed)
        if view in take.played.views
        for some in known
    )


def glimpse(query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> bool:
    """As `promising` at a tenth of the cost: only whether peaks agree about what is as fast and as high.

    Where there are no peaks, or where one of both is long, it is False: codes find such copies.
    """
    asked_of, known = _peaks_of(query, work)
    if asked_of is None or not known or not _short(len(asked_of), len(known[0])):
        return False
    return _asked(asked_of, _UNCHANGED).lies_in(known[0])


def _changed(codes: Fingerprint) -> Sequence[_Take]:
    """The changes that a query is looked at for: all or none."""
    return _CHANGED if (codes.views >= SPED_UP.views.start).any() else ()


def _stretches(
    take: _Take,
    codes: Fingerprint,
    others: Fingerprint,
    peaks_of: Fingerprint | None,
    known: Sequence[Constellation],
) -> list[Stretch]:
    """What codes and peaks find of a query once a change of it is undone."""
    views = _Views(codes, others, take.pace)
    stretches, hints = _by_codes(views, _hits(codes, others, take.pace))
    if peaks_of is None or not known:
        return stretches
    asked = _asked(peaks_of, take)
    stretches = [_best(stretch, asked.query, known) for stretch in stretches]
    places = [*stretches, *hints]
    searched = known if np.ptp(asked.query.times) <= SIDE_SECONDS else known[:1]
    stretches += [one for some in searched for one in _by_peaks(views, asked, some, places)]
    return stretches


def _peaks_of(
    query: Sequence[Fingerprint], work: Sequence[Fingerprint]
) -> tuple[Fingerprint | None, list[Constellation]]:
    """The query's peaks, and those of a reference that they are compared with: all that it has."""
    theirs = {fingerprint.scheme.id: fingerprint for fingerprint in work}
    return next((one for one in query if one.scheme == peaks.PEAKS), None), [
        peaks.read(theirs[one.id]) for one in (peaks.PEAKS, peaks.SIDE) if one.id in theirs
    ]


def _best(stretch: Stretch, query: Constellation, known: Iterable[Constellation]) -> Stretch:
    """What the peaks of a work that say most say about a stretch that codes found."""
    return max((_judged(stretch, query, one) for one in known), key=lambda one: one.peak_evidence)


def _merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Stretches that share no more than a little of the query, heaviest first; parts of one copy as one."""
    kept: list[Stretch] = []
    for stretch in sorted(stretches, key=lambda one: (-one.of_copy, -one.weight)):
        if stretch.weight <= 0:
            continue
        shared = [max(0.0, min(stretch.end, one.end) - max(stretch.start, one.start)) for one in kept]
        if np.count_nonzero(shared) > 1 and sum(shared) > OVERLAP * stretch.seconds:
            continue  # parts that are told apart, as one
        for number, other in enumerate(kept):
            overlap = min(stretch.end, other.end) - max(stretch.start, other.start)
            if overlap <= 0:
                continue
            if stretch.same(other):
                # What only one scheme could follow belongs to it too.
                kept[number] = replace(
                    other,
                    start=min(stretch.start, other.start),
                    end=max(stretch.end, other.end),
                    peak_evidence=max(stretch.peak_evidence, other.peak_evidence),
                    peaks=max(stretch.peaks, other.peaks),
                )
                break
            if overlap > OVERLAP * stretch.seconds:
                break
        else:
            kept.append(stretch)
    return kept[:SEGMENTS]


def _judged(stretch: Stretch, query: Constellation, work: Constellation) -> Stretch:
    """What the peaks say about a stretch that codes found. Of a long one, its middle is looked at."""
    middle = (stretch.start + stretch.end) / 2
    start, end = max(stretch.start, middle - WINDOW / 2), min(stretch.end, middle + WINDOW / 2)
    seen = coincide.along(query.between(start, end), work, stretch.speed, stretch.place, stretch.cents)
    if seen is None or seen.evidence <= 0:
        return stretch
    judged = replace(stretch, peak_evidence=seen.evidence, peaks=seen.peaks)
    if stretch.seconds > WINDOW or seen.evidence < PRECISE:
        return judged
    place = seen.work[0] - seen.speed * seen.query[0]
    return replace(judged, speed=seen.speed, place=place, cents=seen.cents)


@lru_cache(maxsize=_TABLES)
def _asked(fingerprint: Fingerprint, take: _Take, start: float = -math.inf, end: float = math.inf) -> Asked:
    """The peaks of a query, or of a part of it, which is compared with one candidate after the other."""
    return Asked(take.peaks(peaks.read(fingerprint)).between(start, end))


def _short(asked: int, known: int) -> bool:
    """Whether a query and a reference have so few peaks that all of them are compared."""
    return asked <= _MOST_ASKED and asked * known <= _MOST_PEAKS


def _by_peaks(views: "_Views", asked: Asked, work: Constellation, hints: Sequence[Stretch]) -> list[Stretch]:
    """Stretches that peaks find: in all of the work, or where codes hint at it if both are long."""
    query = asked.query
    if _short(len(query), len(work)):
        areas = [(asked, work)]
    else:
        areas = []
        for hint in hints[:_HINTS]:
            middle = (hint.start + hint.end) / 2
            around = WINDOW / 2 + _MARGIN_SECONDS
            areas.append(
                (
                    Asked(query.between(middle - WINDOW / 2, middle + WINDOW / 2)),
                    work.between(hint.at(middle) - around, hint.at(middle) + around),
                )
            )
    return [
        stretch
        for some, of_work in areas
        if len(some.query) and len(of_work)
        for stretch in _in_copies(views, some.align(of_work))
    ]


def _in_copies(views: "_Views", found: Sequence[Coincidence]) -> list[Stretch]:
    """What codes say about what peaks found, and what the parts of one copy weigh together."""
    stretches = [views.along(one) for one in found]
    weights: dict[int, float] = {}
    for one, stretch in zip(found, stretches, strict=True):
        weights[one.copy] = weights.get(one.copy, 0.0) + stretch.weight
    return [
        replace(stretch, others=weights[one.copy] - stretch.weight)
        for one, stretch in zip(found, stretches, strict=True)
    ]


def _by_codes(views: "_Views", hits: Hits | None) -> tuple[list[Stretch], list[Stretch]]:
    """Find stretches of a query that sound like stretches of a work, by Chromaprint's codes, best first.

    Returns:
        Those along which codes are alike, and places where votes alone say so.
    """
    found: list[Stretch] = []
    hints: list[Stretch] = []
    if hits is None:
        return found, hints
    while len(hits) and len(found) < SEGMENTS:
        proposed = lines(hits, _CANDIDATES)
        if not found:
            hints = [_hint(line) for line in proposed]
        rough = [views.rough(line) for line in proposed]
        best = views.fitted(max(rough, key=lambda one: one.evidence))
        on_line = best.holds(hits)
        if best.evidence > 0:
            found.append(views.stretch(best, int(on_line.sum())))
        if best.evidence < _GO_ON:
            break
        views.take(best)
        left = ~on_line & ~best.covers(hits)
        hits = Hits(hits.query[left], hits.work[left], hits.weight[left], hits.layer[left])
    return found, hints


def _hint(line: Line) -> Stretch:
    place = line.work - line.slope * line.query
    return Stretch(
        line.query - BLOCK / 2,
        line.query + BLOCK / 2,
        line.slope,
        place,
        float(CENTS[line.layer]),
        0.0,
        0.5,
    )


def _hits(query: Fingerprint, work: Fingerprint, pace: float) -> Hits | None:
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
    most = min(_MOST_HITS, max(_LEAST_HITS, 2 * len(mine)))
    if len(row) > most:
        nearest = np.argpartition(distance, most)[:most]
        row, column, distance = row[nearest], column[nearest], distance[nearest]
    return Hits(
        positions(query.spans[mine[row]]).astype(np.float64) * STEP * pace,
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

    def __init__(self, query: Fingerprint, work: Fingerprint, pace: float) -> None:
        """Take both; the query's codes come so many times as slowly as they were made."""
        self._views: dict[int, Codes] = {}
        for view in np.unique(query.views):
            rows = query.views == view
            start, codes = codes_of(query.descriptors[rows], query.spans[rows])
            codes = np.concatenate([np.zeros(start, np.uint32), codes])
            at = np.rint(np.arange(round(len(codes) * pace)) / pace).astype(np.int64)
            self._views[int(view)] = codes[np.minimum(at, len(codes) - 1)]
        start, codes = codes_of(work.descriptors, work.spans)
        self._work = np.concatenate([np.zeros(start, np.uint32), codes])
        self._free = np.ones(max(map(len, self._views.values())))

    def _gains(
        self,
        view: int,
        codes: npt.NDArray[np.int64],
        places: npt.NDArray[np.float64],
        even: float,
        *,
        whole: bool = False,
    ) -> npt.NDArray[np.float64]:
        """Bits that speak for a copy, at codes of the query and places in the work, as many as `places`.

        Where the query is accounted for, none do, unless `whole` is asked for.
        """
        nearest = np.rint(places).astype(np.int64)
        inside = (nearest >= 0) & (nearest < len(self._work))
        others = self._work[nearest.clip(0, len(self._work) - 1)]
        errors = np.bitwise_count(self._views[view][codes] ^ others)
        free = 1.0 if whole else self._free[codes]
        return np.where(inside, (even * 32 - errors) * free, -even * 32)

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
        while track.evidence >= _GO_ON / 2:
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
        stride = -(-(track.last - track.first) // _MOST_CODES)
        codes = np.arange(track.first, track.last, stride)
        steps = width * np.arange(-2, 3)
        begins, ends = track.at(track.first) + steps, track.at(int(codes[-1])) + steps
        along = np.linspace(0, 1, len(codes))
        places = (
            begins[:, np.newaxis, np.newaxis] * (1 - along) + ends[np.newaxis, :, np.newaxis] * along
        ).reshape(-1, len(codes))
        gains = stride * self._gains(track.view, codes, places, BREAK_EVEN)
        sums = np.concatenate([np.zeros((len(gains), 1)), gains.cumsum(axis=1)], axis=1)
        lows = np.minimum.accumulate(sums, axis=1)
        row, end = np.unravel_index(np.argmax(sums - lows), sums.shape)
        start = int(np.argmin(sums[row, : end + 1]))
        evidence = float(sums[row, end] - sums[row, start])
        if end - start < 2:
            return track
        slope = float(places[row, -1] - places[row, 0]) / (stride * max(1, len(codes) - 1))
        if not 0.65 <= slope <= 1.5:
            return track
        offset = float(places[row, 0]) - slope * track.first
        last = min(track.last, track.first + int(end) * stride)
        return _Track(track.view, slope, offset, track.first + start * stride, last, evidence)

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
        place = track.at(0) * STEP + _HALF - track.slope * _HALF
        cents = self._cents(track, first, last)
        return Stretch(start, end, track.slope, place, cents, track.evidence, error, hits)

    def along(self, found: Coincidence) -> Stretch:
        """What codes say about a line that peaks found."""
        place = found.work[0] - found.speed * found.query[0]
        view = min(self._views, key=lambda one: abs(CENTS[one] - found.cents))
        length = len(self._views[view])
        first = min(max(0, round((found.query[0] - _HALF) / STEP)), length - 1)
        last = max(first + 1, min(length, round((found.query[1] - _HALF) / STEP)))
        codes = np.arange(first, last)
        offset = float((place - _HALF + found.speed * _HALF) / STEP)
        gains = self._gains(
            view, codes, offset + found.speed * codes.astype(np.float64), BREAK_EVEN, whole=True
        )
        sums = np.concatenate([[0.0], gains.cumsum()])
        evidence = float((sums - np.minimum.accumulate(sums)).max())
        error = float(BREAK_EVEN - gains.mean() / 32)
        return Stretch(
            *found.query,
            found.speed,
            place,
            found.cents,
            evidence,
            error,
            peak_evidence=found.evidence,
            peaks=found.peaks,
        )

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
        order = sorted(self._views, key=lambda view: CENTS[view])
        cents = [CENTS[view] for view in order]
        here = order.index(track.view)
        if not 0 < here < len(order) - 1 or len(codes) == 0:
            return float(cents[here])
        left, middle, right = (
            float(self._gains(view, codes, places, 0.0).mean()) for view in order[here - 1 : here + 2]
        )
        bend = left - 2 * middle + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        return cents[here] + float(np.clip(shift, -0.5, 0.5)) * (cents[here + 1] - cents[here])
