"""Constellations of spectral peaks: found in a sound, written down, read again.

A peak is a point in time and log-frequency that is louder than all around it: what is left of music after
compression, a room, a voice over it. `triples` and `coincide` compare them. The code and all constants are
our own.

Stored are the peaks. References have few, queries many: what a copy adds (a voice, another track) must not
crowd out what it copies.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from indexers.audio import spectra
from indexers.audio.decode import RATE, Sound
from indexers.fingerprint import Fingerprint, Metric, Scheme, SpanUnit
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
    top = np.flatnonzero(level >= cv2.dilate(level, near))  # of all the rest little is left
    height, last = level.ravel()[top], (len(level) - 1) * level.shape[1]
    high = (height > _QUIETEST) & (height - usual.ravel()[top] >= grain.rise)
    frame, band = np.divmod(top[high & (top >= level.shape[1]) & (top < last)], level.shape[1])
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
