"""Collecting the training pictures: folders of pictures in, shrunk and deduplicated JPEGs out.

A source is a folder of pictures with a name and a licence. The pictures that the released model saw, and how
each was had, are listed in the model card; `python -m indexers.training.sources --help` collects any others.

A picture's part ("train" or "held_out") follows from a hash of its name alone, so that every run, and every
later stage of training, keeps the same tenth aside.
"""

import argparse
import hashlib
import json
import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

LONGER_SIDE = 480
"""Pixels of a kept picture's longer side: a crop of a tenth of it still fills the network's input."""

SHORTEST_SIDE = 96
"""Pictures with a side below this, in pixels, are icons: they are left out."""

DUPLICATE_BITS = 6
"""Pictures whose 64-bit pHashes differ in at most this many bits count as one."""

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
_WIDEST = 3.5  # longer side over shorter; above this it is a banner or a strip of sprites
_FLATTEST = 12.0  # standard deviation in grey levels; below this it is a texture without content
_JPEG_QUALITY = 92
_HELD_OUT_SHARE = 10


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of pictures: its name, its licence, and how many of them to take at most."""

    name: str
    licence: str
    folder: Path
    most: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture that was kept: the JPEG in the output folder, where it came from, its part."""

    file: str
    original: str
    source: str
    part: str


def read_list(path: Path) -> list[Source]:
    """Read sources from a file of lines `name | licence | folder | most`; `#` starts a comment line."""
    rows = [line.split("|") for line in path.read_text("utf-8").splitlines() if line and line[0] != "#"]
    return [
        Source(name.strip(), licence.strip(), Path(folder.strip()), int(most))
        for name, licence, folder, most in rows
    ]


def part_of(source: str, name: str) -> str:
    """Say whether a picture is trained on or held out: a tenth of each source is, by its file name."""
    digest = hashlib.sha256(f"{source}/{name}".encode()).digest()
    return "held_out" if digest[0] % _HELD_OUT_SHARE == 0 else "train"


def collect(sources: Iterable[Source], out: Path, *, processes: int) -> list[Kept]:
    """Shrink the sources' pictures into `out`, dropping near-duplicates, and write `out/manifest.json`.

    Of two near-duplicates the one of the earlier source stays.
    """
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    jobs = [(source, path, out) for source in sources for path in _pick(source)]
    kept: list[Kept] = []
    hashes = np.empty((len(jobs),), np.uint64)
    with multiprocessing.Pool(processes) as pool:
        for picture, code in filter(None, pool.imap(_shrink, jobs, chunksize=16)):
            known = hashes[: len(kept)]
            if np.any(np.bitwise_count(known ^ code) <= DUPLICATE_BITS):
                (out / picture.file).unlink()
                continue
            hashes[len(kept)] = code
            kept.append(picture)
    (out / "manifest.json").write_text(json.dumps([asdict(picture) for picture in kept], indent=0))
    (out / "heldout.txt").write_text("".join(f"{p.original}\n" for p in kept if p.part == "held_out"))
    return kept


def read_manifest(folder: Path, part: str) -> list[Path]:
    """Return the paths of the pictures of one part, in the manifest's order."""
    rows = json.loads((folder / "manifest.json").read_text())
    return [folder / row["file"] for row in rows if row["part"] == part]


def _pick(source: Source) -> Iterator[Path]:
    """Yield at most `source.most` pictures of the folder, chosen by a hash of their names."""
    paths = [path for path in source.folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()]
    paths.sort(key=lambda path: hashlib.sha256(path.name.encode()).digest())
    yield from paths[: source.most]


def _shrink(job: tuple[Source, Path, Path]) -> tuple[Kept, np.uint64] | None:
    source, path, out = job
    pixels = _decode(path)
    if pixels is None or not _usable(pixels):
        return None
    name = hashlib.sha256(f"{source.name}/{path}".encode()).hexdigest()[:20]
    kept = Kept(f"pictures/{name}.jpg", str(path), source.name, part_of(source.name, path.name))
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    cv2.imwrite(str(out / kept.file), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), quality)
    bits = imagehash.phash(Image.fromarray(pixels)).hash
    return kept, np.packbits(bits).view(np.uint64)[0]


def _decode(path: Path) -> npt.NDArray[np.uint8] | None:
    """Decode to RGB on white, at most `LONGER_SIDE`; None where it cannot be decoded."""
    try:
        with Image.open(path) as image:
            if min(image.size) < SHORTEST_SIDE or max(image.size) > _WIDEST * min(image.size):
                return None
            image.draft("RGB", (LONGER_SIDE, LONGER_SIDE))
            rgba = image.convert("RGBA")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    white = Image.new("RGBA", rgba.size, "white")
    flat = Image.alpha_composite(white, rgba).convert("RGB")
    flat.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    return np.asarray(flat)


def _usable(pixels: npt.NDArray[np.uint8]) -> bool:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return min(pixels.shape[:2]) >= SHORTEST_SIDE and float(grey.std()) >= _FLATTEST


def main() -> None:
    """Collect the sources that a file lists."""
    parser = argparse.ArgumentParser(description="Shrink and deduplicate folders of training pictures.")
    parser.add_argument("list", type=Path, help="lines of `name | licence | folder | most`")
    parser.add_argument("out", type=Path, help="folder for the pictures and manifest.json")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    sources = read_list(given.list)
    kept = collect(sources, given.out, processes=given.processes)
    for source in sources:
        count = sum(picture.source == source.name for picture in kept)
        print(f"{source.name}\t{source.licence}\t{count}")  # noqa: T201 - the command's answer


if __name__ == "__main__":
    main()
