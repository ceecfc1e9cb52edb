"""Pairs of a query and a registered picture with the service's signals, for fitting the score."""

import io
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.quality.attacks import ATTACKS, Hand
from benchmarks.quality.media import Medium, Picture
from benchmarks.quality.plain import PLAIN
from indexers.image import decode, hashes
from indexers.modality import MediaLimits, Role

SIGNALS: Final = ("pdq_distance", "phash_distance", "pdq_quality", "phash_quality")
"""Columns of `Pairs.signals`, as `indexers.image.align` names and measures them."""

_PLAIN_SHARE: Final = 0.05
"""Part of the references, and of the unrelated queries, that are of the kinds in `plain`."""
_PLAIN_COMMON: Final = 0.01
"""Part of a catalogue, and of what it is asked, that such pictures are taken for; they weigh accordingly."""
_FRAMED_SHARE: Final = 0.05
"""Part of the references that are registered in a frame or beneath a text."""
_SAME: Final = 0.9
"""Correlation of thumbnails from which two files are taken for copies of one picture."""
_THUMBNAIL: Final = 32

_FRAMES: Final = [name for name, attack in ATTACKS.items() if attack.family in {"frames", "overlays"}]


@dataclass(frozen=True, slots=True)
class Job:
    """A picture to be made and hashed.

    Attributes:
        source: Which picture it shows, for all that show the same.
        medium: Its file; None: one of the kinds in `plain`.
        change: Name of the attack, or of the kind in `plain`; empty: as it is.
        backdrops: What attacks put beside it.
        role: What it is hashed for.
        seed: Of the change.
    """

    source: int
    medium: Medium | None
    change: str
    backdrops: tuple[Medium, ...]
    role: Role
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Hashed:
    """A picture's hashes.

    Attributes:
        source: Which picture it shows, for all that show the same.
        pdq: (views, 4).
        phash: (views, 1).
        pdq_quality: 0..1.
        phash_quality: 0..1.
        thumbnail: Of the picture before any attack, of mean 0 and length 1.
        weight: How often there are such pictures, relative to how often the sample holds them.
    """

    source: int
    pdq: npt.NDArray[np.uint64]
    phash: npt.NDArray[np.uint64]
    pdq_quality: float
    phash_quality: float
    thumbnail: npt.NDArray[np.float32]
    weight: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs near enough to be looked at, out of many more.

    Attributes:
        signals: (n, 4), columns `SIGNALS`.
        copies: (n,) bool: whether the query was made from the reference.
        weights: (n,): of all copies that were made they add up to 1, and of all unrelated pairs that there
            are, near or not.
        unrelated: How many unrelated pairs there are.
    """

    signals: npt.NDArray[np.float64]
    copies: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float64]
    unrelated: int


def make(media: Sequence[Medium], seed: int, per_attack: int, near: tuple[float, float]) -> Pairs:
    """Register most of the pictures, attack some of them, and compare every query with every reference.

    Args:
        media: Pictures; three in five become references, the others are strangers.
        seed: Of the draw and of all attacks.
        per_attack: How many copies are made by each attack.
        near: PDQ and pHash distances up to which (of either) a pair is looked at, bits.
    """
    with ProcessPoolExecutor() as processes:
        hashed = list(processes.map(_hash, _jobs(media, seed, per_attack), chunksize=20))
    references = [one for one in hashed if len(one.pdq) == 1]
    queries = [one for one in hashed if len(one.pdq) > 1]
    return compare(queries, references, near)


def _jobs(media: Sequence[Medium], seed: int, per_attack: int) -> Iterator[Job]:
    rng = random.Random(seed)
    order = rng.sample(range(len(media)), len(media))
    registered, strangers = order[: len(order) * 3 // 5], order[len(order) * 3 // 5 :]

    def job(source: int, change: str, role: Role) -> Job:
        backdrops = tuple(media[i] for i in rng.sample(strangers, min(3, len(strangers))))
        return Job(source, media[source], change, backdrops, role, rng.getrandbits(32))

    def plain(count: int, role: Role, first: int) -> Iterator[Job]:
        for number, kind in zip(range(count), cycle(PLAIN), strict=False):
            yield Job(-first - number, None, kind, (), role, rng.getrandbits(32))

    for source in registered:
        framed = rng.random() < _FRAMED_SHARE
        yield job(source, rng.choice(_FRAMES) if framed else "", Role.REFERENCE)
    yield from plain(round(len(registered) * _PLAIN_SHARE), Role.REFERENCE, 1)
    for name in ATTACKS:
        for source in rng.choices(registered, k=per_attack):
            yield job(source, name, Role.QUERY)
    for number, source in enumerate(strangers):
        yield job(source, rng.choice(list(ATTACKS)) if number % 2 else "", Role.QUERY)
    yield from plain(round(len(strangers) * _PLAIN_SHARE), Role.QUERY, 1_000_001)


def _hash(job: Job) -> Hashed:
    rng = random.Random(job.seed)
    if job.medium is None:
        original = PLAIN[job.change](rng)
        content = _png(original)
    else:
        original, content = job.medium.picture(), job.medium.content
        if job.change:
            hand = Hand(rng, (other.picture() for other in cycle(job.backdrops)))
            content = ATTACKS[job.change](original, hand)
    segment = next(decode.decode(io.BytesIO(content), MediaLimits()))
    pdq, phash = hashes.fingerprint([segment], job.role)
    return Hashed(
        job.source,
        np.ascontiguousarray(pdq.descriptors).view(np.uint64),
        np.ascontiguousarray(phash.descriptors).view(np.uint64),
        float(pdq.quality[0]),
        float(phash.quality[0]),
        _thumbnail(original),
        1.0 if job.medium else _PLAIN_COMMON / _PLAIN_SHARE,
    )


def _png(picture: Picture) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _thumbnail(picture: Picture) -> npt.NDArray[np.float32]:
    """Colours at 32 × 32 points, of mean 0 and length 1."""
    pixels = np.asarray(picture.resize((_THUMBNAIL, _THUMBNAIL)), np.float32).ravel()
    pixels -= pixels.mean()
    pixels /= max(float(np.linalg.norm(pixels)), 1e-6)
    return pixels


def compare(queries: Sequence[Hashed], references: Sequence[Hashed], near: tuple[float, float]) -> Pairs:
    """Compare every query with every reference; keep what is near.

    A near pair of different files whose sources look the same, colours included, is left out: collections
    hold pictures twice, and what is no copy must not be learnt from them.
    """
    pdq = np.concatenate([one.pdq for one in references])
    phash = np.concatenate([one.phash for one in references])
    qualities = np.array([[one.pdq_quality, one.phash_quality] for one in references])
    sources = np.array([one.source for one in references])
    thumbnails = np.stack([one.thumbnail for one in references])
    common = np.array([one.weight for one in references])
    signals, copies, weights = [], [], []
    unrelated, made, total = 0, 0, 0.0
    for query in queries:
        far = _distances(query.pdq, pdq), _distances(query.phash, phash)
        same = sources == query.source
        made += int(same.sum())
        unrelated += int((~same).sum())
        total += float(common[~same].sum()) * query.weight
        looked_at = np.flatnonzero((far[0] <= near[0]) | (far[1] <= near[1]))
        alike = thumbnails[looked_at] @ query.thumbnail >= _SAME
        looked_at = looked_at[same[looked_at] | ~alike]
        own = np.array([query.pdq_quality, query.phash_quality])
        signals.append(
            np.column_stack([far[0][looked_at], far[1][looked_at], np.minimum(qualities[looked_at], own)])
        )
        copies.append(same[looked_at])
        weights.append(np.where(same[looked_at], 1.0, common[looked_at] * query.weight))
    is_copy = np.concatenate(copies)
    scaled = np.concatenate(weights) / np.where(is_copy, max(made, 1), max(total, 1.0))
    return Pairs(np.concatenate(signals).astype(np.float64), is_copy, scaled, unrelated)


def _distances(views: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint16]:
    """Smallest Hamming distance of any view to each of the others, (n,)."""
    distances = np.bitwise_count(views[:, np.newaxis] ^ others).sum(axis=2, dtype=np.uint16)
    return np.asarray(distances.min(axis=0), np.uint16)
