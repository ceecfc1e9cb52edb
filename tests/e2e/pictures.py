"""Photographs that scikit-image and scikit-learn ship, to be altered and saved."""

import io
from importlib.resources import files

from PIL import Image

_FOLDERS = ("skimage.data", "sklearn.datasets.images")
_SUFFIXES = (".png", ".jpg")


def photograph(name: str) -> Image.Image:
    """One of them, by name without suffix, in RGB."""
    for folder in _FOLDERS:
        for suffix in _SUFFIXES:
            path = files(folder).joinpath(name + suffix)
            if path.is_file():
                return Image.open(io.BytesIO(path.read_bytes())).convert("RGB")
    raise FileNotFoundError(name)


def encoded(picture: Image.Image, quality: int = 85) -> bytes:
    """The picture as a JPEG."""
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()
