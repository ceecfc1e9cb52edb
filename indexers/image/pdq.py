"""PDQ, of a picture of 320 × 320 pixels.

PDQ is Meta's perceptual hash: a luma picture is smoothed, sampled at 64 × 64 points, and its lowest 16 × 16
frequencies but the constant ones are compared with their median
(https://github.com/facebook/ThreatExchange/blob/main/hashing/hashing.pdf). At this size its two box filters
of 3 pixels and its grid of every fifth pixel amount to a weighted mean of 5 × 5 pixels around each grid
point, without any special case at the edges. The hashes equal those of Meta's program bit for bit, but for
coefficients that lie so near the median that the order of additions decides.
"""

import numpy as np
import numpy.typing as npt

SIDE = 320
"""Side of the picture that is hashed, in pixels."""

_GRID = 64
_FREQUENCIES = 16
_STEP = SIDE // _GRID

_TAPS = np.array([1, 2, 3, 2, 1], np.float32) / 9
"""Two box filters of 3 pixels, one after the other."""

_DCT = np.float32(np.sqrt(2.0 / _GRID)) * np.cos(
    np.pi / (2 * _GRID) * np.outer(np.arange(1, _FREQUENCIES + 1), 2 * np.arange(_GRID) + 1)
).astype(np.float32)
"""Rows 1 to 16 of the DCT-II of 64 points, orthonormal."""

_FULL_QUALITY = 90
"""Sum of gradients, over 100, from which PDQ's quality is full."""


def coefficients(luma: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], float]:
    """Transform a picture.

    Args:
        luma: (320, 320).

    Returns:
        Its low frequencies, (16, 16), whose signs against their median are the hash, and PDQ's quality, 0..1.
    """
    blocks = luma.reshape(_GRID, _STEP, _GRID, _STEP).astype(np.float32)
    points = np.einsum("iajb,a,b->ij", blocks, _TAPS, _TAPS, optimize=True)
    return _DCT @ points @ _DCT.T, _quality(points)


def hashes(views: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Compare coefficients with their median.

    Args:
        views: (n, 16, 16).

    Returns:
        (n, 32), packed in the order of PDQ's hexadecimal form: the highest frequencies come first.
    """
    flat = views.reshape(len(views), -1)
    middle = np.partition(flat, flat.shape[1] // 2 - 1, axis=1)[:, flat.shape[1] // 2 - 1]
    return np.packbits((flat > middle[:, np.newaxis])[:, ::-1], axis=1)


def _quality(points: npt.NDArray[np.float32]) -> float:
    """How much the sampled picture changes from point to point: near 0 for flat ones."""
    total = sum(
        np.abs(np.trunc(np.diff(points, axis=axis) * (100.0 / 255.0))).sum(dtype=np.float64)
        for axis in (0, 1)
    )
    return min(1.0, int(total / _FULL_QUALITY) / 100.0)
