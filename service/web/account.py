"""Signing in and out, and how somebody wants the pages."""

import structlog
from starlette.responses import Response

from service.errors import (
    ForbiddenError,
    InvalidRequestError,
    QuotaExceededError,
    ServiceError,
    UnauthenticatedError,
)
from service.language import LANGUAGES
from service.web.call import BLURS, THEMES, Call, local_path
from service.web.naming import named
from service.web.visits import Visit

log = structlog.get_logger()


async def ask(call: Call) -> Response:
    """Ask who is there; who is signed in already goes on."""
    onward = local_path(call.request.query_params.get("next", "/"))
    if call.visitor is not None:
        return call.go(onward)
    return _form(call, onward)


async def sign_in(call: Call) -> Response:
    """Start a session."""
    onward = local_path(call.field("next") or "/")
    visits, client = call.parts.visits, call.request.client
    address = "unknown" if client is None else client.host
    try:
        if call.field("anonymous"):
            visit = await visits.come_in()
        else:
            visit = await visits.sign_in(call.field("key"), address)
    except (UnauthenticatedError, ForbiddenError, QuotaExceededError) as error:
        log.warning("sign-in refused", address=address, reason=error.reason)
        return _form(call, onward, error)
    log.info("signed in", key=visit.actor.id, address=address)
    if call.visitor is not None:
        await visits.end(call.visitor)
    response = call.go(onward)
    _set_session(call, response, visit)
    return response


async def sign_out(call: Call) -> Response:
    """End this session, or all of the key."""
    if call.field("everywhere"):
        await call.parts.visits.end_all(call.visit)
    else:
        await call.parts.visits.end(call.visit)
    response = call.go("/sign-in")
    response.delete_cookie(session_cookie(secure=call.parts.secure), path="/")
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


async def settings(call: Call) -> Response:
    """Show how the pages are wanted."""
    return call.page(
        "settings.html", {"names": named(call.words), "saved": "saved" in call.request.query_params}
    )


async def save_settings(call: Call) -> Response:
    """Remember how the pages are wanted, in this browser."""
    allowed = {"language": tuple(LANGUAGES), "blur": BLURS, "theme": THEMES, "keys": ("on", "off")}
    response = call.go(f"{local_path(call.field('next'))}" if call.field("next") else "/settings?saved=1")
    for name, values in allowed.items():
        value = call.field(name)
        if value and value not in values:
            raise InvalidRequestError(name, f"must be one of {', '.join(values)}")
        if value:
            call.remember(response, name, value)
    return response


def session_cookie(*, secure: bool) -> str:
    """Name of the cookie with the session's token; with HTTPS browsers tie it to this host alone."""
    return "__Host-copyhound_session" if secure else "copyhound_session"


def _set_session(call: Call, response: Response, visit: Visit) -> None:
    response.set_cookie(
        session_cookie(secure=call.parts.secure),
        visit.token,
        httponly=True,
        samesite="lax",  # a link in a mail leads to its case; forms carry a token besides
        secure=call.parts.secure,
        path="/",
    )


def _form(call: Call, onward: str, error: ServiceError | None = None) -> Response:
    status = {QuotaExceededError: 429, ForbiddenError: 403, UnauthenticatedError: 401}
    return call.page(
        "sign_in.html",
        {
            "onward": onward,
            "error": None if error is None else named(call.words).error(error),
            "detail": str(error or ""),
            "anonymous": call.parts.visits.allow_anonymous,
        },
        status=200 if error is None else status[type(error)],
    )
