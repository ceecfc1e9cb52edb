"""Word documents: the paragraphs of a DOCX (ECMA-376, part 1, WordprocessingML), then its notes."""

from collections.abc import Iterator
from typing import BinaryIO

from lxml import etree

from indexers.archive import Archive
from indexers.errors import DamagedMediaError
from indexers.modality import MediaLimits
from indexers.text import xml

_KIND = "DOCX"
_BYTES_PER_CHARACTER = 40
"""How much of a document may be markup: a run of a few words takes some hundred bytes."""
_MAX_RELATIONS_BYTES = 1024 * 1024
_RELATIONS = "_rels/.rels"
_MAIN = "word/document.xml"

_SPACES = {
    # Transitional and strict.
    "http://schemas.openxmlformats.org/wordprocessingml/2006/main",
    "http://purl.oclc.org/ooxml/wordprocessingml/main",
}
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
"""Repeats, for old readers, what stands beside it."""


def read(source: BinaryIO, limits: MediaLimits) -> Iterator[str]:
    """Yield the text, a line for each paragraph; deleted text that is still marked as such is left out.

    Raises:
        DamagedMediaError: If the file is broken, or declares entities.
        MediaLimitError: If it unpacks to more than a text of `limits.max_characters` needs.
        UnsupportedMediaError: If a part needs a password.
    """
    archive = Archive(source, kind=_KIND, max_bytes=limits.max_characters * _BYTES_PER_CHARACTER)
    main = _main(archive)
    folder = main.rpartition("/")[0]
    notes = [f"{folder}/{name}.xml".lstrip("/") for name in ("footnotes", "endnotes")]
    for name in (main, *(name for name in notes if name in archive.names)):
        yield from _paragraphs(archive, name)


def _main(archive: Archive) -> str:
    """Name the part that holds the document's body."""
    if _RELATIONS in archive.names:
        relations = xml.tree(archive.content(_RELATIONS, max_bytes=_MAX_RELATIONS_BYTES), kind=_KIND)
        for relation in relations.iter("{*}Relationship"):
            if str(relation.get("Type", "")).endswith("/officeDocument"):
                return str(relation.get("Target", "")).lstrip("/")
    return _MAIN


def _paragraphs(archive: Archive, name: str) -> Iterator[str]:
    reader = _Reader()
    parser = xml.feeder(reader)
    try:
        for chunk in archive.chunks(name):
            parser.feed(chunk)
            yield from reader.take()
        parser.close()
    except etree.XMLSyntaxError as error:
        raise DamagedMediaError(
            f"the DOCX is damaged ({error.msg}): send the whole file, or save it again"
        ) from error
    yield from reader.take()


class _Reader:
    """Is told of a part's elements, and keeps its text."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._in_text = False
        self._in_fallback = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:  # noqa: ARG002 - of no interest here
        if self._in_fallback or tag == _FALLBACK:
            self._in_fallback += 1
            return
        match _local(tag):
            case "t":
                self._in_text = True
            case "tab":
                self._pieces.append("\t")
            case "br" | "cr":
                self._pieces.append("\n")

    def end(self, tag: str) -> None:
        if self._in_fallback:
            self._in_fallback -= 1
            return
        match _local(tag):
            case "t":
                self._in_text = False
            case "p":
                self._pieces.append("\n")

    def data(self, data: str) -> None:
        if self._in_text and not self._in_fallback:
            self._pieces.append(data)

    def close(self) -> None:
        """Be told of the end."""

    def take(self) -> Iterator[str]:
        """Yield what has come since the last call."""
        if self._pieces:
            yield "".join(self._pieces)
            self._pieces.clear()


def _local(tag: str) -> str:
    """Return an element's name, if it is one of WordprocessingML; else nothing."""
    space, _, name = tag.removeprefix("{").rpartition("}")
    return name if space in _SPACES else ""
