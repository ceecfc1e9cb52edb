"""Triples of peaks: what of a constellation stays as it is at another speed and another pitch.

Of three peaks, the two intervals in cents and the ratio of the two times between them do; the idea is that
of Panako (Six and Leman, ISMIR 2014, https://archives.ismir.net/ismir2014/paper/000122.pdf) and Quad
(Sonnleitner and Widmer, IEEE/ACM TASLP 24(3), 2016, https://doi.org/10.1109/TASLP.2015.2509248). The code
and all constants are our own.

Each pair of like triples, one of a query and one of a reference, proposes a pitch, a tempo and a place. A
query is compared with many references, so it has a table of its triples (`Table`). A reference's are made
from its peaks each time: that takes half a millisecond for a song, and keeping them six times its bytes.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from indexers.audio.peaks import Constellation
from indexers.modality import Role

SLOWEST: Final = 0.8
FASTEST: Final = 1.25
"""Speeds of the query relative to the reference that are looked for: as far from 1 both ways."""
MOST_CENTS: Final = 260.0
"""How much higher or lower the query may be."""
LEAST_AGREEING: Final = 6
"""Pairs of triples that make a proposal worth judging: in 5 s strangers have 4 as a rule, copies 9."""

_FAN: Final = {Role.REFERENCE: 4, Role.QUERY: 7}
"""With how many of the next peaks within reach a peak makes triples; of three times as many next ones."""
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
_PITCH_BITS: Final = 5
"""Bits of a key: for each interval, the ratio, and for which coarse part of all pitches it lies in: like
triples in other parts are higher by more than `MOST_CENTS` allows."""
_NONE: Final = (1 << _INTERVAL_BITS) - 2
"""The interval of a triple that there is not."""

_TABLE_BITS: Final = 16
"""Logarithm of the places in a table: the triples of 10 s have 100,000 entries."""
_SIEVE_BITS: Final = 19
"""Bits of a key by which most that have no entry are told."""
_SHARED: Final = 4
"""Constellations whose keys are kept: each is looked up for several changes of a query in turn."""
_SCATTER: Final = np.uint32(2_654_435_769)
"""2³² over the golden ratio: by it keys are multiplied so that their first bits spread over a table (Knuth,
The Art of Computer Programming 3, 6.4). As it is odd, different keys stay different."""

_PLACE_SECONDS: Final = 0.2
_PITCH_CENTS: Final = 26.0
"""Pairs that agree within twice these count for each other."""
_SPEED_STEP: Final = 0.025
_SPEED_SPREAD: Final = 0.05
"""Speeds that are tried, and how far a pair of triples may be from one, as natural logarithms."""
_SLOPES: Final = np.arange(np.log(SLOWEST), np.log(FASTEST), _SPEED_STEP)
_TONES: Final = int(2 * MOST_CENTS / _PITCH_CENTS) + 2
_PROPOSALS: Final = 4
"""How many proposals are judged in each round."""


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

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.query)

    def of(self, chosen: npt.NDArray[np.bool_]) -> "Pairs":
        """Some of them."""
        return Pairs(self.query[chosen], self.work[chosen], self.speed[chosen], self.cents[chosen])


class _Fans:
    """The next peaks within reach of each peak of a constellation.

    Attributes:
        gaps: (fan, n) int16, ms from the peak to the nearest of them, the second, and so on; 0: there are
            not so many.
        steps: (fan, n) int16, cents from the peak to it, and `_FARTHEST_CENTS`: from 0 on.
    """

    def __init__(self, peaks: Constellation, fan: int) -> None:
        n = len(peaks)
        at = np.full(n + 3 * fan, np.iinfo(np.int32).max, np.int32)
        at[:n] = np.rint(peaks.times * 1000)
        cents = np.zeros(n + 3 * fan, np.int32)
        cents[:n] = peaks.cents
        self.gaps, self.steps = np.zeros((2, fan, n), np.int16)
        gaps, steps = self.gaps.reshape(-1), self.steps.reshape(-1)
        free = np.arange(n)  # where each peak's next neighbour is written
        lowest = cents[:n] - _FARTHEST_CENTS
        for ahead in range(1, 3 * fan + 1):
            gap = at[ahead : ahead + n] - at[:n]
            step = cents[ahead : ahead + n] - lowest
            # What is less than the least is a large number without a sign.
            good = (gap - _NEAREST).view(np.uint32) <= _FARTHEST - _NEAREST
            good &= step.view(np.uint32) <= 2 * _FARTHEST_CENTS
            good &= free < len(gaps)
            some = np.flatnonzero(good)
            place = free[some]
            gaps[place], steps[place] = gap[some], step[some]
            free[some] = place + n


_Halves: TypeAlias = npt.NDArray[np.int32]
"""Numbers of half steps: the odd ones are nearer to the next whole step, the others to the one before."""


class Table:
    """A query's triples, looked up by all that like ones have in common.

    A key holds both intervals, the ratio of times, and in which coarse part the triple's pitch lies. Each
    triple has entries for the nearer neighbours in all four: like ones may lie across a border.
    """

    def __init__(self, query: Constellation) -> None:
        """Take a query; the table is made when it is needed."""
        self._query = query

    @cached_property
    def _triples(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int16], tuple[_Halves, ...]]:
        """The first peak of each triple, ms to the third one, and the parts of its key in half steps."""
        fans = _Fans(self._query, _FAN[Role.QUERY])
        third, second = np.tril_indices(_FAN[Role.QUERY], -1)
        pair, anchor = np.nonzero(fans.gaps[third])
        near, far = fans.gaps[second[pair], anchor], fans.gaps[third[pair], anchor]
        first, other = (
            fans.steps[number[pair], anchor] // np.int32(_INTERVAL // 2) for number in (second, third)
        )
        ratio = 2 * _RATIOS * near.astype(np.int32) // far
        return anchor, far, (first, other, ratio, _pitches(self._query)[anchor])

    @cached_property
    def _entries(self) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Keys in the order of their places, the triple of each, and where those of each place begin."""
        anchors, _, parts = self._triples
        keys = np.zeros((1, len(anchors)), np.uint32)
        for bits, halves in zip(_BITS, parts, strict=True):
            whole = halves >> 1
            both = (np.stack([whole, whole + 2 * (halves & 1) - 1]) & ((1 << bits) - 1)).astype(np.uint32)
            longer = (keys << np.uint32(bits))[:, np.newaxis] | both
            keys = longer.reshape(2 * len(keys), len(anchors))
        scattered = keys.ravel() * _SCATTER
        order = np.argsort(_place(scattered), kind="stable")  # by counting, as places are so short
        begins = np.zeros((1 << _TABLE_BITS) + 1, np.int32)
        np.cumsum(np.bincount(_place(scattered), minlength=1 << _TABLE_BITS), out=begins[1:])
        return scattered[order], (order % max(1, len(anchors))).astype(np.int32), begins

    @cached_property
    def _sieve(self) -> npt.NDArray[np.bool_]:
        """Of which keys, by their first bits, there are entries."""
        sieve = np.zeros(1 << _SIEVE_BITS, np.bool_)
        sieve[self._entries[0] >> np.uint32(32 - _SIEVE_BITS)] = True
        return sieve

    def pairs(self, work: Constellation) -> Pairs:
        """Its pairs with like triples of a reference."""
        gaps, keys = _of_reference(work)
        held = np.flatnonzero(self._sieve[(keys >> np.uint32(32 - _SIEVE_BITS)).astype(np.intp)])
        anchors, spans, _ = self._triples
        of_entries, of_triples, begins = self._entries
        places = _place(keys[held]).astype(np.intp)
        first = begins[places].astype(np.intp)
        counts = begins[places + 1] - first
        right = np.repeat(held, counts)
        entry = np.arange(len(right)) + np.repeat(first - np.cumsum(counts) + counts, counts)
        alike = np.flatnonzero(of_entries[entry] == keys[right])
        left, right = of_triples[entry[alike]], right[alike]
        pair, known = np.divmod(right, max(1, len(work)))
        asked = anchors[left]
        speed = np.log(gaps[_THIRD[pair], known] / spans[left])
        cents = self._query.cents[asked] - work.cents[known]
        kept = (speed > np.log(SLOWEST)) & (speed < np.log(FASTEST)) & (np.abs(cents) <= MOST_CENTS)
        asked, known = asked[kept], known[kept]
        return Pairs(self._query.times[asked], work.times[known], speed[kept], cents[kept])


_THIRD: Final = np.tril_indices(_FAN[Role.REFERENCE], -1)[0]
"""Which of a reference's next peaks is the third of a triple, by the number of the pair."""
_BITS: Final = (_INTERVAL_BITS, _INTERVAL_BITS, _RATIO_BITS, _PITCH_BITS)
"""Of a key, from the most significant: both intervals, the ratio, the part of pitches."""


def _pitches(peaks: Constellation) -> npt.NDArray[np.int32]:
    """In which part of all pitches each peak lies, in half parts; the lowest is 0."""
    return np.floor(peaks.cents / MOST_CENTS).astype(np.int32) + 1


def _place(keys: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint16]:
    """The places of keys that are multiplied already."""
    return (keys >> np.uint32(32 - _TABLE_BITS)).astype(np.uint16)


@lru_cache(maxsize=_SHARED)
def _of_reference(work: Constellation) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint32]]:
    """Of a reference: `_Fans.gaps`, and the keys of all triples, multiplied; see `_keys`."""
    fans = _Fans(work, _FAN[Role.REFERENCE])
    return fans.gaps, _keys(fans, _pitches(work)) * _SCATTER


def _keys(fans: _Fans, pitches: npt.NDArray[np.int32]) -> npt.NDArray[np.uint32]:
    """Keys of all triples of a reference: first those of each peak and the first two of its next ones.

    Returns:
        (pairs × n,); of which pair of the next ones the farther one is, `_THIRD` tells.
    """
    fan = len(fans.gaps)
    near = fans.gaps * np.float32(_RATIOS)
    far = np.where(fans.gaps > 0, fans.gaps, np.float32(np.inf))
    intervals = np.where(fans.gaps > 0, fans.steps // np.int16(_INTERVAL), np.int16(_NONE)).astype(np.uint32)
    firsts = intervals << np.uint32(sum(_BITS[1:]))
    seconds = intervals << np.uint32(sum(_BITS[2:]))
    seconds |= (pitches.astype(np.uint32) >> np.uint32(1)) & np.uint32((1 << _PITCH_BITS) - 1)
    keys = np.empty((fan * (fan - 1) // 2, len(pitches)), np.uint32)
    for third in range(1, fan):
        some = keys[third * (third - 1) // 2 :][:third]
        some[:] = near[:third] / far[third]
        some <<= np.uint32(sum(_BITS[3:]))
        some |= firsts[:third]
        some |= seconds[third]
    return keys.ravel()


def fullest(pairs: Pairs) -> list[tuple[float, float, float]]:
    """Speed, place and cents that most pairs agree on: work = place + speed * query."""
    if len(pairs) < LEAST_AGREEING:
        return []
    middle = (pairs.query.min() + pairs.query.max()) / 2
    pairs = pairs.of(_agreeing(pairs, middle))
    if not len(pairs):
        return []
    row, slope = np.nonzero(np.abs(pairs.speed[:, np.newaxis] - _SLOPES) <= _SPEED_SPREAD)
    place = pairs.work[row] - (pairs.query[row] - middle) * np.exp(_SLOPES)[slope]
    low = float(place.min())
    cell = np.floor((place - low) / _PLACE_SECONDS).astype(np.int64) + 1
    tone = np.floor((pairs.cents[row] + MOST_CENTS) / _PITCH_CENTS).astype(np.int64) + 1
    shape = (len(_SLOPES), int(cell.max()) + 1, _TONES)
    # Each counts in its cell, in the one of the place before, and in those of the pitch below.
    filled, counts = np.unique(
        [
            np.ravel_multi_index((slope, cell - before, tone - below), shape)
            for before in (0, 1)
            for below in (0, 1)
        ],
        return_counts=True,
    )
    at = np.stack(np.unravel_index(filled, shape), axis=1)
    enough = (counts >= LEAST_AGREEING) & (at[:, 1:] > 0).all(axis=1)
    at = at[enough][np.argsort(-counts[enough], kind="stable")]
    chosen: list[tuple[float, float, float]] = []
    while len(at) and len(chosen) < _PROPOSALS:
        speed = float(np.exp(_SLOPES[at[0, 0]]))
        start = low + int(at[0, 1]) * _PLACE_SECONDS - middle * speed
        chosen.append((speed, float(start), int(at[0, 2]) * _PITCH_CENTS - MOST_CENTS))
        # Everything near is the same proposal.
        at = at[(np.abs(at - at[0]) > (2, 2, 1)).any(axis=1)]
    return chosen


def _agreeing(pairs: Pairs, middle: float) -> npt.NDArray[np.bool_]:
    """Which pairs may be among enough that agree, by their own speeds: with a stranger, most often none."""
    away = pairs.query - middle
    # At the speed that they are counted at, pairs lie somewhat elsewhere.
    off = float(np.abs(away).max()) * FASTEST * np.expm1(_SPEED_SPREAD)
    place = pairs.work - away * np.exp(pairs.speed)
    values = (place, pairs.cents, pairs.speed)
    widths = (2 * (_PLACE_SECONDS + off), 2 * _PITCH_CENTS, 2 * _SPEED_SPREAD)
    cells = [
        np.floor((value - value.min()) / width).astype(np.int64)
        for value, width in zip(values, widths, strict=True)
    ]
    shape = tuple(int(cell.max()) + 1 for cell in cells)
    flat = np.ravel_multi_index(cells, shape)
    counts = np.bincount(flat, minlength=int(np.prod(shape))).astype(np.uint16).reshape(shape)
    # What agrees lies in two neighbouring cells of each: of such blocks of eight some must hold enough.
    counts = counts[:-1] + counts[1:]
    counts = counts[:, :-1] + counts[:, 1:]
    full = counts[..., :-1] + counts[..., 1:] >= LEAST_AGREEING
    if not full.any():
        return np.zeros(len(pairs), np.bool_)
    enough = np.pad(full, 1)
    enough = enough[:-1] | enough[1:]
    enough = enough[:, :-1] | enough[:, 1:]
    enough = enough[..., :-1] | enough[..., 1:]
    chosen: npt.NDArray[np.bool_] = enough.ravel()[flat]
    return chosen
