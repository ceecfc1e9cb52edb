"""Plain text, Markdown among it, as it is: an offset counts characters of what the user wrote."""

from collections.abc import Iterator
from typing import BinaryIO

from indexers.errors import DamagedMediaError
from indexers.modality import MediaLimits
from indexers.text import encodings


def read(source: BinaryIO, limits: MediaLimits) -> Iterator[str]:
    """Yield the text, unchanged but for a byte order mark, which is left out.

    Raises:
        DamagedMediaError: If too much of it is unreadable.
        MediaLimitError: If it is longer than `limits.max_characters`.
    """
    encoding = encodings.detect(encodings.sample_of(source, max_characters=limits.max_characters))
    if encoding is None:
        raise DamagedMediaError("this is no text in any known encoding: save it again as UTF-8")
    yield from encodings.decoded(source, encoding)
