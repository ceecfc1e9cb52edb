"""A request as the handlers of pages see it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote
from uuid import UUID

from starlette.datastructures import URL, FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from service.catalogue import Catalogue
from service.errors import InvalidRequestError, NotFoundError
from service.evidence import Bundler
from service.language import LANGUAGES, Words, preferred
from service.previews import PreviewReader
from service.review import Desk
from service.reviewed import Actor
from service.store import Transaction, View
from service.web.render import render, wording
from service.web.visits import Visit, Visits

T = TypeVar("T")

BLURS: Final = ("marked", "all", "none")
"""What is blurred until it is asked for: works that are marked as sensitive, everything, nothing."""
THEMES: Final = ("auto", "light", "dark")
"""Colours: as the system has them, or one of both."""
MAX_FIELD: Final = 20_000
"""Most characters of a field of a form."""

_YEAR: Final = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Parts:
    """What the pages are made from.

    Attributes:
        secure: Whether browsers reach them by HTTPS.
        version: Of Copyhound.
    """

    catalogue: Catalogue
    desk: Desk
    previews: PreviewReader
    bundler: Bundler
    visits: Visits
    secure: bool
    version: str


@dataclass(frozen=True, slots=True)
class Preferences:
    """How a visitor wants the pages; kept in cookies of their browser.

    Attributes:
        language: One of `LANGUAGES`.
        blur: One of `BLURS`.
        theme: One of `THEMES`.
        keys: Whether single keys do things.
    """

    language: str
    blur: str
    theme: str
    keys: bool

    @classmethod
    def of(cls, request: Request) -> "Preferences":
        """Read them; what is missing or wrong is as by default."""

        def chosen(name: str, allowed: tuple[str, ...], default: str) -> str:
            value = request.cookies.get(f"copyhound_{name}", "")
            return value if value in allowed else default

        accepted = preferred(request.headers.get("accept-language", ""))
        return cls(
            language=chosen("language", tuple(LANGUAGES), accepted),
            blur=chosen("blur", BLURS, BLURS[0]),
            theme=chosen("theme", THEMES, THEMES[0]),
            keys=chosen("keys", ("on", "off"), "on") == "on",
        )


@dataclass(frozen=True, slots=True)
class Call:
    """A request, by somebody who is signed in or not.

    Attributes:
        visitor: Who; None: nobody is signed in.
        form: The fields of a form that was sent; empty otherwise.
        people: Who has which key, by the keys' ids.
    """

    request: Request
    parts: Parts
    visitor: Visit | None
    preferences: Preferences
    form: FormData
    people: Mapping[str, str]

    @property
    def visit(self) -> Visit:
        """Who makes it; only for handlers that need somebody who is signed in."""
        if self.visitor is None:
            raise AssertionError("this page is for visitors who are signed in")
        return self.visitor

    @property
    def actor(self) -> Actor:
        """Who reviews."""
        return self.visit.actor

    @property
    def words(self) -> Words:
        """The visitor's language."""
        return wording(self.preferences.language)

    @property
    def part_only(self) -> bool:
        """Whether a script asks, to put the answer into a page."""
        return self.request.headers.get("hx-request") == "true"

    async def read(self, reading: Callable[[View], T]) -> T:
        """Read one committed state, in a thread."""

        def work() -> T:
            with self.parts.catalogue.store.view() as view:
                return reading(view)

        return await asyncio.to_thread(work)

    async def write(self, writing: Callable[[Transaction], T]) -> T:
        """Change something, in the next commit."""
        return await self.parts.catalogue.write(writing)

    def path_id(self, name: str, kind: str) -> UUID:
        """An id of the address.

        Raises:
            NotFoundError: If it is none.
        """
        text = str(self.request.path_params[name])
        try:
            return UUID(text)
        except ValueError:
            raise NotFoundError(f"there is no {kind} {text[:64]}") from None

    def field(self, name: str) -> str:
        """A field of the form, without blanks around it; empty if it is missing.

        Raises:
            InvalidRequestError: If it is far too long.
        """
        value = self.form.get(name, "")
        text = value.strip() if isinstance(value, str) else ""
        if len(text) > MAX_FIELD:
            raise InvalidRequestError(name, f"has {len(text):,} characters; at most {MAX_FIELD:,} fit")
        # Line ends as people type them, not as forms send them.
        return text.replace("\r\n", "\n").replace("\x00", "")

    def page(self, template: str, values: Mapping[str, Any] | None = None, *, status: int = 200) -> Response:
        """A page from a template."""
        every = {
            "visit": self.visitor,
            "preferences": self.preferences,
            "here": self.request.url.path,
            "now": datetime.now(UTC),
            "version": self.parts.version,
            "people": self.people,
            "form_token": self.request.state.form_token if hasattr(self.request.state, "form_token") else "",
            **(values or {}),
        }
        return HTMLResponse(render(self.preferences.language, template, every), status)

    def go(self, path: str) -> Response:
        """Send the browser on to another page of ours."""
        return RedirectResponse(path, 303)

    def remember(self, response: Response, name: str, value: str, *, seconds: int = _YEAR) -> None:
        """Keep a value in a cookie that scripts cannot read."""
        response.set_cookie(
            f"copyhound_{name}",
            value,
            max_age=seconds,
            httponly=True,
            samesite="lax",
            secure=self.parts.secure,
        )

    def sign_in_path(self) -> str:
        """Where to sign in, to come back here afterwards."""
        url = self.request.url
        if self.request.method != "GET":  # back to the page with the form, not to what it was sent to
            url = URL(self.request.headers.get("referer", "/"))
        here = url.path + (f"?{url.query}" if url.query else "")
        return f"/sign-in?next={quote(local_path(here), safe='')}"


def local_path(text: str) -> str:
    """A path of ours to go on to; ``/`` for everything that could lead elsewhere."""
    if not text.startswith("/") or text.startswith(("//", "/\\")) or "\\" in text or len(text) > 4000:
        return "/"
    return text if text.isprintable() and " " not in text else "/"
