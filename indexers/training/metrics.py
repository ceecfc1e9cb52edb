"""How well descriptors find copies: micro average precision, and recall at a rate of false alarms."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

ALARMS = 0.01
"""Share of the queries without a source whose best score may pass the threshold of `Scores.recall`."""

_KEPT = 10  # best references of each query that count for the average precision


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of queries against references.

    Attributes:
        values: (queries, references), more is more alike.
        sources: (queries,) the index of each query's reference, or -1 where there is none.
    """

    values: Floats
    sources: npt.NDArray[np.int64]

    def micro_average_precision(self) -> float:
        """Average the precision over true pairs, all queries' best candidates in one list, as DISC21 does."""
        best = np.argsort(-self.values, axis=1)[:, :_KEPT]
        scores = np.take_along_axis(self.values, best, axis=1).ravel()
        right = (best == self.sources[:, None]).ravel()[np.argsort(-scores, kind="stable")]
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        return float(precision[right].sum() / max(np.count_nonzero(self.sources >= 0), 1))

    def threshold(self, alarms: float = ALARMS) -> float:
        """Find the score that only a share `alarms` of the queries without a source pass."""
        return float(np.quantile(self.values[self.sources < 0].max(axis=1), 1 - alarms))

    def found(self, threshold: float) -> npt.NDArray[np.bool_]:
        """Say of each query with a source whether its score with that passes a threshold."""
        positive = np.flatnonzero(self.sources >= 0)
        return np.asarray(self.values[positive, self.sources[positive]] > threshold)

    def recall(self, alarms: float = ALARMS) -> float:
        """Share of the queries with a source that pass `threshold`."""
        return float(self.found(self.threshold(alarms)).mean())
