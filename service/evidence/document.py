"""A report as a document: everything that is known of it, as JSON values.

docs/guides/evidence.md describes every field; a test holds it to this module.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import numpy as np

from copyhound.evidence import Description, NoCaptureError, describe
from indexers.fingerprint import Fingerprint
from indexers.modality import AlignedRegion, AlignedSegment
from service.blobs import Blobs
from service.domain import Action, Reference, Work
from service.errors import NotFoundError
from service.language import (
    Words,
    explain_coverage,
    explain_parts,
    explain_probability,
    explain_segment,
    explain_signals,
    explain_transform,
)
from service.monitored import Capture, CustodyEvent, Sighting, StoredReport
from service.review import Desk
from service.reviewed import Actor, Case, CaseReport, Decision, Event
from service.store import Store, View, monitor_codec
from service.store.reports import Reports

FORMAT: Final = "copyhound.report.v1"
"""What a document of this form says of itself. A field is never given another meaning under the same name."""
CASE_FORMAT: Final = "copyhound.case.v1"
"""What the document of a case says of itself."""
SOFTWARE: Final = ("copyhound", "faiss-cpu", "numpy", "onnxruntime", "opencv-python-headless", "av", "pillow")
"""Packages whose versions a document names."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What the database knows of a report, read in one go.

    Attributes:
        reference: The media item that matched, its work, and its fingerprints; None: deleted since.
        captures: Those of its sightings, in the order of these.
        cases: Those that it is in, with their decisions and events.
        people: Who has which key, by the keys' ids.
    """

    report: StoredReport
    reference: tuple[Reference, Work, tuple[Fingerprint, ...]] | None
    captures: tuple[tuple[Capture, tuple[CustodyEvent, ...]], ...]
    cases: tuple[tuple[Case, tuple[Decision, ...], tuple[Event, ...]], ...]
    people: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class GatheredCase:
    """What the database knows of a case, but for its reports themselves.

    Attributes:
        work: None: deleted since.
        reports: Which are in it, oldest first.
        people: Who has which key, by the keys' ids.
    """

    case: Case
    work: Work | None
    decisions: tuple[Decision, ...]
    events: tuple[Event, ...]
    reports: tuple[CaseReport, ...]
    people: Mapping[str, str]


def visible(reports: Reports, actor: Actor, report_id: UUID) -> StoredReport:
    """A report that the actor may see.

    Raises:
        NotFoundError: If there is none, or none of the actor's.
    """
    report = reports.get(report_id)
    if actor.owner not in (None, report.owner):
        raise NotFoundError(f"There is no report {report_id}", report=str(report_id))
    return report


def gather(store: Store, desk: Desk, actor: Actor, report_id: UUID, *, with_cases: bool = True) -> Gathered:
    """Read what there is on a report, in one state of the database. Blocks.

    Args:
        store: Where.
        desk: The rules of who sees what.
        actor: Who looks.
        report_id: Which report.
        with_cases: Whether to read the cases that it is in; otherwise there are none.

    Raises:
        NotFoundError: If there is no such report, or none that the actor may see.
    """
    with store.view() as view:
        report = visible(view.reports, actor, report_id)
        found = []
        for capture_id in dict.fromkeys(one.capture_id for one in report.sightings if one.capture_id):
            capture = view.captures.get(capture_id)
            if capture.new.owner == report.owner:
                found.append((capture, tuple(view.captures.custody(capture_id))))
        return Gathered(
            report=report,
            reference=_reference(view, UUID(report.match["reference"])),
            captures=tuple(found),
            cases=tuple(
                (
                    case,
                    tuple(desk.decisions(view, actor, case.id)),
                    tuple(desk.history(view, actor, case.id)),
                )
                for case in (desk.cases_of_report(view, actor, report_id) if with_cases else ())
            ),
            people=view.key_names(),
        )


def gather_case(store: Store, desk: Desk, actor: Actor, case_id: UUID, *, most: int) -> GatheredCase:
    """Read what there is on a case, in one state of the database. Blocks.

    Args:
        store: Where.
        desk: The rules of who sees what.
        actor: Who looks.
        case_id: Which case.
        most: Most reports, the first ones.

    Raises:
        NotFoundError: If there is no such case, or none that the actor may see.
    """
    with store.view() as view:
        case = desk.case(view, actor, case_id)
        return GatheredCase(
            case=case,
            work=view.get_works([case.work_id]).get(case.work_id),
            decisions=tuple(desk.decisions(view, actor, case_id)),
            events=tuple(desk.history(view, actor, case_id)),
            reports=tuple(desk.reports(view, actor, case_id, limit=most)),
            people=view.key_names(),
        )


def _reference(view: View, reference_id: UUID) -> tuple[Reference, Work, tuple[Fingerprint, ...]] | None:
    registered = view.get_registered([reference_id])
    if not registered:
        return None
    found = registered[0]
    return found.reference, found.work, view.fingerprints([reference_id]).get(reference_id, ())


def describe_captures(gathered: Gathered, blobs: Blobs) -> dict[UUID, Description]:
    """What the captures say of themselves; those whose file is missing or damaged are absent. Blocks."""
    described = {}
    for capture, _ in gathered.captures:
        try:
            with blobs.open(capture.new.sha256) as file:
                described[capture.new.id] = describe(file)
        except (NotFoundError, NoCaptureError):
            continue
    return described


def build(
    gathered: Gathered, described: Mapping[UUID, Description], words: Words, now: datetime
) -> dict[str, Any]:
    """Put the document together.

    Args:
        gathered: What the database knows.
        described: What the captures say of themselves.
        words: The language of its sentences; domain ``report``.
        now: When it is made, UTC.

    Returns:
        Values that go into JSON as they are. Times are ISO 8601, UTC; digests hexadecimal.
    """
    report = gathered.report
    return {
        **_origin(FORMAT, words, now),
        "report": {
            "name": f"reports/{report.id}",
            "version": report.version,
            "revision": report.revision,
            "created_at": _time(report.created_at),
            "updated_at": _time(report.updated_at),
            "policy_revision": report.policy_revision,
            "index_sequence": report.index_sequence,
            "on_registration": report.on_registration,
        },
        "work": _work(report),
        "reference": _reference_values(report, gathered.reference),
        "content": {
            "modality": report.modality,
            "bytes": report.byte_count,
            "sha256": report.sha256.hex(),
        },
        "match": _match(report.match, words),
        "explanation": [
            *explain_probability(words, report.match["probability"], report.match["signals"]),
            explain_coverage(words, report.match["query_coverage"], report.match["work_coverage"]),
            *explain_parts(
                words, sum(one.query_found for one in monitor_codec.load_part_counts(report.match))
            ),
        ],
        "sighting_count": report.sighting_count,
        "sightings": [_sighting(one) for one in report.sightings],
        "captures": [
            _capture(capture, custody, described.get(capture.new.id))
            for capture, custody in gathered.captures
        ],
        "cases": [_case(*one) for one in gathered.cases],
        "people": _people(
            gathered.people,
            [
                *(event for _, custody in gathered.captures for event in custody),
                *(event for _, _, events in gathered.cases for event in events),
            ],
        ),
    }


def build_case(
    gathered: GatheredCase, reports: Sequence[Mapping[str, Any]], words: Words, now: datetime
) -> dict[str, Any]:
    """Put the document of a case together.

    Args:
        gathered: What the database knows.
        reports: A row for each of its reports, as `report_row` makes it.
        words: The language of its sentences; domain ``report``.
        now: When it is made, UTC.

    Returns:
        Values that go into JSON as they are.
    """
    case = gathered.case
    return {
        **_origin(CASE_FORMAT, words, now),
        "case": {
            **_case(case, gathered.decisions, gathered.events),
            "revision": case.revision,
            "created_at": _time(case.created_at),
            "assignee": case.assignee,
            "due_at": None if case.due_at is None else _time(case.due_at),
            "report_count": case.report_count,
        },
        "work": {
            "name": f"works/{case.work_id}",
            "owner": case.owner,
            "external_id": case.external_id or None,
            "title": case.work_title,
            "deleted": gathered.work is None,
        },
        "reports": list(reports),
        "people": _people(gathered.people, gathered.events),
    }


def report_row(row: CaseReport, document: Mapping[str, Any]) -> dict[str, Any]:
    """What a case's document says of one of its reports, out of the report's own."""
    first = document["sightings"][0] if document["sightings"] else {}
    return {
        "name": document["report"]["name"],
        "revision": document["report"]["revision"],
        "sha256": document["content"]["sha256"],
        "modality": document["content"]["modality"],
        "probability": document["match"]["probability"],
        "first_seen_at": first.get("first_seen_at"),
        "page_url": first.get("page_url", ""),
        "media_url": first.get("media_url", ""),
        "event": row.number,
        "covered": row.covered,
        "settled_by": None if row.settled_by is None else f"cases/{row.settled_by[0]}",
    }


def _origin(form: str, words: Words, now: datetime) -> dict[str, Any]:
    return {
        "format": form,
        "language": words.language,
        "created_at": _time(now),
        "software": dict(_versions()),
    }


@cache
def _versions() -> Mapping[str, str]:
    return {name: version(name) for name in SOFTWARE}


def _people(names: Mapping[str, str], events: Sequence[CustodyEvent | Event]) -> dict[str, str]:
    """Names of those who did something."""
    return {key: names[key] for key in dict.fromkeys(one.actor for one in events) if key in names}


def site_of(sighting: Sighting) -> str:
    """Host of the page where something was seen, or of the media where there was no page; empty: unknown."""
    try:
        return urlsplit(sighting.seen.page_url or sighting.seen.media_url).hostname or ""
    except ValueError:
        return ""


def digest_of_fingerprint(fingerprint: Fingerprint) -> str:
    """SHA-256 of a fingerprint, hexadecimal: that of its arrays, row by row, one after the other.

    These are the descriptors as they are compared (bytes, or little-endian float32), the spans as
    little-endian float64, the qualities as little-endian float32, and the regions, where there are any, as
    little-endian float32.
    """
    digest = hashlib.sha256()
    forms: tuple[tuple[Any, str], ...] = (
        (fingerprint.descriptors, fingerprint.descriptors.dtype.newbyteorder("<").str),
        (fingerprint.spans, "<f8"),
        (fingerprint.quality, "<f4"),
        (fingerprint.regions, "<f4"),
    )
    for values, form in forms:
        if values is not None:
            digest.update(np.ascontiguousarray(values, dtype=form).tobytes())
    return digest.hexdigest()


def _time(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")


def _work(report: StoredReport) -> dict[str, Any]:
    match = report.match
    return {
        "name": f"works/{match['work']}",
        "owner": match["owner"],
        "external_id": match["external_id"],
        "title": match["title"],
        "deleted": report.work_deleted,
    }


def _reference_values(
    report: StoredReport, found: tuple[Reference, Work, tuple[Fingerprint, ...]] | None
) -> dict[str, Any]:
    name = f"works/{report.match['work']}/references/{report.match['reference']}"
    if found is None:
        return {"name": name, "deleted": True}
    reference, work, prints = found
    return {
        "name": name,
        "deleted": False,
        "filename": reference.filename,
        "modality": reference.modality,
        "bytes": reference.byte_count,
        "sha256": None if reference.sha256 is None else reference.sha256.hex(),
        "registered_at": _time(reference.created_at),
        "sequence": reference.sequence,
        "part_of": None if reference.container_id is None else str(reference.container_id),
        "work_registered_at": _time(work.created_at),
        "fingerprints": [
            {
                "scheme": one.scheme.id,
                "descriptors": len(one),
                "sha256": digest_of_fingerprint(one),
            }
            for one in prints
        ],
    }


def _match(match: Mapping[str, Any], words: Words) -> dict[str, Any]:
    return {
        "probability": match["probability"],
        "query_coverage": match["query_coverage"],
        "work_coverage": match["work_coverage"],
        "action": Action(match["action"]).name.lower(),
        "signals": [
            {
                "name": one.signal,
                "value": match["signals"][one.signal],
                "label": one.label,
                "shown": one.value,
                "sentence": one.sentence,
                "telling": one.telling.value,
            }
            for one in explain_signals(words, match["signals"])
        ],
        **_located(
            monitor_codec.load_segments(match["segments"]),
            monitor_codec.load_regions(match["regions"]),
            words,
        ),
        "part_counts": [asdict(one) for one in monitor_codec.load_part_counts(match)],
        "parts": [
            {
                "name": part.name,
                "modality": part.modality,
                "reference": f"works/{match['work']}/references/{part.reference}",
                "filename": part.filename,
                "probability": part.probability,
                "query_coverage": part.query_coverage,
                "work_coverage": part.work_coverage,
                **_located(part.segments, part.regions, words),
            }
            for part in monitor_codec.load_parts(match)
        ],
    }


def _located(
    segments: Sequence[AlignedSegment], regions: Sequence[AlignedRegion], words: Words
) -> dict[str, Any]:
    """Where two media items correspond."""
    return {
        "segments": [
            {
                "query": list(one.query),
                "work": list(one.work),
                "unit": one.unit.value,
                "speed": one.speed,
                "pitch_cents": one.pitch_cents,
                "region": None if one.region is None else _box(one.region),
                "content": one.content,
                "said": explain_segment(words, one),
            }
            for one in segments
        ],
        "regions": [
            {
                "query": _box(one.query),
                "work": _box(one.work),
                "transform": one.transform,
                "matrix": list(one.matrix),
                "said": explain_transform(words, one.transform),
            }
            for one in regions
        ],
    }


def _box(box: Any) -> list[float]:
    return [box.left, box.top, box.right, box.bottom]


def _sighting(one: Sighting) -> dict[str, Any]:
    return {
        "list": f"lists/{one.list_id}",
        "run": f"lists/{one.list_id}/runs/{one.run_id}",
        "capture": None if one.capture_id is None else f"captures/{one.capture_id}",
        "site": site_of(one),
        "page_url": one.seen.page_url,
        "page_title": one.seen.page_title,
        "media_url": one.seen.media_url,
        "found_as": one.seen.found_as,
        "uploader": one.seen.uploader,
        "first_seen_at": _time(one.seen.at),
        "last_seen_at": _time(one.last_seen_at),
    }


def _capture(
    capture: Capture, custody: Sequence[CustodyEvent], described: Description | None
) -> dict[str, Any]:
    new = capture.new
    manifest: Mapping[str, Any] = {} if described is None else described.manifest
    return {
        "name": f"captures/{new.id}",
        "sha256": new.sha256.hex(),
        "bytes": new.byte_count,
        "seal": None if described is None else described.seal,
        "captured_at": _time(new.seen.at),
        "received_at": _time(capture.created_at),
        "page_url": new.seen.page_url,
        "media_url": new.seen.media_url,
        "requested_url": new.facts.get("requested_url", ""),
        "content_type": new.facts.get("content_type", ""),
        "remote_address": new.facts.get("remote_address", ""),
        "crawler": new.facts.get("crawler", ""),
        "software": _texts(manifest.get("software")),
        "robots": _texts(manifest.get("robots")),
        "custody": [_event(one) for one in custody],
    }


def _texts(values: object) -> dict[str, Any]:
    """What a capture's manifest says in plain values: a crawler wrote it, who may be anybody."""
    if not isinstance(values, dict):
        return {}
    return {
        str(name): value for name, value in values.items() if isinstance(value, (str, int)) or value is None
    }


def _event(one: CustodyEvent | Event) -> dict[str, Any]:
    return {
        "number": one.number,
        "at": _time(one.at),
        "actor": one.actor,
        "action": one.action,
        "detail": one.detail,
        "sha256": one.sha256.hex(),
    }


def _case(case: Case, decisions: Sequence[Decision], events: Sequence[Event]) -> dict[str, Any]:
    return {
        "name": f"cases/{case.id}",
        "site": case.site,
        "state": case.state.value,
        "decisions": [
            {
                "number": one.number,
                "outcome": one.ruling.outcome.value,
                "reason": one.ruling.reason,
                "note": one.ruling.note,
                "actor": one.actor,
                "at": _time(one.at),
                "undone_by": one.undone_by,
            }
            for one in decisions
        ],
        "events": [_event(one) for one in events],
    }
