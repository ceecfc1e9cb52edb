"""What decisions say of matching: bands of signals, and which references flood the queue."""

import math

_Z = 1.96
"""Two-sided 95 %."""
MIN_WRONG = 8
"""Fewest wrong matches of what is flagged."""
MIN_WRONG_SHARE = 0.5
"""A reference or work is flagged when at least this share of its matches is wrong, as sure as 95 %."""


def wilson_lower(hits: int, count: int) -> float:
    """Lower bound of a share, 0..1: the Wilson score interval at 95 %.

    E. B. Wilson, “Probable inference, the law of succession, and statistical inference”, Journal of the
    American Statistical Association 22, 1927.

    Args:
        hits: 0 to `count`.
        count: How many; of 0 the bound is 0.
    """
    if count == 0:
        return 0.0
    share, square = hits / count, _Z * _Z
    centre = share + square / (2 * count)
    spread = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    return max(0.0, (centre - spread) / (1 + square / count))


def is_flood(right: int, wrong: int) -> bool:
    """Whether so many matches are wrong that somebody should look at the reference.

    That is so where at least `MIN_WRONG` are wrong and the lower bound of their share (`wilson_lower`) is at
    least `MIN_WRONG_SHARE`: 8 of 8, 9 of 11, 15 of 20, but not 8 of 10.
    """
    return wrong >= MIN_WRONG and wilson_lower(wrong, right + wrong) >= MIN_WRONG_SHARE
