"""Large float indexes: what is kept beside the snapshot, folds, damage, erasure, memory, threads."""

import errno
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.index import backend, inverted, partition, snapshot
from indexers.index.faiss import FlatRows
from indexers.index.inverted import InvertedRows, divided
from indexers.index.live import Change, LiveIndex
from indexers.index.mapped import MappedDescriptors
from indexers.index.partition import Partition

SCHEME = Scheme("test.embedding", 1, 32, Metric.COSINE, SpanUnit.FRAME)
RNG = np.random.default_rng(8)
FROM = 1000


def unit(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


ROWS = unit(RNG.normal(size=(200, 32))[RNG.integers(0, 200, 9000)] + 0.5 * RNG.normal(size=(9000, 32)))


def opened(folder: Path) -> LiveIndex:
    return LiveIndex.open(SCHEME, folder, float_approximate_from=FROM)


def added(sequence: int, *ids: int) -> Change:
    """Id n stands for ``ROWS[n]``."""
    return Change(sequence, np.array(ids, np.int64), ROWS[list(ids)])


def removed(sequence: int, *ids: int) -> Change:
    return Change(sequence, np.array(ids, np.int64), None)


def filled(folder: Path, count: int = 3000) -> LiveIndex:
    index = opened(folder)
    index.apply([added(1, *range(count))])
    index.fold()
    return index


def found(index: LiveIndex, ids: range) -> list[int]:
    """Which of these descriptors the index finds at distance nought, under the right ids."""
    hits = index.search(ROWS[ids.start : ids.stop], radius=0, limit=1)
    return [one for query, one in enumerate(ids) if hits.of(query)[0].tolist() == [one]]


def kept(index: LiveIndex) -> Partition:
    rows = index._state.base.rows
    assert isinstance(rows, InvertedRows)
    return rows.partition


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def kind(index: LiveIndex) -> type:
    return type(index._state.base.rows)


def test_small_indexes_stay_in_memory(tmp_path: Path) -> None:
    index = filled(tmp_path, FROM - 1)
    assert kind(index) is FlatRows
    assert files(tmp_path) == ["00000000000000000001.snapshot"]
    index.apply([added(2, FROM)])
    index.fold()
    assert kind(index) is InvertedRows
    assert not index.has_tables
    assert files(tmp_path) == ["00000000000000000002.lists", "00000000000000000002.snapshot"]
    index.apply([removed(3, 5)])
    index.fold()
    assert kind(index) is FlatRows
    assert files(tmp_path) == ["00000000000000000003.snapshot"]
    assert found(index, range(FROM + 1)) == [one for one in range(FROM + 1) if one not in (5, FROM - 1)]


def test_floats_stay_on_disk(tmp_path: Path) -> None:
    for index in (filled(tmp_path), opened(tmp_path)):
        rows = index._state.base.rows
        assert isinstance(rows.descriptors, MappedDescriptors)
        np.testing.assert_array_equal(rows.descriptors[:], ROWS[:3000])
        np.testing.assert_array_equal(rows.descriptors[1000:1001], ROWS[1000:1001])
        np.testing.assert_array_equal(rows.descriptors[2990:9999], ROWS[2990:3000])
        np.testing.assert_array_equal(rows.descriptors[5:5], ROWS[5:5])
        np.testing.assert_array_equal(rows.descriptors[np.array([7, 7, 2])], ROWS[[7, 7, 2]])
        centres = 2 * kept(index).centres.nbytes
        assert index.stats().resident_bytes - centres <= 3000 * (32 + 8 + 8 + 2) + 1000


def test_folds_carry_lists_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = filled(tmp_path)
    monkeypatch.setattr(inverted, "_trained", None)  # any use of it fails
    before = kept(index)
    index.apply([added(2, *range(5000, 6000)), removed(3, 17, 2999, 5001), added(4, 17)])
    assert index.fold() is True
    after = kept(index)
    np.testing.assert_array_equal(after.centres, before.centres)
    np.testing.assert_array_equal(after.list_of[:17], before.list_of[:17])
    np.testing.assert_array_equal(after.list_of[18:2999], before.list_of[18:2999])
    for live in (index, opened(tmp_path)):
        assert found(live, range(9000)) == [*range(2999), 5000, *range(5002, 6000)]
        np.testing.assert_array_equal(kept(live).list_of, after.list_of)


def test_training_gives_the_same_each_time_and_again_after_doubling(tmp_path: Path) -> None:
    index = filled(tmp_path)
    first, again = kept(index), divided(ROWS[:3000], None)
    np.testing.assert_array_equal(first.centres, again.centres)
    np.testing.assert_array_equal(first.list_of, again.list_of)
    assert first.trained_on == 3000
    index.apply([added(2, *range(3000, 6000))])
    index.fold()
    assert kept(index).trained_on == 3000
    index.apply([added(3, 6000)])
    index.fold()
    assert kept(index).trained_on == 6001
    assert len(kept(index).centres) > len(first.centres)
    index.apply([removed(4, *range(3001))])
    index.fold()
    assert kept(index).trained_on == 3000
    np.testing.assert_array_equal(kept(index).centres, divided(ROWS[3001:6001], None).centres)


def test_no_centre_is_left_of_rows_that_are_gone() -> None:
    """A hundred registrations of one picture make a centre that is its descriptor."""
    rows = ROWS[:3000].copy()
    rows[500:600] = unit(np.ones((1, 32)))
    before = divided(rows, None)
    near = before.centres @ rows[500]
    assert near.max() > 0.9999
    stay = np.r_[:500, 600:3000]
    moved = Partition(
        before.centres, before.lowest, before.width, before.trained_on, before.list_of[stay].copy()
    )
    after = divided(rows[stay], moved)
    assert after.trained_on == before.trained_on
    assert (after.centres @ rows[500]).max() < 0.99
    assert np.bincount(after.list_of, minlength=len(after.centres)).min() >= 8
    assert len(after.centres) < len(before.centres)


@pytest.mark.parametrize("count", [1, 7, 77, 78, 400])
def test_few_rows_and_equal_ones_are_divided(count: int) -> None:
    for rows in (ROWS[:count], np.repeat(ROWS[:1], count, axis=0)):
        made = divided(rows, None)
        assert len(made.list_of) == count
        assert made.list_of.max() < len(made.centres)
        assert np.isfinite(made.centres).all()
        hits = InvertedRows(rows, made).search(rows[:1], radius=2.0, limit=None)
        assert sorted(hits.ids.tolist()) == list(range(count))


def test_a_row_beyond_the_range_of_the_bytes_is_found(tmp_path: Path) -> None:
    index = filled(tmp_path)
    odd = np.zeros((1, 32), np.float32)
    odd[0, 3] = -1.0
    index.apply([Change(2, np.array([9999]), odd)])
    index.fold()
    assert kept(index).lowest[3] > -1.0
    hits = index.search(odd, radius=0, limit=1)
    assert (hits.ids.tolist(), hits.distances.tolist()) == ([9999], [0.0])
    assert index.search(odd, radius=0).ids.tolist() == [9999]


# Damage


def _remove(path: Path) -> None:
    path.unlink()


def _cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _another_kind(path: Path) -> None:
    path.write_bytes(path.with_suffix(".snapshot").read_bytes())


def _of_another_snapshot(path: Path) -> None:
    other = filled(path.parent / "other", 2000)
    path.write_bytes((path.parent / "other" / f"{other.sequence:020d}.lists").read_bytes())


@pytest.mark.parametrize(
    "damage", [_remove, _cut_short, _flip_a_bit, _empty, _another_kind, _of_another_snapshot]
)
def test_missing_or_damaged_lists_are_made_anew(
    tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(damage)
    folder = tmp_path / "index"
    whole = kept(filled(folder))
    path = folder / "00000000000000000001.lists"
    data = path.read_bytes()
    damage(path)
    with caplog.at_level(logging.WARNING):
        again = opened(folder)
    assert ("divided anew" in caplog.text) == (damage is not _remove)
    np.testing.assert_array_equal(kept(again).list_of, whole.list_of)
    assert found(again, range(3000)) == list(range(3000))
    assert path.read_bytes() == data


def test_a_start_uses_what_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    monkeypatch.setattr(backend, "divided", None)  # any use of it fails
    assert found(opened(tmp_path), range(3000)) == list(range(3000))


def test_lists_of_an_older_format_are_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    monkeypatch.setattr(partition, "_FORMAT", 2)
    path = tmp_path / "00000000000000000001.snapshot"
    assert partition.read(path) is None
    opened(tmp_path)
    assert partition.read(path) is not None


def test_lists_that_cannot_be_kept_are_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(partition, "write", full)
        index = filled(tmp_path)
    assert "No space left" in caplog.text
    assert files(tmp_path) == ["00000000000000000001.snapshot"]
    assert found(index, range(3000)) == list(range(3000))
    opened(tmp_path)
    assert files(tmp_path) == ["00000000000000000001.lists", "00000000000000000001.snapshot"]


def test_a_damaged_snapshot_takes_its_lists_with_it(tmp_path: Path) -> None:
    filled(tmp_path)
    _flip_a_bit(tmp_path / "00000000000000000001.snapshot")
    assert len(opened(tmp_path)) == 0
    assert files(tmp_path) == ["00000000000000000001.damaged"]


def test_removed_descriptors_are_in_no_file_after_a_fold(tmp_path: Path) -> None:
    index = filled(tmp_path)
    index.apply([removed(2, 7)])
    assert ROWS[7].tobytes() in (tmp_path / "00000000000000000001.snapshot").read_bytes()
    index.fold()
    assert files(tmp_path) == ["00000000000000000002.lists", "00000000000000000002.snapshot"]
    assert ROWS[7].tobytes() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_rebuilt_index_is_exact_until_the_next_fold(tmp_path: Path) -> None:
    index = filled(tmp_path)
    index.rebuild([[added(1, *range(1000))], [added(2, *range(4000, 6000))], [removed(3, 4000)]], 3)
    assert kind(index) is FlatRows
    assert files(tmp_path) == []
    left = [*range(1000), *range(4001, 6000)]
    assert found(index, range(6000)) == left
    assert index.fold() is True
    assert kind(index) is InvertedRows
    assert found(index, range(6000)) == left


def test_descriptors_may_begin_anywhere_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 13 + ROWS.tobytes())
    with path.open("rb") as file:
        rows = MappedDescriptors(file, 13, ROWS.shape, ROWS.dtype)
    path.unlink()
    for part in (slice(None), slice(3, 5000), np.array([4, 8999]), ROWS[:, 0] > 0):
        np.testing.assert_array_equal(rows[part], ROWS[part])
        assert rows[part].flags.aligned


# Threads


def test_searches_go_on_while_lists_are_trained_and_swapped(tmp_path: Path) -> None:
    index = filled(tmp_path, FROM)
    done = threading.Event()

    def search() -> tuple[int, list[int]]:
        rng = np.random.default_rng(5)
        searches, lost = 0, []
        while not done.is_set():
            known = (index.sequence - 1) * 100 + FROM
            one = int(rng.integers(0, known))
            hits = index.search(ROWS[one : one + 1], radius=0.3, limit=10)
            searches += 1
            if one not in hits.ids and one % 7:
                lost.append(one)
        return searches, lost

    def change() -> None:
        for step in range(70):
            first = FROM + 100 * step
            gone = [one for one in range(first - 100, first) if one % 7 == 0]
            index.apply([added(step + 2, *range(first, first + 100)), removed(step + 2, *gone)])
            if step % 5 == 0:
                index.fold()

    with ThreadPoolExecutor() as pool:
        running = [pool.submit(search) for _ in range(2)]
        try:
            pool.submit(change).result()
        finally:
            done.set()
        results = [one.result() for one in running]
    assert all(searches > 0 for searches, _ in results)
    assert [lost for _, lost in results] == [[], []]
    index.fold()
    assert snapshot.snapshots(tmp_path)[0].name == f"{71:020d}.snapshot"
    assert found(opened(tmp_path), range(8000)) == found(index, range(8000))
