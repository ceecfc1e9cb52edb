"""What people are shown of media: files that Copyhound makes itself, of a few kinds, in the sandbox.

A preview shows an item as a viewer would, so that regions, times and offsets of matches hold in it: pictures
and frames upright, seconds counted as in fingerprints, characters as they are read. It carries no metadata of
the item.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import BinaryIO, Final, Protocol

import cv2
import numpy as np
import numpy.typing as npt

PICTURE_SIDE: Final = 1024
"""Longest side of a picture, in pixels."""
THUMBNAIL_SIDE: Final = 256
"""Longest side of a thumbnail."""
WAVEFORM_RATE: Final = 20
"""Pairs of samples that a waveform has for each second."""

_QUALITY = 85
"""Of JPEG, 0..100. WebP is a third smaller, and takes ten times as long to make."""


class Kind(StrEnum):
    """What a file of a preview is."""

    PICTURE = "picture"
    """The picture as a viewer shows it, upright, at most 1,024 pixels wide and high."""
    THUMBNAIL = "thumbnail"
    """The same, or of a film one of its frames, at most 256 pixels wide and high. Of a picture of less than
    512 pixels none is made: the picture itself is small enough."""
    CLIP = "clip"
    """The whole film at few frames a second, at most 320 pixels wide and high, with its sound."""
    SOUND = "sound"
    """The whole sound."""
    WAVEFORM = "waveform"
    """Of a sound, or of a film's: for each 1/`WAVEFORM_RATE` s its smallest and its largest sample, two
    signed bytes, -127..127."""
    SPECTROGRAM = "spectrogram"
    """The same as a picture: time from left to right, low frequencies at the bottom, grey; its width is what
    `Facts.seconds` says."""
    TEXT = "text"
    """The text that is read from the item, UTF-8. Offsets of matches count its characters (code points)."""


MEDIA_TYPES: Final[Mapping[Kind, str]] = {
    Kind.PICTURE: "image/jpeg",
    Kind.THUMBNAIL: "image/jpeg",
    Kind.CLIP: "video/webm",
    Kind.SOUND: "audio/webm",
    Kind.WAVEFORM: "application/octet-stream",
    Kind.SPECTROGRAM: "image/jpeg",
    Kind.TEXT: "text/plain; charset=utf-8",
}
"""What each kind is served as."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a file of a preview.

    Attributes:
        width: In pixels; 0: it has none.
        height: In pixels; 0: it has none.
        seconds: How long it plays, or what a waveform or spectrogram covers; 0.0: it does not play.
        characters: How many characters a text has; 0: it is none.
        whole: Whether it shows all of the item; False: it was cut off where it would have become too large,
            or have taken too long.
    """

    width: int = 0
    height: int = 0
    seconds: float = 0.0
    characters: int = 0
    whole: bool = True


class Files(Protocol):
    """Where the files of a preview are written."""

    def begin(self, kind: Kind) -> BinaryIO:
        """A new file, empty, that can be written at any place; several are written at a time."""
        ...

    def end(self, kind: Kind, facts: Facts) -> None:
        """Say that a file is complete. One that is never ended is dropped."""
        ...


@dataclass(frozen=True, slots=True)
class Budget:
    """How much making a preview may take; what is made by then stays.

    Attributes:
        until: When to stop, on the monotonic clock.
        max_bytes: Of one film's or sound's file, about.
    """

    until: float = float("inf")
    max_bytes: int = 2**40

    def spent(self, byte_count: int) -> bool:
        """Whether to stop, with a file of so many bytes."""
        return byte_count > self.max_bytes or time.monotonic() > self.until


def write_picture(
    files: Files, kind: Kind, picture: npt.NDArray[np.uint8], *, side: int, facts: Facts = Facts()
) -> None:
    """Write a picture as JPEG, without any metadata.

    Args:
        files: Where.
        kind: As what.
        picture: (height, width) grey, or (height, width, 3) sRGB.
        side: Longest side of what is written; smaller pictures keep their size.
        facts: What is known of it, but for its size.
    """
    height, width = picture.shape[:2]
    scale = min(1.0, side / max(height, width))
    shown: cv2.typing.MatLike = picture
    if scale < 1:
        shown = _shrunk(shown, max(1, round(width * scale)), max(1, round(height * scale)))
        height, width = shown.shape[:2]
    if shown.ndim > 2:
        shown = cv2.cvtColor(shown, cv2.COLOR_RGB2BGR)
    _, content = cv2.imencode(".jpg", shown, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    files.begin(kind).write(content.data)
    files.end(kind, replace(facts, width=width, height=height))


def _shrunk(picture: cv2.typing.MatLike, width: int, height: int) -> cv2.typing.MatLike:
    """A picture at a smaller size: halved, then interpolated. Averaging areas takes five times as long."""
    while picture.shape[1] > 2 * width and picture.shape[0] > 2 * height:
        half = picture.shape[1] // 2, picture.shape[0] // 2
        picture = cv2.resize(picture, half, interpolation=cv2.INTER_LINEAR)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
