"""Micro average precision and recall at a rate of false alarms."""

import numpy as np
import pytest

from indexers.training.metrics import Scores


def scores(values: list[list[float]], sources: list[int]) -> Scores:
    return Scores(np.array(values, np.float32), np.array(sources))


def test_perfect_scores() -> None:
    perfect = scores([[0.9, 0.1], [0.2, 0.8], [0.3, 0.1]], [0, 1, -1])
    assert perfect.micro_average_precision() == pytest.approx(1.0)
    assert perfect.recall() == pytest.approx(1.0)


def test_a_false_pair_above_a_true_one_costs_precision() -> None:
    # Ranked as one list: true .9, false .7, true .6, and so on: (1 + 2/3) / 2.
    ranked = scores([[0.9, 0.1], [0.7, 0.6]], [0, 1])
    assert ranked.micro_average_precision() == pytest.approx((1 + 2 / 3) / 2)


def test_recall_counts_copies_above_the_best_stranger() -> None:
    some = scores([[0.9, 0.0], [0.0, 0.3], [0.5, 0.4]], [0, 1, -1])
    assert some.threshold(0.0) == pytest.approx(0.5)
    assert some.found(0.5).tolist() == [True, False]
    assert some.recall(0.0) == pytest.approx(0.5)


def test_an_alarm_that_is_allowed_lowers_the_threshold() -> None:
    strangers = [[value, 0.0] for value in np.linspace(0, 1, 101)]
    many = scores([[0.97, 0.0], *strangers], [0, *[-1] * 101])
    assert not many.found(many.threshold(0.0)).any()
    assert many.found(many.threshold(0.05)).all()
