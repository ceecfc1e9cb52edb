"""Cases in the database: finding them, and keeping them up to date with reports and sightings."""

import heapq
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy import (
    case as sql_case,
)
from uuid_utils.compat import uuid7

from service.domain import ApiKey
from service.errors import NotFoundError
from service.monitored import Seen
from service.reviewed import (
    SERVER,
    Case,
    CaseFilter,
    CaseOrder,
    CaseReport,
    CaseState,
    Decision,
    Lease,
    Outcome,
    Position,
    Ruling,
    SubjectKind,
)
from service.store import keys, review_events, tallies, words
from service.store.schema import (
    case_lists,
    case_reports,
    case_words,
    cases,
    decisions,
    report_lists,
    reports,
    sightings,
    unfiled_reports,
)
from service.store.tallies import Tally

NEVER = datetime(9999, 12, 31, tzinfo=UTC)
"""When a case without a date is due."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FEW = 2000
"""A filter with at most so many cases is looked up by itself, and what it gives is sorted. Others are met
often enough on a walk along the order's index."""
_MAX_SITE, _MAX_WORDS, _MAX_CASES = 255, 200, 100
_SETTLING = [outcome.value for outcome in Outcome if outcome.settles_content]

_DECISION_COLUMNS = [column.label(f"d_{column.name}") for column in decisions.c if column.name != "case_id"]
_FROM = cases.outerjoin(
    decisions, and_(decisions.c.case_id == cases.c.id, decisions.c.number == cases.c.decision_number)
)
_CASE = select(cases, *_DECISION_COLUMNS)

# Statements of every report and decision: made once, since making them costs more than running them.
_CASE_BY_ID = _CASE.select_from(_FROM).where(cases.c.id == bindparam("id"))
_ROW_BY_ID = select(cases).where(cases.c.id == bindparam("id"))
_ROW_BY_SITE = select(cases).where(cases.c.work_id == bindparam("work_id"), cases.c.site == bindparam("site"))
_REPORT_BY_ID = select(reports).where(reports.c.id == bindparam("id"))
_PLACES = (
    select(sightings.c.page_url, sightings.c.page_title, sightings.c.media_url)
    .where(
        sightings.c.content_sha256 == bindparam("content_sha256"),
        sightings.c.list_id == bindparam("list_id"),
    )
    .order_by(sightings.c.id)
)
_WORDS = select(case_words.c.word).where(case_words.c.case_id == bindparam("case_id"))
_LISTS = select(case_lists.c.list_id).where(case_lists.c.case_id == bindparam("case_id"))
_LIST = _LISTS.where(case_lists.c.list_id == bindparam("list_id"))
_NUMBER = select(case_reports.c.number).where(
    case_reports.c.case_id == bindparam("case_id"), case_reports.c.report_id == bindparam("report_id")
)
_SETTLED = (
    select(cases.c.id.label("case_id"), cases.c.decision_number.label("number"), cases.c.outcome)
    .join(case_reports, case_reports.c.case_id == cases.c.id)
    .where(
        case_reports.c.report_id == bindparam("report_id"),
        case_reports.c.number < cases.c.decision_number,
        func.coalesce(cases.c.outcome, "").in_(_SETTLING),  # from the report, not from the outcome
    )
    .order_by(case_reports.c.case_id)
    .limit(1)
)
_IS_OPEN = and_(
    case_reports.c.number > bindparam("decision_number"), case_reports.c.settled_case_id.is_(None)
)
_COUNTED = (
    select(
        func.count(),
        func.sum(sql_case((_IS_OPEN, 1), else_=0)),
        func.max(sql_case((_IS_OPEN, reports.c.probability))),
        func.max(reports.c.probability),
    )
    .select_from(case_reports.join(reports, reports.c.id == case_reports.c.report_id))
    .where(case_reports.c.case_id == bindparam("case_id"))
)

_ORDER = {
    CaseOrder.NEWEST: cases.c.reported_at,
    CaseOrder.PROBABLE: cases.c.probability,
    CaseOrder.DUE: cases.c.due_at,
}
_Ids = Select[tuple[UUID]]


def site_of(page_url: str, media_url: str) -> str:
    """Host of the page, or of the media where there is no page; empty: neither has one."""
    for url in (page_url, media_url):
        try:
            host = urlsplit(url).hostname
        except ValueError:
            host = None
        if host:
            return host[:_MAX_SITE]
    return ""


class Cases:
    """Reads cases, in whatever transaction the connection is in."""

    def __init__(self, connection: Connection) -> None:
        """Read through `connection`."""
        self._connection = connection

    def find(self, case_id: UUID) -> Case | None:
        """A case, if there is one."""
        row = self._connection.execute(_CASE_BY_ID, {"id": case_id}).one_or_none()
        return None if row is None else _to_case(row)

    def get(self, case_id: UUID) -> Case:
        """A case.

        Raises:
            NotFoundError: If there is none.
        """
        found = self.find(case_id)
        if found is None:
            raise NotFoundError(f"There is no case {case_id}", case=str(case_id))
        return found

    def of_report(self, report_id: UUID) -> list[Case]:
        """The cases that a report is in, oldest first, 100 at most."""
        query = (
            _CASE.select_from(_FROM)
            .where(
                cases.c.id.in_(select(case_reports.c.case_id).where(case_reports.c.report_id == report_id))
            )
            .order_by(cases.c.id)
            .limit(_MAX_CASES)
        )
        return [_to_case(row) for row in self._connection.execute(query)]

    def of_uploader(self, uploader: str, site: str) -> list[Case]:
        """Cases about what somebody put somewhere, as pages claim, newest first; 100 at most.

        Args:
            uploader: As pages call them.
            site: Where: the same name means somebody else at another site. An address is the same anywhere.
        """
        seen = (
            select(reports.c.work_id, sightings.c.page_url, sightings.c.media_url)
            .join(reports, reports.c.content_sha256 == sightings.c.content_sha256)
            .where(sightings.c.uploader == uploader)
            .order_by(sightings.c.id.desc())
            .limit(_FEW)
        )
        places = {
            (work_id, where)
            for work_id, page_url, media_url in self._connection.execute(seen)
            if (where := site_of(page_url, media_url)) == site or "://" in uploader
        }
        found: list[Case] = []
        every = sorted(places, key=str)
        for start in range(0, len(every), _MAX_CASES):
            some = every[start : start + _MAX_CASES]
            query = _CASE.select_from(_FROM).where(tuple_(cases.c.work_id, cases.c.site).in_(some))
            found += [_to_case(row) for row in self._connection.execute(query)]
        return sorted(found, key=lambda case: case.id, reverse=True)[:_MAX_CASES]

    def reports(self, case_id: UUID, *, after: int, limit: int) -> list[CaseReport]:
        """Reports in a case that came in by events above `after`, in their order."""
        query = (
            select(case_reports, cases.c.decision_number)
            .join(cases, cases.c.id == case_reports.c.case_id)
            .where(case_reports.c.case_id == case_id, case_reports.c.number > after)
            .order_by(case_reports.c.number)
            .limit(limit)
        )
        return [
            CaseReport(
                report_id=row.report_id,
                number=row.number,
                covered=row.number < row.decision_number or row.settled_case_id is not None,
                settled_by=None if row.settled_case_id is None else (row.settled_case_id, row.settled_number),
            )
            for row in self._connection.execute(query)
        ]

    def decisions(self, case_id: UUID) -> list[Decision]:
        """All decisions on a case, oldest first."""
        query = select(decisions).where(decisions.c.case_id == case_id).order_by(decisions.c.number)
        return [_to_decision(row._mapping, row.case_id) for row in self._connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name

    def decisions_of_batch(self, batch_id: UUID) -> list[tuple[Decision, str]]:
        """The decisions that were made in a batch, each with the owner of its case."""
        query = (
            select(decisions, cases.c.owner)
            .join(cases, cases.c.id == decisions.c.case_id)
            .where(decisions.c.batch_id == batch_id)
        )
        found = [
            (_to_decision(row._mapping, row.case_id), row.owner)  # noqa: SLF001 - SQLAlchemy's public name
            for row in self._connection.execute(query)
        ]
        return sorted(found, key=lambda pair: pair[0].case_id)

    def find_key(self, key_id: str) -> ApiKey | None:
        """A key, revoked or not."""
        return keys.find(self._connection, key_id)

    def position(self, case: Case, order: CaseOrder) -> Position:
        """Where a list goes on after a case."""
        if order is CaseOrder.PROBABLE:
            return Position(case.probability, case.id)
        moment = case.reported_at if order is CaseOrder.NEWEST else case.due_at or NEVER
        return Position((moment - _EPOCH) // _MICROSECOND, case.id)

    def page(self, which: CaseFilter, order: CaseOrder, *, after: Position | None, limit: int) -> list[Case]:
        """A page of cases, in their order."""
        return self._page(which, order, (), after, limit)

    def first_free(
        self, which: CaseFilter, order: CaseOrder, actor: str, now: datetime, *, after: Position | None
    ) -> Case | None:
        """The first case that nobody but `actor` holds, or is to decide unless the filter says who."""
        conditions: list[ColumnElement[bool]] = [
            or_(cases.c.lease_until.is_(None), cases.c.lease_until <= now, cases.c.lease_holder == actor)
        ]
        if which.assignee is None:
            conditions.append(or_(cases.c.assignee.is_(None), func.coalesce(cases.c.assignee, "") == actor))
        return next(iter(self._page(which, order, conditions, after, 1)), None)

    def _page(
        self,
        which: CaseFilter,
        order: CaseOrder,
        conditions: Sequence[ColumnElement[bool]],
        after: Position | None,
        limit: int,
    ) -> list[Case]:
        """A page, along the order's index or from the rarest of what is asked for.

        A filter that few cases meet would be looked for in vain along most of an index; one that many meet
        gives too many to sort. So the rarest is counted first, up to `_FEW`.
        """
        states = tuple(dict.fromkeys(which.states)) or tuple(CaseState)
        beginnings = words.asked_for(which.text)
        if which.text.strip() and not beginnings:
            return []  # signs alone: nothing has them as a word
        query = _after(_CASE, order, after).where(*_conditions(which, order, beginnings), *conditions)
        rarest, count = self._rarest(which, states, beginnings)
        if count == 0:
            return []
        if rarest is not None and count <= _FEW:
            few = rarest.limit(_FEW + 1).subquery()
            query = query.select_from(few.join(_FROM, cases.c.id == few.c[0]))
            query = query.where(func.coalesce(cases.c.state, "").in_([state.value for state in states]))
            return [_to_case(row) for row in self._connection.execute(query.limit(limit))]
        walks = (
            self._connection.execute(
                query.select_from(_FROM).where(cases.c.state == state.value).limit(limit)
            ).all()
            for state in states
        )
        column, least_first = _ORDER[order].name, order is CaseOrder.DUE
        merged = heapq.merge(
            *walks, key=lambda row: (getattr(row, column), row.id.bytes), reverse=not least_first
        )
        return [_to_case(row) for _, row in zip(range(limit), merged, strict=False)]

    def _rarest(
        self, which: CaseFilter, states: Sequence[CaseState], beginnings: Sequence[bytes]
    ) -> tuple[_Ids | None, int]:
        """The filter that fewest cases meet, of those with an index; and how many, `_FEW` + 1 at most."""
        rarest, least = None, _FEW + 1
        for ids in _lookups(which, states, beginnings):
            few = ids.limit(_FEW + 1).subquery()
            count = self._connection.execute(select(func.count()).select_from(few)).scalar_one()
            if rarest is None or count < least:
                rarest, least = ids, count
            if least == 0:
                break
        return rarest, least


def _lookups(which: CaseFilter, states: Sequence[CaseState], beginnings: Sequence[bytes]) -> list[_Ids]:
    """How each filter alone is looked up by an index of its own."""
    in_states = select(cases.c.id).where(cases.c.state.in_([state.value for state in states]))
    found: list[_Ids] = [
        select(case_words.c.case_id).where(case_words.c.word >= one, case_words.c.word < words.end_of(one))
        for one in beginnings
    ]
    if which.list_id is not None:
        found.append(select(case_lists.c.case_id).where(case_lists.c.list_id == which.list_id))
    if which.work_id is not None:
        found.append(select(cases.c.id).where(cases.c.work_id == which.work_id))
    equal = {
        cases.c.site: which.site,
        cases.c.modality: which.modality,
        cases.c.outcome: None if which.outcome is None else which.outcome.value,
        cases.c.assignee: which.assignee or None,
    }
    found += [in_states.where(column == value) for column, value in equal.items() if value is not None]
    if which.min_probability > 0 or which.max_probability < 1:
        found.append(
            in_states.where(cases.c.probability.between(which.min_probability, which.max_probability))
        )
    if which.due_before is not None:
        found.append(in_states.where(cases.c.due_at < which.due_before))
    if which.reported_from is not None or which.reported_before is not None:
        earliest, latest = which.reported_from or _EPOCH, which.reported_before or NEVER
        found.append(in_states.where(cases.c.reported_at >= earliest, cases.c.reported_at < latest))
    return found


def _conditions(
    which: CaseFilter, order: CaseOrder, beginnings: Sequence[bytes]
) -> list[ColumnElement[bool]]:
    """What cases have to meet. Written so that no index but the one that is wanted fits."""
    found: list[ColumnElement[bool]] = []
    if which.owner is not None:
        found.append(cases.c.owner == which.owner)
    equal: dict[Any, str | None] = {
        cases.c.site: which.site,
        cases.c.modality: which.modality,
        cases.c.outcome: None if which.outcome is None else which.outcome.value,
        cases.c.assignee: which.assignee,
    }
    found += [func.coalesce(column, "") == value for column, value in equal.items() if value is not None]
    if which.work_id is not None:
        found.append(func.coalesce(cases.c.work_id, cases.c.id) == literal(which.work_id, cases.c.id.type))

    def ranged(column: Any, wanted: CaseOrder) -> Any:
        return column if order is wanted else func.coalesce(column, column)

    probability = ranged(cases.c.probability, CaseOrder.PROBABLE)
    if which.min_probability > 0:
        found.append(probability >= which.min_probability)
    if which.max_probability < 1:
        found.append(probability <= which.max_probability)
    if which.due_before is not None:
        found.append(ranged(cases.c.due_at, CaseOrder.DUE) < which.due_before)
    reported_at = ranged(cases.c.reported_at, CaseOrder.NEWEST)
    if which.reported_from is not None:
        found.append(reported_at >= which.reported_from)
    if which.reported_before is not None:
        found.append(reported_at < which.reported_before)
    if which.list_id is not None:
        found.append(
            exists().where(case_lists.c.case_id == cases.c.id, case_lists.c.list_id == which.list_id)
        )
    found += [
        exists().where(
            case_words.c.case_id == cases.c.id,
            case_words.c.word >= one,
            case_words.c.word < words.end_of(one),
        )
        for one in beginnings
    ]
    return found


def _after(query: Select[Any], order: CaseOrder, after: Position | None) -> Select[Any]:
    """A query in order, from behind a position on."""
    column: Any = _ORDER[order]
    if after is not None:
        value: Any = after.value
        if order is not CaseOrder.PROBABLE:
            value = _EPOCH + int(after.value) * _MICROSECOND
        here = tuple_(literal(value, column.type), literal(after.id, cases.c.id.type))
        place = tuple_(column, cases.c.id)
        query = query.where(place > here if order is CaseOrder.DUE else place < here)
    if order is CaseOrder.DUE:
        return query.order_by(column, cases.c.id)
    return query.order_by(column.desc(), cases.c.id.desc())


class CaseWriter(Cases):
    """Puts reports into cases, and lends cases to people."""

    def file_list(self, report_id: UUID, list_id: UUID, now: datetime) -> None:
        """Put a report into the cases of all places where a list saw its content."""
        report = self._report(report_id)
        key = {"content_sha256": report.content_sha256, "list_id": list_id}
        by_site: dict[str, list[Any]] = {}
        for place in self._connection.execute(_PLACES, key):
            by_site.setdefault(site_of(place.page_url, place.media_url), []).append(place)
        for site, places in by_site.items():
            self._file(report, site, places, list_id, now)

    def file_seen(self, report_id: UUID, list_id: UUID, seen: Seen, now: datetime) -> None:
        """Put a report into the case of a place where a list saw its content now."""
        site = site_of(seen.page_url, seen.media_url)
        self._file(self._report(report_id), site, [seen], list_id, now)

    def remeasured(self, report_id: UUID, probability: float) -> None:
        """Note that a report is more probable than it was."""
        self._connection.execute(
            update(cases)
            .where(
                cases.c.id.in_(select(case_reports.c.case_id).where(case_reports.c.report_id == report_id)),
                cases.c.probability < probability,
            )
            .values(probability=probability)
        )

    def file_some(self, limit: int) -> int:
        """Put some of the reports from before there were cases into cases; return how many that was."""
        execute = self._connection.execute
        some = list(execute(select(unfiled_reports.c.report_id).limit(limit)).scalars())
        for report_id in some:
            report = self._report(report_id)
            lists = select(report_lists.c.list_id).where(report_lists.c.report_id == report_id)
            for list_id in list(execute(lists).scalars()):
                self.file_list(report_id, list_id, report.created_at)
        if some:
            execute(delete(unfiled_reports).where(unfiled_reports.c.report_id.in_(some)))
        return len(some)

    def lease(self, case_id: UUID, holder: str, until: datetime) -> Case:
        """Lend a case to somebody."""
        values = {"lease_holder": holder, "lease_until": until}
        self._connection.execute(update(cases).where(cases.c.id == case_id).values(values))
        return self.get(case_id)

    def release(self, case_id: UUID) -> Case:
        """Take a case back."""
        values = {"lease_holder": None, "lease_until": None}
        self._connection.execute(update(cases).where(cases.c.id == case_id).values(values))
        return self.get(case_id)

    def reopen(self, case_id: UUID, report_ids: Sequence[UUID], now: datetime) -> None:
        """Let reports in a case need a decision again: the one elsewhere that covered them stands no more.

        Args:
            case_id: The case.
            report_ids: Reports of it, at least one.
            now: UTC.
        """
        self._connection.execute(
            update(case_reports)
            .where(case_reports.c.case_id == case_id, case_reports.c.report_id.in_(report_ids))
            .values(settled_case_id=None, settled_number=None)
        )
        row = self._row(case_id)
        was = row.state
        detail = {"reports": [str(one) for one in report_ids], "unsettled": True}
        number = self.append(case_id, row.owner, actor=SERVER, action="REOPENED", detail=detail, now=now)
        values = self.counted(case_id, row.decision_number)
        if values["open_count"]:
            values["state"] = CaseState.OPEN.value
            if not row.decision_number:
                values["outcome"] = None
        self._connection.execute(
            update(cases).where(cases.c.id == case_id).values(revision=number, updated_at=now, **values)
        )
        state = values.get("state", was)
        tally = Tally()
        if state != was:
            tally.add(tallies.DAY, tallies.day_of(now), 1)
        self.moved(tally, case_id, row.site, was, state)
        tally.write(self._connection, row.owner)

    def counted(self, case_id: UUID, decision_number: int) -> dict[str, Any]:
        """What of a case's row follows from its reports: how many are open, and how probable they are."""
        key = {"case_id": case_id, "decision_number": decision_number}
        counted = self._connection.execute(_COUNTED, key).one()
        count, open_count, of_open, of_all = counted
        probability = of_all if of_open is None else of_open
        return {"report_count": count, "open_count": int(open_count or 0), "probability": probability}

    def moved(self, tally: Tally, case_id: UUID, site: str, before: str | None, after: str) -> None:
        """Count a case that went from a state (None: it is new) to another."""
        if before == after:
            return
        key = {"case_id": case_id}
        lists = [str(one) for one in self._connection.execute(_LISTS, key).scalars()]
        for state, one in ((before, -1), (after, 1)):
            if state is None:
                continue
            tally.add(tallies.STATE, state, one)
            is_open = state == CaseState.OPEN.value
            tally.add(tallies.SITE, site, one * int(is_open), one * int(not is_open))
            for name in lists:
                tally.add(tallies.LIST, name, one * int(is_open), one * int(not is_open))

    def append(
        self,
        case_id: UUID,
        owner: str,
        *,
        actor: str,
        action: str,
        detail: dict[str, Any],
        now: datetime,
    ) -> int:
        """Add an event to a case's chain; the caller makes its number the case's revision."""
        return review_events.append(
            self._connection,
            SubjectKind.CASE,
            case_id,
            owner,
            actor=actor,
            action=action,
            detail=detail,
            now=now,
        )

    def _row(self, case_id: UUID) -> Row[Any]:
        return self._connection.execute(_ROW_BY_ID, {"id": case_id}).one()

    def _report(self, report_id: UUID) -> Row[Any]:
        return self._connection.execute(_REPORT_BY_ID, {"id": report_id}).one()

    def _file(self, report: Row[Any], site: str, places: Sequence[Any], list_id: UUID, now: datetime) -> None:
        """Put a report into the case of its work and a site; one that is in it brings the list in at most."""
        key = {"work_id": report.work_id, "site": site}
        known = self._connection.execute(_ROW_BY_SITE, key).one_or_none()
        match: dict[str, Any] = json.loads(report.match)
        titles = [places[0].page_title, *(place.page_title for place in places[1:_MAX_WORDS])]
        texts = [*titles, site]
        if known is None:
            case_id = self._create(report, match, site, places[0], now)
            texts += [match["title"], match["external_id"] or ""]
        else:
            case_id = known.id
        self._add_words(case_id, texts)
        tally = Tally()
        self._add_list(tally, case_id, list_id, None if known is None else known.state)
        self._join(tally, report, case_id, known, site, now)
        tally.write(self._connection, report.owner)

    def _create(self, report: Row[Any], match: dict[str, Any], site: str, place: Any, now: datetime) -> UUID:
        case_id = uuid7()
        self._connection.execute(
            insert(cases),
            {
                "id": case_id,
                "owner": report.owner,
                "work_id": report.work_id,
                "site": site,
                "state": CaseState.OPEN.value,
                "decision_number": 0,
                "work_title": match["title"] or match["external_id"] or f"works/{report.work_id}",
                "external_id": match["external_id"] or "",
                "page_url": place.page_url,
                "page_title": place.page_title,
                "media_url": place.media_url,
                "probability": report.probability,
                "modality": report.modality,
                "report_count": 0,
                "open_count": 0,
                "due_at": NEVER,
                "revision": 0,
                "created_at": now,
                "reported_at": now,
                "updated_at": now,
            },
        )
        return case_id

    def _add_words(self, case_id: UUID, texts: Iterable[str]) -> None:
        wanted = words.words_of(texts)
        known = set(self._connection.execute(_WORDS, {"case_id": case_id}).scalars())
        new = sorted(wanted - known)[: max(_MAX_WORDS - len(known), 0)]
        if new:
            self._connection.execute(insert(case_words), [{"case_id": case_id, "word": word} for word in new])

    def _add_list(self, tally: Tally, case_id: UUID, list_id: UUID, state: str | None) -> None:
        """Note that a list led to a case; `state`: of a case that was there before."""
        key = {"list_id": list_id, "case_id": case_id}
        if self._connection.execute(_LIST, key).first():
            return
        self._connection.execute(insert(case_lists), key)
        if state is not None:
            is_open = state == CaseState.OPEN.value
            tally.add(tallies.LIST, str(list_id), int(is_open), int(not is_open))

    def _join(  # noqa: PLR0917 - one row and the other
        self,
        tally: Tally,
        report: Row[Any],
        case_id: UUID,
        known: Row[Any] | None,
        site: str,
        now: datetime,
    ) -> None:
        """Add a report to a case, unless it is in it; `known`: the case as it was, None for a new one."""
        key = {"case_id": case_id, "report_id": report.id}
        if known is not None and self._connection.execute(_NUMBER, key).first():
            return
        settled = self._settled(report.id)
        before = None if known is None else known.state
        is_open = settled is None or before == CaseState.OPEN.value
        after = CaseState.OPEN.value if is_open else (before or CaseState.DECIDED.value)
        action = _action(before, after, settled=settled is not None)
        detail: dict[str, Any] = {"report": str(report.id), "probability": report.probability}
        if settled is not None:
            detail["settled_by"] = {"case": str(settled.case_id), "number": settled.number}
        number = self.append(case_id, report.owner, actor=SERVER, action=action, detail=detail, now=now)
        self._connection.execute(
            insert(case_reports),
            {
                "case_id": case_id,
                "report_id": report.id,
                "number": number,
                "settled_case_id": None if settled is None else settled.case_id,
                "settled_number": None if settled is None else settled.number,
            },
        )
        values: dict[str, Any] = {"state": after}
        if settled is None:
            others = known.probability if known is not None and known.open_count else 0.0
            values["probability"] = max(others, report.probability)
        elif before is None:
            values["outcome"] = settled.outcome
        if action == "REOPENED" and known is not None and not known.decision_number:
            values["outcome"] = None
        self._connection.execute(
            update(cases)
            .where(cases.c.id == case_id)
            .values(
                report_count=cases.c.report_count + 1,
                open_count=cases.c.open_count + int(settled is None),
                revision=number,
                reported_at=now,
                updated_at=now,
                **values,
            )
        )
        if action in ("OPENED", "REOPENED"):
            tally.add(tallies.DAY, tallies.day_of(now), 1)
        self.moved(tally, case_id, site, before, after)

    def _settled(self, report_id: UUID) -> Row[Any, Any, Any] | None:
        """The decision in any case by which a report needs none where it is seen later."""
        return self._connection.execute(_SETTLED, {"report_id": report_id}).one_or_none()


def _action(before: str | None, after: str, *, settled: bool) -> str:
    """What happens to a case, by its states (None: it is new), when a report comes into it."""
    if settled:
        return "REPORT_SETTLED"
    if before is None:
        return "OPENED"
    return "REPORT_ADDED" if before == after else "REOPENED"


def _to_decision(row: Any, case_id: UUID, prefix: str = "") -> Decision:
    return Decision(
        case_id=case_id,
        number=row[f"{prefix}number"],
        ruling=Ruling(Outcome(row[f"{prefix}outcome"]), row[f"{prefix}reason"], row[f"{prefix}note"]),
        actor=row[f"{prefix}actor"],
        at=row[f"{prefix}at"],
        batch_id=row[f"{prefix}batch_id"],
        undone_by=row[f"{prefix}undone_by"],
    )


def _to_case(row: Row[Any]) -> Case:
    decided = row.d_number is not None
    return Case(
        id=row.id,
        owner=row.owner,
        work_id=row.work_id,
        site=row.site,
        state=CaseState(row.state),
        work_title=row.work_title,
        external_id=row.external_id,
        page_url=row.page_url,
        page_title=row.page_title,
        media_url=row.media_url,
        decision=_to_decision(row._mapping, row.id, "d_") if decided else None,  # noqa: SLF001 - SQLAlchemy's public name
        probability=row.probability,
        modality=row.modality,
        report_count=row.report_count,
        open_count=row.open_count,
        assignee=row.assignee,
        due_at=None if row.due_at == NEVER else row.due_at,
        lease=None if row.lease_until is None else Lease(row.lease_holder, row.lease_until),
        revision=row.revision,
        created_at=row.created_at,
        reported_at=row.reported_at,
        updated_at=row.updated_at,
    )
