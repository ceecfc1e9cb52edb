"""Sitemaps, RSS and Atom: from their bytes to the pages and media that they name."""

import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from lxml import etree

from crawler import urls
from crawler.extract import MAX_CONTEXT, PLAYLISTS, Kind, Link, Medium, extension, extract, shortened

MAX_ENTRIES: Final = 50_000
"""Most URLs of one sitemap, as sitemaps.org limits them."""
_GZIP: Final = b"\x1f\x8b"


class FeedError(Exception):
    """The bytes are neither a sitemap nor a feed, or unpack to too much."""


@dataclass(slots=True)
class Feed:
    """What a sitemap or feed names.

    Attributes:
        links: Pages, further sitemaps, and the feed's next page; each once.
        media: Each once.
    """

    links: list[Link] = field(default_factory=list)
    media: list[Medium] = field(default_factory=list)


def unpacked(body: bytes, limit: int) -> bytes:
    """Return a body that may be packed by gzip as a file (``sitemap.xml.gz``), unpacked.

    Args:
        body: The bytes.
        limit: Most bytes to unpack to.

    Raises:
        FeedError: If it unpacks to more, or is damaged.
    """
    if not body.startswith(_GZIP):
        return body
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise FeedError(f"it is damaged: {error}") from error
    if len(data) > limit:
        raise FeedError(f"it unpacks to more than {limit} bytes")
    return data


def read_feed(body: bytes, url: str, *, limit: int = 50 * 1024 * 1024) -> Feed:
    """Read a sitemap, a sitemap index, RSS, RDF or Atom, packed or not; or a list of URLs, one a line.

    Args:
        body: The bytes.
        url: Where they came from.
        limit: Most bytes to unpack to.

    Raises:
        FeedError: If it is none of these.
    """
    data = unpacked(body, limit).lstrip()
    if not data.startswith((b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return _text_sitemap(data, url)
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        recover=True,
        huge_tree=False,
        load_dtd=False,
        remove_comments=True,
    )
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise FeedError(f"it is no XML: {error}") from error
    if root is None:
        raise FeedError("it holds nothing")
    name = _local(root)
    reader = _READERS.get(name)
    if reader is None:
        raise FeedError(f"it is no sitemap and no feed, but <{name[:40]}>")
    feed = _Reader(url)
    reader(feed, root)
    return feed.feed


class _Reader:
    """Collects what one feed names."""

    def __init__(self, url: str) -> None:
        self.feed = Feed()
        self._url = url
        self._uploader = ""
        self._seen: set[str] = set()

    def _link(self, reference: str | None, kind: Kind, *, following: bool = False) -> None:
        url = urls.absolute(reference or "", self._url)
        if url and url not in self._seen and len(self._seen) < MAX_ENTRIES:
            self._seen.add(url)
            self.feed.links.append(Link(url, kind, following))

    def _medium(self, reference: str | None, found_as: str, context: str) -> None:
        url = urls.absolute(reference or "", self._url)
        if url and url not in self._seen and len(self._seen) < MAX_ENTRIES:
            self._seen.add(url)
            kind = Kind.PLAYLIST if extension(url) in PLAYLISTS else Kind.MEDIA
            said = shortened(self._uploader)
            self.feed.media.append(Medium(url, kind, found_as, context[:MAX_CONTEXT], said))

    def _html(self, text: str, content_type: str = "text/html; charset=utf-8") -> None:
        """Take the media out of a text that an entry quotes, not its links."""
        for medium in extract(text.encode("utf-8", "replace"), self._url, content_type).media:
            if medium.kind is not Kind.STYLE:
                self._medium(medium.url, f"feed {medium.found_as}", medium.context)

    def sitemap_index(self, root: Any) -> None:
        """``<sitemapindex>``."""
        for sitemap in root:
            self._link(_child(sitemap, "loc"), Kind.SITEMAP)

    def sitemap(self, root: Any) -> None:
        """``<urlset>``, with Google's extensions for images and videos."""
        for entry in root:
            self._link(_child(entry, "loc"), Kind.PAGE)
            for part in entry.iter(etree.Element):
                match _local(part):
                    case "loc" if part.getparent() is not entry:
                        self._medium(part.text, "sitemap image", "")
                    case "content_loc" | "thumbnail_loc":
                        self._medium(part.text, "sitemap video", "")
                    case "player_loc":
                        self._link(part.text, Kind.FRAME)
                    case _:
                        pass

    def rss(self, root: Any) -> None:
        """``<rss>`` and ``<rdf:RDF>``, with enclosures, Media RSS and quoted HTML."""
        for item in root.iter(etree.Element):
            name = _local(item)
            if name == "link" and item.get("rel") == "next" and item.get("href"):
                self._link(item.get("href"), Kind.FEED, following=True)
            if name != "item":
                continue
            title = _child(item, "title") or ""
            self._uploader = _author(item)
            self._link(_child(item, "link"), Kind.PAGE)
            for part in item.iter(etree.Element):
                match _local(part):
                    case "enclosure":
                        self._medium(part.get("url"), "enclosure", title)
                    case "content" | "thumbnail" if part.get("url"):
                        self._medium(part.get("url"), f"media:{_local(part)}", title)
                    case "player" if part.get("url"):
                        self._link(part.get("url"), Kind.FRAME)
                    case "image" if part.get("href"):
                        self._medium(part.get("href"), "itunes:image", title)
                    case "description" | "encoded" if part.text:
                        self._html(part.text)
                    case _:
                        pass

    def atom(self, root: Any) -> None:
        """``<feed>``."""
        for link in (part for part in root if _local(part) == "link" and part.get("rel") == "next"):
            self._link(link.get("href"), Kind.FEED, following=True)
        for entry in (part for part in root if _local(part) == "entry"):
            title = _child(entry, "title") or ""
            self._uploader = _author(entry) or _author(root)
            for part in entry.iter(etree.Element):
                match _local(part), part.get("rel", "alternate"):
                    case "link", "alternate":
                        self._link(part.get("href"), Kind.PAGE)
                    case "link", "enclosure":
                        self._medium(part.get("href"), "enclosure", title)
                    case (("content" | "thumbnail"), _) if part.get("url"):
                        self._medium(part.get("url"), f"media:{_local(part)}", title)
                    case (("content" | "summary"), _) if part.get("src"):
                        self._medium(part.get("src"), "atom content", title)
                    case (("content" | "summary"), _) if len(part):
                        self._html(etree.tostring(part, encoding="unicode"))
                    case (("content" | "summary"), _) if part.text:
                        self._html(part.text)
                    case _:
                        pass


_READERS: Final = {
    "sitemapindex": _Reader.sitemap_index,
    "urlset": _Reader.sitemap,
    "rss": _Reader.rss,
    "RDF": _Reader.rss,
    "feed": _Reader.atom,
}


def _local(element: Any) -> str:
    tag = element.tag
    return str(tag).rpartition("}")[2] if isinstance(tag, str) else ""


def _child(element: Any, name: str) -> str | None:
    """Return the text of an element's first child of a name, in any namespace."""
    return next((part.text for part in element if _local(part) == name and part.text), None)


def _author(item: Any) -> str:
    """Return who is said to have written or uploaded an entry: a name, else an address; empty: nobody is."""
    for name in ("credit", "creator", "author", "managingEditor"):
        for part in item:
            if _local(part) == name:
                found = _child(part, "name") or part.text or _child(part, "uri")
                if found and found.strip():
                    return str(found)
    return ""


def _text_sitemap(data: bytes, url: str) -> Feed:
    """Read a list of URLs, one a line, as sitemaps.org allows."""
    feed = Feed()
    lines = data.decode("utf-8", "replace").splitlines()[:MAX_ENTRIES]
    found = [urls.absolute(line) for line in lines if line.strip()]
    if not found or any(target is None for target in found):
        raise FeedError("it is no sitemap and no feed")
    feed.links.extend(Link(target, Kind.PAGE) for target in dict.fromkeys(found) if target)
    del url
    return feed
