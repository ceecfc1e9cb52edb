"""Pictures for the benchmarks: any folder's, or the photographs that scikit-image and scikit-learn ship."""

import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final, TypeAlias

from PIL import Image, ImageOps

Picture: TypeAlias = Image.Image
"""sRGB, upright, its longer side at most `WORKING_SIDE`."""

WORKING_SIDE: Final = 1024
"""Attacks are made on pictures of this size at most, so that a few huge ones do not take all the time."""

_SUFFIXES: Final = {".jpg", ".jpeg", ".png", ".webp"}
_MIN_SIDE: Final = 64

SHIPPED: Final = (
    ("skimage.data", ("astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png")),
    ("skimage.data", ("coffee.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg")),
    ("skimage.data", ("ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg")),
    ("sklearn.datasets.images", ("china.jpg", "flower.jpg")),
)
"""Real photographs, by package."""


@dataclass(frozen=True, slots=True)
class Medium:
    """A picture's file.

    Attributes:
        name: Where it came from, for people.
        content: Its bytes.
    """

    name: str
    content: bytes

    def picture(self) -> Picture:
        """Decode it."""
        with Image.open(io.BytesIO(self.content)) as image:
            image.draft("RGB", (WORKING_SIDE, WORKING_SIDE))
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
            upright = upright.convert("RGB")
        upright.thumbnail((WORKING_SIDE, WORKING_SIDE))
        return upright


@dataclass(frozen=True, slots=True)
class MediaSet:
    """Pictures without exact duplicates, in an order that depends on their content alone.

    Attributes:
        sources: Name of each folder or package, and how many pictures it gave.
    """

    media: Sequence[Medium]
    sources: dict[str, int]


def shipped() -> MediaSet:
    """The photographs that scikit-image and scikit-learn ship."""
    found = [
        Medium(name, files(package).joinpath(name).read_bytes())
        for package, names in SHIPPED
        for name in names
    ]
    return _set({"scikit-image and scikit-learn": found})


def load(folders: Iterable[Path]) -> MediaSet:
    """All pictures below the folders that can be decoded and whose sides have at least 64 pixels.

    Raises:
        ValueError: If a folder has none.
    """
    by_source = {}
    for folder in folders:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
        by_source[folder.name] = [
            Medium(f"{folder.name}/{path.relative_to(folder)}", path.read_bytes())
            for path in paths
            if _usable(path)
        ]
        if not by_source[folder.name]:
            raise ValueError(f"no pictures in {folder}: name a folder of JPEG, PNG or WebP files")
    return _set(by_source)


def _usable(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            if min(image.size) < _MIN_SIDE or getattr(image, "is_animated", False):
                return False
            image.draft("RGB", (_MIN_SIDE, _MIN_SIDE))
            image.load()
            return True
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return False


def _set(by_source: dict[str, list[Medium]]) -> MediaSet:
    kept: dict[str, Medium] = {}
    sources: dict[str, int] = {}
    for source, media in by_source.items():
        before = len(kept)
        for medium in media:
            kept.setdefault(hashlib.sha256(medium.content).hexdigest(), medium)
        sources[source] = len(kept) - before
    return MediaSet([kept[digest] for digest in sorted(kept)], sources)
