"""From monitoring's values to messages and back: the only place that knows both."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from copyhound import convert, status
from copyhound import monitor_types as types
from copyhound.errors import InvalidRequestError
from copyhound.v1 import capture_pb2, monitor_pb2, report_pb2

_FIELD_NAMES = {"expires_at": "expire_time"}
"""Fields of a list whose names differ on the wire."""


def place_to_message(place: types.Place) -> monitor_pb2.Place:
    """Return the message."""
    kind = monitor_pb2.PlaceKind.Value(f"PLACE_KIND_{place.kind.name}")
    return monitor_pb2.Place(id=place.id, kind=kind, url=place.url, keywords=place.keywords)


def place_from_message(message: monitor_pb2.Place) -> types.Place:
    """Return the value."""
    name = monitor_pb2.PlaceKind.Name(message.kind).removeprefix("PLACE_KIND_").lower()
    return types.Place(types.PlaceKind(name), message.url, tuple(message.keywords), message.id)


def _schedule_to_message(schedule: types.Schedule) -> monitor_pb2.Schedule:
    interval = None
    if schedule.interval is not None:
        interval = Duration()
        interval.FromTimedelta(schedule.interval)
    return monitor_pb2.Schedule(interval=interval, daily_time=schedule.daily_time)


def list_to_message(
    new: types.NewMonitoringList, *, name: str = "", etag: str = ""
) -> monitor_pb2.MonitoringList:
    """Return the message.

    Raises:
        InvalidRequestError: If a field has the wrong type, or is no text that UTF-8 can hold.
    """
    try:
        return monitor_pb2.MonitoringList(
            name=name,
            owner=new.owner,
            title=new.title,
            works=new.works,
            places=[place_to_message(place) for place in new.places],
            leave_alone=new.leave_alone,
            max_depth=new.max_depth,
            max_pages=new.max_pages,
            schedule=None if new.schedule is None else _schedule_to_message(new.schedule),
            expire_time=convert.timestamp(new.expires_at, "list.expires_at"),
            webhook=None
            if new.webhook is None
            else monitor_pb2.Webhook(url=new.webhook.url, secret=new.webhook.secret),
            min_probability=new.min_probability,
            etag=etag,
        )
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"list: {error}; change the field") from error


def changes_to_message(
    name: str, changes: Mapping[str, Any], etag: str
) -> monitor_pb2.UpdateMonitoringListRequest:
    """Return the request that changes these fields of a list."""
    message = list_to_message(types.NewMonitoringList(owner="", **changes), name=name, etag=etag)
    paths = [_FIELD_NAMES.get(field, field) for field in changes]
    return monitor_pb2.UpdateMonitoringListRequest(list=message, update_mask=FieldMask(paths=paths))


def _webhook_from_message(message: monitor_pb2.Webhook) -> types.Webhook:
    return types.Webhook(
        message.url, waiting_count=message.waiting_count, failed_attempts=message.failed_attempts
    )


def list_from_message(message: monitor_pb2.MonitoringList) -> types.MonitoringList:
    """Return the value."""
    schedule = message.schedule
    return types.MonitoringList(
        name=message.name,
        owner=message.owner,
        title=message.title,
        works=tuple(message.works),
        places=tuple(place_from_message(place) for place in message.places),
        leave_alone=tuple(message.leave_alone),
        max_depth=message.max_depth,
        max_pages=message.max_pages,
        schedule=types.Schedule(
            schedule.interval.ToTimedelta() if schedule.HasField("interval") else None, schedule.daily_time
        )
        if message.HasField("schedule")
        else None,
        expires_at=convert.moment(message.expire_time) if message.HasField("expire_time") else None,
        webhook=_webhook_from_message(message.webhook) if message.HasField("webhook") else None,
        min_probability=message.min_probability,
        place_count=message.place_count,
        next_run_at=convert.moment(message.next_run_time) if message.HasField("next_run_time") else None,
        latest_run=message.latest_run or None,
        created_at=convert.moment(message.create_time),
        updated_at=convert.moment(message.update_time),
        etag=message.etag,
    )


def item_to_message(item: types.MonitoringItem) -> monitor_pb2.MonitoringItem:
    """Return the message.

    Raises:
        InvalidRequestError: If a field has the wrong type, or is no text that UTF-8 can hold.
    """
    try:
        if item.place is not None:
            return monitor_pb2.MonitoringItem(place=place_to_message(item.place))
        if item.work is not None:
            return monitor_pb2.MonitoringItem(work=item.work)
        return monitor_pb2.MonitoringItem(leave_alone=item.leave_alone or "")
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"item: {error}; change the field") from error


def imported_from_message(message: monitor_pb2.ImportItemsResponse) -> types.ItemsImported:
    """Return the value."""
    return types.ItemsImported(
        added=message.added_count,
        present=message.present_count,
        errors=tuple(
            types.ItemError(error.row, error.field, status.from_status(error.error))
            for error in message.errors
        ),
    )


def state_to_message(state: types.RunState) -> "monitor_pb2.RunState.ValueType":
    """Return the enum's value."""
    return monitor_pb2.RunState.Value(f"RUN_STATE_{state.name}")


def progress_to_message(progress: types.Progress) -> monitor_pb2.Progress:
    """Return the message."""
    return monitor_pb2.Progress(
        pages=progress.pages,
        media=progress.media,
        captures=progress.captures,
        queued=progress.queued,
        bytes=progress.bytes,
        errors=progress.errors,
        refused=progress.refused,
    )


def progress_from_message(message: monitor_pb2.Progress) -> types.Progress:
    """Return the value."""
    return types.Progress(
        pages=message.pages,
        media=message.media,
        captures=message.captures,
        queued=message.queued,
        bytes=message.bytes,
        errors=message.errors,
        refused=message.refused,
    )


def run_from_message(message: monitor_pb2.Run) -> types.Run:
    """Return the value."""
    return types.Run(
        name=message.name,
        state=types.RunState(monitor_pb2.RunState.Name(message.state).removeprefix("RUN_STATE_").lower()),
        scheduled=message.scheduled,
        progress=progress_from_message(message.progress),
        pending_contents=message.pending_contents,
        unreadable_contents=message.unreadable_contents,
        reports=message.reports,
        message=message.message,
        crawler=message.crawler,
        created_at=convert.moment(message.create_time),
        started_at=convert.moment(message.start_time) if message.HasField("start_time") else None,
        updated_at=convert.moment(message.update_time) if message.HasField("update_time") else None,
        ended_at=convert.moment(message.end_time) if message.HasField("end_time") else None,
    )


def assignment_from_message(message: capture_pb2.Assignment) -> types.Assignment:
    """Return the value."""
    return types.Assignment(
        run=message.run,
        list=message.list,
        places=tuple(place_from_message(place) for place in message.places),
        leave_alone=tuple(message.leave_alone),
        max_depth=message.max_depth,
        max_pages=message.max_pages,
        max_capture_bytes=message.max_capture_bytes,
        progress=progress_from_message(message.progress),
        lease_expires_at=convert.moment(message.lease_expire_time),
    )


def lease_from_message(message: capture_pb2.ReportProgressResponse) -> types.Lease:
    """Return the value."""
    return types.Lease(message.cancelled, convert.moment(message.lease_expire_time))


def seen_to_message(seen: types.SeenAgain) -> capture_pb2.SeenAgain:
    """Return the message."""
    return capture_pb2.SeenAgain(
        sha256=seen.sha256,
        page_url=seen.page_url,
        page_title=seen.page_title,
        media_url=seen.media_url,
        found_as=seen.found_as,
        seen_time=convert.timestamp(seen.seen_at, "sightings.seen_at"),
        uploader=seen.uploader,
    )


def header_to_message(header: types.CaptureHeader) -> capture_pb2.CaptureHeader:
    """Return the message.

    Raises:
        InvalidRequestError: If a field has the wrong type, or is no text that UTF-8 can hold.
    """
    try:
        return capture_pb2.CaptureHeader(
            capture_id=str(header.capture_id),
            run=header.run,
            crawler=header.crawler,
            place_id=header.place_id,
            page_url=header.page_url,
            page_title=header.page_title,
            requested_url=header.requested_url,
            media_url=header.media_url,
            found_as=header.found_as,
            content_type=header.content_type,
            content_sha256=header.content_sha256,
            content_ranges=[
                capture_pb2.ByteRange(offset=offset, length=length)
                for offset, length in header.content_ranges
            ],
            byte_count=header.byte_count,
            sha256=header.sha256,
            capture_time=convert.timestamp(header.captured_at, "header.captured_at"),
            remote_address=header.remote_address,
            uploader=header.uploader,
        )
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"header: {error}; change the field") from error


def _header_from_message(message: capture_pb2.CaptureHeader) -> types.CaptureHeader:
    return types.CaptureHeader(
        capture_id=UUID(message.capture_id),
        run=message.run,
        crawler=message.crawler,
        media_url=message.media_url,
        content_sha256=message.content_sha256,
        content_ranges=tuple((part.offset, part.length) for part in message.content_ranges),
        byte_count=message.byte_count,
        sha256=message.sha256,
        captured_at=convert.moment(message.capture_time),
        place_id=message.place_id,
        page_url=message.page_url,
        page_title=message.page_title,
        requested_url=message.requested_url,
        found_as=message.found_as,
        content_type=message.content_type,
        remote_address=message.remote_address,
        uploader=message.uploader,
    )


def ingested_from_message(message: capture_pb2.IngestCaptureResponse) -> types.Ingested:
    """Return the value."""
    return types.Ingested(message.capture, message.already_present, message.content_known)


def content_state_to_message(state: str) -> "capture_pb2.ContentState.ValueType":
    """Return the message.

    Raises:
        ValueError: If it is no state.
    """
    name = f"CONTENT_STATE_{state.upper() or 'UNSPECIFIED'}"
    if name not in capture_pb2.ContentState.keys():  # noqa: SIM118  protobuf's enumerations are no mappings
        raise ValueError(f"{state!r} is no state of a content; take pending, read or unreadable")
    return capture_pb2.ContentState.Value(name)


def capture_from_message(message: capture_pb2.Capture) -> types.Capture:
    """Return the value."""
    state = capture_pb2.ContentState.Name(message.content_state)
    return types.Capture(
        name=message.name,
        header=_header_from_message(message.header),
        content_state=state.removeprefix("CONTENT_STATE_").lower(),
        unreadable_reason=message.unreadable_reason,
        created_at=convert.moment(message.create_time),
        custody=tuple(
            types.CustodyEvent(
                number=event.number,
                at=convert.moment(event.event_time),
                actor=event.actor,
                action=event.action,
                detail=event.detail,
                sha256=event.sha256,
            )
            for event in message.custody
        ),
    )


def report_from_message(message: report_pb2.MatchReport) -> types.MatchReport:
    """Return the value."""
    return types.MatchReport(
        name=message.name,
        version=message.version,
        revision=message.revision,
        match=convert.match_from_message(message.match),
        modality=convert.modality_from_message(message.modality) or "",
        sha256=message.sha256,
        byte_count=message.byte_count,
        sightings=tuple(
            types.Sighting(
                list=seen.list,
                run=seen.run,
                capture=seen.capture or None,
                page_url=seen.page_url,
                page_title=seen.page_title,
                media_url=seen.media_url,
                found_as=seen.found_as,
                first_seen_at=convert.moment(seen.first_seen_time),
                last_seen_at=convert.moment(seen.last_seen_time),
                uploader=seen.uploader,
            )
            for seen in message.sightings
        ),
        sighting_count=message.sighting_count,
        policy_revision=message.policy_revision,
        index_sequence=message.index_sequence,
        on_registration=message.on_registration,
        work_deleted=message.work_deleted,
        created_at=convert.moment(message.create_time),
        updated_at=convert.moment(message.update_time),
        sequence=message.sequence,
    )
