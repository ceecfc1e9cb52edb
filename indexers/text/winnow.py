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
_KEPT_BELOW: Final = np.uint64(round(DENSITY * 2**32))


def keys(text: Normalised) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """The kept runs of a text, in their order.

    Returns:
        (m,) uint32 keys and (m, 2) int64 half-open spans of characters. Runs of fewer than three different
        symbols, or of digits for more than half, carry nothing and are left out.
    """
    starts = _runs(text.symbols)
    return _described(text, starts)


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
    found, spans = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
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
    waiting = Normalised(np.zeros(0, np.uint32), np.zeros(0, np.int64))
    for segment in segments:
        for start in range(0, len(segment.data), PIECE):
            part = normalise(segment.data[start : start + PIECE], int(segment.start) + start)
            text = Normalised(
                np.concatenate([waiting.symbols, part.symbols]),
                np.concatenate([waiting.offsets, part.offsets]),
            )
            complete = max(0, len(text.symbols) - (LETTERS - 1))
            starts = _runs(text.symbols)
            yield _described(text, starts[starts < complete])
            waiting = Normalised(text.symbols[complete:], text.offsets[complete:])
    yield keys(waiting)


def _runs(symbols: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """Where a run starts that fits into the text, whatever its hash: (m,) places in `symbols`."""
    places = len(symbols)
    lengths = np.where(symbols & IDEOGRAPH, IDEOGRAPHS, LETTERS)
    return np.flatnonzero(np.arange(places) + lengths <= places)


def _described(
    text: Normalised, starts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    if not len(starts):
        return np.zeros(0, np.uint32), np.zeros((0, 2), np.int64)
    hashes, ideographs = _hashes(text.symbols, starts)
    kept = (hashes >> np.uint64(32)) < _KEPT_BELOW
    starts, hashes, ideographs = starts[kept], hashes[kept], ideographs[kept]
    told = _telling(text.symbols, starts, ideographs)
    starts, hashes, ideographs = starts[told], hashes[told], ideographs[told]
    last = starts + np.where(ideographs, IDEOGRAPHS, LETTERS) - 1
    spans = np.stack([text.offsets[starts], text.offsets[last] + 1], axis=1)
    return (hashes & np.uint64(0xFFFFFFFF)).astype(np.uint32), spans


def _hashes(
    symbols: npt.NDArray[np.uint32], starts: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Hashes of the runs at `starts`, and whether each is of ideographs."""
    padded = np.zeros(len(symbols) + LETTERS - 1, np.uint64)
    padded[: len(symbols)] = symbols & np.uint32(CODE)
    pairs = padded[:-1] * np.uint64(_BASE) + padded[1:]
    fours = pairs[:-2] * np.uint64(pow(_BASE, 2, _WORD + 1)) + pairs[2:]
    eights = fours[:-4] * np.uint64(pow(_BASE, 4, _WORD + 1)) + fours[4:]
    ideographs = (symbols[starts] & IDEOGRAPH) != 0
    return _mixed(np.where(ideographs, fours[starts], eights[starts])), ideographs


def _mixed(hashes: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    hashes = hashes + np.uint64(_BASE)
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _telling(
    symbols: npt.NDArray[np.uint32], starts: npt.NDArray[np.int64], ideographs: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Which runs have three different symbols or more, and are not mostly digits."""
    told = np.empty(len(starts), np.bool_)
    for chosen, length in ((ideographs, IDEOGRAPHS), (~ideographs, LETTERS)):
        if not chosen.any():
            continue
        runs = symbols[starts[chosen, None] + np.arange(length)]
        digits = ((runs & DIGIT) != 0).sum(axis=1)
        runs = np.sort(runs & np.uint32(CODE), axis=1)
        different = 1 + (runs[:, 1:] != runs[:, :-1]).sum(axis=1)
        told[chosen] = (different >= 3) & (2 * digits <= length)
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
