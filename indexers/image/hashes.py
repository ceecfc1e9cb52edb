"""Perceptual hashes of pictures: PDQ and pHash, of a picture as it is and of its flips and turns.

Flips, right-angle turns and negatives are found from the query's side. The query is hashed in nine views, the
reference in one: a search scans as much as with nine views of each reference, the index takes a ninth of the
memory, and registering costs a ninth of the hashing. Both hashes get their views from one transform of the
picture: a flip changes the signs of a DCT's odd coefficients, a turn also transposes them, and a negative has
all signs changed.

View codes name what was done to the reference to give the query (`TRANSFORMS`). The descriptor of view k is
therefore taken from the query with transform k undone: it equals the reference's where k is right.
"""

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from indexers.fingerprint import Fingerprint, Metric, Scheme, SpanUnit
from indexers.image import pdq
from indexers.image.decode import Picture
from indexers.modality import Role, Segment


@cache
def load() -> Callable[[Image.Image], Any]:
    """Import imagehash and what it imports late, which a confined process cannot; return its pHash."""
    import imagehash  # noqa: PLC0415 - brings SciPy along: half a second
    import scipy.fftpack  # noqa: F401, PLC0415

    phash: Callable[[Image.Image], Any] = imagehash.phash
    return phash


PDQ = Scheme("image.pdq", 1, 256, Metric.HAMMING, SpanUnit.FRAME)
"""Meta's PDQ (https://github.com/facebook/ThreatExchange/tree/main/pdq) of the luma at 320 × 320 pixels.

Meta's C++ program brings pictures of more than 512 pixels to 512 × 512, its Python code hashes them at the
size that they have. At 320 × 320 PDQ's box filter (3 pixels) and its sampling grid (every fifth) lie
symmetrically, which they do not at 512: flips hash to exactly flipped hashes, and a copy of another size
moves fewer bits. Bits are packed in the order of PDQ's hexadecimal form. Quality is PDQ's, over 100.
"""

PHASH = Scheme("image.phash", 1, 64, Metric.HAMMING, SpanUnit.FRAME)
"""imagehash.phash (8 × 8 bits) of the luma at 320 × 320 pixels.

Bits are packed in the order of its hexadecimal form. Quality is the standard deviation that the hashed
coefficients describe, in grey levels, over `PHASH_FULL_CONTRAST` and at most 1: a flat picture has 0.
"""

TURNS = (
    "identity",
    "flip_horizontal",
    "flip_vertical",
    "rotate_90",
    "rotate_180",
    "rotate_270",
    "transpose",
    "transverse",
)
"""Flips and right-angle turns; turns are counter-clockwise."""

TRANSFORMS = (*TURNS, "invert")
"""View codes: what was done to the reference to give the query; to invert is to make a negative."""

PHASH_FULL_CONTRAST = 16.0
"""Grey levels of low-frequency contrast from which a pHash is as stable as it gets."""

_PHASH_SIDE = 8
_PHASH_PIXELS = 32

_GRID = np.arange(_PHASH_PIXELS)
_DCT = 2.0 * np.cos(np.pi * np.outer(np.arange(_PHASH_SIDE), 2 * _GRID + 1) / (2 * _PHASH_PIXELS))
"""The first rows of the DCT-II, scaled as SciPy and imagehash have it."""


def fingerprint(segments: Iterable[Segment[Picture]], role: Role) -> list[Fingerprint]:
    """Hash each frame: `PDQ` and `PHASH`, in all views for a query, as it is for a reference.

    The descriptors of a frame stand together, in the order of the view codes.

    Raises:
        FingerprintError: If there are no segments.
    """
    pdq_rows, phash_rows, pdq_quality, phash_quality, spans = [], [], [], [], []
    for segment in segments:
        pixels = square(segment.data)
        row, quality = pdq_views(pixels, role)
        pdq_rows.append(row)
        pdq_quality.append(quality)
        row, quality = phash_views(pixels, role)
        phash_rows.append(row)
        phash_quality.append(quality)
        spans.append((segment.start, segment.end))
    views = len(TRANSFORMS) if role is Role.QUERY else 1
    return [
        Fingerprint(
            scheme,
            np.concatenate(rows) if rows else np.empty((0, scheme.columns), np.uint8),
            np.repeat(np.asarray(spans, np.float64).reshape(-1, 2), views, axis=0),
            np.repeat(np.asarray(qualities, np.float32), views),
            np.tile(np.arange(views, dtype=np.uint8), len(spans)),
        )
        for scheme, rows, qualities in ((PDQ, pdq_rows, pdq_quality), (PHASH, phash_rows, phash_quality))
    ]


def square(picture: Picture) -> Image.Image:
    """Luma (ITU-R 601) of the picture, squeezed or stretched to what is hashed."""
    luma = Image.fromarray(picture).convert("L")
    return luma.resize((pdq.SIDE, pdq.SIDE), Image.Resampling.BILINEAR)


def pdq_views(square: Image.Image, role: Role) -> tuple[npt.NDArray[np.uint8], float]:
    """Return PDQ hashes, (views, 32), and their quality, 0..1."""
    coefficients, quality = pdq.coefficients(np.asarray(square))
    return pdq.hashes(_views(coefficients, 1, role)), quality


def phash_views(square: Image.Image, role: Role) -> tuple[npt.NDArray[np.uint8], float]:
    """Return pHashes, (views, 8), and their quality, 0..1.

    The picture as it is is hashed by imagehash itself; the other views follow from the same coefficients.
    """
    small = square.resize((_PHASH_PIXELS, _PHASH_PIXELS), Image.Resampling.LANCZOS)
    coefficients = _DCT @ np.asarray(small, np.float64) @ _DCT.T
    views = _views(coefficients, 0, role)
    bits = views > np.median(views, axis=(1, 2), keepdims=True)
    bits[0] = load()(small).hash
    quality = min(1.0, _contrast(coefficients) / PHASH_FULL_CONTRAST)
    return np.packbits(bits.reshape(len(bits), -1), axis=1), quality


def _views(
    coefficients: npt.NDArray[np.floating[Any]], lowest: int, role: Role
) -> npt.NDArray[np.floating[Any]]:
    """Return the coefficients, for a query those of the picture with each of `TRANSFORMS` undone.

    Args:
        coefficients: (n, n), of a DCT.
        lowest: The frequency of the first row and column.
        role: What the picture is hashed for.

    Returns:
        (1, n, n) or (9, n, n).
    """
    if role is Role.REFERENCE:
        return coefficients[np.newaxis]
    odd = (-1.0) ** (lowest + np.arange(len(coefficients), dtype=coefficients.dtype))
    flip_x, flip_y = odd[np.newaxis, :], odd[:, np.newaxis]
    turned = coefficients.T
    negative = -coefficients
    if lowest == 0:  # the mean, which is positive in a negative too
        negative[0, 0] = coefficients[0, 0]
    return np.stack(
        [
            coefficients,
            coefficients * flip_x,
            coefficients * flip_y,
            turned * flip_x,
            coefficients * flip_x * flip_y,
            turned * flip_y,
            turned,
            turned * flip_x * flip_y,
            negative,
        ]
    )


def _contrast(coefficients: npt.NDArray[np.float64]) -> float:
    """Standard deviation, in grey levels, of the picture that these coefficients alone describe."""
    power = coefficients**2 / (2 * _PHASH_PIXELS) ** 2  # of an orthonormal DCT, but for ...
    power[0, :] /= 2.0  # ... the first row and column, which SciPy's scaling doubles
    power[:, 0] /= 2.0
    power[0, 0] = 0.0  # the mean
    return float(np.sqrt(power.sum()) / _PHASH_PIXELS)
