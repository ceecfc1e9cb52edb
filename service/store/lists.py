"""Monitoring lists and their runs in the database."""

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from uuid_utils.compat import uuid7

from service.errors import LeaseLostError, NotFoundError, StaleError
from service.monitored import (
    ListSettings,
    MonitoringList,
    Progress,
    Run,
    RunState,
    Told,
)
from service.store import monitor_codec as codec
from service.store.prepared import Query
from service.store.queries import BEFORE_ALL
from service.store.schema import (
    contents,
    deliveries,
    monitoring_lists,
    runs,
    suspect_fingerprints,
    suspect_parts,
    suspect_removals,
    watches,
)

_ACTIVE = (RunState.PENDING.value, RunState.RUNNING.value)
_IS_ACTIVE = or_(*(runs.c.state == state for state in _ACTIVE))
_ACTIVE_COUNTS = Query(select(runs.c.state, func.count()).where(_IS_ACTIVE).group_by(runs.c.state))
_DUE = Query(select(monitoring_lists.c.id).where(monitoring_lists.c.next_run_at <= bindparam("now")))
_EXPIRED = Query(
    select(runs.c.id)
    .join(monitoring_lists, monitoring_lists.c.id == runs.c.list_id)
    .where(_IS_ACTIVE, monitoring_lists.c.expires_at <= bindparam("now"))
)
_ERASED_AT_ONCE = 500

_LIST_COLUMNS = [column for column in monitoring_lists.c if column.name != "items"]
_RUN = select(runs, monitoring_lists.c.owner).join(monitoring_lists, monitoring_lists.c.id == runs.c.list_id)


class Lists:
    """Reads lists and runs, in whatever transaction the connection is in."""

    def __init__(self, connection: Connection) -> None:
        """Read through `connection`."""
        self._connection = connection

    def get(self, list_id: UUID) -> MonitoringList:
        """A list.

        Raises:
            NotFoundError: If there is none.
        """
        row = self._connection.execute(
            select(monitoring_lists).where(monitoring_lists.c.id == list_id)
        ).one_or_none()
        if row is None:
            raise NotFoundError(f"There is no list {list_id}", list=str(list_id))
        count, attempts = self._connection.execute(
            select(func.count(), func.max(deliveries.c.attempts)).where(deliveries.c.list_id == list_id)
        ).one()
        return dataclasses.replace(_to_list(row, row.items), untold=count, failed_attempts=attempts or 0)

    def page(self, *, owner: str | None, after: UUID | None, limit: int) -> list[MonitoringList]:
        """A page of lists without works, places and exceptions, oldest first; `owner` None: of all."""
        query = select(*_LIST_COLUMNS).where(monitoring_lists.c.id > (after or BEFORE_ALL))
        if owner is not None:
            query = query.where(monitoring_lists.c.owner == owner)
        rows = self._connection.execute(query.order_by(monitoring_lists.c.id).limit(limit))
        return [_to_list(row, None) for row in rows]

    def due(self, now: datetime) -> list[UUID]:
        """Lists that are to run by themselves now."""
        return [list_id for (list_id,) in _DUE.rows(self._connection, {"now": now})]

    def expired_runs(self, now: datetime) -> list[UUID]:
        """Runs that have not ended although their lists expired."""
        return [run_id for (run_id,) in _EXPIRED.rows(self._connection, {"now": now})]

    def active_counts(self) -> dict[RunState, int]:
        """How many runs have not ended, by state."""
        return {RunState(state): count for state, count in _ACTIVE_COUNTS.rows(self._connection, {})}

    def run(self, run_id: UUID) -> Run:
        """A run, with what became of its contents.

        Raises:
            NotFoundError: If there is none.
        """
        row = self._connection.execute(_RUN.where(runs.c.id == run_id)).one_or_none()
        if row is None:
            raise NotFoundError(f"There is no run {run_id}", run=str(run_id))
        return self._counted(_to_run(row))

    def runs(self, list_id: UUID, *, after: UUID | None, limit: int) -> list[Run]:
        """A page of a list's runs, oldest first."""
        query = _RUN.where(runs.c.list_id == list_id, runs.c.id > (after or BEFORE_ALL))
        rows = self._connection.execute(query.order_by(runs.c.id).limit(limit)).all()
        return [self._counted(_to_run(row)) for row in rows]

    def active_run(self, list_id: UUID) -> Run | None:
        """The run of a list that has not ended."""
        row = self._connection.execute(
            _RUN.where(runs.c.list_id == list_id, runs.c.state.in_(_ACTIVE)).order_by(runs.c.id).limit(1)
        ).one_or_none()
        return None if row is None else _to_run(row)

    def leasable(self, crawler: str, now: datetime) -> UUID | None:
        """The run that a crawler gets: its own, else the oldest that nobody holds."""
        active = runs.c.state.in_(_ACTIVE)
        held = and_(runs.c.lease_expires_at > now, runs.c.crawler == crawler)
        free = or_(runs.c.lease_expires_at.is_(None), runs.c.lease_expires_at <= now)
        for which in (held, free):
            query = select(runs.c.id).where(active, which).order_by(runs.c.id).limit(1)
            found: UUID | None = self._connection.execute(query).scalar_one_or_none()
            if found is not None:
                return found
        return None

    def _counted(self, run: Run) -> Run:
        rows = self._connection.execute(
            select(watches.c.state, func.count(), func.sum(watches.c.reports))
            .where(watches.c.run_id == run.id)
            .group_by(watches.c.state)
        ).all()
        counts = {state: count for state, count, _ in rows}
        return dataclasses.replace(
            run,
            pending=counts.get("waiting", 0) + counts.get("ready", 0),
            unreadable=counts.get("unreadable", 0),
            reports=sum(int(found) for _, _, found in rows),
        )


class ListWriter(Lists):
    """Changes lists and runs."""

    def __init__(self, connection: Connection, next_sequence: Callable[[], int]) -> None:
        """Write through `connection`; `next_sequence` gives the number of another change."""
        super().__init__(connection)
        self._next_sequence = next_sequence

    def create(self, owner: str, settings: ListSettings, now: datetime) -> MonitoringList:
        """Keep a new list."""
        made = MonitoringList(
            id=uuid7(),
            owner=owner,
            settings=settings,
            place_count=len(settings.places),
            next_run_at=_first_run(settings, now),
            latest_run=None,
            revision=1,
            created_at=now,
            updated_at=now,
        )
        self._connection.execute(
            insert(monitoring_lists),
            {"id": made.id, "owner": owner, "created_at": now, "revision": 1, **_columns(settings, now)},
        )
        return made

    def update(
        self, list_id: UUID, settings: ListSettings, now: datetime, *, revision: int | None
    ) -> MonitoringList:
        """Give a list new settings; match its contents anew where its works or least probability change.

        Raises:
            NotFoundError: If there is no such list.
            StaleError: If the list has another revision.
        """
        known = self._checked(list_id, revision)
        values = _columns(settings, now)
        if settings.schedule == known.settings.schedule and settings.expires_at == known.settings.expires_at:
            values["next_run_at"] = known.next_run_at
        self._connection.execute(
            update(monitoring_lists)
            .where(monitoring_lists.c.id == list_id)
            .values(revision=known.revision + 1, **values)
        )
        if settings.webhook is None:
            self._connection.execute(delete(deliveries).where(deliveries.c.list_id == list_id))
        scope = (known.settings.works, known.settings.min_probability)
        if scope != (settings.works, settings.min_probability):
            self._connection.execute(
                update(watches)
                .where(watches.c.list_id == list_id, watches.c.state == "matched")
                .values(state="ready")
            )
        return self.get(list_id)

    def delete(self, list_id: UUID, *, revision: int | None) -> None:
        """Erase a list, its runs, what it still had to tell, and the suspects that no other list saw.

        Captures and reports stay.

        Raises:
            NotFoundError: If there is no such list.
            StaleError: If the list has another revision.
        """
        self._checked(list_id, revision)
        execute = self._connection.execute
        seen = list(execute(select(watches.c.content_sha256).where(watches.c.list_id == list_id)).scalars())
        execute(delete(watches).where(watches.c.list_id == list_id))
        for start in range(0, len(seen), _ERASED_AT_ONCE):
            some = seen[start : start + _ERASED_AT_ONCE]
            watched = set(
                execute(select(watches.c.content_sha256).where(watches.c.content_sha256.in_(some))).scalars()
            )
            alone = [sha256 for sha256 in some if sha256 not in watched]
            if alone:
                mine = suspect_parts.c.content_sha256.in_(alone)
                self._erase_fingerprints(suspect_fingerprints.c.content_sha256.in_(alone))
                keys = select(suspect_parts.c.key).where(mine)
                self._erase_fingerprints(suspect_fingerprints.c.content_sha256.in_(keys))
                execute(delete(suspect_parts).where(mine))
                execute(delete(contents).where(contents.c.sha256.in_(alone)))
        execute(delete(deliveries).where(deliveries.c.list_id == list_id))
        execute(delete(runs).where(runs.c.list_id == list_id))
        execute(delete(monitoring_lists).where(monitoring_lists.c.id == list_id))

    def _erase_fingerprints(self, which: ColumnElement[bool]) -> None:
        """Erase fingerprints of suspects, and note it for the indexes that hold them."""
        columns = suspect_fingerprints.c
        gone = select(
            columns.scheme_id,
            literal(self._next_sequence(), BigInteger),
            columns.first_id,
            columns.descriptor_count,
        ).where(which, columns.first_id.is_not(None))
        names = ["scheme_id", "sequence", "first_id", "descriptor_count"]
        self._connection.execute(insert(suspect_removals).from_select(names, gone))
        self._connection.execute(delete(suspect_fingerprints).where(which))

    def start_run(self, list_id: UUID, now: datetime, *, scheduled: bool) -> tuple[Run, bool]:
        """The list's run that has not ended, or a new one; and whether it is new.

        Raises:
            NotFoundError: If there is no such list.
        """
        known = self.active_run(list_id)
        if known is not None:
            return known, False
        self.get(list_id)
        run_id = uuid7()
        self._connection.execute(
            insert(runs),
            {
                "id": run_id,
                "list_id": list_id,
                "state": RunState.PENDING.value,
                "scheduled": int(scheduled),
                "progress": codec.dump_progress(Progress()),
                "crawler": "",
                "message": "",
                "created_at": now,
            },
        )
        self._connection.execute(
            update(monitoring_lists).where(monitoring_lists.c.id == list_id).values(latest_run=run_id)
        )
        return self.run(run_id), True

    def set_next_run(self, list_id: UUID, at: datetime | None) -> None:
        """Plan a list's next run."""
        self._connection.execute(
            update(monitoring_lists).where(monitoring_lists.c.id == list_id).values(next_run_at=at)
        )

    def lease(self, run_id: UUID, crawler: str, now: datetime, until: datetime) -> Run:
        """Give a run to a crawler.

        Raises:
            NotFoundError: If there is no such run.
            LeaseLostError: If the run has ended, or another crawler holds it.
        """
        known = self._held(run_id, crawler, now, take=True)
        self._connection.execute(
            update(runs)
            .where(runs.c.id == run_id)
            .values(
                state=RunState.RUNNING.value,
                crawler=crawler,
                lease_expires_at=until,
                started_at=known.started_at or now,
            )
        )
        return self.run(run_id)

    def check_held(self, run_id: UUID, crawler: str, now: datetime) -> Run:
        """The run, if this crawler may work on it: it holds it, or held it last and nobody else does.

        Raises:
            NotFoundError: If there is no such run.
            LeaseLostError: If the run has ended, or another crawler has it.
        """
        return self._held(run_id, crawler, now, take=False)

    def report(self, run_id: UUID, crawler: str, told: Told, now: datetime, lease_until: datetime) -> Run:
        """Note how far a run is, and renew its lease. What is told of a run that has ended changes nothing.

        Raises:
            NotFoundError: If there is no such run.
            LeaseLostError: If another crawler has it.
        """
        known = self.run(run_id)
        if known.ended and known.crawler == crawler:
            return known
        self._held(run_id, crawler, now, take=False)
        ended = told.state not in (RunState.PENDING, RunState.RUNNING)
        self._connection.execute(
            update(runs)
            .where(runs.c.id == run_id)
            .values(
                state=told.state.value,
                progress=codec.dump_progress(told.progress),
                message=told.message,
                lease_expires_at=lease_until if told.state is RunState.RUNNING else None,
                updated_at=now,
                ended_at=now if ended else None,
            )
        )
        return self.run(run_id)

    def cancel_run(self, run_id: UUID, now: datetime, message: str) -> Run:
        """End a run; one that has ended stays as it is.

        Raises:
            NotFoundError: If there is no such run.
        """
        self._connection.execute(
            update(runs)
            .where(runs.c.id == run_id, runs.c.state.in_(_ACTIVE))
            .values(state=RunState.CANCELLED.value, lease_expires_at=None, ended_at=now, message=message)
        )
        return self.run(run_id)

    def _held(self, run_id: UUID, crawler: str, now: datetime, *, take: bool) -> Run:
        run = self.run(run_id)
        if run.ended:
            raise LeaseLostError(
                f"run {run_id} is {run.state}: nothing more is taken for it", run=str(run_id)
            )
        others = run.crawler not in ("", crawler)
        if others and (not take or (run.lease_expires_at is not None and run.lease_expires_at > now)):
            raise LeaseLostError(f"run {run_id} belongs to another crawler", run=str(run_id))
        if not take and run.crawler != crawler:
            raise LeaseLostError(f"run {run_id} was not taken: lease it first", run=str(run_id))
        return run

    def _checked(self, list_id: UUID, revision: int | None) -> MonitoringList:
        known = self.get(list_id)
        if revision not in (None, known.revision):
            raise StaleError(
                f"List {list_id} was changed meanwhile; get it again and repeat the change",
                list=str(list_id),
                revision=str(known.revision),
            )
        return known


def _first_run(settings: ListSettings, now: datetime) -> datetime | None:
    if settings.schedule is None:
        return None
    return settings.schedule.next_after(now, now)


def _columns(settings: ListSettings, now: datetime) -> dict[str, Any]:
    return {
        "title": settings.title,
        "settings": codec.dump_settings(settings),
        "items": codec.dump_items(settings),
        "place_count": len(settings.places),
        "expires_at": settings.expires_at,
        "next_run_at": _first_run(settings, now),
        "updated_at": now,
    }


def _to_list(row: Row[Any], items: str | None) -> MonitoringList:
    return MonitoringList(
        id=row.id,
        owner=row.owner,
        settings=codec.load_settings(row.settings, items, title=row.title, expires_at=row.expires_at),
        place_count=row.place_count,
        next_run_at=row.next_run_at,
        latest_run=row.latest_run,
        revision=row.revision,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _to_run(row: Row[Any]) -> Run:
    return Run(
        id=row.id,
        list_id=row.list_id,
        owner=row.owner,
        state=RunState(row.state),
        scheduled=bool(row.scheduled),
        progress=codec.load_progress(row.progress),
        crawler=row.crawler,
        lease_expires_at=row.lease_expires_at,
        message=row.message,
        created_at=row.created_at,
        started_at=row.started_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
    )
