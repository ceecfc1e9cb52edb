"""Where two constellations of peaks coincide after a change of pitch and tempo.

Like triples propose a pitch, a tempo and a place (`triples`), and where these say little, single peaks a
place (`steady`). The proposals that most pairs agree on are refined and then judged by the peaks alone: how
many of the reference's coincide with one of the query's, against how many do so when the same peaks are
shifted to where nothing should coincide. That is asked twice, of peaks that coincide loosely and closely: in
a room or at another tempo they are moved, and under other music few are left, but these lie where they did.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.audio.peaks import Constellation
from indexers.audio.steady import Bands, Offsets
from indexers.audio.triples import FASTEST, SLOWEST, Pairs, Table, fullest
from indexers.median import median

_LEAST_PEAKS: Final = 8
_TRIALS: Final = 12.0
"""Evidence that the best of all places, speeds and pitches has by chance: the logarithm of their number."""
_MARGIN: Final = 2.0
"""Seconds before and after the proposed part of the work that are looked at."""
_COARSE: Final = (0.25, 45.0)
_LOOSE: Final = (0.09, 45.0)
_TIGHT: Final = (0.035, 22.0)
"""Seconds and cents within which two peaks coincide, while a proposal is refined and in the end."""
_REFINED: Final = (_COARSE, _LOOSE, _LOOSE, _TIGHT, _TIGHT)
_CLOSER: Final = (_TIGHT, _TIGHT)
"""Of proposals of triples, and of those whose place is known closely."""
_MOST_SEGMENTS: Final = 12
LEAST_EVIDENCE: Final = 9.0
"""Evidence from which on a segment is reported, natural logarithm of the odds."""
_CLEAR: Final = 40.0
"""Evidence of a copy from which on triples found all that there is."""
_SEED: Final = -5.0
"""Evidence from which on it is looked for what lies a jump before and after a segment."""
_JUMP: Final = 1.6
"""Seconds of the reference that are cut out between parts of one copy, or come twice, at most."""
_LINK: Final = 7.0
"""As `_TRIALS`, of all such jumps at a speed and pitch that are known."""
_JUMPS: Final = 2
"""How many jumps are judged."""
_LINK_SECONDS: Final = 6.0
"""Seconds of the query in which the next part is looked for."""
_HIT: Final = 0.05
"""Share of the reference's peaks that coincide in a copy, at least for judging where it starts and ends:
under music that is 9 dB louder it is hardly more."""
_CLOSE: Final = (0.018, 11.0)
"""As `_TIGHT`: most of a copy's peaks coincide as closely, and a quarter of those that do so by chance."""
_USUAL: Final = {_TIGHT: 0.0, _CLOSE: 3.04}
"""How many standard deviations above the mean the best shifts (`_BETTER`) may lie by chance alone, which does
not count against a copy: so do ten of the 8,500 that are told apart closely. Of the 2,200 others all does."""
_TOO_MUCH: Final = 0.6
"""Share that coincides by chance from which on nothing can be told."""
_SHIFT_SECONDS: Final = (-0.61, -0.37, 0.29, 0.53)
_SHIFT_CENTS: Final = (-300.0, -100.0, 0.0, 200.0)
"""Where peaks are shifted to see how many coincide by chance: along the scale that most music keeps."""
_AROUND: Final = (0.61 / SLOWEST + _TIGHT[0], 300.0 + _TIGHT[1])
"""Seconds of the query and cents within which all peaks lie that coincide then."""
_BEATS: Final = 2.4
_SCALE_CENTS: Final = 700.0
"""Seconds and cents by which peaks are shifted to see how many coincide where two beats and scales agree."""
_HERE: Final = 0.1
"""Seconds around the place that is judged, which are no other place."""
_BETTER: Final = 10
"""How many of these shifts are better than what counts as chance: a tune's own loops are such shifts."""


@dataclass(frozen=True, slots=True)
class Coincidence:
    """A part of a query whose peaks coincide with those of a part of a reference.

    Attributes:
        query: Seconds, half-open.
        work: Seconds, half-open.
        speed: Seconds of the reference that a second of the query holds.
        cents: How much higher the query is.
        peaks: How many of the reference's peaks coincide.
        evidence: Natural logarithm of how much better a copy explains that than chance. All parts of one copy
            have at least `LEAST_EVIDENCE` together.
        copy: Parts of one copy, between which something is cut out, have the same number.
    """

    query: tuple[float, float]
    work: tuple[float, float]
    speed: float
    cents: float
    peaks: int
    evidence: float
    copy: int = 0


class Asked:
    """A query that is aligned with one constellation after the other: its triples are made once."""

    def __init__(self, query: Constellation) -> None:
        """Take a query."""
        self.query = query
        self._table = Table(query)
        self._bands = Bands(query)

    def align(self, work: Constellation) -> list[Coincidence]:
        """Find where a constellation coincides with it.

        Returns:
            Surest first; no two share a part of the query.
        """
        pairs, offsets = self._table.pairs(work), self._bands.offsets(work)
        query = self.query
        found: list[Coincidence] = []
        copies = 0
        while len(found) < _MOST_SEGMENTS:
            parts = _surest(query, work, _of_pairs(query, work, pairs))
            if _sum(parts) < _CLEAR:
                others = _surest(query, work, _of_offsets(query, work, offsets))
                parts = max(parts, others, key=_sum)
            if not parts:
                break
            copies += 1
            for part in parts:
                found.append(replace(part, copy=copies))
                pairs = pairs.of((pairs.query < part.query[0]) | (pairs.query > part.query[1]))
                offsets = offsets.of((offsets.query < part.query[0]) | (offsets.query > part.query[1]))
                query = _without(query, part)
            if len(query) < _LEAST_PEAKS:
                break
        return sorted(found, key=lambda one: -one.evidence)

    def coincides(self, work: Constellation) -> bool:
        """Whether `align` finds anything."""
        if self.lies_in(work):
            return True
        return bool(_surest(self.query, work, _of_pairs(self.query, work, self._table.pairs(work))))

    def lies_in(self, work: Constellation) -> bool:
        """Whether `align` finds anything that is as fast and as high: a tenth of the cost."""
        offsets = self._bands.offsets(work)
        return bool(_surest(self.query, work, _of_offsets(self.query, work, offsets)))


def _of_offsets(query: Constellation, work: Constellation, offsets: Offsets) -> Iterator[Coincidence]:
    """What lies where single peaks put it."""
    for place in offsets.places():
        one = _judged(query, work, (1.0, place, 0.0), steps=_CLOSER)
        if one is not None:
            yield one


def _of_pairs(query: Constellation, work: Constellation, pairs: Pairs) -> Iterator[Coincidence]:
    """What lies where triples put it."""
    for proposal in fullest(pairs):
        one = _judged(query, work, proposal)
        if one is not None:
            yield one


def _surest(query: Constellation, work: Constellation, judged: Iterable[Coincidence]) -> list[Coincidence]:
    """The parts of the surest copy, if there is any."""
    best = max(judged, key=lambda one: one.evidence, default=None)
    if best is None:
        return []
    parts = _linked(query, work, best)
    return parts if _sum(parts) >= LEAST_EVIDENCE else []


def _sum(parts: Iterable[Coincidence]) -> float:
    """What the parts of one copy say together."""
    return sum(one.evidence for one in parts)


def along(
    query: Constellation, work: Constellation, speed: float, place: float, cents: float
) -> Coincidence | None:
    """Judge a line that others propose: the query's time 0 is `place` in the work, in seconds.

    Returns:
        The best part of it, refined; None where hardly any peaks coincide. Its evidence may be small.
    """
    if len(query) < _LEAST_PEAKS:
        return None
    return _judged(query, work, (speed, place, cents))


def _linked(query: Constellation, work: Constellation, seed: Coincidence) -> list[Coincidence]:
    """A segment, and those before and after it that go on at its speed and pitch after a jump.

    Where parts are cut out of a copy, or it is looped, each part has too few peaks to be told from chance.
    But there are far fewer places a jump away than places in all, so that less has to speak for them.
    """
    if seed.evidence < _SEED:
        return [seed]
    parts = [seed]
    for ahead in (True, False):
        last = seed
        while len(parts) < _MOST_SEGMENTS:
            following = _next(query, work, last, ahead=ahead)
            if following is None:
                break
            parts.append(following)
            last = following
    return parts


def _next(query: Constellation, work: Constellation, last: Coincidence, *, ahead: bool) -> Coincidence | None:
    """The best part right after another one, or before it, if it speaks for a copy; see `_linked`."""
    if ahead:
        rest = query.between(last.query[1], last.query[1] + _LINK_SECONDS)
    else:
        rest = query.between(last.query[0] - _LINK_SECONDS, last.query[0])
    if len(rest) < _LEAST_PEAKS:
        return None
    place = last.work[0] - last.speed * last.query[0]
    begin, end = (place + last.speed * float(time) for time in (rest.times[0], rest.times[-1]))
    area = work.between(begin - _JUMP, end + _JUMP)
    asked, known = _coinciding(
        rest, area, last.speed, place, last.cents, tolerance=(_JUMP / last.speed, _TIGHT[1])
    )
    later = area.times[known] - last.speed * rest.times[asked] - place
    width = 2 * _TIGHT[0]
    counts = np.bincount(np.floor((later + 2 * _JUMP) / width).astype(np.int64))
    if not len(counts):
        return None
    together = counts[:-1] + counts[1:]
    best = None
    for cell in np.argsort(-together, kind="stable")[:_JUMPS].tolist():
        moved = place + (cell + 1) * width - 2 * _JUMP
        if not together[cell]:
            break
        one = _weighed(rest, area, (last.speed, moved, last.cents), trials=_LINK)
        if one is not None and one.evidence > 0 and (best is None or one.evidence > best.evidence):
            best = one
    return best


def _judged(
    query: Constellation,
    work: Constellation,
    proposal: tuple[float, float, float],
    steps: Sequence[tuple[float, float]] = _REFINED,
) -> Coincidence | None:
    """Refine a proposal by the peaks that coincide, step by step less loosely, and weigh it."""
    speed, place, cents = proposal
    work = work.between(place + speed * query.times[0] - _MARGIN, place + speed * query.times[-1] + _MARGIN)
    for seconds, pitch in steps:
        asked, known = _coinciding(query, work, speed, place, cents, tolerance=(seconds, pitch))
        if _distinct(known) < _LEAST_PEAKS:
            return None
        there, here = work.times[known], query.times[asked]
        spread = here - here.mean()
        if here.std() > 0.3:
            slope = float((spread * there).sum() / np.square(spread).sum())
            speed = min(max(slope, SLOWEST), FASTEST)
        place = median(there - speed * here)
        cents = median(query.cents[asked] - work.cents[known])
    return _weighed(query, work, (speed, place, cents))


def _coinciding(
    query: Constellation,
    work: Constellation,
    speed: float,
    place: float,
    cents: float,
    *,
    tolerance: tuple[float, float],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs of peaks, of the query and of the reference, that lie within a tolerance of each other."""
    seconds, pitch = tolerance
    seen = (work.times - place) / speed
    first = np.searchsorted(query.times, seen - seconds)
    counts = np.searchsorted(query.times, seen + seconds, side="right") - first
    known = np.repeat(np.arange(len(seen)), counts)
    asked = np.arange(len(known)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    near = np.abs(query.cents[asked] - work.cents[known] - cents) <= pitch
    return asked[near], known[near]


def _weighed(
    query: Constellation,
    work: Constellation,
    proposal: tuple[float, float, float],
    *,
    trials: float = _TRIALS,
) -> Coincidence | None:
    speed, place, _ = proposal
    # The reference's peaks while the query lasts.
    begin = int(np.searchsorted(work.times, place + speed * query.times[0] - _TIGHT[0]))
    end = int(np.searchsorted(work.times, place + speed * query.times[-1] + _TIGHT[0], side="right"))
    part = Constellation(work.times[begin:end], work.cents[begin:end])
    if len(part) < _LEAST_PEAKS:
        return None
    line = _Line(query, part, *proposal)
    around = line.around(_AROUND)
    weighed = [line.weighed(around, tolerance, trials) for tolerance in (_TIGHT, _CLOSE)]
    return max((one for one in weighed if one is not None), key=lambda one: one.evidence, default=None)


@dataclass(frozen=True, slots=True, eq=False)
class _Around:
    """Pairs of peaks near a line.

    Attributes:
        known: (n,) the reference's, ascending.
        later: (n,) seconds by which the query's is later than the line says.
        higher: (n,) cents by which it is higher.
    """

    known: npt.NDArray[np.int64]
    later: npt.NDArray[np.float64]
    higher: npt.NDArray[np.float64]

    def hit(self, count: int, tolerance: tuple[float, float]) -> npt.NDArray[np.bool_]:
        """Which of so many peaks of the reference coincide."""
        seconds, pitch = tolerance
        hit = np.zeros(count, np.bool_)
        hit[self.known[(np.abs(self.later) <= seconds) & (np.abs(self.higher) <= pitch)]] = True
        return hit

    def shifted(self, seconds: float, tolerance: tuple[float, float]) -> int:
        """How many coincide where nothing should: so much later, at all of `_SHIFT_CENTS`."""
        some = np.abs(self.later + seconds) <= tolerance[0]
        there, tone = self.known[some], self.higher[some]
        return sum(_distinct(there[np.abs(tone - cents) <= tolerance[1]]) for cents in _SHIFT_CENTS)


@dataclass(frozen=True, eq=False)
class _Line:
    """A proposal: a query, and the part of a reference that it may be, at a speed, place and pitch."""

    query: Constellation
    part: Constellation
    speed: float
    place: float
    cents: float

    def around(self, tolerance: tuple[float, float]) -> _Around:
        """Pairs of peaks that lie within a tolerance of each other."""
        query, part = self.query, self.part
        asked, known = _coinciding(query, part, self.speed, self.place, self.cents, tolerance=tolerance)
        later = query.times[asked] - (part.times[known] - self.place) / self.speed
        return _Around(known, later, query.cents[asked] - part.cents[known] - self.cents)

    def weighed(self, around: _Around, tolerance: tuple[float, float], trials: float) -> Coincidence | None:
        """What peaks say that coincide so closely."""
        count = len(self.part)
        hit = around.hit(count, tolerance)
        if np.count_nonzero(hit) < _LEAST_PEAKS:
            return None
        shifted = sum(around.shifted(shift / self.speed, tolerance) for shift in _SHIFT_SECONDS)
        chance = (shifted + 1) / (len(_SHIFT_SECONDS) * len(_SHIFT_CENTS) * count + 2)
        first, last, weight = _heaviest(_weights(hit, chance))
        if weight > trials + _SEED:  # more by chance would only say less
            chance = max(chance, self._beat_chance(tolerance))
            first, last, weight = _heaviest(_weights(hit, chance))
        inside = self.part.times[first:last][hit[first:last]]
        if chance >= _TOO_MUCH or len(inside) < _LEAST_PEAKS or inside[-1] <= inside[0]:
            return None
        work = float(inside[0]), float(inside[-1])
        start, stop = ((time - self.place) / self.speed for time in work)
        return Coincidence((start, stop), work, self.speed, self.cents, len(inside), weight - trials)

    @cached_property
    def _elsewhere(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """How much later and higher than the line says pairs of peaks are that lie at other beats."""
        around = self.around((_BEATS, _SCALE_CENTS))
        later, higher = around.later, around.higher
        kept = (np.abs(higher) < _SCALE_CENTS) & (np.abs(later) > _HERE) & (np.abs(later) < _BEATS)
        return later[kept], higher[kept]

    def _beat_chance(self, tolerance: tuple[float, float]) -> float:
        """Share of the reference's peaks that coincide at the best of many other places and pitches.

        Two tunes that keep one beat and one scale coincide often where both agree, whatever the tunes are.
        Shifts that are off the beat would not show that.
        """
        seconds, pitch = tolerance
        later, higher = self._elsewhere
        rows = np.floor((later + _BEATS) / (2 * seconds)).astype(np.int64)
        columns = np.floor((higher + _SCALE_CENTS) / (2 * pitch)).astype(np.int64)
        shape = (int(_BEATS / seconds) + 1, int(_SCALE_CENTS / pitch) + 1)
        grid = np.bincount(np.ravel_multi_index((rows, columns), shape), minlength=int(np.prod(shape)))
        mean = len(rows) / grid.size
        best = float(np.partition(grid, -_BETTER - 1)[-_BETTER - 1])
        more = max(0.0, best - mean - _USUAL[tolerance] * math.sqrt(mean))
        return max(1.0, mean + more) / len(self.part)


def _weights(hit: npt.NDArray[np.bool_], chance: float) -> npt.NDArray[np.float64]:
    """How much more likely each peak is to coincide, or not to, in a copy than by chance: logarithms."""
    chance = min(chance, _TOO_MUCH)
    share = min(max(float(hit.mean()), _HIT, 1.5 * chance), 0.95)
    weights: npt.NDArray[np.float64] = np.where(
        hit, math.log(share / chance), math.log((1 - share) / (1 - chance))
    )
    return weights


def _distinct(ascending: npt.NDArray[np.int64]) -> int:
    """How many different numbers there are."""
    return int(np.count_nonzero(ascending[1:] != ascending[:-1])) + bool(len(ascending))


def _heaviest(weights: npt.NDArray[np.float64]) -> tuple[int, int, float]:
    """The run with the largest sum: its first, one past its last, and the sum."""
    sums = np.concatenate([np.zeros(1), np.cumsum(weights)])
    lowest = np.minimum.accumulate(sums)
    last = int((sums - lowest).argmax())
    first = int(sums[: last + 1].argmin())
    return first, last, float(sums[last] - sums[first])


def _without(query: Constellation, found: Coincidence) -> Constellation:
    """The peaks of the rest of the query: what is explained once is no evidence for anything else."""
    rest = (query.times < found.query[0]) | (query.times > found.query[1])
    return Constellation(query.times[rest], query.cents[rest])
