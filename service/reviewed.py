"""Review's values: cases, decisions, events, feedback. Plain and immutable."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from service.domain import KeyRole

SERVER = "server"
"""Who did what nobody asked for, such as opening a case."""
ANONYMOUS = "anonymous"
"""Who acts without a key, where the server asks for none."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who reviews.

    Attributes:
        id: The key's id, or ``anonymous``.
        owner: Whose cases alone it sees; None: all.
    """

    id: str
    role: KeyRole
    owner: str | None


class CaseState(StrEnum):
    """How far a case is."""

    OPEN = "open"
    """Something in it was not decided yet."""
    WAITING = "waiting"
    """It was decided that more must be known first."""
    DECIDED = "decided"


class Outcome(StrEnum):
    """What a decision says."""

    INFRINGING = "infringing"
    LICENSED = "licensed"
    FAIR_USE = "fair_use"
    WRONG_MATCH = "wrong_match"
    NEED_MORE = "need_more"

    @property
    def is_copy(self) -> bool | None:
        """Whether the match was right; None: not said yet."""
        return None if self is Outcome.NEED_MORE else self is not Outcome.WRONG_MATCH

    @property
    def settles_content(self) -> bool:
        """Whether the same content of the same work, seen at another site later, needs no decision there."""
        return self in (Outcome.LICENSED, Outcome.WRONG_MATCH)


REASONS: Mapping[Outcome, tuple[str, ...]] = {
    Outcome.INFRINGING: ("FULL_COPY", "EXCERPT", "ALTERED_COPY", "LICENCE_EXCEEDED", "OTHER"),
    Outcome.LICENSED: ("LICENCE_ON_FILE", "OWN_CHANNEL", "PARTNER", "OTHER"),
    Outcome.FAIR_USE: ("QUOTATION", "PARODY", "NEWS", "EDUCATION", "OTHER"),
    Outcome.WRONG_MATCH: ("OTHER_WORK", "SHARED_ELEMENT", "COMMON_MATERIAL", "PUBLIC_DOMAIN", "OTHER"),
    Outcome.NEED_MORE: ("ASK_OWNER", "ASK_PLATFORM", "UNCLEAR_EVIDENCE", "LEGAL_ADVICE", "OTHER"),
}
"""Reason codes by outcome; a decision may have none."""

MAX_NOTE = 10_000
"""Most characters of a note or a comment."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What somebody decides.

    Attributes:
        reason: One of the outcome's `REASONS`, or empty.
        note: For people.
    """

    outcome: Outcome
    reason: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who has a case for now.

    Attributes:
        holder: Id of the actor.
        until: UTC.
    """

    holder: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision on a case. It is never erased; undoing it is another event.

    Attributes:
        case_id: On which case.
        number: Of its event in the case.
        actor: Who decided.
        at: UTC.
        batch_id: The batch that it was made in, if one.
        undone_by: Number of the event that undid it; None: it stands, or a later one took its place.
    """

    case_id: UUID
    number: int
    ruling: Ruling
    actor: str
    at: datetime
    batch_id: UUID | None
    undone_by: int | None


@dataclass(frozen=True, slots=True)
class Case:
    """The reports on one work that were seen at one site.

    Attributes:
        site: Host of the page, or of the media where there was no page; empty: unknown.
        work_title: Title of the work, its external id or its resource name; that of the first report.
        external_id: As `work_title`; empty: none.
        page_url: Where it was seen first; empty: no page.
        decision: The one that stands. Of a case that is open again: the earlier one.
        probability: Of its most probable report that is not decided; of all if all are.
        modality: Kind of media of its first report.
        report_count: Reports in it.
        open_count: Of these, not covered by a decision.
        assignee: Id of the key that is to decide; None: anybody.
        due_at: UTC; None: no date.
        lease: None: nobody has it. A lease may have ended: see `held_by`.
        revision: Number of its last event.
        created_at: UTC.
        reported_at: When its newest report came, UTC.
        updated_at: UTC.
    """

    id: UUID
    owner: str
    work_id: UUID
    site: str
    state: CaseState
    work_title: str
    external_id: str
    page_url: str
    page_title: str
    media_url: str
    decision: Decision | None
    probability: float
    modality: str
    report_count: int
    open_count: int
    assignee: str | None
    due_at: datetime | None
    lease: Lease | None
    revision: int
    created_at: datetime
    reported_at: datetime
    updated_at: datetime

    def held_by(self, now: datetime) -> str | None:
        """Who has it at a moment (UTC); None: nobody."""
        return self.lease.holder if self.lease is not None and self.lease.until > now else None


@dataclass(frozen=True, slots=True)
class CaseReport:
    """A report in a case.

    Attributes:
        number: Of the event by which it came in.
        covered: Whether the decision that stands covers it, or one on the same content elsewhere.
        settled_by: (case, number) of the decision on the same content elsewhere; None: none.
    """

    report_id: UUID
    number: int
    covered: bool
    settled_by: tuple[UUID, int] | None


class CaseOrder(StrEnum):
    """In which order cases come."""

    NEWEST = "newest"
    PROBABLE = "probable"
    DUE = "due"


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases are wanted; None and empty: all.

    Attributes:
        assignee: Id of a key; empty text: assigned to nobody.
        min_probability: 0..1.
        max_probability: 0..1.
        due_before: UTC; cases without a date are left out.
        reported_from: UTC.
        reported_before: UTC.
        text: Words, or beginnings of words, that all stand in title of the work, page titles or site.
        outcome: Of the decision that stands.
    """

    states: tuple[CaseState, ...] = ()
    owner: str | None = None
    list_id: UUID | None = None
    site: str | None = None
    work_id: UUID | None = None
    modality: str | None = None
    min_probability: float = 0.0
    max_probability: float = 1.0
    assignee: str | None = None
    due_before: datetime | None = None
    reported_from: datetime | None = None
    reported_before: datetime | None = None
    text: str = ""
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a list of cases goes on: after the case with these values.

    Attributes:
        value: Microseconds since 1970, or a probability; see `CaseOrder`.
    """

    value: float
    id: UUID


class SubjectKind(StrEnum):
    """What an event happened to."""

    CASE = "case"
    REFERENCE = "reference"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; each holds the digest of the one before on the same subject.

    Attributes:
        id: Rises with time.
        subject_id: The case, reference or work.
        owner: Of the work.
        number: From 1, within the subject.
        at: UTC.
        actor: ``server``, or a key's id.
        action: ``OPENED``, ``REOPENED``, ``REPORT_ADDED``, ``REPORT_SETTLED``, ``DECIDED``, ``UNDONE``,
            ``ASSIGNED``, ``DUE_SET``, ``COMMENTED``, ``SUPPRESSED``, ``UNSUPPRESSED``.
        detail: Facts, as JSON.
        sha256: See `digest_of_event`.
    """

    id: UUID
    kind: SubjectKind
    subject_id: UUID
    owner: str
    number: int
    at: datetime
    actor: str
    action: str
    detail: str
    sha256: bytes = b""

    @property
    def facts(self) -> Mapping[str, Any]:
        """`detail`, read."""
        facts: dict[str, Any] = json.loads(self.detail)
        return facts


def digest_of_event(event: Event, previous: bytes) -> bytes:
    """SHA-256 over an event's fields and the digest of the one before (32 zero bytes before the first).

    The fields are a JSON array of texts, without spaces, in UTF-8: kind and id of the subject, number, time
    as ISO 8601 with microseconds, actor, action, detail, the digest before in hex.
    """
    fields = [
        event.kind.value,
        str(event.subject_id),
        str(event.number),
        event.at.isoformat(timespec="microseconds"),
        event.actor,
        event.action,
        event.detail,
        previous.hex(),
    ]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted; None: all.

    Attributes:
        subject_id: A case, reference or work.
        actor: A key's id, or ``server``.
    """

    subject_id: UUID | None = None
    owner: str | None = None
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """A case of a batch.

    Attributes:
        revision: The one that was seen; the case must still have it.
    """

    case_id: UUID
    revision: int


@dataclass(frozen=True, slots=True)
class BatchItem:
    """What became, or would become, of a case of a batch.

    Attributes:
        case: Afterwards; None: it failed.
        error: Why it failed; None: it did not.
    """

    case_id: UUID
    case: Case | None
    error: Exception | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of a batch.

    Attributes:
        id: To undo it by; None: nothing was written.
        items: In the order of the request.
        report_count: Reports that it covers, or would.
    """

    id: UUID | None
    items: tuple[BatchItem, ...]
    report_count: int

    @property
    def failed(self) -> int:
        """How many items failed."""
        return sum(item.error is not None for item in self.items)


@dataclass(frozen=True, slots=True)
class SavedView:
    """A filter that somebody keeps under a name.

    Attributes:
        actor: Whose.
        query: What it asks for, as the saver wrote it: JSON.
    """

    id: UUID
    actor: str
    title: str
    query: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Share:
    """Cases by a site or a list.

    Attributes:
        key: Site, or id of a list.
        title: Of the list, where it is there still.
        open: Cases that are open.
        decided: Cases that are decided, or wait for more.
    """

    key: str
    title: str
    open: int
    decided: int


@dataclass(frozen=True, slots=True)
class Day:
    """What happened on a day.

    Attributes:
        day: ISO 8601, UTC.
        opened: Cases that were opened, or opened again.
        decided: Decisions that were made.
    """

    day: str
    opened: int
    decided: int


@dataclass(frozen=True, slots=True)
class Overview:
    """The cases in numbers.

    Attributes:
        states: Cases by state.
        lists: The lists with most open cases, most first.
        sites: The sites with most open cases, most first.
        days: The last days, oldest first.
    """

    states: Mapping[CaseState, int]
    lists: tuple[Share, ...]
    sites: tuple[Share, ...]
    days: tuple[Day, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """How reviewing goes on, for those who watch the server.

    Attributes:
        states: Cases by state.
        decided: Decisions that were made, by what they say; those that were undone, too.
        undone: Of these, how many were undone.
        leased: Cases that somebody has.
        oldest_open_at: When the newest report came into the open case that waits longest, UTC; None: there is
            none.
        suppressed: References and works that are suppressed.
    """

    states: Mapping[CaseState, int]
    decided: Mapping[Outcome, int]
    undone: Mapping[Outcome, int]
    leased: int
    oldest_open_at: datetime | None
    suppressed: Mapping[SubjectKind, int]


class PrecisionKind(StrEnum):
    """What precision is told by."""

    LIST = "list"
    MODALITY = "modality"
    SIGNAL = "signal"
    REFERENCE = "reference"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class Precision:
    """How many matches were right, of those that were decided.

    Attributes:
        key: Id of a list, reference or work; a modality; ``name [from, to)`` of a signal's band.
        title: Of the list or work, where it is there still.
        right: Reports whose match was a copy, whatever its use.
        wrong: Reports whose match was wrong.
    """

    kind: PrecisionKind
    key: str
    title: str
    right: int
    wrong: int

    @property
    def precision(self) -> float:
        """Share of right ones, 0..1."""
        return self.right / (self.right + self.wrong)


@dataclass(frozen=True, slots=True)
class Suppression:
    """A reference or work whose matches are kept back.

    Attributes:
        kind: REFERENCE or WORK.
        title: Of the work.
        filename: Of the reference; empty for a work.
        at: UTC.
    """

    kind: SubjectKind
    subject_id: UUID
    work_id: UUID
    owner: str
    title: str
    filename: str
    actor: str
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Flagged:
    """A reference or work that floods the queue with wrong matches.

    Attributes:
        kind: REFERENCE or WORK.
        title: Of the work.
        filename: Of the reference; empty for a work.
        right: Reports whose match was a copy.
        wrong: Reports whose match was wrong.
        wrong_at_least: Lower bound of the share of wrong ones, 0..1; see `service.review.feedback`.
    """

    kind: SubjectKind
    subject_id: UUID
    work_id: UUID
    owner: str
    title: str
    filename: str
    right: int
    wrong: int
    wrong_at_least: float


@dataclass(frozen=True, slots=True)
class Example:
    """A report that was decided, as a labelled example.

    Attributes:
        number: Of the decision's event in the case.
        is_copy: The label.
        signals: As they were when it was decided.
        at: When it was decided, UTC.
    """

    id: UUID
    case_id: UUID
    number: int
    report_id: UUID
    owner: str
    work_id: UUID
    reference_id: UUID
    sha256: bytes
    modality: str
    outcome: Outcome
    is_copy: bool
    probability: float
    signals: Mapping[str, float]
    policy_revision: str
    at: datetime


def band_of(name: str, value: float) -> str:
    """The band of a signal's values that one falls into, such as ``pdq_distance [10, 20)``.

    Bands are 0.1 wide up to 1, 1 wide up to 10, 10 wide up to 100, and so on; those below 0 mirror them.
    Exactly 0 has a band of its own.
    """
    if value == 0 or not math.isfinite(value):
        return f"{name} = {value:g}"
    width = 10.0 ** max(math.floor(math.log10(abs(value))), -1)
    step = math.floor(round(value / width, 9))
    return f"{name} [{step * width:.10g}, {(step + 1) * width:.10g})"
