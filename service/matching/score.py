"""Score: one calibrated probability from all the signals.

The model is a logistic regression for each set of signals that may be at hand, fitted on development
media by ``benchmarks/quality/fit_score.py``, which also writes the coefficients' file and says what the
probability is calibrated for. Every term adds to the odds of a copy, or nothing: no signal that speaks more
clearly for a copy ever lowers the probability.

Where a thing looks the same at many times, as a scene in front of a camera that stands still does, two
questions are asked one after the other: is it the same scene, and is it the same moment of it? A model's
`place` answers the second, and the probability of a copy is the product of both. Since nothing may move that
could tell, a moment is never quite denied (`LogisticModel.least`).

How sure a signal is depends on how much is registered: among ten times as many pictures, ten times as many
lie equally near by chance. The coefficients of a kind of media hold for the catalogue that they were fitted
for; for another one the odds move by the ratio of the sizes.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Self

IDENTICAL_FILE = "identical_file"
"""Signal: 1 where the SHA-256 of both files is the same."""


@dataclass(frozen=True, slots=True)
class Term:
    """What one signal adds to the log odds: nothing up to `start`, all of `weight` from `end` on.

    Attributes:
        signal: Its name.
        start: Where it begins to speak for a copy.
        end: Where it has said all; below `start` for signals of which less is more, such as distances.
        weight: ≥ 0.
    """

    signal: str
    start: float
    end: float
    weight: float

    def of(self, value: float) -> float:
        """Log odds that this value of the signal adds, 0 to `weight`."""
        return self.weight * self.progress(value)

    def progress(self, value: float) -> float:
        """How far the value has come from `start` to `end`, 0..1."""
        return min(max((value - self.start) / (self.end - self.start), 0.0), 1.0)


@dataclass(frozen=True, slots=True)
class LogisticModel:
    """P = 1 / (1 + exp(-(intercept + shift + Σ terms))), times that of `place`.

    Attributes:
        intercept: Log odds where nothing speaks for a copy.
        terms: All of their signals must be at hand.
        place: Whether it is the same moment of a scene, if it is the same scene; None: that is no question.
        least: Least that it says, of a `place`, 0..1: some copies look like another moment in every respect.
        signals: What must be at hand.
    """

    intercept: float
    terms: tuple[Term, ...]
    place: "LogisticModel | None" = None
    least: float = 0.0
    signals: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """List the signals once: each probability asks for them."""
        own = frozenset(term.signal for term in self.terms)
        object.__setattr__(self, "signals", own if self.place is None else own | self.place.signals)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Read one as the coefficients' file has it."""
        place = data.get("place")
        return cls(
            data["intercept"],
            tuple(Term(**term) for term in data["terms"]),
            None if place is None else cls.read(place),
            data.get("least", 0.0),
        )

    def probability(self, signals: Mapping[str, float], shift: float = 0.0) -> float:
        """Probability, 0..1, from signals that hold at least the model's own.

        Args:
            signals: What was measured.
            shift: Moves the log odds that it is the same scene.
        """
        scene = self.scene(signals, shift)
        return scene if self.place is None else scene * self.place.probability(signals)

    def scene(self, signals: Mapping[str, float], shift: float = 0.0) -> float:
        """The same without asking for the moment."""
        log_odds = shift + self.intercept + sum(term.of(signals[term.signal]) for term in self.terms)
        return self.least + (1.0 - self.least) / (1.0 + math.exp(-max(-700.0, min(700.0, log_odds))))


@dataclass(frozen=True, slots=True)
class Size:
    """How much is registered where coefficients hold, in descriptors of one scheme.

    Attributes:
        fitted: So much that they need no correction.
        smallest: Smaller catalogues count as this large: what is alike by nature, such as blank pages and
            proverbs, does not become less with chance.
    """

    fitted: float
    smallest: float


@dataclass(frozen=True, slots=True)
class Scorer:
    """The models by modality, richest first.

    Attributes:
        revision: Of the coefficients.
        catalogues: For how much that is registered they were fitted, by modality.
    """

    revision: str
    catalogues: Mapping[str, Size]
    models: Mapping[str, tuple[LogisticModel, ...]]

    @classmethod
    def load(cls) -> Self:
        """Read the coefficients that ship."""
        data = json.loads(files("service.matching").joinpath("coefficients.json").read_text())
        return cls(
            data["revision"],
            {modality: Size(**size) for modality, size in data["catalogues"].items()},
            {
                modality: tuple(LogisticModel.read(model) for model in models)
                for modality, models in data["models"].items()
            },
        )

    def probability(self, modality: str, signals: Mapping[str, float], registered: int) -> float:
        """How sure it is that the query holds a copy, 0..1.

        Args:
            modality: Kind of media.
            signals: What was measured.
            registered: How many descriptors of a scheme the query was compared with.

        Identical files are copies for certain. Otherwise the first model whose signals are all at hand
        speaks, and where it asks for the moment, also the next ones to the first that does not: the largest
        probability counts. Where there is no model, nothing speaks for a copy.
        """
        return self._largest(modality, signals, registered, LogisticModel.probability)

    def asks_for_moments(self, modality: str) -> bool:
        """Whether `scene` can be more than `probability`."""
        return any(model.place is not None for model in self.models.get(modality, ()))

    def scene(self, modality: str, signals: Mapping[str, float], registered: int) -> float:
        """How sure it is that the query shows the same scene, be it the same moment of it or another one."""
        return self._largest(modality, signals, registered, LogisticModel.scene)

    def _largest(
        self,
        modality: str,
        signals: Mapping[str, float],
        registered: int,
        of: Callable[[LogisticModel, Mapping[str, float], float], float],
    ) -> float:
        if signals.get(IDENTICAL_FILE):
            return 1.0
        largest = 0.0
        for model in self.models.get(modality, ()):
            if model.signals <= signals.keys():
                size = self.catalogues[modality]
                shift = math.log(size.fitted / max(registered, size.smallest))
                largest = max(largest, of(model, signals, shift))
                if model.place is None:
                    break
        return largest
