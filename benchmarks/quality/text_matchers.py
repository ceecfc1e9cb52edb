"""Who is asked for passages: our fingerprints in this process, and the peers, behind one interface."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
from rensa import RMinHash, RMinHashLSH

from indexers.fingerprint import Fingerprint
from indexers.modality import Segment
from indexers.text import align, winnow
from indexers.text.normalise import CODE, IDEOGRAPH, normalise

_ROWS: Final = 128
"""Rows of a work that vote together."""
_CANDIDATES: Final = 4
"""Works that are aligned."""
_VOTES: Final = 4.0
"""Votes of a stretch and the next, below which a work is not aligned."""
_POSTINGS: Final = 2_000
"""Rows that may hold a key; a key that more hold is not looked up."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A work that was found.

    Attributes:
        target: Its name.
        score: Larger is surer.
        query: Half-open intervals of characters of the query.
        work: The same of the work.
    """

    target: str
    score: float
    query: tuple[tuple[float, float], ...] = ()
    work: tuple[tuple[float, float], ...] = ()


class Matcher(Protocol):
    """Registers texts, then answers. A client of the running service can stand here too."""

    name: str

    def register(self, name: str, text: str) -> None:
        """Add a work."""
        ...

    def ready(self) -> int:
        """Prepare for questions; returns the bytes that the works take."""
        ...

    def ask(self, text: str) -> list[Passage]:
        """What of the works a text holds."""
        ...


def described(text: str) -> Fingerprint | None:
    """The fingerprint of a text."""
    return winnow.fingerprint([Segment(0.0, float(len(text)), text)])


class Ours:
    """A sorted array of keys stands in for the service's index; candidates are aligned as in the service.

    A key votes once for each stretch of `_ROWS` rows that hold it, and less the more works hold it. Bytes are
    counted as the service has them: 12 a row resident, 7 in the database.
    """

    name = "Copyhound"

    def __init__(self) -> None:
        """Without works."""
        self._works: list[tuple[str, Fingerprint]] = []
        self._extra = np.zeros(0, np.uint32)

    def register(self, name: str, text: str) -> None:
        """Add a work."""
        fingerprint = described(text)
        if fingerprint is not None:
            self._works.append((name, fingerprint))

    def crowd(self, rows: int, rng: np.random.Generator) -> None:
        """Add rows of keys that real texts hold, as often as they do: found, never aligned."""
        held = np.concatenate([winnow.unpacked(one.descriptors) for _, one in self._works])
        self._extra = rng.choice(held, rows)

    def ready(self) -> int:
        """Sort the keys; returns their bytes."""
        keys = [winnow.unpacked(one.descriptors) for _, one in self._works]
        sizes = [-(-len(one) // _ROWS) * _ROWS for one in keys]  # a stretch belongs to one work
        starts = np.cumsum([0, *sizes])
        rows = np.concatenate([start + np.arange(len(one)) for start, one in zip(starts, keys, strict=False)])
        self._work_of = np.repeat(np.arange(len(sizes)), [size // _ROWS for size in sizes])
        flat = np.concatenate([*keys, self._extra])
        rows = np.concatenate([rows, starts[-1] + np.arange(len(self._extra))]).astype(np.int64)
        crowd = np.full(-(-len(self._extra) // _ROWS), len(keys))
        self._work_of = np.concatenate([self._work_of, crowd])
        order = np.argsort(flat, kind="stable")
        self._keys, self._rows = flat[order], rows[order]
        return 19 * len(flat)

    def ask(self, text: str) -> list[Passage]:
        """Retrieve and align."""
        query = described(text)
        if query is None:
            return []
        asked, inverse = np.unique(winnow.unpacked(query.descriptors), return_inverse=True)
        first = np.searchsorted(self._keys, asked, "left")
        counts = np.searchsorted(self._keys, asked, "right") - first
        looked = np.flatnonzero((counts > 0) & (counts <= _POSTINGS))
        if not len(looked):
            return []
        sizes = counts[looked]
        places = np.repeat(first[looked] - (np.cumsum(sizes) - sizes), sizes) + np.arange(sizes.sum())
        stretches = self._rows[places] // _ROWS
        of_key = np.repeat(looked, sizes)
        weights = np.repeat(1 / np.log2(1 + sizes), sizes)
        order = np.argsort(stretches, kind="stable")
        begins = np.flatnonzero(np.r_[True, np.diff(stretches[order]) != 0])
        places, votes = stretches[order][begins], np.add.reduceat(weights[order], begins)
        nearby = np.r_[votes[1:], 0.0] * np.r_[np.diff(places) == 1, False]
        works = self._work_of[places]
        local = votes + nearby
        order = np.argsort(-local, kind="stable")
        order = order[local[order] >= _VOTES][:64]
        best = [int(work) for work in dict.fromkeys(works[order].tolist()) if work < len(self._works)]
        holders = np.zeros(len(asked))
        pairs = np.unique(of_key * (len(self._works) + 1) + self._work_of[stretches])
        np.add.at(holders, pairs // (len(self._works) + 1), 1)
        usual = max(3.0, 0.02 * len(self._works))
        rarity = np.minimum(1.0, usual / np.maximum(holders, 1.0))[inverse].astype(np.float32)
        rarity[counts[inverse] > _POSTINGS] = 0.0
        query = replace(query, quality=rarity)
        found = []
        for work in best[:_CANDIDATES]:
            name, fingerprint = self._works[work]
            alignment = align.align([query], [fingerprint])
            if alignment is not None and alignment.segments:
                segments = alignment.segments
                spans = tuple(one.query for one in segments), tuple(one.work for one in segments)
                found.append(Passage(name, alignment.signals["text_evidence"], *spans))
        return sorted(found, key=lambda one: -one.score)


def _windows(text: str) -> list[tuple[int, list[str]]]:
    """Overlapping windows of normalised symbols as shingles: 160 ideographs or 300 letters, half apart."""
    symbols = normalise(text).symbols
    flat = "".join(map(chr, (symbols & CODE).tolist()))
    wide = bool(len(symbols)) and (symbols & IDEOGRAPH).astype(bool).mean() > 0.5
    size, shingle = (160, 3) if wide else (300, 6)
    return [
        (
            start,
            [flat[place : place + shingle] for place in range(start, min(start + size, len(flat) - shingle))],
        )
        for start in range(0, max(1, len(flat) - size // 2), size // 2)
    ]


class MinHash:
    """Rensa's MinHash with its LSH, over windows of our normalised text."""

    name = "MinHash LSH (rensa)"

    def __init__(self, permutations: int = 128, bands: int = 64) -> None:
        """Without works."""
        self._permutations = permutations
        self._lsh = RMinHashLSH(threshold=0.1, num_perm=permutations, num_bands=bands)
        self._held: list[tuple[str, RMinHash]] = []

    def _hashed(self, shingles: list[str]) -> RMinHash:
        made = RMinHash(num_perm=self._permutations, seed=1)
        made.update(shingles)
        return made

    def register(self, name: str, text: str) -> None:
        """Add a work."""
        for _, shingles in _windows(text):
            hashed = self._hashed(shingles)
            self._lsh.insert(len(self._held), hashed)
            self._held.append((name, hashed))

    def ready(self) -> int:
        """Four bytes a permutation, and eight a band for the tables."""
        return len(self._held) * (4 * self._permutations + 8 * 64)

    def ask(self, text: str) -> list[Passage]:
        """The best window against the best window."""
        best: Counter[str] = Counter()
        for _, shingles in _windows(text):
            hashed = self._hashed(shingles)
            for place in self._lsh.query(hashed):
                name, held = self._held[place]
                best[name] = max(best[name], hashed.jaccard(held))
        return [Passage(name, score) for name, score in best.most_common(5)]


class SimHash:
    """64-bit SimHash (Charikar, 2002) over the same windows, compared with all."""

    name = "SimHash 64"

    def __init__(self) -> None:
        """Without works."""
        self._names: list[str] = []
        self._codes: list[int] = []

    def _code(self, shingles: list[str]) -> int:
        data = "".join(shingles).encode("utf-32-le")
        width = len(shingles[0]) if shingles else 1
        units = np.frombuffer(data, np.uint32).astype(np.uint64)
        units = units[: len(units) // width * width].reshape(-1, width)
        hashes = np.zeros(len(units), np.uint64)
        for column in units.T:
            hashes = (hashes ^ column) * np.uint64(0x9E3779B97F4A7C15)
            hashes ^= hashes >> np.uint64(29)
        bits = np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1)
        return int.from_bytes(np.packbits(bits.mean(axis=0) > 0.5).tobytes(), "big") if len(bits) else 0

    def register(self, name: str, text: str) -> None:
        """Add a work."""
        for _, shingles in _windows(text):
            self._names.append(name)
            self._codes.append(self._code(shingles))

    def ready(self) -> int:
        """Eight bytes a window."""
        self._table = np.array(self._codes, np.uint64)
        return 8 * len(self._codes)

    def ask(self, text: str) -> list[Passage]:
        """The nearest window to any."""
        nearest = (65, 0)
        for _, shingles in _windows(text):
            distances = np.bitwise_count(self._table ^ np.uint64(self._code(shingles)))
            place = int(distances.argmin())
            nearest = min(nearest, (int(distances[place]), place))
        return [Passage(self._names[nearest[1]], 64.0 - nearest[0])]
