"""When a reference floods the queue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.review.feedback import MIN_WRONG, is_flood, wilson_lower


@pytest.mark.parametrize(
    ("right", "wrong", "flood"),
    [
        (0, 7, False),
        (0, 8, True),
        (2, 8, False),
        (2, 9, True),
        (5, 15, True),
        (6, 14, False),
        (100, 99, False),
    ],
)
def test_a_flood_is_mostly_wrong_and_surely_so(right: int, wrong: int, *, flood: bool) -> None:
    assert is_flood(right, wrong) is flood


def test_the_bound_is_wilsons() -> None:
    assert wilson_lower(0, 0) == 0.0
    assert wilson_lower(0, 10) == pytest.approx(0.0, abs=1e-12)
    assert wilson_lower(8, 10) == pytest.approx(0.4902, abs=1e-4)  # as statsmodels' proportion_confint says


@given(st.integers(0, 500), st.integers(0, 500))
def test_more_wrong_ones_never_make_it_less_of_a_flood(right: int, wrong: int) -> None:
    assert 0.0 <= wilson_lower(wrong, right + wrong) <= 1.0
    assert not is_flood(right, wrong) or is_flood(right, wrong + 1)
    assert wrong >= MIN_WRONG or not is_flood(right, wrong)
