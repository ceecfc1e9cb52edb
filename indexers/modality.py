"""The interface that each modality implements."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Generic, Protocol, TypeAlias, TypeVar

from indexers.fingerprint import Fingerprint, Metric, Scheme, SpanUnit, joined
from indexers.previews import Budget, Files
from indexers.transforms import Matrix, between

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
        max_seconds: Longest sound or film.
        max_characters: Most characters of a text, or of what is extracted from a document.
        max_parts: Most parts of a container.
        max_unpacked_bytes: Most bytes that all of a container unpacks to.
    """

    max_pixels: int = 178_956_970  # 512 MiB of RGB: the point where Pillow warns of a bomb, doubled
    max_frames: int = 64
    max_seconds: float = 36_000.0
    max_characters: int = 20_000_000
    max_parts: int = 9_999  # with the container itself, as many references as a work may have
    max_unpacked_bytes: int = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class Segment(Generic[T]):
    """A decoded piece of media: a picture, a frame, a stretch of sound, a passage.

    Attributes:
        start: Where it starts, inclusive, in the modality's span unit.
        end: Where it ends, exclusive.
        data: What the modality decodes to.
        lost: Where media before its end could not be read, as far as no piece before it says so.
    """

    start: float
    end: float
    data: T
    lost: tuple[tuple[float, float], ...] = ()


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
class AlignedSegment:
    """A part of the query that corresponds to a part of the work.

    Attributes:
        query: Half-open interval in the query.
        work: Half-open interval in the reference.
        speed: Speed of the query relative to the reference; negative: backwards.
        unit: What the intervals count.
        pitch_cents: How much higher the query sounds than the reference, in hundredths of a semitone.
        region: Where in the picture of the query; None: all of it, or there is no picture.
        content: What of it corresponds, such as ``sound``; empty: all that such media have.
    """

    query: tuple[float, float]
    work: tuple[float, float]
    speed: float
    unit: SpanUnit
    pitch_cents: float = 0.0
    region: Box | None = None
    content: str = ""


@dataclass(frozen=True, slots=True)
class AlignedRegion:
    """A region of the query that shows a region of the work.

    Attributes:
        query: In the query.
        work: In the reference.
        transform: What was done to the reference's region to give the query's, by name.
        matrix: The same exactly, as far as that is known; see `transforms`. Where it is not given, it takes
            the one region to the other by the named transform.
    """

    query: Box
    work: Box
    transform: str
    matrix: Matrix = ()

    def __post_init__(self) -> None:
        """Fill in the matrix."""
        if not self.matrix:
            work, query = ((box.left, box.top, box.right, box.bottom) for box in (self.work, self.query))
            object.__setattr__(self, "matrix", between(work, query, self.transform))


@dataclass(frozen=True, slots=True)
class Alignment:
    """How a query and a reference relate.

    Attributes:
        signals: Measurements by name; `Modality.signal_units` gives their units. No NaN.
        segments: Where in time or text; empty for still pictures.
        regions: Where in the picture; empty for media without pictures.
        query_coverage: Part of the query that corresponds, 0..1.
        work_coverage: Part of the reference that corresponds, 0..1.
        views: Of the query, those in which anything corresponds: worth a closer look where more could be
            described of them.
        uncertain: Whether more of what was not described yet may tell better which places correspond; see
            `Modality.place_stages`.
    """

    signals: Mapping[str, float]
    segments: tuple[AlignedSegment, ...] = ()
    regions: tuple[AlignedRegion, ...] = ()
    query_coverage: float = 1.0
    work_coverage: float = 1.0
    views: frozenset[int] = frozenset()
    uncertain: bool = False


def covered(parts: Sequence[tuple[float, float]], whole: Fingerprint) -> float:
    """Part of a media item that lies in one of some intervals, 0..1; the last of its spans ends with it."""
    length, reached = 0.0, 0.0
    for start, end in sorted(parts):
        length += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return min(1.0, length / float(whole.spans[:, 1].max()))


@dataclass(frozen=True, slots=True)
class Search:
    """How a scheme's index is searched for candidates.

    Attributes:
        radius: Largest distance at which a neighbour becomes a candidate, inclusive.
        narrow_radius: The same for catalogues so large that comparing everything would take too long.
        min_quality: Query descriptors below it are not looked up: they would match everything.
        nearest: How many of a descriptor's neighbours become candidates, where distances alone tell copies
            from others too badly for a radius; None: all within the radius.
        votes: Whether a candidate is the more promising the more of the query's descriptors have a neighbour
            in it, rather than the nearer one of them is: where one describes a moment, or some words.
            The fewer references a descriptor's neighbours belong to, the more it counts. Needs `nearest`.
        stretch: How many rows of a reference, one after another, gather votes together: a long reference has
            some of every query's by chance, but all over. 0: all its rows.
        least_votes: So many votes a stretch and the next need for the reference to be a candidate.
        common: From so many works on that hold the same stretch as the query, that is nobody's: such rows of
            the query count nothing when candidates are compared, and less from a quarter as many on. The same
            for rows with as many neighbours as `nearest`. Needs `stretch`. None: all count.
        step: Where a reference has a descriptor every so many span units, this many: votes then count where
            they agree about the place. 0: they count wherever they lie. Needs `votes`.
        paces: By view of the query: how many times as long the query is taken to be for that. Needs `step`.
            None: no view changes its length.
        most: How many have votes enough at most, where they vote.
        group: So many descriptors of the query, one after another, vote by themselves too: the reference
            with most of their votes is a candidate whatever the others say, as a query may hold many works
            for a short while each. 0: none do. Needs `votes`, without `stretch` and `step`.
    """

    radius: float
    narrow_radius: float
    min_quality: float = 0.0
    nearest: int | None = None
    votes: bool = False
    stretch: int = 0
    least_votes: float = 0.0
    common: int | None = None
    step: float = 0.0
    paces: Sequence[float] | None = None
    most: int = 30
    group: int = 0


Place: TypeAlias = tuple[float, float, int]
"""Where in the query, where in the reference, in span units, and by which view of the query."""
Promising: TypeAlias = Callable[[Sequence[Fingerprint], Sequence[Fingerprint], Sequence[Place]], bool]
"""(query, reference, places of both that may correspond) to whether it is worth aligning them; see
`Channel.promising`."""
Glimpse: TypeAlias = Callable[[Sequence[Fingerprint], Sequence[Fingerprint]], bool]
"""(query, reference) to whether it is worth aligning them; see `Channel.glimpse`."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One of the schemes that describe a kind of media.

    Attributes:
        scheme: Which.
        search: How it is looked up; None: it is compared with candidates and never searched.
        views: Number of view codes, from 0: in how many ways a query is described. References have view 0
            alone.
        query_rows: Most descriptors that one piece (`Modality.pieces`) of a query has.
        reference_rows: The same for a reference.
        compared: Where it is never searched: with how many of a stage's candidates it is compared, at most.
        unsifted: Whether these are the nearest, whatever else is known of them; otherwise part of them have
            to be plausible by what is searched.
        beside: A scheme whose descriptors of the query are compared with these of a reference too: so these
            are looked at wherever the query has some of that one.
        promising: Where it is compared with whatever is nearest: tells by a first look at a query and a
            reference whether aligning them may find anything, at much less cost; None: all are aligned.
        glimpse: The same at less cost again, of candidates that are farther than so many; None: they are not
            compared.
    """

    scheme: Scheme
    search: Search | None
    views: int = 1
    query_rows: int = 1
    reference_rows: int = 1
    compared: int = 6
    unsifted: bool = False
    beside: Scheme | None = None
    promising: Promising | None = None
    glimpse: Glimpse | None = None

    @property
    def far(self) -> bool:
        """Whether bits are compared, and neighbours looked for so far away that tables do not serve."""
        search = self.search
        if search is None or search.nearest is None or self.scheme.metric is not Metric.HAMMING:
            return False
        return search.narrow_radius * 8 >= self.scheme.dim

    def views_of(self, role: Role) -> int:
        """How many view codes, from 0, fingerprints in this role may have."""
        return self.views if role is Role.QUERY else 1

    def rows_of(self, role: Role) -> int:
        """Most descriptors of one piece in this role."""
        return self.query_rows if role is Role.QUERY else self.reference_rows


class Modality(Protocol[T]):
    """One kind of media: decoding, fingerprinting and aligning. Implementations hold no state.

    `decode`, `preview` and `fingerprint` run on untrusted bytes, in the sandbox; `align` runs in the service,
    on fingerprints alone.
    """

    name: str
    """Such as ``image``."""
    formats: tuple[str, ...]
    """What it reads, as users call it, such as ``JPEG``."""
    channels: tuple[Channel, ...]
    """Its schemes, and how each is searched."""
    stages: tuple[str, ...]
    """Names of the stages in which a query is described, cheapest first."""
    scene_stages: frozenset[int]
    """After so many of them all that was seen has been looked at closely: where it surely is the scene of a
    work, the others would not tell better which moment of it."""
    place_stages: frozenset[int]
    """After so many of them the next may tell better which places correspond: where that is uncertain
    (`Alignment.uncertain`), a work that surely is all of the query does not end it."""
    fast_stages: int
    """How many of them a caller in a hurry asks for: of several the last only where a candidate is likely."""
    signal_units: Mapping[str, str]
    """Unit of each signal that `align` may give; empty for plain numbers."""
    accompanying: frozenset[str]
    """Signals of what only accompanies a work, as sound does a film: by these alone it is no copy of it."""

    def load(self) -> None:
        """Import the libraries that reading needs and comparing does not, unless they start a thread.

        For the process that workers are forked from; the service itself does without them.
        """
        ...

    def prepare(self) -> None:
        """Load what else describing needs, before this process gives up opening files.

        Raises:
            ModelError: If a file that ships is missing or was changed.
        """
        ...

    def pieces(self, limits: MediaLimits) -> int:
        """Most pieces (frames, seconds, …) of one media item: bounds how many descriptors it may have."""
        ...

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

    def preview(
        self,
        source: BinaryIO,
        limits: MediaLimits,
        files: Files,
        budget: Budget,
        first: Segment[T] | None = None,
    ) -> None:
        """Write what people are shown of the media, in whose coordinates fingerprints count; see `previews`.

        It is streamed as `decode` is. What goes beyond the budget is left out, and said in `Facts.whole`.

        Args:
            source: The file.
            limits: What it may ask for.
            files: Where to write.
            budget: How much it may take.
            first: What `decode` gave first of it, where that is known: it saves decoding what is all in it.

        Raises:
            MediaError: As `decode`.
        """
        ...

    def fingerprint(self, segments: Iterable[Segment[T]], role: Role) -> Iterator[list[Fingerprint]]:
        """Describe the pieces, stage by stage; of a query one may stop as soon as the answer is sure.

        A generator may be sent which views are worth a closer look (`Alignment.views`), and describe more of
        these alone in the stages that do so; iterating, as sending None, asks for all.

        Yields:
            At most one fingerprint for each scheme: for a reference all at once, for a query those of each of
            `stages` in turn. A later stage may add descriptors to a scheme of an earlier one.

        Raises:
            FeaturelessMediaError: If a reference holds nothing by which copies of it could be told.
        """
        ...

    def align(self, query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
        """Relate a query (with all its views) to a reference.

        Returns:
            None where no scheme is common to both. Two unrelated items give an `Alignment` too: its
            signals are what speaks against a copy.
        """
        ...

    def identity(self, query: Sequence[Fingerprint]) -> Alignment | None:
        """Relate a query to a reference of the same file, as `align` would with that one's fingerprints.

        Returns:
            None where that takes aligning them.
        """
        ...


def described(modality: Modality[T], segments: Iterable[Segment[T]], role: Role) -> tuple[Fingerprint, ...]:
    """Describe pieces in all stages: one fingerprint of each scheme that has something to say."""
    return joined(fingerprint for stage in modality.fingerprint(segments, role) for fingerprint in stage)
