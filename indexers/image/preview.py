"""What people are shown of a picture: the first frame, as a viewer shows it.

Of a small picture one file is enough, which serves as its thumbnail too: keeping a second one costs nearly as
much.
"""

from typing import BinaryIO

from indexers.image import decode
from indexers.image.decode import WORKING_SIDE, Picture
from indexers.modality import MediaLimits
from indexers.previews import PICTURE_SIDE, THUMBNAIL_SIDE, Files, Kind, write_picture


def preview(source: BinaryIO, limits: MediaLimits, files: Files, first: Picture | None = None) -> None:
    """Write a picture and, if that has `WORKING_SIDE` pixels or more, a thumbnail of it.

    Args:
        source: The file.
        limits: What it may ask for.
        files: Where to write.
        first: The first frame at its working size, where it was decoded already; None: it was not.

    Raises:
        MediaError: As `decode.decode`.
    """
    if first is None or max(first.shape) >= WORKING_SIDE:  # it may have been larger
        first = next(decode.decode(source, limits, side=PICTURE_SIDE)).data
    write_picture(files, Kind.PICTURE, first, side=PICTURE_SIDE)
    if max(first.shape) >= WORKING_SIDE:
        write_picture(files, Kind.THUMBNAIL, first, side=THUMBNAIL_SIDE)
