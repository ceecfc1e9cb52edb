"""Where in the query the work was found, in words for people."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from copyhound.types import Box, Comparison, Match, Region, Segment

_TRANSFORMS: Final = {
    "identity": "",
    "flip_horizontal": "mirrored",
    "flip_vertical": "upside down and mirrored",
    "rotate_90": "turned 90° left",
    "rotate_180": "turned 180°",
    "rotate_270": "turned 90° right",
    "transpose": "mirrored and turned 90° left",
    "transverse": "mirrored and turned 90° right",
    "invert": "as a negative",
    "affine": "turned or slanted",
    "perspective": "seen from the side",
}

_KINDS: Final = {
    "image": ("picture", "pictures"),
    "audio": ("sound", "sounds"),
    "text": ("text", "texts"),
    "video": ("film", "films"),
}
"""One, and several."""
_SHOWN_PARTS: Final = 3
"""Of a container's parts that were found, the most telling."""

_WHOLE_MARGIN: Final = 0.02
"""A box that leaves out less than this at each edge is called whole: nobody sees the difference."""
_AUDIBLE_CENTS: Final = 10.0
"""Pitches that differ by less are called equal: hardly anybody hears it."""


def describe_place(found: Match | Comparison) -> str:
    """Say where it was found: ``whole picture, mirrored``; a dash where nothing was located.

    In a container: ``214 of 300 pictures and 9 of 12 sounds``, and which parts are which.
    """
    if isinstance(found, Match) and found.part_counts:
        return _parts(found)
    return _places(found.regions, found.segments) or "-"


def describe_parts(counts: Mapping[str, int]) -> str:
    """Say how many parts a container has: ``300 pictures and 12 sounds``; empty if it has none."""
    return _listed([f"{count:,} {_kind(modality, count)}" for modality, count in counts.items()])


def _parts(match: Match) -> str:
    counts = [
        f"{one.query_found:,} of {one.query_count:,} {_kind(one.modality, one.query_count)}"
        for one in match.part_counts
    ]
    best = [
        f"{part.query_part} is {part.filename}" + (f" ({place})" if place else "")
        for part in match.parts[:_SHOWN_PARTS]
        for place in [_places(part.regions, part.segments)]
    ]
    more = sum(one.query_found for one in match.part_counts) - len(best)
    return "; ".join([_listed(counts), *best, *([f"{more:,} more"] if more > 0 else [])])


def _kind(modality: str, count: int) -> str:
    one, many = _KINDS.get(modality, (modality, modality))
    return one if count == 1 else many


def _listed(items: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def _places(regions: Iterable[Region], segments: Iterable[Segment]) -> str:
    return "; ".join([*map(_region, regions), *map(_segment, segments)])


def _region(region: Region) -> str:
    query, work = _box(region.query), _box(region.work)
    place = query or "whole picture"
    if work:
        place += f" shows {work} of the work"
    elif query:
        place += " shows the whole work"
    transform = _TRANSFORMS.get(region.transform, region.transform)
    return f"{place}, {transform}" if transform else place


def _box(box: Box) -> str:
    """``10-60 % across, 0-50 % down``; empty for the whole picture."""
    if max(box.left, box.top, 1 - box.right, 1 - box.bottom) <= _WHOLE_MARGIN:
        return ""
    across = f"{100 * box.left:.0f}-{100 * box.right:.0f} % across"
    return f"{across}, {100 * box.top:.0f}-{100 * box.bottom:.0f} % down"


def _segment(segment: Segment) -> str:
    query = _interval(segment.query_start, segment.query_end, segment.unit)
    work = _interval(segment.work_start, segment.work_end, segment.unit)
    phrase = f"{query} is {work} of the work"
    if segment.content:
        phrase += f" ({segment.content})"
    if segment.region is not None and (place := _box(segment.region)):
        phrase += f", at {place}"
    if segment.speed < 0:
        phrase += ", backwards"
    if abs(abs(segment.speed) - 1) >= 0.01:
        phrase += f", at {abs(segment.speed):.3g}x speed"
    if abs(segment.pitch_cents) >= _AUDIBLE_CENTS:
        semitones = abs(segment.pitch_cents) / 100
        phrase += f", {semitones:.2g} semitones {'higher' if segment.pitch_cents > 0 else 'lower'}"
    return phrase


def _interval(start: float, end: float, unit: str) -> str:
    """``0:05-1:05`` for seconds; ``frame 0-12`` for what is counted."""
    if unit == "second":
        return f"{clock(start)}-{clock(end)}"
    return f"{unit} {start:.0f}-{end:.0f}"


def clock(seconds: float) -> str:
    """A time as players show it: ``1:02:03``, or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
