"""How good a ranking is: DISC21's measures, and how far a probability can be taken at its word."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Asked:
    """A query.

    Attributes:
        name: For people.
        target: The registered picture that it holds; None: none.
        attack: What was done to it; empty: nothing.
    """

    name: str
    target: str | None
    attack: str


@dataclass(frozen=True, slots=True)
class Found:
    """A registered picture that a system named for a query; a larger score is surer."""

    target: str
    score: float


Answers = Sequence[tuple[Asked, Sequence[Found]]]
"""Every query with all that was found for it."""


@dataclass(frozen=True, slots=True)
class System:
    """What one system answered.

    Attributes:
        thresholds: Score from which on its rules count a pair as a match, by the rule's name.
    """

    name: str
    answers: Answers
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Ranking:
    """How well copies are ranked before what is none.

    Attributes:
        micro_ap: Area under precision over recall, of all pairs in one ranking; ties count as their worst.
        recall_at_precision_90: Largest recall at which nine of ten pairs are right.
        recall_at_1_percent_alarms: Recall from the score on that 1 % of the unrelated queries reach.
        recall_at_1_in_a_million: Recall from the score on that one of a million unrelated pairs (of a query
            and a registered picture) reaches.
        by_attack_at_1_percent_alarms: Recall at 1 % alarms, by attack.
    """

    micro_ap: float
    recall_at_precision_90: float
    recall_at_1_percent_alarms: float
    recall_at_1_in_a_million: float
    by_attack_at_1_percent_alarms: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What becomes of the queries where matches count from a given score on.

    Attributes:
        recall: Part of the copies whose original is among the matches.
        false_alarms: How many unrelated queries have a match.
        wrong_matches: How many pairs are matches and should not be, over all queries.
        queries: How many unrelated queries there are.
        recall_by_attack: The same as `recall`, by attack.
    """

    threshold: float
    recall: float
    false_alarms: int
    wrong_matches: int
    queries: int
    recall_by_attack: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs whose probability lies in one tenth of the scale."""

    count: int
    mean_probability: float
    share_of_copies: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far the probability can be taken at its word, over all pairs that were returned.

    Attributes:
        brier: Mean squared difference of probability and truth; smaller is better.
        calibration_error: Mean difference of probability and share of copies, over the bins, by their counts.
        bins: The tenths of the scale, lowest first; empty ones are None.
    """

    brier: float
    calibration_error: float
    bins: Sequence[Bin | None]


def _pairs(answers: Answers) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    pairs = [(one.score, one.target == asked.target) for asked, found in answers for one in found]
    scores, right = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(scores, np.float64), np.array(right, np.bool_)


def rank(answers: Answers, references: int) -> Ranking:
    """Measure a ranking of so many registered pictures."""
    copies = sum(asked.target is not None for asked, _ in answers)
    scores, right = _pairs(answers)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # last pair of each score
    recall = np.cumsum(right[order])[ends] / copies
    precision = np.cumsum(right[order])[ends] / (ends + 1)
    unrelated = sorted(
        (
            max((one.score for one in found), default=-np.inf)
            for asked, found in answers
            if asked.target is None
        ),
        reverse=True,
    )
    limit = unrelated[len(unrelated) // 100] if unrelated else -np.inf
    wrong = np.sort(scores[~right])[::-1]
    allowed = len(answers) * references // 1_000_000
    rare = wrong[allowed] if len(wrong) > allowed else -np.inf
    by_attack: dict[str, list[bool]] = {}
    for asked, found in answers:
        if asked.target is not None:
            hit = any(one.target == asked.target and one.score > limit for one in found)
            by_attack.setdefault(asked.attack, []).append(hit)
    return Ranking(
        micro_ap=float((np.diff(recall, prepend=0.0) * precision).sum()),
        recall_at_precision_90=float(recall[precision >= 0.9].max(initial=0.0)),
        recall_at_1_percent_alarms=float((right & (scores > limit)).sum() / copies),
        recall_at_1_in_a_million=float((right & (scores > rare)).sum() / copies),
        by_attack_at_1_percent_alarms={name: float(np.mean(hits)) for name, hits in by_attack.items()},
    )


def at(answers: Answers, threshold: float) -> AtThreshold:
    """Count what a threshold finds, and what it should not."""
    matches = [(asked, {one.target for one in found if one.score >= threshold}) for asked, found in answers]
    hits: dict[str, list[bool]] = {}
    for asked, named in matches:
        if asked.target is not None:
            hits.setdefault(asked.attack, []).append(asked.target in named)
    unrelated = [named for asked, named in matches if asked.target is None]
    return AtThreshold(
        threshold=threshold,
        recall=float(np.mean([hit for some in hits.values() for hit in some])) if hits else 0.0,
        false_alarms=sum(bool(named) for named in unrelated),
        wrong_matches=sum(len(named - {asked.target}) for asked, named in matches),
        queries=len(unrelated),
        recall_by_attack={attack: float(np.mean(some)) for attack, some in hits.items()},
    )


def reliability(answers: Answers, count: int = 10) -> Reliability:
    """Compare probabilities with what turned out to be true."""
    probabilities, right = _pairs(answers)
    if not len(right):
        return Reliability(0.0, 0.0, [None] * count)
    places = np.minimum((probabilities * count).astype(int), count - 1)
    bins = [
        Bin(
            int((places == place).sum()),
            float(probabilities[places == place].mean()),
            float(right[places == place].mean()),
        )
        if (places == place).any()
        else None
        for place in range(count)
    ]
    errors = (one.count * abs(one.mean_probability - one.share_of_copies) for one in bins if one)
    return Reliability(float(np.mean((probabilities - right) ** 2)), sum(errors) / len(right), bins)


def false_alarms(answers: Answers, threshold: float) -> list[dict[str, Any]]:
    """The pairs that are matches and should not be, surest first, for people to look at."""
    wrong = [
        {"query": asked.name, "attack": asked.attack, **asdict(one)}
        for asked, found in answers
        for one in found
        if one.score >= threshold and one.target != asked.target
    ]
    return sorted(wrong, key=lambda pair: -pair["score"])
