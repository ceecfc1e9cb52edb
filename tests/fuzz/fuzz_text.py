"""Fuzz reading text: ``python tests/fuzz/fuzz_text.py [libFuzzer options] [corpus folder]``.

Anything but text or a MediaError is a finding. Needs atheris; bound it as `fuzz_decode.py` says. Without a
corpus folder it starts from a small document of every format.
"""

import contextlib
import io
import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))

with atheris.instrument_imports(include=["indexers", "pypdf", "trafilatura"]):
    from indexers.errors import MediaError
    from indexers.modality import MediaLimits
    from indexers.text import read
    from tests.documents import CHINESE, ENGLISH, docx, epub, page, paragraph, pdf
    from tests.fuzz.running import run

LIMITS = MediaLimits(max_characters=200_000)


def read_all(content: bytes) -> None:
    """Read one input."""
    with contextlib.suppress(MediaError):
        for _ in read.read(io.BytesIO(content), LIMITS):
            pass


def write_seeds(folder: Path) -> None:
    """Write a small document of each format."""
    seeds = {
        "gb": CHINESE.encode("gb18030"),
        "utf16": ENGLISH.encode("utf-16"),
        "html": page(CHINESE).encode(),
        "epub": epub([page(CHINESE)]),
        "docx": docx(paragraph(CHINESE)),
        "pdf": pdf([ENGLISH.strip()]),
    }
    for name, content in seeds.items():
        (folder / name).write_bytes(content)


if __name__ == "__main__":
    read.prepare()
    run(read_all, write_seeds)
