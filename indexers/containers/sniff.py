"""What kind of container a file is, by its first bytes."""

import codecs
from typing import Final

from indexers import archive, registry
from indexers.text import read

FORMATS: Final = ("ZIP", "CBZ", "APK", "JAR", "EPUB", "PDF", "DOCX", "tar", "tar.gz", "7z")
"""What can be opened, as users call it."""

IN_ORDER: Final = frozenset({"tar.gz", "7z"})
"""Kinds that are packed as a whole: to get at an entry, all before it is unpacked."""

HEAD_BYTES: Final = 4096
"""How much of a file `kind_of` wants to see."""

_DOCUMENTS = {"epub": "EPUB", "docx": "DOCX", "pdf": "PDF"}
"""By the names of `indexers.text.read.sniff`."""

DOCUMENTS: Final = frozenset(_DOCUMENTS.values())
"""Kinds that are texts, and may hold pictures."""

_ZIP = b"PK\3\4"
_EMPTY_ZIP = b"PK\5\6"
_GZIP = b"\x1f\x8b\x08"
_SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
_TAR_AT, _TAR = 257, (b"ustar\0", b"ustar ")
"""From POSIX.1-1988, and GNU's variant."""

_CLOSED: Final = {
    b"Rar!\x1a\x07": "RAR",
    b"RE\x7e\x5e": "RAR",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"MSCF\0\0\0\0": "CAB",
}
"""Archives that nothing here unpacks: for RAR, no free and kept package for Python brings what does."""


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
    if head.startswith(_SEVEN_ZIP):
        return "7z"
    if head.startswith((_ZIP, _EMPTY_ZIP)):
        return _DOCUMENTS.get(read.sniff(head) or "", "ZIP")
    inside = "tar" if head[_TAR_AT : _TAR_AT + 6] in _TAR else None
    if read.sniff_pdf(head):
        inside = _DOCUMENTS["pdf"]
    others = (modality for modality in registry.modalities() if modality.name != "text")
    return None if inside and any(one.recognises(head) for one in others) else inside


def closed(head: bytes) -> str | None:
    """Tell what archive a file is that cannot be opened, by its first bytes; None: it is no such."""
    return next((name for start, name in _CLOSED.items() if head.startswith(start)), None)


def refusal(kind: str) -> str:
    """What to tell whoever sends an archive that cannot be opened."""
    return f"{kind} files cannot be opened: unpack it, and send what is in it, or pack that again as ZIP"
