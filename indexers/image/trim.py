"""Bars, borders, captions and chrome around a picture, peeled off side by side."""

from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.image.decode import Picture
from indexers.image.lines import Edges, Floats, Lines
from indexers.modality import Box

_MIN_WORTH: Final = 0.4
"""What the pixels of an edge must be worth on average where the first strip of a side ends: a third of a dark
picture's row may be as black as the bar above it."""
_SURE_WORTH: Final = 1.3
"""The same for any further strip, and for blurred ones, for which less speaks than for bars."""
_PLAIN: Final = 0.6
"""Part of a strip that has one colour: the rest may be text and symbols."""
_TOLERANCE: Final = 10
"""Grey levels by which that colour may vary, for JPEG's sake."""
_CALM: Final = 0.9
"""Part of a blurred strip's pixels that differ little from their neighbours."""
_CALM_STEP: Final = 5
"""Grey levels by which they may differ."""
_MOST_OFF: Final = 0.62
"""Most of the height or width that one side may lose."""
_LEAST_OFF: Final = 0.015
"""Least part of the area that is worth trimming."""
_LEAST_LEFT: Final = 0.1
"""Least part of the area that must be left."""


def trim(edges: Edges) -> Box | None:
    """Return what is left when plain strips that end at straight edges are peeled off; None if nothing is.

    A strip is plain if it has mostly one colour (bars and borders, with text or without) or is blurred. The
    sides are gone through twice, since an edge counts from side to side of what is left.
    """
    columns, rows = edges.columns, edges.rows
    left, right = 0, len(columns.cells) - 1
    top, bottom = 0, len(rows.cells) - 1
    lying = edges.small.transpose(1, 0, 2)
    for _ in range(2):
        before = left, right
        level = edges.small[:, columns.cells[left] : columns.cells[right]]
        worth = _worth(rows, columns.cells[left], columns.cells[right])
        top = _peel(level, rows.cells, worth, np.arange(top, bottom))
        bottom = _peel(level, rows.cells, worth, np.arange(bottom, top, -1))
        upright = lying[:, rows.cells[top] : rows.cells[bottom]]
        worth = _worth(columns, rows.cells[top], rows.cells[bottom])
        left = _peel(upright, columns.cells, worth, np.arange(left, right))
        right = _peel(upright, columns.cells, worth, np.arange(right, left, -1))
        if (left, right) == before:
            break
    height, width = edges.small.shape[:2]
    x, y = columns.places / width, rows.places / height
    box = Box(float(x[left]), float(y[top]), float(x[right]), float(y[bottom]))
    area = (box.right - box.left) * (box.bottom - box.top)
    return box if _LEAST_LEFT <= area <= 1 - _LEAST_OFF else None


def _worth(lines: Lines, first: int, last: int) -> Floats:
    """Return what each line's pixels between two others are worth on average."""
    return np.asarray((lines.sums[:, last] - lines.sums[:, first]) / (last - first), np.float32)


def _peel(picture: Picture, cells: npt.NDArray[np.intp], worth: Floats, inwards: npt.NDArray[np.intp]) -> int:
    """Return the innermost line that can be reached across plain strips.

    Args:
        picture: Cut to what the lines cross; its rows run along them.
        cells: Row of the picture at which each line lies.
        worth: Of each line.
        inwards: Indices of lines from the side's present end.
    """
    start = inwards[0]
    near = np.abs(cells[inwards] - cells[start]) <= _MOST_OFF * len(picture)
    reached = int(start)
    for line in inwards[1:][(near & (worth[inwards] >= _MIN_WORTH))[1:]].tolist():
        is_further = 0 < reached < len(cells) - 1
        if is_further and worth[line] < _SURE_WORTH:
            continue
        first, last = sorted((cells[reached], cells[line]))
        strip = picture[first:last]
        if _is_plain(strip) or (worth[line] >= _SURE_WORTH and _is_calm(strip)):
            reached = line
    return reached


def _is_plain(strip: Picture) -> bool:
    sample = strip[:: 1 + strip.shape[0] // 16, :: 1 + strip.shape[1] // 32].astype(np.int16)
    colour = np.median(sample, axis=(0, 1))
    return bool((np.abs(sample - colour).max(axis=2) <= _TOLERANCE).mean() >= _PLAIN)


def _is_calm(strip: Picture) -> bool:
    green = strip[1:-2, :, 1].astype(np.int16)  # without the rows into which shrinking mixes the other side
    steps = np.abs(np.diff(green, axis=1))
    return steps.size > 0 and bool((steps <= _CALM_STEP).mean() >= _CALM)
