"""Decisions, and what follows from them, in the database."""

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row, and_, bindparam, delete, func, insert, null, or_, select, update
from uuid_utils.compat import uuid7

from service.reviewed import (
    Case,
    CaseState,
    Day,
    Decision,
    Event,
    EventFilter,
    Example,
    Figures,
    Flagged,
    Outcome,
    Overview,
    Precision,
    PrecisionKind,
    Ruling,
    SavedView,
    Share,
    SubjectKind,
    Suppression,
    band_of,
)
from service.store import review_events, tallies
from service.store.cases import NEVER, CaseWriter
from service.store.queries import BEFORE_ALL
from service.store.schema import (
    case_lists,
    case_reports,
    cases,
    decisions,
    examples,
    monitoring_lists,
    recalls,
    reports,
    saved_views,
    suppressions,
    work_references,
    works,
)
from service.store.schema import (
    tallies as tallies_table,
)
from service.store.tallies import Tally

_AT_ONCE = 500
_STATES = {
    Outcome.NEED_MORE: CaseState.WAITING,
}
"""What state an outcome leads to; others: DECIDED."""

# Statements of every decision: made once, since making them costs more than running them.
_REPORTS_IN = (
    select(reports)
    .join(case_reports, case_reports.c.report_id == reports.c.id)
    .where(case_reports.c.case_id == bindparam("case_id"))
    .order_by(case_reports.c.number)
)
_LISTS_OF = select(case_lists.c.list_id).where(case_lists.c.case_id == bindparam("case_id"))
_EXAMPLES_OF = select(examples).where(
    examples.c.case_id == bindparam("case_id"), examples.c.number == bindparam("number")
)
_SETTLED_BY = select(case_reports.c.case_id, case_reports.c.report_id).where(
    case_reports.c.settled_case_id == bindparam("case_id")
)
_SET = update(cases).where(cases.c.id == bindparam("of_id"))


class Reviews:
    """Reads what review has led to, in whatever transaction the connection is in."""

    def __init__(self, connection: Connection) -> None:
        """Read through `connection`."""
        self._connection = connection

    def events(self, which: EventFilter, *, after: UUID | None, limit: int) -> list[Event]:
        """A page of events, newest first, of those that are older than `after`."""
        return review_events.page(self._connection, which, after=after, limit=limit)

    def chain(self, subject_id: UUID) -> list[Event]:
        """All events of a case, reference or work, oldest first."""
        return review_events.chain(self._connection, subject_id)

    def overview(self, owner: str | None, *, days: int, most: int) -> Overview:
        """The cases of an owner, or of all, in numbers."""

        def read(kind: str, order: str, limit: int) -> Mapping[str, tuple[int, int]]:
            return tallies.read(self._connection, owner, kind, order=order, limit=limit)

        states = read(tallies.STATE, "name", len(CaseState))
        lists = read(tallies.LIST, "first", most)
        titles = self._list_titles(lists)
        sites = read(tallies.SITE, "first", most)
        return Overview(
            states={state: states.get(state.value, (0, 0))[0] for state in CaseState},
            lists=tuple(Share(one, titles.get(one, ""), *counts) for one, counts in lists.items()),
            sites=tuple(Share(one, "", *counts) for one, counts in sites.items()),
            days=tuple(Day(day, *counts) for day, counts in sorted(read(tallies.DAY, "name", days).items())),
        )

    def figures(self, now: datetime) -> Figures:
        """How reviewing goes on, of all owners, at a moment (UTC)."""
        found = partial(tallies.read, self._connection, None, order="name")
        states = found(tallies.STATE, limit=len(CaseState))
        outcomes = found(tallies.OUTCOME, limit=len(Outcome))
        scalar = self._connection.execute
        leased = select(func.count()).select_from(cases).where(cases.c.lease_until > now)
        oldest = (
            select(cases.c.reported_at)
            .where(cases.c.state == CaseState.OPEN.value)
            .order_by(cases.c.reported_at)
            .limit(1)
        )
        kinds = select(suppressions.c.kind, func.count()).group_by(suppressions.c.kind)
        return Figures(
            states={state: states.get(state.value, (0, 0))[0] for state in CaseState},
            decided={one: outcomes.get(one.value, (0, 0))[0] for one in Outcome},
            undone={one: outcomes.get(one.value, (0, 0))[1] for one in Outcome},
            leased=scalar(leased).scalar_one(),
            oldest_open_at=scalar(oldest).scalar_one_or_none(),
            suppressed={SubjectKind(kind): count for kind, count in scalar(kinds)},
        )

    def precision(self, owner: str | None, kind: PrecisionKind, *, limit: int) -> list[Precision]:
        """How many matches were right, most wrong first."""
        found = tallies.read(self._connection, owner, _precision(kind), order="second", limit=limit)
        titles: Mapping[str, str] = {}
        if kind is PrecisionKind.LIST:
            titles = self._list_titles(found)
        elif kind in (PrecisionKind.REFERENCE, PrecisionKind.WORK):
            subjects = self._subjects(SubjectKind(kind.value), [UUID(one) for one in found])
            titles = {str(one): row.title for one, row in subjects.items()}
        return [
            Precision(kind, key, titles.get(key, ""), right, wrong) for key, (right, wrong) in found.items()
        ]

    def most_wrong(self, owner: str | None, *, at_least: int) -> list[Flagged]:
        """References and works, not suppressed, with so many wrong matches; 1,000 of each at most."""
        found = []
        for kind in (SubjectKind.REFERENCE, SubjectKind.WORK):
            query = (
                select(tallies_table.c.name, tallies_table.c.first, tallies_table.c.second)
                .where(
                    tallies_table.c.owner == (owner or tallies.ALL),
                    tallies_table.c.kind == _precision(PrecisionKind(kind.value)),
                    tallies_table.c.second >= at_least,
                )
                .order_by(tallies_table.c.second.desc())
                .limit(1000)
            )
            counts = {UUID(name): (right, wrong) for name, right, wrong in self._connection.execute(query)}
            subjects = self._subjects(kind, counts)
            held = self.suppressed({*counts, *(row.work_id for row in subjects.values())})
            for one, row in subjects.items():
                if not held & {one, row.work_id}:
                    right, wrong = counts[one]
                    found.append(
                        Flagged(kind, one, row.work_id, row.owner, row.title, row.filename, right, wrong, 0.0)
                    )
        return found

    def suppressed(self, ids: Collection[UUID]) -> set[UUID]:
        """Which of these references and works are suppressed themselves."""
        wanted: list[UUID] = list(ids)
        found: set[UUID] = set()
        for start in range(0, len(wanted), _AT_ONCE):
            query = select(suppressions.c.subject_id).where(
                suppressions.c.subject_id.in_(wanted[start : start + _AT_ONCE])
            )
            found.update(self._connection.execute(query).scalars())
        return found

    def suppressions(self, owner: str | None) -> list[Suppression]:
        """What is suppressed, newest first."""
        query = select(suppressions).order_by(suppressions.c.at.desc(), suppressions.c.subject_id)
        if owner is not None:
            query = query.where(suppressions.c.owner == owner)
        rows = self._connection.execute(query).all()
        subjects: dict[UUID, Row[Any]] = {}
        for kind in (SubjectKind.REFERENCE, SubjectKind.WORK):
            subjects |= self._subjects(kind, [row.subject_id for row in rows if row.kind == kind.value])
        return [_to_suppression(row, subjects[row.subject_id]) for row in rows]

    def suppression(self, kind: SubjectKind, subject_id: UUID) -> Suppression | None:
        """What a reference or work itself is suppressed by."""
        row = self._connection.execute(
            select(suppressions).where(suppressions.c.subject_id == subject_id)
        ).one_or_none()
        if row is None:
            return None
        return _to_suppression(row, self._subjects(kind, [subject_id])[subject_id])

    def owner_of(self, kind: SubjectKind, subject_id: UUID) -> str | None:
        """Who owns a reference or work; None: there is none."""
        found = self._subjects(kind, [subject_id])
        owner: str | None = found[subject_id].owner if subject_id in found else None
        return owner

    def examples(self, owner: str | None, *, after: UUID | None, limit: int) -> list[Example]:
        """Examples of decisions that stand, oldest first."""
        query = select(examples).where(examples.c.id > (after or BEFORE_ALL), examples.c.standing == 1)
        if owner is not None:
            query = query.where(examples.c.owner == owner)
        rows = self._connection.execute(query.order_by(examples.c.id).limit(limit))
        return [_to_example(row) for row in rows]

    def views(self, actor: str) -> list[SavedView]:
        """Somebody's saved views, by title."""
        query = select(saved_views).where(saved_views.c.actor == actor)
        found = [
            SavedView(row.id, row.actor, row.title, row.query, row.updated_at)
            for row in self._connection.execute(query)
        ]
        return sorted(found, key=lambda one: one.title)

    def _list_titles(self, names: Iterable[str]) -> dict[str, str]:
        query = select(monitoring_lists.c.id, monitoring_lists.c.title).where(
            monitoring_lists.c.id.in_([UUID(name) for name in names])
        )
        return {str(one): title for one, title in self._connection.execute(query)}

    def _subjects(self, kind: SubjectKind, ids: Collection[UUID]) -> dict[UUID, Row[Any]]:
        """Owner, title and file name of references or works that are there still."""
        wanted: list[UUID] = list(ids)
        found: dict[UUID, Row[Any]] = {}
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            if kind is SubjectKind.REFERENCE:
                query = select(
                    work_references.c.id,
                    work_references.c.work_id,
                    works.c.owner,
                    works.c.title,
                    work_references.c.filename,
                ).join(works, works.c.id == work_references.c.work_id)
                query = query.where(work_references.c.id.in_(some))
            else:
                query = select(
                    works.c.id,
                    works.c.id.label("work_id"),
                    works.c.owner,
                    works.c.title,
                    null().label("filename"),
                ).where(works.c.id.in_(some))
            found |= {row.id: row for row in self._connection.execute(query)}
        return found


class ReviewWriter(Reviews):
    """Writes decisions, and all that has to change with them."""

    def __init__(self, connection: Connection, writer: CaseWriter) -> None:
        """Write through `connection`; `writer` keeps the cases."""
        super().__init__(connection)
        self._cases = writer

    def decide(self, case: Case, actor: str, ruling: Ruling, now: datetime, batch_id: UUID | None) -> None:
        """Let a decision stand on a case, and end its lease."""
        execute = self._connection.execute
        detail: dict[str, Any] = {
            "outcome": ruling.outcome.value,
            "reason": ruling.reason,
            "note": ruling.note,
            "reports": case.report_count,
        }
        if case.decision is not None:
            detail["instead_of"] = case.decision.number
        if batch_id is not None:
            detail["batch"] = str(batch_id)
        number = self._cases.append(
            case.id, case.owner, actor=actor, action="DECIDED", detail=detail, now=now
        )
        execute(
            insert(decisions),
            {
                "case_id": case.id,
                "number": number,
                "outcome": ruling.outcome.value,
                "reason": ruling.reason,
                "note": ruling.note,
                "actor": actor,
                "at": now,
                "batch_id": batch_id,
            },
        )
        tally = Tally()
        tally.add(tallies.DAY, tallies.day_of(now), 0, 1)
        tally.add(tallies.OUTCOME, ruling.outcome.value, 1)
        if case.decision is not None:
            self._stand(tally, case.decision, stands=False)
        self._add_examples(case, number, ruling.outcome, now)
        self._stand_at(tally, case, number, ruling.outcome, now, revision=number)
        self._count(tally, case.id, number, 1)
        tally.write(self._connection, case.owner)
        self._resettle(case.id, now)

    def undo(self, case: Case, decision: Decision, actor: str, now: datetime, note: str) -> None:
        """Let a decision on a case stand no more; the newest that was not undone takes its place."""
        execute = self._connection.execute
        detail = {"decision": decision.number, "outcome": decision.ruling.outcome.value, "note": note}
        number = self._cases.append(case.id, case.owner, actor=actor, action="UNDONE", detail=detail, now=now)
        execute(
            update(decisions)
            .where(decisions.c.case_id == case.id, decisions.c.number == decision.number)
            .values(undone_by=number)
        )
        tally = Tally()
        tally.add(tallies.OUTCOME, decision.ruling.outcome.value, 0, 1)
        if case.decision is None or case.decision.number != decision.number:
            tally.write(self._connection, case.owner)
            self._set(case.id, number, now)
            return
        left = [one for one in self._cases.decisions(case.id) if one.undone_by is None]
        self._stand(tally, decision, stands=False)
        if left:
            self._stand(tally, left[-1], stands=True)
            self._stand_at(tally, case, left[-1].number, left[-1].ruling.outcome, now, revision=number)
        else:
            self._stand_at(tally, case, 0, None, now, revision=number)
        tally.write(self._connection, case.owner)
        self._resettle(case.id, now)

    def assign(self, case: Case, actor: str, assignee: str | None, now: datetime) -> None:
        """Note who is to decide a case."""
        number = self._cases.append(
            case.id, case.owner, actor=actor, action="ASSIGNED", detail={"assignee": assignee}, now=now
        )
        self._set(case.id, number, now, assignee=assignee)

    def set_due(self, case: Case, actor: str, due_at: datetime | None, now: datetime) -> None:
        """Note until when a case is to be decided."""
        detail = {"due": None if due_at is None else due_at.isoformat()}
        number = self._cases.append(
            case.id, case.owner, actor=actor, action="DUE_SET", detail=detail, now=now
        )
        self._set(case.id, number, now, due_at=due_at or NEVER)

    def comment(self, case: Case, actor: str, text: str, now: datetime) -> None:
        """Keep a comment."""
        number = self._cases.append(
            case.id, case.owner, actor=actor, action="COMMENTED", detail={"text": text}, now=now
        )
        self._set(case.id, number, now)

    def suppress(
        self, kind: SubjectKind, subject_id: UUID, actor: str, note: str, now: datetime
    ) -> Suppression:
        """Keep back the matches of a reference or work, which is there and not suppressed."""
        subject = self._subjects(kind, [subject_id])[subject_id]
        self._connection.execute(
            insert(suppressions),
            {
                "subject_id": subject_id,
                "kind": kind.value,
                "work_id": subject.work_id,
                "owner": subject.owner,
                "actor": actor,
                "note": note,
                "at": now,
            },
        )
        self._tell(kind, subject, actor=actor, action="SUPPRESSED", note=note, now=now)
        return Suppression(
            kind=kind,
            subject_id=subject_id,
            work_id=subject.work_id,
            owner=subject.owner,
            title=subject.title,
            filename=subject.filename or "",
            actor=actor,
            note=note,
            at=now,
        )

    def unsuppress(self, kind: SubjectKind, subject_id: UUID, actor: str, note: str, now: datetime) -> None:
        """Let the matches of a reference or work, which is suppressed, count again.

        They are looked for again in all that was captured.
        """
        subject = self._subjects(kind, [subject_id])[subject_id]
        self._connection.execute(delete(suppressions).where(suppressions.c.subject_id == subject_id))
        which = work_references.c.work_id == subject_id
        if kind is SubjectKind.REFERENCE:
            which = or_(work_references.c.id == subject_id, work_references.c.container_id == subject_id)
        known = select(recalls.c.reference_id)
        again = select(work_references.c.id).where(which, work_references.c.id.not_in(known))
        self._connection.execute(insert(recalls).from_select(["reference_id"], again))
        self._tell(kind, subject, actor=actor, action="UNSUPPRESSED", note=note, now=now)

    def forget_work(self, work_id: UUID) -> None:
        """Drop the suppressions of a work that is erased."""
        self._connection.execute(delete(suppressions).where(suppressions.c.work_id == work_id))

    def save_view(self, actor: str, title: str, query: str, now: datetime) -> SavedView:
        """Keep a filter; one of the same title is replaced."""
        same = and_(saved_views.c.actor == actor, saved_views.c.title == title)
        known = self._connection.execute(select(saved_views.c.id).where(same)).scalar_one_or_none()
        view = SavedView(known or uuid7(), actor, title, query, now)
        values = {"query": query, "updated_at": now}
        if known is None:
            self._connection.execute(
                insert(saved_views), {"id": view.id, "actor": actor, "title": title, **values}
            )
        else:
            self._connection.execute(update(saved_views).where(same).values(values))
        return view

    def delete_view(self, actor: str, view_id: UUID) -> bool:
        """Drop a saved view; False if that actor has none with this id."""
        gone = self._connection.execute(
            delete(saved_views).where(saved_views.c.actor == actor, saved_views.c.id == view_id)
        )
        return gone.rowcount > 0

    def _set(self, case_id: UUID, revision: int, now: datetime, **values: object) -> None:
        row = {"of_id": case_id, "revision": revision, "updated_at": now, **values}
        self._connection.execute(_SET, row)

    def _stand_at(
        self,
        tally: Tally,
        case: Case,
        number: int,
        outcome: Outcome | None,
        now: datetime,
        *,
        revision: int,
    ) -> None:
        """Bring a case's row to the decision that stands now; 0 and None: none."""
        counted = self._cases.counted(case.id, number)
        state = CaseState.OPEN
        if not counted["open_count"]:
            state = CaseState.DECIDED if outcome is None else _STATES.get(outcome, CaseState.DECIDED)
        if outcome is None and state is CaseState.DECIDED:
            outcome = self._settled_as(case.id)
        self._set(
            case.id,
            revision,
            now,
            state=state.value,
            outcome=None if outcome is None else outcome.value,
            decision_number=number,
            lease_holder=None,
            lease_until=None,
            **counted,
        )
        self._cases.moved(tally, case.id, case.site, case.state.value, state.value)

    def _settled_as(self, case_id: UUID) -> Outcome | None:
        """What the decisions elsewhere say that cover all of a case; of several the first."""
        query = (
            select(decisions.c.outcome)
            .join(
                case_reports,
                and_(
                    case_reports.c.settled_case_id == decisions.c.case_id,
                    case_reports.c.settled_number == decisions.c.number,
                ),
            )
            .where(case_reports.c.case_id == case_id)
            .order_by(case_reports.c.number)
            .limit(1)
        )
        found = self._connection.execute(query).scalar_one_or_none()
        return None if found is None else Outcome(found)

    def _resettle(self, case_id: UUID, now: datetime) -> None:
        """Let the decision that stands on a case now, if it settles contents, stand for them elsewhere too.

        Reports that the decision before settled in other cases, and that this one does not, are open there.
        """
        rows = self._connection.execute(_SETTLED_BY, {"case_id": case_id}).all()
        if not rows:
            return
        standing = self._cases.get(case_id).decision
        covered: set[UUID] = set()
        if standing is not None and standing.ruling.outcome.settles_content:
            query = select(case_reports.c.report_id).where(
                case_reports.c.case_id == case_id, case_reports.c.number < standing.number
            )
            covered = set(self._connection.execute(query).scalars())
        open_again: dict[UUID, list[UUID]] = {}
        for row in rows:
            if row.report_id not in covered:
                open_again.setdefault(row.case_id, []).append(row.report_id)
        for other, report_ids in sorted(open_again.items()):
            self._cases.reopen(other, report_ids, now)
        if standing is not None:
            self._connection.execute(
                update(case_reports)
                .where(case_reports.c.settled_case_id == case_id)
                .values(settled_number=standing.number)
            )

    def _add_examples(self, case: Case, number: int, outcome: Outcome, now: datetime) -> None:
        """Keep the reports in a case as labelled examples."""
        if outcome.is_copy is None:
            return
        key = {"case_id": case.id}
        led = json.dumps([str(one) for one in self._connection.execute(_LISTS_OF, key).scalars()])
        rows = []
        for row in self._connection.execute(_REPORTS_IN, key):
            match = json.loads(row.match)
            rows.append(
                {
                    "id": uuid7(),
                    "case_id": case.id,
                    "number": number,
                    "standing": 1,
                    "report_id": row.id,
                    "owner": row.owner,
                    "work_id": row.work_id,
                    "reference_id": UUID(match["reference"]),
                    "content_sha256": row.content_sha256,
                    "modality": row.modality,
                    "outcome": outcome.value,
                    "is_copy": int(outcome.is_copy),
                    "probability": row.probability,
                    "signals": json.dumps(match["signals"]),
                    "lists": led,
                    "policy_revision": row.policy_revision,
                    "at": now,
                }
            )
        if rows:
            self._connection.execute(insert(examples), rows)

    def _stand(self, tally: Tally, decision: Decision, *, stands: bool) -> None:
        """Let the examples of a decision count, or count no more."""
        self._connection.execute(
            update(examples)
            .where(examples.c.case_id == decision.case_id, examples.c.number == decision.number)
            .values(standing=int(stands))
        )
        self._count(tally, decision.case_id, decision.number, 1 if stands else -1)

    def _count(self, tally: Tally, case_id: UUID, number: int, sign: int) -> None:
        """Count the examples of a decision, or, with sign -1, count them no more."""
        for row in self._connection.execute(_EXAMPLES_OF, {"case_id": case_id, "number": number}):
            right, wrong = sign * row.is_copy, sign * (1 - row.is_copy)
            names = [
                (PrecisionKind.MODALITY, row.modality),
                (PrecisionKind.REFERENCE, str(row.reference_id)),
                (PrecisionKind.WORK, str(row.work_id)),
                *((PrecisionKind.LIST, one) for one in json.loads(row.lists)),
                *(
                    (PrecisionKind.SIGNAL, band_of(name, value))
                    for name, value in json.loads(row.signals).items()
                ),
            ]
            for kind, name in names:
                tally.add(_precision(kind), name, right, wrong)

    def _tell(
        self, kind: SubjectKind, subject: Row[Any], *, actor: str, action: str, note: str, now: datetime
    ) -> None:
        review_events.append(
            self._connection,
            kind,
            subject.id,
            subject.owner,
            actor=actor,
            action=action,
            detail={"work": str(subject.work_id), "title": subject.title, "note": note},
            now=now,
        )


def _precision(kind: PrecisionKind) -> str:
    """The kind of tally under which examples are counted: right ones, and wrong ones."""
    return f"by_{kind.value}"


def _to_suppression(row: Row[Any], subject: Row[Any]) -> Suppression:
    return Suppression(
        kind=SubjectKind(row.kind),
        subject_id=row.subject_id,
        work_id=row.work_id,
        owner=row.owner,
        title=subject.title,
        filename=subject.filename or "",
        actor=row.actor,
        note=row.note,
        at=row.at,
    )


def _to_example(row: Row[Any]) -> Example:
    return Example(
        id=row.id,
        case_id=row.case_id,
        number=row.number,
        report_id=row.report_id,
        owner=row.owner,
        work_id=row.work_id,
        reference_id=row.reference_id,
        sha256=row.content_sha256,
        modality=row.modality,
        outcome=Outcome(row.outcome),
        is_copy=bool(row.is_copy),
        probability=row.probability,
        signals=json.loads(row.signals),
        policy_revision=row.policy_revision,
        at=row.at,
    )
