"""What a case is about, as the page shows it: a report, both sides' previews, and where they correspond."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from indexers.modality import AlignedRegion, AlignedSegment, Box
from service.domain import PartCount, Reference, Work
from service.errors import NotFoundError
from service.language import (
    Explanation,
    Words,
    explain_coverage,
    explain_parts,
    explain_probability,
    explain_segment,
    explain_signals,
    explain_transform,
)
from service.monitored import SHOWN_PARTS, StoredPart, StoredReport
from service.previewed import Kind, PreviewFile, PreviewSet, PreviewState, Subject
from service.reviewed import Case
from service.store import View
from service.store.monitor_codec import load_part_counts, load_parts, load_regions, load_segments

SENSITIVE_LABEL: Final = "sensitive"
"""Label of works whose media are blurred until somebody asks for them, unless its value is ``no``."""

_CONTEXT: Final = 240
"""Characters that are shown around a passage."""
_MOST_PASSAGES: Final = 40
_MOST_CHARACTERS: Final = 6000
"""Of one passage."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: the work, or what was found.

    Attributes:
        state: Of its preview.
        reason: Why there is none.
        name: Its file's name, or address.
        base: Where its media are, without a slash at the end.
        files: By kind.
        part: Of a container: which of the parts that are shown it is, from 0; None: it is none.
    """

    state: PreviewState
    reason: str
    name: str
    base: str
    files: Mapping[Kind, PreviewFile]
    part: int | None = None

    def has(self, kind: str) -> bool:
        """Whether there is a file of a kind."""
        return Kind(kind) in self.files

    def address(self, kind: str) -> str:
        """Where a file is; its digest makes the address change with the file."""
        file = self.files[Kind(kind)]
        which = "" if self.part is None else f"part={self.part}&"
        return f"{self.base}/{kind}?{which}v={file.sha256.hex()[:16]}"


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of text on both sides, with what stands around it."""

    work: tuple[str, str, str]
    found: tuple[str, str, str]
    work_at: tuple[int, int]
    found_at: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Matter:
    """A report, ready to be shown.

    Attributes:
        viewer: ``picture``, ``media`` (film or sound), ``text``, or ``none``.
        work: The registered side.
        found: The other one.
        geometry: Where they correspond, for the scripts: regions and segments.
        told: What was done to it, in words.
        passages: Of texts.
        signals: In words.
        probability: In words, a sentence each.
        sensitive: Whether the work is marked as sensitive.
        parts: Of a container: those that are copies.
        part_counts: How many there are.
    """

    report: StoredReport
    viewer: str
    work: Side
    found: Side
    geometry: Mapping[str, Any]
    told: tuple[str, ...]
    passages: tuple[Passage, ...]
    signals: tuple[Explanation, ...]
    probability: tuple[str, ...]
    coverage: tuple[str, ...]
    sensitive: bool
    parts: tuple[StoredPart, ...] = ()
    part_counts: tuple[PartCount, ...] = ()


@dataclass(frozen=True, slots=True)
class Pair:
    """What is shown of a report side by side: the two media, or one part of a container and what it matches.

    Attributes:
        work: The registered side.
        found: The other one.
        work_name: What the file is called; empty: unknown.
        found_name: Its address, or the part's name.
        segments: Where they correspond.
        regions: Where they correspond.
        part: Which of the container's parts, from 0; None: the report is about no container.
    """

    work: UUID
    found: bytes
    work_name: str
    found_name: str
    segments: tuple[AlignedSegment, ...]
    regions: tuple[AlignedRegion, ...]
    part: int | None


def pair_of(report: StoredReport, reference: Reference | None = None, part: int = 0) -> Pair:
    """What is shown of a report side by side.

    Args:
        report: Which.
        reference: What it names, where that is known.
        part: Of a container: which of its parts.

    Raises:
        NotFoundError: If a container has no such part, or it is none that is shown.
    """
    parts = load_parts(report.match)[:SHOWN_PARTS]
    if parts:
        if not 0 <= part < len(parts):
            raise NotFoundError("there is no such part, or it is none that is shown")
        one = parts[part]
        return Pair(one.reference, one.key, one.filename, one.name, one.segments, one.regions, part)
    seen = report.sightings[0].seen.media_url if report.sightings else report.sha256.hex()
    return Pair(
        work=UUID(report.match["reference"]),
        found=report.sha256,
        work_name="" if reference is None else reference.filename,
        found_name=seen,
        segments=load_segments(report.match["segments"]),
        regions=load_regions(report.match["regions"]),
        part=None,
    )


def sides_of(report: StoredReport, pair: Pair, previews: Mapping[Subject, PreviewSet]) -> tuple[Side, Side]:
    """The registered side of a pair, and the one that was found, with what there is to show of them."""
    work, found = previews[pair.work], previews[pair.found]
    base = f"/reports/{report.id}"
    return (
        Side(work.state, work.reason, pair.work_name, f"{base}/work", work.files, pair.part),
        Side(found.state, found.reason, pair.found_name, f"{base}/found", found.files, pair.part),
    )


def reference_id(report: StoredReport) -> UUID:
    """The reference that the found content is a copy of."""
    return UUID(report.match["reference"])


def is_sensitive(work: Work | None) -> bool:
    """Whether a work's owner marked it, by a label, as nothing to look at unprepared."""
    value = "" if work is None else work.labels.get(SENSITIVE_LABEL, "")
    return value.lower() not in {"", "no", "false", "0"}


def sensitive_works(view: View, cases: Iterable[Case]) -> frozenset[UUID]:
    """The works of cases that are marked as sensitive."""
    works = view.get_works({case.work_id for case in cases})
    return frozenset(work_id for work_id, work in works.items() if is_sensitive(work))


def viewer_of(work: Side, found: Side) -> str:
    """Which viewer both sides can be shown in."""
    if any(side.has("clip") or side.has("sound") for side in (work, found)):
        return "media"
    if any(side.has("picture") for side in (work, found)):
        return "picture"
    return "text" if any(side.has("text") for side in (work, found)) else "none"


def matter(
    words: Words,
    report: StoredReport,
    pair: Pair,
    sides: tuple[Side, Side],
    passages: tuple[Passage, ...],
    *,
    work: Work | None,
) -> Matter:
    """Put together what is shown of a report.

    Args:
        words: Of domain ``report``.
        report: Which.
        pair: What of it is shown.
        sides: The work, and what was found.
        passages: Of texts; empty otherwise.
        work: Without references; None: it was deleted.
    """
    match = report.match
    segments, regions = pair.segments, pair.regions
    counts = load_part_counts(match)
    told = dict.fromkeys(
        [explain_transform(words, one.transform) for one in regions if one.transform != "identity"]
        + [phrase for one in segments for phrase in explain_segment(words, one)]
    )
    return Matter(
        report=report,
        viewer=viewer_of(*sides),
        work=sides[0],
        found=sides[1],
        geometry={
            "regions": [
                {"found": _box(one.query), "work": _box(one.work), "matrix": list(one.matrix)}
                for one in regions
            ],
            "segments": [_segment(one) for one in segments],
        },
        told=tuple(filter(None, told)),
        passages=passages,
        signals=tuple(explain_signals(words, match["signals"])),
        probability=tuple(explain_probability(words, match["probability"], match["signals"])),
        coverage=(
            explain_coverage(words, match["query_coverage"], match["work_coverage"]),
            *explain_parts(words, sum(one.query_found for one in counts)),
        ),
        sensitive=is_sensitive(work),
        parts=load_parts(match),
        part_counts=counts,
    )


def passages(pair: Pair, texts: Any) -> tuple[Passage, ...]:
    """Read the passages of two texts; blocks.

    Args:
        pair: Which.
        texts: A function of side (``work``, ``found``), start and end that gives characters of a side's text.
    """
    made = []
    for one in pair.segments[:_MOST_PASSAGES]:
        work, found = (_whole(one.work), _whole(one.query))
        made.append(Passage(_cut(texts, "work", *work), _cut(texts, "found", *found), work, found))
    return tuple(made)


def _whole(interval: tuple[float, float]) -> tuple[int, int]:
    return int(interval[0]), int(interval[1])


def _cut(texts: Any, side: str, start: int, end: int) -> tuple[str, str, str]:
    """What stands before, in, and after a passage."""
    shown = min(end, start + _MOST_CHARACTERS)
    before = max(0, start - _CONTEXT)
    text: str = texts(side, before, shown + _CONTEXT)
    cut, until = start - before, shown - before
    return text[:cut], text[cut:until], text[until:]


def _segment(one: AlignedSegment) -> dict[str, Any]:
    return {
        "found": list(one.query),
        "work": list(one.work),
        "speed": one.speed,
        "pitch": one.pitch_cents,
        "region": None if one.region is None else _box(one.region),
        "content": one.content,
    }


def _box(box: Box) -> list[float]:
    return [box.left, box.top, box.right, box.bottom]
