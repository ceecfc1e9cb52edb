"""Where in a reference a query may lie if it is as fast and as high as that.

Then every peak of a copy is as much later in the reference as every other one, and at the same frequency: so
single peaks vote for places, where triples (`triples`) need three that survived near each other. Of speech
under another voice, or in a hall, a fifth of the peaks is left, and hardly a whole triple.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.audio.peaks import Constellation

_CENTS: Final = 16
"""Width of a band, cents; a peak coincides with those of its band's and the nearer neighbour's."""
_CELL: Final = 0.03
"""Seconds; two neighbouring cells vote together."""
_STANDING_OUT: Final = 7.5
"""How many standard deviations of what chance gives a place must have more than that."""
_LEAST: Final = 8
"""Votes without which no place is proposed."""
_PROPOSALS: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Offsets:
    """Pairs of peaks at one frequency.

    Attributes:
        query: (n,) seconds of the query's.
        place: (n,) how much later the reference's is.
    """

    query: npt.NDArray[np.float64]
    place: npt.NDArray[np.float64]

    def of(self, chosen: npt.NDArray[np.bool_]) -> "Offsets":
        """Some of them."""
        return Offsets(self.query[chosen], self.place[chosen])

    def places(self) -> list[float]:
        """Times of the reference at which the query would start, of those that stand out."""
        if len(self.place) < _LEAST:
            return []
        low = float(self.place.min())
        counts = np.bincount(((self.place - low) * (1 / _CELL)).astype(np.int64), minlength=2)
        together = counts[:-1] + counts[1:]
        usual = float(together.mean())
        least = max(_LEAST, usual + _STANDING_OUT * np.sqrt(usual))
        chosen: list[float] = []
        while len(chosen) < _PROPOSALS:
            best = int(together.argmax())
            if together[best] < least:
                break
            chosen.append(low + (best + 1) * _CELL)
            together[max(0, best - 2) : best + 3] = 0
        return chosen


class Bands:
    """A query's peaks by their frequency, looked up by one reference after the other."""

    def __init__(self, query: Constellation) -> None:
        """Take a query; the bands are made when they are needed."""
        self._query = query

    @cached_property
    def _entries(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Times of peaks by band, each in its own and the nearer neighbour, and where bands begin."""
        half = np.floor(self._query.cents / (_CENTS / 2)).astype(np.int64)
        band = np.concatenate([half // 2 + 1, half // 2 + 2 * (half % 2)])
        order = np.argsort(band, kind="stable")
        begins = np.zeros(int(band.max(initial=0)) + 2, np.int64)
        np.cumsum(np.bincount(band), out=begins[1:])
        return np.tile(self._query.times, 2)[order], begins

    def offsets(self, work: Constellation) -> Offsets:
        """Its pairs with the peaks of a reference."""
        times, begins = self._entries
        band = np.minimum((work.cents * (1 / _CENTS)).astype(np.int64) + 1, len(begins) - 1)
        first = begins[band]
        counts = begins[np.minimum(band + 1, len(begins) - 1)] - first
        ends = np.cumsum(counts)
        entry = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - ends + counts, counts)
        query = times[entry]
        return Offsets(query, np.repeat(work.times, counts) - query)
