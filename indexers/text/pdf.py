"""PDF: the text of each page, as its fonts say which characters its glyphs stand for."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import pypdf
import pypdf.errors
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from indexers.errors import DamagedMediaError, MediaError, MediaLimitError, UnsupportedMediaError
from indexers.modality import MediaLimits

_END_WITHIN = 4096
"""Where the end marker stands. Adobe looks through the last 1,024 bytes, and some files go further."""

_MAX_PAGES = 50_000


def prepare() -> None:
    """Read a small document, so that whatever pypdf loads late is loaded; let it log nothing."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)
    document = io.BytesIO()
    with quietly():
        writer = pypdf.PdfWriter()
        page = writer.add_blank_page(100, 100)
        font = DictionaryObject(
            {
                NameObject("/Type"): NameObject("/Font"),
                NameObject("/Subtype"): NameObject("/Type1"),
                NameObject("/BaseFont"): NameObject("/Helvetica"),
            }
        )
        fonts = DictionaryObject({NameObject("/F1"): font})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        content = DecodedStreamObject()
        content.set_data(b"BT /F1 9 Tf 9 9 Td (text) Tj ET")
        page[NameObject("/Contents")] = content.flate_encode()
        writer.write(document)
    "".join(read(document, MediaLimits()))


def read(source: BinaryIO, limits: MediaLimits) -> Iterator[str]:
    """Yield the text page by page; a line end stands between pages. A page that cannot be read is left out.

    Raises:
        DamagedMediaError: If the file is cut off, or no page can be read.
        MediaLimitError: If it has too many pages, or one unpacks to too much.
        UnsupportedMediaError: If it needs a password.
    """
    if limits.max_characters < 1:
        raise MediaLimitError("no text is allowed: raise the limit")
    document = opened(source)
    first: MediaError | None = None
    found = False
    for number in range(len(document.pages)):
        try:
            with as_media_errors(), quietly():
                text = document.pages[number].extract_text()
        except DamagedMediaError as error:
            first = first or error
            continue
        if text:
            yield "\n" + text if found else text
            found = True
    if first and not found:
        raise first


def opened(source: BinaryIO) -> pypdf.PdfReader:
    """Open a document.

    Raises:
        DamagedMediaError: If the file is cut off or broken.
        MediaLimitError: If it has too many pages.
        UnsupportedMediaError: If it needs a password.
    """
    size = source.seek(0, 2)
    source.seek(max(0, size - _END_WITHIN))
    if b"%%EOF" not in source.read():
        raise DamagedMediaError("the PDF is cut off: send the whole file")
    source.seek(0)
    with as_media_errors(), quietly():
        document = pypdf.PdfReader(source, strict=False)
        if document.is_encrypted:
            _unlock(document)
        count = len(document.pages)
    if count > _MAX_PAGES:
        raise MediaLimitError(f"the PDF has more than {_MAX_PAGES} pages: send it in parts")
    return document


def _unlock(document: pypdf.PdfReader) -> None:
    """Open a document that is encrypted with an empty password, as many are that only forbid printing."""
    try:
        opened = document.decrypt("") != pypdf.PasswordType.NOT_DECRYPTED
    except pypdf.errors.DependencyError:  # AES takes a library that is not worth its size
        opened = False
    if not opened:
        raise UnsupportedMediaError("the PDF is protected by a password: save it without one")


@contextmanager
def quietly() -> Iterator[None]:
    """Keep the warnings of pypdf back."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def as_media_errors() -> Iterator[None]:
    """Turn whatever pypdf raises on broken bytes into a `MediaError`."""
    try:
        yield
    except (MediaError, MemoryError):
        raise
    except pypdf.errors.LimitReachedError as error:
        raise MediaLimitError(
            f"the PDF unpacks to far more than a text needs ({error}): save it again"
        ) from error
    except Exception as error:  # it raises nearly anything: KeyError, RecursionError, struct.error
        raise DamagedMediaError(
            f"the PDF is damaged or of an unusual variant ({error}): send the whole file, or its text"
        ) from error
