"""The inverted lists against an exact index, with enough rows that most lists are not looked at."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.index import Hits
from indexers.index.exact import distances_to
from indexers.index.faiss import FaissIndex
from indexers.index.inverted import InvertedRows
from indexers.index.live import Change, LiveIndex

SCHEME = Scheme("test.embedding", 1, 64, Metric.COSINE, SpanUnit.FRAME)
COUNT = 20_000
RECALL = 0.98

Floats = npt.NDArray[np.float32]


def unit(rows: npt.NDArray[np.float64]) -> Floats:
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def clustered(count: int, rng: np.random.Generator) -> Floats:
    """Rows around a hundred centres, which spread over 24 of the dimensions; one in ten is a duplicate."""
    plane = np.random.default_rng(0).normal(size=(24, 64))
    centres = np.random.default_rng(1).normal(size=(100, 24))
    inner = centres[rng.integers(0, 100, count)] + 0.7 * rng.normal(size=(count, 24))
    rows = unit(inner @ plane + 0.2 * rng.normal(size=(count, 64)))
    rows[rng.integers(0, count, count // 10)] = rows[rng.integers(0, count, count // 10)]
    return rows


def near(rows: Floats, rng: np.random.Generator) -> Floats:
    return unit(rows + 0.03 * rng.normal(size=rows.shape))


@dataclass(frozen=True)
class Both:
    """The same rows in two indexes: some removed after the fold, some in the delta."""

    exact: FaissIndex
    live: LiveIndex
    ids: npt.NDArray[np.int64]
    rows: Floats


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    rng = np.random.default_rng(2)
    rows = clustered(COUNT, rng)
    ids = rng.permutation(2 * COUNT)[:COUNT].astype(np.int64)
    live = LiveIndex.open(SCHEME, tmp_path_factory.mktemp("index"), float_approximate_from=1000)
    live.apply([Change(1, ids[:-500], rows[:-500])])
    live.fold()
    live.apply([Change(2, ids[-500:], rows[-500:]), Change(3, ids[:2000], None)])
    exact = FaissIndex(SCHEME)
    exact.add(ids[2000:], rows[2000:])
    return Both(exact, live, ids[2000:], rows[2000:])


def assert_right(both: Both, queries: Floats, hits: Hits) -> None:
    """In order, under exact distances, and nothing that was removed."""
    order = np.argsort(both.ids)
    for number, query in enumerate(queries):
        ids, distances = hits.of(number)
        places = order[np.searchsorted(both.ids, ids, sorter=order)]
        np.testing.assert_array_equal(both.ids[places], ids)
        np.testing.assert_array_equal(distances_to(SCHEME.metric, query, both.rows[places]), distances)
        np.testing.assert_array_equal(np.lexsort((ids, distances)), np.arange(len(ids)))


def recall(expected: Hits, actual: Hits) -> float:
    queries = range(len(expected.offsets) - 1)
    found = sum(len(np.intersect1d(expected.of(query)[0], actual.of(query)[0])) for query in queries)
    return found / len(expected.ids)


def test_lists_are_not_all_looked_at(both: Both) -> None:
    """Else the tests below would show nothing."""
    rows = both.live._state.base.rows
    assert isinstance(rows, InvertedRows)
    assert rows._looked_at * 8 < len(rows.partition.centres)


@given(seed=st.integers(0, 1 << 32), limit=st.sampled_from([1, 10, 11, 40]), radius=st.floats(0.05, 2.0))
@settings(max_examples=15, deadline=None)
def test_what_is_found_is_right(both: Both, seed: int, limit: int, radius: float) -> None:
    rng = np.random.default_rng(seed)
    queries = np.concatenate([clustered(8, rng), near(both.rows[rng.integers(0, len(both.rows), 8)], rng)])
    hits = both.live.search(queries, radius=radius, limit=limit)
    assert_right(both, queries, hits)
    assert (hits.distances <= radius).all()
    expected = both.exact.search(queries, radius=radius, limit=limit)
    assert (np.diff(hits.offsets) <= np.diff(expected.offsets)).all()
    assert recall(expected, hits) >= 0.9  # of a few queries; of many, see below


def test_recall_of_the_ten_nearest(both: Both) -> None:
    rng = np.random.default_rng(9)
    planted = near(both.rows[:300], rng)
    for queries in (clustered(300, rng), planted):
        expected = both.exact.search(queries, radius=2.0, limit=10)
        assert recall(expected, both.live.search(queries, radius=2.0, limit=10)) >= RECALL
    nearest = both.exact.search(planted, radius=0.3, limit=1)
    assert len(nearest.ids) == 300
    assert recall(nearest, both.live.search(planted, radius=0.3, limit=1)) == 1


@pytest.mark.parametrize(("radius", "limit"), [(0.0, None), (0.1, None), (0.4, None), (2.0, COUNT)])
def test_without_a_limit_or_with_one_beyond_all_nothing_is_missed(
    both: Both, radius: float, limit: int | None
) -> None:
    queries = np.concatenate([both.rows[:4], clustered(4, np.random.default_rng(4))])
    expected = both.exact.search(queries, radius=radius, limit=limit)
    actual = both.live.search(queries, radius=radius, limit=limit)
    np.testing.assert_array_equal(actual.offsets, expected.offsets)
    np.testing.assert_array_equal(actual.ids, expected.ids)
    np.testing.assert_array_equal(actual.distances, expected.distances)


def test_dead_rows_hide_no_neighbours(tmp_path: Path) -> None:
    """All of the lists that are looked at first die, and all but the last of the nearest."""
    rng = np.random.default_rng(3)
    rows = clustered(COUNT, rng)
    live = LiveIndex.open(SCHEME, tmp_path, float_approximate_from=1000)
    live.apply([Change(1, np.arange(COUNT), rows)])
    live.fold()
    query = rows[:1]
    by_distance = live.search(query, radius=2.0).ids
    survivors = by_distance[[5000, *range(9000, COUNT)]]
    live.apply([Change(2, np.setdiff1d(by_distance, survivors), None)])
    for limit in (1, 2, 50):
        hits = live.search(query, radius=2.0, limit=limit)
        assert len(hits.ids) == limit
        assert hits.ids[0] == survivors[0]
        assert set(hits.ids.tolist()) <= set(survivors.tolist())
    live.fold()
    assert set(live.search(query, radius=2.0).ids.tolist()) == set(survivors.tolist())
    assert live.search(query, radius=2.0, limit=1).ids.tolist() == survivors[:1].tolist()
