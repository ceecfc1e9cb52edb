"""Review between wire and domain; see `convert`, whose habits hold here too."""

import base64
import hashlib
import struct
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from copyhound.v1 import review_pb2
from service.errors import InvalidRequestError
from service.reviewed import (
    MAX_NOTE,
    BatchItem,
    Case,
    CaseFilter,
    CaseOrder,
    CaseReport,
    CaseState,
    Chosen,
    Decision,
    Event,
    Example,
    Flagged,
    Outcome,
    Overview,
    Position,
    Precision,
    PrecisionKind,
    Ruling,
    SavedView,
    Share,
    SubjectKind,
    Suppression,
)
from service.rpc import convert, convert_monitor
from service.rpc.errors import failure

_CASE, _BATCH, _EVENT, _VIEW, _EXAMPLE = "cases/", "batches/", "events/", "views/", "examples/"
_WORK, _REFERENCE = "works/", "references/"
_NOBODY = "-"
_MAX_SEARCH, _MAX_SITE, _MAX_KEY = 200, 255, 64
_DEFAULT_DAYS, _MAX_DAYS = 30, 366
_POSITION = struct.Struct(">d16s8s")


def case_name(case_id: UUID) -> str:
    """Resource name of a case."""
    return f"{_CASE}{case_id}"


def batch_name(batch_id: UUID) -> str:
    """Resource name of a batch."""
    return f"{_BATCH}{batch_id}"


def read_case_name(name: str, field: str) -> UUID:
    """Id in `cases/{uuid}`."""
    return convert.read_id(name, _CASE, field, "cases/{uuid}")


def read_batch_name(name: str, field: str) -> UUID:
    """Id in `batches/{uuid}`."""
    return convert.read_id(name, _BATCH, field, "batches/{uuid}")


def read_view_name(name: str, field: str) -> UUID:
    """Id in `views/{uuid}`."""
    return convert.read_id(name, _VIEW, field, "views/{uuid}")


def read_subject_name(name: str, field: str) -> UUID:
    """Id in the name of a case, work or reference."""
    form = "cases/{uuid}, works/{uuid} or references/{uuid}"
    prefix = next((one for one in (_CASE, _WORK, _REFERENCE) if name.startswith(one)), _CASE)
    return convert.read_id(name, prefix, field, form)


def read_suppressible_name(name: str, field: str) -> tuple[SubjectKind, UUID]:
    """What to suppress: `works/{uuid}/references/{uuid}` or `works/{uuid}`."""
    if f"/{_REFERENCE}" in name:
        return SubjectKind.REFERENCE, convert.read_reference_name(name, field)[1]
    return SubjectKind.WORK, convert.read_work_name(name, field)


def read_key_id(value: str, field: str) -> str:
    """Id of a key; may be empty."""
    return convert.read_text(value, field, _MAX_KEY)


def read_note(value: str, field: str) -> str:
    """A note; may be empty."""
    return convert.read_text(value, field, MAX_NOTE)


def read_days(value: int) -> int:
    """Days of an overview."""
    days = value or _DEFAULT_DAYS
    if not 1 <= days <= _MAX_DAYS:
        raise InvalidRequestError("days", f"must be 1 to {_MAX_DAYS}, not {value}")
    return days


def _read_state(code: "review_pb2.CaseState.ValueType", field: str) -> CaseState:
    if code in review_pb2.CaseState.values():
        name = review_pb2.CaseState.Name(code).removeprefix("CASE_STATE_").lower()
        if name != "unspecified":
            return CaseState(name)
    raise InvalidRequestError(field, f"say which: {', '.join(CaseState)}")


def _read_outcome(code: "review_pb2.Outcome.ValueType", field: str) -> Outcome | None:
    """An outcome; None where it is unspecified."""
    if code not in review_pb2.Outcome.values():
        raise InvalidRequestError(field, f"this server does not know outcome {code}")
    name = review_pb2.Outcome.Name(code).removeprefix("OUTCOME_").lower()
    return None if name == "unspecified" else Outcome(name)


def read_ruling(request: review_pb2.DecideRequest | review_pb2.BatchDecideRequest) -> Ruling:
    """What is decided."""
    outcome = _read_outcome(request.outcome, "outcome")
    if outcome is None:
        raise InvalidRequestError("outcome", f"say what is decided: {', '.join(Outcome)}")
    reason = convert.read_text(request.reason, "reason", 32)
    return Ruling(outcome, reason, read_note(request.note, "note"))


def read_chosen(name: str, etag: str, field: str) -> Chosen:
    """A case as it was seen."""
    revision = convert.read_etag(etag, f"{field}etag")
    if revision is None:
        raise InvalidRequestError(f"{field}etag", "is required: that of the case as you saw it")
    return Chosen(read_case_name(name, f"{field}name"), revision)


def read_order(code: "review_pb2.CaseOrder.ValueType") -> CaseOrder:
    """An order; the newest first by default."""
    if code not in review_pb2.CaseOrder.values():
        raise InvalidRequestError("order", f"this server does not know order {code}")
    name = review_pb2.CaseOrder.Name(code).removeprefix("CASE_ORDER_").lower()
    return CaseOrder.NEWEST if name == "unspecified" else CaseOrder(name)


def read_precision_kind(code: "review_pb2.PrecisionKind.ValueType") -> PrecisionKind:
    """By what precision is asked for."""
    if code in review_pb2.PrecisionKind.values():
        name = review_pb2.PrecisionKind.Name(code).removeprefix("PRECISION_KIND_").lower()
        if name != "unspecified":
            return PrecisionKind(name)
    raise InvalidRequestError("kind", f"say by what: {', '.join(PrecisionKind)}")


def read_filter(message: review_pb2.CaseFilter) -> CaseFilter:
    """Which cases are wanted."""

    def moment(given: bool, value: Timestamp, field: str) -> datetime | None:
        return convert.read_time(value, f"filter.{field}") if given else None

    states = [_read_state(code, f"filter.states[{i}]") for i, code in enumerate(message.states)]
    assignee: str | None = read_key_id(message.assignee, "filter.assignee") or None
    least = convert.read_fraction(message.min_probability, "filter.min_probability")
    most = convert.read_fraction(message.max_probability, "filter.max_probability") or 1.0
    return CaseFilter(
        states=tuple(dict.fromkeys(states)),
        owner=convert.read_text(message.owner, "filter.owner", 128) or None,
        list_id=convert_monitor.read_list_name(message.list, "filter.list") if message.list else None,
        site=convert.read_text(message.site, "filter.site", _MAX_SITE).lower() or None,
        work_id=convert.read_work_name(message.work, "filter.work") if message.work else None,
        modality=convert.read_modality(message.modality, "filter.modality"),
        min_probability=least,
        max_probability=most,
        assignee="" if assignee == _NOBODY else assignee,
        due_before=moment(message.HasField("due_before"), message.due_before, "due_before"),
        reported_from=moment(message.HasField("reported_from"), message.reported_from, "reported_from"),
        reported_before=moment(
            message.HasField("reported_before"), message.reported_before, "reported_before"
        ),
        text=convert.read_text(message.text, "filter.text", _MAX_SEARCH),
        outcome=_read_outcome(message.outcome, "filter.outcome"),
    )


def position_token(position: Position, *filters: Message | str) -> str:
    """The token of the page of cases that begins behind a position."""
    packed = _POSITION.pack(position.value, position.id.bytes, _digest_of(filters))
    return base64.urlsafe_b64encode(packed).decode()


def read_position_token(text: str, *filters: Message | str) -> Position | None:
    """Where a page of cases begins; None: with the first.

    Raises:
        InvalidRequestError: If the token is not one of ours, or was given with other filters.
    """
    if not text:
        return None
    try:
        value, raw_id, digest = _POSITION.unpack(base64.b64decode(text, altchars=b"-_", validate=True))
    except (ValueError, struct.error) as error:
        raise InvalidRequestError("page_token", "is not a token that this server gave; begin anew") from error
    if digest != _digest_of(filters):
        raise InvalidRequestError("page_token", "was given with other filters; keep them, or begin anew")
    if not 0 <= value <= 2.0**58:
        raise InvalidRequestError("page_token", "is not a token that this server gave; begin anew")
    return Position(value, UUID(bytes=raw_id))


def _digest_of(filters: Sequence[Message | str]) -> bytes:
    digest = hashlib.sha256()
    for one in filters:
        data = one.encode() if isinstance(one, str) else one.SerializeToString(deterministic=True)
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()[:8]


def _outcome_code(outcome: Outcome) -> "review_pb2.Outcome.ValueType":
    return review_pb2.Outcome.Value(f"OUTCOME_{outcome.name}")


def _decision_message(decision: Decision) -> review_pb2.Decision:
    return review_pb2.Decision(
        number=decision.number,
        outcome=_outcome_code(decision.ruling.outcome),
        reason=decision.ruling.reason,
        note=decision.ruling.note,
        actor=decision.actor,
        create_time=convert.timestamp(decision.at),
        batch="" if decision.batch_id is None else batch_name(decision.batch_id),
        undone_by=decision.undone_by or 0,
    )


def _optional_time(moment: datetime | None) -> Timestamp | None:
    return None if moment is None else convert.timestamp(moment)


def case_message(case: Case, now: datetime, decisions: Sequence[Decision] = ()) -> review_pb2.Case:
    """A case; a lease that has ended is none."""
    lease = case.lease if case.held_by(now) is not None else None
    return review_pb2.Case(
        name=case_name(case.id),
        owner=case.owner,
        work=convert.work_name(case.work_id),
        work_title=case.work_title,
        external_id=case.external_id,
        site=case.site,
        state=review_pb2.CaseState.Value(f"CASE_STATE_{case.state.name}"),
        decision=None if case.decision is None else _decision_message(case.decision),
        probability=case.probability,
        modality=convert.modality_code(case.modality),
        report_count=case.report_count,
        open_count=case.open_count,
        page_url=case.page_url,
        page_title=case.page_title,
        media_url=case.media_url,
        assignee=case.assignee or "",
        due_time=_optional_time(case.due_at),
        lease_holder="" if lease is None else lease.holder,
        lease_expire_time=None if lease is None else convert.timestamp(lease.until),
        etag=convert.etag(case.revision),
        create_time=convert.timestamp(case.created_at),
        report_time=convert.timestamp(case.reported_at),
        update_time=convert.timestamp(case.updated_at),
        decisions=[_decision_message(one) for one in decisions],
    )


def case_report_message(report: CaseReport) -> review_pb2.CaseReport:
    """A report in a case."""
    return review_pb2.CaseReport(
        report=convert_monitor.report_name(report.report_id),
        number=report.number,
        covered=report.covered,
        settled_by="" if report.settled_by is None else case_name(report.settled_by[0]),
    )


def result_message(item: BatchItem, now: datetime) -> review_pb2.BatchDecideResponse.Result:
    """What became of a case of a batch."""
    return review_pb2.BatchDecideResponse.Result(
        name=case_name(item.case_id),
        case=None if item.case is None else case_message(item.case, now),
        error=None if item.error is None else failure(item.error),
    )


_SUBJECTS = {SubjectKind.CASE: _CASE, SubjectKind.WORK: _WORK, SubjectKind.REFERENCE: _REFERENCE}


def event_message(event: Event) -> review_pb2.ReviewEvent:
    """An event."""
    return review_pb2.ReviewEvent(
        name=f"{_EVENT}{event.id}",
        subject=f"{_SUBJECTS[event.kind]}{event.subject_id}",
        owner=event.owner,
        number=event.number,
        event_time=convert.timestamp(event.at),
        actor=event.actor,
        action=event.action,
        detail=event.detail,
        sha256=event.sha256,
    )


def view_message(view: SavedView) -> review_pb2.SavedView:
    """A saved view."""
    return review_pb2.SavedView(
        name=f"{_VIEW}{view.id}",
        title=view.title,
        query=view.query,
        update_time=convert.timestamp(view.updated_at),
    )


def overview_message(overview: Overview) -> review_pb2.Overview:
    """The cases in numbers."""

    def share(one: Share, prefix: str) -> review_pb2.Overview.Share:
        return review_pb2.Overview.Share(
            name=f"{prefix}{one.key}", title=one.title, open=one.open, decided=one.decided
        )

    return review_pb2.Overview(
        open=overview.states[CaseState.OPEN],
        waiting=overview.states[CaseState.WAITING],
        decided=overview.states[CaseState.DECIDED],
        lists=[share(one, "lists/") for one in overview.lists],
        sites=[share(one, "") for one in overview.sites],
        days=[
            review_pb2.Overview.Day(day=one.day, opened=one.opened, decided=one.decided)
            for one in overview.days
        ],
    )


_PRECISION_NAMES = {
    PrecisionKind.LIST: "lists/",
    PrecisionKind.REFERENCE: _REFERENCE,
    PrecisionKind.WORK: _WORK,
}


def precision_message(row: Precision) -> review_pb2.GetPrecisionResponse.Row:
    """How many matches were right."""
    return review_pb2.GetPrecisionResponse.Row(
        name=f"{_PRECISION_NAMES.get(row.kind, '')}{row.key}",
        title=row.title,
        right=row.right,
        wrong=row.wrong,
    )


def example_message(example: Example) -> review_pb2.Example:
    """A labelled example."""
    return review_pb2.Example(
        name=f"{_EXAMPLE}{example.id}",
        case=case_name(example.case_id),
        number=example.number,
        report=convert_monitor.report_name(example.report_id),
        owner=example.owner,
        work=convert.work_name(example.work_id),
        reference=convert.reference_name(example.work_id, example.reference_id),
        sha256=example.sha256,
        modality=convert.modality_code(example.modality),
        outcome=_outcome_code(example.outcome),
        is_copy=example.is_copy,
        probability=example.probability,
        signals=convert.signal_messages(example.signals),
        policy_revision=example.policy_revision,
        create_time=convert.timestamp(example.at),
    )


def _suppressible_name(kind: SubjectKind, subject_id: UUID, work_id: UUID) -> str:
    if kind is SubjectKind.REFERENCE:
        return convert.reference_name(work_id, subject_id)
    return convert.work_name(work_id)


def flagged_message(flagged: Flagged) -> review_pb2.Flagged:
    """What floods the queue."""
    return review_pb2.Flagged(
        name=_suppressible_name(flagged.kind, flagged.subject_id, flagged.work_id),
        owner=flagged.owner,
        title=flagged.title,
        filename=flagged.filename,
        right=flagged.right,
        wrong=flagged.wrong,
        wrong_at_least=flagged.wrong_at_least,
    )


def suppression_message(suppression: Suppression) -> review_pb2.Suppression:
    """What is suppressed."""
    return review_pb2.Suppression(
        name=_suppressible_name(suppression.kind, suppression.subject_id, suppression.work_id),
        owner=suppression.owner,
        title=suppression.title,
        filename=suppression.filename,
        actor=suppression.actor,
        note=suppression.note,
        create_time=convert.timestamp(suppression.at),
    )
