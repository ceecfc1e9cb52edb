"""What is said of a film's frames: 1,024 bits each, by the CNN that describes pictures.

The bits are the signs of four fixed rotations of the CNN's descriptor: the part of them that differ between
two frames is the angle between their descriptors, over π, but for chance, which adds 0.05 to a cosine
(Charikar, "Similarity estimation techniques from rounding algorithms", 2002). A rotation is a fixed pattern
of signs followed by a Hadamard transform (Ailon and Chazelle, "The fast Johnson-Lindenstrauss transform",
2009). An hour takes an eighth of what the numbers take, and is searched without loss.

Frames that are nearly flat say nothing and are left out. So are those that look like the one taken before:
that one then lasts as long. What is left of an hour are the moments that differ.
"""

import hashlib
import math
from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from indexers import models
from indexers.audio.decode import Sides
from indexers.errors import FingerprintError
from indexers.fingerprint import Fingerprint, Metric, Scheme, SpanUnit
from indexers.image.decode import Picture
from indexers.image.describe import Network
from indexers.image.embed import CNN, Descriptors, square
from indexers.modality import WHOLE, Box, Segment
from indexers.video.decode import Frame, Piece

Codes = npt.NDArray[np.uint8]
"""(n, 128) packed bits."""

BITS: Final = 1024

FRAMES: Final = Scheme("video.frames", 1, BITS, Metric.HAMMING, SpanUnit.SECOND, CNN.model_sha256)
"""Signs of four rotations of `indexers.image.embed.CNN`'s descriptor of a frame.

A row's span is the time for which the frame, or one that looks like it, is shown. Quality is how little
pictures at large resemble the frame, 0..1; 0 where all of a film is flat.
"""

FLAT: Final = 5.0
"""Standard deviation of a frame's grey levels below which it says nothing."""
STILL: Final = 0.25
"""Mean difference of grey levels, at `_SMALL` pixels, up to which two frames are one."""
SAME: Final = 0.997
"""Cosine from which on a frame looks like the one taken before: what little moves in a still scene tells its
moments apart."""
LONGEST: Final = 20.0
"""Seconds after which a frame is taken though it looks like the one before."""

_SMALL = 32
_ROTATIONS = BITS // CNN.dim
_BATCH = 8


def _signs() -> npt.NDArray[np.float32]:
    """The fixed patterns of signs, (rotations, dim): the bits of SHA-256 digests."""
    digests = (hashlib.sha256(f"video.frames.v1 {number}".encode()).digest() for number in range(_ROTATIONS))
    bits = np.unpackbits(np.frombuffer(b"".join(digests), np.uint8)).reshape(_ROTATIONS, CNN.dim)
    return np.where(bits, np.float32(1), np.float32(-1))


def _hadamard(size: int) -> npt.NDArray[np.float32]:
    """Sylvester's Hadamard matrix."""
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


_ROTATED = np.concatenate([_hadamard(CNN.dim) * signs for signs in _signs()])
"""(1024, 256)"""

COSINES: Final = np.cos(np.pi * np.arange(BITS + 1) / BITS).astype(np.float32)
"""Cosine of two descriptors by the number of bits that differ."""


def codes(descriptors: Descriptors) -> Codes:
    """Bits of descriptors, (n, 256) → (n, 128)."""
    return np.packbits(descriptors @ _ROTATED.T > 0, axis=1)


def descriptors(of: Codes) -> Descriptors:
    """Estimate descriptors from their bits, (n, 128) → (n, 256), each of length 1.

    The sum of the rotations' rows with the signs of the bits: three quarters of what rounding to signs adds
    lies in directions that no descriptor has, and falls away.
    """
    signs = np.unpackbits(np.ascontiguousarray(of).reshape(-1, BITS // 8), axis=1).astype(np.float32) * 2 - 1
    estimates: Descriptors = signs @ _ROTATED
    estimates /= np.linalg.norm(estimates, axis=1, keepdims=True)
    return estimates


def bits_of(cosine: float) -> int:
    """How many bits differ, on average, at a cosine."""
    return round(float(np.arccos(cosine)) / np.pi * BITS)


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """A frame that is kept.

    Attributes:
        start: When it is shown first, seconds.
        end: When what looks like it ends.
        picture: As decoded; where nothing else will be described of it, `square`.
        square: What the network takes.
    """

    start: float
    end: float
    picture: Picture
    square: Picture


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a film's pictures that is described on its own.

    Attributes:
        view: Its code.
        box: Where it is; of one that moves, when the film begins, maybe partly outside.
        across: How far it moves to the right in a second, in widths of the picture.
        down: How far it moves down, in heights.
        since: From when on it is there, seconds.
        until: Until when.
    """

    view: int
    box: Box
    across: float = 0.0
    down: float = 0.0
    since: float = -math.inf
    until: float = math.inf

    def at(self, time: float) -> Box:
        """Where it is then, seconds: as much of it as lies within the picture."""
        left, right = (
            min(max(side + self.across * time, 0.0), 1.0) for side in (self.box.left, self.box.right)
        )
        top, bottom = (
            min(max(side + self.down * time, 0.0), 1.0) for side in (self.box.top, self.box.bottom)
        )
        return Box(left, top, right, bottom)

    @property
    def brief(self) -> bool:
        """Whether it is there for a while alone."""
        return math.isfinite(self.until)


@dataclass(slots=True, eq=False)
class Describer:
    """Describes frames as they come, a few at a time.

    Attributes:
        network: Describes pictures.
        most_kept: So many pictures are kept for other views, spread over the film; 0: none.
        most_put_off: Every second frame waits for `rest`, unless more than so many would wait: then the film
            is long, and all are described as they come.
    """

    network: Network
    most_kept: int = 0
    most_put_off: int = 0
    kept: list[Taken] = field(default_factory=list)
    _stride: int = 1
    _number: int = 0
    _waiting: list[Taken] = field(default_factory=list)
    _put_off: list[Taken] = field(default_factory=list)
    _last_put_off: bool = True
    _spans: list[list[float]] = field(default_factory=list)
    _descriptors: list[Descriptors] = field(default_factory=list)
    _small: npt.NDArray[np.int16] | None = None
    _flat: Taken | None = None
    _last: Descriptors | None = None
    _end: float = 0.0

    def add(self, start: float, end: float, frame: Frame) -> None:
        """Take the next frame."""
        self._end = max(self._end, end)
        whole = square(frame.picture, models.COPYDETECT_PIXELS)
        one = Taken(start, end, frame.picture if self.most_kept else whole, whole)
        small = _tiny(whole)
        if small.std() < FLAT:
            if self._flat is None:
                self._flat = one
            self._small = None
            return
        previous, self._small = self._small, small
        if previous is not None and self._repeats(previous, small, start, end):
            self._small = previous
            return
        self._last_put_off = self.most_put_off > 0 and not self._last_put_off
        if self._last_put_off:
            self._put_off.append(one)
            if len(self._put_off) > self.most_put_off:
                self._describe_put_off()
            return
        self._waiting.append(one)
        if len(self._waiting) == _BATCH:
            self._flush()

    def _describe_put_off(self) -> None:
        self.most_put_off, self._last_put_off = 0, False
        self._flush()
        put_off, self._put_off = self._put_off, []
        rows = self.network.embedder.embed([one.square for one in put_off])
        self._spans[-1:-1] = [[one.start, one.end] for one in put_off]
        self._descriptors[-1:-1] = list(rows)

    def _repeats(
        self, previous: npt.NDArray[np.int16], small: npt.NDArray[np.int16], start: float, end: float
    ) -> bool:
        """Whether a frame is the one before; that one lasts longer then."""
        if np.abs(small - previous).mean() > STILL:
            return False
        some = self._put_off if self._last_put_off else self._waiting
        if some:
            last = some[-1]
            if end - last.start > LONGEST:
                return False
            some[-1] = replace(last, end=end)
            return True
        if not self._spans or self._spans[-1][1] < start or end - self._spans[-1][0] > LONGEST:
            return False
        self._spans[-1][1] = end
        return True

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        described = self.network.embedder.embed([one.square for one in waiting])
        for one, row in zip(waiting, described, strict=True):
            follows = self._last is not None and self._spans[-1][1] >= one.start - 1e-6
            if follows and one.end - self._spans[-1][0] <= LONGEST and float(row @ self._last) >= SAME:
                self._spans[-1][1] = one.end
                continue
            self._last = row
            self._spans.append([one.start, one.end])
            self._descriptors.append(row)
            self._keep(one)

    def _keep(self, one: Taken) -> None:
        """Keep every frame, then every second, fourth, … of those that differ."""
        if self.most_kept and self._number % self._stride == 0:
            self.kept.append(one)
            if len(self.kept) > self.most_kept:
                self.kept = self.kept[::2]
                self._stride *= 2
        self._number += 1

    def fingerprint(self, *, regions: bool) -> Fingerprint:
        """What was described, once all frames have come.

        Args:
            regions: Whether rows say that they describe the whole frame: where others describe parts.

        Raises:
            FingerprintError: If no frame came.
        """
        self._flush()
        if not self._descriptors and self._flat is None:
            raise FingerprintError("there is no frame to describe")
        if not self._descriptors and self._flat is not None:
            self._descriptors = list(self.network.embedder.embed([self._flat.square]))
            self._spans = [[self._flat.start, self._end]]
            quality = np.zeros(1, np.float32)
        else:
            quality = self.network.quality(np.stack(self._descriptors))
            self._bridge()
        return Fingerprint(
            FRAMES,
            codes(np.stack(self._descriptors)),
            np.array(self._spans, np.float64),
            quality,
            np.zeros(len(self._spans), np.uint8),
            np.tile(_row(WHOLE), (len(self._spans), 1)) if regions else None,
        )

    def _bridge(self) -> None:
        """Let what is described last until the end of what was put off after it."""
        starts = [start for start, _ in self._spans]
        for one in self._put_off:
            before = self._spans[bisect(starts, one.start) - 1]
            if before[1] >= one.start - 1e-6:
                before[1] = max(before[1], one.end)

    @property
    def pictures(self) -> list[Taken]:
        """What is kept of the film, in order of time, also of what was put off."""
        return sorted([*self.kept, *self._put_off], key=lambda one: one.start)

    def rest(self) -> list[Fingerprint]:
        """Describe what was put off: one fingerprint, or none where there is nothing."""
        return of_parts([(Part(0, WHOLE), self._put_off)], self.network)


def of_parts(parts: Iterable[tuple[Part, Sequence[Taken]]], network: Network) -> list[Fingerprint]:
    """Describe parts of frames.

    Args:
        parts: Each with its frames.
        network: Describes pictures.

    Returns:
        One fingerprint, or none where there is nothing to describe.
    """
    cut = [
        (one, part.view, box, piece)
        for part, taken in parts
        for one in taken
        if _tiny(piece := _seen(one, box := part.at(one.start))).std() >= FLAT
    ]
    if not cut:
        return []
    descriptors = network.embedder.embed([piece for *_, piece in cut])
    return [
        Fingerprint(
            FRAMES,
            codes(descriptors),
            np.array([(one.start, one.end) for one, *_ in cut], np.float64),
            network.quality(descriptors),
            np.array([view for _, view, _, _ in cut], np.uint8),
            np.stack([_row(box) for _, _, box, _ in cut]),
        )
    ]


def _seen(one: Taken, box: Box) -> Picture:
    """What of a frame lies in a box; of all of it, what the network takes."""
    return one.square if box == WHOLE else cropped(one.picture, box)


def cropped(picture: Picture, box: Box) -> Picture:
    """The part of a picture that lies in a box: at least one pixel."""
    height, width = picture.shape[:2]
    left, top = min(width - 1, int(box.left * width)), min(height - 1, int(box.top * height))
    right, bottom = max(left + 1, round(box.right * width)), max(top + 1, round(box.bottom * height))
    return picture[top:bottom, left:right]


def split(pieces: Iterable[Segment[Piece]], describer: Describer) -> Iterator[Segment[Sides]]:
    """Give the frames to a describer at once; return what is sound, which is read when it is asked for."""
    remaining = iter(pieces)
    for piece in remaining:
        if not isinstance(piece.data, Frame):
            return sounds([piece], remaining)
        describer.add(piece.start, piece.end, piece.data)
        if piece.data.last:
            break
    return sounds(remaining)


def sounds(*pieces: Iterable[Segment[Piece]]) -> Iterator[Segment[Sides]]:
    """What of some pieces is sound."""
    for piece in chain(*pieces):
        if not isinstance(piece.data, Frame):
            yield Segment(piece.start, piece.end, piece.data)


def _row(box: Box) -> npt.NDArray[np.float32]:
    return np.array([box.left, box.top, box.right, box.bottom], np.float32)


def _tiny(picture: Picture) -> npt.NDArray[np.int16]:
    """The grey levels of a small copy."""
    small = cv2.resize(picture, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.int16)
