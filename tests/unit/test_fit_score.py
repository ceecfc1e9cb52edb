"""Fitting the score: on made-up pairs it comes out monotone, calibrated, and readable by the service."""

import json

import numpy as np
import pytest

from benchmarks.quality import fit_score
from benchmarks.quality.pairs import SIGNALS, Hashed, Pairs, compare
from service.matching.score import LogisticModel

CATALOGUE = 1e4
PRIOR = 0.2


@pytest.fixture(scope="module")
def sample() -> Pairs:
    """Copies lie near; the farther and the poorer in quality, the more unrelated pairs there are."""
    rng = np.random.default_rng(5)
    copies = np.column_stack(
        [rng.binomial(60, 0.3, 400), rng.binomial(20, 0.2, 400), rng.uniform(0.6, 1, (400, 2))]
    )
    unrelated = np.column_stack(
        [
            80 - rng.exponential(6, 4000).clip(0, 80),
            20 - rng.exponential(3, 4000).clip(0, 20),
            rng.uniform(0, 1, (4000, 2)),
        ]
    )
    return Pairs(
        np.concatenate([copies, unrelated]).astype(np.float64),
        np.repeat([True, False], [400, 4000]),
        np.repeat([1 / 500, 1 / 1_000_000], [400, 4000]),
        1_000_000,
    )


@pytest.mark.parametrize("signals", fit_score.SETS)
def test_weights_are_monotone(sample: Pairs, signals: tuple[str, ...]) -> None:
    model = fit_score.fit(sample, signals, catalogue=CATALOGUE, prior=PRIOR)
    assert tuple(model.weights) == signals
    for name, weight in model.weights.items():
        assert weight <= 0 if name.endswith("_distance") else weight >= 0
    assert model.weights[signals[0]] < 0


def test_a_signal_with_the_wrong_sign_gets_no_weight(sample: Pairs) -> None:
    upside_down = sample.signals.copy()
    upside_down[:, 2] = 1 - upside_down[:, 2]
    model = fit_score.fit(
        Pairs(upside_down, sample.copies, sample.weights, sample.unrelated),
        SIGNALS,
        catalogue=CATALOGUE,
        prior=PRIOR,
    )
    assert model.weights["pdq_quality"] == 0


def test_a_larger_catalogue_makes_less_sure(sample: Pairs) -> None:
    small = fit_score.fit(sample, SIGNALS, catalogue=CATALOGUE, prior=PRIOR)
    large = fit_score.fit(sample, SIGNALS, catalogue=100 * CATALOGUE, prior=PRIOR)
    signals = {"pdq_distance": 40.0, "phash_distance": 10.0, "pdq_quality": 1.0, "phash_quality": 1.0}
    assert large.probability(signals) < small.probability(signals)


def test_the_probability_is_the_share_of_copies_among_candidates(sample: Pairs) -> None:
    model = fit_score.fit(sample, SIGNALS, catalogue=CATALOGUE, prior=PRIOR)
    fitted = sample.signals[:, 0] <= fit_score.FIT_UP_TO["pdq_distance"]
    expected = (np.where(sample.copies, PRIOR, CATALOGUE) * sample.weights)[fitted]
    probabilities = [
        model.probability(dict(zip(SIGNALS, row, strict=True))) for row in sample.signals[fitted].tolist()
    ]
    copies = float(expected[sample.copies[fitted]].sum())
    assert float(np.dot(probabilities, expected)) == pytest.approx(copies, rel=0.02)


def test_rates_count_what_reaches_a_threshold(sample: Pairs) -> None:
    always = LogisticModel(5.0, {}, {})
    (one,) = fit_score.rates(sample, always, [0.5])
    assert one.recall == pytest.approx(0.8)  # 400 of 500 copies are near enough to be looked at
    assert one.false_pairs == 4000
    assert one.false_per_million == pytest.approx(4000)


def test_the_file_reads_back(sample: Pairs) -> None:
    models = [fit_score.fit(sample, names, catalogue=CATALOGUE, prior=PRIOR) for names in fit_score.SETS]
    content = json.loads(fit_score.document(models, {"seed": 1}, "2026-01-02"))
    assert content["revision"].startswith("2026-01-02-")
    read = [
        LogisticModel(one["intercept"], one["weights"], one["caps"]) for one in content["models"]["image"]
    ]
    assert read == models


def hashed(source: int, pdq: list[int], colour: list[float], quality: float = 1.0) -> Hashed:
    rows = np.array([[row, 0, 0, 0] for row in pdq], np.uint64)
    return Hashed(
        source, rows, np.zeros((len(pdq), 1), np.uint64), quality, 1.0, np.array(colour, np.float32)
    )


def test_pairs_take_the_nearest_view_and_the_worse_quality() -> None:
    query = hashed(1, [0b1111, 0b1], [1, 0])
    references = [hashed(1, [0b0], [1, 0], quality=0.5), hashed(2, [0b11], [0, 1])]
    pairs = compare([query], references, (80, 12))
    assert pairs.signals.tolist() == [[1, 0, 0.5, 1], [1, 0, 1, 1]]
    assert pairs.copies.tolist() == [True, False]
    assert pairs.unrelated == 1


def test_pairs_leave_out_a_picture_that_the_collection_holds_twice() -> None:
    pairs = compare([hashed(1, [0, 0], [1, 0])], [hashed(2, [0], [1, 0]), hashed(3, [0], [0, 1])], (80, 12))
    assert pairs.copies.tolist() == [False]
    assert pairs.unrelated == 2
    assert pairs.weights.tolist() == [0.5]
