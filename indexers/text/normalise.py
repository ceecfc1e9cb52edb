"""What a text says, freed from how it is written, with the way back to its characters.

A character becomes none, one or a few *symbols*, whatever stands beside it, so that a text may be cut
anywhere:

- compatibility forms (full-width letters, ligatures, circled digits) and case are folded;
- accents, punctuation, symbols, white space, zero-width and bidirectional marks are dropped;
- what only looks like a Latin letter, a digit or an ideograph becomes that; ``l`` and ``1`` become ``i``,
  ``0`` becomes ``o``;
- traditional ideographs become simplified ones; Korean syllables become their letters.

All that is a frozen table, which `indexers.text.tables` made; its docstring names the sources.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from indexers.errors import ModelError

TABLE: Final = Path(__file__).with_name("normalise_v1.npz")
_SHA256: Final = "eba80b9bb586ab509e25f231a8663678c28732595361914f80b2a5cdeafa400f"

CODE: Final = 0x1FFFFF
"""Bits of a symbol that hold its code point."""
IDEOGRAPH: Final = 1 << 24
"""Flag of a symbol that stands for a word or a syllable: Chinese characters, kana, bopomofo, Yi."""
DIGIT: Final = 1 << 25
"""Flag of a symbol that was a decimal digit."""
_SEVERAL: Final = 1 << 31
"""In the table: so many symbols that they stand elsewhere, at the index in the lower bits."""

_IDEOGRAPHS: Final = (
    (0x3005, 0x3007),
    (0x3041, 0x30FF),
    (0x3105, 0x312F),
    (0x31A0, 0x31BF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA000, 0xA4CF),
    (0xF900, 0xFAFF),
    (0x17000, 0x18CFF),
    (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFD),
)


def is_ideograph(code: int) -> bool:
    """Whether a code point stands for a word or a syllable by itself."""
    return any(first <= code <= last for first, last in _IDEOGRAPHS)


@dataclass(frozen=True, slots=True, eq=False)
class Normalised:
    """Symbols and where they come from.

    Attributes:
        symbols: (n,) uint32: code points with the flags `IDEOGRAPH` and `DIGIT`.
        offsets: (n,) int64: index of the character that each symbol comes from; never falls.
    """

    symbols: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int64]


def normalise(text: str, start: int = 0) -> Normalised:
    """Fold a text; linear in its length.

    Args:
        text: A text or a piece of one. Lone surrogates are dropped.
        start: Index of its first character in the whole text.

    Raises:
        ModelError: If the table that ships is missing or was changed.
    """
    first, several = _tables()
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    mapped = first[codes]
    kept = np.flatnonzero(mapped)
    symbols = mapped[kept]
    many = np.flatnonzero(symbols & _SEVERAL)
    if not len(many):
        return Normalised(symbols, kept + start)
    rows = several[symbols[many] & CODE]  # (m, 4), zeros at the end
    counts = np.ones(len(symbols), np.int64)
    counts[many] = (rows != 0).sum(axis=1)
    offsets = np.repeat(kept, counts)
    out = np.repeat(symbols, counts)
    out[(out & _SEVERAL) != 0] = rows[rows != 0]
    return Normalised(out, offsets + start)


@cache
def _tables() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """(0x110000,) the symbol of each code point, 0 for none; (m, 4) those of code points with several."""
    try:
        content = TABLE.read_bytes()
    except OSError as error:
        raise ModelError(f"{TABLE.name} cannot be read ({error}): install Copyhound again") from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise ModelError(f"{TABLE.name} is not the table of this version: install Copyhound again")
    with np.load(TABLE) as stored:
        codes, lengths, symbols = (stored[name] for name in ("codes", "lengths", "symbols"))
    first: npt.NDArray[Any] = np.arange(0x110000, dtype=np.uint32)
    for low, high in _IDEOGRAPHS:
        first[low : high + 1] |= np.uint32(IDEOGRAPH)
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    first[codes[lengths == 0]] = 0
    single = lengths == 1
    first[codes[single]] = symbols[starts[single]]
    many = np.flatnonzero(lengths > 1)
    several = np.zeros((len(many), 4), np.uint32)
    for place in range(4):
        has = lengths[many] > place
        several[has, place] = symbols[starts[many[has]] + place]
    first[codes[many]] = np.arange(len(many), dtype=np.uint32) | np.uint32(_SEVERAL)
    return first, several
