"""Large catalogues of sound: the fingerprints of real tracks that nothing is asked about, recombined.

A made-up work is put together of pieces of `PIECE` seconds from several tracks, at any place, until it is
`SECONDS` long. So how often a code occurs, how codes follow each other and how many peaks there are is as in
real sound. As one piece occurs in many works, a tenth of the bits of all codes is turned over, as another
recording's would be, and peaks move by up to two semitones: without it, the works would be copies of each
other.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers import registry
from indexers.audio.chromaprint import CHROMAPRINT, CODES, STEP
from indexers.fingerprint import Fingerprint
from indexers.modality import MediaLimits, Role
from service.domain import NewReference, NewWork
from service.store import Store

SECONDS: Final = 150.0
PIECE: Final = 8 * CODES * STEP
"""Eight rows of codes: 7.9 s."""
TURNED: Final = 0.1
_MOST_CENTS: Final = 200
_AT_ONCE: Final = 100
_TAIL: Final = 5.0
"""Seconds at the end of a track in which no row starts, at most."""


def described(path: Path) -> list[Fingerprint]:
    """What the service stores of a file."""
    modality = registry.by_name("audio")
    with path.open("rb") as file:
        stages = list(modality.fingerprint(modality.decode(file, MediaLimits()), Role.REFERENCE))
    return [fingerprint for stage in stages for fingerprint in stage]


def crowd(folder: Path, tracks: Sequence[Sequence[Fingerprint]], first: int, last: int) -> None:
    """Add works, numbered from `first` up to `last`, to the data folder of a service that does not run."""
    generator = np.random.default_rng(first)
    store = Store.open(f"sqlite:///{folder.resolve() / 'copyhound.db'}", registry.schemes())
    try:
        for start in range(first, last, _AT_ONCE):
            with store.transaction() as transaction:
                for number in range(start, min(start + _AT_ONCE, last)):
                    made = tuple(_recombined(tracks, generator))
                    reference = NewReference("", "audio", None, 0, made)
                    transaction.create_work(NewWork("benchmark", f"crowd {number}"), [reference])
    finally:
        store.close()


def _recombined(tracks: Sequence[Sequence[Fingerprint]], generator: np.random.Generator) -> list[Fingerprint]:
    parts: dict[str, list[Fingerprint]] = {}
    for place in range(int(SECONDS / PIECE)):
        track = tracks[int(generator.integers(len(tracks)))]
        ends = max(float(one.spans[:, 1].max()) for one in track)
        start = generator.integers(max(1, int((ends - _TAIL) / PIECE))) * PIECE
        cents = int(generator.integers(-_MOST_CENTS, _MOST_CENTS + 1))
        for one in track:
            inside = (one.spans[:, 0] >= start - STEP / 2) & (one.spans[:, 0] < start + PIECE - STEP / 2)
            if inside.any():
                moved = one.spans[inside] + (place * PIECE - start)
                part = _changed(one, inside, moved, cents, generator)
                parts.setdefault(one.scheme.id, []).append(part)
    return [_joined(some) for some in parts.values()]


def _changed(
    one: Fingerprint,
    inside: npt.NDArray[np.bool_],
    spans: npt.NDArray[np.float64],
    cents: int,
    generator: np.random.Generator,
) -> Fingerprint:
    rows = one.descriptors[inside]
    if one.scheme.id == CHROMAPRINT.id:
        turned = generator.random((*rows.shape, 8)) < TURNED
        rows = rows ^ np.packbits(turned, axis=-1)[..., 0]
    else:
        higher = rows.view(">u2").astype(np.int64) + cents
        rows = higher.clip(0, 65_535).astype(">u2").view(np.uint8)
    return replace(
        one,
        descriptors=rows,
        spans=np.maximum(spans, [0.0, 0.001]),
        quality=one.quality[inside],
        views=one.views[inside],
    )


def _joined(parts: Sequence[Fingerprint]) -> Fingerprint:
    return replace(
        parts[0],
        descriptors=np.concatenate([one.descriptors for one in parts]),
        spans=np.concatenate([one.spans for one in parts]),
        quality=np.concatenate([one.quality for one in parts]),
        views=np.concatenate([one.views for one in parts]),
    )
