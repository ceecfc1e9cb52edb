"""From a page's bytes to its links and media: pure functions, no network.

HTML is read by lxml, which repairs what is broken, in the encoding that the response, the page or its bytes
name. Nothing of a page is run.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from lxml import etree
from w3lib.encoding import html_body_declared_encoding, html_to_unicode, to_unicode

from crawler import urls

MAX_LINKS: Final = 5_000
"""Most links of one page, and as many media."""
MAX_CONTEXT: Final = 200
"""Longest text that is kept around a medium, in characters."""
_BROKEN_PART: Final = 0.1
"""Characters that cannot be decoded, for each byte that is no ASCII, from which an encoding does not fit."""
_HIGH: Final = tuple(bytes([value]) for value in range(128, 256))
_MAX_SCRIPT: Final = 2 * 1024 * 1024
_MAX_JSON_DEPTH: Final = 32
_MAX_NESTED: Final = 2

IMAGES: Final = frozenset((
    "jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp", "avif", "heic", "heif", "tif", "tiff", "bmp",
))  # fmt: skip
SOUNDS: Final = frozenset((
    "mp3", "m4a", "aac", "flac", "ogg", "oga", "opus", "wav", "wma", "aif", "aiff",
))  # fmt: skip
FILMS: Final = frozenset((
    "mp4", "m4v", "webm", "mkv", "mov", "avi", "flv", "wmv", "mpg", "mpeg", "ts", "m2ts", "3gp", "ogv",
))  # fmt: skip
TEXTS: Final = frozenset((
    "pdf", "epub", "docx", "txt",
))  # fmt: skip
CONTAINERS: Final = frozenset((
    "zip", "cbz", "7z", "tar", "tgz", "apk", "xapk", "apks", "aab", "obb", "jar", "ipa",
))  # fmt: skip
PLAYLISTS: Final = frozenset(("m3u8", "mpd"))
"""Extensions of files, without the dot, that are media whatever links to them."""
_MEDIA: Final = IMAGES | SOUNDS | FILMS | TEXTS | CONTAINERS | PLAYLISTS
_NOT_PAGES: Final = frozenset((
    "css", "js", "mjs", "json", "map", "ico", "svg", "woff", "woff2", "ttf", "otf", "eot", "rar",
    "gz", "bz2", "xz", "exe", "msi", "dmg", "iso", "swf", "wasm", "doc", "xls", "xlsx", "ppt", "pptx",
))  # fmt: skip
"""Extensions that are neither pages nor media that the service reads."""
_MEDIA_TYPES: Final = frozenset((
    "application/pdf",
    "application/ogg",
    "application/epub+zip",
    "application/zip",
    "application/x-zip-compressed",
    "application/x-tar",
    "application/x-7z-compressed",
    "application/vnd.comicbook+zip",
    "application/x-cbz",
    "application/vnd.android.package-archive",
    "application/java-archive",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
))  # fmt: skip
"""Beside pictures, sounds and films."""


class Kind(StrEnum):
    """What a URL is expected to be, and so how its answer is read."""

    PAGE = "page"
    FRAME = "frame"
    FEED = "feed"
    SITEMAP = "sitemap"
    STYLE = "style"
    MEDIA = "media"
    PLAYLIST = "playlist"


@dataclass(frozen=True, slots=True)
class Link:
    """A page, feed or frame that a page names.

    Attributes:
        url: As `urls.absolute` returns it.
        kind: `PAGE`, `FRAME` or `FEED`, `SITEMAP` in feeds.
        following: Whether it goes on with this page (``rel=next``): it lies as deep as the page itself.
    """

    url: str
    kind: Kind
    following: bool = False


@dataclass(frozen=True, slots=True)
class Medium:
    """A medium that a page names, or what leads to one.

    Attributes:
        url: As `urls.absolute` returns it.
        kind: `MEDIA`, `PLAYLIST` or `STYLE`.
        found_as: Where the page has it: an element such as ``img``, ``element[attribute]``, ``og:image``,
            ``json-ld``, ``css``, ``link``, ``script``.
        context: The text around it: an alternative text, a title, a link's text. As the page has it.
        uploader: Who put it there, as is said of this medium alone; empty: what is said of the page counts.
    """

    url: str
    kind: Kind
    found_as: str
    context: str = ""
    uploader: str = ""


@dataclass(slots=True)
class Page:
    """What a page holds.

    Attributes:
        base: What its references are relative to.
        canonical: The URL that the page calls its own (``rel=canonical``); None: none.
        title: Its title, at most 200 characters.
        links: In order, each once.
        media: In order, each once.
        variants: Every size that a ``srcset`` offers; of each, `media` has the largest.
        scripts: How many scripts it would run.
        letters: Characters of text that it shows without them.
        uploader: Who put it there, as the page says: a name, or an address; empty: it says nothing.
    """

    base: str
    canonical: str | None = None
    title: str = ""
    links: list[Link] = field(default_factory=list)
    media: list[Medium] = field(default_factory=list)
    variants: set[str] = field(default_factory=set)
    scripts: int = 0
    letters: int = 0
    uploader: str = ""


def extension(url: str) -> str:
    """Return the extension of a URL's path in lower case, without the dot; empty: none."""
    name = urlsplit(url).path.rpartition("/")[2].lower()
    if name.endswith(".tar.gz"):
        return "tgz"
    return name.rpartition(".")[2] if "." in name else ""


def kind_of_type(content_type: str, url: str) -> Kind:
    """Return what an answer is by its declared type, and by its URL where the type says nothing.

    Types lie; what is called a medium is only trusted to be worth keeping.
    """
    name = content_type.partition(";")[0].strip().lower()
    suffix = extension(url)
    if name in ("text/html", "application/xhtml+xml"):
        return Kind.PAGE
    if name in ("application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/mpegurl", "audio/x-mpegurl"):
        return Kind.PLAYLIST
    if name == "application/dash+xml" or suffix in PLAYLISTS:
        return Kind.PLAYLIST
    if name in ("application/rss+xml", "application/atom+xml", "application/rdf+xml"):
        return Kind.FEED
    if name == "text/css":
        return Kind.STYLE
    if name.startswith(("image/", "audio/", "video/")) or name in _MEDIA_TYPES:
        return Kind.MEDIA
    if suffix in _MEDIA:
        return Kind.MEDIA
    if name in ("text/xml", "application/xml"):
        return Kind.FEED
    return Kind.PAGE


def decoded(body: bytes, content_type: str) -> str:
    """Return a text's characters; never fails.

    The encoding is that which the byte order mark, the header or the page names, else UTF-8, else that of
    Western Windows. Where the header's does not fit and the page names another that fits better, that one
    counts: servers often call all pages UTF-8.
    """
    text = html_to_unicode(content_type or None, body, default_encoding="utf-8", auto_detect_fun=_guess)[1]
    broken = text.count("\ufffd")
    if not broken or broken < _BROKEN_PART * sum(map(body.count, _HIGH)):
        return text
    named = html_body_declared_encoding(body)
    other = to_unicode(body, named) if named else text
    return other if other.count("\ufffd") < broken else text


def _guess(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def extract(body: bytes, url: str, content_type: str = "text/html") -> Page:
    """Return what an HTML page holds.

    Args:
        body: Its bytes, unpacked.
        url: Where it came from, after redirects.
        content_type: The header's value.
    """
    return _extract(decoded(body, content_type), url, nested=0)


def _extract(text: str, url: str, *, nested: int) -> Page:
    page = Page(base=url)
    parser = etree.HTMLParser(encoding="utf-8", no_network=True, recover=True, huge_tree=False)
    try:
        root = etree.fromstring(text.encode("utf-8", "replace"), parser)
    except (etree.XMLSyntaxError, ValueError):
        return page
    if root is None:
        return page
    collector = _Collector(page, nested)
    for element in root.iter(etree.Element):
        collector.take(element)
    page.uploader = collector.uploader
    return page


_LAZY_SETS: Final = frozenset(("data-srcset", "data-lazy-srcset", "data-original-srcset", "data-src-set"))
_LAZY: Final = frozenset((
    "data-src", "data-original", "data-original-src", "data-lazy", "data-lazy-src", "data-lazyload",
    "data-lazy-original", "data-orig-file", "data-large-file", "data-full", "data-full-src", "data-large",
    "data-large-image", "data-large_image", "data-image", "data-image-src", "data-img", "data-img-src",
    "data-img-url", "data-hi-res-src", "data-highres", "data-zoom", "data-zoom-image", "data-zoom-src",
    "data-echo", "data-url", "data-bg", "data-bg-src", "data-background", "data-background-image",
    "data-thumb", "data-thumbnail", "data-poster", "data-video", "data-video-src", "data-src-mp4", "data-mp4",
    "data-webm", "data-audio", "data-mp3", "data-file", "data-hls", "data-stream", "data-manifest",
    "data-dash", "data-fallback-src", "data-actualsrc", "data-ks-lazyload",
))  # fmt: skip
"""Where scripts of lazy loading keep a URL; only the first few are used for anything but media."""
_PLAIN: Final = {
    "img": ("src", "lowsrc"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "source": ("src",),
    "input": ("src",),
    "image": ("href", "{http://www.w3.org/1999/xlink}href", "xlink:href"),
    "body": ("background",),
    "table": ("background",),
    "td": ("background",),
    "amp-img": ("src",),
    "amp-anim": ("src",),
    "amp-video": ("src", "poster"),
    "amp-audio": ("src",),
}
_AUTHORS: Final = {
    "article:author": 2,
    "og:article:author": 2,
    "author": 3,
    "twitter:creator": 5,
    "dc.creator": 5,
}
"""Names of ``meta`` elements that say who put a page there, the lower the more plainly."""
_UPLOADER_KEYS: Final = ("uploader", "author", "creator")
_META: Final = {
    "og:image": "og:image",
    "og:image:url": "og:image",
    "og:image:secure_url": "og:image",
    "og:video": "og:video",
    "og:video:url": "og:video",
    "og:video:secure_url": "og:video",
    "og:audio": "og:audio",
    "og:audio:url": "og:audio",
    "og:audio:secure_url": "og:audio",
    "twitter:image": "twitter:image",
    "twitter:image:src": "twitter:image",
    "twitter:player:stream": "twitter:player",
    "msapplication-tileimage": "meta",
    "thumbnail": "meta",
}
_ITEMPROPS: Final = frozenset(("image", "thumbnailurl", "contenturl", "embedurl", "thumbnail"))
_JSON_LD_MEDIA: Final = frozenset(
    ("contenturl", "thumbnailurl", "image", "thumbnail", "logo", "primaryimageofpage")
)
_IN_SCRIPT: Final = re.compile(
    r"""["'](?P<url>(?:https?:)?(?:\\?/){1,2}[^"'\s<>]{1,1500}?\.(?P<extension>[A-Za-z0-9]{2,5})(?:\?[^"'\s<>]{0,500})?)["']"""
)
_CSS_URL: Final = re.compile(r"""url\(\s*(?:"([^"]*)"|'([^']*)'|([^)"'\s]*))\s*\)""", re.IGNORECASE)
_CSS_IMPORT: Final = re.compile(r"""@import\s+(?:url\(\s*)?["']?([^"')\s;]+)""", re.IGNORECASE)
_CSS_COMMENT: Final = re.compile(r"/\*.*?\*/", re.DOTALL)
_CSS_IMAGE_SET: Final = re.compile(r"""image-set\(([^;}]*)\)""", re.IGNORECASE)
_CSS_QUOTED: Final = re.compile(r"""["']([^"']+)["']""")
_NO_MEDIA_IN_CSS: Final = frozenset((
    "woff", "woff2", "ttf", "otf", "eot", "svg", "css",
))  # fmt: skip
_SCRIPT_TYPES: Final = frozenset((
    "", "module", "text/javascript", "application/javascript", "application/x-javascript", "text/ecmascript",
))  # fmt: skip
_UNSEEN: Final = frozenset(("script", "style", "noscript", "template", "title", "textarea", "option"))
_REFRESH: Final = re.compile(r"""^\s*\d*\s*[;,]\s*url\s*=\s*["']?([^"'>]+)""", re.IGNORECASE)


class _Collector:
    """Collects what the elements of one page name."""

    def __init__(self, page: Page, nested: int) -> None:
        self._page = page
        self._nested = nested
        self._has_base = False
        self._links: set[str] = set()
        self._media: set[str] = set()
        self._uploaders: dict[int, str] = {}

    def take(self, element: Any) -> None:
        """Collect what one element names."""
        tag = element.tag
        if not isinstance(tag, str):
            return
        attributes = element.attrib
        if element.text and tag not in _UNSEEN:
            self._page.letters += len(element.text.strip())
        if element.tail:
            self._page.letters += len(element.tail.strip())
        handler = _HANDLERS.get(tag)
        if handler is not None:
            handler(self, element, attributes)
        for name in _PLAIN.get(tag, ()):
            if value := attributes.get(name):
                where = tag if name in ("src", "href") else f"{tag}[{name}]"
                self.medium(value, where, _context(element))
        for name, value in attributes.items():
            self._attribute(element, tag, name, value)

    def _attribute(self, element: Any, tag: str, name: str, value: str) -> None:
        """Collect what an attribute names that any element may have."""
        if name == "style":
            self.style(value, f"{tag}[style]")
        elif name in ("srcset", "imagesrcset") or name in _LAZY_SETS:
            sizes = _srcset(value)
            if best := _largest(sizes):
                self.medium(best, f"{tag}[{name}]", _context(element))
            if len(self._page.variants) < MAX_LINKS:
                self._page.variants.update(
                    url for reference, _ in sizes if (url := urls.absolute(reference, self._page.base))
                )
        elif name in _LAZY:
            self._lazy(tag, name, value, element)
        elif name == "itemprop" and value.lower() in _ITEMPROPS and tag not in ("img", "source"):
            reference = element.get("content") or element.get("href")
            if reference:
                self.medium(reference, f"itemprop:{value.lower()}", "")

    # What handlers call

    def medium(self, reference: str, found_as: str, context: str, kind: Kind | None = None) -> None:
        """Note a medium."""
        url = urls.absolute(reference, self._page.base)
        if url is None or url in self._media or len(self._media) >= MAX_LINKS:
            return
        suffix = extension(url)
        if kind is None:
            if suffix in _NOT_PAGES:
                return
            kind = Kind.PLAYLIST if suffix in PLAYLISTS else Kind.MEDIA
        self._media.add(url)
        self._page.media.append(Medium(url, kind, found_as, context[:MAX_CONTEXT]))

    def link(self, reference: str, kind: Kind, *, following: bool = False) -> None:
        """Note a page, a frame or a feed."""
        url = urls.absolute(reference, self._page.base)
        if url is None or len(self._links) >= MAX_LINKS:
            return
        if url in self._links and not following:
            return
        self._links.add(url)
        self._page.links.append(Link(url, kind, following))

    @property
    def uploader(self) -> str:
        """Who put the page there, by what says it most plainly; empty: nothing says it."""
        return next((self._uploaders[rank] for rank in sorted(self._uploaders)), "")

    def _claim(self, rank: int, name: str) -> None:
        """Note that something of a rank (0: says it most plainly) names who put the page there."""
        if plain := shortened(name):
            self._uploaders.setdefault(rank, plain)

    def style(self, text: str, found_as: str) -> None:
        """Note what a style sheet inside the page names."""
        if "url(" not in text and "@import" not in text and "image-set" not in text:
            return
        media, sheets = css_references(text)
        for reference in media:
            self.medium(reference, found_as, "")
        for reference in sheets:
            self.medium(reference, "css", "", Kind.STYLE)

    def _lazy(self, tag: str, name: str, value: str, element: Any) -> None:
        if tag in ("iframe", "embed", "frame"):
            return
        if value.lstrip().startswith("url("):
            self.style(f"background:{value}", f"{tag}[{name}]")
            return
        url = urls.absolute(value, self._page.base)
        if url is None:
            return
        # Such attributes also hold links to pages: where no medium is expected, an extension has to say so.
        if tag in ("img", "source", "video", "audio", "picture") or extension(url) in _MEDIA:
            self.medium(value, f"{tag}[{name}]", _context(element))

    # One method for each element that means something by itself

    def base(self, _: Any, attributes: Any) -> None:
        """``base`` changes what the references after it are relative to; the first one counts."""
        if not self._has_base and (url := urls.absolute(attributes.get("href", ""), self._page.base)):
            self._page.base = url
            self._has_base = True

    def title(self, element: Any, _: Any) -> None:
        """The page's title; those of drawings inside it come later."""
        if not self._page.title:
            self._page.title = _text(element)[:MAX_CONTEXT]

    def anchor(self, element: Any, attributes: Any) -> None:
        """``a`` and ``area``: to a file, or to a page."""
        href = attributes.get("href")
        if not href:
            return
        url = urls.absolute(href, self._page.base)
        if url is None:
            return
        if "author" in attributes.get("rel", "").lower().split():
            self._claim(1, _text(element) or url)
        suffix = extension(url)
        if suffix in _MEDIA or ("download" in attributes and suffix not in _NOT_PAGES):
            self.medium(href, "link", _text(element))
        elif suffix not in _NOT_PAGES:
            self.link(href, Kind.PAGE, following="next" in attributes.get("rel", "").lower().split())

    def head_link(self, _: Any, attributes: Any) -> None:
        """``link``: sheets, feeds, the next page, the canonical address, pictures."""
        href = attributes.get("href", "")
        relations = attributes.get("rel", "").lower().split()
        kind = attributes.get("type", "").lower()
        if not href:
            return
        if "stylesheet" in relations:
            self.medium(href, "css", "", Kind.STYLE)
        elif "canonical" in relations:
            self._page.canonical = self._page.canonical or urls.absolute(href, self._page.base)
        elif "next" in relations:
            self.link(href, Kind.PAGE, following=True)
        elif "alternate" in relations and kind in ("application/rss+xml", "application/atom+xml"):
            self.link(href, Kind.FEED)
        elif "author" in relations:
            self._claim(4, urls.absolute(href, self._page.base) or "")
        elif "image_src" in relations or (
            "preload" in relations and attributes.get("as", "").lower() in ("image", "video", "audio")
        ):
            self.medium(href, f"link[rel={relations[0]}]", "")

    def meta(self, _: Any, attributes: Any) -> None:
        """``meta``: Open Graph, Twitter's cards, a page that sends its readers on."""
        content = attributes.get("content", "")
        name = (attributes.get("property") or attributes.get("name") or "").lower()
        if name in _AUTHORS:
            self._claim(_AUTHORS[name], content)
        elif name in _META and content:
            url = urls.absolute(content, self._page.base)
            if url and name.startswith("og:video") and extension(url) not in _MEDIA:
                self.link(content, Kind.FRAME)  # a player
            else:
                self.medium(content, _META[name], "")
        elif name == "twitter:player" and content:
            self.link(content, Kind.FRAME)
        elif attributes.get("http-equiv", "").lower() == "refresh" and (match := _REFRESH.match(content)):
            self.link(match[1].strip(), Kind.PAGE, following=True)

    def frame(self, element: Any, attributes: Any) -> None:
        """``iframe``, ``frame``, ``embed``, ``object``: a medium by its extension or type, else a page."""
        inner = attributes.get("srcdoc")
        if inner and self._nested < _MAX_NESTED:
            page = _extract(inner, self._page.base, nested=self._nested + 1)
            for link in page.links:
                self.link(link.url, link.kind)
            for medium in page.media:
                self.medium(medium.url, medium.found_as, medium.context, medium.kind)
        for name in ("src", "data", "data-src", "data-lazy-src"):
            reference = attributes.get(name)
            url = urls.absolute(reference, self._page.base) if reference else None
            if url is None or reference is None:
                continue
            kind = attributes.get("type", "").lower()
            if extension(url) in _MEDIA or kind.startswith(("image/", "video/", "audio/")):
                self.medium(reference, element.tag, _context(element))
            elif extension(url) not in _NOT_PAGES:
                self.link(reference, Kind.FRAME)

    def sheet(self, element: Any, _: Any) -> None:
        """``style``."""
        self.style(element.text or "", "css")

    def script(self, element: Any, attributes: Any) -> None:
        """``script``: data for search engines, and files that a script will ask for."""
        text = element.text or ""
        kind = attributes.get("type", "").lower().strip()
        self._page.scripts += kind in _SCRIPT_TYPES and bool(text or "src" in attributes)
        if not text or len(text) > _MAX_SCRIPT:
            return
        if kind == "application/ld+json":
            self._claim(0, json_ld_uploader(text))
            for name, reference in json_ld_references(text):
                if name == "embedurl":
                    self.link(reference, Kind.FRAME)
                else:
                    self.medium(reference, "json-ld", "")
            return
        for match in _IN_SCRIPT.finditer(text):
            if match["extension"].lower() in _MEDIA - TEXTS - CONTAINERS:
                reference = match["url"].replace("\\/", "/").replace("\\u002F", "/").replace("\\u0026", "&")
                self.medium(reference, "script", "")


_HANDLERS: Final = {
    "base": _Collector.base,
    "title": _Collector.title,
    "a": _Collector.anchor,
    "area": _Collector.anchor,
    "link": _Collector.head_link,
    "meta": _Collector.meta,
    "iframe": _Collector.frame,
    "frame": _Collector.frame,
    "embed": _Collector.frame,
    "object": _Collector.frame,
    "style": _Collector.sheet,
    "script": _Collector.script,
}


def _text(element: Any) -> str:
    """Return an element's text with single spaces."""
    return " ".join("".join(element.itertext()).split())


def _context(element: Any) -> str:
    """Return what a page says about a medium: its alternative text, its title, its caption."""
    attributes = element.attrib
    said = attributes.get("alt") or attributes.get("title") or attributes.get("aria-label")
    if said:
        return " ".join(said.split())[:MAX_CONTEXT]
    parent = element.getparent()
    for _ in range(3):
        if parent is None:
            return ""
        if parent.tag == "figure":
            caption = parent.find(".//figcaption")
            return _text(caption)[:MAX_CONTEXT] if caption is not None else ""
        parent = parent.getparent()
    return ""


def largest_of_srcset(value: str) -> str:
    """Return the URL of a ``srcset`` with the largest width or density; empty: it names none.

    The rules are those of the HTML standard, section 4.8.4.2.1: URLs may hold commas.
    """
    return _largest(_srcset(value))


def _largest(sizes: Iterable[tuple[str, float]]) -> str:
    return max(sizes, key=lambda size: size[1], default=("", 0.0))[0]


def _srcset(value: str) -> list[tuple[str, float]]:
    """Return (reference, width or density) of everything that a ``srcset`` offers."""
    sizes: list[tuple[str, float]] = []
    position = 0
    while match := re.compile(r"[\s,]*(\S+)").match(value, position):
        reference = match[1]
        position = match.end()
        size = 1.0
        if reference.endswith(","):
            reference = reference.rstrip(",")
        else:
            end = value.find(",", position)
            end = len(value) if end < 0 else end
            descriptors = value[position:end].split()
            position = end + 1
            size = max((_size(text) for text in descriptors), default=1.0)
        if reference and not reference.startswith("data:"):
            sizes.append((reference, size))
    return sizes


def _size(descriptor: str) -> float:
    try:
        return float(descriptor[:-1]) if descriptor[-1:] in ("w", "x") else 1.0
    except ValueError:
        return 1.0


def css_references(text: str) -> tuple[list[str], list[str]]:
    """Return the media and the other sheets that a style sheet names, as it writes them, without fonts."""
    text = _CSS_COMMENT.sub("", text[:_MAX_SCRIPT])
    sheets = [match[1] for match in _CSS_IMPORT.finditer(text)]
    found = [next((part for part in match.groups() if part), "") for match in _CSS_URL.finditer(text)]
    for match in _CSS_IMAGE_SET.finditer(text):
        found += _CSS_QUOTED.findall(match[1])
    media = [
        reference
        for reference in dict.fromkeys(found)
        if reference and not reference.startswith(("data:", "#")) and reference not in sheets
    ]
    return [reference for reference in media if extension(reference) not in _NO_MEDIA_IN_CSS], sheets


def style_media(body: bytes, url: str, content_type: str = "text/css") -> list[Medium]:
    """Return the media and sheets that a linked style sheet names."""
    media, sheets = css_references(decoded(body, content_type))
    found = [(reference, Kind.MEDIA) for reference in media] + [(sheet, Kind.STYLE) for sheet in sheets]
    absolute = [(urls.absolute(reference, url), kind) for reference, kind in found]
    return [Medium(target, kind, "css") for target, kind in dict(absolute).items() if target][:MAX_LINKS]


def json_ld_references(text: str) -> list[tuple[str, str]]:
    """Return (property in lower case, reference) of the media and players in JSON-LD; [] if it is broken."""
    try:
        data = json.loads(text.strip().removeprefix("<!--").removesuffix("-->"), strict=False)
    except (ValueError, RecursionError):
        return []
    return list(dict.fromkeys(_walk(data, "", 0)))[:MAX_LINKS]


def json_ld_uploader(text: str) -> str:
    """Return whom JSON-LD calls the author of the first thing that has one, by name or address; or empty."""
    try:
        data = json.loads(text.strip().removeprefix("<!--").removesuffix("-->"), strict=False)
    except (ValueError, RecursionError):
        return ""
    return next(filter(None, map(shortened, _authors(data, 0))), "")


def shortened(name: str) -> str:
    """Return a name with single spaces, without what cannot be seen, cut where it gets long."""
    printable = "".join(c if c.isprintable() else " " for c in name[: 4 * MAX_CONTEXT])
    return " ".join(printable.split())[:MAX_CONTEXT]


def _authors(data: Any, depth: int) -> Iterator[str]:
    if depth > _MAX_JSON_DEPTH:
        return
    if isinstance(data, list):
        for part in data:
            yield from _authors(part, depth + 1)
    elif isinstance(data, dict):
        for key in _UPLOADER_KEYS:
            yield from _names(data.get(key), depth + 1)
        for key, value in data.items():
            if key not in _UPLOADER_KEYS:
                yield from _authors(value, depth + 1)


def _names(data: Any, depth: int) -> Iterator[str]:
    """What a value of JSON-LD that is a person calls them."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, list) and depth <= _MAX_JSON_DEPTH:
        for part in data:
            yield from _names(part, depth + 1)
    elif isinstance(data, dict):
        for key in ("name", "alternateName", "url", "@id"):
            if isinstance(value := data.get(key), str):
                yield value


def _walk(data: Any, name: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _MAX_JSON_DEPTH:
        return
    if isinstance(data, str):
        if name in _JSON_LD_MEDIA or name == "embedurl":
            yield name, data
    elif isinstance(data, list):
        for part in data:
            yield from _walk(part, name, depth + 1)
    elif isinstance(data, dict):
        about = data.get("@type", "")
        kinds = {str(kind).lower() for kind in (about if isinstance(about, list) else [about])}
        for key, value in data.items():
            lower = str(key).lower()
            # The address of a picture's own object is the picture; of anything else, a page.
            if lower == "url" and (kinds & {"imageobject"} or name in _JSON_LD_MEDIA):
                lower = "image"
            yield from _walk(value, lower, depth + 1)


def in_scope(links: Iterable[Link], places: Iterable[str]) -> list[Link]:
    """Return the links that lie within one of the places (see `urls.within`); frames always do."""
    where = tuple(places)
    return [link for link in links if link.kind is Kind.FRAME or any(urls.within(link.url, p) for p in where)]
