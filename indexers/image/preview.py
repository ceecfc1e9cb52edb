"""What people are shown of a picture: the first frame, as a viewer shows it."""

from typing import BinaryIO

from PIL import Image

from indexers.image import decode
from indexers.modality import MediaLimits
from indexers.previews import PICTURE_SIDE, THUMBNAIL_SIDE, Files, Kind, write_picture


def preview(source: BinaryIO, limits: MediaLimits, files: Files) -> None:
    """Write a picture and a thumbnail of it.

    Raises:
        MediaError: As `decode.decode`.
    """
    first = next(decode.decode(source, limits, side=PICTURE_SIDE))
    image = Image.fromarray(first.data)
    write_picture(files, Kind.PICTURE, image, side=PICTURE_SIDE)
    write_picture(files, Kind.THUMBNAIL, image, side=THUMBNAIL_SIDE)
