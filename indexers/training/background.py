"""The background for score normalisation: descriptors of pictures whose licences permit anything.

    python -m indexers.training.background DATA LIST indexers/models/background_v1.npy

describes the training pictures of DATA whose source has, in LIST, a licence of `PERMISSIVE`. It prints the
file's SHA-256, which belongs into `indexers/models/__init__.py`, as the network's own does before this runs.
"""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

from indexers.image.embed import Embedder, OnnxEmbedder
from indexers.training import sources
from indexers.training.augment import decode

PERMISSIVE = {"CC0-1.0", "MIT", "BSD-3-Clause", "Apache-2.0", "CC-BY-4.0"}

_STEPS = 254  # int8 steps of one: numbers of unit vectors of 256 hardly ever pass a half
_SHARE = 0.3  # of the background, for any one source


def choose(data: Path, listed: list[sources.Source], most: int) -> list[Path]:
    """Choose pictures of the training part by the hash of their names, no source having too large a share."""
    allowed = {source.name for source in listed if source.licence in PERMISSIVE}
    rows = json.loads((data / "manifest.json").read_text())
    rows = [row for row in rows if row["part"] == "train" and row["source"] in allowed]
    chosen: list[Path] = []
    taken = dict.fromkeys(allowed, 0)
    for row in sorted(rows, key=lambda row: str(row["file"])):
        if len(chosen) < most and taken[row["source"]] < _SHARE * most:
            taken[row["source"]] += 1
            chosen.append(data / row["file"])
    return chosen


def describe(files: list[Path], embedder: Embedder, out: Path) -> str:
    """Write the descriptors of pictures as int8 and return the file's SHA-256 in hexadecimal."""
    rows = np.concatenate([embedder.embed([decode(np.fromfile(file, np.uint8))]) for file in files])
    np.save(out, np.clip(np.round(rows * _STEPS), -127, 127).astype(np.int8))
    return hashlib.sha256(out.read_bytes()).hexdigest()


def main() -> None:
    """Describe the background."""
    parser = argparse.ArgumentParser(description="Describe a background for score normalisation.")
    parser.add_argument("data", type=Path, help="folder made by indexers.training.sources")
    parser.add_argument("list", type=Path, help="the list of sources that made it")
    parser.add_argument("out", type=Path, help="the .npy file to write")
    parser.add_argument("--most", type=int, default=4000)
    given = parser.parse_args()
    files = choose(given.data, sources.read_list(given.list), given.most)
    print(describe(files, OnnxEmbedder(), given.out))  # noqa: T201 - the command's answer


if __name__ == "__main__":
    main()
