"""The service's values: works, references, matches, verdicts, keys, imports. Plain and immutable."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from indexers.fingerprint import Fingerprint
from indexers.modality import AlignedRegion, AlignedSegment
from service.previewed import NewPreview

CONTAINER = "container"
"""What stands for a modality where a media item is a container of others: it has no fingerprints itself."""


class Action(IntEnum):
    """What a platform is asked to do with an upload, in rising order of severity."""

    ALLOW = 1
    MONITOR = 2
    REVIEW = 3
    BLOCK = 4


@dataclass(frozen=True, slots=True)
class Licence:
    """A permission that the owner gave.

    Attributes:
        uploader_token: Who may use the work, as the platform names them; empty: anybody.
        territories: ISO 3166-1 alpha-2 codes; empty: everywhere.
        expires_at: UTC; None: never.
        note: For people.
    """

    uploader_token: str = ""
    territories: tuple[str, ...] = ()
    expires_at: datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner asks for when a copy is found.

    Attributes:
        action: What to do with a copy.
        min_probability: From which probability, 0..1; None: the server's default.
        territories: Where the owner holds the rights, ISO 3166-1 alpha-2; empty: everywhere.
        licences: Permissions.
        previews: Whether previews of the work's references are kept for those who review matches.
    """

    action: Action = Action.BLOCK
    min_probability: float | None = None
    territories: tuple[str, ...] = ()
    licences: tuple[Licence, ...] = ()
    previews: bool = True


@dataclass(frozen=True, slots=True)
class NewWork:
    """A work to be registered."""

    owner: str
    external_id: str | None = None
    title: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True, slots=True)
class NewReference:
    """A media item to be registered.

    Attributes:
        filename: The name that it had, for people.
        modality: Such as ``image``.
        sha256: Digest of the file, 32 bytes; None where only fingerprints were given.
        byte_count: Size of the file; 0 where only fingerprints were given.
        fingerprints: At least one, of different schemes, view 0 alone; none of a container.
        weight: As a part: how much it says, from above 0 to where 1 is a picture or a page of text.
        parts: What a container holds, in its order; parts have none themselves.
        preview: What people are to be shown of it; None: nothing, since it is a container, or only
            fingerprints were given.
        lost: Where it could not be read, from and to, in seconds.
    """

    filename: str
    modality: str
    sha256: bytes | None
    byte_count: int
    fingerprints: tuple[Fingerprint, ...]
    weight: float = 1.0
    parts: tuple["NewReference", ...] = ()
    preview: NewPreview | None = None
    lost: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Reference:
    """A registered media item.

    Attributes:
        schemes: Ids of the schemes that it has fingerprints of.
        created_at: UTC.
        sequence: The change that added it.
        container_id: The reference that it is a part of; None: it is none.
        weight: As in `NewReference`.
        part_counts: Of a container: how many parts of each modality it has; empty where not asked for.
        lost: As in `NewReference`.
    """

    id: UUID
    work_id: UUID
    filename: str
    modality: str
    sha256: bytes | None
    byte_count: int
    schemes: tuple[str, ...]
    created_at: datetime
    sequence: int
    container_id: UUID | None = None
    weight: float = 1.0
    part_counts: Mapping[str, int] = field(default_factory=dict)
    lost: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """What a work holds of one kind of media, in one container or by itself.

    Attributes:
        container_id: The container; None: references that are no parts.
        count: How many references.
        weight: Of all of them.
    """

    container_id: UUID | None
    modality: str
    count: int
    weight: float


@dataclass(frozen=True, slots=True)
class Work:
    """A registered work.

    Attributes:
        references: Its media, oldest first; None where they were not asked for. Those that a change
            returns are without the parts of containers.
        reference_count: How many they are, parts among them.
        revision: Rises with every change.
        created_at: UTC.
        updated_at: UTC.
        sequence: Its last change.
    """

    id: UUID
    owner: str
    external_id: str | None
    title: str
    labels: Mapping[str, str]
    policy: Policy
    references: tuple[Reference, ...] | None
    reference_count: int
    revision: int
    created_at: datetime
    updated_at: datetime
    sequence: int


@dataclass(frozen=True, slots=True)
class WorkChange:
    """New values of a work's fields; None leaves a field as it is."""

    external_id: str | None = None
    title: str | None = None
    labels: Mapping[str, str] | None = None
    policy: Policy | None = None


@dataclass(frozen=True, slots=True, eq=False)
class IndexChange:
    """What one committed change means for one scheme's index.

    Attributes:
        sequence: The change.
        scheme: Scheme id.
        first_id: Descriptor ids are `first_id` up to, not including, `first_id + count`.
        count: How many descriptors.
        descriptors: What is added, (count, columns); None: these ids are removed.
    """

    sequence: int
    scheme: str
    first_id: int
    count: int
    descriptors: npt.NDArray[Any] | None

    @property
    def ids(self) -> npt.NDArray[np.int64]:
        """The descriptor ids, (count,)."""
        return np.arange(self.first_id, self.first_id + self.count, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Registered:
    """A reference and the work that it is of.

    Attributes:
        work: Without its references.
        suppressed: Whether matches of it are kept back: its own, its container's or its work's.
    """

    reference: Reference
    work: Work
    suppressed: bool


@dataclass(frozen=True, slots=True)
class DescriptorOwner:
    """Which reference a descriptor belongs to, and which others belong to it.

    Attributes:
        first_id: Id of the first descriptor of the reference's fingerprint.
        count: How many it has: their ids follow each other.
    """

    work_id: UUID
    reference_id: UUID
    first_id: int
    count: int


@dataclass(frozen=True, slots=True)
class PartMatch:
    """A part of a container that matches a reference.

    Attributes:
        name: The part's label.
        modality: Such as ``image``.
        reference: What it matches.
        probability: That it is a copy of that, 0..1.
        query_coverage: Of the part, 0..1.
        work_coverage: Of the reference, 0..1.
        key: Under which the part is kept, 32 bytes; empty: it is not, since nobody captured the container.
    """

    name: str
    modality: str
    reference: Reference
    probability: float
    query_coverage: float
    work_coverage: float
    segments: tuple[AlignedSegment, ...]
    regions: tuple[AlignedRegion, ...]
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class PartCount:
    """How many parts of one kind of media are found.

    Attributes:
        query_found: Parts of the query that match something in the work.
        query_count: Parts of the query.
        work_found: References of the work that parts match.
        work_count: References of the work: those of the container of which most is found, or those that are
            no parts.
    """

    modality: str
    query_found: int
    query_count: int
    work_found: int
    work_count: int


@dataclass(frozen=True, slots=True)
class Match:
    """A registered work of which the query holds a copy.

    Attributes:
        work: Without its references.
        probability: How sure, 0..1.
        signals: Name to value.
        query_coverage: 0..1.
        work_coverage: 0..1.
        accompanying: Whether only what accompanies the work corresponds, such as a film's sound.
        alone: The probability without what accompanies it.
        scene: How sure it is, without what accompanies it, that the query shows the same scene, be it another
            moment of it: at least `alone`.
        action: What the work's policy asks for; ALLOW until it was decided.
        licence: The licence that allows this use.
        parts: Where the query is a container: which of its parts match what, the most telling first.
        part_counts: How many parts match, also those that `parts` leaves out.
        suppressed: Whether a reviewer keeps back what the reference, or the work, matches.
    """

    work: Work
    reference: Reference
    probability: float
    signals: Mapping[str, float]
    segments: tuple[AlignedSegment, ...]
    regions: tuple[AlignedRegion, ...]
    query_coverage: float
    work_coverage: float
    accompanying: bool = False
    alone: float = 0.0
    scene: float = 0.0
    action: Action = Action.ALLOW
    licence: Licence | None = None
    parts: tuple[PartMatch, ...] = ()
    part_counts: tuple[PartCount, ...] = ()
    suppressed: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an action is asked for.

    Attributes:
        code: Stable.
        text: One English sentence.
        work_id: The work that it speaks of, if one.
    """

    code: str
    text: str
    work_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with an upload, and why (at least one reason)."""

    action: Action
    reasons: tuple[Reason, ...]
    policy_revision: str


@dataclass(frozen=True, slots=True)
class MatchReport:
    """The answer to a query.

    Attributes:
        matches: Most probable first.
        sequence: The last change that the answer has seen.
        partial_reasons: What was left out; empty: nothing.
        modality: Kind of media that was found; None for a digest query.
        sha256: Digest of the query's file, where known.
        created_at: UTC.
        part_count: Where the query is a container: its parts that say something, each file once.
    """

    verdict: Verdict
    matches: tuple[Match, ...]
    sequence: int
    partial_reasons: tuple[str, ...]
    modality: str | None
    sha256: bytes | None
    created_at: datetime
    part_count: int = 0


class KeyRole(StrEnum):
    """What a key may do."""

    OWNER = "owner"
    """Registers works of its owner and matches against these."""
    PLATFORM = "platform"
    """Matches against all works."""
    INVESTIGATOR = "investigator"
    """Reads all works and matches against them."""
    CRAWLER = "crawler"
    """Takes runs of monitoring lists, and hands captures over."""
    ADMIN = "admin"
    """Everything."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, without its secret.

    Attributes:
        id: Public part.
        owner: For role owner: whose works; None for the others.
        requests_per_minute: Quota; 0: none. Each item of a batch counts.
        bytes_per_minute: Quota of media bytes; 0: none.
        secret_sha256: Digest of the secret part, 32 bytes.
        revoked_at: UTC; None: valid.
        name: Of the person or program that has it, for people to read; empty: none was given.
    """

    id: str
    role: KeyRole
    owner: str | None
    requests_per_minute: int
    bytes_per_minute: int
    secret_sha256: bytes
    created_at: datetime
    revoked_at: datetime | None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in to the pages.

    Attributes:
        key: The key that was signed in with, as it is now, revoked or not; None: an anonymous one, who may do
            everything.
        created_at: When they signed in, UTC.
        seen_at: When they were last seen, UTC, to the minute.
    """

    key: ApiKey | None
    created_at: datetime
    seen_at: datetime


class ImportState(StrEnum):
    """How far an import, or a row of one, is."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class RowState(StrEnum):
    """What became of a row."""

    PENDING = "pending"
    CREATED = "created"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One row of an import.

    Attributes:
        number: Its place in the request, from 0.
        path: Relative to the import folder.
        reason: Why it failed, as an error's `reason`; empty otherwise.
        message: Why it failed, for people; empty otherwise.
    """

    number: int
    path: str
    work: NewWork
    state: RowState = RowState.PENDING
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Import:
    """A long-running import.

    Attributes:
        key_id: Who asked; None: an anonymous caller.
        counts: Rows by state.
    """

    id: UUID
    key_id: str | None
    state: ImportState
    counts: Mapping[RowState, int]
    created_at: datetime
    updated_at: datetime

    @property
    def ended(self) -> bool:
        """Whether no more rows will be registered."""
        return self.state in (ImportState.DONE, ImportState.CANCELLED)


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """What a request id was answered with.

    Attributes:
        request_sha256: Digest of the request that it belongs to.
        response: The serialised answer.
    """

    request_sha256: bytes
    response: bytes


@dataclass(frozen=True, slots=True)
class Counts:
    """How much is registered."""

    works: int
    references: int
