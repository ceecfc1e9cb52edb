"""What was done to a picture to give another, as names and as matrices.

A matrix takes a point of the reference to the point of the query that shows it. Points are fractions of width
and height, from the top left, of the pictures as a viewer shows them; a point (x, y) goes to (u / w, v / w),
where (u, v, w) is the matrix times (x, y, 1).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

Matrix: TypeAlias = tuple[float, ...]
"""(3, 3), row after row: nine numbers."""

_Corners: TypeAlias = tuple[float, float, float, float]

LINEAR: Final[Mapping[str, tuple[tuple[int, int], tuple[int, int]]]] = MappingProxyType(
    {
        "identity": ((1, 0), (0, 1)),
        "flip_horizontal": ((-1, 0), (0, 1)),
        "flip_vertical": ((1, 0), (0, -1)),
        "rotate_90": ((0, 1), (-1, 0)),
        "rotate_180": ((-1, 0), (0, -1)),
        "rotate_270": ((0, -1), (1, 0)),
        "transpose": ((0, 1), (1, 0)),
        "transverse": ((0, -1), (-1, 0)),
    }
)
"""What each flip or turn does to directions; x points right, y down. Turns are counter-clockwise."""


def between(work: _Corners, query: _Corners, transform: str) -> Matrix:
    """The matrix that takes one rectangle to another, by a flip or a turn.

    Args:
        work: Left, top, right and bottom in the reference, 0..1.
        query: The same in the query.
        transform: A name; one that is not in `LINEAR` counts as ``identity``.
    """
    linear = np.array(LINEAR.get(transform, LINEAR["identity"]), np.float64)
    mine, theirs = np.array(query), np.array(work)
    sizes, others = mine[2:] - mine[:2], theirs[2:] - theirs[:2]
    linear = linear * sizes[:, np.newaxis] / others
    moved = (mine[:2] + mine[2:]) / 2 - linear @ (theirs[:2] + theirs[2:]) / 2
    (a, b), (c, d) = linear.tolist()
    return (a, b, float(moved[0]), c, d, float(moved[1]), 0.0, 0.0, 1.0)
