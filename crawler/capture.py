"""Captures: evidence of a medium, as one WARC 1.1 file. `copyhound.evidence` describes and checks it."""

import hashlib
import io
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from typing import Any, BinaryIO, Final
from uuid import UUID

from warcio.recordloader import ArcWarcRecord
from warcio.statusandheaders import StatusAndHeaders, StatusAndHeadersParser
from warcio.warcwriter import WARCWriter

from copyhound.evidence import FORMAT, MANIFEST_TYPE, TOKEN_TYPE, chained, token_id
from crawler.exchanges import Exchange
from crawler.rendering import Rendering

SOFTWARE: Final[Mapping[str, str]] = {
    name: metadata.version(name) for name in ("copyhound", "scrapy", "twisted", "warcio", "lxml")
} | {"python": platform.python_version(), "system": platform.platform()}
"""What made a capture, by name and version."""


@dataclass(frozen=True, slots=True)
class RobotsVerdict:
    """What robots.txt said of a URL.

    Attributes:
        url: Of the robots.txt; empty: it was not asked.
        status: Its HTTP status; 0: no answer.
        sha256: Of its body, hexadecimal; empty: none.
        fetched_at: UTC, RFC 3339; empty: not fetched.
        verdict: ``allowed``, ``disallowed``, ``no rules`` (there is none), ``unreachable`` (which forbids),
            or ``ignored`` (the setting `respect_robots` is off).
    """

    url: str = ""
    status: int = 0
    sha256: str = ""
    fetched_at: str = ""
    verdict: str = "ignored"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What goes into one capture.

    Attributes:
        capture_id: Its id.
        run: The run that made it.
        crawler: Who made it.
        place_id: The list's place that led there.
        page: The exchange that brought the page; None: no page, or it was too large to keep.
        page_url: The page that named the medium; empty: none did.
        page_title: Its title.
        media_url: Where the medium lies, after redirects; of a stream, its playlist.
        found_as: How the page named the medium.
        context: What the page says about it.
        uploader: Who put it there, as the page says; empty: it says nothing.
        hops: The exchanges before the medium's own: redirects and playlists.
        exchanges: Those that brought the medium, in order: one, or the pieces of a stream.
        contents: The medium's bytes for each of `exchanges`, unpacked; the same object as its body if it was
            not packed.
        content_type: As the server named it.
        robots: What robots.txt said of the medium's URL.
        rendering: How the page looked in a browser; None: it was not rendered.
    """

    capture_id: UUID
    run: str
    crawler: str
    place_id: str
    page: Exchange | None
    page_url: str
    page_title: str
    media_url: str
    found_as: str
    context: str
    hops: Sequence[Exchange]
    exchanges: Sequence[Exchange]
    contents: Sequence[bytes]
    content_type: str
    robots: RobotsVerdict
    rendering: Rendering | None = None
    uploader: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """A capture without its time stamp.

    Attributes:
        size: Bytes so far.
        digest: SHA-256 of the file so far, to be gone on with.
        seal: What a time stamp is asked for.
        content_sha256: Of the content.
        content_ranges: Where in the file it lies.
        sealed_at: When the manifest was written, UTC.
    """

    size: int
    digest: Any
    seal: bytes
    content_sha256: bytes
    content_ranges: tuple[tuple[int, int], ...]
    sealed_at: datetime


class _Tee:
    """Passes bytes on, and digests them: all, and those of one record."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.whole = hashlib.sha256()
        self.record = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Write."""
        self._file.write(data)
        self.whole.update(data)
        self.record.update(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        """Flush nothing: the caller syncs the file when it is whole."""


@dataclass(slots=True)
class _Writer:
    """Writes the records of one capture, and lists them."""

    out: _Tee
    warc: Any
    entries: list[dict[str, Any]] = field(default_factory=list)
    chain: bytes = bytes(32)

    def record(
        self,
        kind: str,
        block: bytes,
        *,
        target: str = "",
        content_type: str = "",
        head: bytes = b"",
        at: datetime | None = None,
        extra: Mapping[str, str] | None = None,
        listed: bool = True,
        identity: str = "",
    ) -> tuple[str, int]:
        """Write a record; return its id and where its block's payload begins."""
        identity = identity or StatusAndHeadersParser.make_warc_id()
        payload_digest = f"sha256:{hashlib.sha256(block).hexdigest()}"
        whole = hashlib.sha256(head)
        whole.update(block)
        headers = [
            ("WARC-Type", kind),
            ("WARC-Record-ID", identity),
            ("WARC-Date", _warc_date(at or datetime.now(UTC))),
            *((("WARC-Target-URI", target),) if target else ()),
            *(extra or {}).items(),
            ("WARC-Payload-Digest", payload_digest),
            ("WARC-Block-Digest", f"sha256:{whole.hexdigest()}"),
            ("Content-Type", content_type),
        ]
        # Made without `create_warc_record`, which would take the HTTP head apart and spell it anew.
        record = ArcWarcRecord(
            "warc",
            kind,
            StatusAndHeaders("", headers, protocol="WARC/1.1"),
            io.BytesIO(head + block),
            None,
            content_type,
            len(head) + len(block),
        )
        record.payload_length = record.length
        start = self.out.size
        self.out.record = hashlib.sha256()
        self.warc._write_warc_record(self.out, record)  # noqa: SLF001  `write_record` wants a file of its own
        digest = self.out.record.digest()
        self.chain = chained(self.chain, digest)
        if listed:
            self.entries.append(
                {
                    "id": identity,
                    "type": kind,
                    "target": target,
                    "offset": start,
                    "length": self.out.size - start,
                    "sha256": digest.hex(),
                    "chain": self.chain.hex(),
                }
            )
        return identity, self.out.size - 4 - len(block)

    def exchange(self, exchange: Exchange) -> tuple[str, int]:
        """Write request and response; return the response's id and where its body begins."""
        extra = {"WARC-IP-Address": exchange.address} if exchange.address else {}
        response, body = self.record(
            "response",
            exchange.body,
            target=exchange.url,
            content_type="application/http; msgtype=response",
            head=exchange.response_head,
            at=exchange.received_at,
            extra=extra,
        )
        self.record(
            "request",
            b"",
            target=exchange.url,
            content_type="application/http; msgtype=request",
            head=exchange.request_head,
            at=exchange.sent_at,
            extra={**extra, "WARC-Concurrent-To": response},
        )
        return response, body


def _warc_date(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def write_capture(file: BinaryIO, evidence: Evidence) -> Written:
    """Write a capture, without its time stamp, to a file that is empty."""
    out = _Tee(file)
    writer = _Writer(out, WARCWriter(out, gzip=False, warc_version="1.1"))
    info = {"software": f"copyhound/{SOFTWARE['copyhound']}", "format": "WARC File Format 1.1", **SOFTWARE}
    writer.record(
        "warcinfo",
        "".join(f"{name}: {value}\r\n" for name, value in info.items()).encode(),
        content_type="application/warc-fields",
        extra={"WARC-Filename": f"{evidence.capture_id}.warc"},
    )
    page = writer.exchange(evidence.page)[0] if evidence.page else ""
    shown = _write_rendering(writer, evidence, page)
    for exchange in evidence.hops:
        writer.exchange(exchange)
    ranges: list[tuple[int, int]] = []
    digest = hashlib.sha256()
    for exchange, content in zip(evidence.exchanges, evidence.contents, strict=True):
        response, offset = writer.exchange(exchange)
        digest.update(content)
        start = offset
        if content is not exchange.body and content != exchange.body:
            _, start = writer.record(
                "conversion",
                content,
                target=exchange.url,
                content_type=evidence.content_type or "application/octet-stream",
                extra={"WARC-Refers-To": response},
            )
        if content:
            ranges.append((start, len(content)))
    manifest = _manifest(evidence, writer, ranges, digest.hexdigest(), sum(map(len, evidence.contents)))
    identity, sealed_at = StatusAndHeadersParser.make_warc_id(), datetime.now(UTC)
    manifest |= shown | {"record": {"id": identity, "date": _warc_date(sealed_at)}}
    writer.record(
        "metadata",
        json.dumps(manifest, indent=1, ensure_ascii=True).encode(),
        target=evidence.media_url,
        content_type=MANIFEST_TYPE,
        at=sealed_at,
        listed=False,
        identity=identity,
    )
    return Written(out.size, out.whole, writer.chain, digest.digest(), tuple(ranges), sealed_at)


def _write_rendering(writer: _Writer, evidence: Evidence, page: str) -> dict[str, Any]:
    """Write how the page looked; return what the manifest says about it.

    Args:
        writer: Of the capture.
        evidence: What goes in; a document that is the content itself comes later.
        page: Id of the record of the page's response; empty: none.
    """
    rendering = evidence.rendering
    if rendering is None:
        return {}
    rendered = rendering.rendered
    at = rendered.taken_at
    said: dict[str, Any] = {
        "rendered_from": [
            {
                "url": load.url,
                "for": load.kind,
                **({"status": load.status, "sha256": load.sha256} if load.status else {}),
                **({"refused": load.reason} if load.reason else {}),
            }
            for load in rendering.loads
        ]
    }
    if rendered.dom and rendered.dom not in evidence.contents:
        record, _ = writer.record(
            "conversion",
            rendered.dom,
            target=rendering.url,
            content_type="text/html; charset=utf-8",
            at=at,
            extra={"WARC-Refers-To": page} if page else {},
        )
        said["dom"] = {
            "record": record,
            "bytes": len(rendered.dom),
            "sha256": hashlib.sha256(rendered.dom).hexdigest(),
        }
    shot = rendered.screenshot
    if shot is not None:
        record, _ = writer.record(
            "resource", shot.image, target=f"urn:fullPage:{rendering.url}", content_type="image/jpeg", at=at
        )
        said["screenshot"] = {
            "record": record,
            "url": rendering.url,
            "type": "image/jpeg",
            "bytes": len(shot.image),
            "sha256": hashlib.sha256(shot.image).hexdigest(),
            "taken_at": _warc_date(at),
            "viewport": list(rendered.viewport),
            "pixels": [shot.width, shot.height],
            "whole": shot.whole,
            "complete": rendered.complete,
            "software": rendered.software,
        }
    return said


def token_record(token: bytes, written: Written, media_url: str) -> bytes:
    """Return the record that holds an RFC 3161 time-stamp response, to be appended to a capture.

    Its head follows from the capture, so that it cannot be altered either.
    """
    buffer = io.BytesIO()
    out = _Tee(buffer)
    _Writer(out, WARCWriter(out, gzip=False, warc_version="1.1")).record(
        "resource",
        token,
        target=media_url,
        content_type=TOKEN_TYPE,
        at=written.sealed_at,
        extra={"WARC-Seal": written.seal.hex()},
        identity=token_id(written.seal),
    )
    return buffer.getvalue()


def _manifest(
    evidence: Evidence, writer: _Writer, ranges: Sequence[tuple[int, int]], digest: str, size: int
) -> dict[str, Any]:
    every = [*((evidence.page,) if evidence.page else ()), *evidence.hops, *evidence.exchanges]
    certificates = {e.fingerprint: e.certificate for e in every if e.fingerprint}
    return {
        "format": FORMAT,
        "capture": str(evidence.capture_id),
        "run": evidence.run,
        "place": evidence.place_id,
        "crawler": evidence.crawler,
        "captured_at": _warc_date(evidence.exchanges[-1].received_at),
        "media_url": evidence.media_url,
        "requested_url": every[1 if evidence.page else 0].url,
        "found": {
            "page_url": evidence.page_url,
            "page_title": evidence.page_title,
            "as": evidence.found_as,
            "context": evidence.context,
            **({"uploader": evidence.uploader} if evidence.uploader else {}),
        },
        "content": {
            "type": evidence.content_type,
            "bytes": size,
            "sha256": digest,
            "ranges": [list(part) for part in ranges],
        },
        "connections": [
            {
                "url": e.url,
                "address": e.address,
                "status": e.status,
                "sent_at": _warc_date(e.sent_at),
                "received_at": _warc_date(e.received_at),
                **({"certificate_sha256": e.fingerprint} if e.fingerprint else {}),
            }
            for e in every
        ],
        "certificates": certificates,
        "robots": {
            "url": evidence.robots.url,
            "status": evidence.robots.status,
            "sha256": evidence.robots.sha256,
            "fetched_at": evidence.robots.fetched_at,
            "verdict": evidence.robots.verdict,
        },
        "software": dict(SOFTWARE),
        "records": writer.entries,
    }
