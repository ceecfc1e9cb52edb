"""Text from untrusted bytes of any format: what it is, and what it says.

Offsets count characters (Unicode code points) of the extracted text. Of plain text, Markdown among it, that
is the text itself, as its encoding decodes it, line ends included, without the byte order mark; so offsets
are the user's own. Of other formats it is what `html`, `epub`, `pdf` and `docx` describe.
"""

import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import BinaryIO

from indexers.errors import DamagedMediaError, UnsupportedMediaError
from indexers.modality import MediaLimits, Segment
from indexers.text import archive, encodings, plain

FORMATS = ("plain text", "Markdown", "HTML", "EPUB", "PDF", "DOCX")
"""What can be read, as users call it."""

HEAD_BYTES = 4096
"""How much of a file `sniff` wants to see."""

PIECE_CHARACTERS = 1_000_000
"""Most characters of a segment."""

_Reader = Callable[[BinaryIO, MediaLimits], Iterator[str]]

_PDF_WITHIN = 1024
_LOCAL_HEADER = b"PK\3\4"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_NOT_FOR_READING = re.compile(
    r"\{\\rtf|%!PS|(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!DOCTYPE svg[^>]*>\s*)?<svg\b", re.DOTALL
)
"""Rich text, PostScript and SVG: drawn, or marked up so heavily that it is no text."""
_HTML = re.compile(
    r"(?:\s|<!--.*?-->|<\?xml[^>]*>|<\?php)*(?:<!DOCTYPE\s+html|<(?:html|head|body|title|meta|link|script|style|"
    r"article|section|main|header|div|p|h[1-6]|table|center|font|span|ul|ol|br)\b[^<>]*>)",
    re.IGNORECASE | re.DOTALL,
)


@cache
def load() -> Mapping[str, _Reader]:
    """Import the libraries that read documents; return the readers by kind."""
    from indexers.text import docx, epub, html, pdf  # noqa: PLC0415 - half a second of libraries

    html.prepare()
    pdf.prepare()
    return {
        "text": plain.read,
        "html": html.read,
        "epub": epub.read,
        "pdf": pdf.read,
        "docx": docx.read,
    }


def prepare() -> None:
    """Load all that reading needs, before the process gives up opening files. Takes some 10 ms."""
    encodings.prepare()
    archive.prepare()
    load()


def sniff(head: bytes) -> str | None:
    """Tell the kind of a text by a file's first 4,096 bytes: a key such as ``html``; None: it is no text.

    Plain text is recognised by looking like text in some encoding, so ask for other kinds of media first.
    """
    if head.startswith(_LOCAL_HEADER):
        return _sniff_parts(head)
    if b"%PDF-" in head[:_PDF_WITHIN]:
        return "pdf"
    encoding = encodings.detect(head)
    if encoding is None:
        return None
    _, skip = encodings.mark(head)
    text = head[skip:].decode(encoding, "replace").lstrip()
    if _NOT_FOR_READING.match(text):
        return None
    return "html" if _HTML.match(text) else "text"


def _sniff_parts(head: bytes) -> str | None:
    """Tell EPUB and DOCX from other ZIP files by the parts that come first."""
    if b"application/epub+zip" in head[:_PDF_WITHIN] or b"META-INF/container.xml" in head:
        return "epub"
    if b"word/document" in head:
        return "docx"
    for start in (match.start() for match in re.finditer(_LOCAL_HEADER, head)):
        name_bytes = int.from_bytes(head[start + 26 : start + 28], "little")
        extra_bytes = int.from_bytes(head[start + 28 : start + 30], "little")
        at = start + 30 + name_bytes
        if head[start + 30 : at] == b"[Content_Types].xml":
            types = _inflated(head[at + extra_bytes :])
            return "docx" if b"wordprocessingml" in types else None
    return None


def _inflated(packed: bytes) -> bytes:
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, 16 * HEAD_BYTES)
    except zlib.error:
        return b""


def read(source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[str]]:
    """Yield a text in pieces of at most `PIECE_CHARACTERS`; their spans are offsets in the whole.

    The pieces follow each other without gaps, from 0. No file but `source` is opened.

    Raises:
        UnsupportedMediaError: If it is of none of the `FORMATS`, needs a password, or holds no text.
        DamagedMediaError: If it is broken, cut off, or mostly unreadable.
        MediaLimitError: If it has more than `limits.max_characters`, or unpacks to far too much.
    """
    source.seek(0)
    head = source.read(HEAD_BYTES)
    if not head:
        raise DamagedMediaError("the file is empty: send the whole file")
    kind = sniff(head)
    if kind is None:
        if head.startswith(_OLE):
            raise UnsupportedMediaError(
                "this is an Office document of the old kind, or one with a password: save it as DOCX, "
                "without one"
            )
        raise UnsupportedMediaError(f"this is no text that can be read: send {', '.join(FORMATS)}")
    has_text = False
    start = 0
    for piece in _regrouped(load()[kind](source, limits)):
        has_text = has_text or not piece.isspace()
        if start + len(piece) > limits.max_characters:
            raise encodings.too_long(limits.max_characters)
        yield Segment(start=float(start), end=float(start + len(piece)), data=piece)
        start += len(piece)
    if not has_text:
        raise UnsupportedMediaError(_NO_TEXT.get(kind, "there is no text in it: send one that has some"))


_NO_TEXT = {
    "pdf": "the PDF holds no text, only pictures or nothing: send its pages as pictures, or run text "
    "recognition",
    "epub": "the EPUB holds no text, only pictures or nothing: send its pages as pictures",
}


def _regrouped(texts: Iterator[str]) -> Iterator[str]:
    """Cut and join pieces of any length to full ones, holding no more than one and what came last."""
    waiting = io.StringIO()
    length = 0
    for text in texts:
        begin = 0
        while length + len(text) - begin >= PIECE_CHARACTERS:
            cut = begin + PIECE_CHARACTERS - length
            yield waiting.getvalue() + text[begin:cut]
            begin, length = cut, 0
            waiting = io.StringIO()
        waiting.write(text[begin:])
        length += len(text) - begin
    if length:
        yield waiting.getvalue()
