"""The pages put together: addresses, who may see them, and what becomes of errors."""

import hmac
import secrets
from collections.abc import Awaitable, Callable, Collection
from typing import Final, TypeAlias
from urllib.parse import urlsplit

import structlog
from starlette.applications import Starlette
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from service.errors import NotFoundError, ServiceError
from service.web import account, cases, handing, media, places
from service.web.account import session_cookie
from service.web.call import Call, Parts, Preferences
from service.web.guard import Guard
from service.web.naming import named
from service.web.render import STATIC, static_version, wording
from service.web.visits import form_token

Handler: TypeAlias = Callable[[Call], Awaitable[Response]]
"""Answers a request."""

_STATUS: Final = {
    "INVALID_REQUEST": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "STALE": 409,
    "CASE_HELD": 409,
    "QUOTA_EXCEEDED": 429,
    "STORAGE_FULL": 507,
    "BUSY": 503,
}
_MOST_FIELDS: Final = 1200  # a batch names a thousand cases
_FORM_COOKIE: Final = "copyhound_form"

log = structlog.get_logger()


def site(parts: Parts, *, hosts: Collection[str]) -> ASGIApp:
    """Make the pages.

    Args:
        parts: What they are made from.
        hosts: Host names that requests may be for; empty: any.
    """

    def open_to_all(path: str, handler: Handler, method: str = "GET") -> Route:
        return Route(path, _endpoint(parts, handler, signed_in=False), methods=[method])

    def get(path: str, handler: Handler) -> Route:
        return Route(path, _endpoint(parts, handler), methods=["GET"])

    def post(path: str, handler: Handler) -> Route:
        return Route(path, _endpoint(parts, handler), methods=["POST"])

    routes: list[BaseRoute] = [
        open_to_all("/sign-in", account.ask),
        open_to_all("/sign-in", account.sign_in, "POST"),
        post("/sign-out", account.sign_out),
        get("/settings", account.settings),
        post("/settings", account.save_settings),
        get("/", places.dashboard),
        post("/suppress", places.suppress),
        get("/queue", cases.queue),
        post("/queue/next", cases.take_next),
        post("/queue/batch", cases.batch),
        post("/batches/{batch}/undo", cases.undo_batch),
        post("/views", cases.save_view),
        post("/views/{view}/delete", cases.delete_view),
        get("/cases/{case}", cases.case),
        post("/cases/{case}/decide", cases.decide),
        post("/cases/{case}/undo", cases.undo),
        post("/cases/{case}/lease", cases.lease),
        post("/cases/{case}/release", cases.release),
        post("/cases/{case}/comment", cases.comment),
        post("/cases/{case}/plan", cases.plan),
        get("/cases/{case}/thumbnail/{side:str}", media.thumbnail),
        get("/cases/{case}/print", handing.printed),
        get("/cases/{case}/json", handing.document),
        get("/cases/{case}/pdf", handing.pdf),
        post("/cases/{case}/bundle", handing.bundle),
        get("/reports/{report}/print", handing.printed),
        get("/reports/{report}/json", handing.document),
        get("/reports/{report}/pdf", handing.pdf),
        post("/reports/{report}/bundle", handing.bundle),
        get("/reports/{report}/{side:str}/{kind:str}", media.preview),
        get("/references/{reference}/{kind:str}", media.reference),
        get("/works", places.works),
        get("/works/{work}", places.work),
        get("/lists", places.lists),
        get("/lists/{list}", places.monitoring_list),
        get("/events", places.events),
        Mount(f"/static/{static_version()}", _Files(directory=STATIC)),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={HTTPException: _nothing_there(parts), Exception: _broken},
    )
    return Guard(app, hosts=hosts, secure=parts.secure)


class _Files(StaticFiles):
    """Style sheets and scripts: their address changes with them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer, and let browsers keep it."""
        response = await super().get_response(path, scope)
        if response.status_code in {200, 304}:
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


def _endpoint(
    parts: Parts, handler: Handler, *, signed_in: bool = True
) -> Callable[[Request], Awaitable[Response]]:
    """Let a handler answer: tell who asks, check forms, and turn errors into pages."""

    async def endpoint(request: Request) -> Response:
        visitor = await parts.visits.find(request.cookies.get(session_cookie(secure=parts.secure)))
        form = FormData()
        if request.method == "POST":
            form = await request.form(max_files=0, max_fields=_MOST_FIELDS)
        people = {} if visitor is None else await parts.visits.people()
        call = Call(request, parts, visitor, Preferences.of(request), form, people)
        if signed_in and visitor is None:
            return _ask_first(call)
        secret = visitor.token if visitor is not None else request.cookies.get(_FORM_COOKIE, "")
        if request.method == "POST" and not _comes_from_here(call, secret):
            if not signed_in:  # cookies were deleted, or the browser slept for long: ask again
                return RedirectResponse("/sign-in", 303)
            return _error(
                call, 403, call.words.text("This form is too old, or not ours. Go back and try again.")
            )
        if visitor is None and not secret:
            secret = secrets.token_urlsafe(32)
        request.state.form_token = form_token(secret)
        try:
            response = await handler(call)
        except ServiceError as error:
            return _refused(call, error)
        if visitor is None and request.method == "GET":
            response.set_cookie(
                _FORM_COOKIE, secret, httponly=True, samesite="strict", secure=parts.secure, max_age=24 * 3600
            )
        return response

    return endpoint


def _comes_from_here(call: Call, secret: str) -> bool:
    sent = call.form.get("form_token") or call.request.headers.get("x-copyhound-form", "")
    return (
        bool(secret)
        and isinstance(sent, str)
        and hmac.compare_digest(sent.encode(), form_token(secret).encode())
    )


def _ask_first(call: Call) -> Response:
    """Nobody is signed in, or the session has ended."""
    path = call.sign_in_path()
    if call.part_only:
        return Response(status_code=401, headers={"HX-Redirect": path})
    return RedirectResponse(path, 303)


def _refused(call: Call, error: ServiceError) -> Response:
    """Say what is wrong: with the request, or with us."""
    status, names = _STATUS.get(error.reason, 500), named(call.words)
    if status == 500:
        log.error("page failed", path=call.request.url.path, exc_info=error)
        return _error(call, status, names.error(ServiceError("")))
    if error.reason != "NOT_FOUND":
        log.info("refused", path=call.request.url.path, reason=error.reason)
    return _error(call, status, names.error(error), names.detail(error, call.people))


def _error(call: Call, status: int, message: str, detail: str = "") -> Response:
    if call.part_only:
        return PlainTextResponse(message, status)
    return call.page("error.html", {"status": status, "message": message, "detail": detail}, status=status)


def _nothing_there(parts: Parts) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status != 404 or urlsplit(str(request.url)).path.startswith("/static/"):
            return PlainTextResponse(str(status), status)

        async def missing(call: Call) -> Response:
            raise NotFoundError(f"there is no page {call.request.url.path[:200]}")

        return await _endpoint(parts, missing)(request)

    return answer


async def _broken(request: Request, error: Exception) -> Response:
    """Something is wrong with us: say so without saying more than that."""
    log.error("page failed", path=request.url.path, exc_info=error)
    names = named(wording(Preferences.of(request).language))
    return PlainTextResponse(names.error(ServiceError("")), 500)
