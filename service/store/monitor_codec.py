"""Monitoring's values as JSON texts in rows, and back."""

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any
from uuid import UUID

from indexers.fingerprint import SpanUnit
from indexers.modality import AlignedRegion, AlignedSegment, Box
from service.domain import Match, PartCount, PartMatch
from service.monitored import (
    ListSettings,
    NewCapture,
    Place,
    PlaceKind,
    Progress,
    Schedule,
    StoredPart,
    Webhook,
)


def dump(value: object) -> str:
    """Any JSON value, compact."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def dump_settings(settings: ListSettings) -> str:
    """What is small of a list's settings; title and expiry have columns of their own."""
    schedule, webhook = settings.schedule, settings.webhook
    interval = None if schedule is None or schedule.interval is None else schedule.interval.total_seconds()
    daily = None if schedule is None or schedule.daily is None else schedule.daily.isoformat("minutes")
    return dump(
        {
            "max_depth": settings.max_depth,
            "max_pages": settings.max_pages,
            "interval": interval,
            "daily": daily,
            "webhook": None if webhook is None else [webhook.url, webhook.secret],
            "min_probability": settings.min_probability,
        }
    )


def dump_items(settings: ListSettings) -> str:
    """A list's works, places and exceptions."""
    return dump(
        {
            "works": [str(work) for work in settings.works],
            "places": [[place.kind.value, place.url, place.keywords] for place in settings.places],
            "leave_alone": settings.leave_alone,
        }
    )


def load_settings(
    text: str, items: str | None, *, title: str, expires_at: datetime | None, places: bool = True
) -> ListSettings:
    """The opposite of `dump_settings` and `dump_items`; without items, or without places, these are empty."""
    value: dict[str, Any] = json.loads(text)
    listed: dict[str, Any] = (
        {"works": [], "places": [], "leave_alone": []} if items is None else json.loads(items)
    )
    schedule = None
    if value["interval"] is not None:
        schedule = Schedule(interval=timedelta(seconds=value["interval"]))
    if value["daily"] is not None:
        schedule = Schedule(daily=time.fromisoformat(value["daily"]))
    return ListSettings(
        title=title,
        works=tuple(UUID(work) for work in listed["works"]),
        places=tuple(
            Place(PlaceKind(kind), url, tuple(keywords))
            for kind, url, keywords in (listed["places"] if places else ())
        ),
        leave_alone=tuple(listed["leave_alone"]),
        max_depth=value["max_depth"],
        max_pages=value["max_pages"],
        schedule=schedule,
        expires_at=expires_at,
        webhook=load_webhook(value),
        min_probability=value["min_probability"],
    )


def load_webhook(settings: Mapping[str, Any]) -> Webhook | None:
    """The webhook among a list's settings."""
    return None if settings["webhook"] is None else Webhook(*settings["webhook"])


def dump_progress(progress: Progress) -> str:
    """Progress as JSON."""
    return dump(dataclasses.asdict(progress))


def load_progress(text: str) -> Progress:
    """The opposite of `dump_progress`."""
    return Progress(**json.loads(text))


def dump_header(capture: NewCapture) -> str:
    """What of a capture has no column."""
    seen = capture.seen
    return dump(
        {
            "page_url": seen.page_url,
            "page_title": seen.page_title,
            "media_url": seen.media_url,
            "found_as": seen.found_as,
            "uploader": seen.uploader,
            "ranges": capture.ranges,
            "facts": dict(capture.facts),
        }
    )


def dump_match(match: Match) -> str:
    """A match as it is reported, without fingerprints."""
    return dump(
        {
            "work": str(match.work.id),
            "reference": str(match.reference.id),
            "owner": match.work.owner,
            "external_id": match.work.external_id,
            "title": match.work.title,
            "probability": match.probability,
            "signals": dict(match.signals),
            "segments": [_segment(segment) for segment in match.segments],
            "regions": [_region(region) for region in match.regions],
            "query_coverage": match.query_coverage,
            "work_coverage": match.work_coverage,
            "action": match.action.value,
            "parts": [_part(part) for part in match.parts],
            "part_counts": [dataclasses.asdict(one) for one in match.part_counts],
        }
    )


def load_segments(values: list[list[Any]]) -> tuple[AlignedSegment, ...]:
    """The segments of a stored match; those of old reports have neither region nor content."""
    found = []
    for a, b, c, d, speed, unit, pitch, *rest in values:
        region, content = rest or (None, "")
        box = None if region is None else Box(*region)
        found.append(AlignedSegment((a, b), (c, d), speed, SpanUnit(unit), pitch, box, content))
    return tuple(found)


def load_regions(values: list[list[Any]]) -> tuple[AlignedRegion, ...]:
    """The regions of a stored match; those of old reports have no matrix of their own."""
    return tuple(
        AlignedRegion(Box(*query), Box(*work), transform, *map(tuple, matrix))
        for query, work, transform, *matrix in values
    )


def load_parts(match: Mapping[str, Any]) -> tuple[StoredPart, ...]:
    """The parts of a stored match, the most telling first; what is no container has none."""
    return tuple(
        StoredPart(
            key=bytes.fromhex(part["key"]),
            name=part["name"],
            modality=part["modality"],
            reference=UUID(part["reference"]),
            filename=part["filename"],
            probability=part["probability"],
            query_coverage=part["query_coverage"],
            work_coverage=part["work_coverage"],
            segments=load_segments(part["segments"]),
            regions=load_regions(part["regions"]),
        )
        for part in match.get("parts", ())
    )


def load_part_counts(match: Mapping[str, Any]) -> tuple[PartCount, ...]:
    """How many parts of a container match, also those that are not listed."""
    return tuple(PartCount(**one) for one in match.get("part_counts", ()))


def _part(part: PartMatch) -> dict[str, Any]:
    return {
        "key": part.key.hex(),
        "name": part.name,
        "modality": part.modality,
        "reference": str(part.reference.id),
        "filename": part.reference.filename,
        "probability": part.probability,
        "query_coverage": part.query_coverage,
        "work_coverage": part.work_coverage,
        "segments": [_segment(segment) for segment in part.segments],
        "regions": [_region(region) for region in part.regions],
    }


def _region(region: AlignedRegion) -> list[Any]:
    return [_box(region.query), _box(region.work), region.transform, region.matrix]


def _segment(segment: AlignedSegment) -> list[Any]:
    measured = [segment.speed, segment.unit.value, segment.pitch_cents]
    region = None if segment.region is None else _box(segment.region)
    return [*segment.query, *segment.work, *measured, region, segment.content]


def _box(box: Box) -> list[float]:
    return [box.left, box.top, box.right, box.bottom]
