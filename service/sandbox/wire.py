"""What service and worker say to each other: length-prefixed JSON, followed by raw arrays.

The service trusts nothing that a worker says: a file may have taken it over. So there is no pickle, every
length is bounded before anything of that length is read, and every value is checked.
"""

import json
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from indexers import registry
from indexers.containers import MAX_DEPTH, Part
from indexers.errors import FeaturelessMediaError, MediaError, MediaLimitError, UnsupportedMediaError
from indexers.fingerprint import Fingerprint, Scheme, joined
from indexers.modality import MediaLimits, Role
from indexers.previews import Facts, Kind
from indexers.spans import pack as pack_spans
from indexers.spans import unpack as unpack_spans
from service.errors import UnreadableMediaError

PREFIX = struct.Struct("<II")
"""Length of the JSON header and of the payload that follows it."""

PROGRESS = struct.Struct("<d")
STATUS = struct.Struct("<i")
"""How a worker has ended: its exit status, negative for a signal."""

MAX_HEADER_BYTES = 64 * 1024
MAX_PAYLOAD_BYTES = 64 * 1024 * 1024
"""1.5 million PDQ descriptors, or five million keys of passages, with their spans."""

MAX_PIECE_BYTES = 1024 * 1024
"""Of a file of a preview."""

MOST_LOST: Final = 8
"""Stretches of a damaged media item that are told."""
MAX_MESSAGE_CHARACTERS = 1000
_LONGEST_NAME = 1000
_LONGEST_WORD = 40
"""Of what a worker calls things."""

READY = b"\x01"
"""What a worker sends once, when it can take requests."""
UNFIT = b"\x02"
"""What it sends instead, followed by the reason, when it cannot."""
GO_ON = b"\x01"
"""What the service says after a stage that is not the last: describe the next, with all of its views."""
ENOUGH = b"\x00"
"""The same: the answer is sure."""
CLOSER = b"\x02"
"""The same: describe the next. A byte with the number of views that are worth a closer look follows, and
their codes."""
ALL: Final = frozenset(range(255))
"""View codes, where all that can be described is wanted."""

SHOWN_AT_ONCE: Final = frozenset({"image", "text"})
"""Kinds of media whose previews are made while they are read for reference: they cost little beside it."""

Header: TypeAlias = dict[str, Any]


class WireError(Exception):
    """The other side said something that it must not say."""


class Failure(StrEnum):
    """Why a worker could not read an item; the values are reasons of UnreadableMediaError."""

    UNSUPPORTED = "MEDIA_UNSUPPORTED"
    DAMAGED = "MEDIA_DAMAGED"
    LIMIT = "MEDIA_LIMIT"
    FEATURELESS = "MEDIA_FEATURELESS"

    @classmethod
    def of(cls, error: MediaError | MemoryError) -> "Failure":
        """Classify an error of the indexers."""
        match error:
            case UnsupportedMediaError():
                return cls.UNSUPPORTED
            case MediaLimitError() | MemoryError():
                return cls.LIMIT
            case FeaturelessMediaError():
                return cls.FEATURELESS
            case _:
                return cls.DAMAGED


@dataclass(frozen=True, slots=True)
class Request:
    """One item to read; the file travels as a descriptor beside it.

    Attributes:
        modality: Its name; None: detect it.
        place: Where in the file, which is a container, the item is; None: it is the file.
        byte_count: Size of the item, as far as that is known: it decides how long reading it may take.
        show: Whether its preview is wanted after the answer, if it is one of `SHOWN_AT_ONCE`.
    """

    role: Role
    modality: str | None
    limits: MediaLimits
    place: tuple[int, ...] | None = None
    byte_count: int = 0
    show: bool = False


@dataclass(frozen=True, slots=True)
class ListRequest:
    """Asks what is in a container; the file travels as a descriptor beside it."""

    limits: MediaLimits


@dataclass(frozen=True, slots=True)
class PreviewRequest:
    """Asks for what people are shown of an item; the file travels as a descriptor beside it.

    Attributes:
        modality: Its name.
        place: As in `Request`.
        byte_count: As in `Request`.
        max_bytes: Of one file of the preview, about.
        patient: Whether the worker is to leave the processor to whoever else wants it, from now on.
    """

    modality: str
    limits: MediaLimits
    max_bytes: int
    place: tuple[int, ...] | None = None
    byte_count: int = 0
    patient: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """A piece of a file of a preview.

    Attributes:
        at: Where in the file it belongs, in bytes.
    """

    kind: Kind
    at: int
    piece: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """A file of a preview is complete; None: the preview is."""

    kind: Kind | None
    facts: Facts


@dataclass(frozen=True, slots=True)
class Listing:
    """What is in a container.

    Attributes:
        kind: What users call it, such as ``ZIP``.
        parts: In its order; at least one.
        left_out: How many entries are none, though they might, by why.
    """

    kind: str
    parts: tuple[Part, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The item cannot be read.

    Attributes:
        message: For people.
    """

    reason: Failure
    message: str


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A file of a preview, whole."""

    kind: Kind
    facts: Facts
    content: bytes


@dataclass(frozen=True, slots=True, eq=False)
class ReadMedia:
    """What a worker found in a media item, in one stage of describing it or in several.

    Attributes:
        modality: Such as ``image``.
        fingerprints: At most one for each scheme of the modality; none of a container.
        sha256: Digest of the file, 32 bytes. A worker takes that of parts of containers alone; empty: nobody
            has vouched for it yet (`vouched`).
        byte_count: Size of the file.
        decode_seconds: CPU seconds that a part's digest and decoding took.
        fingerprint_seconds: CPU seconds that fingerprinting took.
        more: Whether there is another stage.
        weight: Of a part of a container: how much it says; see `indexers.containers.worth`.
        lost: Where the media could not be read, in its span unit; at most `MOST_LOST` stretches.
        parts: Of a container: what it holds, each file once. No worker says so; see `service.containers`.
        shown: Its preview, or why there is none; None: it was not asked for, or is made later.
    """

    modality: str
    fingerprints: tuple[Fingerprint, ...]
    sha256: bytes
    byte_count: int
    decode_seconds: float
    fingerprint_seconds: float
    more: bool = False
    weight: float = 1.0
    lost: tuple[tuple[float, float], ...] = ()
    parts: tuple[tuple[Part, "ReadMedia"], ...] = ()
    shown: tuple[ShownFile, ...] | UnreadableMediaError | None = None

    def followed_by(self, later: "ReadMedia") -> "ReadMedia":
        """This stage and the next as one."""
        return replace(
            self,
            fingerprints=joined((*self.fingerprints, *later.fingerprints)),
            decode_seconds=self.decode_seconds + later.decode_seconds,
            fingerprint_seconds=self.fingerprint_seconds + later.fingerprint_seconds,
            more=later.more,
            lost=(*self.lost, *later.lost)[:MOST_LOST],
        )


def pack_go_on(closer: Collection[int]) -> bytes:
    """What the service says to go on: which views are worth a closer look, codes below 255."""
    return GO_ON if closer is ALL else CLOSER + bytes([len(closer), *sorted(closer)])


def pack(header: Header, payload: Sequence[bytes] = ()) -> bytes:
    """Return a message."""
    body = b"".join(payload)
    text = json.dumps(header, separators=(",", ":")).encode()
    return PREFIX.pack(len(text), len(body)) + text + body


def lengths(prefix: bytes | bytearray) -> tuple[int, int]:
    """Read the lengths of header and payload.

    Raises:
        WireError: If either is longer than any honest one.
    """
    header, payload = PREFIX.unpack(prefix)
    if header > MAX_HEADER_BYTES or payload > MAX_PAYLOAD_BYTES:
        raise WireError(f"a message of {header} + {payload} bytes")
    return header, payload


def pack_progress(seconds: float) -> bytes:
    """Return word of how much of a sound or film was read, which may come before an answer, as a message."""
    return PREFIX.pack(0, PROGRESS.size) + PROGRESS.pack(seconds)


def unpack_progress(payload: bytes | bytearray) -> float:
    """Read such a word.

    Raises:
        WireError: If it makes no sense.
    """
    if len(payload) != PROGRESS.size:
        raise WireError(f"{len(payload)} bytes that nothing describes")
    return _number(PROGRESS.unpack(payload)[0])


@lru_cache(maxsize=64)
def pack_request(request: Request | ListRequest | PreviewRequest) -> bytes:
    """Return a request as a message without payload."""
    return pack(asdict(request))


def unpack_request(text: bytes) -> Request | ListRequest | PreviewRequest:
    """Read a request; the service is trusted."""
    header = json.loads(text)
    limits = MediaLimits(**header["limits"])
    if "modality" not in header:
        return ListRequest(limits)
    place = None if header["place"] is None else tuple(header["place"])
    modality, byte_count = header["modality"], header["byte_count"]
    if "role" in header:
        return Request(Role(header["role"]), modality, limits, place, byte_count, header["show"])
    return PreviewRequest(modality, limits, header["max_bytes"], place, byte_count, patient=header["patient"])


def pack_refusal(error: MediaError | MemoryError) -> bytes:
    """Return an error as a message without payload."""
    text = str(error) or "reading it takes more memory than allowed: send a smaller file"
    return pack({"reason": Failure.of(error), "message": text[:MAX_MESSAGE_CHARACTERS]})


def pack_listing(kind: str, parts: Sequence[Part], left_out: Mapping[str, int]) -> bytes:
    """Return what is in a container as a message, whose payload lists the parts."""
    listed = [[part.name, part.modality, part.byte_count, part.place] for part in parts]
    text = json.dumps(listed, separators=(",", ":")).encode()
    return pack({"kind": kind, "left_out": dict(left_out)}, [text])


def unpack_listing(text: bytes, payload: bytes, request: ListRequest) -> Listing | Refusal:
    """Read a worker's answer to a request for a list.

    Raises:
        WireError: If anything about it is not as it must be.
    """
    with _checked():
        header = json.loads(text)
        if "reason" in header:
            return _refusal(header)
        parts = tuple(_part(*described) for described in json.loads(payload))
        if not 0 < len(parts) <= request.limits.max_parts:
            raise WireError(f"a container with {len(parts)} parts")
        left_out = {str(why)[:_LONGEST_WORD]: int(_number(n)) for why, n in header["left_out"].items()}
        return Listing(str(header["kind"])[:_LONGEST_WORD], parts, left_out)


def _part(name: object, modality: object, byte_count: object, place: Sequence[object]) -> Part:
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise WireError("a part's name that cannot be shown")
    if not 0 < len(place) <= MAX_DEPTH + 1 or not all(type(step) is int for step in place):
        raise WireError("a part that is nowhere")
    known = registry.by_name(str(modality)).name
    return Part(name, known, int(_number(byte_count)), tuple(int(str(step)) for step in place))


def pack_written(written: Written) -> bytes:
    """Return a piece of a file of a preview as a message."""
    return pack({"write": written.kind, "at": written.at}, [written.piece])


def pack_ended(ended: Ended) -> bytes:
    """Return the end of a file of a preview, or of all of it, as a message without payload."""
    return pack({"end": ended.kind, "facts": asdict(ended.facts)})


def unpack_preview(text: bytes, payload: bytes) -> Written | Ended | Refusal:
    """Read one message of a worker's answer to a request for a preview.

    Raises:
        WireError: If anything about it is not as it must be.
    """
    with _checked():
        header = json.loads(text)
        if "reason" in header:
            return _refusal(header)
        if "write" in header:
            if not 0 < len(payload) <= MAX_PIECE_BYTES:
                raise WireError(f"a piece of {len(payload)} bytes")
            return Written(Kind(header["write"]), int(_number(header["at"])), payload)
        return Ended(None if header["end"] is None else Kind(header["end"]), _facts(header["facts"]))


def pack_shown(files: Sequence[ShownFile]) -> bytes:
    """Return a whole preview as a message, whose payload is the files."""
    described = [
        {"kind": file.kind, "facts": asdict(file.facts), "byte_count": len(file.content)} for file in files
    ]
    return pack({"shown": described}, [file.content for file in files])


def unpack_shown(text: bytes, payload: bytes) -> tuple[ShownFile, ...] | Refusal:
    """Read a whole preview.

    Raises:
        WireError: If anything about it is not as it must be.
    """
    with _checked():
        header = json.loads(text)
        if "reason" in header:
            return _refusal(header)
        files = []
        at = 0
        for described in header["shown"]:
            end = at + int(_number(described["byte_count"]))
            kind, facts = Kind(described["kind"]), _facts(described["facts"])
            files.append(ShownFile(kind, facts, payload[at:end]))
            at = end
        if at != len(payload):
            raise WireError("bytes that nothing describes")
        return tuple(files)


def _facts(facts: Header) -> Facts:
    return Facts(
        width=_short(facts["width"]),
        height=_short(facts["height"]),
        seconds=float(_number(facts["seconds"])),
        characters=_short(facts["characters"]),
        whole=facts["whole"] is True,
    )


def _short(value: object) -> int:
    """A number that a column of the database holds."""
    number = int(_number(value))
    if number >= 2**31:
        raise WireError(f"{number} where a small number belongs")
    return number


def pack_media(media: ReadMedia) -> bytes:
    """Return an answer: spans and then arrays, in the order of `_arrays`, follow the header."""
    spans = [pack_spans(fingerprint.spans) for fingerprint in media.fingerprints]
    header = {
        "modality": media.modality,
        "sha256": media.sha256.hex(),
        "byte_count": media.byte_count,
        "decode_seconds": media.decode_seconds,
        "fingerprint_seconds": media.fingerprint_seconds,
        "more": media.more,
        "weight": media.weight,
        "lost": media.lost[:MOST_LOST],
        "fingerprints": [
            {
                "scheme": fingerprint.scheme.id,
                "count": len(fingerprint),
                "spans": len(packed),
                "regions": fingerprint.regions is not None,
            }
            for fingerprint, packed in zip(media.fingerprints, spans, strict=True)
        ],
    }
    payload = []
    for fingerprint, packed in zip(media.fingerprints, spans, strict=True):
        payload += [packed, *(array.tobytes() for array in _arrays(fingerprint))]
    return pack(header, payload)


def _arrays(fingerprint: Fingerprint) -> list[npt.NDArray[Any]]:
    arrays = [fingerprint.descriptors, fingerprint.quality, fingerprint.views]
    return arrays if fingerprint.regions is None else [*arrays, fingerprint.regions]


def unpack_answer(text: bytes, payload: bytes, request: Request, stage: int = 1) -> ReadMedia | Refusal:
    """Read a worker's answer to a request, the first or that of a later stage.

    Raises:
        WireError: If anything about it is not as it must be.
    """
    with _checked():
        header = json.loads(text)
        return _refusal(header) if "reason" in header else _media(header, memoryview(payload), request, stage)


def _refusal(header: Header) -> Refusal:
    return Refusal(Failure(header["reason"]), str(header["message"])[:MAX_MESSAGE_CHARACTERS])


@contextmanager
def _checked() -> Iterator[None]:
    """Turn whatever an answer that makes no sense leads to into a WireError."""
    try:
        yield
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        MediaError,
    ) as error:  # FingerprintError is a ValueError
        raise WireError(f"an answer that makes no sense: {error}") from error


def _media(header: Header, payload: memoryview, request: Request, stage: int) -> ReadMedia:
    modality = registry.by_name(header["modality"])
    if request.modality not in (None, modality.name):
        raise WireError(f"{modality.name} where {request.modality} was asked for")
    fingerprints = []
    at = 0
    names = [described["scheme"] for described in header["fingerprints"]]
    if (stage == 1 and not names) or len(set(names)) < len(names):
        raise WireError("not one fingerprint for each scheme")  # a later stage may have nothing to add
    for name, described in zip(names, header["fingerprints"], strict=True):
        channel = next((one for one in modality.channels if one.scheme.id == name), None)
        if channel is None:
            raise WireError("another scheme than the modality has")
        fingerprint, at = _fingerprint(channel.scheme, described, payload, at)
        fingerprints.append(fingerprint)
        most = channel.rows_of(request.role) * modality.pieces(request.limits)
        if fingerprint.views.max() >= channel.views_of(request.role) or len(fingerprint) > most:
            raise WireError("more views or descriptors than were asked for")
    if at != len(payload):
        raise WireError("bytes that nothing describes")
    return ReadMedia(
        modality=modality.name,
        fingerprints=tuple(fingerprints),
        sha256=_digest(header["sha256"], 0 if request.place is None else 32),
        byte_count=int(_number(header["byte_count"])),
        decode_seconds=_number(header["decode_seconds"]),
        fingerprint_seconds=_number(header["fingerprint_seconds"]),
        weight=_number(header["weight"]),
        lost=tuple((_number(start), _number(end)) for start, end in header["lost"][:MOST_LOST]),
        more=header["more"] is True and request.role is Role.QUERY and stage < len(modality.stages),
    )


def _fingerprint(scheme: Scheme, described: Header, payload: memoryview, at: int) -> tuple[Fingerprint, int]:
    """Read a fingerprint that starts at `at`; return it and where the next one starts."""
    count, columns = int(_number(described["count"])), scheme.columns
    start = at + int(_number(described["spans"]))
    spans = unpack_spans(payload[at:start], count)
    descriptors = np.frombuffer(payload, scheme.dtype, count * columns, start).reshape(count, columns)
    at = start + descriptors.nbytes
    quality = np.frombuffer(payload, np.float32, count, at)
    at += quality.nbytes
    views = np.frombuffer(payload, np.uint8, count, at)
    at += count
    regions = None
    if described["regions"]:
        regions = np.frombuffer(payload, np.float32, 4 * count, at).reshape(count, 4)
        at += regions.nbytes
    return Fingerprint(scheme, descriptors, spans, quality, views, regions), at


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise WireError(f"{value!r} where a number of 0 or more belongs")
    return value


def _digest(text: object, length: int) -> bytes:
    digest = bytes.fromhex(str(text))
    if len(digest) != length:
        raise WireError(f"a digest that is not {length} bytes long")
    return digest
