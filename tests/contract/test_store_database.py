"""Opening, migrating, query plans, and what a database's own troubles become."""

# ruff: noqa: PT012 - an error has to leave a transaction, and that is a block

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, NullPool, create_engine, event, text

from service.domain import ImportRow, ImportState, RowState, StoredResponse, WorkChange
from service.errors import BusyError, StartupError, StorageFullError, StoreVersionError
from service.store import Store, prepared
from service.store.schema import metadata
from tests.contract.store_values import BITS, FLOATS, SCHEMES, new_reference, new_work, sha256_of


def test_the_migrations_make_the_tables(store: Store) -> None:
    with store._database.writer.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_migrations_make_the_very_sql_that_is_declared(tmp_path: Path) -> None:
    """Alembic's comparison overlooks partial indexes and tables without rowids: compare the SQL itself."""
    Store.open(f"sqlite:///{tmp_path / 'migrated.db'}", SCHEMES).close()
    declared = create_engine(f"sqlite:///{tmp_path / 'declared.db'}", poolclass=NullPool)
    metadata.create_all(declared)

    assert _sql_of(tmp_path / "migrated.db") == _sql_of(tmp_path / "declared.db")


def _sql_of(path: Path) -> dict[str, list[str]]:
    """What each table and index is made of, whatever the order of its parts."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL").fetchall()
    connection.close()
    return {name: sorted(re.split(r",\s+|\n", sql)) for name, sql in rows if not name.startswith("alembic")}


def test_a_newer_database_is_refused(store: Store, store_url: str) -> None:
    with store.transaction() as transaction:
        transaction.create_work(new_work(), [new_reference(1)])
    known = _set_revision(store, "9999")

    with pytest.raises(StoreVersionError, match=r"9999.*Upgrade Copyhound") as caught:
        Store.open(store_url, SCHEMES)
    assert caught.value.metadata == {"revision": "9999"}
    _set_revision(store, known)
    again = Store.open(store_url, SCHEMES)
    assert again.counts().works == 1
    again.close()


def _set_revision(store: Store, revision: str) -> str:
    """Write a revision into the database; return the one that stood there."""
    with store._database.writer.begin() as connection:
        known: str = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
        return known


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_two_servers_that_start_at_once_do_not_clash(
    backend: str, tmp_path: Path, new_postgresql_database: Callable[[str], str]
) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}" if backend == "sqlite" else new_postgresql_database("template0")
    outcomes: list[Store | BaseException] = []
    barrier = threading.Barrier(3)

    def start() -> None:
        barrier.wait()
        try:
            outcomes.append(Store.open(url, SCHEMES))
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            outcomes.append(error)

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [outcome for outcome in outcomes if isinstance(outcome, BaseException)] == []
    stores = [outcome for outcome in outcomes if isinstance(outcome, Store)]
    for number, store in enumerate(stores):
        with store.transaction() as transaction:
            transaction.create_work(new_work(), [new_reference(number, 1, 1)])
    assert {store.sequence() for store in stores} == {3}
    assert set(stores[0].descriptor_owners(FLOATS.id, np.arange(9, dtype=np.int64))) == {0, 1, 2}
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite://", "path of a file"),
        ("sqlite:///:memory:", "path of a file"),
        ("sqlite:////nowhere/at/all/copyhound.db", "unable to open"),
        ("mysql://host/name", "no database for Copyhound"),
        ("no url", "cannot be read"),
        ("postgresql://user:secret@/name?host=/nowhere", "cannot be opened"),
    ],
)
def test_an_impossible_database_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(StartupError, match=message) as caught:
        Store.open(url, SCHEMES)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "copyhound.db"
    path.write_bytes(b"this is a text, not a database" * 1000)

    with pytest.raises(StartupError, match="not a database"):
        Store.open(f"sqlite:///{path}", SCHEMES)


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    return tmp_path / "copyhound.db"


@pytest.fixture
def sqlite_store(sqlite_path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{sqlite_path}", SCHEMES)
    yield store
    store.close()


def _pragma(store: Store, statement: str) -> int:
    """Run a pragma on the one connection that writes."""
    connection = store._database.writer.raw_connection()
    try:
        value: int = connection.cursor().execute(f"PRAGMA {statement}").fetchone()[0]
        return value
    finally:
        connection.close()


def test_sqlite_is_set_up_for_durability(sqlite_store: Store, sqlite_path: Path) -> None:
    connection = sqlite3.connect(sqlite_path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()
    settings = ("synchronous", "foreign_keys", "secure_delete", "busy_timeout")
    assert [_pragma(sqlite_store, name) for name in settings] == [2, 1, 1, 30_000]


def _fill_disk(store: Store) -> None:
    _pragma(store, f"max_page_count={_pragma(store, 'page_count')}")


def _free_disk(store: Store) -> None:
    _pragma(store, "max_page_count=1000000")


def test_a_full_disk_changes_nothing_and_passes(sqlite_store: Store) -> None:
    with sqlite_store.transaction() as transaction:
        kept = transaction.create_work(new_work("kept"), [new_reference(1)])
    _fill_disk(sqlite_store)

    with pytest.raises(StorageFullError, match="full"), sqlite_store.transaction() as transaction:
        for seed in range(2, 500):
            transaction.create_work(new_work(str(seed)), [new_reference(seed, 50)])
    assert sqlite_store.counts().works == 1
    assert sqlite_store.get_work(kept.id) == kept

    _free_disk(sqlite_store)
    with sqlite_store.transaction() as transaction:
        transaction.create_work(new_work("later"), [new_reference(3)])
        assert [change.first_id for change in transaction.changes] == [1]
    assert sqlite_store.counts().works == 2


def test_a_full_disk_fails_the_transaction_even_if_the_error_is_caught(sqlite_store: Store) -> None:
    _fill_disk(sqlite_store)
    created, refused = 0, 0
    with pytest.raises(StorageFullError), sqlite_store.transaction() as transaction:
        for seed in range(500):
            try:
                with transaction.savepoint():
                    transaction.create_work(new_work(str(seed)), [new_reference(seed, 50)])
                created += 1
            except StorageFullError:
                refused += 1
        assert len(transaction.changes) == transaction.sequence == created

    assert created > 0
    assert refused > 1
    assert sqlite_store.sequence() == 0
    assert list(sqlite_store.changes_since(BITS.id, 0)) == []


def test_another_process_that_writes_is_waited_for_and_then_named(
    sqlite_store: Store, sqlite_path: Path
) -> None:
    _pragma(sqlite_store, "busy_timeout=50")
    other = sqlite3.connect(sqlite_path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(BusyError, match="Another process"), sqlite_store.transaction():
        pass
    assert sqlite_store.sequence() == 0
    other.execute("ROLLBACK")
    other.close()
    with sqlite_store.transaction() as transaction:
        transaction.create_work(new_work(), [])


@pytest.fixture
def postgresql_store(postgresql_url: str) -> Iterator[Store]:
    store = Store.open(postgresql_url, SCHEMES)
    yield store
    store.close()


@pytest.mark.parametrize(
    ("code", "meaning"), [("53100", StorageFullError), ("57P01", BusyError), ("55P03", BusyError)]
)
def test_what_postgresql_reports_is_told_in_our_words(
    postgresql_store: Store, code: str, meaning: type[Exception]
) -> None:
    failing = f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$"
    with pytest.raises(meaning), postgresql_store._database.writer.begin() as connection:
        connection.exec_driver_sql(failing)

    with postgresql_store.transaction() as transaction:
        transaction.create_work(new_work(), [])
    assert postgresql_store.counts().works == 1


def test_a_lost_connection_is_replaced(postgresql_store: Store) -> None:
    with postgresql_store.transaction() as transaction:
        transaction.create_work(new_work(), [])
    with postgresql_store._database.writer.connect() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    assert postgresql_store.counts().works == 1


def test_a_connection_that_is_lost_in_a_transaction_makes_the_whole_of_it_busy(
    postgresql_store: Store,
) -> None:
    refused = 0
    with pytest.raises(BusyError), postgresql_store.transaction() as transaction:
        with transaction.savepoint():
            transaction.create_work(new_work("first"), [])
        with postgresql_store._database.reader.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        for number in range(3):
            try:
                with transaction.savepoint():
                    transaction.create_work(new_work(str(number)), [])
            except BusyError:
                refused += 1
    assert refused == 3
    with postgresql_store.transaction() as transaction:
        transaction.create_work(new_work("first"), [])
    assert postgresql_store.sequence() == 1


def test_errors_hold_no_values(store: Store) -> None:
    with pytest.raises(Exception, match="hidden") as caught, store._database.reader.connect() as connection:
        connection.execute(text("SELECT * FROM missing WHERE a = :a"), {"a": "a secret"})
    assert "a secret" not in str(caught.value)


class Plans:
    """Asks the database how it would run each statement that it is given."""

    def __init__(self) -> None:
        self.plans: dict[str, str] = {}

    def explain(
        self, connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object
    ) -> None:
        if statement.split(maxsplit=1)[0] not in {"SELECT", "UPDATE", "DELETE"}:
            return
        cursor: Any = connection.connection.cursor()
        sqlite = connection.dialect.name == "sqlite"
        if not sqlite:  # the tables are too small here for their indexes to pay
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute("SET LOCAL enable_sort = off")
        one = parameters[0] if isinstance(parameters, list) else parameters
        cursor.execute(f"EXPLAIN {'QUERY PLAN ' if sqlite else ''}{statement}", one)
        self.plans[statement] = "\n".join(str(row[-1]) for row in cursor.fetchall())
        cursor.close()


class Explained:
    """A driver's cursor that has each statement explained before it runs it."""

    def __init__(self, cursor: Any, explain: Callable[[str, Any], None]) -> None:
        self._cursor = cursor
        self._explain = explain

    def execute(self, statement: str, parameters: Any = ()) -> None:
        self._explain(statement, parameters)
        self._cursor.execute(statement, parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


TABLE_SCANS = {
    "sqlite": r"SCAN (?!counters|schemes|wanted|CONSTANT)\w+$|\(scheme_id=\?\)$|USE TEMP B-TREE",
    "postgresql": r"Seq Scan on (?!counters|schemes)\w+|\bSort\b",
}
"""Whatever grows with the number of works; `counters` has one row, `schemes` a few."""


def test_every_frequent_statement_uses_an_index(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = Plans()
    row = ImportRow(0, "a.jpg", new_work())
    for engine in (store._database.reader, store._database.writer):
        event.listen(engine, "before_cursor_execute", plans.explain)
    opened = prepared._Cursor

    @contextmanager
    def explained(connection: Connection) -> Iterator[Explained]:
        with opened(connection) as cursor:
            yield Explained(cursor, partial(plans.explain, connection, cursor))

    monkeypatch.setattr(prepared, "_Cursor", explained)

    with store.transaction() as transaction:
        work = transaction.create_work(new_work("P-1"), [new_reference(1, 1, 1)])
        assert work.references is not None
        transaction.find_work("studio", "P-1")
        transaction.add_reference(work.id, new_reference(2))
        transaction.update_work(work.id, WorkChange(title="x"), revision=1 + 1)
        transaction.find_response("key", "request")
        transaction.keep_response("key", "request", StoredResponse(b"", b""))
        made = transaction.create_import("key", [row, ImportRow(1, "b.jpg", new_work())])
        transaction.finish_row(made.id, 0, RowState.CREATED)
        transaction.finish_row(made.id, 1, RowState.FAILED)
        transaction.set_import_state(made.id, ImportState.CANCELLED)
    references = [reference.id for reference in work.references]
    store.sequence()
    store.find_responses("key", ["request"])
    store.get_work(work.id)
    store.get_works([work.id, uuid4()])
    store.get_references(references)
    store.references_by_sha256(sha256_of(1))
    store.references_by_sha256(sha256_of(1), owner="studio")
    store.fingerprints(references)
    store.descriptor_owners(BITS.id, np.arange(3, dtype=np.int64))
    store.descriptor_owners(BITS.id, np.arange(3, dtype=np.int64), owner="studio")
    list(store.changes_since(BITS.id, 0))
    store.list_works(owner=None, external_id=None, after=None, limit=9)
    store.list_works(owner="studio", external_id=None, after=work.id, limit=9)
    store.find_key("key")
    store.list_imports(key_id=None, after=None, limit=9)
    store.list_imports(key_id="key", after=made.id, limit=9)
    store.pending_rows(made.id, limit=9)
    store.failed_rows(made.id, limit=9)
    store.forget_responses(datetime.now(UTC))
    store.forget_removals({BITS.id: 0})
    with store.transaction() as transaction:
        transaction.delete_work(work.id, revision=None)

    assert len(plans.plans) >= 25
    bad = re.compile(TABLE_SCANS[store._database.writer.dialect.name], re.MULTILINE)
    assert {sql: plan for sql, plan in plans.plans.items() if bad.search(plan)} == {}
