"""What every answer carries, and which requests are not even looked at."""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
"""The content security policy of pages: everything from here, nothing inline."""

MEDIA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""That of media, should somebody open one by itself: nothing runs, nothing is loaded."""

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_MAX_BODY: Final = 1024 * 1024
_SAFE: Final = frozenset({"GET", "HEAD"})


class Guard:
    """Refuses requests of other sites and for other hosts, and adds the headers that keep browsers strict."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], secure: bool) -> None:
        """Wrap `app`.

        Args:
            app: What answers.
            hosts: Host names, with port where one is given, that requests may be for; empty: any. It keeps
                out pages that point a name of theirs at this address.
            secure: Whether browsers reach it by HTTPS.
        """
        self._app = app
        self._hosts = frozenset(hosts)
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        read = 0

        async def receive_bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > _MAX_BODY:
                raise HTTPException(413)  # longer than any form of ours
            return message

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", PAGE_POLICY)
                headers.setdefault("Cache-Control", "no-store")
                if self._secure:
                    headers.setdefault("Strict-Transport-Security", "max-age=31536000")
            await send(message)

        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        await self._app(scope, receive_bounded, send_guarded)

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        """What to say to a request that is not for us, or that another site makes a browser send."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").lower()
        if self._hosts and host not in self._hosts and host.rpartition(":")[0] not in self._hosts:
            return PlainTextResponse("this server does not go by that name", 421)
        if scope["method"] in _SAFE:
            return None
        origin = headers.get("origin")
        if headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"} or (
            origin is not None and urlsplit(origin).netloc.lower() != host
        ):
            return PlainTextResponse("this request comes from another site", 403)
        return None
