"""Values of previews: what people are shown of references and of captured contents.

A preview is always a file that Copyhound made itself, of one of a few kinds; never a file that somebody sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, TypeAlias
from uuid import UUID

Subject: TypeAlias = UUID | bytes
"""What is shown: a reference, by its id, or a captured content, by its SHA-256 (32 bytes)."""


class Kind(StrEnum):
    """What a file of a preview is."""

    PICTURE = "picture"
    """The picture as a viewer shows it, upright, at most 1,024 pixels wide and high."""
    THUMBNAIL = "thumbnail"
    """The same, or of a film one of its frames, at most 256 pixels wide and high."""
    CLIP = "clip"
    """The whole film at few frames a second, at most 320 pixels wide and high, with its sound."""
    SOUND = "sound"
    """The whole sound."""
    WAVEFORM = "waveform"
    """Of a sound, or of a film's: for each 1/`WAVEFORM_RATE` s its smallest and its largest sample, two signed
    bytes, -127..127."""
    SPECTROGRAM = "spectrogram"
    """The same as a picture: time from left to right, low frequencies at the bottom, grey; the whole width is
    the whole sound."""
    TEXT = "text"
    """The text that is read from the item, UTF-8. Offsets of matches count its characters (code points)."""


MEDIA_TYPES: Final[Mapping[Kind, str]] = {
    Kind.PICTURE: "image/webp",
    Kind.THUMBNAIL: "image/webp",
    Kind.CLIP: "video/webm",
    Kind.SOUND: "audio/webm",
    Kind.WAVEFORM: "application/octet-stream",
    Kind.SPECTROGRAM: "image/webp",
    Kind.TEXT: "text/plain; charset=utf-8",
}
"""What each kind is served as."""

WAVEFORM_RATE: Final = 20
"""Pairs of samples that a waveform has for each second."""


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
    """None was ever made: only fingerprints were registered, or that was before there were previews."""
    DELETED = "deleted"
    """The reference, or the content, is not there any more, or never was."""


@dataclass(frozen=True, slots=True)
class PreviewFile:
    """One file of a preview.

    Attributes:
        sha256: Its digest, 32 bytes; good as an ETag.
        byte_count: Its size.
        width: In pixels; 0: it has none.
        height: In pixels; 0: it has none.
        seconds: How long it plays, or what a waveform or spectrogram covers; 0.0: it does not play.
        characters: How many characters a text has; 0: it is none.
        whole: Whether it shows all of the item; False: it was cut off where it would have become too large, or
            have taken too long.
    """

    kind: Kind
    sha256: bytes
    byte_count: int
    width: int = 0
    height: int = 0
    seconds: float = 0.0
    characters: int = 0
    whole: bool = True

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
