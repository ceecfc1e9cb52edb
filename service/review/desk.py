"""The desk: who may see and decide which case, and what a decision does."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from service.domain import ApiKey, KeyRole
from service.errors import (
    BusyError,
    CaseHeldError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    ServiceError,
    StaleError,
    StorageFullError,
)
from service.review import feedback
from service.reviewed import (
    MAX_NOTE,
    REASONS,
    Actor,
    Batch,
    BatchItem,
    Case,
    CaseFilter,
    CaseOrder,
    CaseReport,
    CaseState,
    Chosen,
    Decision,
    Event,
    EventFilter,
    Example,
    Flagged,
    Overview,
    Position,
    Precision,
    PrecisionKind,
    Ruling,
    SavedView,
    SubjectKind,
    Suppression,
)
from service.store import Transaction, View

LEASE = timedelta(minutes=15)
"""How long a case is somebody's, unless they renew it."""
MAX_BATCH = 1000
"""Most cases of one batch."""
MAX_VIEWS = 100
"""Most saved views of one key."""

_REVIEWERS = frozenset({KeyRole.OWNER, KeyRole.INVESTIGATOR, KeyRole.ADMIN})
_MAX_TITLE, _MAX_QUERY = 200, 4000


class Desk:
    """Rules of reviewing. Reading methods take a view, changing ones a transaction; all are blocking.

    An actor of role owner sees the cases of its owner alone: others' are as if they were not there. Roles
    investigator and admin see all; the other roles get a ForbiddenError from every method.

    Changing methods need the case's lease to be the actor's own or nobody's, and raise CaseHeldError
    otherwise.
    """

    def __init__(self, lease: timedelta = LEASE) -> None:
        """Let leases last for `lease`."""
        self._lease = lease

    # Reading

    def case(self, view: View, actor: Actor, case_id: UUID) -> Case:
        """A case.

        Raises:
            NotFoundError: If there is none that the actor sees.
        """
        return _visible(view, actor, case_id)

    def page(
        self,
        view: View,
        actor: Actor,
        which: CaseFilter,
        order: CaseOrder = CaseOrder.NEWEST,
        *,
        after: Position | None = None,
        limit: int = 50,
    ) -> list[Case]:
        """A page of cases; `position` says where the next one begins.

        Args:
            view: Where they are.
            actor: Who looks.
            which: Filters.
            order: NEWEST and PROBABLE: greatest first; DUE: earliest first, those without a date last.
            after: Where the page before ended; None: the first page.
            limit: Most cases, ≥ 1.
        """
        scoped = _scoped(actor, which)
        return [] if scoped is None else view.cases.page(scoped, order, after=after, limit=limit)

    def position(self, view: View, case: Case, order: CaseOrder) -> Position:
        """Where a list of cases goes on after a case."""
        return view.cases.position(case, order)

    def reports(
        self, view: View, actor: Actor, case_id: UUID, *, after: int = 0, limit: int = 100
    ) -> list[CaseReport]:
        """The reports in a case, oldest first, of those that came in by events above `after`."""
        return view.cases.reports(_visible(view, actor, case_id).id, after=after, limit=limit)

    def cases_of_report(self, view: View, actor: Actor, report_id: UUID) -> list[Case]:
        """The cases that a report is in, one for each site, oldest first; 100 at most."""
        found = view.cases.of_report(report_id)
        _admit(actor)
        return [case for case in found if actor.owner in (None, case.owner)]

    def cases_of_uploader(self, view: View, actor: Actor, uploader: str, site: str) -> list[Case]:
        """Cases about what somebody put there, as a site's pages claim, newest first; 100 at most."""
        _admit(actor)
        return [case for case in view.cases.of_uploader(uploader, site) if actor.owner in (None, case.owner)]

    def decisions(self, view: View, actor: Actor, case_id: UUID) -> list[Decision]:
        """All decisions on a case, those undone too, oldest first."""
        return view.cases.decisions(_visible(view, actor, case_id).id)

    def events(
        self, view: View, actor: Actor, which: EventFilter, *, after: UUID | None = None, limit: int = 100
    ) -> list[Event]:
        """A page of events, newest first.

        Args:
            view: Where they are.
            actor: Who looks.
            which: Filters.
            after: Id of the last event of the page before; None: the first page.
            limit: Most events, ≥ 1.
        """
        _admit(actor)
        if actor.owner is not None:
            if which.owner not in (None, actor.owner):
                return []
            which = replace(which, owner=actor.owner)
        return view.reviews.events(which, after=after, limit=limit)

    def history(self, view: View, actor: Actor, case_id: UUID) -> list[Event]:
        """All events of a case, oldest first: the whole chain, which `digest_of_event` explains."""
        return view.reviews.chain(_visible(view, actor, case_id).id)

    def overview(self, view: View, actor: Actor, *, days: int = 30, most: int = 20) -> Overview:
        """The actor's cases in numbers.

        Args:
            view: Where they are.
            actor: Who looks.
            days: How many of the last days that anything happened on.
            most: Most lists, and most sites.
        """
        _admit(actor)
        return view.reviews.overview(actor.owner, days=days, most=most)

    def precision(
        self, view: View, actor: Actor, kind: PrecisionKind, *, limit: int = 1000
    ) -> list[Precision]:
        """How many matches were right, by whatever `kind` says; most wrong first."""
        _admit(actor)
        return view.reviews.precision(actor.owner, kind, limit=limit)

    def flagged(self, view: View, actor: Actor) -> list[Flagged]:
        """References and works that flood the queue with wrong matches and are not suppressed; worst first.

        `service.review.feedback.is_flood` has the rule.
        """
        _admit(actor)
        found = []
        for one in view.reviews.most_wrong(actor.owner, at_least=feedback.MIN_WRONG):
            if feedback.is_flood(one.right, one.wrong):
                bound = feedback.wilson_lower(one.wrong, one.right + one.wrong)
                found.append(replace(one, wrong_at_least=bound))
        return sorted(found, key=lambda one: (-one.wrong_at_least, -one.wrong, str(one.subject_id)))

    def suppressions(self, view: View, actor: Actor) -> list[Suppression]:
        """References and works that are suppressed, newest first."""
        _admit(actor)
        return view.reviews.suppressions(actor.owner)

    def examples(
        self, view: View, actor: Actor, *, after: UUID | None = None, limit: int = 1000
    ) -> list[Example]:
        """Labelled examples of decisions that stand, oldest first, of those with larger ids than `after`."""
        _admit(actor)
        return view.reviews.examples(actor.owner, after=after, limit=limit)

    def views(self, view: View, actor: Actor) -> list[SavedView]:
        """The actor's saved views, by title."""
        _admit(actor)
        return view.reviews.views(actor.id)

    def reviewers(self, view: View, actor: Actor) -> list[ApiKey]:
        """The keys that may review what the actor may, revoked ones too, oldest first."""
        _admit(actor)
        return [
            key
            for key in view.list_keys()
            if key.role in _REVIEWERS and (actor.owner is None or key.owner in (None, actor.owner))
        ]

    # Leases

    def lease_next(
        self,
        transaction: Transaction,
        actor: Actor,
        which: CaseFilter,
        order: CaseOrder,
        now: datetime,
        *,
        after: UUID | None = None,
    ) -> Case | None:
        """Lease the first case that nobody else holds and that is not assigned to anybody else.

        A filter without states asks for open cases; one that names an assignee gives the cases of that one.

        Args:
            transaction: Where.
            actor: Who takes it.
            which: Filters.
            order: Which is first.
            now: UTC.
            after: Go on after this case, and begin anew after the last.

        Returns:
            The case, held by the actor; None: there is none now.
        """
        scoped = _scoped(actor, which)
        if scoped is None:
            return None
        if not scoped.states:
            scoped = replace(scoped, states=(CaseState.OPEN,))
        cases = transaction.cases
        start = None
        if after is not None:
            start = cases.position(_visible(transaction, actor, after), order)
        found = cases.first_free(scoped, order, actor.id, now, after=start)
        if found is None and start is not None:
            found = cases.first_free(scoped, order, actor.id, now, after=None)
        if found is None:
            return None
        return cases.lease(found.id, actor.id, now + self._lease)

    def lease(self, transaction: Transaction, actor: Actor, case_id: UUID, now: datetime) -> Case:
        """Lease a case, or renew one's lease.

        Raises:
            NotFoundError: If there is none that the actor sees.
            CaseHeldError: If somebody else has it.
        """
        case = _free(transaction, actor, case_id, now)
        return transaction.cases.lease(case.id, actor.id, now + self._lease)

    def release(self, transaction: Transaction, actor: Actor, case_id: UUID, now: datetime) -> Case:
        """Give a case back; one that is not the actor's stays as it is.

        Raises:
            NotFoundError: If there is none that the actor sees.
        """
        case = _visible(transaction, actor, case_id)
        return transaction.cases.release(case.id) if case.held_by(now) == actor.id else case

    # Decisions

    def decide(
        self,
        transaction: Transaction,
        actor: Actor,
        chosen: Chosen,
        ruling: Ruling,
        now: datetime,
        *,
        batch_id: UUID | None = None,
    ) -> Case:
        """Decide a case: the decision covers the reports that are in it now. The lease ends.

        Raises:
            InvalidRequestError: If the reason is none of the outcome's, or the note is too long.
            NotFoundError: If there is none that the actor sees.
            CaseHeldError: If somebody else has it.
            StaleError: If something happened to it since the revision that was seen.
        """
        _check_ruling(ruling)
        case = _free(transaction, actor, chosen.case_id, now)
        if case.revision != chosen.revision:
            raise StaleError(
                f"case {case.id} has changed since revision {chosen.revision}; look at revision "
                f"{case.revision} of it, then decide",
                case=str(case.id),
                revision=str(case.revision),
            )
        transaction.reviews.decide(case, actor.id, ruling, now, batch_id)
        return transaction.cases.get(case.id)

    def decide_many(
        self,
        transaction: Transaction,
        actor: Actor,
        chosen: Sequence[Chosen],
        ruling: Ruling,
        now: datetime,
        *,
        preview: bool = False,
        allow_partial: bool = False,
    ) -> Batch:
        """Decide several cases alike, `MAX_BATCH` at most. One that fails never sinks the others' results.

        Args:
            transaction: Where.
            actor: Who decides.
            chosen: Which cases.
            ruling: The decision.
            now: UTC.
            preview: Write nothing; only say what would become of each.
            allow_partial: Decide the others although some fail; otherwise one failure keeps all as they are.

        Raises:
            InvalidRequestError: If there are none or too many, a case is named twice, or the ruling is wrong.
        """
        _admit(actor)
        _check_ruling(ruling)
        _check_batch(chosen)
        batch_id = uuid7()
        return self._each(
            transaction,
            [one.case_id for one in chosen],
            lambda i: self.decide(transaction, actor, chosen[i], ruling, now, batch_id=batch_id),
            batch_id,
            preview=preview,
            allow_partial=allow_partial,
        )

    def undo(  # noqa: PLR0917 - as the others, then what is asked for
        self,
        transaction: Transaction,
        actor: Actor,
        case_id: UUID,
        number: int,
        now: datetime,
        note: str = "",
    ) -> Case:
        """Undo a decision: the one before it stands again, if there is one.

        Args:
            transaction: Where.
            actor: Who undoes it.
            case_id: The case.
            number: Of the decision's event.
            now: UTC.
            note: For people.

        Raises:
            NotFoundError: If there is no such case that the actor sees, or no such decision.
            CaseHeldError: If somebody else has the case.
            StaleError: If it was undone already.
        """
        _check_note(note, "note")
        case = _free(transaction, actor, case_id, now)
        decision = next((one for one in transaction.cases.decisions(case.id) if one.number == number), None)
        if decision is None:
            raise NotFoundError(f"case {case.id} has no decision {number}", case=str(case.id))
        if decision.undone_by is not None:
            raise StaleError(
                f"decision {number} of case {case.id} was undone already; look at its events",
                case=str(case.id),
                revision=str(case.revision),
            )
        transaction.reviews.undo(case, decision, actor.id, now, note)
        return transaction.cases.get(case.id)

    def undo_batch(
        self, transaction: Transaction, actor: Actor, batch_id: UUID, now: datetime, note: str = ""
    ) -> Batch:
        """Undo the decisions of a batch, each that can be; those undone already are left out.

        Raises:
            NotFoundError: If there is no such batch with cases that the actor sees.
        """
        _admit(actor)
        _check_note(note, "note")
        found = [
            one
            for one, owner in transaction.cases.decisions_of_batch(batch_id)
            if actor.owner in (None, owner)
        ]
        if not found:
            raise NotFoundError(f"there is no batch {batch_id}", batch=str(batch_id))
        left = [one for one in found if one.undone_by is None]
        return self._each(
            transaction,
            [one.case_id for one in left],
            lambda i: self.undo(transaction, actor, left[i].case_id, left[i].number, now, note),
            batch_id,
            preview=False,
            allow_partial=True,
        )

    @staticmethod
    def _each(
        transaction: Transaction,
        case_ids: Sequence[UUID],
        change: Callable[[int], Case],
        batch_id: UUID,
        *,
        preview: bool,
        allow_partial: bool,
    ) -> Batch:
        """Change cases one by one, each by itself, and take all back where nothing is to be written."""
        items: list[BatchItem] = []
        written: UUID | None = None
        with suppress(_TakenBackError), transaction.savepoint():
            for i, case_id in enumerate(case_ids):
                try:
                    with transaction.savepoint():
                        items.append(BatchItem(case_id, change(i), None))
                except (BusyError, StorageFullError):
                    raise
                except ServiceError as error:
                    items.append(BatchItem(case_id, None, error))
            if preview or (not allow_partial and any(item.error is not None for item in items)):
                raise _TakenBackError
            written = batch_id
        reports = sum(item.case.report_count for item in items if item.case is not None)
        return Batch(written, tuple(items), reports)

    # What else happens to a case

    def assign(
        self, transaction: Transaction, actor: Actor, case_id: UUID, assignee: str | None, now: datetime
    ) -> Case:
        """Say who is to decide a case; None: anybody.

        Raises:
            NotFoundError: If there is none that the actor sees.
            InvalidRequestError: If there is no such key, or it may not decide the case.
        """
        case = _visible(transaction, actor, case_id)
        if assignee is not None and assignee != actor.id:
            key = transaction.cases.find_key(assignee)
            if (
                key is None
                or key.revoked_at is not None
                or key.role not in _REVIEWERS
                or key.owner not in (None, case.owner)
            ):
                raise InvalidRequestError(
                    "assignee", "is no id of a key that may decide the case; `copyhound keys list` shows them"
                )
        if assignee != case.assignee:
            transaction.reviews.assign(case, actor.id, assignee, now)
        return transaction.cases.get(case.id)

    def set_due(
        self, transaction: Transaction, actor: Actor, case_id: UUID, due_at: datetime | None, now: datetime
    ) -> Case:
        """Say until when (UTC) a case is to be decided; None: no date.

        Raises:
            NotFoundError: If there is none that the actor sees.
        """
        case = _visible(transaction, actor, case_id)
        if due_at != case.due_at:
            transaction.reviews.set_due(case, actor.id, due_at, now)
        return transaction.cases.get(case.id)

    def comment(
        self, transaction: Transaction, actor: Actor, case_id: UUID, text: str, now: datetime
    ) -> Case:
        """Add a comment to a case.

        Raises:
            NotFoundError: If there is none that the actor sees.
            InvalidRequestError: If it is empty or too long.
        """
        _check_note(text, "text")
        if not text.strip():
            raise InvalidRequestError("text", "is empty: say something")
        case = _visible(transaction, actor, case_id)
        transaction.reviews.comment(case, actor.id, text, now)
        return transaction.cases.get(case.id)

    # Suppression

    def suppress(  # noqa: PLR0917 - as the others, then what is asked for
        self,
        transaction: Transaction,
        actor: Actor,
        kind: SubjectKind,
        subject_id: UUID,
        now: datetime,
        note: str = "",
    ) -> Suppression:
        """Keep back the matches of a reference, or of a whole work; done before: nothing changes.

        They raise no reports any more, and no answer asks for more than review because of them.

        Raises:
            NotFoundError: If there is no such reference or work that the actor sees.
        """
        _check_note(note, "note")
        known = self._subject(transaction, actor, kind, subject_id)
        return known or transaction.reviews.suppress(kind, subject_id, actor.id, note, now)

    def unsuppress(  # noqa: PLR0917 - as the others, then what is asked for
        self,
        transaction: Transaction,
        actor: Actor,
        kind: SubjectKind,
        subject_id: UUID,
        now: datetime,
        note: str = "",
    ) -> None:
        """Let the matches of a reference or work count again; done before: nothing changes.

        Raises:
            NotFoundError: If there is no such reference or work that the actor sees.
        """
        _check_note(note, "note")
        if self._subject(transaction, actor, kind, subject_id) is not None:
            transaction.reviews.unsuppress(kind, subject_id, actor.id, note, now)

    @staticmethod
    def _subject(
        transaction: Transaction, actor: Actor, kind: SubjectKind, subject_id: UUID
    ) -> Suppression | None:
        """What a reference or work is suppressed by, after a look whether the actor sees it."""
        _admit(actor)
        owner = transaction.reviews.owner_of(kind, subject_id)
        if owner is None or actor.owner not in (None, owner):
            raise NotFoundError(f"there is no {kind} {subject_id}; it may have been deleted")
        return transaction.reviews.suppression(kind, subject_id)

    # Saved views

    def save_view(
        self, transaction: Transaction, actor: Actor, title: str, query: str, now: datetime
    ) -> SavedView:
        """Keep a filter under a title; one of the same title is replaced.

        Args:
            transaction: Where.
            actor: Whose view it is.
            title: 1 to 200 characters.
            query: What it asks for, at most 4,000 characters, for the caller to read again.
            now: UTC.

        Raises:
            InvalidRequestError: If title or query are too long or empty, or there are `MAX_VIEWS` already.
        """
        _admit(actor)
        if not title.strip() or len(title) > _MAX_TITLE:
            raise InvalidRequestError("title", f"must have 1 to {_MAX_TITLE} characters, not {len(title)}")
        if len(query) > _MAX_QUERY:
            raise InvalidRequestError("query", f"has {len(query):,} characters; at most {_MAX_QUERY:,} fit")
        known = transaction.reviews.views(actor.id)
        if len(known) >= MAX_VIEWS and title not in {one.title for one in known}:
            raise InvalidRequestError("title", f"there are {MAX_VIEWS} saved views; delete one first")
        return transaction.reviews.save_view(actor.id, title, query, now)

    def delete_view(self, transaction: Transaction, actor: Actor, view_id: UUID) -> None:
        """Drop a saved view.

        Raises:
            NotFoundError: If the actor has none with this id.
        """
        _admit(actor)
        if not transaction.reviews.delete_view(actor.id, view_id):
            raise NotFoundError(f"there is no saved view {view_id}", view=str(view_id))


class _TakenBackError(Exception):
    """Nothing of a batch is to be written."""


def _admit(actor: Actor) -> None:
    if actor.role not in _REVIEWERS:
        raise ForbiddenError(f"role {actor.role} reviews nothing; these do: {', '.join(sorted(_REVIEWERS))}")


def _visible(where: View | Transaction, actor: Actor, case_id: UUID) -> Case:
    _admit(actor)
    case = where.cases.find(case_id)
    if case is None or actor.owner not in (None, case.owner):
        raise NotFoundError(f"there is no case {case_id}", case=str(case_id))
    return case


def _free(transaction: Transaction, actor: Actor, case_id: UUID, now: datetime) -> Case:
    """A case that the actor sees and nobody else holds."""
    case = _visible(transaction, actor, case_id)
    lease = case.lease
    if lease is not None and case.held_by(now) not in (None, actor.id):
        until = lease.until.isoformat(timespec="seconds")
        raise CaseHeldError(
            f"case {case_id} is held by key {lease.holder} until {until}; take another, or wait until it is "
            "released",
            case=str(case_id),
            holder=lease.holder,
            until=until,
        )
    return case


def _scoped(actor: Actor, which: CaseFilter) -> CaseFilter | None:
    """A filter within what the actor sees; None: nothing."""
    _admit(actor)
    if actor.owner is None:
        return which
    return replace(which, owner=actor.owner) if which.owner in (None, actor.owner) else None


def _check_note(text: str, field: str) -> None:
    if len(text) > MAX_NOTE:
        raise InvalidRequestError(field, f"has {len(text):,} characters; at most {MAX_NOTE:,} fit")


def _check_ruling(ruling: Ruling) -> None:
    known = REASONS[ruling.outcome]
    if ruling.reason and ruling.reason not in known:
        raise InvalidRequestError(
            "reason", f"is none of those for {ruling.outcome}: {', '.join(known)}; or leave it empty"
        )
    _check_note(ruling.note, "note")


def _check_batch(chosen: Sequence[Chosen]) -> None:
    if not 1 <= len(chosen) <= MAX_BATCH:
        raise InvalidRequestError("cases", f"send 1 to {MAX_BATCH:,} cases, not {len(chosen):,}")
    if len({one.case_id for one in chosen}) < len(chosen):
        raise InvalidRequestError("cases", "names a case twice; name each once")
