"""Who is asked for passages: our fingerprints in this process, and the peers, behind one interface."""

from collections import Counter
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt
from rensa import RMinHash, RMinHashLSH

from indexers.fingerprint import Fingerprint
from indexers.index.keyed import KeyedRows
from indexers.modality import Alignment, Segment
from indexers.text import TextModality, align, winnow
from indexers.text.normalise import CODE, IDEOGRAPH, normalise
from service.domain import DescriptorOwner
from service.matching import retrieve

_CANDIDATES: Final = 200
"""Works that are aligned at most, as by default in the service."""


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


def described(text: str) -> Fingerprint:
    """The fingerprint of a text."""
    return winnow.fingerprint([Segment(0.0, float(len(text)), text)])


class Ours:
    """Retrieval and alignment as the service has them, in this process; works are kept in memory.

    Bytes are counted as the service has them: beside what is resident, 3 a row of ids and 7 in the database.
    """

    name = "Copyhound"

    def __init__(self) -> None:
        """Without works."""
        self._works: list[tuple[str, Fingerprint]] = []
        self._extra = np.zeros((0, 4), np.uint8)

    def register(self, name: str, text: str) -> None:
        """Add a work."""
        self._works.append((name, described(text)))

    @property
    def works(self) -> int:
        """How many are registered."""
        return len(self._works)

    @property
    def rows(self) -> int:
        """How many keys they have together."""
        return sum(len(one) for _, one in self._works)

    def crowd(self, rows: int, rng: np.random.Generator) -> None:
        """Add rows of keys that real texts hold, as often as they do: found, never aligned."""
        held = np.concatenate([one.descriptors for _, one in self._works])
        self._extra = held[rng.integers(0, len(held), rows)]

    def ready(self) -> int:
        """Sort the keys; returns their bytes."""
        sizes = [len(one) for _, one in self._works]
        self._starts = np.cumsum([0, *sizes])
        flat = np.concatenate([*(one.descriptors for _, one in self._works), self._extra])
        self._rows = KeyedRows(winnow.WINNOW, np.ascontiguousarray(flat))
        self._owners = [
            DescriptorOwner(UUID(int=number), UUID(int=number), int(start), size)
            for number, (start, size) in enumerate(zip(self._starts[:-1], sizes, strict=True))
        ]
        return self._rows.nbytes + 10 * len(flat)

    def _owners_of(self, scheme: str, ids: npt.NDArray[np.int64]) -> dict[int, DescriptorOwner]:
        del scheme
        places = np.searchsorted(self._starts, ids, "right") - 1
        return {
            one: self._owners[place]
            for one, place in zip(ids.tolist(), places.tolist(), strict=True)
            if place < len(self._owners)
        }

    def compared(self, text: str) -> list[tuple[str, Alignment]]:
        """How the candidates relate to a text, the most promising first."""
        found = retrieve.retrieve(
            [described(text)],
            TextModality.channels,
            lambda _, rows, limit: self._rows.search(rows, radius=0, limit=limit),
            self._owners_of,
            _CANDIDATES,
            in_time=lambda: True,
        )
        compared = []
        for candidate in found.found:
            name, fingerprint = self._works[candidate.reference_id.int]
            alignment = align.align(found.query, [fingerprint])
            if alignment is not None and alignment.segments:
                compared.append((name, alignment))
        return compared

    def ask(self, text: str) -> list[Passage]:
        """Retrieve and align."""
        found = []
        for name, alignment in self.compared(text):
            spans = (
                tuple(one.query for one in alignment.segments),
                tuple(one.work for one in alignment.segments),
            )
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
