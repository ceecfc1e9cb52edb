"""Straight edges along a picture's rows and columns: where a pasted picture, a bar or a frame may end.

A pasted edge differs from the edges of things in that it lies exactly between the same two columns (or rows)
over a long stretch. Each pixel therefore says how likely it is to lie on such an edge, and a stretch of a
column is worth the sum of its pixels, which cumulative sums give for any stretch at once.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from indexers.image.decode import Picture

Bytes: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]

SIDE: Final = 320
"""Edges are looked for on a copy whose longer side has at most this many pixels."""

MIN_SIDE: Final = 16
"""Where a side of that copy has fewer pixels than this, nothing is looked for."""

FULL: Final = 2.0
"""What a pixel that surely lies on a straight edge is worth."""

_NONE: Final = -0.6
"""What a pixel without an edge is worth: a stretch may be interrupted over three quarters of its length."""

_REACH: Final = 11
"""A step is compared with the average of so many pixels around it, across the line."""
_MAX_LINES: Final = 24
"""Of each direction. The number of rectangles grows with the fourth power."""
_BLOCKS: Final = 24
"""Into how many parts lines are cut to find those with the best stretches."""
_MIN_STRETCH: Final = 0.05
"""Shortest stretch that makes a line, as a part of the picture's side, were all its pixels sure."""
_FAINTEST_STEP: Final = 5.0
"""Grey levels below which a step is none: JPEG makes such."""

_LEVELS: Final = np.minimum(15, 2 * np.log2(np.arange(256) + 1.0)).astype(np.uint8)
"""Grey levels of a step → 16 classes, two for each doubling."""


def _worth() -> Floats:
    """Return what a step of class i among steps of class j on average is worth, at 16 i + j.

    The formula follows the logarithm of how much more frequent each pair is on the edges of pasted pictures
    than in untouched ones, counted on 1,300 pictures; it is cut off since neighbouring pixels are not
    independent.
    """
    step = 2.0 ** ((np.arange(16) + 0.5) / 2) - 1
    worth = 2.0 * np.log2((step[:, None] + 1) / (step[None, :] + 1.5)) - 0.3
    worth[step < _FAINTEST_STEP] = _NONE
    return worth.clip(_NONE, FULL).astype(np.float32).reshape(-1)


_WORTH: Final = _worth()


@dataclass(frozen=True, slots=True)
class Lines:
    """The straightest lines in one direction, in the order of their place.

    Attributes:
        cells: (n,) place of each as a number of pixels from the picture's edge. The first and the last are
            the picture's own edges.
        places: (n,) the same, to a fraction of a pixel.
        sums: (n, length + 1) worth of each line's pixels from its beginning up to each pixel; 0 for the
            picture's own edges.
    """

    cells: npt.NDArray[np.intp]
    places: Floats
    sums: Floats


@dataclass(frozen=True, slots=True)
class Edges:
    """A picture's straight edges.

    Attributes:
        small: The copy on which they were looked for, (height, width, 3).
        columns: Vertical lines, places from the left.
        rows: Horizontal lines, places from the top.
    """

    small: Picture
    columns: Lines
    rows: Lines


def straight_edges(picture: Picture) -> Edges | None:
    """Find the straight edges of a picture; None where it is too small or too narrow to hold any."""
    small = _shrunk(picture)
    if min(small.shape[:2]) < MIN_SIDE:
        return None
    across = _steps(small[:, 1:], small[:, :-1])
    down = _steps(small[1:], small[:-1])
    return Edges(
        small=small,
        columns=_straightest(_worths(across, upright=True).T, across.T),
        rows=_straightest(_worths(down, upright=False), down),
    )


def _shrunk(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    factor = SIDE / max(height, width)
    if factor >= 1:
        return picture
    size = max(1, round(width * factor)), max(1, round(height * factor))
    # Averaging all pixels costs four times as much and matters only where many are left out.
    way = cv2.INTER_LINEAR if factor > 0.5 else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)


def _steps(first: Picture, second: Picture) -> Bytes:
    """Return the largest difference of the three colours between neighbouring pixels."""
    red, green, blue = cv2.split(cv2.absdiff(first, second))
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)


def _worths(steps: Bytes, *, upright: bool) -> Floats:
    """Return how likely each pixel is to lie on a straight edge, from `_NONE` to `FULL`."""
    reach, near = ((_REACH, 1), (3, 1)) if upright else ((1, _REACH), (1, 3))
    around = cv2.blur(steps, reach)
    peaks = cv2.compare(steps, cv2.dilate(steps, np.ones(near[::-1], np.uint8)), cv2.CMP_GE)
    classes = cv2.add(cv2.LUT(steps, _LEVELS * 16), cv2.LUT(around, _LEVELS))
    return np.asarray(cv2.LUT(cv2.bitwise_and(classes, peaks), _WORTH), np.float32)


def _straightest(worths: Floats, steps: Bytes) -> Lines:
    """Choose the lines that have the best stretches; each row of the arrays is a line."""
    worths = np.ascontiguousarray(worths)
    count, length = worths.shape
    blocks = cv2.resize(worths, (min(_BLOCKS, length), count), interpolation=cv2.INTER_AREA)
    sums = np.cumsum(blocks, axis=1) / blocks.shape[1]
    before = np.minimum(np.minimum.accumulate(sums, axis=1), 0)
    best = (sums[:, 1:] - before[:, :-1]).max(axis=1)
    near = cv2.dilate(best[:, np.newaxis], np.ones((3, 1), np.uint8))[:, 0]
    best = np.where(best < near, 0, best)
    chosen = np.argsort(-best, kind="stable")[:_MAX_LINES]
    chosen = np.sort(chosen[best[chosen] > _MIN_STRETCH * FULL])
    cumulative = np.zeros((len(chosen) + 2, length + 1), np.float32)
    np.cumsum(worths[chosen], axis=1, out=cumulative[1:-1, 1:])
    cells = np.concatenate([[0], chosen + 1, [count + 1]])
    places = cells.astype(np.float32)
    places[1:-1] += _offsets(worths, steps, chosen)
    return Lines(cells, places, cumulative)


def _offsets(worths: Floats, steps: Bytes, chosen: npt.NDArray[np.intp]) -> Floats:
    """Return by what part of a pixel each edge, blurred by shrinking, lies off its largest step."""
    near = np.clip(chosen[:, None] + np.array([-1, 0, 1]), 0, len(steps) - 1)
    on_edge = (worths[chosen] > 0).astype(np.float32)
    profiles = np.einsum("nkl,nl->nk", steps[near].astype(np.float32), on_edge)
    profiles -= profiles.min(axis=1, keepdims=True)
    return np.asarray((profiles[:, 2] - profiles[:, 0]) / np.maximum(profiles.sum(axis=1), 1), np.float32)
