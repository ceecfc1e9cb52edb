"""What webhooks are told: JSON texts. docs/guides/monitoring.md describes them."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from service.monitored import Run, StoredReport

REPORT_CREATED = "report.created"
RUN_ENDED = "run.ended"


def report_created(list_id: UUID, report: StoredReport, now: datetime) -> Callable[[UUID], str]:
    """The body that tells of a report that is new to a list, given the delivery's id."""
    seen = report.sightings[0].seen if report.sightings else None
    facts: dict[str, object] = {
        "name": f"reports/{report.id}",
        "work": f"works/{report.work_id}",
        "external_id": report.match["external_id"],
        "title": report.match["title"],
        "probability": report.match["probability"],
        "modality": report.modality,
        "sha256": report.sha256.hex(),
        "page_url": "" if seen is None else seen.page_url,
        "media_url": "" if seen is None else seen.media_url,
        "sighting_count": report.sighting_count,
        "on_registration": report.on_registration,
    }
    return _body(REPORT_CREATED, list_id, now, {"report": facts})


def run_ended(run: Run, now: datetime) -> Callable[[UUID], str]:
    """The body that tells of the end of a run, given the delivery's id."""
    progress = run.progress
    facts: dict[str, object] = {
        "name": f"lists/{run.list_id}/runs/{run.id}",
        "state": run.state.value,
        "message": run.message,
        "pages": progress.pages,
        "media": progress.media,
        "captures": progress.captures,
    }
    return _body(RUN_ENDED, run.list_id, now, {"run": facts})


def _body(event: str, list_id: UUID, now: datetime, facts: Mapping[str, object]) -> Callable[[UUID], str]:
    def body(delivery_id: UUID) -> str:
        head = {"id": str(delivery_id), "event": event, "time": now.isoformat(), "list": f"lists/{list_id}"}
        return json.dumps({**head, **facts}, ensure_ascii=False, separators=(",", ":"))

    return body
