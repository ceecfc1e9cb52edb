"""Pages as a browser shows them: what one may ask for, what became of it, what is kept. No browser in here.

A browser of ours has no network. Whatever a page asks for is asked of `PageLoads`, which fetches it as the
crawler fetches everything, or says no.
"""

import asyncio
import hashlib
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol, Self
from urllib.parse import urlsplit

from crawler import urls
from crawler.extract import IMAGES, PLAYLISTS, Kind, Link, Medium, Page, extension

MAX_DOM: Final = 4 * 1024 * 1024
"""Largest rendered page that is read, in bytes of UTF-8."""
MAX_KEPT_DOM: Final = 512 * 1024
"""Largest rendered page that goes into captures."""
_AT_ONCE: Final = 6
"""Requests of one page at a time; each still waits for its host's turn."""
_SURE_BYTES: Final = 1024 * 1024
_MAX_LISTED: Final = 300
_FETCHED: Final = frozenset(("document", "stylesheet", "script", "image", "xhr", "fetch"))
"""What a page is put together from, by Chromium's names. Fonts only change how letters look; films and sounds
are media that the crawler fetches by itself; the rest tells the site about its reader."""
_REUSED: Final = frozenset(("document", "stylesheet", "script", "image"))
"""What is the same for every page of a run: scripts and styles, and pictures and frames, whose own turn
comes later. What scripts ask for is not."""
_DROPPED: Final = frozenset((
    "alt-svc", "connection", "content-disposition", "content-encoding", "content-length", "keep-alive",
    "link", "nel", "refresh", "report-to", "reporting-endpoints", "set-cookie", "strict-transport-security",
    "trailer", "transfer-encoding",
))  # fmt: skip
"""Headers of answers that a browser of ours is not told: what they would do is done elsewhere, or refused."""
_SMALL: Final = 100
"""Bytes below which an answer is a counting pixel."""
_FEW_MEDIA: Final = 3
_FEW_LETTERS: Final = 1_500
_ABOUT_PAGE: Final = (
    "og:", "twitter:", "json-ld", "css", "link[", "link", "meta", "itemprop:", "script",
)  # fmt: skip
"""Beginnings of `Medium.found_as` that say nothing of what the page shows."""


class RefusedLoadError(Exception):
    """A page does not get what it asked for; the text says why."""

    def __init__(self, reason: str, status: int = 0) -> None:
        """Say why; with the HTTP status, if there was an answer."""
        super().__init__(reason)
        self.status = status


class RenderError(Exception):
    """A page could not be rendered; the text says why. It counts as it was sent."""


class BrowserError(Exception):
    """The browser cannot be started; the text says what to put right."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something that a page asks for.

    Attributes:
        url: As the browser has it.
        method: HTTP's.
        kind: Chromium's name for what it is for: ``document`` (a frame), ``script``, ``image``, ``xhr``.
        headers: Names in lower case.
    """

    url: str
    method: str = "GET"
    kind: str = "fetch"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Given:
    """What it gets.

    Attributes:
        url: Where it came from, after redirects.
        status: HTTP status.
        headers: Of the answer, names in lower case.
        body: Unpacked.
    """

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Load:
    """What became of one request of a page.

    Attributes:
        url: As it was asked for.
        kind: As in `Wanted`.
        status: HTTP status; 0: it was refused, or failed. 304: it was not fetched again.
        sha256: Of the unpacked body, hexadecimal; empty: none.
        size: Of the unpacked body, bytes.
        reason: Why it was refused, or failed; empty: it was not.
    """

    url: str
    kind: str
    status: int = 0
    sha256: str = ""
    size: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What the crawler fetched for a page.

    Attributes:
        given: The answer.
        received: Bytes that went over the wire, by host; empty: it was there already.
    """

    given: Given
    received: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Screenshot:
    """A picture of a page.

    Attributes:
        image: JPEG.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        whole: Whether it reaches to the page's end.
    """

    image: bytes
    width: int
    height: int
    whole: bool


@dataclass(frozen=True, slots=True)
class Rendered:
    """A page as a browser shows it.

    Attributes:
        dom: The document as HTML in UTF-8, shadow trees among it; empty: larger than `MAX_DOM`.
        screenshot: None: none could be made that is small enough.
        taken_at: UTC.
        viewport: Width and height of the browser's window, pixels.
        software: Name and version of the browser, and of what drives it.
        led_to: Where scripts wanted to go instead, or to open a window.
        complete: Whether the page had come to rest; False: a limit was reached first.
    """

    dom: bytes
    screenshot: Screenshot | None
    taken_at: datetime
    viewport: tuple[int, int]
    software: str
    led_to: tuple[str, ...] = ()
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Visit:
    """A page to be rendered.

    Attributes:
        answer: The page as it was sent; its `Given.url` is its address.
        load: Gets what it asks for; raises `RefusedLoadError`.
        seconds: Longest time.
        agent: What scripts see as the browser's name, after the browser's own.
    """

    answer: Given
    load: Callable[[Wanted], Awaitable[Given]]
    seconds: float
    agent: str = ""


class Browser(Protocol):
    """Something that renders pages, and has no network."""

    async def render(self, visit: Visit) -> Rendered:
        """Render a page; may be called many times at once.

        Raises:
            RenderError: If this page cannot be rendered.
            BrowserError: If none can.
        """
        ...

    async def close(self) -> None:
        """End it, and whatever is under way."""
        ...


@dataclass(frozen=True, slots=True)
class LoadLimits:
    """What one page may ask for.

    Attributes:
        requests: Most requests, refused ones among them.
        bytes: Most bytes over the wire.
    """

    requests: int
    bytes: int


class PageLoads:
    """Answers the requests of one page, under the crawler's rules, and notes what became of each.

    Attributes:
        log: Requests in the order in which they were decided.
        received: Bytes over the wire, by host.
    """

    def __init__(
        self,
        page_url: str,
        limits: LoadLimits,
        *,
        refusal: Callable[[str], str],
        fetch: Callable[[str, str, Mapping[str, str], bool, int], Awaitable[Fetched]],
    ) -> None:
        """Prepare.

        Args:
            page_url: The page's address, after redirects.
            limits: What it may ask for.
            refusal: Says why a URL is not fetched, whatever asks for it; empty: it may be.
            fetch: Fetches (URL, method, headers, whether an answer from earlier in the run will do, most
                bytes); raises `RefusedLoadError`.
        """
        self.log: list[Load] = []
        self.received: dict[str, int] = {}
        self._page_url = page_url
        self._limits = limits
        self._refusal = refusal
        self._fetch = fetch
        self._asked = 0
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def load(self, wanted: Wanted) -> Given:
        """Return what a page asks for.

        Raises:
            RefusedLoadError: If it does not get it.
        """
        self._asked += 1
        if self._asked > self._limits.requests:
            raise RefusedLoadError(
                "the page asks for more than a page may"
            )  # not noted: there may be millions
        try:
            url = self._allowed(wanted)
            async with self._turn:
                fetched = await self._fetch(
                    url, wanted.method, self._headers(wanted, url), wanted.kind in _REUSED, self._left()
                )
        except RefusedLoadError as error:
            shown = urls.shown(wanted.url, urls.MAX_LENGTH)
            self.log.append(Load(shown, wanted.kind, error.status, reason=str(error)))
            raise
        for host, size in fetched.received.items():
            self.received[host] = self.received.get(host, 0) + size
        given = fetched.given
        digest = hashlib.sha256(given.body).hexdigest() if given.body else ""
        self.log.append(Load(url, wanted.kind, given.status, digest, len(given.body)))
        return told(given)

    def _allowed(self, wanted: Wanted) -> str:
        """Return the address to ask for.

        Raises:
            RefusedLoadError: If it is not asked for.
        """
        url = urls.absolute(wanted.url)
        reason = _refused(wanted)
        if not reason and url is not None:
            reason = self._refusal(url)
        if reason or url is None:
            raise RefusedLoadError(reason or "it is nothing that the crawler fetches")
        return url

    def _left(self) -> int:
        """Return how many bytes one more answer may have: others are under way, and share what is left.

        Raises:
            RefusedLoadError: If none.
        """
        left = self._limits.bytes - sum(self.received.values())
        if left <= 0:
            raise RefusedLoadError("the page's bytes are used up")
        return max(left // _AT_ONCE, min(left, _SURE_BYTES))

    def _headers(self, wanted: Wanted, url: str) -> dict[str, str]:
        """Return the headers that go on: the kind of answer, and scripts' own ones to the page's host."""
        headers = {}
        own = urls.host_of(url) == urls.host_of(self._page_url)
        if wanted.kind in ("xhr", "fetch"):
            if accept := wanted.headers.get("accept"):
                headers["Accept"] = accept
            if own:
                headers |= {
                    name: value
                    for name, value in wanted.headers.items()
                    if name.startswith("x-") and not name.startswith(("x-client-data", "x-forwarded"))
                }
            else:
                parts = urlsplit(self._page_url)
                headers["Origin"] = f"{parts.scheme}://{parts.netloc}"
        if own:
            headers["Referer"] = self._page_url
        return headers


def _refused(wanted: Wanted) -> str:
    """Say why a page does not get what it asks for, whatever its address; empty: it may."""
    if wanted.method not in ("GET", "HEAD"):
        return f"{urls.shown(wanted.method, 20)} would change something"
    if wanted.kind not in _FETCHED:
        return f"a page's {urls.shown(wanted.kind, 20)} is not fetched for it"
    if "authorization" in wanted.headers:
        return "the crawler has no account"
    return ""


def told(given: Given) -> Given:
    """Return an answer with the headers that a browser of ours is told."""
    return replace(given, headers={n: v for n, v in given.headers.items() if n not in _DROPPED})


def is_scripted(page: Page) -> bool:
    """Whether a page has scripts and shows hardly anything without them."""
    if not page.scripts or page.letters >= _FEW_LETTERS:
        return False
    return sum(not medium.found_as.startswith(_ABOUT_PAGE) for medium in page.media) < _FEW_MEDIA


def added(sent: Page, shown: Page, loads: Sequence[Load], led_to: Sequence[str]) -> Page:
    """Return what rendering brought that was not in the page as it was sent.

    Args:
        sent: The page as it was sent.
        shown: The page as it was rendered.
        loads: What it asked for.
        led_to: Where its scripts wanted to go.
    """
    worthless = {
        load.url for load in loads if load.status >= 400 or (load.status == 200 and load.size < _SMALL)
    }
    media = {medium.url for medium in sent.media} | worthless
    found: list[Medium] = []
    for medium in (*shown.media, *_asked_for(loads, sent.variants | shown.variants)):
        if medium.url not in media:
            media.add(medium.url)
            found.append(replace(medium, found_as=f"rendered {medium.found_as}"))
    links = {link.url for link in sent.links}
    fresh = [link for link in shown.links if link.url not in links]
    targets = dict.fromkeys(urls.absolute(target, sent.base) for target in led_to)
    fresh += [Link(target, Kind.PAGE, following=True) for target in targets if target and target not in links]
    return Page(shown.base, title=shown.title, links=fresh, media=found, uploader=shown.uploader)


def _asked_for(loads: Sequence[Load], variants: frozenset[str] | set[str]) -> list[Medium]:
    """Return the media that scripts asked for; not the sizes of a picture of which the largest is taken."""
    found = []
    for load in loads:
        suffix = extension(load.url)
        if suffix in PLAYLISTS:
            found.append(Medium(load.url, Kind.PLAYLIST, "request"))
        elif load.kind == "media" or (
            (load.kind == "image" or (load.kind in ("xhr", "fetch") and suffix in IMAGES))
            and load.status in (200, 304)
            and suffix != "svg"
            and load.url not in variants
        ):
            found.append(Medium(load.url, Kind.MEDIA, "request"))
    return found


@dataclass(frozen=True, slots=True)
class Rendering:
    """What captures of a page's media tell of how the page looked.

    Attributes:
        url: The page's address.
        rendered: How it looked.
        loads: What it was put together from, the first 300.
    """

    url: str
    rendered: Rendered
    loads: tuple[Load, ...]

    def pack(self) -> bytes:
        """Return it as bytes, to be kept until the page's media were fetched; without a DOM that is large."""
        rendered = self.rendered
        dom = zlib.compress(rendered.dom, level=1) if 0 < len(rendered.dom) <= MAX_KEPT_DOM else b""
        shot = rendered.screenshot
        head = {
            "url": self.url,
            "taken_at": rendered.taken_at.isoformat(),
            "viewport": rendered.viewport,
            "software": rendered.software,
            "complete": rendered.complete,
            "shot": (len(shot.image), shot.width, shot.height, shot.whole) if shot else None,
            "loads": [asdict(load) for load in self.loads[:_MAX_LISTED]],
        }
        return b"".join((json.dumps(head).encode(), b"\n", shot.image if shot else b"", dom))

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """Return what `pack` packed."""
        head, _, rest = data.partition(b"\n")
        fields = json.loads(head)
        size, width, height, whole = fields["shot"] or (0, 0, 0, False)
        rendered = Rendered(
            dom=zlib.decompress(rest[size:]) if rest[size:] else b"",
            screenshot=Screenshot(rest[:size], width, height, whole) if size else None,
            taken_at=datetime.fromisoformat(fields["taken_at"]),
            viewport=(fields["viewport"][0], fields["viewport"][1]),
            software=fields["software"],
            complete=fields["complete"],
        )
        return cls(fields["url"], rendered, tuple(Load(**load) for load in fields["loads"]))
