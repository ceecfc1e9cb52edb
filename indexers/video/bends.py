"""Where along a stretch the speed changes: films that are sped up here and slowed down there.

The best path through the work is followed frame by frame of the query (Viterbi, "Error bounds for
convolutional codes", 1967): from one frame to the next it goes on at one of some speeds, a frame says as much
for a place as the work resembles it there, and changing the speed costs. What frames have in common is taken
off both sides, as `motion` does, and between two of its frames the work shows a mixture of them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.video.lines import Floats, Line
from indexers.video.motion import around, between, vectors
from indexers.video.rows import Rows

SPEEDS: Final = tuple(round(0.7 + 0.05 * step, 2) for step in range(15))
"""Seconds of the work in one second of the query, beside the line's own speed."""

_GRID = 0.05
"""Seconds of the work between places that are tried."""
_REACH = 2.5
"""Seconds by which a path may lie off the line."""
_CHANGING = (0.1, 0.2, 0.4, 0.8)
"""What a change of speed costs, in frames that agree wholly; each is tried until all speeds last."""
_FEWEST = 8
"""Frames that a path needs."""
_SHORTEST = 2.25
"""Seconds for which each speed must last: a film of quick cuts seems to change its speed for less, as frames
of the work are some tenths of a second off."""
_EVEN = 1e9
"""A cost that no change is worth."""


@dataclass(frozen=True, slots=True)
class Path:
    """How a stretch runs through the work.

    Attributes:
        gain: What changing the speed gains, in frames that agree wholly, less what it costs; ≥ 0.
        times: (n,) seconds of the query: where the speed changes.
        places: (n,) seconds of the work at these.
        start: Place at the stretch's start.
        end: Place at its end.
    """

    gain: float
    times: tuple[float, ...]
    places: tuple[float, ...]
    start: float
    end: float


def path(line: Line, span: tuple[float, float], frames: Rows, work: Rows, length: float) -> Path | None:
    """Follow a stretch at speeds that change.

    Args:
        line: Which times correspond, about; it runs forwards.
        span: Where the stretch lies in the query, seconds.
        frames: Of the query, also those that look like the one before.
        work: The same of the work.
        length: When the work ends, seconds.

    Returns:
        None where there is too little to tell, a speed does not last, or the work is too short.
    """
    rows = np.flatnonzero((frames.starts >= span[0] - 1e-6) & (frames.starts < span[1] - 1e-6))
    if len(rows) < _FEWEST or not len(work):
        return None
    times = frames.starts[rows]
    on = line.at(times)
    first, last = max(0.0, float(on.min()) - _REACH), min(length, float(on.max()) + _REACH)
    places = np.arange(first, last + 1e-9, _GRID)
    speeds = np.array(sorted({*SPEEDS, line.speed}))
    if round(float(times[-1] - times[0]) * speeds[0] / _GRID) >= len(places):  # whatever its speed
        return None
    agreeing = _agreeing(frames, rows, work, places, on)
    if agreeing is None:
        return None
    even, _, _ = _followed(times, agreeing, speeds, _EVEN)
    for cost in _CHANGING:
        most, speed, place = _followed(times, agreeing, speeds, cost)
        changes = np.flatnonzero(np.diff(speed)) + 1
        joints = (times[changes - 1] + times[changes]) / 2
        if np.diff([span[0], *joints, span[1]]).min() >= _SHORTEST:
            break
    else:
        return None
    at = places[place]
    return Path(
        max(0.0, most - even),
        tuple(joints.tolist()),
        tuple(((at[changes - 1] + at[changes]) / 2).tolist()),
        float(at[0] - speeds[speed[0]] * (times[0] - span[0])),
        float(at[-1] + speeds[speed[-1]] * (span[1] - times[-1])),
    )


def _agreeing(
    frames: Rows, rows: npt.NDArray[np.int64], work: Rows, places: Floats, on: Floats
) -> Floats | None:
    """How well each frame agrees with each place, (frames, places), 1 at most; None: all frames are one."""
    kept = around(work, places, 1.0)
    before, after, part = between(work.starts[kept], places)
    theirs = vectors(work, kept)
    shown = (1.0 - part)[:, np.newaxis] * theirs[before] + part[:, np.newaxis] * theirs[after]
    mine = vectors(frames, rows).astype(np.float64)
    expected = np.clip(np.searchsorted(places, on), 0, len(places) - 1)
    mine -= mine.mean(axis=0)
    shown -= shown[expected].mean(axis=0)
    own, their_own = float((mine**2).sum(axis=1).mean()), float((shown**2).sum(axis=1).mean())
    if min(own, their_own) <= 0.0:
        return None
    shown *= np.sqrt(own / their_own)
    found: Floats = (mine @ shown.T - (shown**2).sum(axis=1) / 2) / own
    return found


def _followed(
    times: Floats, agreeing: Floats, speeds: Floats, cost: float
) -> tuple[float, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The best path: what it says in all, and of each frame the speed that leads to it, and its place.

    Args:
        times: Of frames, seconds.
        agreeing: (frames, places)
        speeds: In seconds of the work in one of the query.
        cost: Of each change.
    """
    count, width = agreeing.shape
    every = np.arange(len(speeds))[:, np.newaxis]
    best = np.repeat(agreeing[:1], len(speeds), axis=0)
    came: list[npt.NDArray[np.int64]] = []
    gone = np.rint((times - times[0])[:, np.newaxis] * speeds / _GRID).astype(np.int64)
    steps = np.diff(gone, axis=0)
    for frame in range(1, count):
        changed = best.max(axis=0) - cost
        sources = np.where(best >= changed, every, best.argmax(axis=0))
        reached = np.maximum(best, changed)
        best = np.full_like(best, -np.inf)
        came.append(sources)
        for speed, step in enumerate(steps[frame - 1].tolist()):
            if step < width:
                best[speed, step:] = reached[speed, : width - step]
        best += agreeing[frame]
    speed, place = divmod(int(best.argmax()), width)
    most = float(best[speed, place])
    led, at = [speed], [place]
    for frame in range(count - 1, 0, -1):
        place -= int(steps[frame - 1, speed])
        speed = int(came[frame - 1][speed, place])
        led.append(speed)
        at.append(place)
    return most, np.array(led[::-1]), np.array(at[::-1])
