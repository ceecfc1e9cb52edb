"""Local features of pictures: what is around each of some hundred points, as 256 bits.

Hashes and the CNN describe a picture as a whole and say that two pictures may be the same; local features say
where. A patch around each keypoint, turned to its direction and sized to its scale, is described by how its
gradients point in each of 4 × 4 places, the directions as harmonics (as in kernel descriptors,
https://doi.org/10.1007/s11263-018-1117-z), and projected to bits.

A mirror reverses the patch's second axis and the odd harmonics. A negative turns the keypoint's direction
around, and so reverses both of the patch's axes. The projections keep apart what these two change in sign
and what they do not: four parts of 64 bits, each of which they leave alone or flip altogether
(`APPEARANCES`). One comparison of two descriptors therefore tells how far apart they are in all four
appearances, and a query needs neither views nor more rows.
"""

from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Fingerprint, Metric, Scheme, SpanUnit
from indexers.image import keypoints
from indexers.image.decode import Picture
from indexers.image.keypoints import Floats, Keypoints
from indexers.modality import Role, Segment

LOCAL = Scheme("image.local", 1, 256, Metric.HAMMING, SpanUnit.FRAME)
"""A row for each keypoint. Its region is the square around it with a side of four times its scale."""

KEYPOINTS: Final = {Role.REFERENCE: 450, Role.QUERY: 800}
"""Most keypoints of a picture. A query's with two directions count once and come twice. A crop to a twentieth
of a reference shows a twentieth of its keypoints, and ten are asked for at least."""

PIXELS: Final = 480 * 360
"""Pictures are brought to about this many pixels, ..."""

LONGEST: Final = 960
"""... but their longer side to this many at most, ..."""

ENLARGED: Final = 4.0
"""... and small ones to this many times their size at most."""

PARTS: Final = 64
"""Bits of each of the descriptor's four parts."""

PATCH: Final = 12.0
"""Side of the patch that is described, in scales of the keypoint."""

_SIDE = 16
"""Samples across a patch."""

_PLACES = 4
_HARMONICS = 4


class Appearance(NamedTuple):
    """How a copy may show what it shows, apart from where.

    Attributes:
        mirrored: As in a mirror.
        inverted: As a negative.
        flipped: Which of the descriptor's parts change all their bits.
    """

    mirrored: bool
    inverted: bool
    flipped: tuple[bool, ...]


_SIGNS: Final = ((False, False), (False, True), (True, False), (True, True))
"""Of each part: whether a mirror, and whether a negative, changes its sign."""

APPEARANCES: Final = tuple(
    Appearance(
        mirrored,
        inverted,
        tuple((mirrored and by_mirror) != (inverted and by_negative) for by_mirror, by_negative in _SIGNS),
    )
    for mirrored, inverted in ((False, False), (True, False), (False, True), (True, True))
)
"""Likeliest first."""


def fingerprint(segments: Iterable[Segment[Picture]], role: Role) -> list[Fingerprint]:
    """Describe each frame: one fingerprint under `LOCAL`, or none where no frame has keypoints."""
    rows, regions, spans = [], [], []
    for segment in segments:
        descriptors, squares = describe(segment.data, role)
        rows.append(descriptors)
        regions.append(squares)
        spans.append(np.full((len(descriptors), 2), (segment.start, segment.end)))
    count = sum(map(len, rows))
    if not count:
        return []
    return [
        Fingerprint(
            LOCAL,
            np.concatenate(rows),
            np.concatenate(spans),
            np.ones(count, np.float32),
            np.zeros(count, np.uint8),
            np.concatenate(regions),
        )
    ]


def describe(picture: Picture, role: Role) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Find and describe a picture's keypoints.

    Args:
        picture: (height, width, 3) uint8, sRGB.
        role: A reference gets fewer keypoints, each once.

    Returns:
        Descriptors (n, 32), bits packed most significant first, and squares (n, 4): left, top, right,
        bottom in 0..1, with the keypoint in the middle. n is 0 for a picture that is flat, blurred
        altogether, or thinner than `keypoints.MIN_SIDE` pixels once it is brought to size.
    """
    luma = _luma(picture)
    octaves = keypoints.scale_space(luma)
    found = keypoints.spread(keypoints.detect(octaves), luma.shape, KEYPOINTS[role])
    squares = _squares(found, luma.shape)
    inside = np.flatnonzero(((squares >= 0) & (squares <= 1)).all(axis=1))
    found, angles = keypoints.orient(octaves, found[inside], second=role is Role.QUERY)
    values = _patches(octaves, found, angles) @ _projection()
    return np.packbits(values > 0, axis=1), _squares(found, luma.shape)


def _luma(picture: Picture) -> keypoints.Luma:
    """Luma (ITU-R 601) at the size at which keypoints are looked for."""
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    height, width = luma.shape
    factor = min((PIXELS / (height * width)) ** 0.5, LONGEST / max(height, width), ENLARGED)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(luma, size, interpolation=interpolation), np.uint8)


def _squares(found: Keypoints, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    height, width = shape
    scale = 2.0**found.octave
    centres = np.stack([(found.x * scale + 0.5) / width, (found.y * scale + 0.5) / height], axis=1)
    reach = np.outer(2 * found.sigma * scale, (1 / width, 1 / height))
    return np.concatenate([centres - reach, centres + reach], axis=1).astype(np.float32)


def _patches(octaves: list[Floats], found: Keypoints, angles: Floats) -> Floats:
    """Pool the harmonics of the gradients' directions in each place: (n, channels * places)."""
    pooling = _pooling()
    pooled = np.zeros((len(found), (2 * _HARMONICS + 1) * _PLACES**2), np.float32)
    for number in np.unique(found.octave):
        rows = np.flatnonzero(found.octave == number)
        patches = keypoints.sample(
            octaves[number], found[rows], angles[rows], _SIDE + 2, PATCH / _SIDE
        ).reshape(len(rows), _SIDE + 2, _SIDE + 2)
        across, down = (axis.reshape(len(rows), -1) for axis in keypoints.gradients(patches))
        lengths = np.sqrt(across**2 + down**2) + np.float32(1e-6)
        channels = np.empty((len(rows), 2 * _HARMONICS + 1, _SIDE**2), np.float32)
        cosine, sine = across / lengths, down / lengths
        weight = channels[:, 0] = np.sqrt(lengths)
        even, odd = weight * cosine, weight * sine
        for harmonic in range(1, 2 * _HARMONICS, 2):
            channels[:, harmonic], channels[:, harmonic + 1] = even, odd
            even, odd = even * cosine - odd * sine, odd * cosine + even * sine
        pooled[rows] = (channels.reshape(-1, _SIDE**2) @ pooling).reshape(len(rows), -1)
    return pooled


@cache
def _pooling() -> Floats:
    """Weight of each sample in each of the places, bilinear, fading from the middle: (samples, places)."""
    middles = np.arange(_SIDE) + 0.5
    width = _SIDE / _PLACES
    weights = np.maximum(0, 1 - np.abs(middles[:, np.newaxis] - (np.arange(_PLACES) + 0.5) * width) / width)
    fade = np.exp(-(((middles - _SIDE / 2) / (_SIDE / 2)) ** 2) / (2 * 0.8**2))
    weights *= fade[:, np.newaxis]
    pooling: Floats = (
        np.einsum("yi,xj->yxij", weights, weights).reshape(_SIDE**2, _PLACES**2).astype(np.float32)
    )
    return pooling


@cache
def _projection() -> Floats:
    """Directions whose signs are the bits, (channels * places, 256), part by part.

    Random ones, of each part's own subspace: what a mirror and a negative change as the part says. A patch's
    own directions at random make a basis; two bases and more per part make a tight frame.
    """
    channels = 2 * _HARMONICS + 1
    identity = np.eye(channels * _PLACES**2).reshape(-1, channels, _PLACES, _PLACES)
    odd = np.zeros(channels, bool)
    odd[2::2] = True
    in_mirror = np.where(odd[:, np.newaxis, np.newaxis], -1, 1) * identity[:, :, ::-1]
    as_negative = identity[:, :, ::-1, ::-1]
    mirror, negative = (turned.reshape(len(identity), -1) for turned in (in_mirror, as_negative))
    generator = np.random.RandomState(0)  # whose numbers never change
    unit = np.eye(len(identity))
    parts = []
    for by_mirror, by_negative in _SIGNS:
        own = (unit + (-1) ** by_mirror * mirror) @ (unit + (-1) ** by_negative * negative) / 4
        frame: list[npt.NDArray[np.float64]] = []
        while sum(basis.shape[1] for basis in frame) < PARTS:
            basis, _ = np.linalg.qr(own @ generator.standard_normal((len(unit), len(unit) // 4)))
            frame.append(basis)
        parts.append(np.concatenate(frame, axis=1)[:, :PARTS])
    return np.concatenate(parts, axis=1).astype(np.float32)
