"""What a transaction means for the indexes: order, replay, savepoints, concurrency; on both backends."""

# ruff: noqa: PT012 - an error has to leave a transaction, and that is a block

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.domain import Counts, DescriptorOwner, IndexChange, Work, WorkChange
from service.errors import AlreadyExistsError, NotFoundError
from service.store import RemovalsForgottenError, Store
from tests.contract.store_values import BITS, FLOATS, SCHEMES, new_reference, new_work, sha256_of

Live = dict[int, bytes]
"""Descriptor id to descriptor."""


def apply(live: Live, changes: Iterable[IndexChange]) -> Live:
    """Do what an index does: adding an id that is present is an error, removing an absent one is not."""
    for change in changes:
        for position, descriptor_id in enumerate(change.ids.tolist()):
            if change.descriptors is None:
                live.pop(descriptor_id, None)
            else:
                assert descriptor_id not in live
                live[descriptor_id] = change.descriptors[position].tobytes()
    return live


def replay(store: Store, scheme: str, sequence: int, batch: int = 3) -> Iterator[IndexChange]:
    for changes in store.changes_since(scheme, sequence, batch=batch):
        assert changes
        yield from changes


def create(store: Store, seed: int, *counts: int) -> Work:
    with store.transaction() as transaction:
        return transaction.create_work(new_work(), [new_reference(seed, *counts)])


def ids(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize("batch", [1, 2, 3, 100])
def test_changes_of_one_sequence_number_come_together(store: Store, batch: int) -> None:
    """An index takes a sequence number once: what came later under the same number would be lost."""
    for seed in range(0, 12, 4):
        with store.transaction() as transaction:
            transaction.create_work(new_work(), [new_reference(seed + i) for i in range(4)])
    lists = list(store.changes_since(BITS.id, 0, batch=batch))
    seen = [{change.sequence for change in changes} for changes in lists]
    assert sorted(number for numbers in seen for number in numbers) == [1, 2, 3]
    assert [change.first_id for changes in lists for change in changes] == list(range(12))


def test_a_new_work_is_one_change_for_all_of_its_fingerprints(store: Store) -> None:
    first, second = new_reference(1, 2, 3), new_reference(2, 4)
    with store.transaction() as transaction:
        transaction.create_work(new_work(), [first, second])
        changes = transaction.changes
        assert transaction.sequence == 1

    assert [(change.sequence, change.scheme, change.first_id, change.count) for change in changes] == [
        (1, BITS.id, 0, 2),
        (1, FLOATS.id, 0, 3),
        (1, BITS.id, 2, 4),
    ]
    fingerprints = (*first.fingerprints, *second.fingerprints)
    for change, fingerprint in zip(changes, fingerprints, strict=True):
        assert change.descriptors is not None
        np.testing.assert_array_equal(change.descriptors, fingerprint.descriptors)


def test_every_change_of_a_work_gets_the_next_number(store: Store) -> None:
    with store.transaction() as transaction:
        work = transaction.create_work(new_work(), [])
        transaction.add_reference(work.id, new_reference(1))
        transaction.update_work(work.id, WorkChange(title="x"), revision=None)
        assert transaction.delete_work(work.id, revision=None) == 4
        assert [(change.sequence, change.descriptors is None) for change in transaction.changes] == [
            (2, False),
            (4, True),
        ]
    assert store.sequence() == 4


def test_descriptor_ids_are_never_given_twice(store: Store, store_url: str) -> None:
    work = create(store, 1, 3)
    with store.transaction() as transaction:
        transaction.delete_work(work.id, revision=None)
    store.close()

    again = Store.open(store_url, SCHEMES)
    with again.transaction() as transaction:
        transaction.create_work(new_work(), [new_reference(2)])
        assert [change.first_id for change in transaction.changes] == [3]
    again.close()


def test_the_owner_of_a_descriptor_is_found(store: Store) -> None:
    works = [create(store, seed, count, 1) for seed, count in ((1, 2), (2, 1), (3, 5))]
    owners = [
        DescriptorOwner(work.id, work.references[0].id, first_id, count)
        for work, first_id, count in zip(works, (0, 2, 3), (2, 1, 5), strict=True)
        for _ in range(count)
        if work.references
    ]

    found = store.descriptor_owners(BITS.id, np.arange(-1, 12, dtype=np.int64))
    assert found == dict(enumerate(owners))
    assert set(store.descriptor_owners(FLOATS.id, ids(0, 2, 3))) == {0, 2}
    assert store.descriptor_owners(BITS.id, ids(7, 7, 2)) == {7: owners[7], 2: owners[2]}
    assert store.descriptor_owners(BITS.id, ids()) == {}


def test_descriptors_of_deleted_works_have_no_owner(store: Store) -> None:
    works = [create(store, seed, 2) for seed in range(3)]
    with store.transaction() as transaction:
        transaction.delete_work(works[1].id, revision=None)
        transaction.delete_work(works[2].id, revision=None)

    assert set(store.descriptor_owners(BITS.id, np.arange(6, dtype=np.int64))) == {0, 1}


def test_a_replay_gives_what_is_live(store: Store) -> None:
    works = [create(store, seed, 2, 1) for seed in range(3)]
    with store.transaction() as transaction:
        transaction.delete_work(works[1].id, revision=None)

    changes = list(replay(store, BITS.id, 0))
    assert [(change.sequence, change.first_id, change.descriptors is None) for change in changes] == [
        (1, 0, False),
        (3, 4, False),
        (4, 2, True),
    ]
    assert set(apply({}, changes)) == {0, 1, 4, 5}
    assert list(replay(store, BITS.id, 4)) == []
    assert [change.count for change in replay(store, FLOATS.id, 2)] == [1, 1]


def test_a_replay_ends_where_it_is_told(store: Store) -> None:
    works = [create(store, seed) for seed in range(3)]
    with store.transaction() as transaction:
        transaction.delete_work(works[0].id, revision=None)

    (changes,) = store.changes_since(BITS.id, 1, until=2)
    assert [change.sequence for change in changes] == [2]


def test_a_replay_ends_where_it_was_asked_for(store: Store) -> None:
    create(store, 1)
    batches = store.changes_since(BITS.id, 0)
    create(store, 2)

    assert [change.sequence for changes in batches for change in changes] == [1]


def test_a_replay_comes_in_lists_of_about_the_size_asked_for(store: Store) -> None:
    for seed, count in enumerate((4, 4, 20, 1, 1)):
        create(store, seed, count)

    sizes = [sum(c.count for c in changes) for changes in store.changes_since(BITS.id, 0, batch=8)]
    assert sizes == [4, 4, 21, 1]  # the last change read is held back: more of its number may follow


def test_a_long_replay_misses_nothing(store: Store) -> None:
    with store.transaction() as transaction:
        for seed in range(1203):
            transaction.create_work(new_work(), [new_reference(seed)])

    assert [change.sequence for change in replay(store, BITS.id, 0, batch=1000)] == list(range(1, 1204))


def test_removals_that_every_snapshot_has_seen_are_dropped(store: Store) -> None:
    works = [create(store, seed, 1, 1) for seed in range(3)]
    for work in works:
        with store.transaction() as transaction:
            transaction.delete_work(work.id, revision=None)

    store.forget_removals({BITS.id: 5})
    assert [change.sequence for change in replay(store, BITS.id, 0)] == [6]
    assert [change.sequence for change in replay(store, FLOATS.id, 0)] == [4, 5, 6]


def test_a_replay_that_would_miss_removals_is_refused(store: Store) -> None:
    works = [create(store, seed, 1, 1) for seed in range(2)]
    for work in works:
        with store.transaction() as transaction:
            transaction.delete_work(work.id, revision=None)
    store.forget_removals({BITS.id: 3})

    with pytest.raises(RemovalsForgottenError, match="up to 3"):
        list(replay(store, BITS.id, 2))
    assert [change.sequence for change in replay(store, BITS.id, 3)] == [4]
    assert [change.sequence for change in replay(store, FLOATS.id, 2)] == [3, 4]
    assert apply({}, replay(store, BITS.id, 0)) == {}
    store.forget_removals({BITS.id: 3, FLOATS.id: 1})
    assert [change.sequence for change in replay(store, BITS.id, 3)] == [4]


def test_every_database_has_an_id_of_its_own(store: Store, store_url: str, tmp_path: Path) -> None:
    again = Store.open(store_url, SCHEMES)
    other = Store.open(f"sqlite:///{tmp_path / 'other.db'}", SCHEMES)
    assert store.id == again.id != other.id
    again.close()
    other.close()


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    with pytest.raises(RuntimeError, match="no"), store.transaction() as transaction:
        transaction.create_work(new_work("P-1"), [new_reference(1, 2, 2)])
        raise RuntimeError("no")

    assert store.sequence() == 0
    assert store.counts() == Counts(works=0, references=0)
    assert store.references_by_sha256(sha256_of(1)) == []
    create(store, 1, 1, 1)
    assert [change.first_id for change in replay(store, FLOATS.id, 0)] == [0]


def test_a_savepoint_undoes_its_own_changes_alone(store: Store) -> None:
    with store.transaction() as transaction:
        first = transaction.create_work(new_work("P-1"), [new_reference(1, 2)])
        with pytest.raises(AlreadyExistsError), transaction.savepoint():
            transaction.create_work(new_work("P-2"), [new_reference(2, 3, 3)])
            transaction.delete_work(first.id, revision=None)
            transaction.create_work(new_work("P-3"), [])
            transaction.create_work(new_work("P-3"), [])
        assert transaction.sequence == 1
        with transaction.savepoint():
            transaction.create_work(new_work("P-2"), [new_reference(3, 1, 1)])
        assert [(c.sequence, c.scheme, c.first_id, c.count) for c in transaction.changes] == [
            (1, BITS.id, 0, 2),
            (2, BITS.id, 2, 1),
            (2, FLOATS.id, 0, 1),
        ]

    listed = store.list_works(owner=None, external_id=None, after=None, limit=9)
    assert [work.external_id for work in listed] == ["P-1", "P-2"]
    assert store.counts() == Counts(works=2, references=2)
    assert store.sequence() == 2
    assert set(store.descriptor_owners(BITS.id, np.arange(9, dtype=np.int64))) == {0, 1, 2}


def test_savepoints_nest(store: Store) -> None:
    with store.transaction() as transaction, transaction.savepoint():
        transaction.create_work(new_work("outer"), [])
        with pytest.raises(NotFoundError), transaction.savepoint():
            transaction.create_work(new_work("inner"), [])
            transaction.delete_work(UUID(int=0), revision=None)
        with transaction.savepoint():
            transaction.create_work(new_work("last"), [])

    listed = store.list_works(owner=None, external_id=None, after=None, limit=9)
    assert [work.external_id for work in listed] == ["outer", "last"]


def test_readers_neither_wait_for_a_writer_nor_see_half_of_its_work(store: Store) -> None:
    create(store, 1)
    with store.transaction() as transaction:
        work = transaction.create_work(new_work("P-2"), [new_reference(2)])
        assert store.sequence() == 1
        assert store.counts() == Counts(works=1, references=1)
        assert store.get_works([work.id]) == {}
        assert store.references_by_sha256(sha256_of(2)) == []
        assert len(list(replay(store, BITS.id, 0))) == 1
    assert store.sequence() == 2
    assert store.get_work(work.id) == work


def test_numbers_rise_in_the_order_of_commits(store: Store, store_url: str) -> None:
    """Two stores on one database write while a third thread replays: it must miss nothing."""
    other = Store.open(store_url, SCHEMES)
    each = 20
    failures: list[BaseException] = []

    def write(writer: Store, first_seed: int) -> None:
        try:
            for seed in range(first_seed, first_seed + each):
                create(writer, seed)
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            failures.append(error)

    writers = [
        threading.Thread(target=write, args=(store, 0)),
        threading.Thread(target=write, args=(store, 100)),
        threading.Thread(target=write, args=(other, 200)),
    ]
    for thread in writers:
        thread.start()
    live: Live = {}
    seen = 0
    while seen < each * len(writers) and not failures:
        for change in replay(store, BITS.id, seen):
            assert change.sequence == seen + 1
            apply(live, [change])
            seen = change.sequence
    for thread in writers:
        thread.join()
    other.close()

    assert failures == []
    assert len(live) == store.counts().works == each * len(writers)


class History:
    """A store, and what should be live in it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.works: dict[UUID, dict[str, Live]] = {}
        self.seed = 0

    def expected(self, scheme: str) -> Live:
        return {key: value for work in self.works.values() for key, value in work[scheme].items()}

    def run(self, steps: list[tuple[str, int]]) -> None:
        """Do the steps in one transaction."""
        with self.store.transaction() as transaction:
            for step, choice in steps:
                before = len(transaction.changes)
                work_id = self._step(transaction, step, choice)
                for change in transaction.changes[before:]:
                    if work_id in self.works:
                        apply(self.works[work_id][change.scheme], [change])

    def _step(self, transaction: Any, step: str, choice: int) -> UUID | None:
        self.seed += 1
        known = list(self.works)
        if step == "create":
            references = [new_reference(self.seed, 1 + choice % 3, 2), new_reference(-self.seed % 1000, 1)]
            work: Work = transaction.create_work(new_work(), references[: choice % 3])
            self.works[work.id] = {scheme: {} for scheme in SCHEMES}
            return work.id
        if not known:
            return None
        work_id = known[choice % len(known)]
        if step == "add":
            transaction.add_reference(work_id, new_reference(self.seed, 2, 1))
        elif step == "update":
            transaction.update_work(work_id, WorkChange(title=str(choice)), revision=None)
        else:
            transaction.delete_work(work_id, revision=None)
            del self.works[work_id]
        return work_id


STEPS = st.lists(
    st.tuples(st.sampled_from(["create", "create", "add", "update", "delete"]), st.integers(0, 11)),
    min_size=1,
    max_size=5,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories=st.lists(STEPS, max_size=6), batch=st.integers(1, 9))
def test_a_replay_from_anywhere_gives_what_is_live(
    store: Store, histories: list[list[tuple[str, int]]], batch: int
) -> None:
    history = History(store)
    for work in store.list_works(owner=None, external_id=None, after=None, limit=1000):
        with store.transaction() as transaction:  # what the example before left
            transaction.delete_work(work.id, revision=None)

    snapshots = [(store.sequence(), {scheme: history.expected(scheme) for scheme in SCHEMES})]
    for steps in histories:
        history.run(steps)
        snapshots.append((store.sequence(), {scheme: history.expected(scheme) for scheme in SCHEMES}))

    for scheme in SCHEMES:
        live = snapshots[-1][1][scheme]
        for sequence, snapshot in snapshots:
            assert apply(dict(snapshot[scheme]), replay(store, scheme, sequence, batch)) == live
        assert set(store.descriptor_owners(scheme, ids(*live))) == set(live)
    assert store.counts().works == len(history.works)
