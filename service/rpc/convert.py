"""Wire to domain and back: the only place where the two meet. What comes in is checked here.

Functions named `read_…` take messages and raise InvalidRequestError with the field's path; functions named
`…_message` make messages.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from copyhound.v1 import fingerprint_pb2, match_pb2, work_pb2
from indexers import registry
from indexers.errors import FingerprintError
from indexers.fingerprint import Fingerprint, Metric
from indexers.modality import AlignedRegion, AlignedSegment, Box, MediaLimits, Role
from service.domain import (
    CONTAINER,
    Action,
    Licence,
    Match,
    MatchReport,
    NewReference,
    NewWork,
    PartCount,
    PartMatch,
    Policy,
    Reference,
    Work,
    WorkChange,
)
from service.errors import InvalidRequestError
from service.matcher import Comparison, Query

MAX_CHUNK_BYTES = 1024 * 1024
_EPOCH = datetime.fromtimestamp(0, UTC)
_SECOND = timedelta(seconds=1)
_MAX_PAGE = 1_000
_LIMITS = MediaLimits()
"""What a fingerprint may describe."""
_MAX_TERRITORIES = 250
"""There are 249 ISO 3166-1 alpha-2 codes."""
_SHOWN_CHARACTERS = 100
"""Of a wrong value, in the error that refuses it."""
_SHA256_BYTES = 32
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Control characters but tab and line ends."""
_WORK, _REFERENCE, _OPERATION = "works/", "/references/", "operations/"
_MODALITIES = {
    fingerprint_pb2.MODALITY_IMAGE: "image",
    fingerprint_pb2.MODALITY_AUDIO: "audio",
    fingerprint_pb2.MODALITY_VIDEO: "video",
    fingerprint_pb2.MODALITY_TEXT: "text",
    fingerprint_pb2.MODALITY_CONTAINER: CONTAINER,
}
_MODALITY_CODES = {name: code for code, name in _MODALITIES.items()}


def read_modality(code: "fingerprint_pb2.Modality.ValueType", field: str) -> str | None:
    """Name of a modality; None: to be detected."""
    if code == fingerprint_pb2.MODALITY_UNSPECIFIED:
        return None
    if code not in _MODALITIES:
        raise InvalidRequestError(field, f"this server does not know modality {code}")
    return _MODALITIES[code]


def modality_code(name: str | None) -> "fingerprint_pb2.Modality.ValueType":
    """Code of a modality; unspecified for None."""
    return fingerprint_pb2.MODALITY_UNSPECIFIED if name is None else _MODALITY_CODES[name]


def read_text(value: str, field: str, most: int) -> str:
    """A text of at most `most` characters without control characters but tab and line ends."""
    if len(value) > most:
        raise InvalidRequestError(field, f"has {len(value)} characters; at most {most} are allowed")
    if _CONTROL.search(value):
        raise InvalidRequestError(field, "holds control characters; take them out")
    return value


def read_fraction(value: float, field: str) -> float:
    """A number in 0..1."""
    if math.isnan(value) or not 0.0 <= value <= 1.0:
        raise InvalidRequestError(field, f"must be a number from 0 to 1, not {value}")
    return value


def read_digest(value: bytes, field: str) -> bytes | None:
    """A SHA-256; None where it is empty."""
    if value and len(value) != _SHA256_BYTES:
        raise InvalidRequestError(field, f"a SHA-256 has 32 bytes, not {len(value)}")
    return value or None


def read_page_size(value: int, field: str, default: int) -> int:
    """A page size in 1..1000."""
    if value < 0:
        raise InvalidRequestError(field, f"must not be negative, but is {value}")
    return min(value or default, _MAX_PAGE)


def read_request_id(value: str) -> str:
    """A request id; may be empty."""
    return read_text(value, "request_id", 64)


def work_name(work_id: UUID) -> str:
    """Resource name of a work."""
    return f"{_WORK}{work_id}"


def reference_name(work_id: UUID, reference_id: UUID) -> str:
    """Resource name of a reference."""
    return f"{_WORK}{work_id}{_REFERENCE}{reference_id}"


def operation_name(operation_id: UUID) -> str:
    """Resource name of a long-running operation."""
    return f"{_OPERATION}{operation_id}"


def read_work_name(name: str, field: str) -> UUID:
    """Id in `works/{uuid}`."""
    return read_id(name, _WORK, field, "works/{uuid}")


def read_operation_name(name: str, field: str) -> UUID:
    """Id in `operations/{uuid}`."""
    return read_id(name, _OPERATION, field, "operations/{uuid}")


def read_reference_name(name: str, field: str) -> tuple[UUID, UUID]:
    """Work id and reference id in `works/{uuid}/references/{uuid}`."""
    form = "works/{uuid}/references/{uuid}"
    work, separator, reference = name.partition(_REFERENCE)
    if not separator:
        raise InvalidRequestError(field, f"must have the form {form}, not “{shown(name)}”")
    return read_id(work, _WORK, field, form), read_id(reference, "", field, form)


def read_id(name: str, prefix: str, field: str, form: str) -> UUID:
    """The id in a resource name that is a prefix and an id."""
    text = name.removeprefix(prefix)
    if name.startswith(prefix):
        try:
            found = UUID(text)
        except ValueError:
            pass
        else:
            if str(found) == text:  # each resource has one name, in lower case and with hyphens
                return found
    raise InvalidRequestError(field, f"must have the form {form}, not “{shown(name)}”")


def shown(value: str) -> str:
    """What of a wrong value an error repeats."""
    return value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"


def etag(revision: int) -> str:
    """Etag of a work's revision."""
    return f'"{revision}"'


def read_etag(value: str, field: str) -> int | None:
    """Revision in an etag; None where it is empty."""
    if not value:
        return None
    digits = value.removeprefix('"').removesuffix('"')
    if value != f'"{digits}"' or not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise InvalidRequestError(field, "is not an etag that this server gave; read the work again")
    return int(digits)


def timestamp(time: datetime) -> Timestamp:
    """A time on the wire."""
    since = time - _EPOCH
    return Timestamp(seconds=since // _SECOND, nanos=since.microseconds * 1000)


def read_time(message: Timestamp, field: str) -> datetime:
    """A time, UTC."""
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(field, f"is no time: {error}") from error


def read_territories(codes: Sequence[str], field: str) -> tuple[str, ...]:
    """ISO 3166-1 alpha-2 codes, in order, each once."""
    if len(codes) > _MAX_TERRITORIES:
        raise InvalidRequestError(field, f"has {len(codes)} codes; at most {_MAX_TERRITORIES} are allowed")
    found = []
    for i, code in enumerate(codes):
        if len(code) != 2 or not code.isascii() or not code.isalpha() or not code.isupper():
            raise InvalidRequestError(
                f"{field}[{i}]", f"“{shown(code)}” is no ISO 3166-1 alpha-2 code, such as FR"
            )
        found.append(code)
    return tuple(dict.fromkeys(found))


# Works


def read_new_work(message: work_pb2.Work, field: str) -> NewWork:
    """A work to be registered."""
    return NewWork(
        owner=read_owner(message.owner, f"{field}.owner"),
        external_id=read_text(message.external_id, f"{field}.external_id", 255) or None,
        title=read_text(message.title, f"{field}.title", 1000),
        labels=_read_labels(message.labels, f"{field}.labels"),
        policy=_read_policy(message.policy, f"{field}.policy"),
    )


def read_owner(value: str, field: str) -> str:
    """An owner's name, without white space around it."""
    owner = read_text(value, field, 128).strip()
    if not owner:
        raise InvalidRequestError(field, "is required: say whose works they are")
    return owner


_CHANGES: dict[str, Callable[[work_pb2.Work], dict[str, object]]] = {
    "external_id": lambda work: {"external_id": read_text(work.external_id, "work.external_id", 255)},
    "title": lambda work: {"title": read_text(work.title, "work.title", 1000)},
    "labels": lambda work: {"labels": _read_labels(work.labels, "work.labels")},
    "policy": lambda work: {"policy": _read_policy(work.policy, "work.policy")},
}


def read_work_change(message: work_pb2.Work, paths: Sequence[str]) -> WorkChange:
    """The fields of a work that are to change; an empty external id takes the id away."""
    unknown = [path for path in paths if path not in _CHANGES]
    if unknown:
        raise InvalidRequestError(
            "update_mask", f"“{shown(unknown[0])}” cannot change; these can: {', '.join(_CHANGES)}"
        )
    values: dict[str, object] = {}
    for path in dict.fromkeys(paths or _CHANGES):
        values |= _CHANGES[path](message)
    return WorkChange(**values)  # type: ignore[arg-type]


def _read_labels(labels: Mapping[str, str], field: str) -> dict[str, str]:
    if len(labels) > 64:
        raise InvalidRequestError(field, f"has {len(labels)} labels; at most 64 are allowed")
    found = dict(labels)
    for key, value in found.items():
        read_text(key, f"{field} key", 63)
        read_text(value, f"{field}[{key}]", 255)
    return found


def _read_action(code: int, field: str) -> Action:
    if code == work_pb2.ACTION_UNSPECIFIED:
        return Action.BLOCK
    try:
        return Action(code)
    except ValueError:
        raise InvalidRequestError(field, f"this server does not know action {code}") from None


def _read_policy(message: work_pb2.Policy, field: str) -> Policy:
    if len(message.licences) > 1000:
        raise InvalidRequestError(f"{field}.licences", "at most 1,000 licences are allowed")
    return Policy(
        action=_read_action(message.action, f"{field}.action"),
        min_probability=read_fraction(message.min_probability, f"{field}.min_probability") or None,
        territories=read_territories(message.territories, f"{field}.territories"),
        licences=tuple(
            _read_licence(licence, f"{field}.licences[{i}]") for i, licence in enumerate(message.licences)
        ),
        previews=not message.no_previews,
    )


def _read_licence(message: work_pb2.Licence, field: str) -> Licence:
    expires = message.HasField("expire_time")
    return Licence(
        uploader_token=read_text(message.uploader_token, f"{field}.uploader_token", 255),
        territories=read_territories(message.territories, f"{field}.territories"),
        expires_at=read_time(message.expire_time, f"{field}.expire_time") if expires else None,
        note=read_text(message.note, f"{field}.note", 500),
    )


def _licence_message(licence: Licence) -> work_pb2.Licence:
    return work_pb2.Licence(
        uploader_token=licence.uploader_token,
        territories=licence.territories,
        expire_time=None if licence.expires_at is None else timestamp(licence.expires_at),
        note=licence.note,
    )


def work_message(work: Work) -> work_pb2.Work:
    """A work, with its references where they are known."""
    return work_pb2.Work(
        name=work_name(work.id),
        owner=work.owner,
        external_id=work.external_id or "",
        title=work.title,
        labels=dict(work.labels),
        policy=work_pb2.Policy(
            action=action_code(work.policy.action),
            min_probability=work.policy.min_probability or 0.0,
            territories=work.policy.territories,
            licences=[_licence_message(licence) for licence in work.policy.licences],
            no_previews=not work.policy.previews,
        ),
        references=[reference_message(reference) for reference in work.references or ()],
        reference_count=work.reference_count,
        create_time=timestamp(work.created_at),
        update_time=timestamp(work.updated_at),
        etag=etag(work.revision),
        sequence=work.sequence,
    )


def reference_message(reference: Reference) -> work_pb2.Reference:
    """A reference."""
    return work_pb2.Reference(
        name=reference_name(reference.work_id, reference.id),
        filename=reference.filename,
        modality=modality_code(reference.modality),
        sha256=reference.sha256 or b"",
        byte_count=reference.byte_count,
        schemes=reference.schemes,
        create_time=timestamp(reference.created_at),
        container=""
        if reference.container_id is None
        else reference_name(reference.work_id, reference.container_id),
        part_counts=[
            work_pb2.PartCount(modality=modality_code(modality), count=count)
            for modality, count in sorted(reference.part_counts.items())
        ],
        lost=[work_pb2.LostStretch(start=start, end=end) for start, end in reference.lost],
    )


# Fingerprints


def read_fingerprint(message: fingerprint_pb2.Fingerprint, field: str, role: Role) -> Fingerprint:
    """A fingerprint, checked against its scheme, and against what one in this role may hold."""
    known = registry.schemes()
    if message.scheme not in known:
        raise InvalidRequestError(
            f"{field}.scheme", f"“{shown(message.scheme)}” is not known; use one of {', '.join(known)}"
        )
    channel = registry.channel(message.scheme)
    scheme, views = channel.scheme, channel.views_of(role)
    n, most = message.count, channel.rows_of(role) * registry.modality_of(scheme.id).pieces(_LIMITS)
    if not 1 <= n <= most:
        raise InvalidRequestError(f"{field}.count", f"must be 1 to {most} for a {role}, not {n}")
    row_bytes = scheme.columns * scheme.dtype.itemsize
    if len(message.descriptors) != n * row_bytes:
        raise InvalidRequestError(
            f"{field}.descriptors",
            f"{n} descriptors of {scheme.id} have {n * row_bytes} bytes, not {len(message.descriptors)}",
        )
    for name, length, wanted in (
        ("spans", len(message.spans), 2 * n),
        ("quality", len(message.quality), n),
        ("views", len(message.views), n),
        ("regions", len(message.regions), 4 * n),
    ):
        if length not in (0, wanted):
            raise InvalidRequestError(f"{field}.{name}", f"must be empty or {wanted} long, not {length}")
    if max(message.views, default=0) >= views:
        raise InvalidRequestError(f"{field}.views", f"the views of a {role} are 0 to {views - 1}")
    wire = np.dtype("u1") if scheme.metric is Metric.HAMMING else np.dtype("<f4")
    rows = np.frombuffer(message.descriptors, wire).reshape(n, scheme.columns)
    try:
        fingerprint = Fingerprint(
            scheme=scheme,
            descriptors=rows.astype(scheme.dtype),
            spans=np.array(message.spans or [0.0, 1.0] * n, np.float64).reshape(n, 2),
            quality=np.array(message.quality or [1.0] * n, np.float32),
            views=np.frombuffer(message.views or bytes(n), np.uint8).copy(),
            regions=np.array(message.regions, np.float32).reshape(n, 4) if message.regions else None,
        )
    except FingerprintError as error:
        raise InvalidRequestError(field, str(error)) from error
    if role is Role.REFERENCE:
        _check_distinct(fingerprint, field)
    return fingerprint


def _check_distinct(fingerprint: Fingerprint, field: str) -> None:
    """Refuse what describes the same moment in the same way twice: it would only crowd out others."""
    parts = [fingerprint.descriptors, fingerprint.spans]
    if fingerprint.regions is not None:
        parts.append(fingerprint.regions)
    rows = {b"".join(one.tobytes() for one in row) for row in zip(*parts, strict=True)}
    if len(rows) < len(fingerprint):
        raise InvalidRequestError(
            f"{field}.descriptors", "one span has the same descriptor twice; send it once"
        )


def read_fingerprints(
    message: fingerprint_pb2.FingerprintSet, field: str, role: Role, modality: str | None
) -> Query:
    """All fingerprints of one media item, of this modality unless it is None."""
    field_of_all = f"{field}.fingerprints"
    if not message.fingerprints:
        raise InvalidRequestError(field_of_all, "send at least one fingerprint")
    if len(message.fingerprints) > len(registry.schemes()):
        raise InvalidRequestError(field_of_all, "send one fingerprint for each scheme")
    found = [
        read_fingerprint(fingerprint, f"{field_of_all}[{i}]", role)
        for i, fingerprint in enumerate(message.fingerprints)
    ]
    schemes = {fingerprint.scheme.id for fingerprint in found}
    if len(schemes) < len(found):
        raise InvalidRequestError(field_of_all, "send one fingerprint for each scheme")
    described = registry.of_schemes(schemes)
    if described is None:
        raise InvalidRequestError(field_of_all, "all must be of one kind of media")
    query = Query(described.name, tuple(found), read_digest(message.sha256, f"{field}.sha256"))
    check_modality(query, modality, field_of_all)
    return query


def check_modality(query: Query, modality: str | None, field: str) -> None:
    """Check that what was given is of the kind of media that the caller named, if they named one."""
    if modality not in (None, query.modality):
        raise InvalidRequestError(
            field, f"is of modality {query.modality}, not {modality} as the request says"
        )


def read_reference(message: fingerprint_pb2.FingerprintSet, field: str) -> NewReference:
    """A reference given by its fingerprints alone."""
    query = read_fingerprints(message, field, Role.REFERENCE, None)
    return NewReference("", query.modality or "", query.sha256, 0, query.fingerprints)


# Answers


def action_code(action: Action) -> "work_pb2.Action.ValueType":
    """Code of an action."""
    return work_pb2.Action.ValueType(action.value)


def report_message(report: MatchReport, request_id: str) -> match_pb2.MatchResponse:
    """The answer to a query."""
    return match_pb2.MatchResponse(
        action=action_code(report.verdict.action),
        reasons=[
            match_pb2.Reason(
                code=reason.code,
                text=reason.text,
                work="" if reason.work_id is None else work_name(reason.work_id),
            )
            for reason in report.verdict.reasons
        ],
        matches=[_match_message(match) for match in report.matches],
        sequence=report.sequence,
        partial=bool(report.partial_reasons),
        partial_reasons=report.partial_reasons,
        policy_revision=report.verdict.policy_revision,
        modality=modality_code(report.modality),
        sha256=report.sha256 or b"",
        request_id=request_id,
        create_time=timestamp(report.created_at),
        part_count=report.part_count,
    )


def _match_message(match: Match) -> match_pb2.Match:
    return match_pb2.Match(
        work=work_name(match.work.id),
        reference=reference_name(match.work.id, match.reference.id),
        owner=match.work.owner,
        external_id=match.work.external_id or "",
        title=match.work.title,
        probability=match.probability,
        signals=signal_messages(match.signals),
        segments=[segment_message(segment) for segment in match.segments],
        regions=[region_message(region) for region in match.regions],
        query_coverage=match.query_coverage,
        work_coverage=match.work_coverage,
        action=action_code(match.action),
        licence=None if match.licence is None else _licence_message(match.licence),
        parts=[_part_message(match.work.id, part) for part in match.parts],
        part_counts=part_count_messages(match.part_counts),
    )


def part_count_messages(counts: Iterable[PartCount]) -> list[match_pb2.PartsFound]:
    """How many parts of a container match."""
    return [
        match_pb2.PartsFound(
            modality=modality_code(one.modality),
            query_found=one.query_found,
            query_count=one.query_count,
            work_found=one.work_found,
            work_count=one.work_count,
        )
        for one in counts
    ]


def _part_message(work_id: UUID, part: PartMatch) -> match_pb2.PartMatch:
    return match_pb2.PartMatch(
        query_part=part.name,
        modality=modality_code(part.modality),
        reference=reference_name(work_id, part.reference.id),
        filename=part.reference.filename,
        probability=part.probability,
        query_coverage=part.query_coverage,
        work_coverage=part.work_coverage,
        segments=[segment_message(segment) for segment in part.segments],
        regions=[region_message(region) for region in part.regions],
    )


def comparison_message(comparison: Comparison, explanation: Iterable[str]) -> match_pb2.CompareMediaResponse:
    """How two media items relate."""
    alignment = comparison.alignment
    if alignment is None:
        return match_pb2.CompareMediaResponse(explanation=explanation)
    return match_pb2.CompareMediaResponse(
        probability=comparison.probability,
        signals=signal_messages(alignment.signals),
        segments=[segment_message(segment) for segment in alignment.segments],
        regions=[region_message(region) for region in alignment.regions],
        query_coverage=alignment.query_coverage,
        work_coverage=alignment.work_coverage,
        explanation=explanation,
    )


def signal_messages(signals: Mapping[str, float]) -> list[match_pb2.Signal]:
    """Signals with their units."""
    units = {name: unit for one in registry.modalities() for name, unit in one.signal_units.items()}
    return [
        match_pb2.Signal(name=name, value=value, unit=units.get(name, "")) for name, value in signals.items()
    ]


def segment_message(segment: AlignedSegment) -> match_pb2.Segment:
    """A segment."""
    return match_pb2.Segment(
        query_start=segment.query[0],
        query_end=segment.query[1],
        work_start=segment.work[0],
        work_end=segment.work[1],
        speed=segment.speed,
        unit=segment.unit.value,
        pitch_cents=segment.pitch_cents,
        region=None if segment.region is None else _box_message(segment.region),
        content=segment.content,
    )


def region_message(region: AlignedRegion) -> match_pb2.RegionPair:
    """A pair of regions."""
    return match_pb2.RegionPair(
        query=_box_message(region.query),
        work=_box_message(region.work),
        transform=region.transform,
        matrix=region.matrix,
    )


def _box_message(box: Box) -> match_pb2.Box:
    return match_pb2.Box(left=box.left, top=box.top, right=box.right, bottom=box.bottom)
