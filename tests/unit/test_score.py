"""The score: monotone, certain of identical files, and the shipped coefficients are usable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.matching.score import IDENTICAL_FILE, LogisticModel, Scorer

SCORER = Scorer.load()


@given(st.lists(st.floats(0, 256), min_size=2, max_size=2), st.floats(0, 64))
def test_a_larger_distance_never_raises_the_probability(pdq: list[float], phash: float) -> None:
    near, far = sorted(pdq)
    assert SCORER.probability("image", {"pdq_distance": far, "phash_distance": phash}) <= (
        SCORER.probability("image", {"pdq_distance": near, "phash_distance": phash})
    )


@given(st.lists(st.floats(0, 64), min_size=2, max_size=2), st.floats(0, 256))
def test_the_same_for_phash(phash: list[float], pdq: float) -> None:
    near, far = sorted(phash)
    assert SCORER.probability("image", {"pdq_distance": pdq, "phash_distance": far}) <= (
        SCORER.probability("image", {"pdq_distance": pdq, "phash_distance": near})
    )


@pytest.mark.parametrize(
    "signals",
    [
        {"pdq_distance": 0.0, "phash_distance": 0.0},
        {"pdq_distance": 0.0},
        {"phash_distance": 0.0},
    ],
)
def test_no_distance_is_a_copy_whatever_is_at_hand(signals: dict[str, float]) -> None:
    assert SCORER.probability("image", signals) > 0.95


@pytest.mark.parametrize(
    "signals",
    [
        {"pdq_distance": 128.0, "phash_distance": 32.0},
        {"pdq_distance": 128.0},
        {"phash_distance": 32.0},
        {},
    ],
)
def test_unrelated_pairs_are_none(signals: dict[str, float]) -> None:
    assert SCORER.probability("image", signals) < 0.01


def test_identical_files_are_certain() -> None:
    assert SCORER.probability("image", {IDENTICAL_FILE: 1.0}) == 1.0
    assert SCORER.probability("unheard-of", {IDENTICAL_FILE: 1.0}) == 1.0


def test_nothing_speaks_for_a_copy_where_nothing_is_known() -> None:
    assert SCORER.probability("unheard-of", {"pdq_distance": 0.0}) == 0.0


def test_extreme_signals_neither_overflow_nor_leave_the_range() -> None:
    model = LogisticModel(0.0, {"x": 1e6}, {"x": 1e6})
    assert model.probability({"x": 1e6}) == 1.0
    assert model.probability({"x": -1e6}) == pytest.approx(0.0)
