"""Store and indexes in step: what was committed is found, whatever fails in between."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from indexers.index import snapshot
from indexers.index.live import LiveIndex
from service import catalogue as module
from service.catalogue import Catalogue, Folding
from service.domain import Work
from service.errors import AlreadyExistsError, BusyError, StaleError, StorageFullError
from service.metrics import Metrics
from service.store import Store, Transaction
from service.tracing import NoTracer
from tests.contract.store_values import BITS, FLOATS, SCHEMES, fingerprint, new_reference, new_work

FOLDING = Folding(
    after_changes=1000,
    after_seconds=1000,
    approximate_from=10**9,
    float_approximate_from=10**9,
    response_hours=24,
)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'copyhound.db'}"


@pytest.fixture
def opened(url: str) -> Iterator[Store]:
    store = Store.open(url, SCHEMES)
    yield store
    store.close()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here waits for long."""
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.001)


def open_catalogue(store: Store, folder: Path, folding: Folding = FOLDING) -> Catalogue:
    return Catalogue.open(store, folder / "index", SCHEMES, folding, Metrics(NoTracer()))


@asynccontextmanager
async def started(store: Store, folder: Path) -> AsyncIterator[Catalogue]:
    catalogue = open_catalogue(store, folder)
    await catalogue.start()
    try:
        yield catalogue
    finally:
        await catalogue.close()


def create(store: Store, *seeds: int) -> list[Work]:
    works = []
    for seed in seeds:
        with store.transaction() as transaction:
            works.append(transaction.create_work(new_work(), [new_reference(seed, 1, 1)]))
    return works


def delete(store: Store, work: Work) -> None:
    with store.transaction() as transaction:
        transaction.delete_work(work.id, revision=None)


def found(catalogue: Catalogue, *seeds: int) -> list[int]:
    """Which of these works' descriptors the index of `BITS` holds."""
    index = catalogue.indexes[BITS.id]
    return [
        seed
        for seed in seeds
        if len(index.search(fingerprint(BITS, seed).descriptors, radius=0).ids)  # 64 random bits
    ]


def adding(seed: int) -> Any:
    return lambda transaction: transaction.create_work(new_work(str(seed)), [new_reference(seed, 1, 1)])


# A commit and what follows it


async def test_what_is_durable_is_never_reported_as_a_failure(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([MemoryError(), BusyError("x"), MemoryError(), BusyError("y")])
    apply = LiveIndex.apply

    def failing(index: LiveIndex, changes: Any) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure
        apply(index, changes)

    async with started(opened, tmp_path) as catalogue:
        monkeypatch.setattr(LiveIndex, "apply", failing)
        works = await asyncio.gather(*(catalogue.write(adding(seed)) for seed in range(1, 6)))
        assert found(catalogue, *range(1, 7)) == [1, 2, 3, 4, 5]
        assert catalogue.sequence == works[-1].sequence == opened.sequence() == 5
        assert next(failures, None) is None


async def test_a_service_that_stops_does_not_wait_for_an_index_for_ever(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise MemoryError

    async with started(opened, tmp_path) as catalogue:
        with monkeypatch.context() as patched:
            patched.setattr(LiveIndex, "apply", failing)
            writing = asyncio.create_task(catalogue.write(adding(1)))
            while opened.sequence() == 0:  # noqa: ASYNC110 - the database gives no event
                await asyncio.sleep(0)
            await catalogue.close()
            assert (await writing).sequence == 1
    assert found(open_catalogue(opened, tmp_path), 1) == [1]


async def test_an_error_of_the_whole_commit_is_told_to_each_caller_alone(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(transaction: Transaction) -> None:
        raise StorageFullError("full", disk="1")

    async with started(opened, tmp_path) as catalogue:
        monkeypatch.setattr(Transaction, "finish", failing)
        errors: list[Any] = await asyncio.gather(
            *(catalogue.write(adding(seed)) for seed in range(4)), return_exceptions=True
        )
    assert [(type(error), str(error), error.metadata["disk"]) for error in errors] == [
        (StorageFullError, "full", "1")
    ] * 4
    assert len({id(error) for error in errors}) == 4


async def test_one_bad_change_never_sinks_the_others(opened: Store, tmp_path: Path) -> None:
    async with started(opened, tmp_path) as catalogue:
        outcomes = await asyncio.gather(
            *(catalogue.write(adding(seed)) for seed in (1, 2, 1, 3)), return_exceptions=True
        )
        assert [isinstance(outcome, AlreadyExistsError) for outcome in outcomes] == [0, 0, 1, 0]
        assert found(catalogue, 1, 2, 3) == [1, 2, 3]


async def test_changes_that_nobody_waits_for_any_more_are_not_committed(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = []
    transaction = Store.transaction

    def counting(store: Store) -> Any:
        commits.append(store)
        return transaction(store)

    monkeypatch.setattr(Store, "transaction", counting)
    async with started(opened, tmp_path) as catalogue:
        writing = [asyncio.create_task(catalogue.write(adding(seed))) for seed in range(3)]
        await asyncio.sleep(0)
        for task in writing:
            task.cancel()
        assert all(isinstance(one, asyncio.CancelledError) for one in await _gathered(writing))
    assert (commits, opened.sequence()) == ([], 0)


async def _gathered(tasks: list[asyncio.Task[Any]]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_work_of_a_newer_version_can_be_deleted(opened: Store, url: str, tmp_path: Path) -> None:
    (work,) = create(opened, 1)
    known = {BITS.id: BITS}
    older = Store.open(url, known)
    catalogue = Catalogue.open(older, tmp_path / "index", known, FOLDING, Metrics(NoTracer()))
    await catalogue.start()
    deleted = await catalogue.write(lambda transaction: transaction.delete_work(work.id, revision=None))
    assert (deleted, catalogue.sequence, found(catalogue, 1)) == (2, 2, [])
    await catalogue.close()
    older.close()


# Another database, or another state of it


def put_back(path: Path, sequence: int) -> None:
    """Take the database back to an earlier state, as a restored backup does."""
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM fingerprints WHERE sequence > ?", (sequence,))
        connection.execute("UPDATE counters SET sequence = ?", (sequence,))
        connection.execute("UPDATE schemes SET next_id = ?", (sequence,))
    connection.close()


def test_an_index_of_another_database_is_built_anew(opened: Store, url: str, tmp_path: Path) -> None:
    create(opened, 1, 2, 3)
    before = open_catalogue(opened, tmp_path)
    assert all(before.fold(scheme) for scheme in SCHEMES)
    other = Store.open(url.replace("copyhound", "other"), SCHEMES)
    create(other, 4, 5, 6, 7)
    after = open_catalogue(other, tmp_path)
    assert found(after, *range(8)) == [4, 5, 6, 7]
    assert snapshot.snapshots(tmp_path / "index" / BITS.id) == []
    other.close()


def test_a_database_that_was_put_back_is_noticed_at_the_start(opened: Store, tmp_path: Path) -> None:
    create(opened, 1, 2, 3)
    before = open_catalogue(opened, tmp_path)
    assert all(before.fold(scheme) for scheme in SCHEMES)
    put_back(tmp_path / "copyhound.db", 1)
    after = open_catalogue(opened, tmp_path)
    assert (after.sequence, found(after, 1, 2, 3)) == (1, [1])
    assert snapshot.snapshots(tmp_path / "index" / BITS.id) == []


def test_a_database_that_is_put_back_is_noticed_while_running(opened: Store, tmp_path: Path) -> None:
    create(opened, 1, 2, 3)
    catalogue = open_catalogue(opened, tmp_path)
    put_back(tmp_path / "copyhound.db", 1)
    catalogue.refresh()
    assert (catalogue.sequence, found(catalogue, 1, 2, 3)) == (1, [1])
    create(opened, 4)
    catalogue.refresh()
    assert (catalogue.sequence, found(catalogue, 1, 2, 3, 4)) == (2, [1, 4])


def test_a_database_that_was_put_back_and_has_grown_is_noticed(opened: Store, tmp_path: Path) -> None:
    create(opened, 1, 2, 3)
    catalogue = open_catalogue(opened, tmp_path)
    put_back(tmp_path / "copyhound.db", 1)
    with sqlite3.connect(tmp_path / "copyhound.db") as connection:
        connection.execute("UPDATE counters SET sequence = 3")
    connection.close()
    create(opened, 4)  # under a descriptor id that the index has
    catalogue.refresh()
    assert found(catalogue, 1, 2, 3, 4) == [1, 4]


# Several servers


def test_a_server_that_missed_removals_builds_its_index_anew(opened: Store, url: str, tmp_path: Path) -> None:
    works = create(opened, 1, 2, 3)
    behind = open_catalogue(opened, tmp_path / "behind")
    stopped = open_catalogue(opened, tmp_path / "stopped")
    assert all(stopped.fold(scheme) for scheme in SCHEMES)
    delete(opened, works[1])
    ahead = open_catalogue(opened, tmp_path / "ahead")
    assert ahead.fold(BITS.id)
    opened.forget_removals({BITS.id: ahead.sequence, FLOATS.id: ahead.sequence})
    create(opened, 4)

    behind.refresh()
    assert found(behind, 1, 2, 3, 4) == [1, 3, 4]
    again = open_catalogue(opened, tmp_path / "stopped")
    assert found(again, 1, 2, 3, 4) == [1, 3, 4]
    assert snapshot.snapshots(tmp_path / "stopped" / "index" / BITS.id) == []
    ahead.refresh()
    assert found(ahead, 1, 2, 3, 4) == [1, 3, 4]
    assert ahead.indexes[BITS.id].snapshot_sequence == 4  # it had seen them: nothing to build anew


async def test_who_waits_sees_what_another_server_commits(
    opened: Store, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TICK_SECONDS", 3600.0)
    other = Store.open(url, SCHEMES)
    async with started(opened, tmp_path) as catalogue:
        waiting = [asyncio.create_task(catalogue.wait_for(n, seconds=60)) for n in (1, 2, 2)]
        await asyncio.to_thread(create, other, 1, 2)
        await asyncio.gather(*waiting)
        assert found(catalogue, 1, 2) == [1, 2]
    other.close()


async def test_waiting_ends_in_time_however_much_others_write(
    opened: Store, url: str, tmp_path: Path
) -> None:
    other = Store.open(url, SCHEMES)
    done = threading.Event()

    def write() -> None:
        for seed in range(10_000):
            if done.is_set():
                return
            create(other, seed)

    async with started(opened, tmp_path) as catalogue:
        writing = asyncio.create_task(asyncio.to_thread(write))
        with pytest.raises(StaleError, match="not yet 1000000"):
            await catalogue.wait_for(1_000_000, seconds=0.2)
        done.set()
        await writing
    other.close()


async def test_many_who_wait_ask_the_database_once(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    sequence = Store.sequence

    def counting(store: Store) -> int:
        asked.append(0)
        return sequence(store)

    async with started(opened, tmp_path) as catalogue:
        monkeypatch.setattr(Store, "sequence", counting)
        waits = [catalogue.wait_for(1, seconds=0.3) for _ in range(100)]
        errors = await asyncio.gather(*waits, return_exceptions=True)
    assert {type(error) for error in errors} == {StaleError}
    assert len(asked) < 100


# Maintenance


def test_a_scheme_that_cannot_be_folded_does_not_stop_the_others(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = open_catalogue(opened, tmp_path, replace(FOLDING, after_seconds=1e-9))
    create(opened, 1)
    catalogue.refresh()
    tried = []
    fold = LiveIndex.fold

    def failing(index: LiveIndex) -> bool:
        tried.append(index.scheme.id)
        if index.scheme == BITS:
            raise OSError("no")
        return fold(index)

    monkeypatch.setattr(LiveIndex, "fold", failing)
    for _ in range(3):
        catalogue._tick()
    assert tried == [BITS.id, FLOATS.id]
    assert catalogue.indexes[FLOATS.id].snapshot_sequence == 1
    monkeypatch.setattr(module, "_BACK_OFF_SECONDS", 0.0)
    catalogue._fold_not_before[BITS.id] = 0.0
    catalogue._tick()
    assert tried == [BITS.id, FLOATS.id, BITS.id]


def test_it_forgets_without_a_fold_and_removals_an_hour_after_a_snapshot_saw_them(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = open_catalogue(opened, tmp_path)
    (work,) = create(opened, 1)
    delete(opened, work)
    catalogue.refresh()
    forgotten: list[str] = []
    for name in ("forget_responses", "forget_imports"):
        monkeypatch.setattr(Store, name, lambda *_, name=name: forgotten.append(name))

    def removals() -> int:
        return sum(len(changes) for changes in opened.changes_since(BITS.id, 0))

    catalogue._tick()
    catalogue._tick()
    assert forgotten == ["forget_responses", "forget_imports"]
    assert catalogue.fold(BITS.id)
    assert removals() == 1
    for left in (1, 0):
        catalogue._forget_not_before = 0.0
        catalogue._tick()
        assert removals() == left


def test_a_long_replay_folds_when_the_index_has_grown_by_half(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened.transaction() as transaction:
        for seed in range(60):
            transaction.create_work(new_work(), [new_reference(seed, 10)])
    folded = []
    fold = LiveIndex.fold

    def counting(index: LiveIndex) -> bool:
        folded.append(len(index))
        return fold(index)

    monkeypatch.setattr(LiveIndex, "fold", counting)
    changes_since = Store.changes_since
    monkeypatch.setattr(
        Store,
        "changes_since",
        lambda store, scheme, sequence, until: changes_since(store, scheme, sequence, batch=10, until=until),
    )
    catalogue = open_catalogue(opened, tmp_path, replace(FOLDING, after_changes=20))
    assert len(catalogue.indexes[BITS.id]) == 600
    assert 3 <= len(folded) <= 6
    assert all(later >= 1.8 * earlier for earlier, later in pairwise(folded))


def test_a_full_disk_does_not_stop_a_replay(
    opened: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(opened, 1, 2, 3)

    def full(index: LiveIndex) -> bool:
        raise OSError("no")

    monkeypatch.setattr(LiveIndex, "fold", full)
    catalogue = open_catalogue(opened, tmp_path, replace(FOLDING, after_changes=1))
    assert found(catalogue, 1, 2, 3) == [1, 2, 3]


async def test_who_asks_too_late_is_told_so(opened: Store, tmp_path: Path) -> None:
    async with started(opened, tmp_path) as catalogue:
        with pytest.raises(StaleError):
            await catalogue.wait_for(1, seconds=-1)
        await catalogue.write(adding(1))
        await catalogue.wait_for(1, seconds=-1)
    with pytest.raises(BusyError, match="stopping"):
        await catalogue.write(adding(2))
