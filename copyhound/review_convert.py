"""From review's values to messages and back: the only place that knows both."""

from enum import StrEnum

from copyhound import convert, status
from copyhound import review_types as types
from copyhound.errors import InvalidRequestError
from copyhound.v1 import review_pb2


def outcome_to_message(outcome: types.Outcome | str) -> "review_pb2.Outcome.ValueType":
    """Return the enum's value.

    Raises:
        InvalidRequestError: If it is no outcome.
    """
    return review_pb2.Outcome.Value(f"OUTCOME_{_name_in(types.Outcome, outcome, 'outcome')}")


def order_to_message(order: types.CaseOrder | str) -> "review_pb2.CaseOrder.ValueType":
    """Return the enum's value.

    Raises:
        InvalidRequestError: If it is no order.
    """
    return review_pb2.CaseOrder.Value(f"CASE_ORDER_{_name_in(types.CaseOrder, order, 'order')}")


def precision_kind_to_message(kind: types.PrecisionKind | str) -> "review_pb2.PrecisionKind.ValueType":
    """Return the enum's value.

    Raises:
        InvalidRequestError: If it is no kind.
    """
    return review_pb2.PrecisionKind.Value(f"PRECISION_KIND_{_name_in(types.PrecisionKind, kind, 'kind')}")


def _name_in(values: type[StrEnum], value: str, field: str) -> str:
    """The name that a value has among others.

    Raises:
        InvalidRequestError: If it is none of them.
    """
    try:
        return values(value).name
    except ValueError as error:
        raise InvalidRequestError(f"{field}: “{value}” is none of these: {', '.join(values)}") from error


def filter_to_message(which: types.CaseFilter) -> review_pb2.CaseFilter:
    """Return the message.

    Raises:
        InvalidRequestError: If a field has the wrong type, or is no text that UTF-8 can hold.
    """
    try:
        return review_pb2.CaseFilter(
            states=[
                review_pb2.CaseState.Value(f"CASE_STATE_{types.CaseState(state).name}")
                for state in which.states
            ],
            owner=which.owner,
            list=which.list,
            site=which.site,
            work=which.work,
            modality=convert.modality_to_message(which.modality or None),
            min_probability=which.min_probability,
            max_probability=0.0 if which.max_probability == 1.0 else which.max_probability,
            assignee=which.assignee,
            due_before=convert.timestamp(which.due_before, "filter.due_before"),
            reported_from=convert.timestamp(which.reported_from, "filter.reported_from"),
            reported_before=convert.timestamp(which.reported_before, "filter.reported_before"),
            text=which.text,
            outcome=review_pb2.OUTCOME_UNSPECIFIED
            if which.outcome is None
            else outcome_to_message(which.outcome),
        )
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"filter: {error}; change the field") from error


def _outcome(code: "review_pb2.Outcome.ValueType") -> types.Outcome:
    return types.Outcome(review_pb2.Outcome.Name(code).removeprefix("OUTCOME_").lower())


def _decision(message: review_pb2.Decision) -> types.Decision:
    return types.Decision(
        number=message.number,
        outcome=_outcome(message.outcome),
        reason=message.reason,
        note=message.note,
        actor=message.actor,
        created_at=convert.moment(message.create_time),
        batch=message.batch or None,
        undone_by=message.undone_by or None,
    )


def case_from_message(message: review_pb2.Case) -> types.Case:
    """Return the value."""
    state = review_pb2.CaseState.Name(message.state).removeprefix("CASE_STATE_").lower()
    held = message.HasField("lease_expire_time")
    return types.Case(
        name=message.name,
        owner=message.owner,
        work=message.work,
        work_title=message.work_title,
        external_id=message.external_id or None,
        site=message.site,
        state=types.CaseState(state),
        decision=_decision(message.decision) if message.HasField("decision") else None,
        probability=message.probability,
        modality=convert.modality_from_message(message.modality) or "",
        report_count=message.report_count,
        open_count=message.open_count,
        page_url=message.page_url,
        page_title=message.page_title,
        media_url=message.media_url,
        assignee=message.assignee or None,
        due_at=convert.moment(message.due_time) if message.HasField("due_time") else None,
        lease_holder=message.lease_holder or None,
        lease_expires_at=convert.moment(message.lease_expire_time) if held else None,
        etag=message.etag,
        created_at=convert.moment(message.create_time),
        reported_at=convert.moment(message.report_time),
        updated_at=convert.moment(message.update_time),
        decisions=tuple(_decision(one) for one in message.decisions),
    )


def case_report_from_message(message: review_pb2.CaseReport) -> types.CaseReport:
    """Return the value."""
    return types.CaseReport(message.report, message.number, message.covered, message.settled_by or None)


def result_from_message(message: review_pb2.BatchDecideResponse.Result) -> types.CaseResult:
    """Return the value."""
    failed = message.WhichOneof("result") == "error"
    return types.CaseResult(
        name=message.name,
        case=None if failed else case_from_message(message.case),
        error=status.from_status(message.error) if failed else None,
    )


def batch_from_message(message: review_pb2.BatchDecideResponse) -> types.BatchDecided:
    """Return the value."""
    return types.BatchDecided(
        batch=message.batch or None,
        results=tuple(result_from_message(one) for one in message.results),
        failed=message.failed_count,
        reports=message.report_count,
    )


def event_from_message(message: review_pb2.ReviewEvent) -> types.ReviewEvent:
    """Return the value."""
    return types.ReviewEvent(
        name=message.name,
        subject=message.subject,
        owner=message.owner,
        number=message.number,
        at=convert.moment(message.event_time),
        actor=message.actor,
        action=message.action,
        detail=message.detail,
        sha256=message.sha256,
    )


def view_from_message(message: review_pb2.SavedView) -> types.SavedView:
    """Return the value."""
    return types.SavedView(message.name, message.title, message.query, convert.moment(message.update_time))


def overview_from_message(message: review_pb2.Overview) -> types.Overview:
    """Return the value."""
    return types.Overview(
        open=message.open,
        waiting=message.waiting,
        decided=message.decided,
        lists=tuple(types.CaseShare(one.name, one.title, one.open, one.decided) for one in message.lists),
        sites=tuple(types.CaseShare(one.name, one.title, one.open, one.decided) for one in message.sites),
        days=tuple(types.ReviewDay(one.day, one.opened, one.decided) for one in message.days),
    )


def precision_from_message(message: review_pb2.GetPrecisionResponse.Row) -> types.Precision:
    """Return the value."""
    return types.Precision(message.name, message.title, message.right, message.wrong)


def example_from_message(message: review_pb2.Example) -> types.Example:
    """Return the value."""
    return types.Example(
        name=message.name,
        case=message.case,
        number=message.number,
        report=message.report,
        owner=message.owner,
        work=message.work,
        reference=message.reference,
        sha256=message.sha256,
        modality=convert.modality_from_message(message.modality) or "",
        outcome=_outcome(message.outcome),
        is_copy=message.is_copy,
        probability=message.probability,
        signals={signal.name: signal.value for signal in message.signals},
        policy_revision=message.policy_revision,
        created_at=convert.moment(message.create_time),
    )


def flagged_from_message(message: review_pb2.Flagged) -> types.Flagged:
    """Return the value."""
    return types.Flagged(
        name=message.name,
        owner=message.owner,
        title=message.title,
        filename=message.filename or None,
        right=message.right,
        wrong=message.wrong,
        wrong_at_least=message.wrong_at_least,
    )


def suppression_from_message(message: review_pb2.Suppression) -> types.Suppression:
    """Return the value."""
    return types.Suppression(
        name=message.name,
        owner=message.owner,
        title=message.title,
        filename=message.filename or None,
        actor=message.actor,
        note=message.note,
        created_at=convert.moment(message.create_time),
    )


def reviewer_from_message(message: review_pb2.Reviewer) -> types.Reviewer:
    """Who reviews."""
    return types.Reviewer(message.id, message.name, message.role, message.revoked)
