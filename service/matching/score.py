"""Score: one calibrated probability from all the signals.

The model is a logistic regression for each set of signals that may be at hand, fitted on development
pictures by ``benchmarks/quality/fit_score.py``, which also writes the coefficients' file and says what the
probability is calibrated for. Weights are constrained to be monotone: neither a larger distance nor a smaller
quality ever raises the probability.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Self

IDENTICAL_FILE = "identical_file"
"""Signal: 1 where the SHA-256 of both files is the same."""


@dataclass(frozen=True, slots=True)
class LogisticModel:
    """P = 1 / (1 + exp(-(intercept + Σ weight · min(signal, cap)))).

    Attributes:
        intercept: Log odds where all signals are 0.
        weights: By signal; all of these signals must be at hand.
        caps: By signal: larger values count as this one, since beyond it pairs are unrelated anyway.
    """

    intercept: float
    weights: Mapping[str, float]
    caps: Mapping[str, float]

    def probability(self, signals: Mapping[str, float]) -> float:
        """Probability, 0..1, from signals that hold at least the model's own."""
        log_odds = self.intercept + sum(
            weight * min(signals[name], self.caps[name]) for name, weight in self.weights.items()
        )
        return 1.0 / (1.0 + math.exp(-max(-700.0, min(700.0, log_odds))))


@dataclass(frozen=True, slots=True)
class Scorer:
    """The models by modality, richest first, and the revision of their coefficients."""

    revision: str
    models: Mapping[str, tuple[LogisticModel, ...]]

    @classmethod
    def load(cls) -> Self:
        """Read the coefficients that ship."""
        data = json.loads(files("service.matching").joinpath("coefficients.json").read_text())
        return cls(
            data["revision"],
            {
                modality: tuple(
                    LogisticModel(model["intercept"], model["weights"], model["caps"]) for model in models
                )
                for modality, models in data["models"].items()
            },
        )

    def probability(self, modality: str, signals: Mapping[str, float]) -> float:
        """How sure it is that the query holds a copy, 0..1.

        Identical files are copies for certain. Otherwise the first model whose signals are all at hand
        speaks; where none is, nothing speaks for a copy.
        """
        if signals.get(IDENTICAL_FILE):
            return 1.0
        for model in self.models.get(modality, ()):
            if model.weights.keys() <= signals.keys():
                return model.probability(signals)
        return 0.0
