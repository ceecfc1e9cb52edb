"""Statements that go past SQLAlchemy give what they give through it, and their errors mean the same."""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Select, bindparam, insert, select

from service.errors import BusyError
from service.store import Store, queries
from service.store.prepared import Change, Query
from service.store.schema import work_references, works
from tests.contract.store_values import SCHEMES, new_reference, new_work

OF_WORK = select(works).where(works.c.id == bindparam("id"))
REFERENCES = queries._REFERENCES.where(work_references.c.work_id == bindparam("work_id"))
FIRST = select(works.c.id, works.c.created_at).order_by(works.c.id).limit(bindparam("limit"))
"""All types of columns, a value that is rendered into the text, and a limit."""


@pytest.mark.parametrize(
    ("statement", "name", "column"),
    [(OF_WORK, "id", None), (REFERENCES, "work_id", None), (FIRST, "limit", 1)],
)
def test_rows_are_those_of_sqlalchemy(
    store: Store, statement: Select[Any], name: str, column: int | None
) -> None:
    with store.transaction() as transaction:
        work = transaction.create_work(new_work("a % b"), [new_reference(1, 1, 2), new_reference(2)])
    key: Mapping[str, Any] = {name: work.id if column is None else column}
    query = Query(statement)
    with store._database.reader.connect() as connection:
        expected = [list(row) for row in connection.execute(statement, key)]
        assert expected
        for _ in range(2):
            assert [list(row) for row in query.rows(connection, {**key, "another": 1})] == expected


def test_a_change_that_fails_undoes_its_savepoint_alone(store: Store) -> None:
    change = Change(insert(works))
    with store.transaction() as transaction:
        work = transaction.create_work(new_work("kept"), [])
        row = dict(transaction._connection.execute(select(works)).one()._mapping)
        twice = [{**row, "id": one, "external_id": None} for one in (uuid4(), work.id)]
        for rows in (twice, twice[1:]):
            with (
                pytest.raises(transaction._connection.dialect.loaded_dbapi.IntegrityError),
                transaction.savepoint(),
            ):
                change.run(transaction._connection, rows)
        change.run(transaction._connection, twice[:1])
        transaction.create_work(new_work("later"), [])
    assert {one.external_id for one in store.get_works([work.id, twice[0]["id"]]).values()} == {"kept", None}
    assert store.counts().works == 2


def test_a_connection_that_is_lost_between_two_reads_is_told(postgresql_url: str) -> None:
    store = Store.open(postgresql_url, SCHEMES)
    with store.transaction() as transaction:
        work = transaction.create_work(new_work(), [])
    with store.view() as view:
        assert view.get_works([work.id])
        with store._database.writer.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        with pytest.raises(BusyError):
            view.get_works([work.id])
    assert store.get_works([work.id])
    store.close()
