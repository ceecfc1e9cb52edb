"""The live index: replay, folding, crashes, damage, full disks, erasure, threads."""

import errno
import logging
import os
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from indexers.errors import FingerprintError, SnapshotError
from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.index import snapshot
from indexers.index.live import Change, LiveIndex
from indexers.index.multi_index import HashedRows

SCHEME = Scheme("test.bits", 1, 256, Metric.HAMMING, SpanUnit.FRAME)
RNG = np.random.default_rng(11)
CODES: npt.NDArray[np.uint8] = RNG.integers(0, 256, (5000, 32), dtype=np.uint8)


def added(sequence: int, *ids: int) -> Change:
    """Id n stands for ``CODES[n]``."""
    return Change(sequence, np.array(ids, np.int64), CODES[list(ids)])


def removed(sequence: int, *ids: int) -> Change:
    return Change(sequence, np.array(ids, np.int64), None)


def found(index: LiveIndex, *ids: int) -> list[int]:
    """Which of these descriptors the index finds, under the right ids."""
    hits = index.search(CODES[list(ids)], radius=0)
    return [one for query, one in enumerate(ids) if hits.of(query)[0].tolist() == [one]]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_starts_empty_in_a_new_folder(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path / "deep" / "index")
    assert (len(index), index.sequence, index.snapshot_sequence) == (0, 0, 0)
    assert found(index, 1) == []
    assert index.fold() is False
    assert files(tmp_path / "deep" / "index") == []


def test_fold_reopen_and_replay(tmp_path: Path) -> None:
    changes = [added(1, 1, 2, 3), removed(2, 2), added(3, 4), removed(4, 1, 99), added(5, 2), added(7, 9)]
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply(changes[:3])
    assert index.fold() is True
    assert (index.snapshot_sequence, files(tmp_path)) == (3, ["00000000000000000003.snapshot"])
    assert index.fold() is False
    index.apply(changes[3:5])
    assert (index.sequence, found(index, 1, 2, 3, 4)) == (5, [2, 3, 4])

    again = LiveIndex.open(SCHEME, tmp_path)
    assert (again.sequence, again.snapshot_sequence, found(again, 1, 2, 3, 4)) == (3, 3, [1, 3, 4])
    for _ in range(2):  # a replay that begins too early, and one that comes twice
        again.apply(changes)
        assert (again.sequence, len(again), found(again, 1, 2, 3, 4, 9)) == (7, 4, [2, 3, 4, 9])
    again.fold()
    assert found(LiveIndex.open(SCHEME, tmp_path), 1, 2, 3, 4, 9) == [2, 3, 4, 9]


def test_changes_of_one_sequence_number_are_all_applied(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1, 2), removed(1, 1), added(1, 3), removed(1, 3), added(1, 3)])
    assert found(index, 1, 2, 3) == [2, 3]


def test_a_wrong_change_leaves_all_as_it_was(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1)])
    index.fold()
    index.apply([added(2, 2)])
    short = Change(4, np.array([5]), np.zeros((1, 8), np.uint8))
    for wrong, error in (
        (added(4, 2), ValueError),
        (added(4, 1), ValueError),
        (added(4, 8, 8), ValueError),
        (added(3, 8), ValueError),
        (short, FingerprintError),
    ):
        with pytest.raises(error):
            index.apply([removed(4, 1, 2), added(4, 7), removed(4, 7), added(4, 1, 2), wrong])
        assert (index.sequence, len(index), found(index, 1, 2, 7, 8)) == (2, 2, [1, 2])
    index.apply([added(3, 7), removed(4, 2)])
    assert found(index, 1, 2, 7) == [1, 7]


def test_advance_moves_the_sequence_alone(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.advance(5)
    index.advance(4)
    assert index.sequence == 5
    assert index.fold() is False
    index.apply([added(5, 1), added(6, 2)])
    assert found(index, 1, 2) == [2]
    index.advance(9)
    index.fold()
    assert index.snapshot_sequence == 9


def test_stats(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    assert index.stats().oldest_unfolded_seconds == 0
    index.apply([added(1, *range(100))])
    index.fold()
    index.apply([removed(2, 5, 6), added(3, 200, 201), removed(4, 201)])
    stats = index.stats()
    assert (stats.descriptors, stats.delta, stats.tombstones) == (99, 2, 3)
    assert (stats.snapshot_sequence, stats.sequence) == (1, 4)
    assert stats.oldest_unfolded_seconds > 0
    assert stats.resident_bytes >= 102 * 40
    index.fold()
    folded = index.stats()
    assert (folded.descriptors, folded.delta, folded.tombstones) == (99, 0, 0)
    assert folded.oldest_unfolded_seconds == 0
    assert folded.resident_bytes < 99 * 40 + 1000


def test_limit_reaches_past_any_number_of_tombstones(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, *range(2000))])
    index.fold()
    index.apply([added(2, *range(2000, 3000))])
    query = CODES[:1]
    all_hits = index.search(query, radius=256).of(0)[0].tolist()
    dead = all_hits[:1200] + all_hits[1201:2500]
    index.apply([removed(3, *dead)])
    living = [all_hits[1200], *all_hits[2500:]]
    for limit in (1, 2, 10, 499, 600):
        assert index.search(query, radius=256, limit=limit).ids.tolist() == living[:limit]


def test_large_bases_are_searched_through_tables(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path, approximate_from=1000)
    index.apply([added(1, *range(999))])
    index.fold()
    assert not isinstance(index._state.base.rows, HashedRows)
    index.apply([added(2, *range(999, 3000)), removed(2, 7)])
    index.fold()
    assert isinstance(index._state.base.rows, HashedRows)
    index.apply([removed(3, 8), added(3, 3000)])
    assert found(index, *range(3001)) == [one for one in range(3001) if one not in (7, 8)]
    assert isinstance(LiveIndex.open(SCHEME, tmp_path, approximate_from=9)._state.base.rows, HashedRows)


def test_floats_survive_as_they_are(tmp_path: Path) -> None:
    scheme = Scheme("test.floats", 1, 8, Metric.COSINE, SpanUnit.SECOND, model_sha256="ab" * 32)
    rows = RNG.normal(size=(50, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index = LiveIndex.open(scheme, tmp_path)
    index.apply([Change(1, np.arange(50), rows), Change(2, np.array([3]), None)])
    index.fold()
    again = LiveIndex.open(scheme, tmp_path, approximate_from=1)
    assert again.search(rows, radius=0).ids.tolist() == [one for one in range(50) if one != 3]


# Crashes and damage


def test_crash_before_the_rename_leaves_the_old_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1)])
    index.fold()
    index.apply([added(2, 2), removed(2, 1)])

    class PowerCut(BaseException):
        pass

    def cut(*_: object, **__: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", cut)
        patched.setattr(Path, "unlink", cut)  # a dead process does not clean up
        with pytest.raises(PowerCut):
            index.fold()
    assert files(tmp_path) == ["00000000000000000001.snapshot", "00000000000000000002.writing"]
    again = LiveIndex.open(SCHEME, tmp_path)
    assert files(tmp_path) == ["00000000000000000001.snapshot"]
    assert (again.sequence, found(again, 1, 2)) == (1, [1])


def test_crash_after_the_rename_leaves_the_new_snapshot_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1)])
    index.fold()
    index.apply([added(2, 2), removed(2, 1)])
    with monkeypatch.context() as patched:
        patched.setattr(
            snapshot, "delete_others", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "cut"))
        )
        with pytest.raises(OSError, match="cut"):
            index.fold()
    assert len(files(tmp_path)) == 2
    again = LiveIndex.open(SCHEME, tmp_path)
    assert files(tmp_path) == ["00000000000000000002.snapshot"]
    assert found(again, 1, 2) == [2]


def _cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _flip_the_length(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[43] ^= 0x80
    path.write_bytes(data)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _another_file(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04" * 100)


@pytest.mark.parametrize("damage", [_cut_short, _flip_a_bit, _flip_the_length, _empty, _another_file])
def test_a_damaged_snapshot_is_set_aside_for_the_next_older(
    tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(damage)
    old = tmp_path / "00000000000000000001.snapshot"
    new = tmp_path / "00000000000000000002.snapshot"
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1)])
    index.fold()
    kept = old.read_bytes()
    index.apply([added(2, 2)])
    index.fold()
    old.write_bytes(kept)
    damage(new)
    with caplog.at_level(logging.WARNING):
        again = LiveIndex.open(SCHEME, tmp_path)
    assert "damaged" in caplog.text
    assert (again.sequence, found(again, 1, 2)) == (1, [1])
    assert files(tmp_path) == [old.name, "00000000000000000002.damaged"]

    damage(old)
    empty = LiveIndex.open(SCHEME, tmp_path)
    assert (empty.sequence, len(empty)) == (0, 0)
    empty.apply([added(1, 1), added(2, 2)])
    empty.fold()
    assert files(tmp_path) == [new.name]
    assert found(LiveIndex.open(SCHEME, tmp_path), 1, 2) == [1, 2]


def test_snapshot_of_another_scheme_is_refused_and_kept(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1)])
    index.fold()
    for other in (
        Scheme("test.bits", 2, 256, Metric.HAMMING, SpanUnit.FRAME),
        Scheme("test.bits", 1, 512, Metric.HAMMING, SpanUnit.FRAME),
        Scheme("test.bits", 1, 256, Metric.HAMMING, SpanUnit.FRAME, model_sha256="00" * 32),
    ):
        with pytest.raises(SnapshotError, match="check the folder"):
            LiveIndex.open(other, tmp_path)
    assert found(LiveIndex.open(SCHEME, tmp_path), 1) == [1]


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_full_disk_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1)])
    index.fold()
    index.apply([added(2, 2), removed(3, 1)])

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = index.stats()
    with monkeypatch.context() as patched:
        patched.setattr(os if call == "fsync" else Path, call, full)
        with pytest.raises(OSError, match="No space left"):
            index.fold()
    after = index.stats()
    assert (after.delta, after.tombstones, after.snapshot_sequence) == (before.delta, before.tombstones, 1)
    assert after.oldest_unfolded_seconds >= before.oldest_unfolded_seconds > 0
    assert files(tmp_path) == ["00000000000000000001.snapshot"]
    assert found(index, 1, 2) == [2]
    index.apply([added(4, 4)])
    assert index.fold() is True
    assert found(LiveIndex.open(SCHEME, tmp_path), 1, 2, 4) == [2, 4]


def test_removed_descriptors_are_in_no_file_after_a_fold(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1, 2), added(2, 3)])
    index.fold()
    (tmp_path / "00000000000000000000.damaged").write_bytes(CODES[1].tobytes())
    index.apply([added(3, 4), removed(4, 1, 4)])
    assert CODES[1].tobytes() in _all_bytes(tmp_path)
    index.fold()
    data = _all_bytes(tmp_path)
    assert [one for one in (1, 2, 3, 4) if CODES[one].tobytes() in data] == [2, 3]


def _all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


# Threads


def test_changes_during_a_fold_are_carried_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1, 2, 3, 4)])
    index.fold()
    index.apply([added(2, 10, 11, 12), removed(3, 1, 10)])
    write = snapshot.write

    def write_while_changing(folder: Path, scheme: Scheme, taken: snapshot.Snapshot, *, source: str) -> Path:
        path = write(folder, scheme, taken, source=source)
        index.apply([removed(4, 2, 11), added(5, 20, 21), removed(6, 20), added(7, 2, 1), removed(7, 1)])
        assert index.stats().oldest_unfolded_seconds > 0
        return path

    with monkeypatch.context() as patched:
        patched.setattr(snapshot, "write", write_while_changing)
        assert index.fold() is True
    every = (1, 2, 3, 4, 10, 11, 12, 20, 21)
    assert (index.snapshot_sequence, index.sequence) == (3, 7)
    assert found(index, *every) == [2, 3, 4, 12, 21]
    assert index.stats().oldest_unfolded_seconds > 0
    index.apply([removed(8, 21, 12)])
    assert found(index, *every) == [2, 3, 4]
    assert found(LiveIndex.open(SCHEME, tmp_path), *every) == [2, 3, 4, 11, 12]
    assert index.fold() is True
    assert found(LiveIndex.open(SCHEME, tmp_path), *every) == [2, 3, 4]


PAIRS = 500


def _change_pairs(index: LiveIndex) -> None:
    """Add pair after pair and remove some later.

    The change that adds pair p has sequence 2p + 1, the one that may remove pair p - 20 has 2p + 2.
    """
    for pair in range(PAIRS):
        index.apply([added(2 * pair + 1, 2 * pair, 2 * pair + 1)])
        if pair >= 20 and pair % 3 == 0:
            index.apply([removed(2 * pair + 2, 2 * pair - 40, 2 * pair - 39)])


def _pair_stays(pair: int) -> bool:
    return pair >= PAIRS - 20 or (pair + 20) % 3 != 0


def _search_pairs(index: LiveIndex, done: threading.Event) -> list[str]:
    rng = np.random.default_rng(4)
    failures = []
    while not done.is_set():
        known = index.sequence // 2  # these pairs were added
        pair = int(rng.integers(0, known + 1))
        count = len(index.search(CODES[2 * pair : 2 * pair + 2], radius=0).ids)
        if count == 1 or (count == 0 and _pair_stays(pair) and pair < known):
            failures.append(f"pair {pair} of {known}: {count} found")
    return failures


def _fold_again_and_again(index: LiveIndex, done: threading.Event) -> list[str]:
    while not done.is_set():
        index.fold()
    return []


def test_searches_see_whole_changes_while_folding_and_changing(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    done = threading.Event()
    with ThreadPoolExecutor() as pool:
        running = [
            pool.submit(one, index, done) for one in (_fold_again_and_again, _search_pairs, _search_pairs)
        ]
        try:
            pool.submit(_change_pairs, index).result()
        finally:
            done.set()
        assert [one.result() for one in running] == [[], [], []]
    index.fold()
    stay = [one for one in range(2 * PAIRS) if _pair_stays(one // 2)]
    for live in (index, LiveIndex.open(SCHEME, tmp_path)):
        assert found(live, *range(2 * PAIRS)) == stay


# Another database


def test_a_snapshot_of_another_database_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = LiveIndex.open(SCHEME, tmp_path, source="one")
    index.apply([added(1, 1)])
    index.fold()
    assert found(LiveIndex.open(SCHEME, tmp_path, source="one"), 1) == [1]
    with caplog.at_level(logging.WARNING):
        other = LiveIndex.open(SCHEME, tmp_path, source="two")
    assert "another database, one instead of two" in caplog.text
    assert (other.sequence, found(other, 1), files(tmp_path)) == (0, [], [])


def test_a_rebuilt_index_holds_the_replay_alone(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1, 2), added(5, 3)])
    index.fold()
    index.apply([added(6, 4), removed(7, 1)])
    index.rebuild(iter([[added(1, 1, 5)], [added(2, 6), removed(3, 5)]]), 4)
    assert (index.sequence, index.snapshot_sequence, files(tmp_path)) == (4, 0, [])
    assert found(index, 1, 2, 3, 4, 5, 6) == [1, 6]
    index.apply([added(5, 4), removed(6, 6)])
    assert found(index, 1, 2, 3, 4, 5, 6) == [1, 4]
    assert index.fold() is True
    assert found(LiveIndex.open(SCHEME, tmp_path), 1, 2, 3, 4, 5, 6) == [1, 4]


def test_a_replay_that_fails_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1)])
    index.fold()
    with pytest.raises(ValueError, match="already"):
        index.rebuild([[added(1, 2)], [added(2, 2)]], 2)
    assert (index.sequence, found(index, 1, 2), files(tmp_path)) == (
        1,
        [1],
        ["00000000000000000001.snapshot"],
    )


def test_old_files_that_cannot_be_deleted_are_deleted_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    index.apply([added(1, 1, 2)])
    index.fold()
    index.apply([removed(2, 1)])

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refused)
        with pytest.raises(OSError, match="Input/output"):
            index.fold()
        with pytest.raises(OSError, match="Input/output"):
            index.tidy()
    assert index.snapshot_sequence == 2
    assert CODES[1].tobytes() in _all_bytes(tmp_path)
    index.tidy()
    assert files(tmp_path) == ["00000000000000000002.snapshot"]
    assert CODES[1].tobytes() not in _all_bytes(tmp_path)
    index.tidy()
    assert found(index, 1, 2) == [2]


def test_many_near_descriptors_take_little_memory_where_few_are_asked_for(tmp_path: Path) -> None:
    index = LiveIndex.open(SCHEME, tmp_path)
    same = np.tile(CODES[:1], (100_000, 1))
    index.apply([Change(1, np.arange(100_000)[::-1].copy(), same)])
    tracemalloc.start()
    hits = index.search(np.tile(CODES[:1], (128, 1)), radius=31, limit=5)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert hits.ids.tolist() == [*range(5)] * 128
    assert np.diff(hits.offsets).tolist() == [5] * 128
    assert peak < 200 * 1024 * 1024  # all hits at once: eight times as much
