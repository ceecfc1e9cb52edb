import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.quality import text_media
from benchmarks.quality.text_attacks import ATTACKS, Hand
from indexers.fingerprint import Fingerprint
from indexers.modality import Alignment, Role, Segment
from indexers.text import TextModality, winnow

TEXTS = TextModality()
GOLDEN = [
    4158499936,
    527011817,
    4117162437,
    31016794,
    2787162592,
    2164757350,
    3271570744,
    767942432,
    3719975077,
    674138187,
    2295524212,
]
GOLDEN_SPANS = [
    [3, 13],
    [9, 19],
    [11, 21],
    [13, 23],
    [14, 25],
    [17, 21],
    [18, 22],
    [19, 23],
    [21, 26],
    [24, 28],
    [25, 30],
]


def described(*pieces: str) -> Fingerprint:
    segments, start = [], 0
    for piece in pieces:
        segments.append(Segment(float(start), float(start + len(piece)), piece))
        start += len(piece)
    ((fingerprint,),) = TEXTS.fingerprint(segments, Role.QUERY)
    return fingerprint


def aligned(query: str, work: str) -> Alignment:
    alignment = TEXTS.align([described(query)], [described(work)])
    assert alignment is not None
    return alignment


@pytest.fixture(scope="module", params=["zh", "en"])
def library(request: pytest.FixtureRequest) -> text_media.Library:
    return text_media.made_up(request.param, random.Random(5), works=1, words=2_000)


@pytest.mark.parametrize("attack", list(ATTACKS))
def test_an_attacked_passage_is_found_where_it_stands(library: text_media.Library, attack: str) -> None:
    rng = random.Random(attack)
    work, other = next(iter(library.registered.values())), library.strangers[0]
    changed = ATTACKS[attack](work[3_000:5_000], Hand(rng, other))

    alignment = aligned(other[:1_000] + changed + other[1_000:2_000], work)

    assert alignment.signals["text_evidence"] > 6
    inside = sum(
        min(one.query[1], 1_000 + len(changed)) - max(one.query[0], 1_000)
        for one in alignment.segments
        if one.query[0] < 1_000 + len(changed) and one.query[1] > 1_000
    )
    assert inside > 0.3 * len(changed)
    assert set(alignment.signals) == set(TEXTS.signal_units)


def test_unrelated_texts_share_no_passage(library: text_media.Library) -> None:
    alignment = aligned(library.strangers[0], next(iter(library.registered.values())))

    assert alignment.signals["text_evidence"] < 6


def test_a_whole_copy_covers_everything(library: text_media.Library) -> None:
    work = next(iter(library.registered.values()))
    alignment = aligned(work, work)

    assert alignment.query_coverage > 0.99
    assert alignment.work_coverage > 0.99
    assert alignment.signals["text_density"] == pytest.approx(1.0, abs=0.02)


def test_keys_that_many_works_hold_can_be_made_to_count_nothing(library: text_media.Library) -> None:
    query = described(next(iter(library.registered.values()))[:2_000])
    muted = replace(query, quality=np.zeros(len(query), np.float32))

    alignment = TEXTS.align([muted], [query])

    assert alignment is not None
    assert alignment.segments == ()


@given(st.lists(st.text(max_size=40), max_size=8), st.randoms(use_true_random=False))
def test_a_fingerprint_does_not_depend_on_the_cuts(pieces: list[str], rng: random.Random) -> None:
    pieces = [*pieces, "the quick brown fox jumps over the lazy dog " * 2]
    whole = "".join(pieces)
    cut = rng.randrange(len(whole))

    one, many, halves = described(whole), described(*pieces), described(whole[:cut], whole[cut:])

    for other in (many, halves):
        np.testing.assert_array_equal(one.descriptors, other.descriptors)
        np.testing.assert_array_equal(one.spans, other.spans)


@pytest.mark.parametrize(
    "text", ["", "short", "a" * 10_000, "啊" * 10_000, "1 234 567\n" * 1_000, "ab" * 5_000]
)
def test_what_carries_nothing_is_described_by_a_row_that_is_never_looked_up(text: str) -> None:
    fingerprint = described(text)

    assert fingerprint.quality.tolist() == [0.0]
    search = TEXTS.channels[0].search
    assert search is not None
    assert search.min_quality > 0
    alignment = TEXTS.align([fingerprint], [fingerprint])
    assert alignment is not None
    assert alignment.segments == ()


def test_a_line_repeated_for_ever_gives_few_keys() -> None:
    assert len(described("All work and no play makes Jack a dull boy.\n" * 5_000)) <= 40 * winnow.REPEATS


def test_the_keys_of_version_1_never_change() -> None:
    fingerprint = described("Call me Ishmael. 話說天下大勢，分久必合，合久必分。")

    assert winnow.unpacked(fingerprint.descriptors).tolist() == GOLDEN
    assert fingerprint.spans.tolist() == GOLDEN_SPANS
