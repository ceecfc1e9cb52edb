"""E-books: the chapters of an EPUB in reading order (EPUB 3.3, https://www.w3.org/TR/epub-33/)."""

import posixpath
import re
from collections.abc import Iterator
from typing import BinaryIO

from indexers.archive import Archive
from indexers.errors import DamagedMediaError, UnsupportedMediaError
from indexers.modality import MediaLimits
from indexers.text import html, xml

_KIND = "EPUB"
_BYTES_PER_CHARACTER = 16
"""How much of a book may be markup: chapters take up to 3 bytes a character, and as much again in tags."""
_MAX_CHAPTER_BYTES = 32 * 1024 * 1024
_MAX_PACKAGE_BYTES = 4 * 1024 * 1024
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
"""As in URLs."""

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_PAGES = {"application/xhtml+xml", "text/html", "application/x-dtbook+xml"}


def read(source: BinaryIO, limits: MediaLimits) -> Iterator[str]:
    """Yield what a reader sees of each chapter, in the order of the spine; a line end stands between them.

    A chapter that the package names and the file lacks is left out, as reading programs do, and so is the
    table of contents.

    Raises:
        DamagedMediaError: If the file, or what says which chapters there are, is broken.
        MediaLimitError: If it unpacks to more than a text of `limits.max_characters` needs.
        UnsupportedMediaError: If chapters are encrypted.
    """
    archive = Archive(source, kind=_KIND, max_bytes=limits.max_characters * _BYTES_PER_CHARACTER)
    chapters = _chapters(archive)
    encrypted = _encrypted(archive)
    found = False
    for name in chapters:
        if name not in archive.names:
            continue
        if name in encrypted:
            raise UnsupportedMediaError(
                "the EPUB is encrypted (DRM): send one whose protection its owner has removed"
            )
        text = html.text_of(archive.content(name, max_bytes=_MAX_CHAPTER_BYTES), xhtml=True)
        if text:
            yield "\n" + text if found else text
            found = True


def _chapters(archive: Archive) -> list[str]:
    """Name the chapters in reading order."""
    container = xml.tree(archive.content(_CONTAINER, max_bytes=_MAX_PACKAGE_BYTES), kind=_KIND)
    path = next((str(file.get("full-path", "")) for file in container.iter("{*}rootfile")), "")
    package = xml.tree(archive.content(path, max_bytes=_MAX_PACKAGE_BYTES), kind=_KIND)
    pages = {
        item.get("id"): _resolved(path, str(item.get("href", "")))
        for item in package.iter("{*}item")
        if item.get("media-type") in _PAGES and "nav" not in str(item.get("properties", "")).split()
    }
    order = [pages[item.get("idref")] for item in package.iter("{*}itemref") if item.get("idref") in pages]
    if not order:
        raise DamagedMediaError("the EPUB names no chapters: save it again, or send its text")
    return list(dict.fromkeys(order))


def _resolved(package: str, reference: str) -> str:
    """Turn a reference in the package file into a part's name; one that leads outside names no part."""
    path = _ESCAPED.sub(lambda escape: bytes([int(escape[1], 16)]), reference.partition("#")[0].encode())
    return posixpath.normpath(posixpath.join(posixpath.dirname(package), path.decode(errors="replace")))


def _encrypted(archive: Archive) -> frozenset[str]:
    """Name the parts that are encrypted. Fonts often are, and do not matter."""
    if _ENCRYPTION not in archive.names:
        return frozenset()
    rules = xml.tree(archive.content(_ENCRYPTION, max_bytes=_MAX_PACKAGE_BYTES), kind=_KIND)
    return frozenset(_resolved("", str(part.get("URI", ""))) for part in rules.iter("{*}CipherReference"))
