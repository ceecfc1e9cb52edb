"""Words of titles and sites: folded, cut, and found by their beginnings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.reviewed import band_of
from service.store import words


def finds(search: str, *texts: str) -> bool:
    """Whether all that a search asks for is the beginning of a word of the texts."""
    known = words.words_of(texts)
    return all(
        any(asked <= word < words.end_of(asked) for word in known) for asked in words.asked_for(search)
    )


@pytest.mark.parametrize(
    ("search", "text", "found"),
    [
        ("nacht", "Nachts im Café", True),
        ("cafe IM", "Nachts im Café", True),
        ("chts", "Nachts im Café", False),
        ("strasse", "Straße", True),
        ("\uff57\uff49de", "wide", True),  # full width
        ("pirates.example", "www.pirates.example", True),
        ("海报", "电影海报设计", True),
        ("报设", "电影海报设计", True),
        ("计", "电影海报设计", True),
        ("海设", "电影海报设计", False),
        ("がぎ", "ガギグ", False),
        ("ガギ", "ｶﾞｷﾞｸﾞ", True),
        ("한국", "한국어 영화", True),
        ("x" * 40, "x" * 50, True),
    ],
)
def test_words_are_found_by_their_beginnings(search: str, text: str, *, found: bool) -> None:
    assert finds(search, text) is found


@given(st.text(max_size=60))
def test_a_text_is_found_by_itself(text: str) -> None:
    assert finds(text, text)
    assert all(0 < len(word) <= 128 for word in words.words_of([text]))


@pytest.mark.parametrize(
    ("value", "band"),
    [
        (0.0, "s = 0"),
        (0.05, "s [0, 0.1)"),
        (0.3, "s [0.3, 0.4)"),
        (1.0, "s [1, 2)"),
        (31.0, "s [30, 40)"),
        (250.0, "s [200, 300)"),
        (-0.25, "s [-0.3, -0.2)"),
        (float("inf"), "s = inf"),
    ],
)
def test_bands_are_as_wide_as_the_value_is_large(value: float, band: str) -> None:
    assert band_of("s", value) == band


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_value_has_a_band(value: float) -> None:
    assert band_of("s", value).startswith("s ")
