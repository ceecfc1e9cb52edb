"""Straight lines through hits: where in a work a stretch of a query lies, and how fast it runs there.

A hit says that the query sounds at one time as the work does at another. Copies line up: the work's time is
a slope times the query's and an offset. All hits vote for all slopes, block by block of the query, since
along a long one a slope that is a little off would spread its votes; the fullest cells are the candidates.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

SLOPES: Final = tuple(float(slope) for slope in 1.025 ** np.arange(-14, 15))
"""Seconds of the work in one second of the query: tempo from 0.71 to 1.41, 2.5 % apart."""

CELL: Final = 0.25
"""Width of a cell in seconds of the work."""

_FULL: Final = 0.3
"""Cells with less of the votes of the fullest are no candidates."""

BLOCK: Final = 20.0
"""Seconds of the query that vote together: at its ends a slope between two of `SLOPES` is half a cell off."""


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Pairs of times at which query and work are alike.

    Attributes:
        query: (n,) float64, seconds.
        work: (n,) float64, seconds.
        weight: (n,) float64, above 0: how much each counts.
        layer: (n,) int64, from 0: hits vote with those of their layer alone, such as a pitch.
    """

    query: npt.NDArray[np.float64]
    work: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    layer: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of hits."""
        return len(self.query)


@dataclass(frozen=True, slots=True)
class Line:
    """Where a stretch of the query may lie in the work.

    Attributes:
        slope: Seconds of the work in one second of the query.
        query: A time of the query, in seconds, in the middle of the stretch.
        work: The time of the work that it corresponds to.
        layer: Of its hits.
        votes: Sum of its hits' weights.
    """

    slope: float
    query: float
    work: float
    layer: int
    votes: float


def lines(hits: Hits, most: int) -> list[Line]:
    """Find the lines with the most votes, best first: of each block and place (`CELL` times 4) the best.

    Args:
        hits: In any order.
        most: How many lines at most.
    """
    if not len(hits):
        return []
    slopes = np.array(SLOPES)
    # Blocks overlap by half: a hit votes in two.
    half = np.floor(hits.query / (BLOCK / 2)).astype(np.int64)
    block = np.concatenate([half, half - 1])
    query, work, weight, layer = (
        np.concatenate([values, values]) for values in (hits.query, hits.work, hits.weight, hits.layer)
    )
    middles = (block + 1) * (BLOCK / 2)
    offsets = work[:, np.newaxis] - (query - middles)[:, np.newaxis] * slopes
    cells = np.floor(offsets / CELL).astype(np.int64)
    lowest, width = int(cells.min()), int(cells.max() - cells.min()) + 2
    layers, blocks = int(layer.max()) + 1, int(block.max()) + 2
    group = ((block + 1) * layers + layer)[:, np.newaxis] * len(slopes) + np.arange(len(slopes))
    keys = (group * width + cells - lowest).ravel()
    weights = np.repeat(weight, len(slopes))
    total = blocks * layers * len(slopes) * width
    # A line near a cell's border votes into both: neighbours count together.
    filled = None
    if total <= 16 * len(keys) + (1 << 20):
        together = np.bincount(keys, weights, minlength=total)
        together[:-1] += together[1:]
    else:
        filled, inverse = np.unique(keys, return_inverse=True)
        votes = np.bincount(inverse, weights)
        together = votes.copy()
        together[:-1] += np.where(filled[1:] == filled[:-1] + 1, votes[1:], 0.0)
    full = np.flatnonzero(together >= _FULL * together.max())
    best = full[np.argsort(-together[full], kind="stable")]
    found: list[Line] = []
    seen: set[tuple[int, int]] = set()
    for place in best:
        if together[place] <= 0 or len(found) == most:
            break
        rest, cell = divmod(int(place if filled is None else filled[place]), width)
        rest, slope = divmod(rest, len(slopes))
        of_block, of_layer = divmod(rest, layers)
        at = (cell + lowest + 1) * CELL
        near = (of_block, round(at / (4 * CELL)))
        if near in seen:
            continue
        seen.add(near)
        found.append(Line(float(slopes[slope]), of_block * (BLOCK / 2), at, of_layer, float(together[place])))
    return found
