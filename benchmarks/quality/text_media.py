"""Texts for the benchmark of passages: folders of books, or small ones made up from word lists."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.text.normalise import CODE, normalise

PER_SIDE: Final = 24
"""Works registered, and works not registered, of each language."""
LONGEST: Final = 120_000
"""Characters of a registered work."""
QUOTED: Final = {"zh": 8, "en": 32}
"""Symbols in a row that a query without a copy may not share with what is registered: then it quotes."""
_SHARED: Final = {"zh": 32, "en": 64}
"""Symbols in a row that make a text of one side a copy of the other side's; such texts are left out."""


@dataclass(frozen=True, slots=True)
class Library:
    """Books of one language.

    Attributes:
        language: ``zh`` or ``en``.
        registered: Works by name.
        strangers: Texts of other books.
        distractors: Further works to be registered beside those that are copied.
    """

    language: str
    registered: dict[str, str]
    strangers: list[str]
    distractors: list[str]


def load(folder: Path, language: str, rng: random.Random, more: Path | None = None) -> Library:
    """Split the books of ``folder/language`` into sides; few long books are cut into volumes.

    The registered and the others never come from one book. Books are left out that share a stretch with a
    registered one. The books of `more` are distractors.
    """
    books = [path.read_text(encoding="utf-8") for path in sorted((folder / language).glob("*.txt"))]
    rng.shuffle(books)
    side = min(PER_SIDE, len(books) // 2)
    registered = volumes(books[:side], PER_SIDE)
    held = stretches(registered, language)
    strangers = [book for book in volumes(books[side : 2 * side], PER_SIDE) if apart(book, held, language)]
    asked = np.unique(np.concatenate([held, stretches(strangers, language)]))
    rest = books[2 * side :]
    if more is not None:
        rest += [path.read_text(encoding="utf-8") for path in sorted((more / language).glob("*.txt"))]
    others = [book for book in rest if apart(book, asked, language)]
    named = {f"{language}-{number:03}": book for number, book in enumerate(registered)}
    return Library(language, named, strangers, others)


def volumes(books: Sequence[str], count: int) -> list[str]:
    """At least `count` texts of equal length, each from one book."""
    each = -(-count // len(books))
    out = []
    for book in books:
        size = min(LONGEST, len(book) // each)
        middle = (len(book) - each * size) // 2
        out += [book[middle + number * size : middle + (number + 1) * size] for number in range(each)]
    return out


def made_up(language: str, rng: random.Random, works: int = 6, words: int = 4_000) -> Library:
    """Texts of invented words, common and rare as in a language, for a test that takes seconds."""
    if language == "zh":
        vocabulary = [
            "".join(chr(rng.randrange(0x4E00, 0x9000)) for _ in range(size)) for size in (1, 2, 2) * 900
        ]
        end, between = "。", ""
    else:
        syllables = [
            f"{first}{last}" for first in "bdfghklmnprstvw" for last in ("a", "e", "i", "o", "u", "en", "or")
        ]
        vocabulary = ["".join(rng.choices(syllables, k=size)) for size in (1, 2, 2, 3) * 700]
        end, between = ".", " "
    weights = [1 / (rank + 5) for rank in range(len(vocabulary))]

    def text() -> str:
        sentences = []
        for _ in range(words // 10):
            chosen = rng.choices(vocabulary, weights, k=10)
            sentences.append(between.join(chosen).capitalize() + end + between)
        return "".join(sentences)

    named = {f"{language}-{number:03}": text() for number in range(works)}
    return Library(language, named, [text() for _ in range(works)], [text()])


def stretches(texts: Iterable[str], language: str) -> npt.NDArray[np.uint64]:
    """Hashes of all stretches of some texts, sorted."""
    hashes: npt.NDArray[np.uint64] = np.unique(
        np.concatenate([_hashes(text, _SHARED[language]) for text in texts])
    )
    some: npt.NDArray[np.uint64] = hashes[hashes >> np.uint64(60) == 0]  # a stretch has many: 1 in 16 will do
    return some


def apart(text: str, held: npt.NDArray[np.uint64], language: str) -> bool:
    """Whether a text has no stretch in common with others."""
    hashes = _hashes(text, _SHARED[language])
    places = np.minimum(np.searchsorted(held, hashes), len(held) - 1)
    return not (held[places] == hashes).any()


def _hashes(text: str, length: int) -> npt.NDArray[np.uint64]:
    """Polynomial hashes of all runs of `length` symbols, a power of two, by doubling."""
    hashes = (normalise(text).symbols & np.uint32(CODE)).astype(np.uint64)
    base, size = 0x9E3779B97F4A7C15, 1
    while size < length:
        hashes = hashes[:-size] * np.uint64(pow(base, size, 1 << 64)) + hashes[size:]
        size *= 2
    return hashes


def quoting(texts: Sequence[str], library: Library) -> list[bool]:
    """Which texts share a line (`QUOTED`) with what is registered."""
    length = QUOTED[library.language]
    works = [*library.registered.values(), *library.distractors]
    asked = [_hashes(text, length) for text in texts]
    wanted = np.unique(np.concatenate(asked))
    shared = np.zeros(len(wanted), np.bool_)
    for work in works:
        hashes = _hashes(work, length)
        places = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
        shared[places[wanted[places] == hashes]] = True
    return [bool(shared[np.searchsorted(wanted, hashes)].any()) for hashes in asked]
