"""Where a picture has something that can be found again: blobs in scale space, with an orientation.

Lowe's detector (SIFT, https://doi.org/10.1023/B:VISI.0000029664.99615.94) without doubling the picture first,
which takes three quarters of its time: extrema of differences of Gaussians, placed between pixels and scales
by a quadratic, without those on edges. Instead of the strongest, which crowd where there is texture, the
strongest of each part of the picture and of each octave are kept.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Luma: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float32]
Integers: TypeAlias = npt.NDArray[np.intp]

SIGMA = 1.3
"""Blur of the first level of each octave, in its pixels."""

LEVELS = 3
"""Levels per octave."""

OCTAVES = 6
"""Most octaves: keypoints have at most half the size of a picture."""

MIN_SIDE = 16
"""Pixels that the shorter side of an octave has at least."""

MIN_CONTRAST = 0.5
"""Grey levels by which two neighbouring levels differ at a keypoint at least."""

MAX_EDGE = 12.0
"""Largest ratio of a keypoint's curvatures: above, it lies on an edge and could slide along."""

CELLS = 8
"""Keypoints are spread over this many by this many parts of the picture, octave by octave."""

SECOND_PEAK = 0.8
"""A keypoint with two orientations of nearly the same strength, the weaker above this part, gets both."""

_MARGIN = 5
"""Pixels at the border of an octave without keypoints."""

_BINS = 36
"""Of the histogram of gradients that gives the orientation."""

_ORIENTATION_SIDE = 13
_ORIENTATION_STEP = 0.75
"""Samples across and their distance, in sigmas, of the patch that gives the orientation."""


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """Keypoints of one picture, n each.

    Attributes:
        octave: From 0; octave k has 2^k times fewer pixels on each side.
        level: Place between the levels of the octave, from 0.
        x: Pixels of the octave, from the left.
        y: Pixels of the octave, from the top.
        response: Grey levels of contrast.
    """

    octave: Integers
    level: Floats
    x: Floats
    y: Floats
    response: Floats

    def __len__(self) -> int:
        """Number of keypoints."""
        return len(self.x)

    def __getitem__(self, rows: npt.NDArray[Any]) -> "Keypoints":
        """Select keypoints by number or by flag."""
        return Keypoints(self.octave[rows], self.level[rows], self.x[rows], self.y[rows], self.response[rows])

    @property
    def sigma(self) -> Floats:
        """Scale, in pixels of the octave."""
        return (SIGMA * 2.0 ** (self.level / LEVELS)).astype(np.float32)


def scale_space(luma: Luma) -> list[Floats]:
    """Blur and halve: for each octave, (LEVELS + 3, height, width)."""
    base = cv2.GaussianBlur(luma.astype(np.float32), (0, 0), (SIGMA**2 - 0.5**2) ** 0.5)  # a camera blurs 0.5
    octaves: list[Floats] = []
    while min(base.shape) >= MIN_SIDE and len(octaves) < OCTAVES:
        levels = np.empty((LEVELS + 3, *base.shape), np.float32)
        levels[0] = base
        for number in range(1, LEVELS + 3):
            before, after = (SIGMA * 2.0 ** (step / LEVELS) for step in (number - 1, number))
            added = (after**2 - before**2) ** 0.5
            side = 2 * round(3 * added) + 1
            cv2.GaussianBlur(levels[number - 1], (side, side), added, dst=levels[number])
        octaves.append(levels)
        base = np.ascontiguousarray(levels[LEVELS, ::2, ::2])
    return octaves


def detect(octaves: list[Floats]) -> Keypoints:
    """Find the extrema of the differences of neighbouring levels."""
    found = [_detect(number, levels[1:] - levels[:-1]) for number, levels in enumerate(octaves)]
    found.append(_located(0, *(np.empty(0, np.float32) for _ in range(4))))
    return Keypoints(
        np.concatenate([part.octave for part in found]),
        np.concatenate([part.level for part in found]),
        np.concatenate([part.x for part in found]),
        np.concatenate([part.y for part in found]),
        np.concatenate([part.response for part in found]),
    )


def _located(octave: int, level: Floats, y: Floats, x: Floats, response: Floats) -> Keypoints:
    return Keypoints(
        np.full(len(x), octave, np.intp),
        level.astype(np.float32),
        x.astype(np.float32),
        y.astype(np.float32),
        response.astype(np.float32),
    )


def _detect(octave: int, differences: Floats) -> Keypoints:
    """Find the extrema of one octave's differences, (LEVELS + 2, height, width)."""
    level, y, x = _extrema(differences)

    def at(up: int, down: int, right: int) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = differences[level + up, y + down, x + right].astype(np.float64)
        return values

    middle = at(0, 0, 0)
    xx, yy = (at(0, *step) + at(0, *(-part for part in step)) - 2 * middle for step in ((0, 1), (1, 0)))
    xy = (at(0, 1, 1) + at(0, -1, -1) - at(0, 1, -1) - at(0, -1, 1)) / 4
    curvature = xx * yy - xy**2
    round_enough = (curvature > 0) & ((xx + yy) ** 2 * MAX_EDGE < (MAX_EDGE + 1) ** 2 * curvature)
    level, y, x = level[round_enough], y[round_enough], x[round_enough]
    middle, xx, yy, xy, curvature = (part[round_enough] for part in (middle, xx, yy, xy, curvature))

    ss = at(1, 0, 0) + at(-1, 0, 0) - 2 * middle
    sy = (at(1, 1, 0) + at(-1, -1, 0) - at(1, -1, 0) - at(-1, 1, 0)) / 4
    sx = (at(1, 0, 1) + at(-1, 0, -1) - at(1, 0, -1) - at(-1, 0, 1)) / 4
    s_slope, y_slope, x_slope = (
        (at(*step) - at(*(-part for part in step))) / 2 for step in ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    )
    # Newton's step: the Hessian's inverse by cofactors, which for thousands of them is faster than LAPACK.
    cofactors = (
        curvature,
        sx * xy - sy * xx,
        sy * xy - sx * yy,
        ss * xx - sx**2,
        sx * sy - ss * xy,
        ss * yy - sy**2,
    )
    determinant = ss * cofactors[0] + sy * cofactors[1] + sx * cofactors[2]
    regular = np.abs(determinant) > 1e-9
    scale = -1 / np.where(regular, determinant, 1)
    steps = (
        np.clip(scale * (row[0] * s_slope + row[1] * y_slope + row[2] * x_slope), -0.7, 0.7)
        for row in (
            (cofactors[0], cofactors[1], cofactors[2]),
            (cofactors[1], cofactors[3], cofactors[4]),
            (cofactors[2], cofactors[4], cofactors[5]),
        )
    )
    s_step, y_step, x_step = steps
    response = np.abs(middle + (s_slope * s_step + y_slope * y_step + x_slope * x_step) / 2)
    kept = np.flatnonzero(regular & (response > MIN_CONTRAST))
    return _located(octave, (level + s_step)[kept], (y + y_step)[kept], (x + x_step)[kept], response[kept])


def _extrema(differences: Floats) -> Integers:
    """Return level, row and column (3, n) of what is above, or below, all 26 neighbours."""
    kernel = np.ones((3, 3), np.uint8)
    count, height, width = differences.shape
    inner = (count - 2) * height
    # The levels lie below each other: what they mix at their borders is left out there.
    tall = differences.reshape(-1, width)
    before, at, after = (tall[start : start + inner] for start in (0, height, 2 * height))
    highest = cv2.dilate(cv2.max(cv2.max(before, at), after), kernel)
    lowest = cv2.erode(cv2.min(cv2.min(before, at), after), kernel)
    least = 0.7 * MIN_CONTRAST
    found = []
    for bound, way, sign in ((highest, cv2.CMP_GE, 1.0), (lowest, cv2.CMP_LE, -1.0)):
        marks = np.asarray(cv2.compare(at, bound, way), np.uint8)
        # Flags are ten times as fast to look through as bytes or as a part of an array.
        places = np.flatnonzero((marks & 1).view(np.bool_))
        found.append(places[sign * at.reshape(-1)[places] >= least])
    row, x = np.divmod(np.concatenate(found), width)
    level, y = np.divmod(row, height)
    inside = (np.minimum(y, x) >= _MARGIN) & (y < height - _MARGIN) & (x < width - _MARGIN)
    return np.stack([level[inside] + 1, y[inside], x[inside]])


def spread(keypoints: Keypoints, shape: tuple[int, int], count: int) -> Keypoints:
    """Keep at most `count`: the strongest of each cell of each octave, then the second strongest, and so on.

    Args:
        keypoints: All that were found.
        shape: Height and width of the first octave.
        count: How many are kept.
    """
    height, width = shape
    scale = 2.0**keypoints.octave
    rows = np.clip(keypoints.y * scale * CELLS / height, 0, CELLS - 1).astype(np.intp)
    columns = np.clip(keypoints.x * scale * CELLS / width, 0, CELLS - 1).astype(np.intp)
    cells = (keypoints.octave * CELLS + rows) * CELLS + columns
    order = np.lexsort((-keypoints.response, cells))
    _, first, sizes = np.unique(cells[order], return_index=True, return_counts=True)
    rank = np.empty(len(keypoints), np.intp)
    rank[order] = np.arange(len(keypoints)) - np.repeat(first, sizes)
    return keypoints[np.lexsort((-keypoints.response, rank))[:count]]


def sample(levels: Floats, keypoints: Keypoints, angles: Floats, side: int, step: float) -> Floats:
    """Sample square patches around keypoints of one octave; beyond the border its pixels go on.

    Args:
        levels: The octave, (levels, height, width).
        keypoints: n of it.
        angles: (n,) by which the patches are turned, radians, from x towards y.
        side: Samples across.
        step: Distance of samples, in sigmas.

    Returns:
        (n, side, side).
    """
    depth, height, width = levels.shape
    level = np.clip(np.rint(keypoints.level), 0, depth - 1).astype(np.float32)
    reach = keypoints.sigma * np.float32(step)
    cosine, sine = np.cos(angles) * reach, np.sin(angles) * reach
    grid = _grid(side)
    x = np.stack([cosine, -sine, keypoints.x], axis=1) @ grid
    y = np.stack([sine, cosine, keypoints.y], axis=1) @ grid
    np.clip(x, 0, width - 1, out=x)
    np.clip(y, 0, height - 1, out=y)
    y += (level * np.float32(height))[:, np.newaxis]
    patches = cv2.remap(levels.reshape(-1, width), x, y, cv2.INTER_LINEAR)
    return np.asarray(patches, np.float32).reshape(-1, side, side)


@cache
def _grid(side: int) -> Floats:
    """Samples of a square around 0, a step apart: to the right, down, and one; (3, side * side)."""
    offsets = np.arange(side, dtype=np.float32) - (side - 1) / 2
    right, down = (grid.ravel() for grid in np.meshgrid(offsets, offsets))
    return np.stack([right, down, np.ones_like(right)])


def gradients(patches: Floats) -> tuple[Floats, Floats]:
    """Central differences along x and y, (n, side - 2, side - 2) each."""
    return (
        patches[:, 1:-1, 2:] - patches[:, 1:-1, :-2],
        patches[:, 2:, 1:-1] - patches[:, :-2, 1:-1],
    )


def orient(octaves: list[Floats], keypoints: Keypoints, *, second: bool) -> tuple[Keypoints, Floats]:
    """Give each keypoint the direction in which most of the gradients around it point.

    Args:
        octaves: The scale space.
        keypoints: n of it.
        second: Whether keypoints with two nearly equal directions come twice.

    Returns:
        The keypoints, those that come again at the end, and their angles in radians, from x towards y.
    """
    histograms = np.zeros((len(keypoints), _BINS), np.float32)
    for number in np.unique(keypoints.octave):
        rows = np.flatnonzero(keypoints.octave == number)
        histograms[rows] = _histograms(octaves[number], keypoints[rows])
    near, far = (np.roll(histograms, step, 1) + np.roll(histograms, -step, 1) for step in (1, 2))
    histograms = 6 * histograms + 4 * near + far
    peaks = np.where(
        (histograms >= np.roll(histograms, 1, 1)) & (histograms > np.roll(histograms, -1, 1)), histograms, 0
    )
    rows = np.arange(len(keypoints))
    first = peaks.argmax(axis=1)
    angles = _angles(histograms, rows, first)
    if not second:
        return keypoints, angles
    strongest = peaks[rows, first]
    peaks[rows, first] = 0
    other = peaks.argmax(axis=1)
    again = np.flatnonzero(peaks[rows, other] > SECOND_PEAK * strongest)
    return (
        keypoints[np.concatenate([rows, again])],
        np.concatenate([angles, _angles(histograms, again, other[again])]),
    )


def _histograms(levels: Floats, keypoints: Keypoints) -> Floats:
    """Directions of the gradients around each keypoint of an octave, weighted by length and nearness."""
    count = len(keypoints)
    upright = np.zeros(count, np.float32)
    across, down = gradients(sample(levels, keypoints, upright, _ORIENTATION_SIDE, _ORIENTATION_STEP))
    offsets = (np.arange(across.shape[1]) - (across.shape[1] - 1) / 2) * _ORIENTATION_STEP
    nearness = np.exp(-np.add.outer(offsets**2, offsets**2) / (2 * 1.5**2)).ravel()
    lengths, angles = cv2.cartToPolar(across.reshape(count, -1), down.reshape(count, -1))
    weights = lengths * nearness
    places = angles * (_BINS / (2 * np.pi))
    below = np.floor(places)
    share = places - below
    bins = below.astype(np.intp) % _BINS
    start = np.arange(count)[:, np.newaxis] * _BINS
    total = np.bincount((start + bins).ravel(), (weights * (1 - share)).ravel(), count * _BINS)
    total += np.bincount((start + (bins + 1) % _BINS).ravel(), (weights * share).ravel(), count * _BINS)
    return total.reshape(count, _BINS).astype(np.float32)


def _angles(histograms: Floats, rows: Integers, bins: Integers) -> Floats:
    """Place the peaks between bins, by a parabola."""
    before, peak, after = (histograms[rows, (bins + step) % _BINS] for step in (-1, 0, 1))
    bend = before - 2 * peak + after
    offset = np.where(bend < 0, (before - after) / np.where(bend < 0, 2 * bend, 1), 0.0)
    return ((bins + offset) * (2 * np.pi / _BINS)).astype(np.float32)
