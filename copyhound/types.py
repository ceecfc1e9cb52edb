"""What goes into and comes out of the client: plain, immutable values."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO, TypeAlias, TypedDict

from copyhound.errors import CopyhoundError

Source: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO
"""Media: the path of a file, its bytes, or a seekable binary file object, read from where it stands."""


class Action(StrEnum):
    """What a platform is asked to do with an upload, in rising order of severity."""

    ALLOW = "allow"
    """Nothing stands against the upload."""
    MONITOR = "monitor"
    """Publish, and tell the owner."""
    REVIEW = "review"
    """A person should look at it before it is published."""
    BLOCK = "block"
    """Do not publish."""


@dataclass(frozen=True, slots=True)
class Licence:
    """A permission that the owner gave.

    Attributes:
        uploader_token: Who may use the work, as the platform names them; empty: anybody.
        territories: ISO 3166-1 alpha-2 codes; empty: everywhere.
        expires_at: With a time zone; None: never.
        note: For people, at most 500 characters.
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
        min_probability: From which probability, 0..1; 0: the server's default.
        territories: Where the owner holds the rights, ISO 3166-1 alpha-2; empty: everywhere.
        licences: Permissions, at most 1,000.
        previews: Whether the server keeps previews of the work's media for those who review matches: small
            pictures, clips and sounds at a low rate, texts.
    """

    action: Action = Action.BLOCK
    min_probability: float = 0.0
    territories: tuple[str, ...] = ()
    licences: tuple[Licence, ...] = ()
    previews: bool = True


@dataclass(frozen=True, slots=True)
class NewWork:
    """A work to be registered with one media item.

    Attributes:
        media: The item.
        owner: Who owns it, 1 to 128 characters.
        external_id: The owner's own id for it, unique for the owner, at most 255 characters; None: none.
        title: For people, at most 1,000 characters.
        labels: At most 64; keys of at most 63, values of at most 255 characters.
        policy: What to do with copies; None: block, everywhere, no licences.
        filename: The name that the file had, for people; empty: taken from `media` where it has one.
    """

    media: Source
    owner: str
    external_id: str | None = None
    title: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    policy: Policy | None = None
    filename: str = ""


@dataclass(frozen=True, slots=True)
class ImportRow:
    """A work to be imported from a file that lies below the server's import folder.

    Attributes:
        path: Relative to that folder, with ``/`` between its parts and without ``..``.
        owner: As in `NewWork`.
        external_id: As in `NewWork`. Rows with the same owner and external id become one work.
        title: As in `NewWork`.
        labels: As in `NewWork`.
        policy: As in `NewWork`.
    """

    path: str
    owner: str
    external_id: str | None = None
    title: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    policy: Policy | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """A registered media item. The file itself is not kept.

    Attributes:
        name: ``works/{uuid}/references/{uuid}``.
        filename: The name that the file had.
        modality: Such as ``image``.
        sha256: Digest of the file, 32 bytes; None where only fingerprints were given.
        byte_count: Size of the file; 0 where only fingerprints were given.
        schemes: Ids of the schemes that it has fingerprints of.
        created_at: UTC.
        container: Of a part of a container: ``works/{uuid}/references/{uuid}`` of that; None: it is none.
        part_counts: Of a container: how many parts it has, by kind of media.
        lost: Of a damaged sound or film: stretches that could not be read, from and to, in seconds. Copies of
            these are not found.
    """

    name: str
    filename: str
    modality: str
    sha256: bytes | None
    byte_count: int
    schemes: tuple[str, ...]
    created_at: datetime
    container: str | None = None
    part_counts: Mapping[str, int] = field(default_factory=dict)
    lost: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """A registered work.

    Attributes:
        name: ``works/{uuid}``.
        owner: Who owns it.
        external_id: The owner's own id for it; None: none.
        title: For people.
        labels: Free labels.
        policy: What to do with copies.
        references: Its media; empty in lists, where `reference_count` still tells how many they are.
        reference_count: How many media items it has.
        created_at: UTC.
        updated_at: UTC.
        etag: Changes with every change of the work.
        sequence: Its last change: a query that saw at least this number saw the change.
    """

    name: str
    owner: str
    external_id: str | None
    title: str
    labels: Mapping[str, str]
    policy: Policy
    references: tuple[Reference, ...]
    reference_count: int
    created_at: datetime
    updated_at: datetime
    etag: str
    sequence: int


@dataclass(frozen=True, slots=True)
class Registration:
    """A media item is registered and searchable.

    Attributes:
        work: Its work; `reference_count` counts all of its references, which need not all be listed.
        reference: The media item.
        already_present: True if the work already had this very file: nothing was added.
    """

    work: Work
    reference: Reference
    already_present: bool


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """How far the registration of a media item has come.

    Attributes:
        byte_count: Bytes of the file that the server has.
        read_seconds: Of a sound or film: how much of it was read, after all of the file had arrived.
        read_parts: Of a container: how many of its parts were read.
        part_count: Of a container: how many parts it has; 0: it is none, or was not opened yet.
    """

    byte_count: int
    read_seconds: float = 0.0
    read_parts: int = 0
    part_count: int = 0


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Descriptors of one media item under one scheme, as they travel.

    Attributes:
        scheme: Its id, such as ``image.pdq.v1``; `IndexState.schemes` lists those that the server knows.
        descriptors: One after another. Hamming schemes: dim/8 bytes each, most significant bit first.
            Cosine schemes: dim little-endian float32 each, L2-normalised.
        count: How many descriptors.
        spans: Start and end of each, half-open, in the scheme's span unit; empty: each spans [0, 1).
        quality: Of each, 0 (carries no information) to 1; empty: 1 for all.
        views: Code of the view that each was taken from; empty: 0 for all.
        regions: What part of the picture each describes; empty: the whole.
    """

    scheme: str
    descriptors: bytes
    count: int = 1
    spans: tuple[tuple[float, float], ...] = ()
    quality: tuple[float, ...] = ()
    views: bytes = b""
    regions: tuple["Box", ...] = ()


@dataclass(frozen=True, slots=True)
class FingerprintSet:
    """All fingerprints of one media item.

    Attributes:
        fingerprints: At least one, at most one for a scheme.
        sha256: Digest of the file, 32 bytes, so that an identical file is recognised; None: unknown.
    """

    fingerprints: tuple[Fingerprint, ...]
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in fractions of width and height from the top left, 0 ≤ left < right ≤ 1."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Region:
    """A region of the query that shows a region of the work.

    Attributes:
        query: In the query.
        work: In the reference.
        transform: What was done to the reference's region to give the query's: ``identity``,
            ``flip_horizontal``, ``flip_vertical``, ``rotate_90``, ``rotate_180``, ``rotate_270``
            (counter-clockwise), ``transpose``, ``transverse``, ``invert``, or ``affine`` or ``perspective``
            for any other.
        matrix: The same exactly, as far as that is known: 3 × 3 numbers, row after row, that take a point of
            the work to the point of the query that shows it, in fractions of width and height: (x, y) goes to
            (u / w, v / w), where (u, v, w) is the matrix times (x, y, 1). Empty: an older server did not
            tell.
    """

    query: Box
    work: Box
    transform: str
    matrix: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the query that corresponds to a part of the work.

    Attributes:
        query_start: Start in the query, inclusive.
        query_end: End in the query, exclusive.
        work_start: Start in the reference, inclusive.
        work_end: End in the reference, exclusive.
        speed: Speed of the query relative to the reference: 2 is twice as fast, -1 is backwards.
        unit: Unit of the four bounds: ``frame``, ``second`` or ``character``.
        pitch_cents: How much higher the query sounds than the reference, in hundredths of a semitone.
        region: Where in the picture of the query; None: all of it, or there is no picture.
        content: Of films, what corresponds: ``picture``, ``sound`` or ``picture and sound``; empty for other
            media.
    """

    query_start: float
    query_end: float
    work_start: float
    work_end: float
    speed: float
    unit: str
    pitch_cents: float = 0.0
    region: Box | None = None
    content: str = ""


@dataclass(frozen=True, slots=True)
class PartMatch:
    """A part of a container that holds a copy.

    Attributes:
        query_part: The part's name in the query, such as ``assets/title.png``.
        modality: Kind of media, such as ``image``.
        reference: ``works/{uuid}/references/{uuid}``: what it is a copy of.
        filename: The name of that.
        probability: How sure that is, 0..1.
        query_coverage: Part of the part that the match covers, 0..1.
        work_coverage: Part of the reference that the match covers, 0..1.
        segments: As in `Match`.
        regions: As in `Match`.
        name: In match reports ``reports/{uuid}/parts/{key}``: `Client.get_preview` shows the part by it.
            Empty elsewhere.
    """

    query_part: str
    modality: str
    reference: str
    filename: str
    probability: float
    query_coverage: float
    work_coverage: float
    segments: tuple[Segment, ...]
    regions: tuple[Region, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class PartsFound:
    """How many parts of one kind of media were found: 214 of 300 pictures, say.

    Attributes:
        modality: Kind of media, such as ``image``.
        query_found: Parts of the query that are copies of something in the work.
        query_count: Parts of the query.
        work_found: Media items of the work of which parts are copies.
        work_count: Media items of the work: those of the container of which most was found, or those in none.
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
        work: ``works/{uuid}``.
        reference: ``works/{uuid}/references/{uuid}``: the media item that matched.
        owner: The work's owner.
        external_id: The work's external id; None: none.
        title: The work's title.
        probability: How sure it is that the query holds a copy, 0..1.
        signals: What the probability rests on, name to value.
        segments: Where, in time, frames or characters; empty for still pictures.
        regions: Where, in the picture; empty for media without pictures.
        query_coverage: Part of the query that the match covers, 0..1.
        work_coverage: Part of the reference that the match covers, 0..1.
        action: What this work's policy asks for.
        licence: The licence that allows this use; None: none does.
        parts: Where the query is a container: which of its parts are copies of what, the most telling first,
            at most 50. `probability` is that of the whole, and the coverages are shares of all parts.
        part_counts: How many parts were found, by kind of media.
    """

    work: str
    reference: str
    owner: str
    external_id: str | None
    title: str
    probability: float
    signals: Mapping[str, float]
    segments: tuple[Segment, ...]
    regions: tuple[Region, ...]
    query_coverage: float
    work_coverage: float
    action: Action
    licence: Licence | None
    parts: tuple[PartMatch, ...] = ()
    part_counts: tuple[PartsFound, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """Why an action is asked for.

    Attributes:
        code: Stable, such as ``COPY_FOUND``.
        text: One English sentence.
        work: The work that it speaks of, ``works/{uuid}``; None: none.
    """

    code: str
    text: str
    work: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a query.

    Attributes:
        action: What to do with the upload: the most severe action that a match asks for.
        reasons: Why, at least one.
        matches: Most probable first.
        sequence: The last change that the answer has seen.
        partial: True if a part of the work was left out: copies may be missed, none is invented.
        partial_reasons: What was left out, and why.
        policy_revision: Revision of the rules that made the decision.
        modality: Kind of media that was found, such as ``image``; None for a digest query.
        sha256: Digest of the query's file, 32 bytes; None where it is not known.
        request_id: The query's request id.
        created_at: UTC.
        part_count: Where the query is a container: how many of its parts were looked up, each file once.
    """

    action: Action
    reasons: tuple[Reason, ...]
    matches: tuple[Match, ...]
    sequence: int
    partial: bool
    partial_reasons: tuple[str, ...]
    policy_revision: str
    modality: str | None
    sha256: bytes | None
    request_id: str
    created_at: datetime
    part_count: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two media items relate.

    Attributes:
        probability: How sure it is that one holds a copy of the other, 0..1.
        signals: All measurements, also those that speak against, name to value.
        segments: As in `Match`; the first item is the query, the second the work.
        regions: As in `Match`.
        query_coverage: As in `Match`.
        work_coverage: As in `Match`.
        explanation: English sentences, the most telling first.
    """

    probability: float
    signals: Mapping[str, float]
    segments: tuple[Segment, ...]
    regions: tuple[Region, ...]
    query_coverage: float
    work_coverage: float
    explanation: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemeState:
    """One scheme's index.

    Attributes:
        scheme: Its id, such as ``image.pdq.v1``.
        modality: Kind of media that it describes.
        dim: Length of a descriptor: bits (hamming) or float32 numbers (cosine).
        metric: ``hamming`` or ``cosine``.
        span_unit: Unit of spans: ``frame``, ``second`` or ``character``.
        descriptor_count: Descriptors that can be found.
        delta_count: Of these, in the delta that the next snapshot folds in.
        tombstone_count: Deleted descriptors that the next snapshot leaves out.
        snapshot_sequence: The change up to which the snapshot on disk reaches.
        resident_bytes: Memory that the index takes.
    """

    scheme: str
    modality: str | None
    dim: int
    metric: str
    span_unit: str
    descriptor_count: int
    delta_count: int
    tombstone_count: int
    snapshot_sequence: int
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class IndexState:
    """What is indexed, and which limits hold.

    Attributes:
        sequence: The last change that queries see.
        committed_sequence: The last change in the database.
        work_count: Registered works.
        reference_count: Their media items.
        schemes: One for each scheme, by id.
        disk_bytes: Bytes on disk below the server's data folder.
        max_inline_bytes: Largest sum of media in one message; larger ones are streamed.
        max_media_bytes: Largest streamed media.
        version: Version of the server.
        evidence_key: The public key of the signatures of evidence that it hands over, PEM.
    """

    sequence: int
    committed_sequence: int
    work_count: int
    reference_count: int
    schemes: tuple[SchemeState, ...]
    disk_bytes: int
    max_inline_bytes: int
    max_media_bytes: int
    version: str
    evidence_key: str = ""


@dataclass(frozen=True, slots=True)
class ImportProgress:
    """How far an import is.

    Attributes:
        done: True if no row is left.
        total: Rows in all.
        created: Rows that were registered.
        skipped: Rows whose file the work already had.
        failed: Rows that were refused.
    """

    done: bool
    total: int
    created: int
    skipped: int
    failed: int


@dataclass(frozen=True, slots=True)
class ImportRowError:
    """A row of an import that was refused.

    Attributes:
        row: Its place in the request, from 0.
        path: Its path.
        external_id: Its external id; None: it has none.
        error: Why.
    """

    row: int
    path: str
    external_id: str | None
    error: CopyhoundError


@dataclass(frozen=True, slots=True)
class ImportResult:
    """How an import ended.

    Attributes:
        created: Rows that were registered.
        skipped: Rows whose file the work already had.
        failed: Rows that were refused.
        errors: The refused rows, in order; the first 1,000 of them.
    """

    created: int
    skipped: int
    failed: int
    errors: tuple[ImportRowError, ...]


class QueryOptions(TypedDict, total=False):
    """How a query is to be answered. Keyword arguments of the client's `match` methods."""

    min_probability: float | None
    """Least probability of a match to be returned, 0..1. None: the server's review threshold. 0: every
    verified candidate."""
    min_query_coverage: float
    """Least part of the query that a match covers, 0..1."""
    min_work_coverage: float
    """Least part of the reference that a match covers, 0..1."""
    territories: Sequence[str]
    """Where the upload would be seen, ISO 3166-1 alpha-2; empty: everywhere."""
    uploader_token: str
    """Who uploads, as the platform names them; compared with the works' licences."""
    min_sequence: int | None
    """Wait until the index has seen at least this change; `StaleError` if it cannot in time."""
    page_size: int
    """Most matches to return, 1 to 1,000; 10 where it is left out."""
    modality: str | None
    """Kind of media, such as ``image``; None: detect it."""
    fast: bool
    """Leave out the stages that take long: a small picture inside another is mostly missed then."""
