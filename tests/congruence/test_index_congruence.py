"""Every backend gives the hits of `ExactIndex`, to the bit, whatever is added, removed and asked."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.index import Hits, VectorIndex
from indexers.index.contract import selected
from indexers.index.exact import ExactIndex
from indexers.index.faiss import FaissIndex, FlatRows
from indexers.index.inverted import InvertedRows, divided
from indexers.index.keyed import KeyedRows, keyable
from indexers.index.live import Change, LiveIndex
from indexers.index.multi_index import HashedRows
from indexers.index.table import Rows, Table

SHORT_HAMMING = Scheme("test.keys", 1, 32, Metric.HAMMING, SpanUnit.FRAME)
HAMMING = Scheme("test.bits", 1, 64, Metric.HAMMING, SpanUnit.FRAME)
LONG_HAMMING = Scheme("test.longbits", 1, 256, Metric.HAMMING, SpanUnit.FRAME)
COSINE = Scheme("test.floats", 1, 5, Metric.COSINE, SpanUnit.FRAME)


class InMemoryLive:
    """A `LiveIndex` driven as a `VectorIndex`: each call is a change, and every second one folds."""

    def __init__(self, scheme: Scheme, folder: Path, large_from: int) -> None:
        self.scheme = scheme
        self.live = LiveIndex.open(
            scheme, folder, approximate_from=large_from, float_approximate_from=large_from
        )

    def __len__(self) -> int:
        return len(self.live)

    def add(self, ids: npt.NDArray[np.int64], descriptors: npt.NDArray[Any]) -> None:
        self._apply(ids, descriptors)

    def remove(self, ids: npt.NDArray[np.int64]) -> int:
        before = len(self.live)
        self._apply(ids, None)
        return before - len(self.live)

    def search(self, queries: npt.NDArray[Any], *, radius: float, limit: int | None = None) -> Hits:
        return self.live.search(queries, radius=radius, limit=limit)

    def _apply(self, ids: npt.NDArray[np.int64], descriptors: npt.NDArray[Any] | None) -> None:
        self.live.apply([Change(self.live.sequence + 1, ids, descriptors)])
        if self.live.sequence % 2:
            self.live.fold()


def backends(scheme: Scheme, folder: Path) -> list[VectorIndex]:
    found: list[VectorIndex] = [FaissIndex(scheme), InMemoryLive(scheme, folder / "flat", 1 << 40)]
    if scheme.metric is Metric.HAMMING:
        found += [FaissIndex(scheme, HashedRows), InMemoryLive(scheme, folder / "hashed", 1)]
        found += [FaissIndex(scheme, KeyedRows)] if keyable(scheme) else []
    else:  # so few that all lists are looked at, and all rows compared
        found += [FaissIndex(scheme, inverted), InMemoryLive(scheme, folder / "inverted", 1)]
    return found


def inverted(scheme: Scheme, descriptors: npt.NDArray[Any]) -> Rows:
    if len(descriptors) == 0:
        return FlatRows(scheme, descriptors)
    return InvertedRows(descriptors, divided(descriptors, None))


def assert_same(expected: Hits, actual: Hits) -> None:
    np.testing.assert_array_equal(actual.offsets, expected.offsets)
    np.testing.assert_array_equal(actual.ids, expected.ids)
    np.testing.assert_array_equal(actual.distances, expected.distances)
    assert actual.ids.dtype == np.int64
    assert actual.offsets.dtype == np.int64
    assert actual.distances.dtype == np.float32


def clustered(scheme: Scheme, n: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Descriptors around a few centres, with duplicates: near ones, ties and far ones all occur."""
    if scheme.metric is Metric.HAMMING:
        centres = rng.integers(0, 256, (3, scheme.columns), dtype=np.uint8)
        flips = rng.random((n, scheme.dim)) < rng.choice([0.0, 0.02, 0.1, 0.3], (n, 1))
        return np.ascontiguousarray(centres[rng.integers(0, 3, n)] ^ np.packbits(flips, axis=1))
    grid = rng.integers(-2, 3, (n, scheme.dim)).astype(np.float32)
    grid[~grid.any(axis=1), 0] = 1.0
    unit: npt.NDArray[np.float32] = grid / np.linalg.norm(grid, axis=1, keepdims=True)
    return unit


@st.composite
def radii(draw: st.DrawFn, scheme: Scheme) -> float:
    if scheme.metric is Metric.HAMMING:
        whole = draw(st.integers(0, scheme.dim + 2))
        return draw(st.sampled_from([float(whole), whole + 0.5, 0.0, float("inf")]))
    return draw(st.one_of(st.floats(0, 2.5), st.sampled_from([0.0, 0.5, 1.0, 2.0, float("inf")])))


@pytest.mark.parametrize(
    "scheme", [SHORT_HAMMING, HAMMING, LONG_HAMMING, COSINE], ids=lambda scheme: scheme.name
)
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_same_hits_as_exact_after_any_changes(scheme: Scheme, data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32), label="seed"))
    pool = clustered(scheme, 80, rng)
    with tempfile.TemporaryDirectory() as name:
        exact = ExactIndex(scheme)
        others = backends(scheme, Path(name))
        present: set[int] = set()
        for _ in range(data.draw(st.integers(0, 5), label="changes")):
            ids = np.array(
                data.draw(st.lists(st.integers(0, 79), unique=True, max_size=60), label="ids"), np.int64
            )
            if data.draw(st.booleans(), label="removes"):
                counts = {index.remove(ids) for index in [exact, *others]}
                assert counts == {len(present & set(ids.tolist()))}
                present -= set(ids.tolist())
            else:
                ids = np.array([one for one in ids.tolist() if one not in present], np.int64)
                for index in [exact, *others]:
                    index.add(ids, pool[ids])
                present |= set(ids.tolist())
        queries = pool[rng.permutation(80)[: data.draw(st.integers(0, 4), label="queries")]]
        limit = data.draw(st.one_of(st.none(), st.integers(1, 90)), label="limit")
        radius = data.draw(radii(scheme), label="radius")
        expected = exact.search(queries, radius=radius, limit=limit)
        for index in others:
            assert len(index) == len(exact) == len(present)
            assert_same(expected, index.search(queries, radius=radius, limit=limit))
            if len(expected.ids):  # at the distance of a hit: inclusive, and nothing nearer is lost
                boundary = float(rng.choice(expected.distances))
                assert_same(
                    exact.search(queries, radius=boundary, limit=limit),
                    index.search(queries, radius=boundary, limit=limit),
                )


@pytest.mark.parametrize("scheme", [HAMMING, LONG_HAMMING], ids=lambda scheme: scheme.name)
def test_tables_lose_nothing_at_any_distance(scheme: Scheme) -> None:
    """Enough codes that lists are read; planted neighbours at every distance, near ones by the hundred."""
    rng = np.random.default_rng(7)
    codes = rng.integers(0, 256, (30_000, scheme.columns), dtype=np.uint8)
    queries = codes[:64].copy()
    for number in range(64):
        flips = np.zeros(scheme.dim, np.uint8)
        flips[rng.permutation(scheme.dim)[: number // 2]] = 1
        queries[number] ^= np.packbits(flips)
    ids = rng.permutation(90_000)[:30_000].astype(np.int64)
    exact, hashed = ExactIndex(scheme), FaissIndex(scheme, HashedRows)
    exact.add(ids, codes)
    hashed.add(ids, codes)
    nearest = exact.search(queries, radius=33)
    assert set(ids[:64]) <= set(nearest.ids)
    for radius in range(34):
        expected = selected(nearest, nearest.distances <= radius)
        assert_same(expected, hashed.search(queries, radius=radius))


def test_tables_are_read_where_that_is_cheaper() -> None:
    """The flat path must not be what makes the test above pass."""
    codes = np.random.default_rng(3).integers(0, 256, (30_000, 32), dtype=np.uint8)
    rows = HashedRows(LONG_HAMMING, codes)
    rows._flat = None  # type: ignore[assignment]  # any use of it fails
    hits = rows.search(codes[:5].copy(), radius=31, limit=None)
    np.testing.assert_array_equal(hits.ids, np.arange(5))
    with pytest.raises(AttributeError):
        rows.search(codes[:5].copy(), radius=60, limit=None)


def test_keys_are_found_among_many_without_comparing_all() -> None:
    rng = np.random.default_rng(4)
    keys = rng.integers(0, 2**32, 8_000, dtype=np.uint32).view(np.uint8).reshape(-1, 4)
    keys[1000:1100] = keys[7]  # one that many rows hold
    ids = np.arange(8_000, dtype=np.int64)
    queries = np.concatenate([keys[:60], rng.integers(0, 256, (60, 4), dtype=np.uint8)])
    exact = ExactIndex(SHORT_HAMMING)
    exact.add(ids, keys)
    rows = KeyedRows(SHORT_HAMMING, keys)
    rows._flat = None  # type: ignore[assignment]  # any use of it fails
    table = Table(ids, rows, np.array([7, 1005]))
    exact.remove(table.dead)
    for limit in (None, 1, 60, 200):
        assert_same(
            exact.search(queries, radius=0, limit=limit), table.search(queries, radius=0, limit=limit)
        )


def test_many_float_queries_and_hits_agree() -> None:
    """Enough queries that FAISS multiplies matrices, enough hits that they are rechecked in parts."""
    rng = np.random.default_rng(5)
    scheme = Scheme("test.embedding", 1, 256, Metric.COSINE, SpanUnit.FRAME)
    rows = rng.normal(size=(900, 256)).astype(np.float32) + 0.5
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    exact, flat = ExactIndex(scheme), FaissIndex(scheme)
    for index in (exact, flat):
        index.add(np.arange(900), rows)
    for radius, limit in ((0.8, None), (2.0, None), (0.85, 5), (2.0, 5), (0.0, None)):
        assert_same(
            exact.search(rows[:40], radius=radius, limit=limit),
            flat.search(rows[:40], radius=radius, limit=limit),
        )


def test_float_ties_beyond_the_first_pass_are_decided_by_id() -> None:
    """More rows tie at the edge than are fetched at once; ids run against the order of the rows."""
    rng = np.random.default_rng(6)
    rows = clustered(COSINE, 300, rng)
    rows[100:200] = rows[0]
    rows[200:250] = -rows[0]
    ids = np.arange(300)[::-1].copy()
    exact = ExactIndex(COSINE)
    others: list[VectorIndex] = [FaissIndex(COSINE), FaissIndex(COSINE, inverted)]
    for index in [exact, *others]:
        index.add(ids, rows)
    for limit in (1, 7, 99, 101, 250, 299, 300):
        for radius in (0.0, 0.5, 2.0):
            expected = exact.search(rows[[0, 210, 299]], radius=radius, limit=limit)
            for other in others:
                assert_same(expected, other.search(rows[[0, 210, 299]], radius=radius, limit=limit))
