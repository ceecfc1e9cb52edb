"""What kind of container a file is, by its first bytes."""

import codecs
from typing import Final

from indexers import archive, registry
from indexers.text import read

FORMATS: Final = ("ZIP", "CBZ", "APK", "JAR", "EPUB", "PDF", "DOCX", "tar", "tar.gz")
"""What can be opened, as users call it."""

HEAD_BYTES: Final = 4096
"""How much of a file `kind_of` wants to see."""

_DOCUMENTS = {"epub": "EPUB", "docx": "DOCX", "pdf": "PDF"}
"""By the names of `indexers.text.read.sniff`."""

DOCUMENTS: Final = frozenset(_DOCUMENTS.values())
"""Kinds that are texts, and may hold pictures."""

_ZIP = b"PK\3\4"
_EMPTY_ZIP = b"PK\5\6"
_GZIP = b"\x1f\x8b\x08"
_TAR_AT, _TAR = 257, (b"ustar\0", b"ustar ")
"""From POSIX.1-1988, and GNU's variant."""


def prepare() -> None:
    """Load what opening needs, before the process gives up opening files."""
    archive.prepare()
    codecs.lookup("cp437")


def kind_of(head: bytes) -> str | None:
    """Tell the kind of a container by a file's first 4,096 bytes, as users call it; None: it is none.

    A picture or sound in which the mark of a container stands further on is none.
    """
    if head.startswith(_GZIP):
        return "tar.gz"
    if head.startswith((_ZIP, _EMPTY_ZIP)):
        return _DOCUMENTS.get(read.sniff(head) or "", "ZIP")
    inside = "tar" if head[_TAR_AT : _TAR_AT + 6] in _TAR else None
    if read.sniff_pdf(head):
        inside = _DOCUMENTS["pdf"]
    others = (modality for modality in registry.modalities() if modality.name != "text")
    return None if inside and any(one.recognises(head) for one in others) else inside
