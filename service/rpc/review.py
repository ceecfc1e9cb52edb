"""ReviewService: people decide what reports are."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from google.protobuf.message import Message

from copyhound.v1 import review_pb2, review_pb2_grpc
from service.catalogue import Catalogue
from service.errors import InvalidRequestError
from service.review import Desk
from service.reviewed import Actor, Case, EventFilter
from service.rpc import convert, convert_review, pages
from service.rpc.access import current_caller
from service.rpc.context import Context
from service.rpc.once import Once, digest_of_request
from service.store import Store, Transaction, View

M = TypeVar("M", bound=Message)
T = TypeVar("T")


class ReviewService(review_pb2_grpc.ReviewServiceServicer):
    """See proto/copyhound/v1/review.proto, which documents every method."""

    def __init__(self, catalogue: Catalogue, desk: Desk) -> None:
        """Apply the rules of `desk` to the cases in the store of `catalogue`."""
        self._catalogue = catalogue
        self._store: Store = catalogue.store
        self._once = Once(catalogue)
        self._desk = desk

    async def LeaseNext(
        self, request: review_pb2.LeaseNextRequest, context: Context
    ) -> review_pb2.LeaseNextResponse:
        """Lease the next case."""
        del context
        which = convert_review.read_filter(request.filter)
        order = convert_review.read_order(request.order)
        after = convert_review.read_case_name(request.after, "after") if request.after else None

        def lease(transaction: Transaction, actor: Actor, now: datetime) -> review_pb2.LeaseNextResponse:
            case = self._desk.lease_next(transaction, actor, which, order, now, after=after)
            message = None if case is None else convert_review.case_message(case, now)
            return review_pb2.LeaseNextResponse(case=message)

        return await self._write(request, review_pb2.LeaseNextResponse, lease)

    async def LeaseCase(self, request: review_pb2.LeaseCaseRequest, context: Context) -> review_pb2.Case:
        """Lease a case, or renew its lease."""
        del context
        case_id = convert_review.read_case_name(request.name, "name")
        return await self._change(lambda to, actor, now: self._desk.lease(to, actor, case_id, now))

    async def ReleaseCase(self, request: review_pb2.ReleaseCaseRequest, context: Context) -> review_pb2.Case:
        """Give a case back."""
        del context
        case_id = convert_review.read_case_name(request.name, "name")
        return await self._change(lambda to, actor, now: self._desk.release(to, actor, case_id, now))

    async def GetCase(self, request: review_pb2.GetCaseRequest, context: Context) -> review_pb2.Case:
        """Return a case with its decisions."""
        del context
        case_id = convert_review.read_case_name(request.name, "name")

        def read(view: View, actor: Actor) -> review_pb2.Case:
            case = self._desk.case(view, actor, case_id)
            decisions = self._desk.decisions(view, actor, case_id)
            return convert_review.case_message(case, datetime.now(UTC), decisions)

        return await self._read(read)

    async def ListCases(
        self, request: review_pb2.ListCasesRequest, context: Context
    ) -> review_pb2.ListCasesResponse:
        """Return a page of cases."""
        del context
        which = convert_review.read_filter(request.filter)
        order = convert_review.read_order(request.order)
        size = convert.read_page_size(request.page_size, "page_size", 100)
        filters = (request.filter, order.value)
        after = convert_review.read_position_token(request.page_token, *filters)

        def read(view: View, actor: Actor) -> review_pb2.ListCasesResponse:
            found = self._desk.page(view, actor, which, order, after=after, limit=size + 1)
            token = ""
            if len(found) > size:
                position = self._desk.position(view, found[size - 1], order)
                token = convert_review.position_token(position, *filters)
            now = datetime.now(UTC)
            return review_pb2.ListCasesResponse(
                cases=[convert_review.case_message(one, now) for one in found[:size]], next_page_token=token
            )

        return await self._read(read)

    async def ListCaseReports(
        self, request: review_pb2.ListCaseReportsRequest, context: Context
    ) -> review_pb2.ListCaseReportsResponse:
        """Return a page of a case's reports."""
        del context
        case_id = convert_review.read_case_name(request.name, "name")
        size = convert.read_page_size(request.page_size, "page_size", 100)
        if request.after_number < 0:
            raise InvalidRequestError("after_number", "must not be negative")

        def read(view: View, actor: Actor) -> review_pb2.ListCaseReportsResponse:
            found = self._desk.reports(view, actor, case_id, after=request.after_number, limit=size + 1)
            return review_pb2.ListCaseReportsResponse(
                reports=[convert_review.case_report_message(one) for one in found[:size]],
                more=len(found) > size,
            )

        return await self._read(read)

    async def Decide(self, request: review_pb2.DecideRequest, context: Context) -> review_pb2.Case:
        """Decide a case."""
        del context
        chosen = convert_review.read_chosen(request.name, request.etag, "")
        ruling = convert_review.read_ruling(request)

        def decide(transaction: Transaction, actor: Actor, now: datetime) -> review_pb2.Case:
            case = self._desk.decide(transaction, actor, chosen, ruling, now)
            return convert_review.case_message(case, now)

        return await self._write(request, review_pb2.Case, decide)

    async def BatchDecide(
        self, request: review_pb2.BatchDecideRequest, context: Context
    ) -> review_pb2.BatchDecideResponse:
        """Decide several cases alike."""
        del context
        chosen = [
            convert_review.read_chosen(one.name, one.etag, f"cases[{i}].")
            for i, one in enumerate(request.cases)
        ]
        ruling = convert_review.read_ruling(request)
        current_caller().charge_items(max(len(chosen), 1))

        def decide(transaction: Transaction, actor: Actor, now: datetime) -> review_pb2.BatchDecideResponse:
            batch = self._desk.decide_many(
                transaction,
                actor,
                chosen,
                ruling,
                now,
                preview=request.validate_only,
                allow_partial=request.allow_partial,
            )
            return review_pb2.BatchDecideResponse(
                batch="" if batch.id is None else convert_review.batch_name(batch.id),
                results=[convert_review.result_message(item, now) for item in batch.items],
                failed_count=batch.failed,
                report_count=batch.report_count,
            )

        return await self._write(request, review_pb2.BatchDecideResponse, decide)

    async def Undo(self, request: review_pb2.UndoRequest, context: Context) -> review_pb2.UndoResponse:
        """Undo a decision, or those of a batch."""
        del context
        if bool(request.case) == bool(request.batch):
            raise InvalidRequestError("case", "name a case with the number of its decision, or a batch")
        note = convert_review.read_note(request.note, "note")
        case_id = convert_review.read_case_name(request.case, "case") if request.case else None
        batch_id = convert_review.read_batch_name(request.batch, "batch") if request.batch else None

        def undo(transaction: Transaction, actor: Actor, now: datetime) -> review_pb2.UndoResponse:
            if case_id is not None:
                case = self._desk.undo(transaction, actor, case_id, request.number, now, note)
                result = review_pb2.BatchDecideResponse.Result(
                    name=request.case, case=convert_review.case_message(case, now)
                )
                return review_pb2.UndoResponse(results=[result])
            if batch_id is None:
                raise AssertionError("a batch is named where no case is")
            batch = self._desk.undo_batch(transaction, actor, batch_id, now, note)
            return review_pb2.UndoResponse(
                results=[convert_review.result_message(item, now) for item in batch.items],
                failed_count=batch.failed,
            )

        return await self._write(request, review_pb2.UndoResponse, undo)

    async def ListEvents(
        self, request: review_pb2.ListEventsRequest, context: Context
    ) -> review_pb2.ListEventsResponse:
        """Return a page of events."""
        del context
        subject = request.subject
        which = EventFilter(
            subject_id=convert_review.read_subject_name(subject, "subject") if subject else None,
            owner=convert.read_text(request.owner, "owner", 128) or None,
            actor=convert_review.read_key_id(request.actor, "actor") or None,
        )
        size = convert.read_page_size(request.page_size, "page_size", 100)
        filters = (subject, request.owner, request.actor)
        after = pages.read_token(request.page_token, filters)
        found = await self._read(
            lambda view, actor: self._desk.events(view, actor, which, after=after, limit=size + 1)
        )
        return review_pb2.ListEventsResponse(
            events=[convert_review.event_message(one) for one in found[:size]],
            next_page_token=pages.token(found[size - 1].id, filters) if len(found) > size else "",
        )

    async def AssignCase(self, request: review_pb2.AssignCaseRequest, context: Context) -> review_pb2.Case:
        """Say who is to decide a case."""
        del context
        case_id = convert_review.read_case_name(request.name, "name")
        assignee = convert_review.read_key_id(request.assignee, "assignee") or None

        def assign(transaction: Transaction, actor: Actor, now: datetime) -> review_pb2.Case:
            case = self._desk.assign(transaction, actor, case_id, assignee, now)
            return convert_review.case_message(case, now)

        return await self._write(request, review_pb2.Case, assign)

    async def SetCaseDue(self, request: review_pb2.SetCaseDueRequest, context: Context) -> review_pb2.Case:
        """Say until when a case is to be decided."""
        del context
        case_id = convert_review.read_case_name(request.name, "name")
        given = request.HasField("due_time")
        due_at = convert.read_time(request.due_time, "due_time") if given else None

        def set_due(transaction: Transaction, actor: Actor, now: datetime) -> review_pb2.Case:
            case = self._desk.set_due(transaction, actor, case_id, due_at, now)
            return convert_review.case_message(case, now)

        return await self._write(request, review_pb2.Case, set_due)

    async def AddComment(self, request: review_pb2.AddCommentRequest, context: Context) -> review_pb2.Case:
        """Add a comment to a case."""
        del context
        case_id = convert_review.read_case_name(request.name, "name")
        text = convert_review.read_note(request.text, "text")

        def comment(transaction: Transaction, actor: Actor, now: datetime) -> review_pb2.Case:
            case = self._desk.comment(transaction, actor, case_id, text, now)
            return convert_review.case_message(case, now)

        return await self._write(request, review_pb2.Case, comment)

    async def SaveView(self, request: review_pb2.SaveViewRequest, context: Context) -> review_pb2.SavedView:
        """Keep a filter under a title."""
        del context
        title = convert.read_text(request.title, "title", 200)
        query = convert.read_text(request.query, "query", 4000)
        actor, now = current_caller().actor, datetime.now(UTC)
        view = await self._catalogue.write(lambda to: self._desk.save_view(to, actor, title, query, now))
        return convert_review.view_message(view)

    async def ListSavedViews(
        self, request: review_pb2.ListSavedViewsRequest, context: Context
    ) -> review_pb2.ListSavedViewsResponse:
        """Return the caller's saved views."""
        del request, context
        found = await self._read(self._desk.views)
        return review_pb2.ListSavedViewsResponse(views=[convert_review.view_message(one) for one in found])

    async def DeleteSavedView(
        self, request: review_pb2.DeleteSavedViewRequest, context: Context
    ) -> review_pb2.DeleteSavedViewResponse:
        """Drop a saved view."""
        del context
        view_id = convert_review.read_view_name(request.name, "name")
        actor = current_caller().actor
        await self._catalogue.write(lambda to: self._desk.delete_view(to, actor, view_id))
        return review_pb2.DeleteSavedViewResponse()

    async def GetOverview(
        self, request: review_pb2.GetOverviewRequest, context: Context
    ) -> review_pb2.Overview:
        """Return the cases in numbers."""
        del context
        days = convert_review.read_days(request.days)
        found = await self._read(lambda view, actor: self._desk.overview(view, actor, days=days))
        return convert_review.overview_message(found)

    async def GetPrecision(
        self, request: review_pb2.GetPrecisionRequest, context: Context
    ) -> review_pb2.GetPrecisionResponse:
        """Say how many matches were right."""
        del context
        kind = convert_review.read_precision_kind(request.kind)
        found = await self._read(lambda view, actor: self._desk.precision(view, actor, kind))
        return review_pb2.GetPrecisionResponse(rows=[convert_review.precision_message(one) for one in found])

    async def ListExamples(
        self, request: review_pb2.ListExamplesRequest, context: Context
    ) -> review_pb2.ListExamplesResponse:
        """Return a page of labelled examples."""
        del context
        size = convert.read_page_size(request.page_size, "page_size", 100)
        after = pages.read_token(request.page_token, ())
        found = await self._read(
            lambda view, actor: self._desk.examples(view, actor, after=after, limit=size + 1)
        )
        return review_pb2.ListExamplesResponse(
            examples=[convert_review.example_message(one) for one in found[:size]],
            next_page_token=pages.token(found[size - 1].id, ()) if len(found) > size else "",
        )

    async def ListFlagged(
        self, request: review_pb2.ListFlaggedRequest, context: Context
    ) -> review_pb2.ListFlaggedResponse:
        """Return what floods the queue."""
        del request, context
        found = await self._read(self._desk.flagged)
        return review_pb2.ListFlaggedResponse(flagged=[convert_review.flagged_message(one) for one in found])

    async def SuppressReference(
        self, request: review_pb2.SuppressReferenceRequest, context: Context
    ) -> review_pb2.Suppression:
        """Keep back the matches of a reference or work."""
        del context
        kind, subject_id = convert_review.read_suppressible_name(request.name, "name")
        note = convert_review.read_note(request.note, "note")

        def suppress(transaction: Transaction, actor: Actor, now: datetime) -> review_pb2.Suppression:
            found = self._desk.suppress(transaction, actor, kind, subject_id, now, note)
            return convert_review.suppression_message(found)

        return await self._write(request, review_pb2.Suppression, suppress)

    async def UnsuppressReference(
        self, request: review_pb2.UnsuppressReferenceRequest, context: Context
    ) -> review_pb2.UnsuppressReferenceResponse:
        """Let the matches of a reference or work count again."""
        del context
        kind, subject_id = convert_review.read_suppressible_name(request.name, "name")
        note = convert_review.read_note(request.note, "note")

        def unsuppress(
            transaction: Transaction, actor: Actor, now: datetime
        ) -> review_pb2.UnsuppressReferenceResponse:
            self._desk.unsuppress(transaction, actor, kind, subject_id, now, note)
            return review_pb2.UnsuppressReferenceResponse()

        return await self._write(request, review_pb2.UnsuppressReferenceResponse, unsuppress)

    async def ListSuppressions(
        self, request: review_pb2.ListSuppressionsRequest, context: Context
    ) -> review_pb2.ListSuppressionsResponse:
        """Return what is suppressed."""
        del request, context
        found = await self._read(self._desk.suppressions)
        return review_pb2.ListSuppressionsResponse(
            suppressions=[convert_review.suppression_message(one) for one in found]
        )

    async def ListReviewers(
        self, request: review_pb2.ListReviewersRequest, context: Context
    ) -> review_pb2.ListReviewersResponse:
        """Return who reviews."""
        del request, context
        found = await self._read(self._desk.reviewers)
        return review_pb2.ListReviewersResponse(
            reviewers=[
                review_pb2.Reviewer(
                    id=one.id, name=one.name, role=one.role.value, revoked=one.revoked_at is not None
                )
                for one in found
            ]
        )

    async def _read(self, read: Callable[[View, Actor], T]) -> T:
        """Read in a thread, as the caller."""
        actor = current_caller().actor

        def look() -> T:
            with self._store.view() as view:
                return read(view, actor)

        return await asyncio.to_thread(look)

    async def _change(self, change: Callable[[Transaction, Actor, datetime], Case]) -> review_pb2.Case:
        """Change a case as the caller; repeating it does no harm."""
        actor, now = current_caller().actor, datetime.now(UTC)
        case = await self._catalogue.write(lambda transaction: change(transaction, actor, now))
        return convert_review.case_message(case, now)

    async def _write(
        self,
        request: review_pb2.LeaseNextRequest
        | review_pb2.DecideRequest
        | review_pb2.BatchDecideRequest
        | review_pb2.UndoRequest
        | review_pb2.AssignCaseRequest
        | review_pb2.SetCaseDueRequest
        | review_pb2.AddCommentRequest
        | review_pb2.SuppressReferenceRequest
        | review_pb2.UnsuppressReferenceRequest,
        kind: type[M],
        change: Callable[[Transaction, Actor, datetime], M],
    ) -> M:
        """Change something as the caller, once for a request id."""
        caller = current_caller()
        actor, now = caller.actor, datetime.now(UTC)
        digest = digest_of_request(request)
        return await self._once.write(
            caller, request.request_id, digest, kind, lambda transaction: change(transaction, actor, now)
        )
