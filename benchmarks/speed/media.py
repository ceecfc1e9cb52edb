"""Real pictures for the benchmarks: from a folder, or photographs that scikit-image and scikit-learn ship."""

import io
import random
from collections.abc import Iterator
from importlib.resources import files
from itertools import count, cycle, islice
from pathlib import Path

from PIL import Image

_SUFFIXES = {".jpg", ".jpeg"}
_SHIPPED = (
    ("skimage.data", ("retina.jpg", "hubble_deep_field.jpg", "astronaut.png", "coffee.png", "chelsea.png")),
    ("skimage.data", ("rocket.jpg", "motorcycle_left.png")),
    ("sklearn.datasets.images", ("china.jpg", "flower.jpg")),
)
_MEGAPIXEL = 1_000_000
_QUALITY = 90


def originals(folder: Path | None) -> list[Path]:
    """The JPEG files below a folder; None: the photographs that the packages ship."""
    if folder is None:
        return [Path(str(files(package) / name)) for package, names in _SHIPPED for name in names]
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not found:
        raise SystemExit(f"there are no JPEG files below {folder}")
    return found


def megapixel_jpegs(folder: Path | None, number: int) -> list[bytes]:
    """Pictures of one megapixel in their own proportions, JPEG of quality 90, the largest originals first."""
    sizes = {}
    for path in originals(folder):
        with Image.open(path) as picture:
            sizes[path] = picture.width * picture.height
    largest = sorted(sizes, key=lambda path: (-sizes[path], path))
    encoded = []
    for path in largest[:number]:
        with Image.open(path) as picture:
            scale = (_MEGAPIXEL / sizes[path]) ** 0.5
            size = round(picture.width * scale), round(picture.height * scale)
            encoded.append(_jpeg(picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)))
    return encoded


def write_pictures(folder: Path | None, number: int, into: Path) -> None:
    """Write that many distinct files.

    First come the originals as they are. If those are too few, crops of half to nine tenths of their sides
    follow, JPEG of quality 90, at places that are the same in every run.
    """
    paths = originals(folder)
    for index, path in enumerate(paths[:number]):
        (into / f"{index:05}{path.suffix.lower()}").write_bytes(path.read_bytes())
    crops = islice(_crops(paths), max(0, number - len(paths)))
    for index, content in enumerate(crops, len(paths)):
        (into / f"{index:05}.jpg").write_bytes(content)


def _crops(paths: list[Path]) -> Iterator[bytes]:
    for seed, path in zip(count(), cycle(paths), strict=False):
        generator = random.Random(seed)
        with Image.open(path) as picture:
            width, height = (round(side * generator.uniform(0.5, 0.9)) for side in picture.size)
            left = generator.randrange(picture.width - width)
            top = generator.randrange(picture.height - height)
            yield _jpeg(picture.convert("RGB").crop((left, top, left + width, top + height)))


def _jpeg(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()
