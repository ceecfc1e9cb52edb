"""How much a part says: an icon little, a blank page nothing."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from indexers.errors import UnsupportedMediaError
from indexers.modality import Segment

LEAST_SIDE: Final = 48
"""Pixels of a picture's shorter side: icons and buttons look alike everywhere."""
FULL_PIXELS: Final = 256 * 256
"""A picture with so many says as much as any."""
LEAST_CONTRAST: Final = 4.0
"""Grey levels of standard deviation: below, a page is blank."""
LEAST_SECONDS: Final = 2.0
"""Of sound: clicks and beeps are alike."""
FULL_SECONDS: Final = 20.0
"""Of sound that says as much as a picture."""
LEAST_CHARACTERS: Final = 300
"""Of text."""
FULL_CHARACTERS: Final = 2_000
"""Of text that says as much as a picture: a page."""


class Watched(Iterator[Segment[Any]]):
    """The segments of a part, which are weighed as they pass; `weight` is known when the last has passed."""

    def __init__(self, segments: Iterator[Segment[Any]], modality: str) -> None:
        """Watch `segments` of a kind of media."""
        self._segments = segments
        self._weigh = _WEIGHERS.get(modality, _any)
        self.weight = 0.0

    def __next__(self) -> Segment[Any]:
        """The next segment.

        Raises:
            UnsupportedMediaError: After the last one, if all of them together say nothing.
        """
        try:
            segment = next(self._segments)
        except StopIteration:
            if self.weight <= 0.0:
                raise UnsupportedMediaError("it is too small or too empty to say anything") from None
            raise
        self.weight = self._weigh(self.weight, segment)
        return segment


def _picture(weight: float, segment: Segment[Any]) -> float:
    """Of the frames, the one that says most."""
    height, width = segment.data.shape[:2]
    if min(height, width) < LEAST_SIDE or float(segment.data.mean(axis=2).std()) < LEAST_CONTRAST:
        return weight
    return max(weight, min(1.0, float(height * width) / FULL_PIXELS))


def _sound(weight: float, segment: Segment[Any]) -> float:
    """By its length."""
    del weight
    return segment.end / FULL_SECONDS if segment.end >= LEAST_SECONDS else 0.0


def _text(weight: float, segment: Segment[Any]) -> float:
    """By its length."""
    del weight
    return segment.end / FULL_CHARACTERS if segment.end >= LEAST_CHARACTERS else 0.0


def _any(weight: float, segment: Segment[Any]) -> float:
    del weight, segment
    return 1.0


_WEIGHERS: Mapping[str, Callable[[float, Segment[Any]], float]] = {
    "image": _picture,
    "audio": _sound,
    "text": _text,
}
