"""What people are shown of a text: what is read of it, character by character."""

from typing import BinaryIO, Final

from indexers.modality import MediaLimits
from indexers.previews import Budget, Facts, Files, Kind
from indexers.text import read

MOST_CHARACTERS: Final = 5_000_000
"""Of a longer text, such as a whole library, the beginning is shown."""


def preview(source: BinaryIO, limits: MediaLimits, files: Files, budget: Budget) -> None:
    """Write the text as UTF-8, so that the offsets of matches count its characters.

    Characters that no text may hold (lone surrogates) become question marks.

    Raises:
        MediaError: As `read.read`.
    """
    file = files.begin(Kind.TEXT)
    count, whole = 0, True
    for segment in read.read(source, limits):
        part = segment.data[: MOST_CHARACTERS - count]
        file.write(part.encode("utf-8", "replace"))
        count += len(part)
        if len(part) < len(segment.data) or budget.spent(0):
            whole = False
            break
    files.end(Kind.TEXT, Facts(characters=count, whole=whole))
