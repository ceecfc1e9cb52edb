"""What `VectorIndex` promises, kept by every backend: subclass, say how to make one, inherit the tests."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from indexers.errors import FingerprintError
from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.index import Hits, VectorIndex
from indexers.index.exact import ExactIndex
from indexers.index.faiss import FaissIndex, FlatRows
from indexers.index.inverted import InvertedRows, divided
from indexers.index.live import Change, LiveIndex
from indexers.index.multi_index import HashedRows
from indexers.index.table import Rows

BITS = Scheme("test.bits", 1, 32, Metric.HAMMING, SpanUnit.FRAME)
FLOATS = Scheme("test.floats", 1, 3, Metric.COSINE, SpanUnit.FRAME)


def codes(*words: int) -> npt.NDArray[np.uint8]:
    return np.array(words, ">u4").view(np.uint8).reshape(-1, 4)


def ids(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, np.int64)


def listed(hits: Hits, query: int = 0) -> list[tuple[int, float]]:
    found, distances = hits.of(query)
    return list(zip(found.tolist(), distances.tolist(), strict=True))


class Searching(ABC):
    """Of an index of bits that holds 10: 0b0, 20: 0b1, 30: 0b11, 7: 0b111, 40: all ones."""

    @abstractmethod
    @pytest.fixture
    def filled(self) -> VectorIndex | LiveIndex: ...

    def test_radius_is_inclusive(self, filled: VectorIndex) -> None:
        assert listed(filled.search(codes(0), radius=2)) == [(10, 0.0), (20, 1.0), (30, 2.0)]
        assert listed(filled.search(codes(0), radius=1.99)) == [(10, 0.0), (20, 1.0)]
        assert listed(filled.search(codes(0), radius=0)) == [(10, 0.0)]

    def test_any_radius_beyond_the_length_finds_all(self, filled: VectorIndex) -> None:
        for radius in (32, 1e12, float("inf")):
            assert len(filled.search(codes(0), radius=radius).ids) == len(filled) == 5

    def test_limit_keeps_the_nearest_and_of_ties_the_smallest_ids(self, filled: VectorIndex) -> None:
        tied = codes(0b101)  # distance 1 to 7 and 20, 2 to 10 and 30
        for radius in (8, 31):
            assert listed(filled.search(tied, radius=radius, limit=1)) == [(7, 1.0)]
            assert listed(filled.search(tied, radius=radius, limit=3)) == [(7, 1.0), (20, 1.0), (10, 2.0)]
            assert len(filled.search(tied, radius=radius, limit=99).ids) == 5 - (radius < 29)

    def test_each_query_has_its_own_hits(self, filled: VectorIndex) -> None:
        hits = filled.search(codes(0, 0xFFFF0000, 0xFFFFFFFF), radius=0)
        assert hits.offsets.tolist() == [0, 1, 1, 2]
        assert [listed(hits, query) for query in range(3)] == [[(10, 0.0)], [], [(40, 0.0)]]

    def test_no_queries_no_hits(self, filled: VectorIndex) -> None:
        assert filled.search(codes(), radius=5).offsets.tolist() == [0]

    @pytest.mark.parametrize("radius", [float("nan"), -1.0, float("-inf")])
    def test_refuses_a_radius_that_is_none(self, filled: VectorIndex, radius: float) -> None:
        with pytest.raises(ValueError, match="radius"):
            filled.search(codes(0), radius=radius)

    @pytest.mark.parametrize("limit", [0, -1])
    def test_refuses_a_limit_below_one(self, filled: VectorIndex, limit: int) -> None:
        with pytest.raises(ValueError, match="limit"):
            filled.search(codes(0), radius=1, limit=limit)

    @pytest.mark.parametrize(
        "queries", [np.zeros((1, 5), np.uint8), np.zeros(4, np.uint8), np.zeros((1, 4), np.float32)]
    )
    def test_refuses_queries_of_another_scheme(self, filled: VectorIndex, queries: npt.NDArray[Any]) -> None:
        with pytest.raises(FingerprintError, match=r"test\.bits\.v1"):
            filled.search(queries, radius=1)

    def test_takes_read_only_and_strided_queries(self, filled: VectorIndex) -> None:
        queries = np.repeat(codes(0, 1), 2, axis=0)
        queries.flags.writeable = False
        assert listed(filled.search(queries[::2], radius=0), 1) == [(20, 0.0)]


class Changing(Searching):
    """An index that also has `add` and `remove`."""

    @abstractmethod
    def make(self, scheme: Scheme) -> VectorIndex: ...

    @pytest.fixture
    def filled(self) -> VectorIndex:
        index = self.make(BITS)
        index.add(ids(10, 30, 20), codes(0, 0b11, 0b1))
        index.add(ids(7, 40), codes(0b111, 0xFFFFFFFF))
        return index

    def test_empty_index_finds_nothing(self) -> None:
        index = self.make(BITS)
        assert len(index) == 0
        assert index.search(codes(0, 1), radius=32, limit=3).offsets.tolist() == [0, 0, 0]
        index.add(ids(), codes())
        assert len(index) == 0

    @pytest.mark.parametrize("wrong", [ids(50, 50), ids(50, 7), ids(50, -1), ids(50), ids(50, 51, 52)])
    def test_refuses_ids_and_adds_nothing(self, filled: VectorIndex, wrong: npt.NDArray[np.int64]) -> None:
        with pytest.raises(ValueError, match="id"):
            filled.add(wrong, codes(5, 6))
        assert len(filled) == 5
        assert len(filled.search(codes(5), radius=0).ids) == 0

    @pytest.mark.parametrize("wrong", [np.zeros((1, 5), np.uint8), np.zeros((1, 4), np.float32)])
    def test_refuses_descriptors_and_adds_nothing(self, filled: VectorIndex, wrong: npt.NDArray[Any]) -> None:
        with pytest.raises(FingerprintError):
            filled.add(ids(50), wrong)
        assert len(filled) == 5

    def test_removed_is_not_found(self, filled: VectorIndex) -> None:
        assert filled.remove(ids(10, 7, 999, 10)) == 2
        assert listed(filled.search(codes(0), radius=3)) == [(20, 1.0), (30, 2.0)]
        assert filled.remove(ids(10)) == 0
        assert filled.remove(ids()) == 0
        assert len(filled) == 3

    def test_removed_can_come_back_as_something_else(self, filled: VectorIndex) -> None:
        filled.remove(ids(10))
        filled.add(ids(10), codes(0xF0F0))
        assert listed(filled.search(codes(0), radius=0)) == []
        assert listed(filled.search(codes(0xF0F0), radius=0)) == [(10, 0.0)]

    def test_does_not_keep_the_arrays_of_the_caller(self) -> None:
        index = self.make(BITS)
        mine, names = codes(0), ids(1)
        index.add(names, mine)
        mine[:], names[:] = 255, 9
        assert listed(index.search(codes(0), radius=0)) == [(1, 0.0)]


class ChangingFloats(ABC):
    """An index of unit vectors."""

    @abstractmethod
    def make(self, scheme: Scheme) -> VectorIndex: ...

    def test_cosine_distance_and_inclusive_radius(self) -> None:
        index = self.make(FLOATS)
        axes = np.eye(3, dtype=np.float32)
        index.add(ids(1, 2, 3), np.stack([axes[0], axes[1], -axes[0]]))
        assert listed(index.search(axes[:1], radius=2)) == [(1, 0.0), (2, 1.0), (3, 2.0)]
        assert listed(index.search(axes[:1], radius=1)) == [(1, 0.0), (2, 1.0)]
        assert listed(index.search(axes[:1], radius=0.999)) == [(1, 0.0)]
        assert listed(index.search(axes[:1], radius=float("inf"), limit=2)) == [(1, 0.0), (2, 1.0)]

    def test_a_unit_vector_is_at_distance_nought_from_itself(self) -> None:
        rows = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        index = self.make(FLOATS)
        index.add(np.arange(50), rows)
        hits = index.search(rows, radius=0)
        assert hits.ids.tolist() == list(range(50))

    @pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 2.0])
    def test_refuses_what_is_no_unit_vector(self, value: float) -> None:
        index = self.make(FLOATS)
        row = np.array([[value, 0, 0]], np.float32)
        with pytest.raises(FingerprintError, match="normalised"):
            index.add(ids(1), row)
        with pytest.raises(FingerprintError, match="normalised"):
            index.search(row, radius=1)


class TestExactIndex(Changing, ChangingFloats):
    def make(self, scheme: Scheme) -> VectorIndex:
        return ExactIndex(scheme)


class TestFaissIndex(Changing, ChangingFloats):
    def make(self, scheme: Scheme) -> VectorIndex:
        return FaissIndex(scheme)


class TestHashedIndex(Changing):
    def make(self, scheme: Scheme) -> VectorIndex:
        return FaissIndex(scheme, HashedRows)


class TestInvertedIndex(ChangingFloats):
    def make(self, scheme: Scheme) -> VectorIndex:
        return FaissIndex(scheme, inverted)


def inverted(scheme: Scheme, descriptors: npt.NDArray[Any]) -> Rows:
    if len(descriptors) == 0:
        return FlatRows(scheme, descriptors)
    return InvertedRows(descriptors, divided(descriptors, None))


class OnDisk(Searching):
    """A live index in a folder of the test's."""

    @pytest.fixture(autouse=True)
    def _in_a_folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path


class TestLiveIndexInMemory(OnDisk):
    @pytest.fixture
    def filled(self) -> LiveIndex:
        return fill(LiveIndex.open(BITS, self.folder))


class TestLiveIndexFolded(OnDisk):
    @pytest.fixture
    def filled(self) -> LiveIndex:
        index = fill(LiveIndex.open(BITS, self.folder))
        index.fold()
        return index


class TestLiveIndexReopenedWithTables(OnDisk):
    @pytest.fixture
    def filled(self) -> LiveIndex:
        fill(LiveIndex.open(BITS, self.folder)).fold()
        return LiveIndex.open(BITS, self.folder, approximate_from=1)


def fill(index: LiveIndex) -> LiveIndex:
    """Descriptors that live in the base and in the delta, and dead ones in each."""
    index.apply([Change(1, ids(10, 30, 50), codes(0, 0b11, 0))])
    index.fold()
    index.apply([Change(2, ids(50), None), Change(3, ids(7, 40, 60), codes(0b111, 0xFFFFFFFF, 0))])
    index.apply([Change(4, ids(60), None), Change(4, ids(20), codes(0b1))])
    return index
