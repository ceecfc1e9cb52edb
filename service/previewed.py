"""Values of previews: what people are shown of references and of captured contents.

A preview is always a file that Copyhound made itself, of one of a few kinds; never a file that somebody sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias
from uuid import UUID

from indexers.previews import MEDIA_TYPES, WAVEFORM_RATE, Facts, Kind

__all__ = [
    "MEDIA_TYPES",
    "WAVEFORM_RATE",
    "Job",
    "Kind",
    "NewPreview",
    "Place",
    "PreviewFile",
    "PreviewSet",
    "PreviewState",
    "Source",
    "Subject",
]

Subject: TypeAlias = UUID | bytes
"""What is shown: a reference, by its id, a captured content, by its SHA-256 (32 bytes), or a part of a
captured container, by its key (`service.monitored.key_of_part`, 32 bytes)."""

Place: TypeAlias = tuple[int, ...] | None
"""Where in a container an item is, as `indexers.containers` counts; None: it is the file itself."""


class PreviewState(StrEnum):
    """Whether there is a preview, and if not, why."""

    READY = "ready"
    """Its files can be opened."""
    PENDING = "pending"
    """It is still being made; ask again in some seconds."""
    FAILED = "failed"
    """It cannot be made; `PreviewSet.reason` says why."""
    NOT_KEPT = "not_kept"
    """The owner of the work asked for none."""
    ABSENT = "absent"
    """None was made: only fingerprints were registered, there is no report on the content, or it is a
    container, whose parts have some."""
    DELETED = "deleted"
    """The reference, or the content, is not there any more, or never was."""


@dataclass(frozen=True, slots=True)
class PreviewFile:
    """One file of a preview.

    Attributes:
        sha256: Its digest, 32 bytes; good as an ETag.
        byte_count: Its size.
        facts: Width, height, length and the like.
    """

    kind: Kind
    sha256: bytes
    byte_count: int
    facts: Facts = field(default_factory=Facts)

    @property
    def media_type(self) -> str:
        """What it is served as."""
        return MEDIA_TYPES[self.kind]


@dataclass(frozen=True, slots=True)
class PreviewSet:
    """What there is to show of a reference or a content.

    Attributes:
        state: Whether there is something.
        reason: Of `FAILED`, why: a code such as ``MEDIA_TIMEOUT``, a colon, an English sentence; else empty.
        modality: Such as ``image``; empty: unknown.
        files: By kind; empty unless `READY`.
    """

    state: PreviewState
    reason: str = ""
    modality: str = ""
    files: Mapping[Kind, PreviewFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """What a reference's preview is still to be made of: a file that is kept until then.

    Attributes:
        sha256: Of the file, 32 bytes.
        byte_count: Of the file.
        place: Where in it the reference is.
        part_bytes: Size of that part, as far as that is known.
    """

    sha256: bytes
    byte_count: int
    place: Place = None
    part_bytes: int = 0


@dataclass(frozen=True, slots=True)
class NewPreview:
    """The preview of a reference that is about to be registered.

    Attributes:
        state: `READY`, `FAILED`, `NOT_KEPT`, or `PENDING`.
        reason: As in `PreviewSet`.
        files: Of a ready one.
        source: Of a pending one.
    """

    state: PreviewState
    reason: str = ""
    files: tuple[PreviewFile, ...] = ()
    source: Source | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A preview that is still to be made.

    Attributes:
        subject: Of what.
        modality: Such as ``video``.
        source: Of a reference; a content is in its capture.
        created_at: Since when it waits, UTC.
    """

    subject: Subject
    modality: str
    source: Source | None
    created_at: datetime
