"""Straight lines through hits: where in a work a stretch of a query lies, and how fast it runs there.

A hit says that a frame of the query looks like one of the work. Copies line up: the work's time is a speed
times the query's, and an offset. All hits vote for all speeds (Hough), block by block of the query, since
along a long one a speed that is a little off would spread its votes; the fullest cells are the candidates.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SPEEDS: Final = (
    1.0, 0.98, 1.02, 0.96, 1.04, 0.94, 1.06, 0.91, 1.1, 0.87, 1.15, 0.83, 1.2, 0.8, 1.25, 0.75, 1.33, 0.71,
    1.41, 0.67, 1.5, 0.6, 1.67, 0.55, 1.82, 0.5, 2.0, -1.0,
)  # fmt: skip
"""Seconds of the work in one second of the query; what runs backwards does so at its own speed."""


def usual(speed: float) -> float:
    """What evidence for a speed counts: of two that explain as much, the more usual one is believed."""
    if abs(speed - 1.0) < 0.02:
        return 1.0
    return 0.92 if 0.9 < speed < 1.15 else 0.85


def unusual(speed: float) -> float:
    """How far a speed is from the work's own: its logarithm, without the sign; 1 where it runs backwards."""
    return abs(math.log(speed)) if speed > 0 else 1.0


_WORTH: Final = np.array([usual(speed) for speed in SPEEDS], np.float64)

CELL: Final = 1.0
"""Width of a cell in seconds of the work."""

BLOCK: Final = 40.0
"""Seconds of the query that vote together: at its ends a speed between two of `SPEEDS` is half a cell off."""


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Pairs of times at which query and work look alike.

    Attributes:
        query: (n,) seconds.
        work: (n,) seconds.
        weight: (n,) above 0: how much each counts.
        view: (n,) int64, from 0: hits vote with those of their view alone.
    """

    query: Floats
    work: Floats
    weight: Floats
    view: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of hits."""
        return len(self.query)

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Hits":
        """Some of them."""
        return Hits(self.query[chosen], self.work[chosen], self.weight[chosen], self.view[chosen])


@dataclass(frozen=True, slots=True)
class Line:
    """Where a stretch of the query may lie in the work.

    Attributes:
        speed: Seconds of the work in one second of the query.
        place: Time of the work at which the query would start, seconds.
        view: Of its hits.
        middle: Time of the query around which the hits lie.
    """

    speed: float
    place: float
    view: int
    middle: float

    def at(self, times: Floats) -> Floats:
        """Times of the work that times of the query correspond to."""
        return self.place + self.speed * times


def lines(hits: Hits, most: int, least: float) -> list[Line]:
    """Find the lines with the most votes, best first: of each block, view and place the best.

    Args:
        hits: In any order.
        most: How many lines at most.
        least: Votes that a line must have.
    """
    if not len(hits):
        return []
    half = np.floor(hits.query / (BLOCK / 2)).astype(np.int64)
    block = np.concatenate([half, half - 1])  # blocks overlap by half: a hit votes in two
    query, work, weight = (np.tile(values, 2) for values in (hits.query, hits.work, hits.weight))
    view = np.tile(hits.view, 2)
    middle = (block + 1) * (BLOCK / 2)
    speeds = np.array(SPEEDS)
    cells = np.floor((work[:, np.newaxis] - (query - middle)[:, np.newaxis] * speeds) / CELL).astype(np.int64)
    lowest, width = int(cells.min()), int(cells.max() - cells.min()) + 2
    group = ((block + 1) * (int(view.max()) + 1) + view)[:, np.newaxis] * len(speeds) + np.arange(len(speeds))
    keys = (group * width + cells - lowest).ravel()
    filled, inverse = np.unique(keys, return_inverse=True)
    votes = np.bincount(inverse.ravel(), (weight[:, np.newaxis] * _WORTH).ravel())
    together = votes.copy()  # a line near a cell's border votes into both: neighbours count together
    together[:-1] += np.where(filled[1:] == filled[:-1] + 1, votes[1:], 0.0)
    found: list[Line] = []
    seen: set[tuple[int, int, int]] = set()
    best = np.argsort(-together, kind="stable")[: 64 * most]
    for key in filled[best[together[best] >= least]].tolist():
        rest, cell = divmod(key, width)
        rest, speed = divmod(rest, len(speeds))
        of_block, of_view = divmod(rest, int(view.max()) + 1)
        at, centre = (cell + lowest + 1) * CELL, of_block * (BLOCK / 2)
        near = (of_block, of_view, round(at / (4 * CELL)))
        if near in seen:
            continue
        seen.add(near)
        found.append(Line(SPEEDS[speed], at - SPEEDS[speed] * centre, of_view, centre))
        if len(found) == most:
            break
    return found
