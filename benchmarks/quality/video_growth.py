"""How the search of frames grows with the hours that are indexed, in one process and without the service.

A made-up row is a frame of a real film that nothing is asked about, with bits turned over, each with the
same chance, drawn for each scene of `SCENE` rows: between `LEAST` and `MOST`, which is what lies between two
frames of one scene and two that have nothing in common. So the rows lie where real ones lie, as dense as
these, and no two scenes are one. What is asked are rows of the real films, with `TURNED` of their bits
turned over, as an attack would; one of them stands among all the others.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers import registry
from indexers.index.faiss import FlatRows
from indexers.modality import MediaLimits, Role
from indexers.video.frames import FRAMES

Rows = npt.NDArray[np.uint8]

SCENE: Final = 8
LEAST: Final = 0.15
MOST: Final = 0.4
TURNED: Final = 0.12

_FILMS: Final = 24
_ASKED: Final = 20
_AT_ONCE: Final = 1 << 15


@dataclass(frozen=True, slots=True)
class Grown:
    """What it takes to search among so many hours.

    Attributes:
        hours: Of film.
        rows: So many frames are kept of them: as of the real films, at most one a second, as of long ones.
        cpu_milliseconds: Of one frame's search.
        bytes: Of the rows.
        recall: Part of the asked frames whose origin is among the nearest that the service looks at.
    """

    hours: int
    rows: int
    cpu_milliseconds: float
    bytes: int
    recall: float


def grown(films: Sequence[Path], hours: Sequence[int], seed: int = 0) -> list[Grown]:
    """Search among so many hours, made of the frames of these films.

    Args:
        films: Files that hold different films.
        hours: Ascending.
        seed: Of what is made up.
    """
    if not hours:
        return []
    real, seconds = _described(films[:_FILMS])
    modality = registry.by_name("video")
    search = next(one.search for one in modality.channels if one.scheme == FRAMES)
    assert search is not None  # noqa: S101 - frames are looked up
    generator = np.random.default_rng(seed)
    chosen = generator.choice(len(real), min(_ASKED, len(real)), replace=False)
    asked = _turned(real[chosen], np.full(len(chosen), TURNED), generator)
    results = []
    for one in hours:
        count = round(min(1.0, len(real) / seconds) * 3600 * one)
        rows = FlatRows(
            FRAMES, np.concatenate([real[chosen], _made_up(real, count - len(chosen), generator)])
        )
        began = time.process_time()
        hits = [rows.search(row[None], radius=search.radius, limit=search.nearest) for row in asked]
        spent = time.process_time() - began
        recall = float(np.mean([place in hit.ids for place, hit in enumerate(hits)]))
        results.append(Grown(one, count, 1000 * spent / len(asked), count * FRAMES.columns, recall))
    return results


def _described(films: Sequence[Path]) -> tuple[Rows, float]:
    """The rows of films, and how many seconds they last."""
    modality = registry.by_name("video")
    found, seconds = [], 0.0
    for path in films:
        with path.open("rb") as file:
            stages = list(modality.fingerprint(modality.decode(file, MediaLimits()), Role.REFERENCE))
        frames = next(one for stage in stages for one in stage if one.scheme == FRAMES)
        found.append(frames.descriptors)
        seconds += float(frames.spans.max())
    return np.concatenate(found), seconds


def _made_up(real: Rows, count: int, generator: np.random.Generator) -> Rows:
    made = np.empty((count, real.shape[1]), np.uint8)
    for start in range(0, count, _AT_ONCE):
        length = min(_AT_ONCE, count - start)
        scenes = -(-length // SCENE)
        shares = generator.uniform(LEAST, MOST, scenes).repeat(SCENE)[:length]
        taken = real[generator.integers(len(real), size=length)]
        made[start : start + length] = _turned(taken, shares, generator)
    return made


def _turned(rows: Rows, shares: npt.NDArray[np.float64], generator: np.random.Generator) -> Rows:
    """Rows with that share of their bits turned over."""
    levels = generator.integers(0, 256, (len(rows), rows.shape[1], 8), np.uint8)
    chosen = levels < (shares * 256).astype(np.uint16)[:, None, None]
    return np.asarray(rows ^ np.packbits(chosen, axis=2)[..., 0], np.uint8)
