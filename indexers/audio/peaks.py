"""Constellations of spectral peaks, and where two of them coincide after a change of pitch and tempo.

A peak is a point in time and log-frequency that is louder than all around it: what is left of music after
compression, a room, a voice over it. Of three peaks, the two intervals in cents and the ratio of the two
times between them stay as they are when the sound is played faster, slower, higher or lower; the idea is
that of Panako (Six and Leman, ISMIR 2014, https://archives.ismir.net/ismir2014/paper/000122.pdf) and Quad
(Sonnleitner and Widmer, IEEE/ACM TASLP 24(3), 2016, https://doi.org/10.1109/TASLP.2015.2509248). The code
and all constants are our own.

Stored are the peaks. References have few, queries many: what a copy adds (a voice, another track) must not
crowd out what it copies.

Two constellations are aligned by their triples, which are made again from the peaks: each pair of like
triples proposes a pitch, a tempo and a place. The proposals that most pairs agree on are refined and then
judged by the peaks alone: how many of the reference's coincide with one of the query's, against how many do
so when the same peaks are shifted to where nothing should coincide.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from indexers.audio import spectra
from indexers.audio.decode import RATE, Sound
from indexers.fingerprint import Fingerprint, Metric, Scheme, SpanUnit
from indexers.median import median
from indexers.modality import Role

PEAKS: Final = Scheme("audio.peaks", 1, 16, Metric.HAMMING, SpanUnit.SECOND)
"""One row a peak: its frequency in cents above `LOWEST`, big-endian. Compared by `align`, never searched.

Spans start at the peak, rounded to 1 ms, and last 1 ms. Quality is 1.
"""

SIDE: Final = Scheme("audio.side", 1, 16, Metric.HAMMING, SpanUnit.SECOND)
"""As `PEAKS`, of what the average leaves out: half the difference of left and right, where there is one.

It is what remains where a voice was taken away, and the average has few of its peaks. References alone are
described by it; a query is compared with it by its `PEAKS`.
"""

LOWEST: Final = 180.0
"""Frequency from which on peaks are looked for, Hz."""
HIGHEST: Final = 5_000.0

_WINDOW: Final = 2048
_HOP: Final = 256
"""Samples from one spectrum to the next, of which the next constants are multiples."""
_BANDS_PER_OCTAVE: Final = 24
_BLOCK: Final = 2048
"""Frames that are described at once: 24 s (of every second one 48), however the sound was cut into pieces."""
_CONTEXT: Final = 40
"""Frames before and after a block that its first and last peaks depend on."""
_QUIETEST: Final = -70.0
"""Level below which nothing is a peak, dB of a full-scale sine."""
_USUAL_FRAMES: Final = 7
_AROUND_FRAMES: Final = 21
"""Hops to each side that a peak is compared with by `Grain.rise`, and that its strength is counted from."""
_RANK_SECONDS: Final = 0.5
"""Time before and after a peak in which only so many may be stronger."""


@dataclass(frozen=True, slots=True)
class Grain:
    """How fine a constellation is.

    Attributes:
        every: Of the frames only every so manieth is looked at.
        frames: Around a peak, to each side, nothing is louder in so many of these,
        bands: and so many bands of half a semitone.
        rise: How far it stands above the mean of its band in the same time, dB: a steady tone has no peaks.
        density: How many stronger ones may be about `_RANK_SECONDS` before and after it.
    """

    every: int
    frames: int
    bands: int
    rise: float
    density: int


GRAIN: Final = {Role.REFERENCE: Grain(1, 7, 5, 1.5, 16), Role.QUERY: Grain(1, 5, 4, 1.0, 48)}
"""What a copy adds is louder than some of what it copies: a query has twice the peaks."""
SIDE_GRAIN: Final = Grain(2, 3, 5, 1.5, 12)
"""Of the difference of a reference's sides."""

_FAN: Final = {Role.REFERENCE: 4, Role.QUERY: 7}
"""With how many of the next peaks a peak makes triples."""
_NEAREST_SECONDS: Final = 0.06
_FARTHEST_SECONDS: Final = 2.0
_FARTHEST_CENTS: Final = 1400.0
"""How far the other two peaks of a triple may be from the first."""
_INTERVAL: Final = 30.0
"""Cents that count as the same interval in a key."""
_RATIOS: Final = 24
"""Steps of the ratio of times in a key."""
_INTERVALS: Final = 128

_SLOWEST: Final = 0.8
_FASTEST: Final = 1.25
"""Speeds of the query relative to the reference that are looked for."""
_MOST_CENTS: Final = 260.0
"""How much higher or lower the query may be."""

_PLACE_SECONDS: Final = 0.2
_PITCH_CENTS: Final = 26.0
"""Proposals that agree within twice these count for each other."""
_SPEED_STEP: Final = 0.025
_SPEED_SPREAD: Final = 0.05
"""Speeds that are tried, and how far a pair of triples may be from one, as natural logarithms."""
_LEAST_AGREEING: Final = 6
"""Pairs of triples that make a proposal worth judging: in 5 s strangers have 4 as a rule, copies 9."""
_LEAST_PEAKS: Final = 8
_TRIALS: Final = 12.0
"""Evidence that the best of all places, speeds and pitches has by chance: the logarithm of their number."""
_MARGIN: Final = 2.0
"""Seconds before and after the proposed part of the work that are looked at."""
_COARSE: Final = (0.25, 45.0)
_LOOSE: Final = (0.09, 45.0)
_TIGHT: Final = (0.035, 22.0)
"""Seconds and cents within which two peaks coincide, while a proposal is refined and in the end."""
_PROPOSALS: Final = 4
"""How many proposals are judged in each round."""
_MOST_SEGMENTS: Final = 12
LEAST_EVIDENCE: Final = 9.0
"""Evidence from which on a segment is reported, natural logarithm of the odds."""
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
_HIT: Final = 0.2
"""Share of the reference's peaks that coincide in a copy, at least for judging where it starts and ends."""
_SHIFT_SECONDS: Final = (-0.61, -0.37, 0.29, 0.53)
_SHIFT_CENTS: Final = (-300.0, -100.0, 0.0, 200.0)
"""Where peaks are shifted to see how many coincide by chance: along the scale that most music keeps."""
_AROUND: Final = (0.61 / _SLOWEST + _TIGHT[0], 300.0 + _TIGHT[1])
"""Seconds of the query and cents within which all peaks lie that coincide then."""
_BEATS: Final = 2.4
_SCALE_CENTS: Final = 700.0
"""Seconds and cents by which peaks are shifted to see how many coincide where two beats and scales agree."""
_HERE: Final = 0.1
"""Seconds around the place that is judged, which are no other place."""
_BEST: Final = 0.005
"""Share of these shifts that are better than what counts as chance: a tune's own loops are such shifts."""


@dataclass(frozen=True, slots=True, eq=False)
class Constellation:
    """Peaks in the order of time.

    Attributes:
        times: (n,) seconds from the start of the sound, ascending.
        cents: (n,) frequency in cents above `LOWEST`.
    """

    times: npt.NDArray[np.float64]
    cents: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """Number of peaks."""
        return len(self.times)

    def between(self, start: float, end: float) -> "Constellation":
        """The peaks from one time to another, in seconds."""
        first, last = np.searchsorted(self.times, (start, end))
        return Constellation(self.times[first:last], self.cents[first:last])


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


def stream(pieces: Iterable[Sound], grain: Grain) -> Iterator[Constellation]:
    """Yield the peaks of a sound that comes in pieces: after each piece those that became known by it.

    Args:
        pieces: Consecutive samples, -1..1, at `RATE`; how it is cut makes no difference to all of the peaks.
        grain: How fine it is: `GRAIN` or `SIDE_GRAIN`.

    Yields:
        Times are rounded to 1 ms and frequencies to 1 cent.
    """
    hop = _HOP * grain.every
    block, context = _BLOCK * hop, _CONTEXT * hop
    held: Sound = np.zeros(0, np.float32)
    first = 0  # frame with which `held` starts
    begin = 0  # frame with which the block starts
    for piece in pieces:
        held = np.concatenate([held, piece])
        found = []
        while len(held) >= (begin - first) * hop + block + context + _WINDOW:
            end = (begin - first) * hop + block + context - hop + _WINDOW
            found.append(_peaks(held[:end], first, begin, grain))
            begin += _BLOCK
            held, first = held[(begin - _CONTEXT - first) * hop :], begin - _CONTEXT
        yield joined(found)
    yield _peaks(held, first, begin, grain)


def joined(parts: Iterable[Constellation]) -> Constellation:
    """One constellation of several, each later than the one before."""
    parts = list(parts)
    return Constellation(
        np.concatenate([np.zeros(0), *(part.times for part in parts)]),
        np.concatenate([np.zeros(0), *(part.cents for part in parts)]),
    )


def constellation(pieces: Iterable[Sound], grain: Grain) -> Constellation:
    """Find all peaks of a sound; see `stream`."""
    return joined(stream(pieces, grain))


def _peaks(samples: Sound, first: int, begin: int, grain: Grain) -> Constellation:
    """The peaks of one block."""
    if len(samples) < _WINDOW or not samples.any():
        return Constellation(np.zeros(0), np.zeros(0))
    hop = _HOP * grain.every
    frames = np.lib.stride_tricks.sliding_window_view(samples, _WINDOW)[::hop]
    power = spectra.powers(frames, _TAPER, _FIRST, int(_EDGES[-1]) + 1)
    level = _levels(power)
    near = np.ones((2 * grain.frames + 1, 2 * grain.bands + 1), np.uint8)
    usual = cv2.blur(level, (1, 2 * (_USUAL_FRAMES // grain.every) + 1), borderType=cv2.BORDER_REPLICATE)
    top = (level >= cv2.dilate(level, near)) & (level > _QUIETEST) & (level - usual >= grain.rise)
    top[[0, -1]] = False
    frame, band = np.nonzero(top)
    bins = _EDGES[band][:, np.newaxis] + np.arange(_WIDEST)
    inside = np.where(
        bins < _EDGES[band + 1][:, np.newaxis], power[bins - _FIRST, frame[:, np.newaxis]], -1.0
    )
    loudest = _EDGES[band] + inside.argmax(axis=1)
    below, at, above = (np.log(power[loudest - _FIRST + step, frame] + 1e-20) for step in (-1, 0, 1))
    summit = (at >= below) & (at >= above)
    frame, band = frame[summit], band[summit]
    tuned = (loudest + _vertex(below, at, above))[summit]
    timed = frame + _vertex(level[frame - 1, band], level[frame, band], level[frame + 1, band])
    around = cv2.blur(
        level,
        (2 * _BANDS_PER_OCTAVE + 1, 2 * (_AROUND_FRAMES // grain.every) + 1),
        borderType=cv2.BORDER_REPLICATE,
    )
    strength = level[frame, band] - around[frame, band]
    seconds = ((first + timed) * hop + _WINDOW / 2) / RATE
    order = np.lexsort((tuned, seconds))
    kept = order[_strongest(seconds[order], strength[order], grain.density)]
    kept = kept[(frame[kept] >= begin - first) & (frame[kept] < begin - first + _BLOCK)]
    cents = 1200 * np.log2(tuned[kept] * (RATE / _WINDOW / LOWEST))
    return Constellation(np.round(seconds[kept], 3), np.round(np.maximum(cents, 0.0)))


def _levels(power: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The loudest bin of each band, dB: (bins from `_FIRST`, frames) to (frames, bands)."""
    loudest = np.empty((len(_EDGES) - 1, power.shape[1]), np.float32)
    for band, (low, high) in enumerate(pairwise((_EDGES - _FIRST).tolist())):
        np.max(power[low:high], axis=0, out=loudest[band])
    loudest += np.float32(1e-12)
    level = np.asarray(cv2.log(cv2.transpose(loudest)), np.float32)
    level *= np.float32(10 / math.log(10))
    return level


_TAPER: Final = (np.hanning(_WINDOW + 1)[:-1] * 4 / _WINDOW).astype(np.float32)
_EDGES: Final = np.round(
    LOWEST
    * 2 ** (np.arange(int(np.log2(HIGHEST / LOWEST) * _BANDS_PER_OCTAVE) + 1) / _BANDS_PER_OCTAVE)
    * (_WINDOW / RATE)
).astype(np.int64)
"""Bins of the spectrum at which bands start, and the last ends."""
_FIRST: Final = int(_EDGES[0]) - 1
"""The first bin that is looked at: below the first band."""
_WIDEST: Final = int(np.diff(_EDGES).max())


def _vertex(
    before: npt.NDArray[np.floating], at: npt.NDArray[np.floating], after: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """How far from the middle of three points their parabola is highest, -0.5 to 0.5."""
    bend = np.minimum((before - 2 * at + after).astype(np.float64), -1e-9)
    return np.asarray(np.clip(0.5 * (before - after) / bend, -0.5, 0.5), np.float64)


def _strongest(
    seconds: npt.NDArray[np.float64], strength: npt.NDArray[np.floating], count: int
) -> npt.NDArray[np.bool_]:
    """Which peaks, in the order of time, have fewer than `count` stronger ones around them."""
    first = np.searchsorted(seconds, seconds - _RANK_SECONDS)
    last = np.searchsorted(seconds, seconds + _RANK_SECONDS, side="right")
    around = first[:, np.newaxis] + np.arange((last - first).max(initial=0))
    stronger = strength[np.minimum(around, len(seconds) - 1)] > strength[:, np.newaxis]
    return np.asarray((stronger & (around < last[:, np.newaxis])).sum(axis=1) < count)


@dataclass(frozen=True, slots=True, eq=False)
class Triples:
    """Triples of peaks.

    Attributes:
        keys: (n,) uint32; with neighbouring keys, several rows are the same triple.
        times: (n,) seconds of the first peak.
        spans: (n,) seconds from the first to the last.
        cents: (n,) of the first peak.
    """

    keys: npt.NDArray[np.uint32]
    times: npt.NDArray[np.float64]
    spans: npt.NDArray[np.float64]
    cents: npt.NDArray[np.float64]


def triples(peaks: Constellation, fan: int, *, neighbours: bool) -> Triples:
    """Make triples of each peak and two of the next ones.

    Args:
        peaks: Of a reference or query.
        fan: How many next peaks are used.
        neighbours: Give the neighbouring keys too.
    """
    n, ahead = len(peaks), 3 * fan
    if n < 3:
        empty = np.zeros(0)
        return Triples(np.zeros(0, np.uint32), empty, empty, empty)
    after = np.arange(n)[:, np.newaxis] + np.arange(1, ahead + 1)
    exists = after < n
    after = np.minimum(after, n - 1)
    gaps = peaks.times[after] - peaks.times[:, np.newaxis]
    steps = peaks.cents[after] - peaks.cents[:, np.newaxis]
    good = exists & (gaps >= _NEAREST_SECONDS) & (gaps <= _FARTHEST_SECONDS)
    good &= np.abs(steps) <= _FARTHEST_CENTS
    rank = np.where(good, np.cumsum(good, axis=1) - 1, fan)
    chosen = np.full((n, fan + 1), -1)
    np.put_along_axis(chosen, np.minimum(rank, fan), np.arange(ahead)[np.newaxis], axis=1)
    second, third = np.triu_indices(fan, 1)
    anchors, pairs = np.nonzero((chosen[:, second] >= 0) & (chosen[:, third] >= 0))
    near, far = chosen[anchors, second[pairs]], chosen[anchors, third[pairs]]
    span = gaps[anchors, far]
    measures = (
        (steps[anchors, near] + _FARTHEST_CENTS) / _INTERVAL,
        (steps[anchors, far] + _FARTHEST_CENTS) / _INTERVAL,
        gaps[anchors, near] / span * _RATIOS,
    )
    keys = _keys(measures, neighbours=neighbours)
    copies = len(keys) // max(len(anchors), 1)
    anchors, span = np.tile(anchors, copies), np.tile(span, copies)
    return Triples(keys, peaks.times[anchors], span, peaks.cents[anchors])


def _keys(measures: tuple[npt.NDArray[np.float64], ...], *, neighbours: bool) -> npt.NDArray[np.uint32]:
    """Pack the steps of the measures into numbers; the neighbours of all come one after another."""
    keys = np.zeros((1, len(measures[0])), np.uint32)
    for measure in measures:
        whole = np.floor(measure)
        steps = whole[np.newaxis]
        if neighbours:
            other = np.where(measure - whole < 0.5, whole - 1, whole + 1)
            steps = np.maximum(np.stack([whole, other]), 0)
        packed = keys[:, np.newaxis] * _INTERVALS + steps.astype(np.uint32)
        keys = packed.reshape(len(keys) * len(steps), len(measure))
    return keys.ravel()


def align(query: Constellation, work: Constellation) -> list[Coincidence]:
    """Find where two constellations coincide.

    Returns:
        Surest first; no two share a part of the query.
    """
    return Asked(query).align(work)


class Asked:
    """A query that is aligned with one constellation after the other: its triples are made once."""

    def __init__(self, query: Constellation) -> None:
        """Take a query; its triples are made when they are needed."""
        self.query = query

    @cached_property
    def _triples(self) -> Triples:
        made = triples(self.query, _FAN[Role.QUERY], neighbours=True)
        order = np.argsort(made.keys)
        return Triples(made.keys[order], made.times[order], made.spans[order], made.cents[order])

    @cached_property
    def _keys(self) -> npt.NDArray[np.bool_]:
        """Which of all keys its triples have."""
        keys = np.zeros(_INTERVALS**3, np.bool_)
        keys[self._triples.keys] = True
        return keys

    def align(self, work: Constellation) -> list[Coincidence]:
        """Find where a constellation coincides with it; see the function of this name."""
        proposals = self._proposals(work)
        query = self.query
        found: list[Coincidence] = []
        copies = 0
        while len(found) < _MOST_SEGMENTS:
            judged = [_judged(query, work, proposal) for proposal in _fullest(proposals)]
            best = max((one for one in judged if one is not None), key=lambda one: one.evidence, default=None)
            if best is None:
                break
            parts = _linked(query, work, best)
            if sum(one.evidence for one in parts) < LEAST_EVIDENCE:
                break
            copies += 1
            for part in parts:
                found.append(replace(part, copy=copies))
                proposals = _others(proposals, part)
                query = _without(query, part)
            if len(query) < _LEAST_PEAKS:
                break
        return sorted(found, key=lambda one: -one.evidence)

    def _proposals(self, work: Constellation) -> "_Proposals":
        asked, known = self._triples, triples(work, _FAN[Role.REFERENCE], neighbours=False)
        held = np.flatnonzero(self._keys[known.keys])  # one in fifty
        first = np.searchsorted(asked.keys, known.keys[held])
        counts = np.searchsorted(asked.keys, known.keys[held], side="right") - first
        right = np.repeat(held, counts)
        left = np.arange(len(right)) - np.repeat(np.cumsum(counts) - counts - first, counts)
        speed = np.log(known.spans[right] / asked.spans[left])
        cents = asked.cents[left] - known.cents[right]
        kept = (speed > np.log(_SLOWEST)) & (speed < np.log(_FASTEST)) & (np.abs(cents) <= _MOST_CENTS)
        left, right = left[kept], right[kept]
        return _Proposals(asked.times[left], known.times[right], speed[kept], cents[kept])


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


@dataclass(frozen=True, slots=True, eq=False)
class _Proposals:
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

    def of(self, chosen: npt.NDArray[np.bool_]) -> "_Proposals":
        """Some of them."""
        return _Proposals(self.query[chosen], self.work[chosen], self.speed[chosen], self.cents[chosen])


def _fullest(proposals: _Proposals) -> list[tuple[float, float, float]]:
    """Speed, place and cents that most proposals agree on: work = place + speed * query."""
    if not len(proposals.query):
        return []
    slopes = np.arange(np.log(_SLOWEST), np.log(_FASTEST), _SPEED_STEP)
    near = np.abs(proposals.speed[:, np.newaxis] - slopes) <= _SPEED_SPREAD
    rows, slope = np.nonzero(near)
    middle = (proposals.query.min() + proposals.query.max()) / 2
    place = proposals.work[rows] - (proposals.query[rows] - middle) * np.exp(slopes)[slope]
    low = place.min()
    where = np.floor((place - low) / _PLACE_SECONDS).astype(np.int64)
    tone = np.floor((proposals.cents[rows] + _MOST_CENTS) / _PITCH_CENTS).astype(np.int64)
    shape = (len(slopes), int(where.max()) + 2, int(2 * _MOST_CENTS / _PITCH_CENTS) + 2)
    counts = np.bincount(np.ravel_multi_index((slope, where, tone), shape), minlength=int(np.prod(shape)))
    grid = counts.astype(np.int32).reshape(shape)
    grid = grid[:, :-1] + grid[:, 1:]
    grid = grid[:, :, :-1] + grid[:, :, 1:]
    chosen: list[tuple[float, float, float]] = []
    for _ in range(_PROPOSALS):
        at, cell, pitch = (int(i) for i in np.unravel_index(grid.argmax(), grid.shape))
        if grid[at, cell, pitch] < _LEAST_AGREEING:
            break
        # Everything near is the same proposal.
        grid[max(at - 2, 0) : at + 3, max(cell - 2, 0) : cell + 3, max(pitch - 1, 0) : pitch + 2] = 0
        speed = float(np.exp(slopes[at]))
        start = low + (cell + 1) * _PLACE_SECONDS - middle * speed
        chosen.append((speed, start, (pitch + 1) * _PITCH_CENTS - _MOST_CENTS))
    return chosen


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
    query: Constellation, work: Constellation, proposal: tuple[float, float, float]
) -> Coincidence | None:
    """Refine a proposal by the peaks that coincide, and weigh it."""
    speed, place, cents = proposal
    work = work.between(place + speed * query.times[0] - _MARGIN, place + speed * query.times[-1] + _MARGIN)
    for seconds, pitch in (_COARSE, _LOOSE, _LOOSE, _TIGHT, _TIGHT):
        asked, known = _coinciding(query, work, speed, place, cents, tolerance=(seconds, pitch))
        if _distinct(known) < _LEAST_PEAKS:
            return None
        there, here = work.times[known], query.times[asked]
        spread = here - here.mean()
        if here.std() > 0.3:
            slope = float((spread * there).sum() / np.square(spread).sum())
            speed = min(max(slope, _SLOWEST), _FASTEST)
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
    speed, place, cents = proposal
    # The reference's peaks while the query lasts.
    begin = int(np.searchsorted(work.times, place + speed * query.times[0] - _TIGHT[0]))
    end = int(np.searchsorted(work.times, place + speed * query.times[-1] + _TIGHT[0], side="right"))
    part = Constellation(work.times[begin:end], work.cents[begin:end])
    if len(part) < _LEAST_PEAKS:
        return None
    hit, chance = _hits(query, part, proposal)
    if hit.mean() > chance:
        chance = max(chance, _beat_chance(query, part, speed, place, cents))
    share = min(max(float(hit.mean()), _HIT, 1.5 * chance), 0.95)
    if chance >= 0.6:
        return None
    weights = np.where(hit, math.log(share / chance), math.log((1 - share) / (1 - chance)))
    first, last, weight = _heaviest(weights)
    inside = part.times[first:last][hit[first:last]]
    if len(inside) < _LEAST_PEAKS or inside[-1] <= inside[0]:
        return None
    start, stop = (float((t - place) / speed) for t in (inside[0], inside[-1]))
    return Coincidence(
        (start, stop), (float(inside[0]), float(inside[-1])), speed, cents, len(inside), weight - trials
    )


def _hits(
    query: Constellation, part: Constellation, proposal: tuple[float, float, float]
) -> tuple[npt.NDArray[np.bool_], float]:
    """Which of the reference's peaks coincide, and the share that does so where nothing should."""
    speed, place, cents = proposal
    seconds, pitch = _TIGHT
    asked, known = _coinciding(query, part, speed, place, cents, tolerance=_AROUND)
    later = query.times[asked] - (part.times[known] - place) / speed
    higher = query.cents[asked] - part.cents[known] - cents
    hit = np.zeros(len(part), np.bool_)
    hit[known[(np.abs(later) <= seconds) & (np.abs(higher) <= pitch)]] = True
    shifted = 0
    for shift in _SHIFT_SECONDS:
        some = np.abs(later + shift / speed) <= seconds
        there, tone = known[some], higher[some]
        shifted += sum(_distinct(there[np.abs(tone - cents) <= pitch]) for cents in _SHIFT_CENTS)
    return hit, (shifted + 1) / (len(_SHIFT_SECONDS) * len(_SHIFT_CENTS) * len(part) + 2)


def _distinct(ascending: npt.NDArray[np.int64]) -> int:
    """How many different numbers there are."""
    return int(np.count_nonzero(ascending[1:] != ascending[:-1])) + bool(len(ascending))


def _beat_chance(
    query: Constellation, part: Constellation, speed: float, place: float, cents: float
) -> float:
    """Share of the reference's peaks that coincide at the best of many other places and pitches.

    Two tunes that keep one beat and one scale coincide often where both agree, whatever the tunes are. Shifts
    that are off the beat would not show that.
    """
    seconds, pitch = _TIGHT
    asked, known = _coinciding(query, part, speed, place, cents, tolerance=(_BEATS, _SCALE_CENTS))
    later = query.times[asked] - (part.times[known] - place) / speed
    higher = query.cents[asked] - part.cents[known] - cents
    kept = (np.abs(higher) < _SCALE_CENTS) & (np.abs(later) > _HERE) & (np.abs(later) < _BEATS)
    rows = np.floor((later[kept] + _BEATS) / (2 * seconds)).astype(np.int64)
    columns = np.floor((higher[kept] + _SCALE_CENTS) / (2 * pitch)).astype(np.int64)
    shape = (int(_BEATS / seconds) + 1, int(_SCALE_CENTS / pitch) + 1)
    grid = np.bincount(np.ravel_multi_index((rows, columns), shape), minlength=int(np.prod(shape)))
    rank = max(1, round(_BEST * grid.size))
    return float(np.partition(grid, -rank)[-rank]) / len(part)


def _heaviest(weights: npt.NDArray[np.float64]) -> tuple[int, int, float]:
    """The run with the largest sum: its first, one past its last, and the sum."""
    sums = np.concatenate([np.zeros(1), np.cumsum(weights)])
    lowest = np.minimum.accumulate(sums)
    last = int((sums - lowest).argmax())
    first = int(sums[: last + 1].argmin())
    return first, last, float(sums[last] - sums[first])


def _others(proposals: _Proposals, found: Coincidence) -> _Proposals:
    """The proposals that speak of another part of the query."""
    return proposals.of((proposals.query < found.query[0]) | (proposals.query > found.query[1]))


def _without(query: Constellation, found: Coincidence) -> Constellation:
    """The peaks of the rest of the query: what is explained once is no evidence for anything else."""
    rest = (query.times < found.query[0]) | (query.times > found.query[1])
    return Constellation(query.times[rest], query.cents[rest])


def most(grain: Grain, seconds: float) -> int:
    """Most peaks that so many seconds of sound have: of any half second only the strongest are kept."""
    return math.ceil(seconds / _RANK_SECONDS + 2) * grain.density


def written(peaks: Constellation, scheme: Scheme) -> list[Fingerprint]:
    """Write peaks down as a fingerprint, if there are any: what is silent or steady has none."""
    if not len(peaks):
        return []
    rows = peaks.cents.astype(">u2").view(np.uint8).reshape(-1, 2)
    spans = np.stack([peaks.times, peaks.times + 0.001], axis=1).round(3)
    return [Fingerprint(scheme, rows, spans, np.ones(len(rows), np.float32), np.zeros(len(rows), np.uint8))]


def read(fingerprint: Fingerprint) -> Constellation:
    """The peaks that `written` wrote down, in the order of time."""
    cents = np.ascontiguousarray(fingerprint.descriptors).view(">u2").ravel().astype(np.float64)
    order = np.argsort(fingerprint.spans[:, 0], kind="stable")
    return Constellation(fingerprint.spans[order, 0], cents[order])
