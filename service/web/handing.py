"""Reports handed over: as JSON, as a page to be printed, as PDF, as a signed bundle."""

import asyncio
import json
from typing import Final

from starlette.responses import HTMLResponse, Response, StreamingResponse

from service.blobs import in_threads
from service.evidence import CONTENT_SECURITY_POLICY, Wish
from service.web.call import Call

_NAMES: Final = {"json": "application/json", "pdf": "application/pdf"}


async def printed(call: Call) -> Response:
    """The report as a page to be printed."""
    report_id = call.path_id("report", "report")
    html = await asyncio.to_thread(
        call.parts.bundler.page, call.actor, report_id, call.preferences.language, with_reference=True
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


async def document(call: Call) -> Response:
    """The report as JSON."""
    report_id = call.path_id("report", "report")
    values = await asyncio.to_thread(
        call.parts.bundler.document, call.actor, report_id, call.preferences.language
    )
    text = json.dumps(values, ensure_ascii=False, indent=1)
    return _attached(text.encode(), "json", f"report-{report_id}.json")


async def pdf(call: Call) -> Response:
    """The report as PDF."""
    report_id = call.path_id("report", "report")
    content = await asyncio.to_thread(
        call.parts.bundler.pdf, call.actor, report_id, call.preferences.language, with_reference=True
    )
    return _attached(content, "pdf", f"report-{report_id}.pdf")


async def bundle(call: Call) -> Response:
    """All evidence in one signed file; its captures' custody notes that it was handed over."""
    wish = Wish(
        call.path_id("report", "report"),
        language=call.preferences.language,
        with_reference=bool(call.field("with_reference")),
    )
    made = await call.parts.bundler.export(call.actor, wish)
    headers = {
        "Content-Disposition": f'attachment; filename="{made.filename}"',
        "Content-Length": str(made.byte_count),
    }
    return StreamingResponse(in_threads(made.pieces()), headers=headers, media_type="application/zip")


def _attached(content: bytes, kind: str, filename: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return Response(content, headers=headers, media_type=_NAMES[kind])
