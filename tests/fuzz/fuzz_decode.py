"""Fuzz reading pictures: ``python tests/fuzz/fuzz_decode.py [libFuzzer options] [corpus folder]``.

Anything but pictures or a MediaError is a finding. Needs atheris. Bound it with ``-max_total_time=180`` or
``-runs=100000``. Without a corpus folder it starts from small files of every format.
"""

import contextlib
import io
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["indexers", "PIL"]):
    from PIL import Image

    from indexers.errors import MediaError
    from indexers.image import ImageModality
    from indexers.modality import MediaLimits, Role, described
    from tests.fuzz.running import run

LIMITS = MediaLimits(max_pixels=250_000, max_frames=3)
MODALITY = ImageModality()


def read(content: bytes) -> None:
    """Read and hash one input."""
    with contextlib.suppress(MediaError):
        described(MODALITY, MODALITY.decode(io.BytesIO(content), LIMITS), Role.QUERY)


def write_seeds(folder: Path) -> None:
    """Write a small file of each format."""
    frames = [Image.linear_gradient("L").resize((24, 16)).rotate(angle).convert("RGB") for angle in (0, 30)]
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"):
        frames[0].save(folder / f"still.{kind}", kind)
        if kind not in {"JPEG", "BMP"}:
            frames[0].save(folder / f"moving.{kind}", kind, save_all=True, append_images=frames[1:])
    heic = Path(__file__).parents[1] / "vectors" / "chelsea.heic"
    (folder / "still.HEIC").write_bytes(heic.read_bytes())


if __name__ == "__main__":
    run(read, write_seeds)
