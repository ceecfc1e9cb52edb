"""The interface that each modality implements."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from indexers.fingerprint import Fingerprint, Scheme, SpanUnit

T = TypeVar("T")


class Role(StrEnum):
    """What a media item is fingerprinted for."""

    REFERENCE = "reference"
    """To be registered: one view, so that the index stays small."""
    QUERY = "query"
    """To be looked up: with the views (flips, turns, crops) under which a copy may hide."""


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """How much a media item may ask for while it is read.

    Attributes:
        max_pixels: Most pixels of one picture or frame, before decoding.
        max_frames: Most frames of an animated picture that are looked at.
    """

    max_pixels: int = 178_956_970  # 512 MiB of RGB: the point where Pillow warns of a bomb, doubled
    max_frames: int = 64


@dataclass(frozen=True, slots=True)
class Segment(Generic[T]):
    """A decoded piece of media: a picture, a frame, a stretch of sound, a passage.

    Attributes:
        start: Where it starts, inclusive, in the modality's span unit.
        end: Where it ends, exclusive.
        data: What the modality decodes to.
    """

    start: float
    end: float
    data: T


@dataclass(frozen=True, slots=True)
class AlignedSegment:
    """A part of the query that corresponds to a part of the work.

    Attributes:
        query: Half-open interval in the query.
        work: Half-open interval in the reference.
        speed: Speed of the query relative to the reference; negative: backwards.
        unit: What the intervals count.
    """

    query: tuple[float, float]
    work: tuple[float, float]
    speed: float
    unit: SpanUnit


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in fractions of width and height from the top left, 0 ≤ left < right ≤ 1."""

    left: float
    top: float
    right: float
    bottom: float


WHOLE = Box(0.0, 0.0, 1.0, 1.0)
"""The whole picture."""


@dataclass(frozen=True, slots=True)
class AlignedRegion:
    """A region of the query that shows a region of the work.

    Attributes:
        query: In the query.
        work: In the reference.
        transform: What was done to the reference's region to give the query's, by name.
    """

    query: Box
    work: Box
    transform: str


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a query and a reference relate.

    Attributes:
        signals: Measurements by name; `Modality.signal_units` gives their units. No NaN.
        segments: Where in time or text; empty for still pictures.
        regions: Where in the picture; empty for media without pictures.
        query_coverage: Part of the query that corresponds, 0..1.
        work_coverage: Part of the reference that corresponds, 0..1.
    """

    signals: Mapping[str, float]
    segments: tuple[AlignedSegment, ...] = ()
    regions: tuple[AlignedRegion, ...] = ()
    query_coverage: float = 1.0
    work_coverage: float = 1.0


@dataclass(frozen=True, slots=True)
class Channel:
    """How a scheme is searched for candidates.

    Attributes:
        scheme: Which index.
        radius: Largest distance at which a neighbour becomes a candidate, inclusive.
        narrow_radius: The same for catalogues so large that comparing everything would take too long.
        min_quality: Query descriptors below it are not looked up: they would match everything.
    """

    scheme: Scheme
    radius: float
    narrow_radius: float
    min_quality: float = 0.0


class Modality(Protocol[T]):
    """One kind of media: decoding, fingerprinting and aligning. Implementations hold no state.

    `decode` and `fingerprint` run on untrusted bytes, in the sandbox; `align` runs in the service, on
    fingerprints alone.
    """

    name: str
    """Such as ``image``."""
    formats: tuple[str, ...]
    """What it reads, as users call it, such as ``JPEG``."""
    channels: tuple[Channel, ...]
    """Its schemes, and how each is searched."""
    views: int
    """Number of view codes, from 0: in how many ways a query is described. References have view 0 alone."""
    signal_units: Mapping[str, str]
    """Unit of each signal that `align` may give; empty for plain numbers."""

    def recognises(self, head: bytes) -> bool:
        """Tell from the first bytes (up to 4,096) of a file whether it is of this kind."""
        ...

    def decode(self, source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[T]]:
        """Yield the media piece by piece, never holding all of a long one in memory.

        Raises:
            UnsupportedMediaError: If the format is not known.
            DamagedMediaError: If the bytes are broken.
            MediaLimitError: If it asks for more than `limits`.
        """
        ...

    def fingerprint(self, segments: Iterable[Segment[T]], role: Role) -> list[Fingerprint]:
        """Describe the pieces: one fingerprint for each scheme, in the order of `channels`."""
        ...

    def align(self, query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
        """Relate a query (with all its views) to a reference.

        Returns:
            None where no scheme is common to both. Two unrelated items give an `Alignment` too: its
            signals are what speaks against a copy.
        """
        ...


def views_for(modality: Modality[Any], role: Role) -> int:
    """Return how many view codes, from 0, the fingerprints of a media item in this role may have."""
    return modality.views if role is Role.QUERY else 1
