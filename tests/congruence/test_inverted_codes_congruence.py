"""Inverted lists of codes against an exact index, with enough rows that most lists are not looked at."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.index import Hits
from indexers.index.faiss import FaissIndex
from indexers.index.inverted_codes import InvertedCodes
from indexers.index.live import Change, LiveIndex
from indexers.index.mapped import MappedDescriptors

SCHEME = Scheme("test.codes", 1, 128, Metric.HAMMING, SpanUnit.SECOND)
COUNT = 12_000
RECALL = 0.9

Codes = npt.NDArray[np.uint8]


def flipped(codes: Codes, part: float, rng: np.random.Generator) -> Codes:
    """Codes with a part of their bits turned over."""
    turned = rng.random((len(codes), SCHEME.dim)) < part
    return codes ^ np.packbits(turned, axis=1)


def clustered(count: int, rng: np.random.Generator) -> Codes:
    """Codes around two hundred centres; one in ten is a duplicate."""
    centres = np.random.default_rng(1).integers(0, 256, (200, SCHEME.columns), np.uint8)
    codes = flipped(centres[rng.integers(0, 200, count)], 0.15, rng)
    codes[rng.integers(0, count, count // 10)] = codes[rng.integers(0, count, count // 10)]
    return codes


def opened(folder: Path) -> LiveIndex:
    return LiveIndex.open(SCHEME, folder, approximate_from=1, float_approximate_from=1000, far=True)


@dataclass(frozen=True)
class Both:
    """The same codes in two indexes: some removed after the fold, some in the delta."""

    exact: FaissIndex
    live: LiveIndex
    codes: Codes


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    rng = np.random.default_rng(2)
    codes = clustered(COUNT, rng)
    ids = rng.permutation(2 * COUNT)[:COUNT].astype(np.int64)
    live = opened(tmp_path_factory.mktemp("index"))
    live.apply([Change(1, ids[:-500], codes[:-500])])
    live.fold()
    live.apply([Change(2, ids[-500:], codes[-500:]), Change(3, ids[:1000], None)])
    exact = FaissIndex(SCHEME)
    exact.add(ids[1000:], codes[1000:])
    return Both(exact, live, codes[1000:])


def recall(expected: Hits, actual: Hits) -> float:
    queries = range(len(expected.offsets) - 1)
    found = sum(len(np.intersect1d(expected.of(query)[0], actual.of(query)[0])) for query in queries)
    return found / len(expected.ids)


def equal(expected: Hits, actual: Hits) -> bool:
    return all(
        np.array_equal(getattr(expected, name), getattr(actual, name))
        for name in ("offsets", "ids", "distances")
    )


def test_lists_are_not_all_looked_at(both: Both) -> None:
    """Else the tests below would show nothing. The codes stay in the snapshot's file."""
    rows = both.live._state.base.rows
    assert isinstance(rows, InvertedCodes)
    assert isinstance(rows.descriptors, MappedDescriptors)
    assert rows._looked_at * 4 < len(rows.partition.centres)
    assert not both.live.has_tables


@given(seed=st.integers(0, 1 << 32), limit=st.sampled_from([1, 10, 40]), radius=st.integers(0, 128))
@settings(max_examples=15, deadline=None)
def test_what_is_found_is_right(both: Both, seed: int, limit: int, radius: int) -> None:
    """In order, at exact distances, none that was removed, and nothing nearer than exact search finds."""
    rng = np.random.default_rng(seed)
    queries = np.concatenate([clustered(6, rng), flipped(both.codes[rng.integers(0, 9000, 6)], 0.1, rng)])
    hits = both.live.search(queries, radius=radius, limit=limit)
    every = both.exact.search(queries, radius=radius)
    for number in range(len(queries)):
        ids, distances = hits.of(number)
        right = dict(zip(every.of(number)[0].tolist(), every.of(number)[1].tolist(), strict=True))
        assert [right[one] for one in ids.tolist()] == distances.tolist()
        assert len(ids) == min(limit, len(right))
        np.testing.assert_array_equal(np.lexsort((ids, distances)), np.arange(len(ids)))


def test_recall_of_the_ten_nearest(both: Both) -> None:
    rng = np.random.default_rng(9)
    planted = flipped(both.codes[:200], 0.1, rng)
    expected = both.exact.search(planted, radius=128, limit=10)
    assert recall(expected, both.live.search(planted, radius=128, limit=10)) >= RECALL
    nearest = both.exact.search(planted, radius=128, limit=1)
    assert recall(nearest, both.live.search(planted, radius=128, limit=1)) >= 0.95


@pytest.mark.parametrize(("radius", "limit"), [(0, None), (30, None), (50, None), (128, COUNT)])
def test_without_a_limit_or_with_one_beyond_all_nothing_is_missed(
    both: Both, radius: int, limit: int | None
) -> None:
    queries = np.concatenate([both.codes[:4], clustered(4, np.random.default_rng(4))])
    expected = both.exact.search(queries, radius=radius, limit=limit)
    assert equal(expected, both.live.search(queries, radius=radius, limit=limit))


def test_equally_far_codes_come_by_their_ids(tmp_path: Path) -> None:
    """More of them than are fetched at first."""
    live = opened(tmp_path)
    code = np.arange(SCHEME.columns, dtype=np.uint8)[np.newaxis]
    live.apply([Change(1, np.arange(2000)[::-1].copy(), np.repeat(code, 2000, axis=0))])
    live.fold()
    assert live.search(code, radius=0, limit=5).ids.tolist() == [0, 1, 2, 3, 4]


def test_a_new_start_and_another_fold_find_the_same(tmp_path: Path) -> None:
    codes = clustered(3000, np.random.default_rng(5))
    index = opened(tmp_path)
    index.apply([Change(1, np.arange(2900), codes[:2900])])
    index.fold()
    before = index.search(codes[:20], radius=60, limit=5)
    again = opened(tmp_path)
    assert equal(before, again.search(codes[:20], radius=60, limit=5))
    again.apply([Change(2, np.arange(2900, 3000), codes[2900:])])
    again.fold()
    assert again.search(codes[2900:], radius=0, limit=1).distances.tolist() == [0.0] * 100
    again.apply([Change(3, np.arange(2500), None)])
    again.fold()
    assert not isinstance(again._state.base.rows, InvertedCodes)
    assert again.search(codes[2500:], radius=0, limit=1).distances.tolist() == [0.0] * 500
