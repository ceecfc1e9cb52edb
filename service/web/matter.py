"""What a case is about, as the page shows it: a report, both sides' previews, and where they correspond."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from indexers.modality import AlignedSegment, Box
from service.domain import Reference, Work
from service.language import (
    Explanation,
    Words,
    explain_coverage,
    explain_probability,
    explain_segment,
    explain_signals,
    explain_transform,
)
from service.monitored import StoredReport
from service.previewed import Kind, PreviewFile, PreviewSet, PreviewState
from service.store.monitor_codec import load_regions, load_segments

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
    """

    state: PreviewState
    reason: str
    name: str
    base: str
    files: Mapping[Kind, PreviewFile]

    def has(self, kind: str) -> bool:
        """Whether there is a file of a kind."""
        return Kind(kind) in self.files

    def address(self, kind: str) -> str:
        """Where a file is; its digest makes the address change with the file."""
        file = self.files[Kind(kind)]
        return f"{self.base}/{kind}?v={file.sha256.hex()[:16]}"


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
    coverage: str
    sensitive: bool


def work_side(report: StoredReport, reference: Reference | None, preview: PreviewSet) -> Side:
    """The registered side of a report."""
    name = "" if reference is None else reference.filename
    return Side(preview.state, preview.reason, name, f"/reports/{report.id}/work", preview.files)


def found_side(report: StoredReport, preview: PreviewSet) -> Side:
    """The side that was found."""
    seen = report.sightings[0].seen.media_url if report.sightings else report.sha256.hex()
    return Side(preview.state, preview.reason, seen, f"/reports/{report.id}/found", preview.files)


def reference_id(report: StoredReport) -> UUID:
    """The reference that the found content is a copy of."""
    return UUID(report.match["reference"])


def is_sensitive(work: Work | None) -> bool:
    """Whether a work's owner marked it, by a label, as nothing to look at unprepared."""
    value = "" if work is None else work.labels.get(SENSITIVE_LABEL, "")
    return value.lower() not in {"", "no", "false", "0"}


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
    sides: tuple[Side, Side],
    passages: tuple[Passage, ...],
    work: Work | None,
) -> Matter:
    """Put together what is shown of a report.

    Args:
        words: Of domain ``report``.
        report: Which.
        sides: The work, and what was found.
        passages: Of texts; empty otherwise.
        work: Without references; None: it was deleted.
    """
    match = report.match
    segments = load_segments(match["segments"])
    regions = load_regions(match["regions"])
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
        coverage=explain_coverage(words, match["query_coverage"], match["work_coverage"]),
        sensitive=is_sensitive(work),
    )


def passages(report: StoredReport, texts: Any) -> tuple[Passage, ...]:
    """Read the passages of a text's report; blocks.

    Args:
        report: Which.
        texts: A function of side (``work``, ``found``), start and end that gives characters of a side's text.
    """
    made = []
    for one in load_segments(report.match["segments"])[:_MOST_PASSAGES]:
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
