"""The pictures on the pages of a PDF: scans among them."""

import io
from collections.abc import Sequence
from typing import Any, BinaryIO

from pypdf.generic import DictionaryObject, IndirectObject, StreamObject

from indexers.containers.levels import Entry
from indexers.modality import MediaLimits
from indexers.text import pdf

_LEAST_SIDE = 48
"""Pixels that the shorter side of a picture has at least."""
_MAX_DEPTH = 4
"""Of forms in forms."""
_MOST_PAGES = 20_000
"""Pages that are looked at."""


class PdfLevel:
    """The pictures of a PDF, page by page: scans among them."""

    def __init__(self, source: BinaryIO, kind: str, limits: MediaLimits) -> None:
        """Look for pictures on all pages; none is decoded yet.

        Raises:
            DamagedMediaError: If it is broken.
            MediaLimitError: If it has too many pages.
            UnsupportedMediaError: If it needs a password.
        """
        del kind
        self._limits = limits
        self._pictures: list[StreamObject] = []
        entries: list[Entry] = []
        document = pdf.opened(source)
        seen: set[tuple[int, int] | int] = set()
        with pdf.as_media_errors(), pdf.quietly():
            for page in range(min(len(document.pages), _MOST_PAGES)):
                if len(entries) > limits.max_parts:
                    break
                found: list[StreamObject] = []
                try:
                    _gather(document.pages[page].get("/Resources"), seen, found, _MAX_DEPTH)
                except Exception as error:
                    if isinstance(error, MemoryError):
                        raise
                for place, picture in enumerate(found):
                    name = f"page {page + 1}" + (f", picture {place + 1}" if len(found) > 1 else "")
                    size = _side(picture, "/Width") * _side(picture, "/Height")
                    refused = "too large" if size > limits.max_pixels else ""
                    entries.append(Entry(name, size, refused, "image"))
                    self._pictures.append(picture)
        self.entries: Sequence[Entry] = entries

    def head(self, number: int) -> bytes:
        """Nothing: the kind of each is known."""
        del number
        return b""

    def content(self, number: int) -> bytes:
        """The picture as a JPEG file where it is stored as such, else as PNG."""
        picture = self._pictures[number]
        with pdf.as_media_errors(), pdf.quietly():
            filters = picture.get("/Filter")
            names = filters if isinstance(filters, list) else [filters]
            if [str(name) for name in names] == ["/DCTDecode"]:
                return bytes(picture.get_data())
            image = picture.decode_as_image()
            file = io.BytesIO()
            (image if image.mode in {"1", "L", "P", "RGB", "RGBA"} else image.convert("RGB")).save(
                file, "PNG", compress_level=1
            )
            return file.getvalue()

    def open(self, number: int) -> BinaryIO:
        """The same as a file."""
        return io.BytesIO(self.content(number))


def _gather(resources: Any, seen: set[tuple[int, int] | int], found: list[StreamObject], depth: int) -> None:
    """Add the pictures that resources name, each once, those in forms too."""
    held = _resolved(resources)
    if not isinstance(held, DictionaryObject):
        return
    objects = _resolved(held.get("/XObject"))
    if not isinstance(objects, DictionaryObject):
        return
    for name in objects:
        raw = objects.raw_get(name)
        key = (raw.idnum, raw.generation) if isinstance(raw, IndirectObject) else id(raw)
        if key in seen:
            continue
        seen.add(key)
        item = _resolved(raw)
        if not isinstance(item, StreamObject):
            continue
        kind = item.get("/Subtype")
        if kind == "/Form" and depth:
            _gather(item.get("/Resources"), seen, found, depth - 1)
            continue
        sides = _side(item, "/Width"), _side(item, "/Height")
        if kind == "/Image" and not item.get("/ImageMask") and min(sides) >= _LEAST_SIDE:
            found.append(item)


def _side(picture: StreamObject, name: str) -> int:
    side = _resolved(picture.get(name))
    return side if isinstance(side, int) else 0


def _resolved(item: Any) -> Any:
    return item.get_object() if isinstance(item, IndirectObject) else item
