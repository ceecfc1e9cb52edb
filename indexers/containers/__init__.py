"""Files that hold other media: what is in them, and how to get at it, safely.

A container is a ZIP file of any name (CBZ, APK, JAR, a game's data), a tar file, packed by gzip or not, a 7z
file, or a document (EPUB, PDF, DOCX) with pictures in it. Its parts are the media in it, at any depth down to
`MAX_DEPTH` containers. Nothing is ever written to disk: names are labels for people, and no path.

Left out are links, folders, what is encrypted, what no modality knows, and of texts those that come with
nearly every container: programs, settings, licences (see `labels`).
"""

from indexers.containers.labels import NESTED
from indexers.containers.opened import ITSELF, MAX_DEPTH, Container, Part, load
from indexers.containers.sniff import (
    DOCUMENTS,
    FORMATS,
    HEAD_BYTES,
    IN_ORDER,
    closed,
    kind_of,
    prepare,
    refusal,
)
from indexers.containers.worth import Watched

__all__ = [
    "DOCUMENTS",
    "FORMATS",
    "HEAD_BYTES",
    "IN_ORDER",
    "ITSELF",
    "MAX_DEPTH",
    "NESTED",
    "Container",
    "Part",
    "Watched",
    "closed",
    "kind_of",
    "load",
    "prepare",
    "refusal",
]
