"""Which parts of a suspect picture are worth describing on their own.

A copy may be a part of the picture: inside bars or a frame, in a screenshot, beside or on top of others. Such
parts end at straight edges along rows and columns (`lines`): `trim` peels off what holds little, `rectangles`
finds what is enclosed, and fixed tiles remain where neither finds it.

All of this only proposes: a window too many costs the time that it takes to describe it.
"""

from dataclasses import dataclass
from typing import Final, Self

from indexers.image.decode import Picture
from indexers.image.lines import MIN_SIDE, Edges, straight_edges
from indexers.image.rectangles import apart, enclosed
from indexers.image.trim import trim
from indexers.modality import Box

TILES: Final = (
    Box(0.15, 0.15, 0.85, 0.85),
    Box(0.0, 0.0, 0.55, 1.0),
    Box(0.45, 0.0, 1.0, 1.0),
    Box(0.0, 0.0, 1.0, 0.55),
    Box(0.0, 0.45, 1.0, 1.0),
)
"""Chosen by how many copies of 14 attacks came first, with ImageNet features of EfficientNet-Lite0.

The centre helped most, above all where the corners of a turned picture are filled; halves where something
covers a part. Smaller tiles found nothing more, and resembled other pictures.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The parts of one picture that are worth describing beside the whole.

    A tiny or very narrow picture has none (`lines.MIN_SIDE`).

    Attributes:
        picture: (height, width, 3) sRGB.
        edges: Its straight edges; None where it is too small for any.
        trimmed: The picture without bars, borders, captions beside it and a screen's chrome; None where
            there is nothing to trim.
    """

    picture: Picture
    edges: Edges | None
    trimmed: Box | None

    @classmethod
    def of(cls, picture: Picture) -> Self:
        """Look for straight edges, and trim."""
        edges = straight_edges(picture)
        return cls(picture, edges, None if edges is None else trim(edges))

    def others(self, limit: int) -> list[Box]:
        """Return the parts beside the trimmed one: rectangles that straight edges enclose, then tiles.

        No two of all parts overlap by more than `rectangles.SAME`.

        Args:
            limit: At most so many parts, ≥ 1, the trimmed picture included.
        """
        if self.edges is None:
            return []
        first = [] if self.trimmed is None else [self.trimmed]
        parts = apart([*first, *enclosed(self.edges, limit), *tiles(self.picture)], limit)
        return parts[len(first) :]


def tiles(picture: Picture) -> list[Box]:
    """Return the parts to describe where nothing else is known: the centre, and halves that overlap."""
    return list(TILES) if min(picture.shape[:2]) >= MIN_SIDE else []
