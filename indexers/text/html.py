"""Web pages: their main text.

trafilatura finds the main text and leaves out navigation and advertisements. Where it finds less than a
quarter of what a reader sees, or the page is as long as a book, everything that a reader sees is taken: a
copy that is missed costs more than a menu that is read along.
"""

import contextlib
import logging
import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import trafilatura
from lxml import etree

from indexers.errors import DamagedMediaError
from indexers.modality import MediaLimits
from indexers.text import encodings

_CHUNK_CHARACTERS = 64 * 1024

_MAIN_TEXT_CHARACTERS = 1_000_000
_MAIN_TEXT_TAGS = 30_000
"""Longest page, with its markup, in which the main text is looked for: 700,000 tags take 60 s and 1 GB."""

_MIN_MAIN_SHARE = 0.25

_DECLARED = re.compile(
    rb"""<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([\w.:-]+)|<meta[^>]{0,400}?\scharset\s*=\s*["']?\s*([\w.:-]+)"""
    rb"""|<meta[^>]{0,400}?;\s*charset\s*=\s*([\w.:-]+)""",
    re.IGNORECASE,
)
_DECLARED_WITHIN = 2048

_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "dialog",
    "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5",
    "h6", "header", "hgroup", "hr", "legend", "li", "main", "nav", "ol", "option", "p", "pre", "section",
    "summary", "table", "tbody", "tfoot", "thead", "tr", "ul",
))  # fmt: skip
_UNSEEN = frozenset((
    "head", "script", "style", "template", "noscript", "iframe", "object", "svg", "math", "canvas", "audio",
    "video", "select", "textarea", "button",
    # The reading aids above Chinese and Japanese characters, which a copy may leave out.
    "rp", "rt", "rtc",
))  # fmt: skip
_CELLS = frozenset(("td", "th"))
_VOID = "area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr"
_SELF_CLOSED = re.compile(rf"<(?!(?:{_VOID})\b)([A-Za-z][\w:-]*)((?:\s[^<>]*)?)/>", re.IGNORECASE)
_XML_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_UNFIT = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\ufffe\uffff\ud800-\udfff]")
"""What libxml2 stops at, or lxml refuses."""
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_VOID_TAGS = frozenset(_VOID.split("|"))


def prepare() -> None:
    """Run the parsers once, so that whatever they load late is loaded."""
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL + 1)  # it would quote the pages
    page = "<html><body><article>" + "<p>One sentence, then another.</p>" * 20 + "</article></body></html>"
    "".join(_main_text(page))


def read(source: BinaryIO, limits: MediaLimits) -> Iterator[str]:
    """Yield the page's main text, or all that is seen; its title and what is hidden are left out.

    Raises:
        DamagedMediaError: If too much of it is unreadable.
    """
    pieces = encodings.decoded(source, _encoding(source, limits))
    page, length = [], 0
    for piece in pieces:
        page.append(piece)
        length += len(piece)
        if length > _MAIN_TEXT_CHARACTERS:
            break
    else:
        yield from _main_text("".join(page))
        return
    yield from seen(_chained(page, pieces))


def text_of(content: bytes, *, xhtml: bool) -> str:
    """Return all that a reader sees of a page that is part of something else, such as a chapter.

    Args:
        content: The page; its encoding is the one that it declares, or is detected.
        xhtml: Whether tags may close themselves, as XML's do: ``<title/>``.

    Raises:
        DamagedMediaError: If its encoding cannot be told.
    """
    encoding = _declared(content) or encodings.detect(content[: encodings.SAMPLE_BYTES])
    if encoding is None:
        raise DamagedMediaError("a part is no text in any known encoding: save it again as UTF-8")
    _, skip = encodings.mark(content)
    page = content[skip:].decode(encoding, "replace")
    if xhtml:
        page = _SELF_CLOSED.sub(r"<\1\2></\1>", page)
    return "".join(seen([page]))


def _encoding(source: BinaryIO, limits: MediaLimits) -> str:
    sample = encodings.sample_of(source, max_characters=limits.max_characters)
    source.seek(0)
    head = source.read(encodings.SAMPLE_BYTES)
    encoding = _declared(head) or encodings.detect(sample)
    if encoding is None:
        raise DamagedMediaError("the page is in no known encoding: save it again as UTF-8")
    return encoding


def _declared(head: bytes) -> str | None:
    """Return the encoding that a mark or the page names, if Python knows it and it fits."""
    marked, _ = encodings.mark(head)
    if marked:
        return marked
    found = _DECLARED.search(head[:_DECLARED_WITHIN])
    if not found:
        return None
    return encodings.usable((found[1] or found[2] or found[3]).decode("ascii"), head)


def _main_text(page: str) -> Iterator[str]:
    everything = "".join(seen([page]))
    if page.count("<") > _MAIN_TEXT_TAGS:
        yield everything
        return
    clean = _UNFIT.sub(" ", _XML_DECLARATION.sub("", page))
    # fast: no second opinion by jusText, which opens files and takes ten times as long
    main = trafilatura.extract(clean, fast=True, favor_recall=True, include_comments=True) or ""
    yield main if len(main) >= _MIN_MAIN_SHARE * len(everything.strip()) else everything


def _chained(page: list[str], rest: Iterator[str]) -> Iterator[str]:
    yield from page
    yield from rest


def seen(page: Iterable[str]) -> Iterator[str]:
    """Yield what a reader sees of a page in pieces, block by block; runs of white space become one blank.

    Memory does not grow with the page. Broken or deeply nested markup is read as far as it makes sense.
    """
    reader = _Reader()
    # Nothing is built and nothing fetched: the reader is told of tags and text as they come.
    parser = etree.HTMLParser(target=reader, no_network=True, huge_tree=False)
    for chunk in _cut(page):
        parser.feed(chunk)
        yield from reader.take()
    with contextlib.suppress(etree.LxmlError):  # what it could not read is left out
        parser.close()
    yield from reader.take()


def _cut(page: Iterable[str]) -> Iterator[str]:
    first = True
    for piece in page:
        for start in range(0, len(piece), _CHUNK_CHARACTERS):
            chunk = _UNFIT.sub(" ", piece[start : start + _CHUNK_CHARACTERS])
            yield _XML_DECLARATION.sub("", chunk) if first else chunk
            first = False


class _Reader:
    """Is told of a page's tags and text, and keeps what a reader sees."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._unseen = 0
        self._gap = ""
        self._begun = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in _VOID_TAGS:
            if tag in {"br", "hr"}:
                self._break("\n")
            return
        if self._unseen or tag in _UNSEEN or _is_hidden(attributes):
            self._unseen += 1
        elif tag in _BLOCKS:
            self._break("\n")
        elif tag in _CELLS:
            self._break(" ")

    def end(self, tag: str) -> None:
        if tag in _VOID_TAGS:
            return
        if self._unseen:
            self._unseen -= 1
        elif tag in _BLOCKS:
            self._break("\n")

    def data(self, data: str) -> None:
        if self._unseen:
            return
        words = " ".join(data.split())
        if not words:
            self._break(" ")
            return
        if data[0].isspace():
            self._break(" ")
        self._pieces.append(self._gap + words if self._begun else words)
        self._begun = True
        self._gap = " " if data[-1].isspace() else ""

    def close(self) -> None:
        """Be told of the end."""

    def take(self) -> Iterator[str]:
        """Yield what has come since the last call."""
        if self._pieces:
            yield "".join(self._pieces)
            self._pieces.clear()

    def _break(self, gap: str) -> None:
        if self._gap != "\n":
            self._gap = gap


def _is_hidden(attributes: dict[str, str]) -> bool:
    return "hidden" in attributes or bool(_HIDDEN_STYLE.search(attributes.get("style", "")))
