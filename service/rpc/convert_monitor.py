"""Monitoring between wire and domain; see `convert`, whose habits hold here too."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from urllib.parse import quote_plus, urlsplit
from uuid import UUID

from copyhound.v1 import capture_pb2, match_pb2, monitor_pb2, report_pb2, work_pb2
from service.errors import InvalidRequestError
from service.monitored import (
    Capture,
    Content,
    ContentState,
    CustodyEvent,
    ListSettings,
    MonitoringList,
    NewCapture,
    Place,
    PlaceKind,
    Progress,
    Run,
    RunState,
    Schedule,
    Seen,
    Sighting,
    StoredPart,
    StoredReport,
    Told,
    Webhook,
)
from service.rpc import convert
from service.store.monitor_codec import load_part_counts, load_parts, load_regions, load_segments

MAX_ITEMS = 10_000
"""Most works, places and exceptions of a list together."""
KEYWORDS = "{keywords}"
_DEFAULT_DEPTH, _MAX_DEPTH = 2, 100
_DEFAULT_PAGES, _MAX_PAGES = 1000, 10_000_000
_MAX_KEYWORDS, _MAX_KEYWORD_CHARACTERS = 100, 200
_MAX_URL, _MAX_MEDIA_URL, _MAX_UPLOADER = 2000, 8000, 200
_MIN_INTERVAL, _MAX_INTERVAL = timedelta(minutes=1), timedelta(days=366)
_MIN_SECRET, _MAX_SECRET = 16, 256
_MAX_RANGES = 100_000
_MAX_PORT = 65_535
_LIST, _RUNS, _CAPTURE, _REPORT, _PARTS = "lists/", "/runs/", "captures/", "reports/", "/parts/"
_HOST = re.compile(r"(?!-)[^\s/?#@:\\\[\]%]{1,253}")
_BLANK = re.compile(r"[\s\x00-\x1f\x7f\\]")
_KEY = re.compile(r"[0-9a-f]{64}")
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

Resolve = Callable[[str, str], UUID]
"""(work's name or external id, field) to the work's id; raises InvalidRequestError."""


def list_name(list_id: UUID) -> str:
    """Resource name of a list."""
    return f"{_LIST}{list_id}"


def run_name(list_id: UUID, run_id: UUID) -> str:
    """Resource name of a run."""
    return f"{_LIST}{list_id}{_RUNS}{run_id}"


def capture_name(capture_id: UUID) -> str:
    """Resource name of a capture."""
    return f"{_CAPTURE}{capture_id}"


def report_name(report_id: UUID) -> str:
    """Resource name of a report."""
    return f"{_REPORT}{report_id}"


def read_list_name(name: str, field: str) -> UUID:
    """Id in `lists/{uuid}`."""
    return convert.read_id(name, _LIST, field, "lists/{uuid}")


def read_run_name(name: str, field: str) -> tuple[UUID, UUID]:
    """List id and run id in `lists/{uuid}/runs/{uuid}`."""
    form = "lists/{uuid}/runs/{uuid}"
    whole, separator, run = name.partition(_RUNS)
    if not separator:
        raise InvalidRequestError(field, f"must have the form {form}, not “{convert.shown(name)}”")
    return convert.read_id(whole, _LIST, field, form), convert.read_id(run, "", field, form)


def read_capture_name(name: str, field: str) -> UUID:
    """Id in `captures/{uuid}`."""
    return convert.read_id(name, _CAPTURE, field, "captures/{uuid}")


def read_report_name(name: str, field: str) -> UUID:
    """Id in `reports/{uuid}`."""
    return convert.read_id(name, _REPORT, field, "reports/{uuid}")


def read_part_name(name: str, field: str) -> tuple[UUID, bytes | None]:
    """Report id and part's key in `reports/{uuid}/parts/{key}`; no key in `reports/{uuid}`."""
    whole, separator, key = name.partition(_PARTS)
    if not separator:
        return read_report_name(name, field), None
    form = "reports/{uuid}/parts/{key}"
    if not _KEY.fullmatch(key):
        raise InvalidRequestError(field, f"must have the form {form}, not “{convert.shown(name)}”")
    return convert.read_id(whole, _REPORT, field, form), bytes.fromhex(key)


# Lists


def read_url(value: str, field: str, most: int = _MAX_URL) -> str:
    """An address, http or https, with a host and without a password."""
    text = convert.read_text(value, field, most)
    if not text:
        raise InvalidRequestError(field, "is required: an address that begins with http:// or https://")
    if _BLANK.search(text):
        raise InvalidRequestError(field, f"“{convert.shown(text)}” holds blanks or backslashes; encode them")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise InvalidRequestError(field, f"“{convert.shown(text)}” is no address: {error}") from error
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or port == 0:
        raise InvalidRequestError(
            field, f"“{convert.shown(text)}” is no address that begins with http:// or https:// and a host"
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidRequestError(field, "holds a user's name or password; take them out")
    return text


def read_host(value: str, field: str) -> str:
    """A host such as `example.org`, in small letters, with a port where it has one."""
    text = convert.read_text(value, field, 260).strip().lower().removesuffix(".")
    host, _, port = text.partition(":")
    named = _HOST.fullmatch(host) and (host == "localhost" or "." in host.strip("."))
    ported = ":" not in text or (port.isdecimal() and 0 < int(port) <= _MAX_PORT)
    if not named or not ported or ".." in host:
        raise InvalidRequestError(field, f"“{convert.shown(value)}” is no host, such as example.org")
    return text


def read_place(message: monitor_pb2.Place, field: str) -> Place:
    """A place to watch."""
    name = None
    if message.kind in monitor_pb2.PlaceKind.values():
        name = monitor_pb2.PlaceKind.Name(message.kind).removeprefix("PLACE_KIND_").lower()
    if name is None or name == "unspecified":
        known = ", ".join(PlaceKind)
        raise InvalidRequestError(f"{field}.kind", f"say what the place is: {known}")
    kind = PlaceKind(name)
    if kind is PlaceKind.DOMAIN:
        url = read_host(message.url, f"{field}.url")
    else:
        url = read_url(message.url, f"{field}.url")
    if (KEYWORDS in url) != (kind is PlaceKind.SEARCH):
        raise InvalidRequestError(f"{field}.url", f"search pages, and no other places, hold {KEYWORDS}")
    if message.keywords and kind is not PlaceKind.SEARCH:
        raise InvalidRequestError(f"{field}.keywords", "are for search pages alone")
    if len(message.keywords) > _MAX_KEYWORDS:
        raise InvalidRequestError(
            f"{field}.keywords", f"has {len(message.keywords)} of them; at most {_MAX_KEYWORDS} are allowed"
        )
    keywords = []
    for i, one in enumerate(message.keywords):
        word = convert.read_text(one, f"{field}.keywords[{i}]", _MAX_KEYWORD_CHARACTERS).strip()
        if not word:
            raise InvalidRequestError(f"{field}.keywords[{i}]", "is empty: leave it out")
        keywords.append(word)
    return Place(kind, url, tuple(dict.fromkeys(keywords)))


def read_exception(value: str, field: str) -> str:
    """A host, or the beginning of an address, to be left alone."""
    return read_url(value.strip(), field) if "://" in value else read_host(value, field)


def filled_in(place: Place, titles: Sequence[str]) -> list[Place]:
    """The places of the queries of a search page; any other place as it is."""
    if place.kind is not PlaceKind.SEARCH:
        return [place]
    words = place.keywords or titles
    return [Place(place.kind, place.url.replace(KEYWORDS, quote_plus(word))) for word in words if word]


def _read_schedule(message: monitor_pb2.Schedule, field: str) -> Schedule:
    timed = message.HasField("interval")
    if timed == bool(message.daily_time):
        raise InvalidRequestError(
            field, "interval and daily_time clash: give one of them, and not both; or leave the schedule out"
        )
    if timed:
        try:
            interval = message.interval.ToTimedelta()
        except (ValueError, OverflowError) as error:
            raise InvalidRequestError(f"{field}.interval", f"is no time: {error}") from error
        if not _MIN_INTERVAL <= interval <= _MAX_INTERVAL:
            raise InvalidRequestError(f"{field}.interval", "must be one minute to a year")
        return Schedule(interval=interval)
    found = _TIME_OF_DAY.fullmatch(message.daily_time)
    if found is None:
        raise InvalidRequestError(
            f"{field}.daily_time",
            f"“{convert.shown(message.daily_time)}” is no time of day in UTC, such as 03:30",
        )
    return Schedule(daily=time(int(found[1]), int(found[2])))


def _read_webhook(message: monitor_pb2.Webhook, field: str, known: Webhook | None) -> Webhook:
    secret = message.secret
    if not secret and known is not None:
        secret = known.secret
    if not _MIN_SECRET <= len(secret) <= _MAX_SECRET:
        raise InvalidRequestError(
            f"{field}.secret", f"must have {_MIN_SECRET} to {_MAX_SECRET} characters, not {len(secret)}"
        )
    return Webhook(read_url(message.url, f"{field}.url"), convert.read_text(secret, f"{field}.secret", 256))


def _read_works(message: monitor_pb2.MonitoringList, resolve: Resolve) -> dict[str, Any]:
    found = [resolve(work, f"list.works[{i}]") for i, work in enumerate(message.works)]
    return {"works": tuple(dict.fromkeys(found))}


def _read_places(message: monitor_pb2.MonitoringList, _: Resolve) -> dict[str, Any]:
    found = [read_place(place, f"list.places[{i}]") for i, place in enumerate(message.places)]
    return {"places": tuple({place.id: place for place in found}.values())}


def _read_exceptions(message: monitor_pb2.MonitoringList, _: Resolve) -> dict[str, Any]:
    found = [read_exception(one, f"list.leave_alone[{i}]") for i, one in enumerate(message.leave_alone)]
    return {"leave_alone": tuple(dict.fromkeys(found))}


def _read_depth(message: monitor_pb2.MonitoringList, _: Resolve) -> dict[str, Any]:
    depth = message.max_depth if message.HasField("max_depth") else _DEFAULT_DEPTH
    if not 0 <= depth <= _MAX_DEPTH:
        raise InvalidRequestError("list.max_depth", f"must be 0 to {_MAX_DEPTH}, not {depth}")
    return {"max_depth": depth}


def _read_pages(message: monitor_pb2.MonitoringList, _: Resolve) -> dict[str, Any]:
    pages = message.max_pages or _DEFAULT_PAGES
    if not 1 <= pages <= _MAX_PAGES:
        raise InvalidRequestError("list.max_pages", f"must be 1 to {_MAX_PAGES:,}, not {pages}")
    return {"max_pages": pages}


def _read_expiry(message: monitor_pb2.MonitoringList, _: Resolve) -> dict[str, Any]:
    given = message.HasField("expire_time")
    return {"expires_at": convert.read_time(message.expire_time, "list.expire_time") if given else None}


_FIELDS: dict[str, Callable[[monitor_pb2.MonitoringList, Resolve], dict[str, Any]]] = {
    "title": lambda message, _: {"title": convert.read_text(message.title, "list.title", 1000)},
    "works": _read_works,
    "places": _read_places,
    "leave_alone": _read_exceptions,
    "max_depth": _read_depth,
    "max_pages": _read_pages,
    "schedule": lambda message, _: {
        "schedule": _read_schedule(message.schedule, "list.schedule")
        if message.HasField("schedule")
        else None
    },
    "expire_time": _read_expiry,
    "webhook": lambda _message, _resolve: {},
    "min_probability": lambda message, _: {
        "min_probability": convert.read_fraction(message.min_probability, "list.min_probability") or None
    },
}


def check_mask(paths: Sequence[str]) -> None:
    """Check that fields can change."""
    unknown = [path for path in paths if path not in _FIELDS]
    if unknown:
        raise InvalidRequestError(
            "update_mask", f"“{convert.shown(unknown[0])}” cannot change; these can: {', '.join(_FIELDS)}"
        )


def read_settings(
    message: monitor_pb2.MonitoringList, paths: Sequence[str], known: ListSettings, resolve: Resolve
) -> ListSettings:
    """A list's settings, with the fields that `paths` names (empty: all) as the message has them."""
    check_mask(paths)
    values: dict[str, Any] = {}
    chosen = dict.fromkeys(paths or _FIELDS)
    for path in chosen:
        values |= _FIELDS[path](message, resolve)
    if "webhook" in chosen:
        given = message.HasField("webhook")
        values["webhook"] = _read_webhook(message.webhook, "list.webhook", known.webhook) if given else None
    settings = replace(known, **values)
    check_settings(settings, datetime.now(UTC), changed=chosen.keys())
    return settings


def check_settings(settings: ListSettings, now: datetime, *, changed: Collection[str]) -> None:
    """Check what fields mean together."""
    check_size(settings, "list")
    expires_at, schedule = settings.expires_at, settings.schedule
    if expires_at is None or not {"expire_time", "schedule"} & set(changed):
        return
    if expires_at <= now:
        raise InvalidRequestError("list.expire_time", "is in the past; give a later one, or none")
    if schedule is not None and schedule.next_after(now, now) >= expires_at:
        raise InvalidRequestError(
            "list.expire_time", "clashes with the schedule: the list would expire before its first run"
        )


def check_size(settings: ListSettings, field: str) -> None:
    """Check how many works, places and exceptions there are."""
    count = len(settings.works) + len(settings.places) + len(settings.leave_alone)
    if count > MAX_ITEMS:
        raise InvalidRequestError(
            field,
            f"has {count:,} works, places and exceptions, and may have {MAX_ITEMS:,}; make another list",
        )


def read_item(item: monitor_pb2.MonitoringItem, resolve: Resolve) -> tuple[str, UUID | Place | str]:
    """The field of a list's settings that a row of an import adds to, and what it adds."""
    kind = item.WhichOneof("item")
    if kind == "work":
        return "works", resolve(item.work, "work")
    if kind == "place":
        return "places", read_place(item.place, "place")
    if kind == "leave_alone":
        return "leave_alone", read_exception(item.leave_alone, "leave_alone")
    raise InvalidRequestError("item", "is empty: give a work, a place, or what to leave alone")


def place_message(place: Place) -> monitor_pb2.Place:
    """A place."""
    kind = monitor_pb2.PlaceKind.Value(f"PLACE_KIND_{place.kind.name}")
    return monitor_pb2.Place(id=place.id, kind=kind, url=place.url, keywords=place.keywords)


def list_message(found: MonitoringList) -> monitor_pb2.MonitoringList:
    """A list, without its webhook's secret."""
    settings, schedule = found.settings, found.settings.schedule
    message = monitor_pb2.MonitoringList(
        name=list_name(found.id),
        owner=found.owner,
        title=settings.title,
        works=[convert.work_name(work) for work in settings.works],
        places=[place_message(place) for place in settings.places],
        leave_alone=settings.leave_alone,
        max_depth=settings.max_depth,
        max_pages=settings.max_pages,
        min_probability=settings.min_probability or 0.0,
        place_count=found.place_count,
        latest_run="" if found.latest_run is None else run_name(found.id, found.latest_run),
        create_time=convert.timestamp(found.created_at),
        update_time=convert.timestamp(found.updated_at),
        etag=convert.etag(found.revision),
    )
    if schedule is not None and schedule.interval is not None:
        message.schedule.interval.FromTimedelta(schedule.interval)
    if schedule is not None and schedule.daily is not None:
        message.schedule.daily_time = schedule.daily.isoformat("minutes")
    if settings.expires_at is not None:
        message.expire_time.CopyFrom(convert.timestamp(settings.expires_at))
    if settings.webhook is not None:
        message.webhook.url = settings.webhook.url
        message.webhook.waiting_count = found.untold
        message.webhook.failed_attempts = found.failed_attempts
    if found.next_run_at is not None:
        message.next_run_time.CopyFrom(convert.timestamp(found.next_run_at))
    return message


# Runs


def progress_message(progress: Progress) -> monitor_pb2.Progress:
    """Progress."""
    return monitor_pb2.Progress(
        pages=progress.pages,
        media=progress.media,
        captures=progress.captures,
        queued=progress.queued,
        bytes=progress.bytes,
        errors=progress.errors,
        refused=progress.refused,
    )


def read_told(request: capture_pb2.ReportProgressRequest) -> Told:
    """What a crawler tells of its run."""
    given = request.progress
    progress = Progress(
        pages=given.pages,
        media=given.media,
        captures=given.captures,
        queued=given.queued,
        bytes=given.bytes,
        errors=given.errors,
        refused=given.refused,
    )
    states = {
        monitor_pb2.RUN_STATE_UNSPECIFIED: RunState.RUNNING,
        monitor_pb2.RUN_STATE_PENDING: RunState.PENDING,
        monitor_pb2.RUN_STATE_RUNNING: RunState.RUNNING,
        monitor_pb2.RUN_STATE_DONE: RunState.DONE,
        monitor_pb2.RUN_STATE_FAILED: RunState.FAILED,
    }
    if request.state not in states:
        raise InvalidRequestError("state", "must be pending, running, done or failed")
    return Told(progress, states[request.state], convert.read_text(request.message, "message", 1000))


def run_message(run: Run) -> monitor_pb2.Run:
    """A run."""
    return monitor_pb2.Run(
        name=run_name(run.list_id, run.id),
        state=monitor_pb2.RunState.Value(f"RUN_STATE_{run.state.name}"),
        scheduled=run.scheduled,
        progress=progress_message(run.progress),
        pending_contents=run.pending,
        unreadable_contents=run.unreadable,
        reports=run.reports,
        message=run.message,
        crawler=run.crawler,
        create_time=convert.timestamp(run.created_at),
        start_time=None if run.started_at is None else convert.timestamp(run.started_at),
        update_time=None if run.updated_at is None else convert.timestamp(run.updated_at),
        end_time=None if run.ended_at is None else convert.timestamp(run.ended_at),
    )


# Captures


def read_crawler(value: str) -> str:
    """A crawler's name."""
    name = convert.read_text(value, "crawler", 128).strip()
    if not name:
        raise InvalidRequestError("crawler", "is required: a name that the crawler keeps over restarts")
    return name


def _required_digest(value: bytes, field: str) -> bytes:
    digest = convert.read_digest(value, field)
    if digest is None:
        raise InvalidRequestError(field, "is required: a SHA-256 of 32 bytes")
    return digest


def _page_url(value: str, field: str) -> str:
    return read_url(value, field, _MAX_MEDIA_URL) if value else ""


def _title(value: str, field: str) -> str:
    """The title of a page, which is other people's: cut, and without control characters."""
    del field
    return "".join(c if c.isprintable() else " " for c in value[:1000])


def _uploader(value: str) -> str:
    """Whom a page claims to have put it there: single spaces, without control characters, cut."""
    return " ".join("".join(c if c.isprintable() else " " for c in value[:_MAX_UPLOADER]).split())


def read_seen(message: capture_pb2.SeenAgain, field: str) -> Seen:
    """A sighting."""
    return Seen(
        sha256=_required_digest(message.sha256, f"{field}.sha256"),
        page_url=_page_url(message.page_url, f"{field}.page_url"),
        page_title=_title(message.page_title, f"{field}.page_title"),
        media_url=read_url(message.media_url, f"{field}.media_url", _MAX_MEDIA_URL),
        found_as=convert.read_text(message.found_as, f"{field}.found_as", 64),
        at=convert.read_time(message.seen_time, f"{field}.seen_time"),
        uploader=_uploader(message.uploader),
    )


def read_capture(
    header: capture_pb2.CaptureHeader, run: tuple[UUID, UUID], owner: str, crawler: str
) -> NewCapture:
    """A capture of a run (list id, run id) of an owner's list."""
    field = "header"
    seen = Seen(
        sha256=_required_digest(header.content_sha256, f"{field}.content_sha256"),
        page_url=_page_url(header.page_url, f"{field}.page_url"),
        page_title=_title(header.page_title, f"{field}.page_title"),
        media_url=read_url(header.media_url, f"{field}.media_url", _MAX_MEDIA_URL),
        found_as=convert.read_text(header.found_as, f"{field}.found_as", 64),
        at=convert.read_time(header.capture_time, f"{field}.capture_time"),
        uploader=_uploader(header.uploader),
    )
    ranges = tuple((part.offset, part.length) for part in header.content_ranges)
    size = header.byte_count
    if not 1 <= len(ranges) <= _MAX_RANGES:
        raise InvalidRequestError(
            f"{field}.content_ranges", f"must be 1 to {_MAX_RANGES:,}, not {len(ranges)}"
        )
    if any(offset < 0 or length < 1 or offset + length > size for offset, length in ranges):
        raise InvalidRequestError(f"{field}.content_ranges", f"must lie inside the file of {size} bytes")
    facts = {
        "crawler": crawler,
        "place_id": convert.read_text(header.place_id, f"{field}.place_id", 64),
        "requested_url": _page_url(header.requested_url, f"{field}.requested_url"),
        "content_type": convert.read_text(header.content_type, f"{field}.content_type", 255),
        "remote_address": convert.read_text(header.remote_address, f"{field}.remote_address", 64),
    }
    return NewCapture(
        id=convert.read_id(header.capture_id, "", f"{field}.capture_id", "{uuid}"),
        run_id=run[1],
        list_id=run[0],
        owner=owner,
        seen=seen,
        ranges=ranges,
        sha256=_required_digest(header.sha256, f"{field}.sha256"),
        byte_count=size,
        facts={name: value for name, value in facts.items() if value},
    )


def read_content_state(value: int, field: str) -> ContentState | None:
    """How far contents are that are asked for; None: whatever.

    Raises:
        InvalidRequestError: If it is none that is known.
    """
    if value == capture_pb2.CONTENT_STATE_UNSPECIFIED:
        return None
    for state in ContentState:
        if value == capture_pb2.ContentState.Value(f"CONTENT_STATE_{state.name}"):
            return state
    raise InvalidRequestError(field, "must be pending, read or unreadable")


def capture_message(
    capture: Capture, content: Content | None, custody: Sequence[CustodyEvent]
) -> capture_pb2.Capture:
    """A capture; its content is None where it was erased with its list."""
    new, seen, facts = capture.new, capture.new.seen, capture.new.facts
    return capture_pb2.Capture(
        name=capture_name(new.id),
        header=capture_pb2.CaptureHeader(
            capture_id=str(new.id),
            run=run_name(new.list_id, new.run_id),
            page_url=seen.page_url,
            page_title=seen.page_title,
            media_url=seen.media_url,
            found_as=seen.found_as,
            content_sha256=seen.sha256,
            content_ranges=[
                capture_pb2.ByteRange(offset=offset, length=length) for offset, length in new.ranges
            ],
            byte_count=new.byte_count,
            sha256=new.sha256,
            capture_time=convert.timestamp(seen.at),
            uploader=seen.uploader,
            **facts,
        ),
        content_state=capture_pb2.CONTENT_STATE_UNSPECIFIED
        if content is None
        else capture_pb2.ContentState.Value(f"CONTENT_STATE_{content.state.name}"),
        unreadable_reason="" if content is None else content.reason,
        create_time=convert.timestamp(capture.created_at),
        custody=[
            capture_pb2.CustodyEvent(
                number=event.number,
                event_time=convert.timestamp(event.at),
                actor=event.actor,
                action=event.action,
                detail=event.detail,
                sha256=event.sha256,
            )
            for event in custody
        ],
    )


# Reports


def _sighting_message(found: Sighting) -> report_pb2.Sighting:
    seen = found.seen
    return report_pb2.Sighting(
        list=list_name(found.list_id),
        run=run_name(found.list_id, found.run_id),
        capture="" if found.capture_id is None else capture_name(found.capture_id),
        page_url=seen.page_url,
        page_title=seen.page_title,
        media_url=seen.media_url,
        found_as=seen.found_as,
        first_seen_time=convert.timestamp(seen.at),
        last_seen_time=convert.timestamp(found.last_seen_at),
        uploader=seen.uploader,
    )


def _part_message(report: StoredReport, part: StoredPart) -> match_pb2.PartMatch:
    return match_pb2.PartMatch(
        query_part=part.name,
        modality=convert.modality_code(part.modality),
        reference=convert.reference_name(report.work_id, part.reference),
        filename=part.filename,
        probability=part.probability,
        query_coverage=part.query_coverage,
        work_coverage=part.work_coverage,
        segments=[convert.segment_message(segment) for segment in part.segments],
        regions=[convert.region_message(region) for region in part.regions],
        name=f"{report_name(report.id)}{_PARTS}{part.key.hex()}",
    )


def report_message(report: StoredReport) -> report_pb2.MatchReport:
    """A match report."""
    match = report.match
    return report_pb2.MatchReport(
        name=report_name(report.id),
        version=report.version,
        revision=report.revision,
        match=match_pb2.Match(
            work=convert.work_name(report.work_id),
            reference=convert.reference_name(report.work_id, UUID(match["reference"])),
            owner=report.owner,
            external_id=match["external_id"] or "",
            title=match["title"],
            probability=match["probability"],
            signals=convert.signal_messages(match["signals"]),
            segments=[convert.segment_message(one) for one in load_segments(match["segments"])],
            regions=[convert.region_message(one) for one in load_regions(match["regions"])],
            query_coverage=match["query_coverage"],
            work_coverage=match["work_coverage"],
            action=work_pb2.Action.ValueType(match["action"]),
            parts=[_part_message(report, part) for part in load_parts(match)],
            part_counts=convert.part_count_messages(load_part_counts(match)),
        ),
        modality=convert.modality_code(report.modality),
        sha256=report.sha256,
        byte_count=report.byte_count,
        sightings=[_sighting_message(found) for found in report.sightings],
        sighting_count=report.sighting_count,
        policy_revision=report.policy_revision,
        index_sequence=report.index_sequence,
        on_registration=report.on_registration,
        work_deleted=report.work_deleted,
        create_time=convert.timestamp(report.created_at),
        update_time=convert.timestamp(report.updated_at),
        sequence=report.sequence,
    )
