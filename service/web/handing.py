"""Reports and cases handed over: as JSON, as a page to be printed, as PDF, as a signed bundle."""

import asyncio
import json
from typing import Final

from starlette.responses import HTMLResponse, Response, StreamingResponse

from service.blobs import in_threads
from service.evidence import CONTENT_SECURITY_POLICY, Scope, Wish
from service.web.call import Call

_NAMES: Final = {"json": "application/json", "pdf": "application/pdf"}


async def printed(call: Call) -> Response:
    """A page to be printed."""
    html = await asyncio.to_thread(call.parts.bundler.page, call.actor, _wish(call))
    return HTMLResponse(html, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})


async def document(call: Call) -> Response:
    """The same for programs."""
    wish = _wish(call)
    values = await asyncio.to_thread(call.parts.bundler.document, call.actor, wish)
    return _attached(json.dumps(values, ensure_ascii=False, indent=1).encode(), "json", wish)


async def pdf(call: Call) -> Response:
    """The same as PDF."""
    wish = _wish(call)
    return _attached(await asyncio.to_thread(call.parts.bundler.pdf, call.actor, wish), "pdf", wish)


async def bundle(call: Call) -> Response:
    """All evidence in one signed file; its captures' custody notes that it was handed over."""
    wish = _wish(call, with_reference=bool(call.field("with_reference")))
    made = await call.parts.bundler.export(call.actor, wish)
    headers = {
        "Content-Disposition": f'attachment; filename="{made.filename}"',
        "Content-Length": str(made.byte_count),
    }
    return StreamingResponse(in_threads(made.pieces()), headers=headers, media_type="application/zip")


def _wish(call: Call, *, with_reference: bool = True) -> Wish:
    """What the address names, in the visitor's language."""
    scope = Scope.CASE if "case" in call.request.path_params else Scope.REPORT
    kind = scope.removesuffix("s")
    return Wish(scope, call.path_id(kind, kind), call.preferences.language, with_reference)


def _attached(content: bytes, kind: str, wish: Wish) -> Response:
    filename = f"{wish.name.replace('s/', '-')}.{kind}"
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return Response(content, headers=headers, media_type=_NAMES[kind])
