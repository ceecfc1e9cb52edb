"""From the client's values to messages and back: the only place that knows both."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain

from google.protobuf.timestamp_pb2 import Timestamp

from copyhound import status, types
from copyhound.errors import InvalidRequestError
from copyhound.v1 import fingerprint_pb2, match_pb2, work_pb2


def modality_to_message(name: str | None) -> "fingerprint_pb2.Modality.ValueType":
    """Return the enum's value; None: detect it.

    Raises:
        InvalidRequestError: If there is no such kind of media.
    """
    if name is None:
        return fingerprint_pb2.MODALITY_UNSPECIFIED
    try:
        return fingerprint_pb2.Modality.Value(f"MODALITY_{name.upper()}")
    except ValueError:
        known = ", ".join(_short(key) for key in fingerprint_pb2.Modality.keys()[1:])
        raise InvalidRequestError(f"modality: {name!r} is none of: {known}; or leave it out") from None


def modality_from_message(value: "fingerprint_pb2.Modality.ValueType") -> str | None:
    """Return the name without its prefix, in small letters; None for unspecified."""
    if value == fingerprint_pb2.MODALITY_UNSPECIFIED:
        return None
    return _short(fingerprint_pb2.Modality.Name(value))


def action_to_message(action: types.Action) -> "work_pb2.Action.ValueType":
    """Return the enum's value."""
    return work_pb2.Action.Value(f"ACTION_{action.name}")


def action_from_message(value: "work_pb2.Action.ValueType") -> types.Action:
    """Return the action; a policy's unspecified one is to block."""
    if value == work_pb2.ACTION_UNSPECIFIED:
        return types.Action.BLOCK
    return types.Action(_short(work_pb2.Action.Name(value)))


def licence_to_message(licence: types.Licence) -> work_pb2.Licence:
    """Return the message."""
    return work_pb2.Licence(
        uploader_token=licence.uploader_token,
        territories=licence.territories,
        expire_time=timestamp(licence.expires_at, "licence.expires_at"),
        note=licence.note,
    )


def licence_from_message(message: work_pb2.Licence) -> types.Licence:
    """Return the value."""
    return types.Licence(
        uploader_token=message.uploader_token,
        territories=tuple(message.territories),
        expires_at=moment(message.expire_time) if message.HasField("expire_time") else None,
        note=message.note,
    )


def policy_to_message(policy: types.Policy) -> work_pb2.Policy:
    """Return the message."""
    return work_pb2.Policy(
        action=action_to_message(policy.action),
        min_probability=policy.min_probability,
        territories=policy.territories,
        licences=[licence_to_message(licence) for licence in policy.licences],
        no_previews=not policy.previews,
    )


def policy_from_message(message: work_pb2.Policy) -> types.Policy:
    """Return the value."""
    return types.Policy(
        action=action_from_message(message.action),
        min_probability=message.min_probability,
        territories=tuple(message.territories),
        licences=tuple(licence_from_message(licence) for licence in message.licences),
        previews=not message.no_previews,
    )


def new_work_to_message(new: types.NewWork | types.ImportRow) -> work_pb2.Work:
    """Return the work's part of the message; its media travels apart.

    Raises:
        InvalidRequestError: If a field has the wrong type, or is no text that UTF-8 can hold.
    """
    try:
        return work_pb2.Work(
            owner=new.owner,
            external_id=new.external_id or "",
            title=new.title,
            labels=new.labels,
            policy=policy_to_message(new.policy) if new.policy else None,
        )
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"work: {error}; change the field") from error


def reference_from_message(message: work_pb2.Reference) -> types.Reference:
    """Return the value."""
    return types.Reference(
        name=message.name,
        filename=message.filename,
        modality=modality_from_message(message.modality) or "",
        sha256=message.sha256 or None,
        byte_count=message.byte_count,
        schemes=tuple(message.schemes),
        created_at=moment(message.create_time),
        container=message.container or None,
        part_counts={modality_from_message(part.modality) or "": part.count for part in message.part_counts},
        lost=tuple((stretch.start, stretch.end) for stretch in message.lost),
    )


def upload_progress_from_message(message: work_pb2.UploadProgress) -> types.UploadProgress:
    """Return the value."""
    return types.UploadProgress(
        message.byte_count, message.read_seconds, message.read_parts, message.part_count
    )


def work_from_message(message: work_pb2.Work) -> types.Work:
    """Return the value."""
    return types.Work(
        name=message.name,
        owner=message.owner,
        external_id=message.external_id or None,
        title=message.title,
        labels=dict(message.labels),
        policy=policy_from_message(message.policy),
        references=tuple(reference_from_message(reference) for reference in message.references),
        reference_count=message.reference_count,
        created_at=moment(message.create_time),
        updated_at=moment(message.update_time),
        etag=message.etag,
        sequence=message.sequence,
    )


def fingerprints_to_message(fingerprints: types.FingerprintSet) -> fingerprint_pb2.FingerprintSet:
    """Return the message."""
    return fingerprint_pb2.FingerprintSet(
        fingerprints=[
            fingerprint_pb2.Fingerprint(
                scheme=fingerprint.scheme,
                count=fingerprint.count,
                descriptors=fingerprint.descriptors,
                spans=chain.from_iterable(fingerprint.spans),
                quality=fingerprint.quality,
                views=fingerprint.views,
                regions=chain.from_iterable(
                    (box.left, box.top, box.right, box.bottom) for box in fingerprint.regions
                ),
            )
            for fingerprint in fingerprints.fingerprints
        ],
        sha256=fingerprints.sha256 or b"",
    )


def options_to_message(
    *,
    min_probability: float | None = None,
    min_query_coverage: float = 0.0,
    min_work_coverage: float = 0.0,
    territories: Sequence[str] = (),
    uploader_token: str = "",
    min_sequence: int | None = None,
    page_size: int = 0,
    modality: str | None = None,
    fast: bool = False,
) -> match_pb2.MatchOptions:
    """Return the message; the parameters are those of `types.QueryOptions`."""
    return match_pb2.MatchOptions(
        modality=modality_to_message(modality),
        min_probability=min_probability,
        min_query_coverage=min_query_coverage,
        min_work_coverage=min_work_coverage,
        territories=territories,
        uploader_token=uploader_token,
        min_sequence=min_sequence or 0,
        page_size=page_size,
        effort=match_pb2.EFFORT_FAST if fast else match_pb2.EFFORT_UNSPECIFIED,
    )


def match_from_message(message: match_pb2.Match) -> types.Match:
    """Return the value."""
    return types.Match(
        work=message.work,
        reference=message.reference,
        owner=message.owner,
        external_id=message.external_id or None,
        title=message.title,
        probability=message.probability,
        signals=_signals(message.signals),
        segments=_segments(message.segments),
        regions=_regions(message.regions),
        query_coverage=message.query_coverage,
        work_coverage=message.work_coverage,
        action=action_from_message(message.action),
        licence=licence_from_message(message.licence) if message.HasField("licence") else None,
        parts=tuple(_part(part) for part in message.parts),
        part_counts=tuple(
            types.PartsFound(
                modality=modality_from_message(found.modality) or "",
                query_found=found.query_found,
                query_count=found.query_count,
                work_found=found.work_found,
                work_count=found.work_count,
            )
            for found in message.part_counts
        ),
    )


def _part(message: match_pb2.PartMatch) -> types.PartMatch:
    return types.PartMatch(
        query_part=message.query_part,
        modality=modality_from_message(message.modality) or "",
        reference=message.reference,
        filename=message.filename,
        probability=message.probability,
        query_coverage=message.query_coverage,
        work_coverage=message.work_coverage,
        segments=_segments(message.segments),
        regions=_regions(message.regions),
        name=message.name,
    )


def answer_from_message(message: match_pb2.MatchResponse) -> types.Answer:
    """Return the value."""
    return types.Answer(
        action=action_from_message(message.action),
        reasons=tuple(
            types.Reason(code=reason.code, text=reason.text, work=reason.work or None)
            for reason in message.reasons
        ),
        matches=tuple(match_from_message(match) for match in message.matches),
        sequence=message.sequence,
        partial=message.partial,
        partial_reasons=tuple(message.partial_reasons),
        policy_revision=message.policy_revision,
        modality=modality_from_message(message.modality),
        sha256=message.sha256 or None,
        request_id=message.request_id,
        created_at=moment(message.create_time),
        part_count=message.part_count,
    )


def comparison_from_message(message: match_pb2.CompareMediaResponse) -> types.Comparison:
    """Return the value."""
    return types.Comparison(
        probability=message.probability,
        signals=_signals(message.signals),
        segments=_segments(message.segments),
        regions=_regions(message.regions),
        query_coverage=message.query_coverage,
        work_coverage=message.work_coverage,
        explanation=tuple(message.explanation),
    )


def index_state_from_message(message: match_pb2.IndexState) -> types.IndexState:
    """Return the value."""
    return types.IndexState(
        sequence=message.sequence,
        committed_sequence=message.committed_sequence,
        work_count=message.work_count,
        reference_count=message.reference_count,
        schemes=tuple(
            types.SchemeState(
                scheme=scheme.scheme,
                modality=modality_from_message(scheme.modality),
                dim=scheme.dim,
                metric=scheme.metric,
                span_unit=scheme.span_unit,
                descriptor_count=scheme.descriptor_count,
                delta_count=scheme.delta_count,
                tombstone_count=scheme.tombstone_count,
                snapshot_sequence=scheme.snapshot_sequence,
                resident_bytes=scheme.resident_bytes,
            )
            for scheme in message.schemes
        ),
        disk_bytes=message.disk_bytes,
        max_inline_bytes=message.max_inline_bytes,
        max_media_bytes=message.max_media_bytes,
        version=message.version,
        evidence_key=message.evidence_key,
    )


def import_progress_from_message(
    message: work_pb2.ImportWorksMetadata, *, done: bool
) -> types.ImportProgress:
    """Return the value."""
    return types.ImportProgress(
        done=done,
        total=message.total_count,
        created=message.created_count,
        skipped=message.skipped_count,
        failed=message.failed_count,
    )


def import_result_from_message(message: work_pb2.ImportWorksResponse) -> types.ImportResult:
    """Return the value."""
    return types.ImportResult(
        created=message.created_count,
        skipped=message.skipped_count,
        failed=message.failed_count,
        errors=tuple(
            types.ImportRowError(
                row=row.row,
                path=row.path,
                external_id=row.external_id or None,
                error=status.from_status(row.error),
            )
            for row in message.errors
        ),
    )


def _short(name: str) -> str:
    """``ACTION_BLOCK`` → ``block``."""
    return name.split("_", 1)[1].lower()


def _signals(messages: Iterable[match_pb2.Signal]) -> Mapping[str, float]:
    return {signal.name: signal.value for signal in messages}


def _segments(messages: Iterable[match_pb2.Segment]) -> tuple[types.Segment, ...]:
    return tuple(
        types.Segment(
            query_start=segment.query_start,
            query_end=segment.query_end,
            work_start=segment.work_start,
            work_end=segment.work_end,
            speed=segment.speed,
            unit=segment.unit,
            pitch_cents=segment.pitch_cents,
            region=_box(segment.region) if segment.HasField("region") else None,
            content=segment.content,
        )
        for segment in messages
    )


def _regions(messages: Iterable[match_pb2.RegionPair]) -> tuple[types.Region, ...]:
    return tuple(
        types.Region(
            query=_box(pair.query), work=_box(pair.work), transform=pair.transform, matrix=tuple(pair.matrix)
        )
        for pair in messages
    )


def _box(message: match_pb2.Box) -> types.Box:
    return types.Box(message.left, message.top, message.right, message.bottom)


def timestamp(moment: datetime | None, field: str) -> Timestamp | None:
    """Return the message; None stays None.

    Raises:
        InvalidRequestError: If the moment has no time zone: it would be a guess.
    """
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise InvalidRequestError(f"{field}: has no time zone; use datetime(…, tzinfo=UTC)")
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def moment(message: Timestamp) -> datetime:
    """Return the value, in UTC."""
    return message.ToDatetime(tzinfo=UTC)
