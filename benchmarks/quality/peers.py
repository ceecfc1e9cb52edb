"""What others do: Meta's rule for PDQ, with Meta's own index, and pHash with the distances in common use."""

import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Final

import imagehash
import numpy as np
from PIL import Image

from benchmarks.quality.metrics import Asked, Found, System

PHASH_RADIUS: Final = 10
"""Bits up to which pHashes are ranked: the largest distance in common use."""
PHASH_RULE: Final = 8
"""Bits from which on two pHashes are usually taken for different pictures."""
PDQ_RULE: Final = 31
"""Bits up to which PDQ hashes match, as Meta advises; the index answers no farther."""


def missing() -> list[str]:
    """Packages of the peers that are not installed."""
    return [name for name in ("threatexchange", "pdqhash") if find_spec(name) is None]


def meta_pdq(references: Mapping[str, bytes], queries: Sequence[tuple[Asked, bytes]]) -> System:
    """Hash as Hasher-Matcher-Actioner does: quality of at least 50, no more than 31 bits apart.

    A match's score is minus its distance.

    Raises:
        ImportError: If ``threatexchange`` or ``pdqhash`` is not installed: ``pip install '.[bench]'``.
    """
    from threatexchange.signal_type.pdq.pdq_index import PDQIndex  # noqa: PLC0415 - not always installed
    from threatexchange.signal_type.pdq.signal import PdqSignal  # noqa: PLC0415

    hashed = [(PdqSignal.hash_from_bytes(content), name) for name, content in references.items()]
    index = PDQIndex([(signal, name) for signal, name in hashed if signal])

    def ask(content: bytes) -> list[Found]:
        signal = PdqSignal.hash_from_bytes(content)
        hits = index.query(signal) if signal else []
        return [Found(hit.metadata, -float(hit.similarity_info.distance)) for hit in hits]

    answers = [(asked, ask(content)) for asked, content in queries]
    return System("PDQ (Meta)", answers, {f"≤ {PDQ_RULE} bits": -PDQ_RULE})


def phash(references: Mapping[str, bytes], queries: Sequence[tuple[Asked, bytes]]) -> System:
    """Hash with imagehash, and compare with everything. A match's score is minus its distance."""
    names = list(references)
    rows = np.stack([_phash(content) for content in references.values()])

    def ask(content: bytes) -> list[Found]:
        distances = np.count_nonzero(rows != _phash(content), axis=1)
        return [Found(names[i], -float(distances[i])) for i in np.flatnonzero(distances <= PHASH_RADIUS)]

    answers = [(asked, ask(content)) for asked, content in queries]
    return System("pHash", answers, {f"≤ {PHASH_RULE} bits": -PHASH_RULE})


def _phash(content: bytes) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    with Image.open(io.BytesIO(content)) as image:
        bits: np.ndarray[tuple[int], np.dtype[np.bool_]] = imagehash.phash(image).hash.ravel()
        return bits
