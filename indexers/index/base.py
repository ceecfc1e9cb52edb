"""The interface of an index and the shape of its answers."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Scheme


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Neighbours of q queries, as one flat list.

    Query i's hits are the rows ``offsets[i]`` up to, not including, ``offsets[i + 1]``; within a query
    they rise by (distance, id).

    Attributes:
        offsets: (q + 1,) int64.
        ids: (hits,) int64.
        distances: (hits,) float32: bits (Hamming) or 1 - cosine.
    """

    offsets: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    distances: npt.NDArray[np.float32]

    def of(self, query: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Ids and distances of one query's hits."""
        part = slice(int(self.offsets[query]), int(self.offsets[query + 1]))
        return self.ids[part], self.distances[part]


class VectorIndex(Protocol):
    """A set of descriptors of one scheme, each under an id of the caller's.

    - Smaller distance is closer. `radius` is inclusive: a descriptor at exactly `radius` is a hit.
    - Ids are non-negative and unique. Adding an id that is present raises ValueError and adds nothing.
    - Removing an id that is absent does nothing. A removed id may be added again.
    - Every backend agrees with `exact.ExactIndex`, but for the recall that an approximate backend states.
    - Descriptors that do not fit the scheme raise FingerprintError and change nothing.
    - Calls may come from several threads; a search sees either all or nothing of an `add` or `remove`.
    """

    scheme: Scheme

    def __len__(self) -> int:
        """Number of descriptors that can be found."""
        ...

    def add(self, ids: npt.NDArray[np.int64], descriptors: npt.NDArray[Any]) -> None:
        """Add n descriptors, n ≥ 0, under their ids.

        Args:
            ids: (n,).
            descriptors: (n, scheme.columns).

        Raises:
            ValueError: If an id is negative, repeated or present.
            FingerprintError: If the descriptors do not fit the scheme.
        """
        ...

    def remove(self, ids: npt.NDArray[np.int64]) -> int:
        """Remove what is present of these ids; return how many that was."""
        ...

    def search(self, queries: npt.NDArray[Any], *, radius: float, limit: int | None = None) -> Hits:
        """Find the neighbours of each query.

        Args:
            queries: (q, scheme.columns), q ≥ 0.
            radius: Largest distance of a hit, inclusive; ≥ 0, not NaN.
            limit: Most hits for each query, ≥ 1: the nearest, of equally near ones those with the
                smallest ids. None: all.

        Raises:
            ValueError: If `radius` or `limit` is out of range.
            FingerprintError: If the queries do not fit the scheme.
        """
        ...
