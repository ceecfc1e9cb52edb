"""What review is told and tells: cases, decisions, events, feedback, as plain, immutable values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from copyhound.errors import CopyhoundError


class CaseState(StrEnum):
    """How far a case is."""

    OPEN = "open"
    """Something in it was not decided yet."""
    WAITING = "waiting"
    """It was decided that more must be known first."""
    DECIDED = "decided"
    """It was decided."""


class Outcome(StrEnum):
    """What a decision says."""

    INFRINGING = "infringing"
    """A copy that nothing allows."""
    LICENSED = "licensed"
    """A copy that the owner allows."""
    FAIR_USE = "fair_use"
    """A copy that the law allows."""
    WRONG_MATCH = "wrong_match"
    """No copy."""
    NEED_MORE = "need_more"
    """More must be known first."""


class CaseOrder(StrEnum):
    """In which order cases come."""

    NEWEST = "newest"
    """Those with the newest reports first."""
    PROBABLE = "probable"
    """The most probable first."""
    DUE = "due"
    """Those that are due earliest first, those without a date last."""


class PrecisionKind(StrEnum):
    """What precision is told by."""

    LIST = "list"
    MODALITY = "modality"
    SIGNAL = "signal"
    REFERENCE = "reference"
    WORK = "work"


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision on a case.

    Attributes:
        number: Of its event in the case; names it where it is undone.
        outcome: What it says.
        reason: Why, as a code; empty: not said.
        note: For people.
        actor: Id of the key that decided.
        created_at: When, UTC.
        batch: The batch that it was made in, ``batches/{uuid}``; None: none.
        undone_by: Number of the event that undid it; None: it was not undone.
    """

    number: int
    outcome: Outcome
    reason: str
    note: str
    actor: str
    created_at: datetime
    batch: str | None
    undone_by: int | None


@dataclass(frozen=True, slots=True)
class Case:
    """The reports on one work that were seen at one site.

    Attributes:
        name: ``cases/{uuid}``.
        owner: Who owns the work.
        work: ``works/{uuid}``; it may have been deleted.
        work_title: Title of the work, its external id or its name, as they were when the case was opened.
        external_id: Id of the work in its owner's catalogue; None: none.
        site: Host of the page, or of the media where there was no page.
        state: How far it is.
        decision: The one that stands; of a case that is open again, the earlier one; None: none.
        probability: Of its most probable report that is not decided yet, 0..1; of all if all are.
        modality: Kind of media of its first report.
        report_count: How many reports are in it.
        open_count: How many of them no decision covers.
        page_url: Where it was seen first; empty: no page.
        page_title: Title of that page; may be empty.
        media_url: Address of the media there.
        assignee: Id of the key that is to decide it; None: any.
        due_at: When it is to be decided, UTC; None: no date.
        lease_holder: Id of the key that holds it; None: nobody does.
        lease_expires_at: When that lease ends, UTC; None: nobody holds it.
        etag: Changes with everything that happens to it but leases.
        created_at: When it was opened, UTC.
        reported_at: When its newest report came, UTC.
        updated_at: When anything last happened to it, UTC.
        decisions: All decisions, oldest first; `get_case` alone tells them.
    """

    name: str
    owner: str
    work: str
    work_title: str
    external_id: str | None
    site: str
    state: CaseState
    decision: Decision | None
    probability: float
    modality: str
    report_count: int
    open_count: int
    page_url: str
    page_title: str
    media_url: str
    assignee: str | None
    due_at: datetime | None
    lease_holder: str | None
    lease_expires_at: datetime | None
    etag: str
    created_at: datetime
    reported_at: datetime
    updated_at: datetime
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which cases are wanted; what is left out excludes none.

    Attributes:
        states: Only cases in one of these.
        owner: Only of works of this owner.
        list: Only those that ``lists/{uuid}`` led to.
        site: Only at this host.
        work: Only of ``works/{uuid}``.
        modality: Only of this kind of media.
        min_probability: Only of at least this probability, 0..1.
        max_probability: Only of at most this probability, 0..1.
        assignee: Only those that this key is to decide, by its id; ``-``: nobody.
        due_before: Only those that are due before this time.
        reported_from: Only those whose newest report came then or later.
        reported_before: Only those whose newest report came before.
        text: Words, or beginnings of words, that all stand in the work's title, a page's title or the site.
        outcome: Only those whose standing decision says this.
    """

    states: tuple[CaseState, ...] = ()
    owner: str = ""
    list: str = ""
    site: str = ""
    work: str = ""
    modality: str = ""
    min_probability: float = 0.0
    max_probability: float = 1.0
    assignee: str = ""
    due_before: datetime | None = None
    reported_from: datetime | None = None
    reported_before: datetime | None = None
    text: str = ""
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class CaseReport:
    """A report in a case.

    Attributes:
        report: ``reports/{uuid}``.
        number: Number of the event by which it came in.
        covered: Whether the decision that stands covers it, or one on the same content in another case.
        settled_by: That other case, ``cases/{uuid}``; None: none.
    """

    report: str
    number: int
    covered: bool
    settled_by: str | None


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What became of a case of a batch.

    Attributes:
        name: ``cases/{uuid}``.
        case: The case afterwards; None: it failed.
        error: Why it failed; None: it did not.
    """

    name: str
    case: Case | None
    error: CopyhoundError | None


@dataclass(frozen=True, slots=True)
class BatchDecided:
    """What became of a batch, or would.

    Attributes:
        batch: To undo it by, ``batches/{uuid}``; None: nothing was written.
        results: One for each case, in order.
        failed: How many failed.
        reports: How many reports the decisions cover, or would.
    """

    batch: str | None
    results: tuple[CaseResult, ...]
    failed: int
    reports: int


@dataclass(frozen=True, slots=True)
class ReviewEvent:
    """Something that happened; each holds the digest of the one before on the same subject.

    Attributes:
        name: ``events/{uuid}``.
        subject: ``cases/{uuid}``, ``works/{uuid}`` or ``references/{uuid}``.
        owner: Who owns the work.
        number: From 1, within the subject.
        at: UTC.
        actor: ``server``, or the id of a key.
        action: What happened, such as ``DECIDED``.
        detail: Facts, as JSON.
        sha256: As the guide on reviewing explains.
    """

    name: str
    subject: str
    owner: str
    number: int
    at: datetime
    actor: str
    action: str
    detail: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class SavedView:
    """A filter that a key keeps under a title.

    Attributes:
        name: ``views/{uuid}``.
        title: 1 to 200 characters.
        query: What it asks for, as its saver wrote it.
        updated_at: UTC.
    """

    name: str
    title: str
    query: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class CaseShare:
    """Cases of a list or site.

    Attributes:
        name: ``lists/{uuid}``, or a host.
        title: Of the list; empty: it is deleted, has none, or this is a site.
        open: How many are open.
        decided: How many are decided, or wait for more.
    """

    name: str
    title: str
    open: int
    decided: int


@dataclass(frozen=True, slots=True)
class ReviewDay:
    """What happened on a day.

    Attributes:
        day: In UTC, ``YYYY-MM-DD``.
        opened: Cases that were opened, or opened again.
        decided: Decisions that were made.
    """

    day: str
    opened: int
    decided: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Cases in numbers.

    Attributes:
        open: Open cases.
        waiting: Cases that wait for more.
        decided: Decided cases.
        lists: The 20 lists with most open cases.
        sites: The 20 sites with most open cases.
        days: The last days on which anything happened, oldest first.
    """

    open: int
    waiting: int
    decided: int
    lists: tuple[CaseShare, ...]
    sites: tuple[CaseShare, ...]
    days: tuple[ReviewDay, ...]


@dataclass(frozen=True, slots=True)
class Precision:
    """How many matches were right, of those that were decided.

    Attributes:
        name: ``lists/{uuid}``, ``references/{uuid}``, ``works/{uuid}``, a kind of media, or a signal's band.
        title: Of the list or work, where it is there still.
        right: Right matches.
        wrong: Wrong matches.
    """

    name: str
    title: str
    right: int
    wrong: int

    @property
    def precision(self) -> float:
        """Share of right ones, 0..1."""
        return self.right / (self.right + self.wrong)


@dataclass(frozen=True, slots=True)
class Example:
    """A report that was decided, as a labelled example.

    Attributes:
        name: ``examples/{uuid}``.
        case: ``cases/{uuid}``.
        number: Of the decision.
        report: ``reports/{uuid}``.
        owner: Who owns the work.
        work: ``works/{uuid}``.
        reference: ``works/{uuid}/references/{uuid}``.
        sha256: Of the content, 32 bytes.
        modality: Kind of media.
        outcome: What was decided.
        is_copy: The label: false for a wrong match.
        probability: As the match was when it was decided, 0..1.
        signals: Name to value, as they were when it was decided.
        policy_revision: Of the rules and of the score that the match was decided by.
        created_at: When it was decided, UTC.
    """

    name: str
    case: str
    number: int
    report: str
    owner: str
    work: str
    reference: str
    sha256: bytes
    modality: str
    outcome: Outcome
    is_copy: bool
    probability: float
    signals: Mapping[str, float]
    policy_revision: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Flagged:
    """A reference or work that floods the queue with wrong matches.

    Attributes:
        name: ``works/{uuid}/references/{uuid}`` or ``works/{uuid}``.
        owner: Who owns the work.
        title: Of the work.
        filename: Of the reference; None: a work.
        right: Right matches.
        wrong: Wrong matches.
        wrong_at_least: Least share of wrong matches, as sure as 95 %, 0..1.
    """

    name: str
    owner: str
    title: str
    filename: str | None
    right: int
    wrong: int
    wrong_at_least: float


@dataclass(frozen=True, slots=True)
class Suppression:
    """A reference or work whose matches are kept back.

    Attributes:
        name: ``works/{uuid}/references/{uuid}`` or ``works/{uuid}``.
        owner: Who owns the work.
        title: Of the work.
        filename: Of the reference; None: a work.
        actor: Id of the key that suppressed it.
        note: For people.
        created_at: When, UTC.
    """

    name: str
    owner: str
    title: str
    filename: str | None
    actor: str
    note: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Reviewer:
    """A key whose holder reviews.

    Attributes:
        id: Of the key, as actors and assignees are named.
        name: Who has it; empty: the server's operator gave no name.
        role: Of the key: ``owner``, ``investigator`` or ``admin``.
        revoked: Whether it was revoked.
    """

    id: str
    name: str
    role: str
    revoked: bool
