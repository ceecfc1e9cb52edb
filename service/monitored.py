"""Monitoring's values: lists, runs, captures, contents, sightings and reports. Plain and immutable."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from indexers.fingerprint import Fingerprint
from indexers.modality import AlignedRegion, AlignedSegment
from service.domain import Match

REPORT_VERSION = 1
"""Version of the form in which reports are stored."""
SHOWN_PARTS = 12
"""Parts of a captured container, the most telling ones, that people are shown beside what they match."""


class PlaceKind(StrEnum):
    """What a place is."""

    PAGE = "page"
    DOMAIN = "domain"
    SITEMAP = "sitemap"
    FEED = "feed"
    SEARCH = "search"
    MEDIA = "media"


@dataclass(frozen=True, slots=True)
class Place:
    """A place to watch.

    Attributes:
        url: Its address; for a domain its host.
        keywords: What a search page is asked for; empty: the titles of the list's works.
    """

    kind: PlaceKind
    url: str
    keywords: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The same for the same kind and address, in every list."""
        return hashlib.sha256(f"{self.kind}\n{self.url}".encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a list runs by itself: exactly one of both.

    Attributes:
        interval: From the start of one run to that of the next.
        daily: Time of day, UTC.
    """

    interval: timedelta | None = None
    daily: time | None = None

    def next_after(self, base: datetime, now: datetime) -> datetime:
        """The first run after `now`; those that were missed are left out.

        Args:
            base: When the interval began: the last planned run, or the list's change. UTC.
            now: UTC.
        """
        if self.daily is not None:
            today = datetime.combine(now.date(), self.daily, now.tzinfo)
            return today if today > now else today + timedelta(days=1)
        if self.interval is None:
            raise AssertionError("a schedule has an interval or a time of day")
        missed = max((now - base) // self.interval, 0)
        return base + (missed + 1) * self.interval


@dataclass(frozen=True, slots=True)
class Webhook:
    """Whom to tell.

    Attributes:
        secret: Key of the signatures.
    """

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ListSettings:
    """What a caller may set of a list, but for its owner.

    Attributes:
        works: Ids of works; empty: all of the owner, those of the future too.
        leave_alone: Hosts, with their subdomains, and beginnings of addresses.
        max_depth: Links away from a place.
        max_pages: Most pages of a run.
        expires_at: UTC; None: never.
        min_probability: Least probability of a report; None: the server's review threshold.
    """

    title: str = ""
    works: tuple[UUID, ...] = ()
    places: tuple[Place, ...] = ()
    leave_alone: tuple[str, ...] = ()
    max_depth: int = 2
    max_pages: int = 1000
    schedule: Schedule | None = None
    expires_at: datetime | None = None
    webhook: Webhook | None = None
    min_probability: float | None = None


@dataclass(frozen=True, slots=True)
class MonitoringList:
    """A monitoring list.

    Attributes:
        settings: Without works, places and exceptions where lists are listed.
        place_count: How many places it has.
        next_run_at: UTC; None: it does not run by itself.
        latest_run: Id of its latest run; None: none yet.
        revision: Rises with every change.
        untold: Events that its webhook did not take yet; 0 where lists are listed.
        failed_attempts: Of the one of these that was tried most.
    """

    id: UUID
    owner: str
    settings: ListSettings
    place_count: int
    next_run_at: datetime | None
    latest_run: UUID | None
    revision: int
    created_at: datetime
    updated_at: datetime
    untold: int = 0
    failed_attempts: int = 0

    def active(self, now: datetime) -> bool:
        """Whether it has not expired."""
        return self.settings.expires_at is None or self.settings.expires_at > now


class RunState(StrEnum):
    """How far a run is."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run has done so far, as its crawler counts."""

    pages: int = 0
    media: int = 0
    captures: int = 0
    queued: int = 0
    bytes: int = 0
    errors: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Told:
    """What a crawler tells of its run.

    Attributes:
        state: PENDING gives the run back.
        message: For people.
    """

    progress: Progress
    state: RunState
    message: str


@dataclass(frozen=True, slots=True)
class Run:
    """One crawl of a list.

    Attributes:
        owner: Of its list.
        scheduled: Whether the schedule asked for it.
        crawler: Who works on it, or did last; empty: nobody yet.
        lease_expires_at: UTC; None: nobody holds it.
        pending: Contents that it saw first and that wait to be matched.
        unreadable: Contents that it saw first and that cannot be read.
        reports: Reports on contents that it saw first.
    """

    id: UUID
    list_id: UUID
    owner: str
    state: RunState
    scheduled: bool
    progress: Progress
    crawler: str
    lease_expires_at: datetime | None
    message: str
    created_at: datetime
    started_at: datetime | None
    updated_at: datetime | None
    ended_at: datetime | None
    pending: int = 0
    unreadable: int = 0
    reports: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more is crawled."""
        return self.state not in (RunState.PENDING, RunState.RUNNING)


@dataclass(frozen=True, slots=True)
class Seen:
    """A content was seen at a place.

    Attributes:
        page_url: Empty: the media was no part of a page.
        at: UTC.
        uploader: Who put it there, as the page claims; empty: it claims nothing.
    """

    sha256: bytes
    page_url: str
    page_title: str
    media_url: str
    found_as: str
    at: datetime
    uploader: str = ""

    @property
    def place(self) -> bytes:
        """What tells the place from others of the same content, 16 bytes."""
        return hashlib.sha256(f"{self.page_url}\n{self.media_url}".encode()).digest()[:16]


@dataclass(frozen=True, slots=True)
class NewCapture:
    """A capture that arrived.

    Attributes:
        id: Drawn by the crawler.
        seen: Where which content was seen.
        ranges: (offset, length) of the content's parts in the file.
        sha256: Digest of the file, under which it is kept.
        byte_count: Size of the file.
        facts: What else the crawler said: text by name.
    """

    id: UUID
    run_id: UUID
    list_id: UUID
    owner: str
    seen: Seen
    ranges: tuple[tuple[int, int], ...]
    sha256: bytes
    byte_count: int
    facts: Mapping[str, str]


class ContentState(StrEnum):
    """How far a content is."""

    PENDING = "pending"
    READ = "read"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Content:
    """What captures hold: each different content once.

    Attributes:
        reason: Why it cannot be read, as an error's `reason` and its text; empty otherwise.
        modality: Kind of media; None until it was read.
        capture_id: The capture that it is read from.
    """

    sha256: bytes
    state: ContentState
    reason: str
    modality: str | None
    byte_count: int
    capture_id: UUID

    @property
    def half(self) -> UUID:
        """The first half of its digest, which tells it from all other contents: where a page of them ends."""
        return UUID(bytes=self.sha256[:16])


@dataclass(frozen=True, slots=True)
class CustodyEvent:
    """Something that happened to a capture; each holds the digest of the one before.

    Attributes:
        number: From 1.
        at: UTC.
        actor: ``server``, or a key's id.
        action: What happened.
        detail: Facts, as JSON.
        sha256: See `digest_of_event`.
    """

    number: int
    at: datetime
    actor: str
    action: str
    detail: str
    sha256: bytes


def digest_of_event(capture_id: UUID, event: CustodyEvent, previous: bytes) -> bytes:
    """SHA-256 over an event's fields and the digest of the one before (32 zero bytes before the first).

    The fields are a JSON array of texts, without spaces, in UTF-8; the time is ISO 8601 with microseconds.
    """
    at = event.at.isoformat(timespec="microseconds")
    fields = [str(capture_id), str(event.number), at, event.actor, event.action, event.detail, previous.hex()]
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Capture:
    """A capture that is kept.

    Attributes:
        created_at: When the server had it, UTC.
    """

    new: NewCapture
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SuspectPart:
    """A part of a captured container, with its fingerprints.

    Attributes:
        key: What tells it from all other parts and contents; see `key_of_part`.
        name: Its label in the container.
        modality: Such as ``image``.
        sha256: Digest of its file, as the sandbox said.
        byte_count: Unpacked.
        place: Where in the container it is, as `indexers.containers` counts.
        weight: How much it says, from above 0 to where 1 is a picture or a page of text.
        fingerprints: With all views; empty where they were not asked for.
    """

    key: bytes
    name: str
    modality: str
    sha256: bytes
    byte_count: int
    place: tuple[int, ...]
    weight: float
    fingerprints: tuple[Fingerprint, ...]


def key_of_part(container_sha256: bytes, place: Sequence[int]) -> bytes:
    """What a part of a captured container is kept under, 32 bytes.

    It is not the digest of the part's file: what a hostile container says of its parts is to touch nothing
    but this container.
    """
    text = ".".join(str(number) for number in place)
    return hashlib.sha256(b"part\n" + container_sha256 + text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Suspect:
    """A content that was read, with its fingerprints, to be asked about again.

    Attributes:
        modality: Such as ``image``, or that of containers.
        fingerprints: With all views; none of a container.
        parts: Of a container: those that say something, each file once.
    """

    sha256: bytes
    modality: str
    fingerprints: tuple[Fingerprint, ...]
    parts: tuple[SuspectPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Watch:
    """A content and a list that saw it: what is matched, once.

    Attributes:
        owner: Of the list.
        settings: Of the list, without places.
        sequence: The last change of the works that its match has seen.
    """

    sha256: bytes
    list_id: UUID
    owner: str
    settings: ListSettings
    sequence: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """One place where a content was seen.

    Attributes:
        run_id: The run that saw it first.
        capture_id: None: the content was captured elsewhere.
        last_seen_at: UTC.
    """

    list_id: UUID
    run_id: UUID
    capture_id: UUID | None
    seen: Seen
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """What a match of a content for a list gave.

    Attributes:
        matches: Those that are to be reported.
        policy_revision: Of the rules and the score.
        sequence: The last change of the works that it has seen.
        on_registration: Whether it was asked for by works that were registered later.
    """

    matches: tuple[Match, ...]
    policy_revision: str
    sequence: int
    on_registration: bool


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of a captured container, and what it matches, as a report keeps it.

    Attributes:
        key: As in `SuspectPart`.
        name: The part's label.
        modality: Such as ``image``.
        reference: Id of what it matches.
        filename: What that is called.
        probability: That it is a copy of that, 0..1.
        query_coverage: Of the part, 0..1.
        work_coverage: Of the reference, 0..1.
    """

    key: bytes
    name: str
    modality: str
    reference: UUID
    filename: str
    probability: float
    query_coverage: float
    work_coverage: float
    segments: tuple[AlignedSegment, ...]
    regions: tuple[AlignedRegion, ...]


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A match report.

    Attributes:
        match: The stored match, as JSON values; see `service.store.codec`.
        sightings: The first ones.
        sequence: Number of its last change.
        work_deleted: Whether the work is gone.
    """

    id: UUID
    version: int
    revision: int
    owner: str
    work_id: UUID
    match: Mapping[str, Any]
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
class ReportFilter:
    """Which reports are wanted; None: all.

    Attributes:
        min_probability: 0..1.
    """

    list_id: UUID | None = None
    owner: str | None = None
    work_id: UUID | None = None
    min_probability: float = 0.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event that is to be posted to a list's webhook.

    Attributes:
        id: The same for every attempt.
        attempts: How many failed so far.
    """

    id: UUID
    webhook: Webhook
    event: str
    body: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """How much monitoring has to do.

    Attributes:
        contents: That wait to be read.
        watches: That wait to be matched.
        runs: By state, those that have not ended.
        deliveries: That wait to be posted.
    """

    contents: int
    watches: int
    runs: Mapping[RunState, int]
    deliveries: int
