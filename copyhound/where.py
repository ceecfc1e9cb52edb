"""Where in the query the work was found, in words for people."""

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

_WHOLE_MARGIN: Final = 0.02
"""A box that leaves out less than this at each edge is called whole: nobody sees the difference."""
_AUDIBLE_CENTS: Final = 10.0
"""Pitches that differ by less are called equal: hardly anybody hears it."""


def describe_place(found: Match | Comparison) -> str:
    """Say where it was found: ``whole picture, mirrored``; a dash where nothing was located."""
    phrases = [_region(region) for region in found.regions]
    phrases += [_segment(segment) for segment in found.segments]
    return "; ".join(phrases) or "-"


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
        return f"{_clock(start)}-{_clock(end)}"
    return f"{unit} {start:.0f}-{end:.0f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
