"""``text.winnow.v1``: keys of short runs of symbols, thinned so that an edit spoils only the keys it touches.

A run is 4 symbols where it starts with an ideograph and 8 otherwise (`normalise`). Its hash decides alone
whether the run is kept and, by other bits, which key it gets. Winnowing (Schleimer, Wilkerson and Aiken,
2003) keeps the smallest hash of a window instead, so that an edit beside a run may deselect it; at one edit
in five characters that costs a large part of the common keys. Sampling by the hash's own value is Manber's
(1994), known today as FracMinHash.

The hash is a polynomial over the symbols modulo 2⁶⁴, computed for all places at once by doubling, then
mixed by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from indexers.errors import MediaLimitError
from indexers.fingerprint import Fingerprint, Metric, Scheme, SpanUnit
from indexers.modality import Segment
from indexers.text.normalise import CODE, DIGIT, IDEOGRAPH, Normalised, normalise

WINNOW: Final = Scheme("text.winnow", 1, 32, Metric.HAMMING, SpanUnit.CHARACTER)
"""A row is a key of 4 bytes, most significant first; its span is the run in the original text."""

LETTERS: Final = 8
"""Symbols in a run of letters."""
IDEOGRAPHS: Final = 4
"""Symbols in a run that starts with an ideograph."""
DENSITY: Final = 1 / 3
"""Part of the runs that is kept."""
REPEATS: Final = 32
"""How often a key may occur in one text; later ones are dropped: they say nothing about the place."""
PIECE: Final = 1_000_000
"""Most characters that are normalised at a time."""
MOST_OF_CHARACTER: Final = 4
"""Most runs that start with a symbol of one character: so many symbols has a character at most."""
MOST: Final = 5_000_000
"""Most keys of one text, some 15 million characters: what a worker sends has to fit one message."""

_BASE: Final = 0x9E3779B97F4A7C15
_WORD: Final = (1 << 64) - 1
_KEPT_BELOW: Final = np.uint64(round(DENSITY * 2**32) << 32)


def keys(text: Normalised) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """The kept runs of a text, in their order.

    Returns:
        (m,) uint32 keys and (m, 2) int64 half-open spans of characters. Runs of fewer than three different
        symbols, or of digits for more than half, carry nothing and are left out.
    """
    return _described(text, len(text.symbols))


def fingerprint(segments: Iterable[Segment[str]]) -> Fingerprint:
    """Describe a text that comes in pieces; the result does not depend on where it was cut.

    Returns:
        Where nothing can be described, as in a text of a few characters or of nothing but repetition, digits
        and punctuation: one row of quality 0, which is never looked up.

    Raises:
        MediaLimitError: If it has more than `MOST` keys.
    """
    parts = []
    rows = 0
    for part in _pieces(segments):
        rows += len(part[0])
        if rows > MOST:
            raise MediaLimitError(f"the text has more than {MOST} keys of passages: send it in parts")
        parts.append(part)
    found, spans = parts[0]
    if len(parts) > 1:
        found, spans = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    ranked = np.sort(found)
    if (ranked[REPEATS:] == ranked[:-REPEATS]).any():
        kept = _first(found, REPEATS)
        found, spans = found[kept], spans[kept]
    quality = np.ones(len(found), np.float32)
    if not len(found):
        found, spans = np.zeros(1, np.uint32), np.array([[0, 1]])
        quality = np.zeros(1, np.float32)
    return Fingerprint(
        WINNOW, packed(found), spans.astype(np.float64), quality, np.zeros(len(found), np.uint8)
    )


def packed(found: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Descriptors of keys: (n, 4) uint8."""
    return found.astype(">u4").view(np.uint8).reshape(-1, 4)


def unpacked(descriptors: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Keys of descriptors: (n,) uint32."""
    return np.ascontiguousarray(descriptors).view(">u4").reshape(-1).astype(np.uint32)


def _pieces(
    segments: Iterable[Segment[str]],
) -> Iterator[tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]]:
    """Keys of the runs that are complete, piece by piece; the last symbols of a piece wait for the next."""
    held = Normalised(np.zeros(0, np.uint32), np.zeros(0, np.int64))
    for segment in segments:
        for start in range(0, len(segment.data), PIECE):
            part = normalise(segment.data[start : start + PIECE], int(segment.start) + start)
            if len(held.symbols):
                complete = max(0, len(held.symbols) - (LETTERS - 1))
                yield _described(held, complete)
                part = Normalised(
                    np.concatenate([held.symbols[complete:], part.symbols]),
                    np.concatenate([held.offsets[complete:], part.offsets]),
                )
            held = part
    yield keys(held)


def _described(text: Normalised, most: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """The kept runs that fit into a text and start among its first `most` symbols."""
    symbols = text.symbols
    codes = np.zeros(len(symbols) + LETTERS - 1, np.uint64)
    codes[: len(symbols)] = symbols & np.uint32(CODE)
    wide = (symbols & np.uint32(IDEOGRAPH)) != 0
    hashes = _hashes(codes, wide)
    starts = np.flatnonzero(hashes[:most] < _KEPT_BELOW)
    lengths = np.where(wide[starts], IDEOGRAPHS, LETTERS)
    told = starts + lengths <= len(symbols)
    told &= _telling(symbols, codes, starts, lengths)
    starts, lengths = starts[told], lengths[told]
    spans = np.empty((len(starts), 2), np.int64)
    spans[:, 0] = text.offsets[starts]
    spans[:, 1] = text.offsets[starts + lengths - 1] + 1
    return hashes[starts].astype(np.uint32), spans


def _hashes(codes: npt.NDArray[np.uint64], wide: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """Hashes of the runs that start at each symbol; `codes` go on beyond the text, as zeros."""
    pairs = codes[:-1] * np.uint64(_BASE) + codes[1:]
    fours = pairs[:-2] * np.uint64(pow(_BASE, 2, _WORD + 1)) + pairs[2:]
    eights = fours[:-4] * np.uint64(pow(_BASE, 4, _WORD + 1)) + fours[4:]
    return _mixed(np.where(wide, fours[: len(wide)], eights))


def _mixed(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    hashes = hashes + np.uint64(_BASE)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _telling(
    symbols: npt.NDArray[np.uint32],
    codes: npt.NDArray[np.uint64],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
) -> npt.NDArray[np.bool_]:
    """Which runs have three different symbols or more, and are not mostly digits."""
    apart = codes[1:] != codes[:-1]
    three = apart[:-1] & apart[1:] & (codes[2:] != codes[:-2])
    told: npt.NDArray[np.bool_] = three[starts] | three[starts + 1]
    doubtful = np.flatnonzero(~told)
    for length in (IDEOGRAPHS, LETTERS):
        some = doubtful[lengths[doubtful] == length]
        if not len(some):
            continue
        runs = np.sort(codes[starts[some, None] + np.arange(length)], axis=1)
        told[some] = (runs[:, 1:] != runs[:, :-1]).sum(axis=1) >= 2
    digits = (symbols & np.uint32(DIGIT)) != 0
    if digits.any():
        passed = np.concatenate([[0], np.cumsum(digits)])
        ends = np.minimum(starts + lengths, len(symbols))
        told &= 2 * (passed[ends] - passed[starts]) <= lengths
    return told


def _first(found: npt.NDArray[np.uint32], repeats: int) -> npt.NDArray[np.bool_]:
    """Which keys are among the first `repeats` of their value."""
    order = np.argsort(found, kind="stable")
    ranked = found[order]
    begins = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(ranked) else order
    rank = np.arange(len(ranked)) - np.repeat(begins, np.diff(np.r_[begins, len(ranked)]))
    kept = np.empty(len(found), np.bool_)
    kept[order] = rank < repeats
    return kept
