"""Pairs of a query and a registered picture with the service's signals, for fitting the score."""

import io
import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from benchmarks.quality.attacks import ATTACKS, Hand
from benchmarks.quality.media import Medium, Picture
from benchmarks.quality.plain import PLAIN
from indexers import registry
from indexers.fingerprint import Fingerprint, Scheme
from indexers.image import hashes
from indexers.image.embed import CNN
from indexers.image.hashes import PDQ, PHASH
from indexers.modality import MediaLimits, Role, described

SIGNALS: Final = (
    "pdq_distance",
    "pdq_quality",
    "phash_distance",
    "phash_quality",
    "cnn_similarity",
    "cnn_quality",
    "local_inliers",
    "local_spread",
    "local_agreement",
)
"""Columns of `Pairs.signals`, as `indexers.image.align` names and measures them."""

NEAR: Final = {PDQ: 64, PHASH: 8}
"""Distances, bits, up to which (of either) the service looks at a pair."""
NEAREST: Final = 10
"""The pairs with the most similar CNN descriptors are looked at too."""

_PLAIN_SHARE: Final = 0.05
"""Part of the references, and of the unrelated queries, that are of the kinds in `plain`."""
_PLAIN_COMMON: Final = 0.01
"""Part of a catalogue, and of what it is asked, that such pictures are taken for; they weigh accordingly."""
_FRAMED_SHARE: Final = 0.05
"""Part of the references that are registered in a frame or beneath a text."""
_SAME: Final = 31
"""Bits of PDQ up to which two files are taken for copies of one picture."""

_FRAMES: Final = [
    name
    for name, attack in ATTACKS.items()
    if attack.family in {"frames", "overlays"} and name not in {"overlay_picture", "blend"}
]
"""What references are framed by: nothing that shows another picture."""


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
class Shown:
    """A picture's fingerprints.

    Attributes:
        source: Which picture it shows, for all that show the same.
        name: Of its file, for people.
        change: Name of the attack or kind; empty: as it is.
        role: What it was described for.
        fingerprints: Of all stages.
        original: PDQ hashes of the picture before any attack, in all views, (views, 4).
        weight: How often there are such pictures, relative to how often the sample holds them.
    """

    source: int
    name: str
    change: str
    role: Role
    fingerprints: tuple[Fingerprint, ...]
    original: npt.NDArray[np.uint64]
    weight: float = 1.0

    @property
    def collection(self) -> str:
        """What it has more in common with than with pictures at large."""
        return self.name.rpartition("/")[0]

    def rows(self, scheme: Scheme) -> npt.NDArray[Any]:
        """The descriptors of one scheme."""
        return next(one.descriptors for one in self.fingerprints if one.scheme == scheme)


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Pairs near enough to be looked at, out of many more.

    Attributes:
        signals: (n, columns); NaN where there is no such signal.
        copies: (n,) bool: whether the query was made from the reference.
        weights: (n,): of all copies that were made they add up to 1, and of all unrelated pairs that there
            are, near or not.
        attacks: (n,): What was done to the query.
        names: (n, 2): The query's file and the reference's.
        alike: (n,) bool: whether both files are of one collection: a folder.
        references: How many references there are.
        unrelated: How many unrelated pairs there are.
        columns: Names of the signals.
    """

    signals: npt.NDArray[np.float64]
    copies: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float64]
    attacks: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]
    alike: npt.NDArray[np.bool_]
    references: int
    unrelated: int
    columns: tuple[str, ...] = SIGNALS


def make(media: Sequence[Medium], seed: int, per_attack: int, *, hashes_only: bool) -> Pairs:
    """Register most of the pictures, attack some of them, and compare every query with every reference.

    Args:
        media: Pictures; three in five become references, the others are strangers.
        seed: Of the draw and of all attacks.
        per_attack: How many copies are made by each attack.
        hashes_only: Leave out what takes long.
    """
    describe = partial(_describe, hashes_only=hashes_only)
    with ProcessPoolExecutor() as processes:
        shown = list(processes.map(describe, _jobs(media, seed, per_attack), chunksize=8))
    references = [one for one in shown if one.role is Role.REFERENCE]
    queries = [one for one in shown if one.role is Role.QUERY]
    return compare(queries, references)


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


def _describe(job: Job, *, hashes_only: bool) -> Shown:
    rng = random.Random(job.seed)
    if job.medium is None:
        original = PLAIN[job.change](rng)
        content = _png(original)
    else:
        original, content = job.medium.picture(), job.medium.content
        if job.change:
            hand = Hand(rng, (other.picture() for other in cycle(job.backdrops)))
            content = ATTACKS[job.change](original, hand)
    image = registry.by_name("image")
    segments = list(image.decode(io.BytesIO(content), MediaLimits()))
    views, _ = hashes.pdq_views(hashes.square(np.asarray(original)), Role.QUERY)
    return Shown(
        job.source,
        "" if job.medium is None else job.medium.name,
        job.change,
        job.role,
        tuple(hashes.fingerprint(segments, job.role))
        if hashes_only
        else described(image, segments, job.role),
        views.view(np.uint64),
        1.0 if job.medium else _PLAIN_COMMON / _PLAIN_SHARE,
    )


def _png(picture: Picture) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def compare(queries: Sequence[Shown], references: Sequence[Shown]) -> Pairs:
    """Compare every query with every reference; keep what the service would look at, and all copies.

    A pair of different files that show the same picture, by Meta's rule for PDQ in any view, is left out:
    collections hold pictures twice, and what is no copy must not be learnt from them. That is not done with
    those that look alike by nature (`plain`).
    """
    hashed = {
        scheme: np.concatenate([one.rows(scheme) for one in references]).view(np.uint64) for scheme in NEAR
    }
    embeds = any(one.scheme == CNN for one in references[0].fingerprints)
    embedded = np.concatenate([one.rows(CNN) for one in references]) if embeds else None
    sources = np.array([one.source for one in references])
    originals = np.concatenate([one.original[:1] for one in references])
    collected = np.array([bool(one.name) for one in references])
    common = np.array([one.weight for one in references])
    image = registry.by_name("image")
    rows, copies, weights, attacks, names, related = [], [], [], [], [], []
    unrelated, made, total = 0, 0, 0.0
    for query in queries:
        same = sources == query.source
        made += int(same.sum())
        unrelated += int((~same).sum())
        total += float(common[~same].sum()) * query.weight
        looked_at = same.copy()
        for scheme, radius in NEAR.items():
            views = np.ascontiguousarray(query.rows(scheme)).view(np.uint64)
            looked_at |= _distances(views, hashed[scheme]) <= radius
        if embedded is not None:
            similarities = (query.rows(CNN) @ embedded.T).max(axis=0)
            looked_at[np.argsort(-similarities)[:NEAREST]] = True
        alike = (_distances(query.original, originals) <= _SAME) & collected & bool(query.name)
        for place in np.flatnonzero(looked_at & (same | ~alike)):
            found = image.align(query.fingerprints, references[int(place)].fingerprints)
            signals = {} if found is None else found.signals
            rows.append([signals.get(name, np.nan) for name in SIGNALS])
            copies.append(same[place])
            weights.append(1.0 if same[place] else common[place] * query.weight)
            attacks.append(query.change)
            reference = references[int(place)]
            names.append((query.name, reference.name))
            related.append(bool(query.name) and query.collection == reference.collection)
    is_copy = np.array(copies)
    scaled = np.array(weights) / np.where(is_copy, max(made, 1), max(total, 1.0))
    return Pairs(
        np.array(rows, np.float64),
        is_copy,
        scaled,
        np.array(attacks),
        np.array(names),
        np.array(related),
        len(references),
        unrelated,
    )


def _distances(views: npt.NDArray[np.uint64], others: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint16]:
    """Smallest Hamming distance of any view to each of the others, (n,)."""
    distances = np.bitwise_count(views[:, np.newaxis] ^ others).sum(axis=2, dtype=np.uint16)
    return np.asarray(distances.min(axis=0), np.uint16)
