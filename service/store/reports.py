"""Match reports, and what webhooks are still to be told, in the database."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, Select, bindparam, delete, func, insert, select, update
from uuid_utils.compat import uuid7

from service.errors import NotFoundError
from service.monitored import (
    REPORT_VERSION,
    Delivery,
    Finding,
    ReportFilter,
    Seen,
    Sighting,
    StoredReport,
    Watch,
)
from service.store import monitor_codec
from service.store.cases import CaseWriter
from service.store.prepared import Query
from service.store.queries import BEFORE_ALL
from service.store.schema import (
    contents,
    deliveries,
    monitoring_lists,
    report_lists,
    reports,
    sightings,
    works,
)

MAX_SIGHTINGS = 1000
"""Most sightings that one report shows."""

_DUE_DELIVERIES = Query(
    select(
        deliveries.c.id,
        deliveries.c.event,
        deliveries.c.body,
        deliveries.c.attempts,
        monitoring_lists.c.settings,
    )
    .join(monitoring_lists, monitoring_lists.c.id == deliveries.c.list_id)
    .where(deliveries.c.next_at <= bindparam("now"))
    .order_by(deliveries.c.next_at)
    .limit(bindparam("most"))
)
_REPORT = select(reports, works.c.id.label("live_work")).outerjoin(works, works.c.id == reports.c.work_id)


class Reports:
    """Reads reports and deliveries, in whatever transaction the connection is in."""

    def __init__(self, connection: Connection) -> None:
        """Read through `connection`."""
        self._connection = connection

    def get(self, report_id: UUID) -> StoredReport:
        """A report with its sightings, `MAX_SIGHTINGS` at most.

        Raises:
            NotFoundError: If there is none.
        """
        row = self._connection.execute(_REPORT.where(reports.c.id == report_id)).one_or_none()
        if row is None:
            raise NotFoundError(f"There is no report {report_id}", report=str(report_id))
        return self._to_report(row, MAX_SIGHTINGS)

    def page(self, which: ReportFilter, *, after: UUID | None, limit: int) -> list[StoredReport]:
        """A page of reports in order of creation, each with its first sighting."""
        query = _filtered(which).where(reports.c.id > (after or BEFORE_ALL)).order_by(reports.c.id)
        rows = self._connection.execute(query.limit(limit)).all()
        return [self._to_report(row, 1) for row in rows]

    def changed(self, which: ReportFilter, *, after: int, until: int, limit: int) -> list[StoredReport]:
        """Reports whose last change lies after one change and up to another, in order of changes."""
        query = _filtered(which).where(reports.c.sequence > after, reports.c.sequence <= until)
        rows = self._connection.execute(query.order_by(reports.c.sequence).limit(limit)).all()
        return [self._to_report(row, 1) for row in rows]

    def due_deliveries(self, now: datetime, limit: int) -> list[Delivery]:
        """Events that are to be posted now, the longest due first."""
        found = []
        rows = _DUE_DELIVERIES.rows(self._connection, {"now": now, "most": limit})
        for delivery_id, event, body, attempts, settings in rows:
            webhook = monitor_codec.load_webhook(json.loads(settings))
            if webhook is not None:
                found.append(Delivery(delivery_id, webhook, event, body, attempts))
        return found

    def waiting_deliveries(self) -> int:
        """How many events are still to be posted."""
        return self._connection.execute(select(func.count()).select_from(deliveries)).scalar_one()

    def _to_report(self, row: Row[Any], most: int) -> StoredReport:
        query = (
            select(sightings)
            .join(report_lists, report_lists.c.list_id == sightings.c.list_id)
            .where(sightings.c.content_sha256 == row.content_sha256, report_lists.c.report_id == row.id)
            .order_by(sightings.c.id)
            .limit(most)
        )
        return StoredReport(
            id=row.id,
            version=row.version,
            revision=row.revision,
            owner=row.owner,
            work_id=row.work_id,
            match=json.loads(row.match),
            modality=row.modality,
            sha256=row.content_sha256,
            byte_count=row.byte_count,
            sightings=tuple(_to_sighting(seen) for seen in self._connection.execute(query)),
            sighting_count=row.sighting_count,
            policy_revision=row.policy_revision,
            index_sequence=row.index_sequence,
            on_registration=bool(row.on_registration),
            work_deleted=row.live_work is None,
            created_at=row.created_at,
            updated_at=row.updated_at,
            sequence=row.sequence,
        )


class ReportWriter(Reports):
    """Makes and changes reports, and keeps what webhooks are to be told."""

    def __init__(self, connection: Connection, next_sequence: Callable[[], int], cases: CaseWriter) -> None:
        """Write through `connection`; `next_sequence` gives the number of another change."""
        super().__init__(connection)
        self._next_sequence = next_sequence
        self._cases = cases

    def record(self, watch: Watch, finding: Finding, modality: str, now: datetime) -> list[StoredReport]:
        """Keep what a match of a content for a list gave.

        A report that is there already is measured anew where the match is more probable now, and gains the
        sightings of the list.

        Returns:
            The reports that are new, or new to the list.
        """
        byte_count = self._connection.execute(
            select(contents.c.byte_count).where(contents.c.sha256 == watch.sha256)
        ).scalar_one_or_none()
        if byte_count is None:  # erased meanwhile, with its list
            return []
        told = []
        for match in finding.matches:
            measured = {
                "probability": match.probability,
                "match": monitor_codec.dump_match(match),
                "policy_revision": finding.policy_revision,
                "index_sequence": finding.sequence,
            }
            known = self._connection.execute(
                select(reports.c.id, reports.c.probability).where(
                    reports.c.content_sha256 == watch.sha256, reports.c.work_id == match.work.id
                )
            ).one_or_none()
            report_id = uuid7() if known is None else known.id
            if known is None:
                self._connection.execute(
                    insert(reports),
                    {
                        "id": report_id,
                        "version": REPORT_VERSION,
                        "revision": 0,
                        "owner": match.work.owner,
                        "work_id": match.work.id,
                        "content_sha256": watch.sha256,
                        "modality": modality,
                        "byte_count": byte_count,
                        "sighting_count": 0,
                        "on_registration": int(finding.on_registration),
                        "created_at": now,
                        "updated_at": now,
                        "sequence": 0,
                        **measured,
                    },
                )
            joined = self._join(report_id, watch.list_id)
            better = known is not None and match.probability > known.probability
            if joined or better:
                self._touch(report_id, now, measured if better else {})
            if better:
                self._cases.remeasured(report_id, match.probability)
            if joined:
                self._cases.file_list(report_id, watch.list_id, now)
                told.append(self.get(report_id))
        return told

    def tell(self, list_id: UUID, event: str, body: Callable[[UUID], str], now: datetime) -> None:
        """Keep an event for a list's webhook, if it has one.

        Args:
            list_id: Which list.
            event: Such as ``report.created``.
            body: Makes the JSON text, given the delivery's id.
            now: UTC.
        """
        settings = self._connection.execute(
            select(monitoring_lists.c.settings).where(monitoring_lists.c.id == list_id)
        ).scalar_one_or_none()
        if settings is None or monitor_codec.load_webhook(json.loads(settings)) is None:
            return
        delivery_id = uuid7()
        self._connection.execute(
            insert(deliveries),
            {
                "id": delivery_id,
                "list_id": list_id,
                "event": event,
                "body": body(delivery_id),
                "attempts": 0,
                "next_at": now,
            },
        )

    def drop_delivery(self, delivery_id: UUID) -> None:
        """Forget an event that was posted, or given up."""
        self._connection.execute(delete(deliveries).where(deliveries.c.id == delivery_id))

    def put_off_delivery(self, delivery_id: UUID, attempts: int, until: datetime) -> None:
        """Try an event again later."""
        self._connection.execute(
            update(deliveries).where(deliveries.c.id == delivery_id).values(attempts=attempts, next_at=until)
        )

    def _join(self, report_id: UUID, list_id: UUID) -> bool:
        """Let a list lead to a report; False if it did before."""
        key = {"list_id": list_id, "report_id": report_id}
        known = select(report_lists.c.list_id).where(
            report_lists.c.list_id == list_id, report_lists.c.report_id == report_id
        )
        if self._connection.execute(known).first():
            return False
        self._connection.execute(insert(report_lists), key)
        return True

    def _touch(self, report_id: UUID, now: datetime, values: dict[str, Any]) -> None:
        seen = (
            select(func.count())
            .select_from(sightings.join(report_lists, report_lists.c.list_id == sightings.c.list_id))
            .where(
                sightings.c.content_sha256 == reports.c.content_sha256, report_lists.c.report_id == report_id
            )
            .scalar_subquery()
        )
        self._connection.execute(
            update(reports)
            .where(reports.c.id == report_id)
            .values(
                revision=reports.c.revision + 1,
                sighting_count=seen,
                updated_at=now,
                sequence=self._next_sequence(),
                **values,
            )
        )


def _filtered(which: ReportFilter) -> Select[Any]:
    query: Select[Any] = _REPORT
    if which.list_id is not None:
        query = query.join(report_lists, report_lists.c.report_id == reports.c.id).where(
            report_lists.c.list_id == which.list_id
        )
    if which.owner is not None:
        query = query.where(reports.c.owner == which.owner)
    if which.work_id is not None:
        query = query.where(reports.c.work_id == which.work_id)
    if which.min_probability > 0:
        query = query.where(reports.c.probability >= which.min_probability)
    return query


def _to_sighting(row: Row[Any]) -> Sighting:
    return Sighting(
        list_id=row.list_id,
        run_id=row.run_id,
        capture_id=row.capture_id,
        seen=Seen(
            sha256=row.content_sha256,
            page_url=row.page_url,
            page_title=row.page_title,
            media_url=row.media_url,
            found_as=row.found_as,
            uploader=row.uploader or "",
            at=row.first_seen_at,
        ),
        last_seen_at=row.last_seen_at,
    )
