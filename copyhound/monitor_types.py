"""What monitoring is told and tells: lists, runs, captures and reports, as plain, immutable values."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from copyhound.errors import CopyhoundError
from copyhound.types import Match


class PlaceKind(StrEnum):
    """What a place is."""

    PAGE = "page"
    """A page to begin at: it and what it links to within its site, to the list's depth."""
    DOMAIN = "domain"
    """A whole site, named by its host."""
    SITEMAP = "sitemap"
    """A sitemap, or an index of sitemaps."""
    FEED = "feed"
    """An RSS or Atom feed."""
    SEARCH = "search"
    """A page of search results: its address holds ``{keywords}``."""
    MEDIA = "media"
    """The address of one media file, or of one page that holds it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place to watch.

    Attributes:
        kind: What it is.
        url: Its address; for a domain its host.
        keywords: What a search page is asked for, one query each; empty: the titles of the list's works.
        id: Made by the server from kind and address; empty in what is sent.
    """

    kind: PlaceKind
    url: str
    keywords: tuple[str, ...] = ()
    id: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a list runs by itself: after every interval, or once a day, not both.

    Attributes:
        interval: From the start of one run to that of the next, one minute to a year; None: none.
        daily_time: Time of day in UTC, ``HH:MM``; empty: none.
    """

    interval: timedelta | None = None
    daily_time: str = ""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Whom to tell.

    Attributes:
        url: Where events are posted.
        secret: Key of the signatures, 16 to 256 characters; the server never returns it.
        waiting_count: What the server says: events that it did not take yet. Not told where lists are listed.
        failed_attempts: What the server says: how often the one of these that was tried most came to nothing.
    """

    url: str
    secret: str = field(default="", repr=False)
    waiting_count: int = 0
    failed_attempts: int = 0


@dataclass(frozen=True, slots=True)
class NewMonitoringList:
    """A list to be created.

    Attributes:
        owner: Whose works are looked for, 1 to 128 characters.
        title: For people, at most 1,000 characters.
        works: ``works/{uuid}`` or external ids of the owner; empty: all works, those of the future too.
        places: What to watch. With `works` and `leave_alone` at most 10,000.
        leave_alone: Licensees' hosts, and beginnings of addresses.
        max_depth: Links away from a place, 0 to 100.
        max_pages: Most pages that one run reads, 1 to 10,000,000.
        schedule: None: runs when asked only.
        expires_at: With a time zone; None: never.
        webhook: None: nobody is told.
        min_probability: Least probability of a report, 0..1; 0: the server's review threshold.
    """

    owner: str
    title: str = ""
    works: tuple[str, ...] = ()
    places: tuple[Place, ...] = ()
    leave_alone: tuple[str, ...] = ()
    max_depth: int = 2
    max_pages: int = 1000
    schedule: Schedule | None = None
    expires_at: datetime | None = None
    webhook: Webhook | None = None
    min_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class MonitoringList:
    """A monitoring list; the fields of `NewMonitoringList`, and what the server adds.

    Attributes:
        name: ``lists/{uuid}``.
        works: With `places` and `leave_alone` empty where lists are listed.
        place_count: How many places it has, also where they are not shown.
        next_run_at: UTC; None: it does not run by itself.
        latest_run: ``lists/{uuid}/runs/{uuid}``; None: none yet.
        created_at: UTC.
        updated_at: UTC.
        etag: Changes with every change.
    """

    name: str
    owner: str
    title: str
    works: tuple[str, ...]
    places: tuple[Place, ...]
    leave_alone: tuple[str, ...]
    max_depth: int
    max_pages: int
    schedule: Schedule | None
    expires_at: datetime | None
    webhook: Webhook | None
    min_probability: float
    place_count: int
    next_run_at: datetime | None
    latest_run: str | None
    created_at: datetime
    updated_at: datetime
    etag: str


@dataclass(frozen=True, slots=True)
class MonitoringItem:
    """One row of an import: exactly one of these.

    Attributes:
        work: A work to look for, ``works/{uuid}`` or the owner's external id.
        place: A place to watch.
        leave_alone: A site or account to leave alone.
    """

    work: str | None = None
    place: Place | None = None
    leave_alone: str | None = None


@dataclass(frozen=True, slots=True)
class ItemError:
    """A row of an import that was refused.

    Attributes:
        row: Its place in what was given, from 0.
        field: The field that is wrong, such as ``place.url``.
    """

    row: int
    field: str
    error: CopyhoundError


@dataclass(frozen=True, slots=True)
class ItemsImported:
    """What became of an import.

    Attributes:
        added: Rows that were added, or would be; 0 if wrong rows kept all out.
        present: Rows that the list had already.
        errors: The refused rows, in order.
    """

    added: int
    present: int
    errors: tuple[ItemError, ...]


class RunState(StrEnum):
    """How far a run is."""

    PENDING = "pending"
    """Waits for a crawler."""
    RUNNING = "running"
    """A crawler works on it, or was cut off and will go on."""
    DONE = "done"
    """Ended by itself."""
    FAILED = "failed"
    """Could not go on."""
    CANCELLED = "cancelled"
    """Ended by a caller, or because its list expired."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run has done so far.

    Attributes:
        pages: Pages that were read.
        media: Media that pages named.
        captures: Captures that were handed over.
        queued: Requests that wait.
        bytes: Bytes that were received.
        errors: Requests that failed.
        refused: Requests that were not made: by robots.txt, by the list's exceptions, by limits.
    """

    pages: int = 0
    media: int = 0
    captures: int = 0
    queued: int = 0
    bytes: int = 0
    errors: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One crawl of a list.

    Attributes:
        name: ``lists/{uuid}/runs/{uuid}``.
        scheduled: Whether the schedule asked for it.
        pending_contents: Contents that it saw first, and that wait to be read and matched.
        unreadable_contents: Contents that it saw first, and that could not be read.
        reports: Reports on contents that it saw first.
        message: Why it failed, or what its crawler says.
        crawler: Who works on it.
        created_at: UTC; so are the others. None: not yet.
    """

    name: str
    state: RunState
    scheduled: bool
    progress: Progress
    pending_contents: int
    unreadable_contents: int
    reports: int
    message: str
    crawler: str
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime | None
    ended_at: datetime | None

    @property
    def ended(self) -> bool:
        """Whether nothing more is crawled; contents may still wait to be matched."""
        return self.state in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A run for a crawler.

    Attributes:
        run: ``lists/{uuid}/runs/{uuid}``.
        list: ``lists/{uuid}``.
        places: Where to begin; search pages have their keywords filled in, and hold none.
        leave_alone: Hosts, with their subdomains, and beginnings of addresses.
        max_depth: Links away from a place.
        max_pages: Most pages.
        max_capture_bytes: Largest capture that the server takes.
        progress: What was reported last.
        lease_expires_at: UTC.
    """

    run: str
    list: str
    places: tuple[Place, ...]
    leave_alone: tuple[str, ...]
    max_depth: int
    max_pages: int
    max_capture_bytes: int
    progress: Progress
    lease_expires_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """Whether to go on.

    Attributes:
        cancelled: Whether the run was ended: stop.
        expires_at: When the lease ends unless it is renewed, UTC.
    """

    cancelled: bool
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SeenAgain:
    """A content was seen at a place, and not captured there.

    Attributes:
        sha256: Of the content, 32 bytes.
        media_url: Address of the media.
        seen_at: With a time zone.
        page_url: Address of the page; empty: none.
        page_title: Its title.
        found_as: How the page named it, such as ``img``.
        uploader: Who put it there, as the page claims.
    """

    sha256: bytes
    media_url: str
    seen_at: datetime
    page_url: str = ""
    page_title: str = ""
    found_as: str = ""
    uploader: str = ""


@dataclass(frozen=True, slots=True)
class CaptureHeader:
    """What a capture is of.

    Attributes:
        capture_id: Drawn by the crawler: one capture has one.
        run: ``lists/{uuid}/runs/{uuid}``.
        crawler: Who captured.
        media_url: Address of the media after redirects, at most 8,000 characters.
        content_sha256: Digest of the content, 32 bytes.
        content_ranges: (offset, length) of the parts of the WARC file that the content consists of.
        byte_count: Size of the file.
        sha256: Digest of the file, 32 bytes.
        captured_at: With a time zone.
        place_id: Of the list's place that led there; empty: unknown.
        page_url: Of the page that named the media; empty: none did.
        page_title: Title of the page.
        requested_url: Empty: the same as `media_url`.
        found_as: How the page named it, such as ``img`` or ``hls``.
        content_type: As the media's server named it.
        remote_address: IP address that was connected to.
        uploader: Who put it there, as the page claims: a name, or an address; at most 200 characters.
    """

    capture_id: UUID
    run: str
    crawler: str
    media_url: str
    content_sha256: bytes
    content_ranges: tuple[tuple[int, int], ...]
    byte_count: int
    sha256: bytes
    captured_at: datetime
    place_id: str = ""
    page_url: str = ""
    page_title: str = ""
    requested_url: str = ""
    found_as: str = ""
    content_type: str = ""
    remote_address: str = ""
    uploader: str = ""


@dataclass(frozen=True, slots=True)
class Ingested:
    """A capture is durable.

    Attributes:
        capture: ``captures/{uuid}``.
        already_present: Whether the server had this very capture.
        content_known: Whether the server had its content.
    """

    capture: str
    already_present: bool
    content_known: bool


@dataclass(frozen=True, slots=True)
class CustodyEvent:
    """Something that happened to a capture.

    Attributes:
        number: 1 for the first.
        at: UTC.
        actor: ``server``, or a key's id.
        action: Such as ``RECEIVED``.
        detail: Facts, as JSON.
        sha256: Over this event and the digest of the one before, 32 bytes.
    """

    number: int
    at: datetime
    actor: str
    action: str
    detail: str
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture that the server has.

    Attributes:
        name: ``captures/{uuid}``.
        header: As it was handed over.
        content_state: ``pending``, ``read``, ``unreadable``, or ``unspecified`` where it was erased.
        unreadable_reason: Why; empty otherwise.
        created_at: When the server had it, UTC.
        custody: What happened to it, in order.
    """

    name: str
    header: CaptureHeader
    content_state: str
    unreadable_reason: str
    created_at: datetime
    custody: tuple[CustodyEvent, ...]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One place where a content was seen.

    Attributes:
        list: ``lists/{uuid}``.
        run: The run that saw it first.
        capture: ``captures/{uuid}``; None: the content was captured elsewhere.
        page_url: Empty: the media was no part of a page.
        first_seen_at: UTC.
        last_seen_at: UTC.
        uploader: Who put it there, as the page claims; empty: it claims nothing.
    """

    list: str
    run: str
    capture: str | None
    page_url: str
    page_title: str
    media_url: str
    found_as: str
    first_seen_at: datetime
    last_seen_at: datetime
    uploader: str = ""


@dataclass(frozen=True, slots=True)
class MatchReport:
    """A captured content that holds a copy of a work; one for a work and a content.

    Attributes:
        name: ``reports/{uuid}``.
        version: Of the report's form.
        revision: Rises with every change.
        match: The work, how sure, by which signals, where.
        modality: Kind of media.
        sha256: Digest of the content, 32 bytes.
        byte_count: Size of the content.
        sightings: Where it was seen; the first alone where reports are listed.
        sighting_count: How many sightings there are.
        policy_revision: Of the rules and the score.
        index_sequence: The last change of the works that the match has seen.
        on_registration: Whether the work was registered after the content had been captured.
        work_deleted: Whether the work was deleted since.
        created_at: UTC.
        updated_at: UTC.
        sequence: Number of its last change.
    """

    name: str
    version: int
    revision: int
    match: Match
    modality: str
    sha256: bytes
    byte_count: int
    sightings: tuple[Sighting, ...]
    sighting_count: int
    policy_revision: str
    index_sequence: int
    on_registration: bool
    work_deleted: bool
    created_at: datetime
    updated_at: datetime
    sequence: int


@dataclass(frozen=True, slots=True)
class ReportEvent:
    """A report was made, or changed.

    Attributes:
        report: As it is now.
        resume_token: Where to go on after this event.
    """

    report: MatchReport
    resume_token: str
