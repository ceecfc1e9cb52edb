"""Whether what changes from frame to frame does so at the same times: what tells a copy from another take.

A camera that stands still shows much the same at all times, so that likeness alone does not tell which moment
it is. What a scene's frames have in common is taken off both sides; what is left of a copy's frames still
agrees with what is left of the work's at their place, and that of another moment does not. The measure is a
correlation, so that it does not depend on how much changes: 1 for the film itself, some tenths for altered
copies, 0 for chance. The place is moved to where it is largest. How large it becomes elsewhere in the
work, at other offsets at the same speed, says how much it means.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.video.frames import Codes, descriptors
from indexers.video.lines import Floats, Line
from indexers.video.rows import Rows

STEP: Final = 0.25
"""Seconds between places that are tried."""

_NEAR = 1.5
"""Seconds off the line within which the best place is looked for."""
_PARALLELS = 20.0
"""Seconds off the line within which it is compared with others, which are tried every `_APART`."""
_APART = 0.5
_ELSEWHERE = 2.0
"""Seconds off the best place from which on a place is another one."""
_RUNS = 4
_RUN = 40
"""Of a stretch with more times than all of these, so many runs of so many times are compared, all over it."""
_FEWEST = 4
"""Times that a correlation needs."""
_LASTING = 0.5
"""A frame that lasts counts once for so many seconds."""
_INSIDE = 0.6
"""Part of the times that must lie within the work."""
_SLACK = 0.3
"""Seconds by which they may lie outside of it."""
_BETWEEN = 1.0
"""Seconds before a frame from which on the one before is taken to change into it."""
_BETTER = 0.02
"""By how much it must be larger elsewhere for the place to be moved."""

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Motion:
    """How what changes along a line agrees.

    Attributes:
        agreement: Correlation at the best place near the line, -1..1; 0 where there is too little to tell.
        elsewhere: The largest at other places, 0..1; 0 where there are none.
        shift: Seconds of the work from the line to the best place.
        change: How much changes: the median of one less the cosines of any two frames, of the query or of the
            work, whichever is more, 0..2; 0 where there is too little to tell. A frame of what comes before
            or after does not count, as it would in a mean.
    """

    agreement: float = 0.0
    elsewhere: float = 0.0
    shift: float = 0.0
    change: float = 0.0


NONE: Final = Motion()
"""Where there is too little to tell."""


def motion(line: Line, span: tuple[float, float], frames: Rows, work: Rows, length: float) -> Motion:
    """Compare what changes along a line.

    Args:
        line: Which times correspond.
        span: Where the stretch lies in the query, seconds.
        frames: Of the query, also those that look like the one before.
        work: The same of the work.
        length: When the work ends, seconds.
    """
    times, places = _times(frames, *span)
    if len(times) < _FEWEST:
        return NONE
    on = line.at(times)
    kept = around(work, on, _PARALLELS + _ELSEWHERE)
    compared = _compared(frames, places, work, kept, length)
    near, parallel = _steps(_NEAR, STEP), _steps(_PARALLELS, _APART)
    found = compared.at(on, np.concatenate([near, parallel]))
    at_near, at_parallel = found[: len(near)], found[len(near) :]
    if np.isnan(at_near).all():
        return NONE
    best = int(np.flatnonzero(at_near == np.nanmax(at_near))[-1])
    agreement, shift, here = float(at_near[best]), float(near[best]), float(at_near[len(near) // 2])
    if agreement < here + _BETTER:
        agreement, shift = here, 0.0
    others = at_parallel[np.abs(parallel - shift) >= _ELSEWHERE]
    return Motion(agreement, float(np.nanmax(others, initial=0.0)), shift, compared.change(on + shift))


def agreements(
    some: Sequence[Line], span: tuple[float, float], frames: Rows, work: Rows, length: float
) -> Floats:
    """The largest agreement near each of some lines, -1..1; 0 where there is too little to tell.

    Args:
        some: Which times may correspond.
        span: Where the stretch lies in the query, seconds.
        frames: Of the query, also those that look like the one before.
        work: The same of the work.
        length: When the work ends, seconds.
    """
    times, places = _times(frames, *span)
    if len(times) < _FEWEST:
        return np.zeros(len(some))
    on = [line.at(times) for line in some]
    kept = around(work, np.concatenate(on), _NEAR + _ELSEWHERE)
    compared = _compared(frames, places, work, kept, length)
    near = _steps(_NEAR, STEP)
    return np.array([np.nanmax(compared.at(one, near), initial=0.0) for one in on])


def _steps(reach: float, step: float) -> Floats:
    count = round(reach / step)
    return np.arange(-count, count + 1, dtype=np.float64) * step


def around(work: Rows, on: Floats, reach: float) -> npt.NDArray[np.int64]:
    """The frames of the work that are shown at some times, and so many seconds around them."""
    first = np.maximum(np.searchsorted(work.starts, on - reach) - 1, 0)
    last = np.minimum(np.searchsorted(work.starts, on + reach) + 1, len(work))
    steps = np.zeros(len(work) + 1, np.int64)
    np.add.at(steps, first, 1)
    np.add.at(steps, last, -1)
    return np.flatnonzero(steps[:-1].cumsum() > 0)


def vectors(rows: Rows, some: npt.NDArray[np.int64]) -> Vectors:
    """Descriptors of some frames, estimated from their bits, (n, 256)."""
    codes: Codes = np.ascontiguousarray(rows.codes[some]).view(np.uint8)
    return descriptors(codes)


def _times(frames: Rows, start: float, end: float) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Times of a stretch at which a frame is shown, and which: one that lasts, more than once."""
    rows = np.flatnonzero((frames.ends > start) & (frames.starts < end))
    lasting = np.maximum(1, np.rint((frames.ends[rows] - frames.starts[rows]) / _LASTING)).astype(np.int64)
    places = np.repeat(rows, lasting)
    number = np.arange(len(places)) - np.repeat(np.cumsum(lasting) - lasting, lasting)
    times = frames.starts[places] + _LASTING * number
    within = np.flatnonzero((times >= start - 1e-6) & (times < end))
    if len(within) > _RUNS * _RUN:
        firsts = np.linspace(0, len(within) - _RUN, _RUNS).astype(np.int64)
        within = within[(firsts[:, np.newaxis] + np.arange(_RUN)).ravel()]
    return times[within], places[within]


class _Compared:
    """Correlates frames at some times with the work's at any place, by the products of all pairs."""

    def __init__(self, mine: Vectors, theirs: Vectors, starts: Floats, length: float) -> None:
        self._starts, self._length = starts, length
        self._cross = (mine @ theirs.T).astype(np.float64)
        self._mine = (mine @ mine.T).astype(np.float64)
        self._theirs = (theirs @ theirs.T).astype(np.float64)

    def at(self, line: Floats, shifts: Floats) -> Floats:
        """The correlations so many seconds of the work off a line, (n,); NaN: too much lies outside.

        Args:
            line: The place of each time.
            shifts: Seconds.
        """
        on = line + shifts[:, np.newaxis]
        inside = (on >= -_SLACK) & (on <= self._length + _SLACK)
        count = inside.sum(axis=1)
        enough = count >= max(_FEWEST, _INSIDE * line.size)
        share = inside / np.maximum(count, 1)[:, np.newaxis]
        before, after, part = between(self._starts, on)
        # What the work shows at these times is a mixture of two of its frames.
        size = len(self._starts)
        row = np.arange(len(shifts))[:, np.newaxis] * size
        middle = np.bincount((row + before).ravel(), (share * (1.0 - part)).ravel(), row.size * size)
        middle += np.bincount((row + after).ravel(), (share * part).ravel(), row.size * size)
        middle = middle.reshape(len(shifts), size)
        times = np.arange(line.size)
        products = (1.0 - part) * self._cross[times, before] + part * self._cross[times, after]
        common = (share * products).sum(axis=1) - ((share @ self._cross) * middle).sum(axis=1)
        own = share @ np.diag(self._mine) - ((share @ self._mine) * share).sum(axis=1)
        squares = (
            (1.0 - part) ** 2 * self._theirs[before, before]
            + 2.0 * part * (1.0 - part) * self._theirs[before, after]
            + part**2 * self._theirs[after, after]
        )
        their_own = (share * squares).sum(axis=1) - ((middle @ self._theirs) * middle).sum(axis=1)
        changes = np.minimum(own, their_own) >= _LEAST_CHANGE
        scale = np.sqrt(np.where(changes, own * their_own, 1.0))
        found: Floats = np.where(changes, common / scale * count / (count + _CHANCE), 0.0)
        return np.where(enough, found, np.nan)

    def change(self, line: Floats) -> float:
        """See `Motion.change`.

        Args:
            line: The place of each time.
        """
        before, after, part = between(self._starts, line)
        nearest = np.where(part < 0.5, before, after)
        pairs = np.triu_indices(line.size, 1)
        alike = self._mine[pairs], self._theirs[nearest[pairs[0]], nearest[pairs[1]]]
        return max(0.0, float(1.0 - min(map(np.median, alike))))


def between(starts: Floats, on: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    """The frames before and after each time, and how far it is from the first to the second, 0..1.

    Args:
        starts: (n,) when frames are shown first, seconds.
        on: (m,) or more dimensions, seconds.
    """
    before = np.clip(np.searchsorted(starts, on, side="right") - 1, 0, len(starts) - 1)
    after = np.minimum(before + 1, len(starts) - 1)
    step = np.clip(starts[after] - starts[before], 1e-3, _BETWEEN)
    part: Floats = np.clip((on - (starts[after] - step)) / step, 0.0, 1.0)
    return before, after, np.where(after > before, part, 0.0)


def _compared(
    frames: Rows, places: npt.NDArray[np.int64], work: Rows, kept: npt.NDArray[np.int64], length: float
) -> _Compared:
    """Some frames of the query, one for each time, with those kept of a work of so many seconds."""
    return _Compared(vectors(frames, places), vectors(work, kept), work.starts[kept], length)


_CHANCE = 3
"""A correlation of few times is large by chance: it counts as one with so many more times that do not
correlate."""
_LEAST_CHANGE = 1e-4
"""Mean square by which frames must differ from their mean: less is none."""
