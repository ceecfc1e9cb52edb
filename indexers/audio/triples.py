"""Triples of peaks: what of a constellation stays as it is when a sound is played faster, slower, higher or lower.

Of three peaks, the two intervals in cents and the ratio of the two times between them do; the idea is that of
Panako (Six and Leman, ISMIR 2014, https://archives.ismir.net/ismir2014/paper/000122.pdf) and Quad (Sonnleitner
and Widmer, IEEE/ACM TASLP 24(3), 2016, https://doi.org/10.1109/TASLP.2015.2509248). The code and all constants
are our own.

Each pair of like triples, one of a query and one of a reference, proposes a pitch, a tempo and a place. A query is
compared with many references, so what is looked up is its table (`Table`); a reference's triples are made from its
peaks each time, which takes less than half a millisecond for a song and saves four times the bytes of its peaks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.audio.peaks import Constellation
from indexers.modality import Role

SLOWEST: Final = 0.8
FASTEST: Final = 1.25
"""Speeds of the query relative to the reference that are looked for."""
MOST_CENTS: Final = 260.0
"""How much higher or lower the query may be."""
LEAST_AGREEING: Final = 6
"""Pairs of triples that make a proposal worth judging: in 5 s strangers have 4 as a rule, copies 9."""

_FAN: Final = {Role.REFERENCE: 4, Role.QUERY: 7}
"""With how many of the next peaks a peak makes triples."""
_NEAREST: Final = 60
_FARTHEST: Final = 2000
_FARTHEST_CENTS: Final = 1400
"""How far the other two peaks of a triple may be from the first, ms and cents."""
_INTERVAL: Final = 30
"""Cents that count as the same interval in a key."""
_RATIOS: Final = 24
"""Steps of the ratio of times in a key."""
_INTERVAL_BITS: Final = 7
_RATIO_BITS: Final = 5
_PART_BITS: Final = 4
"""Bits of a key for an interval, the ratio, and for the pitch and the length, which both lie in a coarse part of
all: of like triples that lie in others, the pitches or lengths are too different for `MOST_CENTS` and `FASTEST`."""

_TABLE_BITS: Final = 20
"""Logarithm of the number of places in a table: a query of 10 s has 200,000 entries."""
_SCATTER: Final = np.uint32(2_654_435_769)
"""2³² over the golden ratio (Knuth, The Art of Computer Programming 3, 6.4): spreads keys over a table."""

_PLACE_SECONDS: Final = 0.2
_PITCH_CENTS: Final = 26.0
"""Pairs that agree within twice these count for each other."""
_SPEED_STEP: Final = 0.025
_SPEED_SPREAD: Final = 0.05
"""Speeds that are tried, and how far a pair of triples may be from one, as natural logarithms."""
_SLOPES: Final = np.arange(np.log(SLOWEST), np.log(FASTEST), _SPEED_STEP)
_PITCHES: Final = int(2 * MOST_CENTS / _PITCH_CENTS) + 2
_PROPOSALS: Final = 4
"""How many proposals are judged in each round."""

_LENGTHS: Final = np.floor(
    np.log(np.arange(_FARTHEST + 1).clip(_NEAREST) / _NEAREST) / np.log(FASTEST)
).astype(np.int32)
_LENGTHS += 1
"""Part of all lengths that each lies in, ms, in half steps; see `_measures`."""

_Whole = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Triples:
    """Triples of peaks.

    Attributes:
        intervals: (2, n) int32, cents from the first peak to the second and to the third, from 0 on.
        anchors: (n,) number of the first peak.
        near: (n,) int32 ms from the first to the second.
        spans: (n,) int32 ms from the first to the third.
    """

    intervals: npt.NDArray[np.int32]
    anchors: npt.NDArray[np.int64]
    near: _Whole
    spans: _Whole

    def __len__(self) -> int:
        """Number of triples."""
        return len(self.anchors)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs of like triples.

    Attributes:
        query: (n,) seconds of the query's first peak.
        work: (n,) seconds of the reference's.
        speed: (n,) natural logarithm of the speed.
        cents: (n,) how much higher the query is.
    """

    query: npt.NDArray[np.float64]
    work: npt.NDArray[np.float64]
    speed: npt.NDArray[np.float64]
    cents: npt.NDArray[np.float64]

    def of(self, chosen: npt.NDArray[np.bool_]) -> "Pairs":
        """Some of them."""
        return Pairs(self.query[chosen], self.work[chosen], self.speed[chosen], self.cents[chosen])


def triples(peaks: Constellation, role: Role) -> Triples:
    """Make triples of each peak and two of the next ones, of so many of these as `role` has."""
    fan = _FAN[role]
    ahead = 3 * fan
    n = len(peaks)
    at = np.full(n + ahead, np.iinfo(np.int32).max, np.int32)
    at[:n] = np.rint(peaks.times * 1000)
    cents = np.zeros(n + ahead, np.int32)
    cents[:n] = peaks.cents
    gaps, steps = (
        np.lib.stride_tricks.sliding_window_view(some, ahead + 1)[:n, 1:] - some[:n, np.newaxis]
        for some in (at, cents)
    )
    steps += _FARTHEST_CENTS
    good = (gaps >= _NEAREST) & (gaps <= _FARTHEST) & (steps >= 0) & (steps <= 2 * _FARTHEST_CENTS)
    good &= np.cumsum(good, axis=1, dtype=np.int8) <= fan
    flat = np.flatnonzero(good)
    counts = np.count_nonzero(good, axis=1)
    first = np.cumsum(counts) - counts
    near, far, anchors = [], [], []
    for third in range(1, fan):
        some = np.flatnonzero(counts > third)
        for second in range(third):
            anchors.append(some)
            near.append(first[some] + second)
            far.append(first[some] + third)
    gap, step = gaps.ravel()[flat], steps.ravel()[flat]
    seconds, thirds = (np.concatenate(some) for some in (near, far))
    return Triples(
        np.stack([step[seconds], step[thirds]]), np.concatenate(anchors), gap[seconds], gap[thirds]
    )


class Table:
    """A query's triples, looked up by all that like ones have in common.

    A key holds both intervals, the ratio of times, and coarsely the pitch and the length of the triple. Each
    triple has entries for its neighbours in all five: like ones may lie across a border.
    """

    def __init__(self, query: Constellation) -> None:
        """Take a query; the table is made when it is needed."""
        self._query = query

    @cached_property
    def _triples(self) -> Triples:
        return triples(self._query, Role.QUERY)

    @cached_property
    def _entries(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Keys in the order of their places, the triple of each, and where the entries of each place begin."""
        keys = np.zeros((1, len(self._triples)), np.uint32)
        for bits, doubled in _measures(self._query, self._triples):
            here = doubled >> 1
            both = np.stack([here, here + 2 * (doubled & 1) - 1]) & ((1 << bits) - 1)
            keys = ((keys << np.uint32(bits))[:, np.newaxis] | both.astype(np.uint32)).reshape(
                -1, keys.shape[1]
            )
        places = _place(keys.ravel())
        order = np.argsort(places)
        begins = np.zeros((1 << _TABLE_BITS) + 1, np.int64)
        np.cumsum(np.bincount(places, minlength=1 << _TABLE_BITS), out=begins[1:])
        return keys.ravel()[order], order % max(1, keys.shape[1]), begins

    @cached_property
    def _filled(self) -> npt.NDArray[np.bool_]:
        return np.diff(self._entries[2]) > 0

    def pairs(self, work: Constellation) -> Pairs:
        """Its pairs with like triples of a reference."""
        mine, theirs = self._triples, triples(work, Role.REFERENCE)
        keys = np.zeros(len(theirs), np.uint32)
        for bits, doubled in _measures(work, theirs):
            keys = (keys << np.uint32(bits)) | ((doubled >> 1) & ((1 << bits) - 1)).astype(np.uint32)
        places = _place(keys)
        held = np.flatnonzero(self._filled[places])
        of_entries, triple_of, begins = self._entries
        first = begins[places[held]]
        counts = begins[places[held] + 1] - first
        right = np.repeat(held, counts)
        entry = np.arange(len(right)) + np.repeat(first - np.cumsum(counts) + counts, counts)
        alike = of_entries[entry] == keys[right]
        left, right = triple_of[entry[alike]], right[alike]
        speed = np.log(theirs.spans[right] / mine.spans[left])
        asked, known = mine.anchors[left], theirs.anchors[right]
        cents = self._query.cents[asked] - work.cents[known]
        kept = (speed > np.log(SLOWEST)) & (speed < np.log(FASTEST)) & (np.abs(cents) <= MOST_CENTS)
        return Pairs(self._query.times[asked[kept]], work.times[known[kept]], speed[kept], cents[kept])


def _measures(peaks: Constellation, made: Triples) -> Iterator[tuple[int, npt.NDArray[np.int32]]]:
    """What a key is made of: bits, and (n,) in half steps, so that the odd ones are nearer to the next step."""
    for interval in made.intervals:
        yield _INTERVAL_BITS, interval // (_INTERVAL // 2)
    yield _RATIO_BITS, 2 * _RATIOS * made.near // made.spans
    pitches = np.floor(peaks.cents / MOST_CENTS).astype(np.int32) + 1
    yield _PART_BITS, pitches[made.anchors]
    yield _PART_BITS, _LENGTHS[made.spans]


def _place(keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    return ((keys * _SCATTER) >> np.uint32(32 - _TABLE_BITS)).astype(np.int64)


def fullest(pairs: Pairs) -> list[tuple[float, float, float]]:
    """Speed, place and cents that most pairs agree on: work = place + speed * query."""
    if not len(pairs.query):
        return []
    rows, slope = np.nonzero(np.abs(pairs.speed[:, np.newaxis] - _SLOPES) <= _SPEED_SPREAD)
    middle = (pairs.query.min() + pairs.query.max()) / 2
    place = pairs.work[rows] - (pairs.query[rows] - middle) * np.exp(_SLOPES)[slope]
    low = place.min()
    where = np.floor((place - low) / _PLACE_SECONDS).astype(np.int64) + 1
    tone = np.floor((pairs.cents[rows] + MOST_CENTS) / _PITCH_CENTS).astype(np.int64) + 1
    shape = (len(_SLOPES), int(where.max()) + 1, _PITCHES)
    # A cell counts with the next place and the next pitch.
    cells = np.concatenate(
        [
            np.ravel_multi_index((slope, where - back, tone - lower), shape)
            for back in (0, 1)
            for lower in (0, 1)
        ]
    )
    filled, counts = np.unique(cells, return_counts=True)
    at = np.stack(np.unravel_index(filled, shape), axis=1)
    enough = (counts >= LEAST_AGREEING) & (at[:, 1:] > 0).all(axis=1)
    at = at[enough][np.argsort(-counts[enough], kind="stable")]
    chosen: list[tuple[float, float, float]] = []
    while len(at) and len(chosen) < _PROPOSALS:
        speed = float(np.exp(_SLOPES[at[0, 0]]))
        start = float(low) + int(at[0, 1]) * _PLACE_SECONDS - middle * speed
        chosen.append((speed, float(start), int(at[0, 2]) * _PITCH_CENTS - MOST_CENTS))
        # Everything near is the same proposal.
        at = at[(np.abs(at - at[0]) > (2, 2, 1)).any(axis=1)]
    return chosen
