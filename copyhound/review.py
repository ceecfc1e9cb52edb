"""What the clients say of review: cases, decisions, events, feedback."""

from collections.abc import AsyncGenerator, Iterable
from datetime import datetime

from copyhound import review_convert as convert
from copyhound.batches import new_request_id
from copyhound.convert import timestamp
from copyhound.review_types import (
    BatchDecided,
    Case,
    CaseFilter,
    CaseOrder,
    CaseReport,
    CaseResult,
    Example,
    Flagged,
    Outcome,
    Overview,
    Precision,
    PrecisionKind,
    Reviewer,
    ReviewEvent,
    SavedView,
    Suppression,
)
from copyhound.transport import Calls, Transport
from copyhound.v1 import review_pb2, review_pb2_grpc

_ALL = CaseFilter()


class ReviewCalls(Calls):
    """The calls of `AsyncClient` that speak of review."""

    def _use_review(self, transport: Transport) -> None:
        """Make the stub."""
        self._review = review_pb2_grpc.ReviewServiceStub(transport.channel)

    async def lease_next(
        self,
        which: CaseFilter = _ALL,
        *,
        order: CaseOrder | str = CaseOrder.NEWEST,
        after: str = "",
    ) -> Case | None:
        """Lease the first case that nobody else holds; None: there is none now.

        Args:
            which: Which cases; without states: open ones.
            order: Which is first.
            after: Go on after ``cases/{uuid}``, and begin anew after the last; empty: the first.
        """
        request = review_pb2.LeaseNextRequest(
            filter=convert.filter_to_message(which),
            order=convert.order_to_message(order),
            after=after,
            request_id=new_request_id(),
        )
        response = await self._unary(self._review.LeaseNext, request)
        return convert.case_from_message(response.case) if response.HasField("case") else None

    async def lease_case(self, name: str) -> Case:
        """Lease ``cases/{uuid}``, or renew one's lease; `CaseHeldError` if somebody else has it."""
        request = review_pb2.LeaseCaseRequest(name=name)
        return convert.case_from_message(await self._unary(self._review.LeaseCase, request))

    async def release_case(self, name: str) -> Case:
        """Give ``cases/{uuid}`` back before its lease ends."""
        request = review_pb2.ReleaseCaseRequest(name=name)
        return convert.case_from_message(await self._unary(self._review.ReleaseCase, request))

    async def get_case(self, name: str) -> Case:
        """Return ``cases/{uuid}`` with all decisions on it."""
        request = review_pb2.GetCaseRequest(name=name)
        return convert.case_from_message(await self._unary(self._review.GetCase, request))

    async def cases(
        self,
        which: CaseFilter = _ALL,
        *,
        order: CaseOrder | str = CaseOrder.NEWEST,
        page_size: int = 0,
    ) -> AsyncGenerator[Case, None]:
        """Yield cases.

        Args:
            which: Which.
            order: Which come first.
            page_size: Cases that are fetched at a time, 1 to 1,000; 0: 100.
        """
        request = review_pb2.ListCasesRequest(
            filter=convert.filter_to_message(which),
            order=convert.order_to_message(order),
            page_size=page_size,
        )
        while True:
            page = await self._unary(self._review.ListCases, request)
            for message in page.cases:
                yield convert.case_from_message(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def case_reports(self, name: str, *, page_size: int = 0) -> AsyncGenerator[CaseReport, None]:
        """Yield the reports in ``cases/{uuid}``, in the order in which they came in.

        Args:
            name: ``cases/{uuid}``.
            page_size: Reports that are fetched at a time, 1 to 1,000; 0: 100.
        """
        request = review_pb2.ListCaseReportsRequest(name=name, page_size=page_size)
        while True:
            page = await self._unary(self._review.ListCaseReports, request)
            for message in page.reports:
                yield convert.case_report_from_message(message)
            if not page.more:
                return
            request.after_number = page.reports[-1].number

    async def decide(self, case: Case, outcome: Outcome | str, *, reason: str = "", note: str = "") -> Case:
        """Decide a case as it was seen; the case afterwards.

        `StaleError` says that something happened to it since: get it again, and look. `CaseHeldError` says
        that somebody else has it.

        Args:
            case: As it was seen.
            outcome: What is decided.
            reason: Why: one of the codes that the guide on reviewing lists for the outcome.
            note: For people.
        """
        request = review_pb2.DecideRequest(
            name=case.name,
            etag=case.etag,
            outcome=convert.outcome_to_message(outcome),
            reason=reason,
            note=note,
            request_id=new_request_id(),
        )
        return convert.case_from_message(await self._unary(self._review.Decide, request))

    async def decide_many(
        self,
        cases: Iterable[Case],
        outcome: Outcome | str,
        *,
        reason: str = "",
        note: str = "",
        allow_partial: bool = False,
        validate_only: bool = False,
    ) -> BatchDecided:
        """Decide up to 1,000 cases alike.

        Args:
            cases: As they were seen.
            outcome: What is decided.
            reason: Why, as in `decide`.
            note: For people.
            allow_partial: Decide the others although some fail; otherwise one failure keeps all as they are.
            validate_only: Only say what would become of each.
        """
        request = review_pb2.BatchDecideRequest(
            cases=[review_pb2.ChosenCase(name=case.name, etag=case.etag) for case in cases],
            outcome=convert.outcome_to_message(outcome),
            reason=reason,
            note=note,
            allow_partial=allow_partial,
            validate_only=validate_only,
            request_id="" if validate_only else new_request_id(),
        )
        return convert.batch_from_message(await self._unary(self._review.BatchDecide, request))

    async def undo(self, name: str, number: int, *, note: str = "") -> Case:
        """Undo a decision: the one before it stands again; the case afterwards.

        Args:
            name: ``cases/{uuid}``.
            number: Of the decision.
            note: For people.
        """
        request = review_pb2.UndoRequest(case=name, number=number, note=note, request_id=new_request_id())
        response = await self._unary(self._review.Undo, request)
        return convert.case_from_message(response.results[0].case)

    async def undo_batch(self, name: str, *, note: str = "") -> tuple[CaseResult, ...]:
        """Undo the decisions of ``batches/{uuid}`` that can be; what became of each case."""
        request = review_pb2.UndoRequest(batch=name, note=note, request_id=new_request_id())
        response = await self._unary(self._review.Undo, request)
        return tuple(convert.result_from_message(one) for one in response.results)

    async def review_events(
        self, *, subject: str = "", actor: str = "", owner: str = "", page_size: int = 0
    ) -> AsyncGenerator[ReviewEvent, None]:
        """Yield events, newest first.

        Args:
            subject: Only those of ``cases/{uuid}``, ``works/{uuid}`` or ``references/{uuid}``; empty: all.
            actor: Only those by this key's id, or by ``server``; empty: all.
            owner: Only those of works of this owner; empty: all that the key may see.
            page_size: Events that are fetched at a time, 1 to 1,000; 0: 100.
        """
        request = review_pb2.ListEventsRequest(subject=subject, actor=actor, owner=owner, page_size=page_size)
        while True:
            page = await self._unary(self._review.ListEvents, request)
            for message in page.events:
                yield convert.event_from_message(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def assign_case(self, name: str, assignee: str | None) -> Case:
        """Say which key, by its id, is to decide ``cases/{uuid}``; None: any."""
        request = review_pb2.AssignCaseRequest(
            name=name, assignee=assignee or "", request_id=new_request_id()
        )
        return convert.case_from_message(await self._unary(self._review.AssignCase, request))

    async def set_case_due(self, name: str, due_at: datetime | None) -> Case:
        """Say until when ``cases/{uuid}`` is to be decided; None: no date."""
        request = review_pb2.SetCaseDueRequest(
            name=name, due_time=timestamp(due_at, "due_at"), request_id=new_request_id()
        )
        return convert.case_from_message(await self._unary(self._review.SetCaseDue, request))

    async def comment(self, name: str, text: str) -> Case:
        """Add a comment to ``cases/{uuid}``."""
        request = review_pb2.AddCommentRequest(name=name, text=text, request_id=new_request_id())
        return convert.case_from_message(await self._unary(self._review.AddComment, request))

    async def save_view(self, title: str, query: str) -> SavedView:
        """Keep a filter, in whatever form, under a title; one of the same title is replaced."""
        request = review_pb2.SaveViewRequest(title=title, query=query)
        return convert.view_from_message(await self._unary(self._review.SaveView, request))

    async def saved_views(self) -> tuple[SavedView, ...]:
        """Return the key's saved views, by title."""
        response = await self._unary(self._review.ListSavedViews, review_pb2.ListSavedViewsRequest())
        return tuple(convert.view_from_message(one) for one in response.views)

    async def delete_view(self, name: str) -> None:
        """Drop ``views/{uuid}``."""
        await self._unary(self._review.DeleteSavedView, review_pb2.DeleteSavedViewRequest(name=name))

    async def overview(self, *, days: int = 0) -> Overview:
        """Return the cases in numbers.

        Args:
            days: How many of the last days on which anything happened, 1 to 366; 0: 30.
        """
        request = review_pb2.GetOverviewRequest(days=days)
        return convert.overview_from_message(await self._unary(self._review.GetOverview, request))

    async def precision(self, kind: PrecisionKind | str) -> tuple[Precision, ...]:
        """Return how many matches were right, of those that were decided; most wrong first, 1,000 at most."""
        request = review_pb2.GetPrecisionRequest(kind=convert.precision_kind_to_message(kind))
        response = await self._unary(self._review.GetPrecision, request)
        return tuple(convert.precision_from_message(one) for one in response.rows)

    async def examples(self, *, page_size: int = 0) -> AsyncGenerator[Example, None]:
        """Yield the labelled examples that decisions made, oldest first.

        Args:
            page_size: Examples that are fetched at a time, 1 to 1,000; 0: 100.
        """
        request = review_pb2.ListExamplesRequest(page_size=page_size)
        while True:
            page = await self._unary(self._review.ListExamples, request)
            for message in page.examples:
                yield convert.example_from_message(message)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def flagged(self) -> tuple[Flagged, ...]:
        """Return the references and works that flood the queue with wrong matches, the worst first."""
        response = await self._unary(self._review.ListFlagged, review_pb2.ListFlaggedRequest())
        return tuple(convert.flagged_from_message(one) for one in response.flagged)

    async def suppress(self, name: str, *, note: str = "") -> Suppression:
        """Keep back the matches of a reference, or of a whole work.

        Args:
            name: ``works/{uuid}/references/{uuid}`` or ``works/{uuid}``.
            note: For people.
        """
        request = review_pb2.SuppressReferenceRequest(name=name, note=note, request_id=new_request_id())
        return convert.suppression_from_message(await self._unary(self._review.SuppressReference, request))

    async def unsuppress(self, name: str, *, note: str = "") -> None:
        """Let the matches of a reference, or of a whole work, count again.

        Args:
            name: ``works/{uuid}/references/{uuid}`` or ``works/{uuid}``.
            note: For people.
        """
        request = review_pb2.UnsuppressReferenceRequest(name=name, note=note, request_id=new_request_id())
        await self._unary(self._review.UnsuppressReference, request)

    async def suppressions(self) -> tuple[Suppression, ...]:
        """Return what is suppressed, newest first."""
        response = await self._unary(self._review.ListSuppressions, review_pb2.ListSuppressionsRequest())
        return tuple(convert.suppression_from_message(one) for one in response.suppressions)

    async def reviewers(self) -> tuple[Reviewer, ...]:
        """Return who may review the caller's cases: their keys and names, the oldest keys first."""
        response = await self._unary(self._review.ListReviewers, review_pb2.ListReviewersRequest())
        return tuple(convert.reviewer_from_message(one) for one in response.reviewers)
