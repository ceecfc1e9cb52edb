"""Imports in the database: which rows are still to do, and what became of the others."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, case, delete, insert, select, update
from uuid_utils.compat import uuid7

from service.domain import Import, ImportRow, ImportState, RowState
from service.errors import NotFoundError
from service.store.codec import dump_new_work, load_new_work
from service.store.queries import BEFORE_ALL
from service.store.schema import import_rows, imports

_UNFINISHED = (ImportState.PENDING.value, ImportState.RUNNING.value)

_ENDED = (ImportState.DONE.value, ImportState.CANCELLED.value)

_PENDING_ROW = (
    import_rows.c.import_id == bindparam("of_import"),
    import_rows.c.number == bindparam("row"),
    import_rows.c.state == RowState.PENDING.value,
)
_FAIL_ROW = (
    update(import_rows)
    .where(*_PENDING_ROW)
    .values(state=RowState.FAILED.value, reason=bindparam("why"), message=bindparam("text"))
)
_DROP_ROW = delete(import_rows).where(*_PENDING_ROW)
_COUNT_ROW = {
    state: update(imports)
    .where(imports.c.id == bindparam("of_import"))
    .values(
        {
            imports.c.pending: imports.c.pending - 1,
            counter: counter + 1,
            imports.c.state: case((imports.c.pending == 1, ImportState.DONE.value), else_=imports.c.state),
            imports.c.updated_at: bindparam("now"),
        }
    )
    for state, counter in (
        (RowState.CREATED, imports.c.created),
        (RowState.SKIPPED, imports.c.skipped),
        (RowState.FAILED, imports.c.failed),
    )
}


def create(connection: Connection, key_id: str | None, rows: Sequence[ImportRow]) -> Import:
    """Keep the rows, pending or failed already; an import without pending rows is done at once."""
    now = datetime.now(UTC)
    counts = Counter(row.state for row in rows)
    made = Import(
        id=uuid7(),
        key_id=key_id,
        state=ImportState.PENDING if counts[RowState.PENDING] else ImportState.DONE,
        counts={state: counts[state] for state in RowState},
        created_at=now,
        updated_at=now,
    )
    connection.execute(
        insert(imports),
        {
            "id": made.id,
            "key_id": key_id,
            "state": made.state.value,
            "created_at": now,
            "updated_at": now,
            **{state.value: count for state, count in made.counts.items()},
        },
    )
    if rows:
        connection.execute(
            insert(import_rows),
            [
                {
                    "import_id": made.id,
                    "number": row.number,
                    "path": row.path,
                    "work": dump_new_work(row.work),
                    "state": row.state.value,
                    "reason": row.reason,
                    "message": row.message,
                }
                for row in rows
            ],
        )
    return made


def get(connection: Connection, import_id: UUID) -> Import:
    """One import.

    Raises:
        NotFoundError: If there is none.
    """
    row = connection.execute(select(imports).where(imports.c.id == import_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"There is no import {import_id}", operation=str(import_id))
    return _to_import(row)


def list_page(connection: Connection, *, key_id: str | None, after: UUID | None, limit: int) -> list[Import]:
    """A page of imports, oldest first; `key_id` None: of all keys."""
    query = select(imports).where(imports.c.id > (after or BEFORE_ALL)).order_by(imports.c.id).limit(limit)
    if key_id is not None:
        query = query.where(imports.c.key_id == key_id)
    return [_to_import(row) for row in connection.execute(query)]


def unfinished(connection: Connection) -> list[UUID]:
    """Imports that are pending or running, oldest first."""
    query = select(imports.c.id).where(imports.c.state.in_(_UNFINISHED)).order_by(imports.c.id)
    return list(connection.execute(query).scalars())


def rows_in_state(connection: Connection, import_id: UUID, state: RowState, limit: int) -> list[ImportRow]:
    """The first rows, by number, that are pending or failed."""
    query = (
        select(import_rows)
        .where(import_rows.c.import_id == import_id, import_rows.c.state == state.value)
        .order_by(import_rows.c.number)
        .limit(limit)
    )
    return [
        ImportRow(
            number=row.number,
            path=row.path,
            work=load_new_work(row.work),
            state=RowState(row.state),
            reason=row.reason,
            message=row.message,
        )
        for row in connection.execute(query)
    ]


def finish_row(
    connection: Connection, import_id: UUID, number: int, state: RowState, *, reason: str, message: str
) -> None:
    """Count a row as finished; forget it unless it failed.

    Raises:
        NotFoundError: If the row is not pending: it was finished before, or the import was cancelled.
        ValueError: If `state` is PENDING.
    """
    if state is RowState.PENDING:
        raise ValueError("a finished row is created, skipped or failed")
    key = {"of_import": import_id, "row": number}
    finished = (
        connection.execute(_FAIL_ROW, {**key, "why": reason, "text": message})
        if state is RowState.FAILED
        else connection.execute(_DROP_ROW, key)
    )
    if finished.rowcount == 0:
        raise NotFoundError(
            f"Row {number} of import {import_id} is not pending: it was finished or cancelled before",
            operation=str(import_id),
        )
    connection.execute(_COUNT_ROW[state], {"of_import": import_id, "now": datetime.now(UTC)})


def set_state(connection: Connection, import_id: UUID, state: ImportState) -> None:
    """Move an import on; one that is done or cancelled stays so. Cancelling drops the pending rows.

    Raises:
        NotFoundError: If there is no such import.
    """
    changed = connection.execute(
        update(imports)
        .where(imports.c.id == import_id, imports.c.state.in_(_UNFINISHED))
        .values(state=state.value, updated_at=datetime.now(UTC))
    )
    if changed.rowcount == 0:
        get(connection, import_id)
    elif state is ImportState.CANCELLED:
        connection.execute(
            delete(import_rows).where(
                import_rows.c.import_id == import_id, import_rows.c.state == RowState.PENDING.value
            )
        )


def forget(connection: Connection, before: datetime) -> int:
    """Drop the imports that ended before a moment; return how many that was."""
    ended = (imports.c.state.in_(_ENDED), imports.c.updated_at < before)
    connection.execute(
        delete(import_rows).where(import_rows.c.import_id.in_(select(imports.c.id).where(*ended)))
    )
    return connection.execute(delete(imports).where(*ended)).rowcount


def _to_import(row: Row[Any]) -> Import:
    return Import(
        id=row.id,
        key_id=row.key_id,
        state=ImportState(row.state),
        counts={
            RowState.PENDING: row.pending,
            RowState.CREATED: row.created,
            RowState.SKIPPED: row.skipped,
            RowState.FAILED: row.failed,
        },
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
