"""Which parts of a suspect film are worth describing on their own.

A copy may be a part of the picture: between blurred bars, in a corner of somebody else's film, beside
another on a split screen. Such a part holds still while what it shows moves, so that edges that enclose it
are found in many frames at one place. Rectangles of single frames are proposed as for pictures; those that
several frames propose are kept. Of a part that moves steadily, most frames propose a rectangle of one size on
its way. Where the shape of the picture suggests where a film of another shape lies in it, that part is looked
at too. Halves and quarters are what remains.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Final

import numpy as np

from indexers.image.lines import straight_edges
from indexers.image.rectangles import apart, enclosed, overlap
from indexers.image.trim import trim
from indexers.modality import WHOLE, Box
from indexers.video.frames import Part, Taken

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

BRIEF: Final = 3
"""Most rectangles that are seen for a while alone."""

VIEWS: Final = 1 + FOUND + SHAPED + len(TILES) + BRIEF
"""Number of view codes: the whole, rectangles, parts by shape, tiles, rectangles that are seen briefly."""

GLANCE: Final = 4
GLANCE_EVERY: Final = 6
"""Frames of which each part is described at first, at least; of longer films, one in so many."""
TILES_EVERY: Final = 10
"""The same of tiles, less one. Of fewer, some tile of a stranger's minute resembles something by chance, and
the rest of its frames costs more than is saved."""

CLOSER: Final = 36
"""Parts of frames that are described more where that is worth a closer look, at most; of a film of which more
frames are taken, as many."""

_LOOKED_AT: Final = 12
"""Frames in which rectangles are looked for."""
_LONG: Final = 36
"""Frames of a film from which on they are looked for between these too: some are seen for a while alone."""
_BRIEFLY: Final = 2
"""Frames one after the other that must propose such a one."""
_OF_EACH: Final = 5
"""Rectangles that each frame proposes."""
_PART: Final = 0.9
"""Overlap with the whole picture up to which a rectangle is a part of it."""
_STILL: Final = 0.8
"""Overlap from which on rectangles of two frames are one."""
_SEEN: Final = 0.25
"""Part of the frames that must propose a rectangle, and two at least."""
_ON_ITS_WAY: Final = 0.85
"""Overlap with where it should be from which on a frame's rectangle is one that moves."""
_MOST_FRAMES: Final = 0.6
"""Part of the frames that must propose it there: of films that hold none, a quarter of the frames did at
most, of those that hold one, two thirds at least."""
_FEWEST_FRAMES: Final = 4
"""How many of them must do so at least."""
_ALIKE: Final = 0.05
"""Part by which the sides of two rectangles of one size may differ."""
_MOVED: Final = 0.05
"""Part of its width or height by which it must move from one rectangle to the other: else it holds still."""
_FAR: Final = 0.25
"""Part of the film that must lie between those two."""
_LARGEST: Final = 0.9
"""Width and height of one that can move."""
_MOST_WAYS: Final = 400
"""Pairs of rectangles that are tried."""
_UPRIGHT: Final = 1.15
"""Height over width from which on a picture is taken for upright, and width over height for wide."""
_WIDE: Final = 16 / 9


def still_boxes(proposed: Sequence[Sequence[Box]]) -> list[Box]:
    """Rectangles that hold still over frames, those that most of them propose first.

    Args:
        proposed: What each frame proposes.
    """
    groups: list[list[Box]] = []
    for box in chain.from_iterable(proposed):
        near = next((group for group in groups if overlap(group[0], box) >= _STILL), None)
        if near is None:
            groups.append([box])
        else:
            near.append(box)
    least = max(min(2, len(proposed)), _SEEN * len(proposed))
    seen = sorted((group for group in groups if len(group) >= least), key=lambda group: -len(group))
    return apart((_middle(group) for group in seen), FOUND)


def moving_box(times: Sequence[float], proposed: Sequence[Sequence[Box]]) -> Part | None:
    """The rectangle that moves steadily over frames, if most of them propose it.

    Args:
        times: Of frames, seconds, rising.
        proposed: What each of them proposes.

    Returns:
        With the first view code; None: there is none.
    """
    frame = np.repeat(np.arange(len(proposed)), [len(some) for some in proposed])
    least = max(_FEWEST_FRAMES, _MOST_FRAMES * len(proposed))
    if len(np.unique(frame)) < least:
        return None
    boxes = np.array([(one.left, one.top, one.right, one.bottom) for some in proposed for one in some])
    time, low, size = np.array(times)[frame], boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    small = (size < _LARGEST).all(axis=1)
    one, other = np.nonzero(
        (time - time[:, np.newaxis] >= _FAR * (times[-1] - times[0])) & small & small[:, np.newaxis]
    )
    larger = np.maximum(size[one], size[other])
    steps = low[other] - low[one]
    ways = (np.abs(size[one] - size[other]) <= _ALIKE * larger).all(axis=1)
    ways &= (np.abs(steps) >= _MOVED * larger).any(axis=1)
    one, other = one[ways][:_MOST_WAYS], other[ways][:_MOST_WAYS]
    if not len(one):
        return None
    speed = steps[ways][:_MOST_WAYS] / (time[other] - time[one])[:, np.newaxis]
    expected = (
        low[one][:, np.newaxis] + speed[:, np.newaxis] * (time - time[one][:, np.newaxis])[..., np.newaxis]
    )
    wanted = ((size[one] + size[other]) / 2)[:, np.newaxis]
    sides = np.minimum(expected + wanted, boxes[:, 2:]) - np.maximum(expected, low)
    common = np.maximum(sides, 0.0).prod(axis=2)
    on_way = common / (wanted.prod(axis=2) + size.prod(axis=1) - common) >= _ON_ITS_WAY
    of_frame = frame[:, np.newaxis] == np.arange(len(proposed))
    seen = (on_way.astype(np.int64) @ of_frame.astype(np.int64) > 0).sum(axis=1)
    best = int(np.argmax(seen))
    if seen[best] < least:
        return None
    row = on_way[best]
    (across, down), (left, top) = np.polyfit(time[row], low[row], 1)
    width, height = np.median(size[row], axis=0)
    return Part(1, Box(left, top, left + width, top + height), across, down)


def _proposed(one: Taken) -> list[Box]:
    edges = straight_edges(one.picture)
    if edges is None:
        return []
    trimmed = trim(edges)
    first = [] if trimmed is None else [trimmed]
    found = [*first, *enclosed(edges, _OF_EACH + 1)]
    return apart((one for one in found if overlap(one, WHOLE) <= _PART), _OF_EACH)


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


def brief_boxes(
    times: Sequence[float], proposed: Sequence[Sequence[Box]], known: Sequence[Box]
) -> list[Part]:
    """Rectangles that hold still over some frames one after the other, those that most of them propose first.

    Args:
        times: Of frames, seconds, rising.
        proposed: What each of them proposes.
        known: Rectangles that are looked at anyway.
    """
    runs: list[tuple[int, list[Box]]] = []
    under_way: list[tuple[int, list[Box]]] = []
    for number, some in enumerate(proposed):
        goes_on: list[tuple[int, list[Box]]] = []
        for box in some:
            run = next((one for one in under_way if overlap(one[1][0], box) >= _STILL), (number, []))
            if run in goes_on or any(overlap(one, box) >= _STILL for one in known):
                continue
            run[1].append(box)
            goes_on.append(run)
        runs += [run for run in goes_on if run[0] == number]
        under_way = goes_on
    seen = sorted((run for run in runs if len(run[1]) >= _BRIEFLY), key=lambda run: -len(run[1]))
    step = (times[-1] - times[0]) / max(1, len(times) - 1) if times else 0.0
    first = 1 + FOUND + SHAPED + len(TILES)
    return [
        Part(
            first + rank, _middle(run), since=times[at] - step / 2, until=times[at + len(run) - 1] + step / 2
        )
        for rank, (at, run) in enumerate(seen[:BRIEF])
    ]


def parts(taken: Sequence[Taken]) -> list[Part]:
    """The parts that are looked at first."""
    if not taken:
        return []
    every = 2 if len(taken) >= _LONG else 1  # of those between them, brief ones alone are looked for
    places = np.linspace(0, len(taken) - 1, min(every * (_LOOKED_AT - 1) + 1, len(taken))).round().astype(int)
    looked_at = [taken[place] for place in np.unique(places).tolist()]
    proposed = [_proposed(one) for one in looked_at]
    times = [one.start for one in looked_at]
    moving = moving_box(times[::every], proposed[::every])
    found = still_boxes(proposed[::every])[: FOUND if moving is None else FOUND - 1]
    height, width = taken[0].picture.shape[:2]
    others = apart([*found, *shaped(width, height)], FOUND + SHAPED)[len(found) :]
    first = [] if moving is None else [moving]
    return [
        *first,
        *(Part(1 + number, box) for number, box in enumerate(found, len(first))),
        *(Part(1 + FOUND + number, box) for number, box in enumerate(others)),
        *(brief_boxes(times, proposed, [*found, *others]) if every > 1 else ()),
    ]


def tiles() -> list[Part]:
    """Halves, quarters and the middle."""
    return [Part(1 + FOUND + SHAPED + number, box) for number, box in enumerate(TILES)]


def spread(taken: Sequence[Taken], most: int) -> list[Taken]:
    """At most so many frames: of as many equal parts of the film each the middle one."""
    count = max(0, min(most, len(taken)))
    return [taken[int((number + 0.5) * len(taken) / count)] for number in range(count)]
