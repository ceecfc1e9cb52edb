"""Rectangles that straight edges enclose: pictures in pictures, tiles of collages, frames on a screen.

Every rectangle between two of the straightest columns and two of the straightest rows is scored. Its score
is what its sides are worth together, less where its weakest side is weak, and less where a line divides it
from side to side: the parts are more promising then.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.image.lines import FULL, Edges, Floats, Lines
from indexers.modality import Box

SAME: Final = 0.8
"""Boxes that overlap by more than this (intersection over union) are one."""

_MIN_SIDE: Final = 0.09
"""Shortest side, as a part of the picture's."""
_MIN_WORTH: Final = 0.1
"""What a side's pixels must be worth on average."""
_MIN_SCORE: Final = 0.05
"""Below this, untouched photographs have about as many rectangles as attacked ones."""
_DIVIDED: Final = 1.6
"""Average worth of a dividing line's pixels at which as much as possible is taken off."""
_LEAST_LEFT: Final = 0.1
"""What a dividing line leaves of a score."""
_TRIED: Final = 300
"""How many of the best are looked at for some that differ."""


@dataclass(frozen=True, slots=True)
class _Spans:
    """All pairs of lines of one direction, the one before the other.

    Attributes:
        first: Index of the line where each begins.
        last: Index of the line where it ends.
        pixels: How long it is.
    """

    first: npt.NDArray[np.intp]
    last: npt.NDArray[np.intp]
    pixels: Floats

    @classmethod
    def between(cls, lines: Lines) -> "_Spans":
        first, last = np.triu_indices(len(lines.cells), 1)
        return cls(first, last, (lines.cells[last] - lines.cells[first]).astype(np.float32))


def enclosed(edges: Edges, limit: int) -> list[Box]:
    """Return the best enclosed rectangles that are not the `SAME`, the best first."""
    across, down = _Spans.between(edges.columns), _Spans.between(edges.rows)
    scores = _scores(edges, across, down).reshape(-1)
    tried = np.argpartition(-scores, min(_TRIED, len(scores) - 1))[:_TRIED]
    tried = tried[scores[tried] > _MIN_SCORE]
    tried = tried[np.argsort(-scores[tried], kind="stable")]
    height, width = edges.small.shape[:2]
    x, y = edges.columns.places / width, edges.rows.places / height
    over, along = np.divmod(tried, len(down.first))
    boxes = np.stack(
        [x[across.first[over]], y[down.first[along]], x[across.last[over]], y[down.last[along]]], axis=1
    )
    return apart((Box(*box) for box in boxes.tolist()), limit)


def _scores(edges: Edges, across: _Spans, down: _Spans) -> Floats:
    """Score each rectangle; (spans across, spans down)."""
    upright, upright_mean = _worths(edges.columns, edges.rows, down)
    level, level_mean = _worths(edges.rows, edges.columns, across)
    worth = (upright[across.first] + upright[across.last]) + (level[down.first] + level[down.last]).T
    weakest = np.minimum(
        np.minimum(upright_mean[across.first], upright_mean[across.last]),
        np.minimum(level_mean[down.first], level_mean[down.last]).T,
    )
    divided = np.maximum(_strongest_inside(upright_mean, across), _strongest_inside(level_mean, down).T)
    height, width = edges.small.shape[:2]
    scores = worth / (height + width) * (weakest / FULL) * np.clip(1 - divided / _DIVIDED, _LEAST_LEFT, 1)
    scores[weakest < _MIN_WORTH] = 0
    scores[across.pixels < _MIN_SIDE * width] = 0
    scores[:, down.pixels < _MIN_SIDE * height] = 0
    return np.asarray(scores, np.float32)


def _worths(lines: Lines, others: Lines, spans: _Spans) -> tuple[Floats, Floats]:
    """Return what each line is worth over each span of the other direction: in all, and a pixel on average.

    The picture's own edges add nothing, and are as good as the best.
    """
    until = lines.sums[:, others.cells]
    total = until[:, spans.last] - until[:, spans.first]
    mean = total / spans.pixels
    mean[[0, -1]] = FULL
    return total, mean


def _strongest_inside(means: Floats, spans: _Spans) -> Floats:
    """Return the best of the lines between the two of each span, 0 where there is none; (spans, ...)."""
    count = len(means)
    best = np.zeros((count, count, means.shape[1]), np.float32)
    for apart in range(2, count):
        first = np.arange(count - apart)
        best[first, first + apart] = np.maximum(best[first, first + apart - 1], means[first + apart - 1])
    return best[spans.first, spans.last]


def apart(boxes: Iterable[Box], limit: int) -> list[Box]:
    """Keep the first `limit` boxes that are not the `SAME` as one before."""
    kept: list[Box] = []
    for box in boxes:
        if len(kept) >= limit:
            break
        if all(overlap(box, other) <= SAME for other in kept):
            kept.append(box)
    return kept


def overlap(first: Box, second: Box) -> float:
    """Return the intersection of two boxes over their union, 0..1."""
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    common = max(0.0, width) * max(0.0, height)
    return common / (_area(first) + _area(second) - common)


def _area(box: Box) -> float:
    return (box.right - box.left) * (box.bottom - box.top)
