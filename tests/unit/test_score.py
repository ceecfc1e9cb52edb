"""The score: monotone, certain of identical files, and the shipped coefficients are usable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.matching.score import IDENTICAL_FILE, LogisticModel, Scorer

SCORER = Scorer.load()
MILLION = 1_000_000


DISTANCES = {"pdq_distance": 256.0, "phash_distance": 64.0}
QUALITIES = {"pdq_quality": 1.0, "phash_quality": 1.0}
AT_HAND = (
    ("pdq_distance", "pdq_quality", "phash_distance", "phash_quality"),
    ("pdq_distance", "pdq_quality"),
    ("phash_distance", "phash_quality"),
)


def signals(names: tuple[str, ...], distance: float, quality: float = 1.0) -> dict[str, float]:
    """The named signals; distances as a fraction of the largest possible."""
    every = {name: distance * largest for name, largest in DISTANCES.items()}
    every |= {name: quality * largest for name, largest in QUALITIES.items()}
    return {name: every[name] for name in names}


@pytest.mark.parametrize(("names", "name"), [(names, name) for names in AT_HAND for name in names])
@given(data=st.data())
def test_no_larger_distance_and_no_smaller_quality_raises_the_probability(
    names: tuple[str, ...], name: str, data: st.DataObject
) -> None:
    largest = (DISTANCES | QUALITIES)[name]
    base = signals(names, data.draw(st.floats(0, 1)), data.draw(st.floats(0, 1)))
    small, large = sorted(data.draw(st.lists(st.floats(0, largest), min_size=2, max_size=2)))
    with_small = SCORER.probability("image", {**base, name: small}, MILLION)
    with_large = SCORER.probability("image", {**base, name: large}, MILLION)
    if name in DISTANCES:
        assert with_large <= with_small
    else:
        assert with_small <= with_large


@pytest.mark.parametrize("names", AT_HAND[:2])
def test_no_distance_by_pdq_is_a_copy(names: tuple[str, ...]) -> None:
    assert SCORER.probability("image", signals(names, 0.0), MILLION) > 0.99


def test_phash_alone_tells_no_copy_from_a_million_others() -> None:
    assert 0.1 < SCORER.probability("image", signals(AT_HAND[2], 0.0), MILLION) < 0.9
    assert SCORER.probability("image", {"phash_distance": 8.0, "phash_quality": 1.0}, MILLION) < 0.1


def test_phash_does_not_overrule_pdq() -> None:
    near = signals(AT_HAND[0], 0.0) | {"pdq_distance": 120.0}
    assert SCORER.probability("image", near, MILLION) < 0.01


@pytest.mark.parametrize("names", AT_HAND)
def test_pictures_without_content_are_no_copies_of_each_other(names: tuple[str, ...]) -> None:
    assert SCORER.probability("image", signals(names, 0.0, quality=0.0), MILLION) < 0.1


@pytest.mark.parametrize("names", [*AT_HAND, ()])
def test_unrelated_pairs_are_none(names: tuple[str, ...]) -> None:
    assert SCORER.probability("image", signals(names, 0.5), MILLION) < 0.01


def test_identical_files_are_certain() -> None:
    assert SCORER.probability("image", {IDENTICAL_FILE: 1.0}, MILLION) == 1.0
    assert SCORER.probability("unheard-of", {IDENTICAL_FILE: 1.0}, MILLION) == 1.0


def test_nothing_speaks_for_a_copy_where_nothing_is_known() -> None:
    assert SCORER.probability("unheard-of", {"pdq_distance": 0.0}, MILLION) == 0.0


def test_extreme_signals_neither_overflow_nor_leave_the_range() -> None:
    model = LogisticModel(0.0, {"x": 1e6}, {"x": 1e6})
    assert model.probability({"x": 1e6}) == 1.0
    assert model.probability({"x": -1e6}) == pytest.approx(0.0)


def test_the_same_distance_is_surer_in_a_smaller_catalogue() -> None:
    near = signals(AT_HAND[0], 0.0) | {"pdq_distance": 33.0}
    sizes = (1, 100_000, 300_000, 1_000_000, 10_000_000)
    tiny, small, large, million, more = (SCORER.probability("image", near, size) for size in sizes)
    assert tiny == small > large > million > more

    def odds(probability: float) -> float:
        return probability / (1 - probability)

    assert odds(million) / odds(more) == pytest.approx(10.0)


def test_pictures_without_content_are_no_copies_in_a_small_catalogue_either() -> None:
    for names in AT_HAND:
        assert SCORER.probability("image", signals(names, 0.0, quality=0.0), 1) < 0.5
