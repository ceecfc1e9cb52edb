"""Imports, remembered answers and keys, on both backends."""

# ruff: noqa: PT012 - an error has to leave a transaction, and that is a block

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.domain import (
    Action,
    ApiKey,
    Import,
    ImportRow,
    ImportState,
    KeyRole,
    Licence,
    NewWork,
    Policy,
    RowState,
    StoredResponse,
)
from service.errors import NotFoundError
from service.store import Store
from tests.contract.store_values import SCHEMES, new_reference, new_work

NOW = datetime(2026, 3, 4, 5, 6, 7, 8, tzinfo=UTC)


def row(number: int) -> ImportRow:
    policy = Policy(action=Action.REVIEW, licences=(Licence("token", ("FR",), NOW, "note"),))
    return ImportRow(
        number, f"ordner/ü{number}.jpg", NewWork("studio", f"P-{number}", "t", {"k": "v"}, policy)
    )


def start(store: Store, count: int, key_id: str | None = "key") -> Import:
    with store.transaction() as transaction:
        return transaction.create_import(key_id, [row(number) for number in range(count)])


def finish(store: Store, made: Import, number: int, state: RowState) -> None:
    with store.transaction() as transaction:
        transaction.finish_row(made.id, number, state)


def test_an_import_starts_with_all_rows_pending(store: Store) -> None:
    made = start(store, 3)

    assert store.get_import(made.id) == made
    assert (made.state, made.key_id) == (ImportState.PENDING, "key")
    assert made.counts == {
        RowState.PENDING: 3,
        RowState.CREATED: 0,
        RowState.SKIPPED: 0,
        RowState.FAILED: 0,
    }
    assert store.pending_rows(made.id, limit=9) == [row(number) for number in range(3)]
    assert store.pending_rows(made.id, limit=2) == [row(0), row(1)]
    assert store.failed_rows(made.id, limit=9) == []
    assert store.unfinished_imports() == [made.id]


def test_rows_are_counted_and_the_last_one_ends_the_import(store: Store) -> None:
    made = start(store, 3)
    with store.transaction() as transaction:
        transaction.set_import_state(made.id, ImportState.RUNNING)
        transaction.finish_row(made.id, 2, RowState.FAILED, reason="MEDIA_DAMAGED", message="Broken")
        transaction.finish_row(made.id, 0, RowState.CREATED)
    running = store.get_import(made.id)
    assert running.state is ImportState.RUNNING
    assert running.updated_at >= made.updated_at
    assert store.pending_rows(made.id, limit=9) == [row(1)]

    finish(store, made, 1, RowState.SKIPPED)
    done = store.get_import(made.id)
    assert done.state is ImportState.DONE
    assert done.counts == {
        RowState.PENDING: 0,
        RowState.CREATED: 1,
        RowState.SKIPPED: 1,
        RowState.FAILED: 1,
    }
    (failed,) = store.failed_rows(made.id, limit=9)
    assert (failed.number, failed.path, failed.work) == (2, row(2).path, row(2).work)
    assert (failed.state, failed.reason, failed.message) == (RowState.FAILED, "MEDIA_DAMAGED", "Broken")
    assert store.unfinished_imports() == []


def test_an_import_goes_on_where_it_was_cut_off(store: Store, store_url: str) -> None:
    made = start(store, 4)
    with store.transaction() as transaction:
        transaction.set_import_state(made.id, ImportState.RUNNING)
        transaction.create_work(row(0).work, [new_reference(0)])
        transaction.finish_row(made.id, 0, RowState.CREATED)
    with pytest.raises(KeyboardInterrupt), store.transaction() as transaction:
        transaction.create_work(row(1).work, [new_reference(1)])
        transaction.finish_row(made.id, 1, RowState.CREATED)
        raise KeyboardInterrupt
    store.close()

    again = Store.open(store_url, SCHEMES)
    assert again.unfinished_imports() == [made.id]
    assert [pending.number for pending in again.pending_rows(made.id, limit=9)] == [1, 2, 3]
    assert again.get_import(made.id).counts[RowState.CREATED] == again.counts().works == 1
    again.close()


def test_a_row_is_finished_once(store: Store) -> None:
    made = start(store, 2)
    finish(store, made, 0, RowState.CREATED)

    with store.transaction() as transaction:
        with pytest.raises(NotFoundError, match="not pending"), transaction.savepoint():
            transaction.create_work(new_work("again"), [])
            transaction.finish_row(made.id, 0, RowState.CREATED)
        with pytest.raises(NotFoundError), transaction.savepoint():
            transaction.finish_row(made.id, 7, RowState.CREATED)
        with pytest.raises(ValueError, match="finished"), transaction.savepoint():
            transaction.finish_row(made.id, 1, RowState.PENDING)
    assert store.counts().works == 0
    assert store.get_import(made.id).counts[RowState.CREATED] == 1


def test_a_cancelled_import_stays_cancelled(store: Store) -> None:
    made = start(store, 3)
    finish(store, made, 0, RowState.CREATED)
    with store.transaction() as transaction:
        transaction.set_import_state(made.id, ImportState.CANCELLED)
        transaction.set_import_state(made.id, ImportState.RUNNING)

    cancelled = store.get_import(made.id)
    assert cancelled.state is ImportState.CANCELLED
    assert (cancelled.counts[RowState.CREATED], cancelled.counts[RowState.PENDING]) == (1, 2)
    assert store.pending_rows(made.id, limit=9) == []
    assert store.unfinished_imports() == []
    with pytest.raises(NotFoundError):
        finish(store, made, 1, RowState.CREATED)


def test_an_import_without_rows_is_done(store: Store) -> None:
    made = start(store, 0)

    assert store.get_import(made.id).state is ImportState.DONE
    assert store.unfinished_imports() == []


def test_imports_are_listed_page_by_page(store: Store) -> None:
    made = [start(store, 1, key_id) for key_id in ("a", "b", "a", None)]

    assert store.list_imports(key_id=None, after=None, limit=9) == made
    assert store.list_imports(key_id=None, after=made[0].id, limit=2) == made[1:3]
    assert store.list_imports(key_id="a", after=None, limit=9) == [made[0], made[2]]
    assert store.list_imports(key_id="a", after=made[0].id, limit=9) == [made[2]]
    assert store.unfinished_imports() == [one.id for one in made]


def test_an_unknown_import_is_not_found(store: Store) -> None:
    missing = uuid4()

    with pytest.raises(NotFoundError) as caught:
        store.get_import(missing)
    assert caught.value.metadata == {"operation": str(missing)}
    with pytest.raises(NotFoundError), store.transaction() as transaction:
        transaction.set_import_state(missing, ImportState.RUNNING)
    assert store.pending_rows(missing, limit=1) == []


def test_old_imports_are_forgotten_unless_they_are_unfinished(store: Store) -> None:
    done, unfinished = start(store, 1), start(store, 1)
    finish(store, done, 0, RowState.FAILED)

    assert store.forget_imports(done.created_at) == 0
    assert store.forget_imports(datetime.now(UTC) + timedelta(seconds=1)) == 1
    assert store.list_imports(key_id=None, after=None, limit=9) == [unfinished]
    assert store.failed_rows(done.id, limit=9) == []


def test_a_large_import_is_kept_whole(store: Store) -> None:
    made = start(store, 5000)

    assert [pending.number for pending in store.pending_rows(made.id, limit=9999)] == list(range(5000))


def test_an_answer_is_remembered_for_its_key_and_request_id(store: Store) -> None:
    stored = StoredResponse(b"\x00" * 32, b"answer\x00\xff")
    with store.transaction() as transaction:
        assert transaction.find_response("key", "request") is None
        transaction.keep_response("key", "request", stored)
        assert transaction.find_response("key", "request") == stored

    with store.transaction() as transaction:
        assert transaction.find_response("key", "request") == stored
        assert transaction.find_response("other", "request") is None
        assert transaction.find_response("key", "other") is None
    assert store.sequence() == 0


def test_an_answer_is_remembered_only_with_the_change_that_it_tells_of(store: Store) -> None:
    with pytest.raises(RuntimeError, match="no"), store.transaction() as transaction:
        transaction.create_work(new_work("P-1"), [])
        transaction.keep_response("key", "request", StoredResponse(b"\x00" * 32, b"answer"))
        raise RuntimeError("no")

    with store.transaction() as transaction:
        assert transaction.find_response("key", "request") is None


def test_old_answers_are_forgotten(store: Store) -> None:
    with store.transaction() as transaction:
        for number in range(3):
            transaction.keep_response("key", str(number), StoredResponse(b"\x00" * 32, b"answer"))

    assert store.forget_responses(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert store.forget_responses(datetime.now(UTC) + timedelta(seconds=1)) == 3
    with store.transaction() as transaction:
        assert transaction.find_response("key", "0") is None


def key(key_id: str, created_at: datetime = NOW) -> ApiKey:
    return ApiKey(
        id=key_id,
        role=KeyRole.OWNER,
        owner="studio",
        requests_per_minute=60,
        bytes_per_minute=5_000_000_000,
        secret_sha256=b"\x01" * 32,
        created_at=created_at,
        revoked_at=None,
    )


def test_keys_are_kept_and_listed_oldest_first(store: Store) -> None:
    younger, older = key("a"), key("b", NOW - timedelta(days=1))
    store.create_key(younger)
    store.create_key(older)

    assert store.find_key("a") == younger
    assert store.find_key("c") is None
    assert store.list_keys() == [older, younger]


def test_a_key_is_revoked_once(store: Store) -> None:
    store.create_key(key("a"))
    store.create_key(key("b"))

    assert store.revoke_key("a", NOW).revoked_at == NOW
    assert store.revoke_key("a", NOW + timedelta(days=1)).revoked_at == NOW
    found = store.find_key("a")
    assert found is not None
    assert found.revoked_at == NOW
    assert store.find_key("b") == key("b")
    with pytest.raises(NotFoundError) as caught:
        store.revoke_key("c", NOW)
    assert caught.value.metadata == {"key": "c"}
