"""The score: monotone, certain of identical files, and the shipped coefficients are usable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.matching.score import IDENTICAL_FILE, LogisticModel, Scorer, Term

SCORER = Scorer.load()
MILLION = 1_000_000


RANGES = {
    "pdq_distance": (128.0, 0.0),
    "pdq_quality": (0.0, 1.0),
    "phash_distance": (32.0, 0.0),
    "phash_quality": (0.0, 1.0),
    "cnn_similarity": (0.0, 1.0),
    "cnn_quality": (0.0, 1.0),
    "local_inliers": (0.0, 100.0),
    "local_spread": (0.0, 64.0),
    "local_agreement": (0.0, 1.0),
    "text_evidence": (0.0, 100.0),
    "text_places": (0.0, 40.0),
    "text_longest": (0.0, 1000.0),
}
"""From what says nothing for a copy to what says all."""
HASHES = ("pdq_distance", "pdq_quality", "phash_distance", "phash_quality")
CNN = ("cnn_similarity", "cnn_quality")
LOCAL = ("local_inliers", "local_spread", "local_agreement")
AT_HAND = (HASHES, HASHES[:2], HASHES[2:], HASHES + CNN, HASHES + CNN + LOCAL)


def signals(names: tuple[str, ...], clarity: float, quality: float = 1.0) -> dict[str, float]:
    """The named signals, from saying nothing (0) to saying all (1)."""
    values = {}
    for name in names:
        nothing, everything = RANGES[name]
        far = quality if name.endswith("_quality") else clarity
        values[name] = nothing + far * (everything - nothing)
    return values


@pytest.mark.parametrize(("names", "name"), [(names, name) for names in AT_HAND for name in names])
@given(data=st.data())
def test_no_signal_that_speaks_more_clearly_lowers_the_probability(
    names: tuple[str, ...], name: str, data: st.DataObject
) -> None:
    base = {one: data.draw(st.floats(*sorted(RANGES[one]))) for one in names}
    less, more = sorted(data.draw(st.lists(st.floats(0, 1), min_size=2, max_size=2)))
    with_less = SCORER.probability("image", base | signals((name,), less, less), MILLION)
    with_more = SCORER.probability("image", base | signals((name,), more, more), MILLION)
    assert with_less <= with_more


@pytest.mark.parametrize("names", AT_HAND[:2])
def test_no_distance_by_pdq_is_a_copy(names: tuple[str, ...]) -> None:
    assert SCORER.probability("image", signals(names, 1.0), MILLION) > 0.99


def test_phash_alone_tells_no_copy_from_a_million_others() -> None:
    assert 0.1 < SCORER.probability("image", signals(AT_HAND[2], 1.0), MILLION) < 0.9
    assert SCORER.probability("image", {"phash_distance": 8.0, "phash_quality": 1.0}, MILLION) < 0.1


def test_phash_does_not_overrule_pdq() -> None:
    near = signals(AT_HAND[0], 1.0) | {"pdq_distance": 120.0}
    assert SCORER.probability("image", near, MILLION) < 0.01


def test_the_cnn_alone_tells_no_copy_from_a_million_others() -> None:
    best = signals(CNN, 1.0) | {"cnn_quality": 0.76}  # the most that any of 5,600 real pictures and parts had
    assert SCORER.probability("image", best, MILLION) < 0.5


@pytest.mark.parametrize("names", [*AT_HAND, ()])
def test_unrelated_pairs_are_none(names: tuple[str, ...]) -> None:
    assert SCORER.probability("image", signals(names, 0.0), MILLION) < 0.01


def test_identical_files_are_certain() -> None:
    assert SCORER.probability("image", {IDENTICAL_FILE: 1.0}, MILLION) == 1.0
    assert SCORER.probability("unheard-of", {IDENTICAL_FILE: 1.0}, MILLION) == 1.0


def test_nothing_speaks_for_a_copy_where_nothing_is_known() -> None:
    assert SCORER.probability("unheard-of", {"pdq_distance": 0.0}, MILLION) == 0.0


def test_extreme_signals_neither_overflow_nor_leave_the_range() -> None:
    model = LogisticModel(0.0, (Term("x", 0.0, 1.0, 1e6),))
    assert model.probability({"x": 1e6}) == 1.0
    assert model.probability({"x": -1e6}) == 0.5


def test_the_same_distance_is_surer_in_a_smaller_catalogue() -> None:
    near = signals(AT_HAND[0], 1.0) | {"pdq_distance": 33.0}
    sizes = (1, 100_000, 300_000, 1_000_000, 10_000_000)
    tiny, small, large, million, more = (SCORER.probability("image", near, size) for size in sizes)
    assert tiny == small > large > million > more

    def odds(probability: float) -> float:
        return probability / (1 - probability)

    assert odds(million) / odds(more) == pytest.approx(10.0)


FRAMES = {
    "frames_evidence": 12.0,
    "frames_count": 20.0,
    "frames_similarity": 0.95,
    "frames_contrast": 0.0,
    "frames_motion": 0.0,
    "frames_lead": 0.0,
    "frames_change": 0.05,
    "frames_speed": 0.0,
}


def test_a_scene_without_motion_is_sure_and_the_moment_is_not() -> None:
    assert SCORER.scene("video", FRAMES, MILLION) > 0.9
    assert SCORER.probability("video", FRAMES, MILLION) < 0.9
    changing = FRAMES | {"frames_change": 0.3}
    assert SCORER.scene("video", changing, MILLION) > 0.9
    assert SCORER.probability("video", changing, MILLION) < 0.2


def test_what_changes_at_the_same_times_tells_the_moment() -> None:
    moving = FRAMES | {"frames_motion": 0.5, "frames_lead": 0.4}
    assert SCORER.probability("video", moving, MILLION) > 0.98


def test_the_sound_tells_the_moment_of_a_still_scene() -> None:
    assert SCORER.probability("video", FRAMES | {"sound_agreement": 1.0}, MILLION) > 0.9


def test_a_sure_sound_is_not_doubted_for_the_pictures_place() -> None:
    sound = {"chromaprint_evidence": 600.0, "peak_evidence": 200.0}
    alone = SCORER.probability("video", sound, MILLION)
    assert alone > 0.99
    both = SCORER.probability("video", FRAMES | sound | {"sound_agreement": 0.0}, MILLION)
    assert both >= alone


TEXT = ("text_evidence", "text_places", "text_longest")


@pytest.mark.parametrize("name", TEXT)
@given(data=st.data())
def test_no_signal_of_texts_that_speaks_more_clearly_lowers_the_probability(
    name: str, data: st.DataObject
) -> None:
    base = {one: data.draw(st.floats(*RANGES[one])) for one in TEXT}
    less, more = sorted(data.draw(st.lists(st.floats(0, 1), min_size=2, max_size=2)))
    with_less = SCORER.probability("text", base | signals((name,), less), MILLION)
    assert with_less <= SCORER.probability("text", base | signals((name,), more), MILLION)


def test_a_quotation_is_no_copy_and_a_passage_is() -> None:
    quotation = {"text_evidence": 14.0, "text_places": 5.0, "text_longest": 120.0}
    passage = {"text_evidence": 60.0, "text_places": 30.0, "text_longest": 900.0}
    assert SCORER.probability("text", quotation, MILLION) < 0.1
    assert SCORER.probability("text", passage, MILLION) > 0.99


def test_each_kind_of_media_has_a_catalogue_of_its_own() -> None:
    keys = 10 * MILLION
    picture = signals(("pdq_distance", "pdq_quality"), 0.7)
    passage = {"text_evidence": 20.0, "text_places": 12.0, "text_longest": 220.0}
    assert SCORER.probability("text", passage, 1) == SCORER.probability("text", passage, keys)
    assert SCORER.probability("text", passage, 100 * keys) < SCORER.probability("text", passage, keys)
    assert SCORER.probability("image", picture, keys) < SCORER.probability("image", picture, MILLION)
