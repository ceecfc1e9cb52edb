"""Spectra of frames of sound, by OpenCV: its transform takes half of SciPy's time, an eighth of NumPy's."""

from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

Sounds = npt.NDArray[np.float32]
Powers = npt.NDArray[np.float32]

_AT_ONCE: Final = 64
"""Frames that are transformed at a time: they stay in the processor's cache."""

_APART: Final = 4
"""Samples by which real and imaginary parts lie apart from where vectors of 32 bytes would begin for both.

Where both begin so, OpenCV writes past the cache, from which they are read next: that takes three times as
long.
"""


def powers(frames: Sounds, taper: Sounds, first: int, end: int) -> Powers:
    """Return the squared magnitudes of some bins of frames' spectra, (n, samples) to (end - first, n).

    Args:
        frames: May overlap in memory.
        taper: What each is multiplied by, (samples,).
        first: The first bin that is wanted, 1 or more.
        end: The one after the last, samples // 2 or less.
    """
    count = end - first
    found = np.empty((count, len(frames)), np.float32)
    # Allocated once: that takes long.
    tapers = np.tile(taper, (_AT_ONCE, 1))
    room = np.empty((_AT_ONCE, len(taper)), np.float32)
    real, imaginary = _two(count)
    for start in range(0, len(frames), _AT_ONCE):
        some = frames[start : start + _AT_ONCE]
        spectra, parts = room[: len(some)], (real[: len(some)], imaginary[: len(some)])
        np.copyto(spectra, some)
        spectra *= tapers[: len(some)]
        # The real part of bin 0, then real and imaginary part of each bin from 1 on.
        cv2.dft(spectra, dst=spectra, flags=cv2.DFT_ROWS)
        cv2.split(spectra[:, 2 * first - 1 : 2 * end - 1].reshape(len(some), count, 2), parts)
        for part in parts:
            np.square(part, out=part)
        np.add(*parts, out=parts[0])
        cv2.transpose(parts[0], dst=found[:, start : start + len(some)])
    return found


def _two(count: int) -> tuple[Sounds, Sounds]:
    """Room for the real and the imaginary parts of some bins of `_AT_ONCE` spectra; see `_APART`."""
    size = _AT_ONCE * count  # a multiple of 8
    room = np.empty(2 * size + _APART, np.float32)
    return room[:size].reshape(-1, count), room[size + _APART :].reshape(-1, count)
