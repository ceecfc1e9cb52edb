"""Previews by HTTP: whole or by ranges, never a whole file in memory."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

from service.blobs import in_threads
from service.errors import NotFoundError
from service.previewed import Kind, Subject
from service.previews import OpenPreview
from service.web import matter
from service.web.call import Call
from service.web.cases import part_of, subject_of, visible_report
from service.web.guard import MEDIA_POLICY
from service.web.places import visible_reference

_OPEN_BYTES: Final = 1024 * 1024
"""What is sent of a range without an end: about a minute and a half of a film."""
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})$")


async def preview(call: Call) -> Response:
    """A file of a report's work, or of what was found."""
    report = await visible_report(call, call.path_id("report", "report"))
    pair = matter.pair_of(report, part=part_of(call.request.query_params.get("part", "")))
    subject: Subject = pair.work if _side(call) == "work" else pair.found
    return await _open(call, subject, _kind(call))


async def thumbnail(call: Call) -> Response:
    """A small picture of a case: of the work, or of what was found."""
    subject = await subject_of(call, call.path_id("case", "case"), _side(call))
    if subject is None:
        raise NotFoundError("the case has no reports")
    return await _open(call, subject, Kind.THUMBNAIL)


async def reference(call: Call) -> Response:
    """A file of a reference's preview."""
    found = await visible_reference(call, call.path_id("reference", "reference"))
    return await _open(call, found.id, _kind(call))


def _side(call: Call) -> str:
    side = str(call.request.path_params["side"])
    if side not in {"work", "found"}:
        raise NotFoundError("there is no such side")
    return side


def _kind(call: Call) -> Kind:
    try:
        return Kind(call.request.path_params["kind"])
    except ValueError:
        raise NotFoundError("there is no such kind of preview") from None


async def _open(call: Call, subject: Subject, kind: Kind) -> Response:
    opened = await asyncio.to_thread(call.parts.previews.open, subject, kind)
    return _answer(call, opened, kind)


def _answer(call: Call, opened: OpenPreview, kind: Kind) -> Response:
    file = opened.file
    etag = f'"{file.sha256.hex()}"'
    headers = {
        "Accept-Ranges": "bytes",
        "ETag": etag,
        # A page's address holds the digest; whoever signs out leaves no copies in shared caches.
        "Cache-Control": "private, max-age=3600",
        "Content-Disposition": f'inline; filename="{kind}.{_suffix(file.media_type)}"',
        "Content-Security-Policy": MEDIA_POLICY,
        "Vary": "Cookie",
    }
    if call.request.headers.get("if-none-match") == etag:
        opened.close()
        return Response(status_code=304, headers=headers)
    wanted = _read_range(call.request.headers, etag, file.byte_count)
    if wanted is None:
        start, end, status = 0, file.byte_count, 200
    else:
        start, end = wanted
        status = 206
        if start >= end:
            opened.close()
            headers["Content-Range"] = f"bytes */{file.byte_count}"
            return Response(status_code=416, headers=headers)
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.byte_count}"
    headers["Content-Length"] = str(end - start)
    if call.request.method == "HEAD":
        opened.close()
        return Response(status_code=status, headers=headers, media_type=file.media_type)
    return StreamingResponse(_pieces(opened, start, end - start), status, headers, file.media_type)


def _read_range(headers: Headers, etag: str, length: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None: the whole file. Nothing in between: it cannot be had.

    Of a range without an end, `_OPEN_BYTES` at most: players ask for all that follows, and turn away as soon
    as somebody jumps elsewhere. What was sent until then would be lost. They ask again for what comes next,
    as RFC 9110, section 15.3.7, has them.
    """
    condition = headers.get("if-range")
    found = _RANGE.fullmatch(headers.get("range", ""))
    if found is None or (condition is not None and condition != etag):
        return None
    first, last = found.groups()
    if first:
        start = int(first)
        end = min(length, int(last) + 1 if last else start + _OPEN_BYTES)
        return start, end
    if not last:
        return None
    return max(0, length - int(last)), length


async def _pieces(opened: OpenPreview, start: int, length: int) -> AsyncIterator[bytes]:
    """Read in threads, as fast as the browser takes it."""
    with opened:
        async for piece in in_threads(opened.pieces(start, length)):
            yield piece


def _suffix(media_type: str) -> str:
    kind, _, name = media_type.partition(";")[0].partition("/")
    return {"jpeg": "jpg", "plain": "txt", "octet-stream": "bin"}.get(name, name) if kind else "bin"
