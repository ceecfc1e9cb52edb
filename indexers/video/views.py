"""Which parts of a suspect film are worth describing on their own.

A copy may be a part of the picture: between blurred bars, in a corner of somebody else's film, beside
another on a split screen. Such a part holds still while what it shows moves, so that edges that enclose it
are found in many frames at one place. Rectangles of single frames are proposed as for pictures; those that
several frames propose are kept. Where the shape of the picture suggests where a film of another shape lies
in it, that part is looked at too. Halves and quarters are what remains.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from indexers.image.lines import straight_edges
from indexers.image.rectangles import apart, enclosed, overlap
from indexers.image.trim import trim
from indexers.modality import Box
from indexers.video.frames import Taken

FOUND: Final = 4
"""Most rectangles that are found."""

SHAPED: Final = 2
"""Most parts that the shape of the picture suggests."""

TILES: Final = (
    Box(0.0, 0.0, 0.5, 1.0),
    Box(0.5, 0.0, 1.0, 1.0),
    Box(0.0, 0.0, 1.0, 0.5),
    Box(0.0, 0.5, 1.0, 1.0),
    Box(0.0, 0.0, 0.5, 0.5),
    Box(0.5, 0.0, 1.0, 0.5),
    Box(0.0, 0.5, 0.5, 1.0),
    Box(0.5, 0.5, 1.0, 1.0),
    Box(0.2, 0.2, 0.8, 0.8),
)
"""Parts that are looked at where nothing else is known."""

VIEWS: Final = 1 + FOUND + SHAPED + len(TILES)
"""Number of view codes: the whole, rectangles, parts by shape, tiles."""

GLANCE: Final = 4
GLANCE_EVERY: Final = 10
"""Frames of which each part is described at first, at least, and each tile of one less; of longer films, one
in so many."""

CLOSER: Final = 36
"""Parts of frames that are described more where that is worth a closer look, at most; of a film of which more
frames are taken, as many."""

_LOOKED_AT: Final = 12
"""Frames in which rectangles are looked for."""
_OF_EACH: Final = 5
"""Rectangles that each frame proposes."""
_STILL: Final = 0.8
"""Overlap from which on rectangles of two frames are one."""
_SEEN: Final = 0.25
"""Part of the frames that must propose a rectangle, and two at least."""
_UPRIGHT: Final = 1.15
"""Height over width from which on a picture is taken for upright, and width over height for wide."""
_WIDE: Final = 16 / 9


def still_boxes(taken: Sequence[Taken]) -> list[Box]:
    """Rectangles that hold still over frames, those that most of them propose first."""
    places = np.unique(np.linspace(0, len(taken) - 1, min(_LOOKED_AT, len(taken))).round().astype(int))
    groups: list[list[Box]] = []
    for place in places.tolist():
        for box in _proposed(taken[place]):
            near = next((group for group in groups if overlap(group[0], box) >= _STILL), None)
            if near is None:
                groups.append([box])
            else:
                near.append(box)
    least = max(min(2, len(places)), _SEEN * len(places))
    seen = sorted((group for group in groups if len(group) >= least), key=lambda group: -len(group))
    return apart((_middle(group) for group in seen), FOUND)


def _proposed(one: Taken) -> list[Box]:
    edges = straight_edges(one.picture)
    if edges is None:
        return []
    trimmed = trim(edges)
    first = [] if trimmed is None else [trimmed]
    return apart([*first, *enclosed(edges, _OF_EACH)], _OF_EACH)


def _middle(group: Sequence[Box]) -> Box:
    sides = np.median([(box.left, box.top, box.right, box.bottom) for box in group], axis=0)
    return Box(*map(float, sides))


def shaped(width: int, height: int) -> list[Box]:
    """Where films of other shapes lie in a picture of this one, in its middle and as large as they can be."""
    if height >= _UPRIGHT * width:
        return [_band(width / height / _WIDE), _band(width / height)]
    if width >= _UPRIGHT * height:
        return [_turned(_band(height / width / _WIDE)), _turned(_band(height / width))]
    return []


def _band(part: float) -> Box:
    """A band from side to side, this part of the height."""
    return Box(0.0, (1.0 - part) / 2, 1.0, (1.0 + part) / 2)


def _turned(box: Box) -> Box:
    return Box(box.top, box.left, box.bottom, box.right)


def parts(taken: Sequence[Taken]) -> list[tuple[int, Box]]:
    """View code and place of the parts that are looked at first."""
    if not taken:
        return []
    found = still_boxes(taken)
    height, width = taken[0].picture.shape[:2]
    others = apart([*found, *shaped(width, height)], FOUND + SHAPED)[len(found) :]
    return [
        *((1 + number, box) for number, box in enumerate(found)),
        *((1 + FOUND + number, box) for number, box in enumerate(others)),
    ]


def tiles() -> list[tuple[int, Box]]:
    """View code and place of halves, quarters and the middle."""
    return [(1 + FOUND + SHAPED + number, box) for number, box in enumerate(TILES)]


def spread(taken: Sequence[Taken], most: int) -> list[Taken]:
    """At most so many frames: of as many equal parts of the film each the middle one."""
    count = max(0, min(most, len(taken)))
    return [taken[int((number + 0.5) * len(taken) / count)] for number in range(count)]
