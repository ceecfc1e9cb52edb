"""Works and references, on both backends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import numpy as np
import pytest

from indexers.errors import FingerprintError
from indexers.fingerprint import Fingerprint
from service.domain import Action, Counts, Licence, NewReference, NewWork, Policy, Reference, Work, WorkChange
from service.errors import AlreadyExistsError, InvalidRequestError, NotFoundError, StaleError
from service.store import Store, queries
from tests.contract.store_values import BITS, FLOATS, fingerprint, new_reference, new_work, sha256_of

POLICY = Policy(
    action=Action.MONITOR,
    min_probability=0.75,
    territories=("DE", "FR"),
    licences=(
        Licence("token", ("DE",), datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "contract 7"),
        Licence(),
    ),
)


def create(store: Store, work: NewWork, *references: NewReference) -> Work:
    with store.transaction() as transaction:
        return transaction.create_work(work, references)


def only_reference(work: Work) -> Reference:
    (reference,) = work.references or ()
    return reference


def test_an_empty_store(store: Store) -> None:
    assert store.sequence() == 0
    assert store.counts() == Counts(works=0, references=0)
    assert store.list_works(owner=None, external_id=None, after=None, limit=10) == []


def test_what_is_created_is_what_is_read(store: Store) -> None:
    before = datetime.now(UTC)
    new = NewWork("Stüdio 映画", "P-17", "A “title”\n", {"b": "2", "a": "ä"}, POLICY)
    work = create(store, new, new_reference(1, 1, 3), new_reference(2))

    assert store.get_work(work.id) == work
    assert (work.owner, work.external_id, work.title) == (new.owner, "P-17", new.title)
    assert work.labels == {"a": "ä", "b": "2"}
    assert work.policy == POLICY
    assert (work.revision, work.sequence, work.reference_count) == (1, 1, 2)
    assert before <= work.created_at == work.updated_at <= datetime.now(UTC)
    assert work.references is not None
    first, second = work.references
    assert (first.filename, first.modality, first.sha256, first.byte_count) == (
        "1.jpg",
        "image",
        sha256_of(1),
        1001,
    )
    assert first.schemes == (BITS.id, FLOATS.id)
    assert second.schemes == (BITS.id,)
    assert {first.work_id, second.work_id} == {work.id}
    assert (first.created_at, first.sequence) == (work.created_at, 1)
    assert store.counts() == Counts(works=1, references=2)


def test_defaults_come_back_as_defaults(store: Store) -> None:
    work = store.get_work(create(store, NewWork("studio")).id)

    assert (work.external_id, work.title, work.labels, work.policy) == (None, "", {}, Policy())
    assert work.references == ()


def test_a_licence_ends_at_the_same_moment_whatever_its_time_zone(store: Store) -> None:
    ends = datetime(2030, 6, 1, 12, tzinfo=timezone(timedelta(hours=8)))
    work = create(store, NewWork("studio", policy=Policy(licences=(Licence(expires_at=ends),))))

    (licence,) = store.get_work(work.id).policy.licences
    assert licence.expires_at == ends
    assert licence.expires_at is not None
    assert licence.expires_at.tzinfo is UTC


def test_ids_rise_in_the_order_of_creation(store: Store) -> None:
    with store.transaction() as transaction:
        ids = [transaction.create_work(new_work(), []).id for _ in range(50)]

    assert ids == sorted(ids)
    assert {work_id.version for work_id in ids} == {7}


def test_an_external_id_is_taken_once_for_each_owner(store: Store) -> None:
    work = create(store, new_work("P-1"))

    with pytest.raises(AlreadyExistsError, match="external id P-1") as caught:
        create(store, new_work("P-1"))
    assert caught.value.metadata == {"work": str(work.id)}
    create(store, new_work("P-1", owner="other"))
    create(store, new_work(None))
    create(store, new_work(None))
    assert store.counts().works == 4
    assert store.sequence() == 4


def test_the_same_file_twice_in_a_new_work_is_one_reference(store: Store) -> None:
    anonymous = NewReference("", "image", None, 0, (fingerprint(BITS, 9),))
    work = create(store, new_work(), new_reference(1), new_reference(1), anonymous, anonymous)

    assert work.reference_count == 3
    assert store.get_work(work.id) == work


def test_what_of_a_file_could_not_be_read_is_kept(store: Store) -> None:
    damaged = replace(new_reference(1), lost=((0.0, 1.5), (7.25, 9.0)))
    work = create(store, new_work(), damaged, new_reference(2))

    assert [one.lost for one in work.references or ()] == [((0.0, 1.5), (7.25, 9.0)), ()]
    assert store.get_work(work.id) == work


def test_works_are_listed_page_by_page(store: Store) -> None:
    with store.transaction() as transaction:
        works = [
            transaction.create_work(new_work(f"P-{number // 2}", owner=f"owner {number % 2}"), [])
            for number in range(6)
        ]
    ids = [work.id for work in works]

    def listed(
        owner: str | None = None, external_id: str | None = None, after: UUID | None = None, limit: int = 9
    ) -> list[UUID]:
        page = store.list_works(owner=owner, external_id=external_id, after=after, limit=limit)
        assert all(work.references is None for work in page)
        return [work.id for work in page]

    assert listed() == ids
    assert listed(limit=4) == ids[:4]
    assert listed(after=ids[3]) == ids[4:]
    assert listed(after=ids[5]) == []
    assert listed(owner="owner 1") == ids[1::2]
    assert listed(owner="owner 1", after=ids[1], limit=1) == [ids[3]]
    assert listed(external_id="P-1") == ids[2:4]
    assert listed(external_id="P-1", owner="owner 0") == [ids[2]]
    assert listed(owner="nobody") == []


def test_several_works_and_references_at_once(store: Store) -> None:
    works = [create(store, new_work(), new_reference(number)) for number in range(3)]
    references = [work.references[0] for work in works if work.references]

    found = store.get_works([works[0].id, works[2].id, uuid4()])
    assert set(found) == {works[0].id, works[2].id}
    assert found[works[2].id].references is None
    assert found[works[2].id].reference_count == 1
    assert store.get_works([]) == {}
    ids = [reference.id for reference in references]
    assert store.get_references([*ids, uuid4()]) == dict(zip(ids, references, strict=True))


def test_more_ids_than_a_statement_takes(store: Store) -> None:
    work = create(store, new_work())

    assert set(store.get_works([*(uuid4() for _ in range(2500)), work.id])) == {work.id}


def test_what_does_not_exist_is_not_found(store: Store) -> None:
    missing = uuid4()

    with pytest.raises(NotFoundError) as caught:
        store.get_work(missing)
    assert caught.value.metadata == {"work": str(missing)}
    with pytest.raises(NotFoundError), store.transaction() as transaction:
        transaction.update_work(missing, WorkChange(), revision=None)
    with pytest.raises(NotFoundError), store.transaction() as transaction:
        transaction.delete_work(missing, revision=None)
    with pytest.raises(NotFoundError), store.transaction() as transaction:
        transaction.add_reference(missing, new_reference(1))
    assert store.sequence() == 0


def test_a_work_is_found_by_its_external_id(store: Store) -> None:
    work = create(store, new_work("P-1"), new_reference(1))

    with store.transaction() as transaction:
        assert transaction.find_work("studio", "P-1") == replace(work, references=None)
        assert transaction.find_work("other", "P-1") is None
        inside = transaction.create_work(new_work("P-2"), [])
        assert transaction.find_work("studio", "P-2") == replace(inside, references=None)


def test_a_reference_is_added(store: Store) -> None:
    work = create(store, new_work(), new_reference(1))

    with store.transaction() as transaction:
        added, present = transaction.add_reference(work.id, new_reference(2, 1, 1))
    assert not present
    changed = store.get_work(work.id)
    assert changed.references is not None
    assert changed.references[1] == added
    assert (changed.reference_count, changed.revision, changed.sequence) == (2, 2, 2)
    assert changed.updated_at == added.created_at
    assert store.counts() == Counts(works=1, references=2)


def test_a_file_that_is_present_is_not_added_again(store: Store) -> None:
    work = create(store, new_work(), new_reference(1))
    assert work.references is not None

    with store.transaction() as transaction:
        assert transaction.add_reference(work.id, new_reference(1, 5)) == (work.references[0], True)
        assert list(transaction.changes) == []
    assert store.get_work(work.id) == work
    assert store.sequence() == 1


def test_adding_a_reference_reads_no_other(store: Store) -> None:
    work = create(store, new_work(), *(new_reference(seed) for seed in range(20)))
    with store.transaction() as transaction, pytest.MonkeyPatch.context() as patched:
        patched.delattr(queries, "_REFERENCES_OF_WORK")
        transaction.add_reference(work.id, new_reference(20, 1))
        assert transaction.get_work(work.id).reference_count == 21


def test_a_work_has_so_many_references_and_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.transaction.MAX_REFERENCES", 2)
    work = create(store, new_work(), new_reference(1), new_reference(2))
    with store.transaction() as transaction:
        _, present = transaction.add_reference(work.id, new_reference(2))
    assert present
    with pytest.raises(InvalidRequestError, match="at most 2 references"), store.transaction() as transaction:
        transaction.add_reference(work.id, new_reference(3))
    assert store.get_work(work.id) == work


def test_references_are_found_by_their_digest(store: Store) -> None:
    works = [create(store, new_work(), new_reference(seed)) for seed in (1, 2, 1)]

    found = store.references_by_sha256(sha256_of(1))
    assert found == [only_reference(work).id for work in (works[0], works[2])]
    assert store.references_by_sha256(sha256_of(1), limit=1) == found[:1]
    assert store.references_by_sha256(sha256_of(3)) == []


def test_references_and_descriptors_of_one_owner_alone(store: Store) -> None:
    theirs = create(store, new_work(owner="other"), new_reference(1, 2))
    mine = create(store, new_work(owner="studio"), new_reference(1, 3))

    found = store.references_by_sha256(sha256_of(1), owner="studio", limit=1)
    assert found == [only_reference(mine).id]
    assert store.references_by_sha256(sha256_of(1), owner="nobody") == []
    ids = np.arange(-1, 9, dtype=np.int64)
    owners = store.descriptor_owners(BITS.id, ids, owner="studio")
    assert {key: owner.work_id for key, owner in owners.items()} == dict.fromkeys(range(2, 5), mine.id)
    others = store.descriptor_owners(BITS.id, ids, owner="other")
    assert {key: owner.work_id for key, owner in others.items()} == dict.fromkeys(range(2), theirs.id)


def test_named_fields_change_and_others_stay(store: Store) -> None:
    work = create(store, NewWork("studio", "P-1", "old", {"a": "1"}, POLICY), new_reference(1))

    with store.transaction() as transaction:
        changed = transaction.update_work(work.id, WorkChange(title="new"), revision=1)
    assert store.get_work(work.id) == changed
    assert (changed.title, changed.external_id, changed.labels, changed.policy) == (
        "new",
        "P-1",
        {"a": "1"},
        POLICY,
    )
    assert (changed.revision, changed.sequence) == (2, 2)
    assert changed.created_at == work.created_at <= changed.updated_at
    assert changed.references == work.references


def test_fields_can_be_emptied(store: Store) -> None:
    work = create(store, NewWork("studio", "P-1", "old", {"a": "1"}, POLICY))

    change = WorkChange(external_id="", title="", labels={}, policy=Policy())
    with store.transaction() as transaction:
        changed = transaction.update_work(work.id, change, revision=None)
    assert (changed.external_id, changed.title, changed.labels, changed.policy) == (None, "", {}, Policy())


def test_an_external_id_can_change_to_a_free_one(store: Store) -> None:
    work = create(store, new_work("P-1"))
    other = create(store, new_work("P-2"))

    with pytest.raises(AlreadyExistsError) as caught, store.transaction() as transaction:
        transaction.update_work(work.id, WorkChange(external_id="P-2"), revision=None)
    assert caught.value.metadata == {"work": str(other.id)}
    with store.transaction() as transaction:
        transaction.update_work(work.id, WorkChange(external_id="P-1"), revision=None)
        transaction.update_work(work.id, WorkChange(external_id="P-3"), revision=None)
    assert store.get_work(work.id).external_id == "P-3"


def test_a_stale_revision_changes_nothing(store: Store) -> None:
    work = create(store, new_work())
    with store.transaction() as transaction:
        transaction.update_work(work.id, WorkChange(title="faster"), revision=1)

    with pytest.raises(StaleError) as caught, store.transaction() as transaction:
        transaction.update_work(work.id, WorkChange(title="slower"), revision=1)
    assert caught.value.metadata == {"work": str(work.id), "revision": "2"}
    with pytest.raises(StaleError), store.transaction() as transaction:
        transaction.delete_work(work.id, revision=1)
    assert store.get_work(work.id).title == "faster"
    assert store.sequence() == 2


def test_a_deleted_work_leaves_nothing(store: Store) -> None:
    kept = create(store, new_work("P-1"), new_reference(1))
    work = create(store, new_work("P-2"), new_reference(1, 2, 2), new_reference(2))
    assert work.references is not None

    with store.transaction() as transaction:
        assert transaction.delete_work(work.id, revision=1) == 3
    with pytest.raises(NotFoundError):
        store.get_work(work.id)
    assert store.get_references([reference.id for reference in work.references]) == {}
    assert store.fingerprints([reference.id for reference in work.references]) == {}
    assert store.references_by_sha256(sha256_of(1)) == [only_reference(kept).id]
    assert store.counts() == Counts(works=1, references=1)
    assert store.sequence() == 3
    create(store, new_work("P-2"))


def test_fingerprints_come_back_to_the_bit(store: Store) -> None:
    rng = np.random.default_rng(3)
    plain = fingerprint(BITS, 1, 4)
    rich = Fingerprint(
        scheme=FLOATS,
        descriptors=fingerprint(FLOATS, 1, 3).descriptors,
        spans=np.array([[0.0, 0.1], [0.1, 1 / 3], [1e-9, 1e9]]),
        quality=rng.random(3, dtype=np.float32),
        views=np.zeros(3, np.uint8),
        regions=rng.random((3, 4), dtype=np.float32),
    )
    work = create(store, new_work(), NewReference("a.jpg", "image", None, 0, (rich, plain)))
    assert work.references is not None
    (reference,) = work.references

    found = store.fingerprints([reference.id, uuid4()])
    assert set(found) == {reference.id}
    for stored, original in zip(found[reference.id], (plain, rich), strict=True):
        assert stored.scheme == original.scheme
        for name in ("descriptors", "spans", "quality", "views"):
            np.testing.assert_array_equal(getattr(stored, name), getattr(original, name), strict=True)
    assert found[reference.id][0].regions is None
    assert rich.regions is not None
    stored_regions = found[reference.id][1].regions
    assert stored_regions is not None
    np.testing.assert_array_equal(stored_regions, rich.regions, strict=True)
    assert store.fingerprints([]) == {}


def test_fingerprints_of_schemes_that_are_not_known_are_left_out(store: Store, store_url: str) -> None:
    work = create(store, new_work(), new_reference(1, 1, 1))
    assert work.references is not None
    older = Store.open(store_url, {BITS.id: BITS})

    found = older.fingerprints([work.references[0].id])
    assert [item.scheme for item in found[work.references[0].id]] == [BITS]
    assert older.get_work(work.id) == work
    older.close()


def test_a_scheme_that_changed_without_a_new_version_is_noticed(store: Store, store_url: str) -> None:
    work = create(store, new_work(), new_reference(1))
    assert work.references is not None
    changed = Store.open(store_url, {BITS.id: replace(BITS, dim=128)})

    with pytest.raises(FingerprintError, match="new version"):
        changed.fingerprints([work.references[0].id])
    changed.close()


def container(seed: int, *parts: NewReference) -> NewReference:
    return NewReference("game.apk", "container", sha256_of(seed), 9000, (), parts=parts)


def test_a_container_and_its_parts_are_written_as_one(store: Store) -> None:
    parts = [
        new_reference(1),
        replace(new_reference(2), weight=0.25),
        replace(new_reference(3), modality="audio"),
    ]
    work = create(store, new_work(), container(100, *parts), new_reference(4))
    assert work.references is not None
    whole, loose = work.references
    assert work.reference_count == store.counts().references == 5
    assert (whole.part_counts, whole.schemes) == ({"image": 2, "audio": 1}, ())
    listed = store.get_work(work.id).references
    assert listed is not None
    assert [one.container_id for one in listed] == [None, whole.id, whole.id, whole.id, None]
    assert [one.weight for one in listed[1:4]] == [1.0, 0.25, 1.0]
    assert listed[0] == whole
    assert listed[4] == loose
    with store.view() as view:
        holdings = view.get_holdings([work.id])[work.id]
    assert {(one.container_id, one.modality, one.count, one.weight) for one in holdings} == {
        (None, "container", 1, 1.0),
        (None, "image", 1, 1.0),
        (whole.id, "image", 2, 1.25),
        (whole.id, "audio", 1, 1.0),
    }


def test_two_containers_of_a_work_may_hold_one_file_and_a_container_comes_once(store: Store) -> None:
    work = create(store, new_work(), container(100, new_reference(1)))
    with store.transaction() as transaction:
        again, present = transaction.add_reference(work.id, container(100, new_reference(1)))
        _, second_present = transaction.add_reference(
            work.id, container(200, new_reference(1), new_reference(2))
        )
        _, loose_present = transaction.add_reference(work.id, new_reference(1))
    assert (present, second_present, loose_present) == (True, False, False)
    assert again.part_counts == {"image": 1}
    assert store.get_work(work.id).reference_count == 6
    assert len(store.references_by_sha256(sha256_of(1))) == 3


def test_a_container_that_is_too_much_leaves_nothing_behind(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.transaction.MAX_REFERENCES", 3)
    work = create(store, new_work(), new_reference(1))
    for parts in ((new_reference(2), new_reference(3)), (new_reference(2),) * 9):
        with (
            pytest.raises(InvalidRequestError, match="split the container"),
            store.transaction() as transaction,
        ):
            transaction.add_reference(work.id, container(100, *parts))
    with pytest.raises(InvalidRequestError, match="at most 3"), store.transaction() as transaction:
        transaction.create_work(new_work("other"), [container(100, *(new_reference(n) for n in range(4)))])
    assert store.counts().references == 1
    with store.transaction() as transaction:
        transaction.add_reference(work.id, container(7, new_reference(8)))
    assert store.counts().references == 3
    with store.transaction() as transaction:
        transaction.delete_work(work.id, revision=None)
    assert (store.counts().references, store.references_by_sha256(sha256_of(8))) == (0, [])
