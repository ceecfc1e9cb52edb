"""Fit the coefficients of the picture score on development pictures.

    python -m benchmarks.quality.fit_score --media DIR --media DIR --write

The probability is meant for a candidate of a large catalogue: of `CATALOGUE` registered pictures, and of
queries of which `PRIOR` are copies. A pair at given signals is then a copy with

    P = PRIOR · f₁ / (PRIOR · f₁ + CATALOGUE · f₀)

where f₁ and f₀ are the densities of these signals among copies and among unrelated pairs. Logistic regression
estimates just this if the copies weigh PRIOR together and the unrelated pairs CATALOGUE. Copies are of all
kinds in `attacks`; unrelated pairs are all pairs of queries and references, attacked and framed ones and
pictures that look alike by nature among them.

Only pairs up to `FIT_UP_TO` are fitted, where unrelated ones thin out and the thresholds come to lie. Far
ones are thousands of times as many, and the logarithm of f₀ bends: they would tilt the line where it matters.
Beyond, the line goes on, which makes the probability vanish as it should.

The weights are kept monotone: a signal whose weight comes out with the wrong sign gets none.
"""

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.quality import media, pairs
from benchmarks.quality.pairs import SIGNALS, Pairs
from service.matching.score import LogisticModel

CATALOGUE: Final = 1e6
"""Registered pictures that a query is compared with."""
PRIOR: Final = 0.1
"""Part of the queries that are copies of one of them."""
NEAR: Final = (64, 8)
"""PDQ and pHash distances, bits, up to which (of either) the service retrieves candidates."""
FIT_UP_TO: Final = {"pdq_distance": 52.0, "phash_distance": 8.0}
"""Distances, bits, up to which pairs are fitted, by the first signal of a model."""
CAPS: Final = {"pdq_distance": 128.0, "phash_distance": 32.0, "pdq_quality": 1.0, "phash_quality": 1.0}
"""From where on a signal says nothing more: unrelated pairs lie at half of the bits on average."""
SETS: Final = (SIGNALS, ("pdq_distance", "pdq_quality"), ("phash_distance", "phash_quality"))
"""Signals at hand, richest first: a query may bring fingerprints of one scheme alone."""
COEFFICIENTS: Final = Path("service/matching/coefficients.json")

_SEED: Final = 1
_STRENGTH: Final = 1e3
"""Inverse of the regularisation: nearly none, but for separable samples."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a model does from a probability on.

    Attributes:
        recall: Part of all copies that were made.
        false_pairs: How many unrelated pairs reach it.
        false_per_million: The same, of a million unrelated pairs, by their weights.
    """

    probability: float
    recall: float
    false_pairs: int
    false_per_million: float


def fit(sample: Pairs, signals: Sequence[str], *, catalogue: float, prior: float) -> LogisticModel:
    """Fit one model to pairs.

    Args:
        sample: Pairs.
        signals: The model's, of `SIGNALS`. One that comes out with the wrong sign gets weight 0.
        catalogue: Registered pictures to be calibrated for.
        prior: Part of the queries that are copies, 0..1.
    """
    fitted = sample.signals[:, SIGNALS.index(signals[0])] <= FIT_UP_TO[signals[0]]
    copies = sample.copies[fitted]
    weights = np.where(copies, prior, catalogue) * sample.weights[fitted]
    used = list(signals)
    while True:
        columns = sample.signals[fitted][:, [SIGNALS.index(name) for name in used]]
        scale = columns.std(axis=0) + 1e-9
        model = LogisticRegression(C=_STRENGTH, max_iter=10_000, tol=1e-8)
        model.fit(columns / scale, copies, sample_weight=weights / weights.mean())
        found = dict(zip(used, (model.coef_[0] / scale).tolist(), strict=True))
        wrong = [name for name, weight in found.items() if (weight > 0) is name.endswith("_distance")]
        if not wrong:
            break
        used = [name for name in used if name not in wrong]
    rounded = {name: round(found.get(name, 0.0), 4) for name in signals}
    return LogisticModel(
        round(float(model.intercept_[0]), 3), rounded, {name: CAPS[name] for name in signals}
    )


def rates(sample: Pairs, model: LogisticModel, thresholds: Sequence[float]) -> list[Rates]:
    """Measure a model on pairs."""
    probabilities = np.array(
        [model.probability(dict(zip(SIGNALS, row, strict=True))) for row in sample.signals.tolist()]
    )
    found = []
    for threshold in thresholds:
        reach = probabilities >= threshold
        recall = float(sample.weights[reach & sample.copies].sum())
        false = float(sample.weights[reach & ~sample.copies].sum())
        found.append(Rates(threshold, recall, int((reach & ~sample.copies).sum()), false * 1e6))
    return found


def document(models: Sequence[LogisticModel], fitted: Mapping[str, Any], date: str) -> str:
    """The coefficients' file, with what they were fitted on; its revision changes when they do."""
    by_modality = {
        "image": [
            {"intercept": model.intercept, "weights": dict(model.weights), "caps": dict(model.caps)}
            for model in models
        ]
    }
    digest = hashlib.sha256(json.dumps(by_modality).encode()).hexdigest()
    content = {"revision": f"{date}-{digest[:8]}", "fitted": fitted, "models": by_modality}
    return json.dumps(content, indent=2) + "\n"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--media", type=Path, action="append", help="folder of pictures; may be repeated")
    parser.add_argument("--per-attack", type=int, default=30, help="copies made by each attack")
    parser.add_argument("--seed", type=int, default=_SEED)
    parser.add_argument("--write", action="store_true", help=f"replace {COEFFICIENTS}")
    options = parser.parse_args()
    collection = media.load(options.media) if options.media else media.shipped()
    sample = pairs.make(collection.media, options.seed, options.per_attack, NEAR)
    models = [fit(sample, signals, catalogue=CATALOGUE, prior=PRIOR) for signals in SETS]
    fitted = {
        "sources": collection.sources,
        "seed": options.seed,
        "copies_per_attack": options.per_attack,
        "unrelated_pairs": sample.unrelated,
        "catalogue": CATALOGUE,
        "prior": PRIOR,
    }
    for model in models:
        print(f"{model.intercept} {model.weights}")
        for one in rates(sample, model, (0.5, 0.9)):
            print(
                f"  from {one.probability}: {one.recall:.3f} of the copies, {one.false_pairs} of "
                f"{sample.unrelated:,} unrelated pairs ({one.false_per_million:.3f} a million)"
            )
    if options.write:
        COEFFICIENTS.write_text(
            document(models, fitted, datetime.now(UTC).date().isoformat()), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
