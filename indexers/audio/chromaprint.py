"""Chromaprint's codes of sound, as it is and as if its pitch were changed.

The algorithm is Lukáš Lalinský's (https://github.com/acoustid/chromaprint, MIT), in its default form, which
Chromaprint calls TEST2 and AcoustID uses; the constants below are his. Spectra of overlapping stretches are
folded into the twelve notes of an octave; sixteen filters, which he learned from music, compare areas of
this picture of notes over time, and each says two bits. The library itself is not called: it cannot give
what the next paragraph needs, and codes that come from one place are alike on every machine.

What was tuned up by some cents has the codes of the original where the notes are taken to lie as much
higher. So a query is described at several pitches (`PITCHES`) from one set of spectra, a reference at one.
What was sped up or slowed down by more than a tenth has too few of them: a query is also described as it
would be if it were played slower or faster, at pitches that lie farther apart (`SPED_UP`, `SLOWED`).

Codes come `HOP` samples apart, and each describes the `SUPPORT` samples from its start. A row of the scheme
is `CODES` consecutive codes. A reference's rows do not overlap, so that its codes can be read back from them
(`codes_of`) and each is stored once; only the last row overlaps the one before it where the codes are no
multiple of `CODES`. A query's rows lie closer (`_QUERY_HOPS`), since one of them has to lie on a reference's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Self

import cv2
import numpy as np
import numpy.typing as npt

from indexers.audio import spectra
from indexers.audio.decode import RATE, Sound
from indexers.fingerprint import Fingerprint, Metric, Scheme, SpanUnit
from indexers.modality import Role

CHROMAPRINT: Final = Scheme("audio.chromaprint", 1, 256, Metric.HAMMING, SpanUnit.SECOND)
"""Eight consecutive 32-bit codes of Chromaprint's TEST2, first code and most significant byte first.

A row's span is the sound that it describes: from where its first code's sound starts to where its last one's
ends. Quality tells how much the codes change, see `qualities`.
"""

PITCHES: Final = (0, -25, 25, -50, 50, -75, 75, -100, 100)
"""By how many cents the query is taken to be tuned higher than the reference; ±100 are ±6 %."""

_WIDE = (0, -50, 50, -100, 100, -150, 150, -200, 200, -250, 250)

STRETCH_CENTS: Final = 400
"""By how much lower or higher a query is played, and as much slower or faster, to undo that it was sped up or
slowed down. With `_WIDE`, and what lies between, these are speeds from 0.69 to 0.92 and from 1.09 to 1.46."""

_STRETCH = 2 ** (STRETCH_CENTS / 1200)

CENTS: Final = (*PITCHES, *_WIDE, *_WIDE)
"""By view code: how many cents higher than the reference the query is taken to be, once it is stretched."""


@dataclass(frozen=True, slots=True)
class Played:
    """One way in which a query may have been played.

    Attributes:
        stretch: So many times as long it is made before it is described.
        views: Its view codes.
    """

    stretch: float
    views: range


AS_IT_IS: Final = Played(1.0, range(len(PITCHES)))
SPED_UP: Final = Played(_STRETCH, range(len(PITCHES), len(PITCHES) + len(_WIDE)))
SLOWED: Final = Played(1.0 / _STRETCH, range(len(PITCHES) + len(_WIDE), len(CENTS)))
PACES: Final = tuple(one.stretch for one in (AS_IT_IS, SPED_UP, SLOWED) for _ in one.views)
"""By view code: how many times as long the query is made."""

CODES: Final = 8
"""Codes in a row."""

FRAME: Final = 4096
"""Samples of which a spectrum is taken."""

HOP: Final = FRAME // 3
"""Samples from one spectrum to the next, and from one code to the next: 8.08 codes a second."""

STEP: Final = HOP / RATE
"""Seconds from one code to the next."""

_QUERY_HOPS = ((2, 60.0), (4, 300.0))
"""Codes from one row of a query to the next, up to so many seconds of sound: neighbours are alike, and a long
query has rows enough to meet a reference's."""

_SMOOTHING = np.array([0.25, 0.75, 1.0, 0.75, 0.25])
_WIDTH = 16
_CONTEXT = len(_SMOOTHING) + _WIDTH - 2
"""Spectra beyond its first that a code depends on."""

SUPPORT: Final = _CONTEXT * HOP + FRAME
"""Samples that a code depends on: 2.72 s."""

ROW_SUPPORT: Final = SUPPORT + (CODES - 1) * HOP
"""Samples that a row depends on: 3.59 s."""

QUALITY_FLIPS: Final = 24
"""Bits that change from code to code within a row, in all, from which it has quality 1."""

NOISE_LIVELINESS: Final = 0.035
FULL_LIVELINESS: Final = 0.07
"""How much notes change, of a norm of 1, where quality is 0 and 1.

White noise has 0.02, muffled noise 0.04; music half the time above 0.11, a fiftieth of it below 0.04.
"""

_LOWEST, _HIGHEST = 28.0, 3520.0
_NOTES = 12
_NOTE_ZERO = 440.0 / 16
_SILENCE = 0.01
"""Norm of a frame's notes, in units of full scale, below which the frame counts as silent."""

_FILTERS = (
    # kind, first note, notes, frames; thresholds between the four values
    (0, 4, 3, 15, (1.98215, 2.35817, 2.63523)),
    (4, 4, 6, 15, (-1.03809, -0.651211, -0.282167)),
    (1, 0, 4, 16, (-0.298702, 0.119262, 0.558497)),
    (3, 8, 2, 12, (-0.105439, 0.0153946, 0.135898)),
    (3, 4, 4, 8, (-0.142891, 0.0258736, 0.200632)),
    (4, 0, 3, 5, (-0.826319, -0.590612, -0.368214)),
    (1, 2, 2, 9, (-0.557409, -0.233035, 0.0534525)),
    (2, 7, 3, 4, (-0.0646826, 0.00620476, 0.0784847)),
    (2, 6, 2, 16, (-0.192387, -0.029699, 0.215855)),
    (2, 1, 3, 2, (-0.0397818, -0.00568076, 0.0292026)),
    (5, 10, 1, 15, (-0.53823, -0.369934, -0.190235)),
    (3, 6, 2, 10, (-0.124877, 0.0296483, 0.139239)),
    (2, 1, 1, 14, (-0.101475, 0.0225617, 0.231971)),
    (3, 5, 6, 4, (-0.0799915, -0.00729616, 0.063262)),
    (1, 9, 2, 12, (-0.272556, 0.019424, 0.302559)),
    (3, 4, 2, 14, (-0.164292, -0.0321188, 0.0846339)),
)
_GRAY = np.array([0, 1, 3, 2], np.uint32)

_WINDOW = (np.hamming(FRAME) * 32768 / 32767).astype(np.float32)
"""The library takes 16-bit samples, and 32,767 for full scale."""

Codes = npt.NDArray[np.uint32]
Liveliness = npt.NDArray[np.float32]
"""How much the notes that codes were taken from change over time, 0..1."""


def stream(pieces: Iterable[Sound], cents: tuple[int, ...] = (0,)) -> Iterator[tuple[Codes, Liveliness]]:
    """Yield the codes of a sound that comes in pieces, and how lively each is: (codes, pitches) both.

    Args:
        pieces: Consecutive samples, -1..1, at `RATE`.
        cents: By how much the sound is taken to be tuned higher than what it is compared with.
    """
    low, high, folding = _folding(cents)
    samples: Sound = np.empty(0, np.float32)
    notes = np.empty((0, len(cents), _NOTES))
    for piece in pieces:
        samples = np.concatenate([samples, piece])
        count = max(0, (len(samples) - FRAME) // HOP + 1)
        if not count:
            continue
        energies = _energies(samples, count, low, high, folding).reshape(count, len(cents), _NOTES)
        samples = samples[count * HOP :]
        notes = np.concatenate([notes, energies])
        if len(notes) > _CONTEXT:
            yield _codes(notes)
            notes = notes[-_CONTEXT:]


def codes(sound: Sound) -> Codes:
    """All codes of a sound as it is, (n,): what Chromaprint's library gives for it."""
    return np.concatenate([np.empty((0, 1), np.uint32), *(some for some, _ in stream([sound]))])[:, 0]


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """The codes of a whole sound at some pitches, and how lively each is; (codes, pitches) both.

    Attributes:
        views: Their view codes, consecutive ones at one speed.
    """

    codes: Codes
    lively: Liveliness
    views: range

    @classmethod
    def of(cls, parts: Iterable[tuple[Codes, Liveliness]], views: range) -> Self:
        """Put together what `stream` yields."""
        parts = list(parts)
        return cls(
            np.concatenate([np.empty((0, len(views)), np.uint32), *(some for some, _ in parts)]),
            np.concatenate([np.empty((0, len(views)), np.float32), *(some for _, some in parts)]),
            views,
        )

    def of_views(self, views: range) -> Self:
        """Some of its pitches."""
        some = slice(views.start - self.views.start, views.stop - self.views.start)
        return replace(self, codes=self.codes[:, some], lively=self.lively[:, some], views=views)

    def fingerprint(self, role: Role) -> Fingerprint:
        """Write the rows down: of each start all views, one after the other.

        Raises:
            FingerprintError: If there is no sound at all.
        """
        last = len(self.codes) - CODES
        stretch = PACES[self.views.start]
        hop = _hop(role, len(self.codes), stretch)
        starts = np.arange(0, last + 1, hop)
        if len(starts) and starts[-1] < last:
            starts = np.append(starts, last)
        return _rows(self.codes, self.lively, starts, self.views)


def _hop(role: Role, count: int, stretch: float) -> int:
    """Codes from one row to the next: those of a long query are as far apart as a reference's."""
    if role is Role.REFERENCE:
        return CODES
    hops = _QUERY_HOPS if stretch == 1.0 else _QUERY_HOPS[1:]
    return next((hop for hop, most in hops if count * STEP <= most), CODES)


def codes_of(descriptors: npt.NDArray[np.uint8], spans: npt.NDArray[np.float64]) -> tuple[int, Codes]:
    """Read codes back from the rows of one view.

    Returns:
        The number of the first code, counted from the start of the media, and all codes from there to the
        last, (n,). Codes that no row holds are 0.
    """
    starts = positions(spans)
    values = descriptors.view(">u4").astype(np.uint32)
    first = int(starts.min())
    whole = np.zeros(int(starts.max()) + CODES - first, np.uint32)
    whole[(starts - first)[:, np.newaxis] + np.arange(CODES)] = values
    return first, whole


def positions(spans: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The number of the first code of each row, counted from the start of the media, (n,)."""
    numbers: npt.NDArray[np.int64] = np.rint(spans[:, 0] / STEP).astype(np.int64)
    return numbers


def qualities(rows: Codes, lively: Liveliness) -> npt.NDArray[np.float32]:
    """How much can be told from rows, (n, `CODES`) both: (n,) 0..1.

    Codes of silence, of a tone or of hum stay as they are, and are the same for all silences, and all tones
    of one pitch: bits must change. Codes of noise change by chance, and are much alike for all noises, since
    the notes that they are taken from do not: these must change too.
    """
    flips = np.bitwise_count(rows[:, 1:] ^ rows[:, :-1]).sum(axis=1, dtype=np.int64)
    moving = (lively.mean(axis=1) - NOISE_LIVELINESS) / (FULL_LIVELINESS - NOISE_LIVELINESS)
    quality: npt.NDArray[np.float32] = np.minimum(flips / QUALITY_FLIPS, moving).clip(0, 1).astype(np.float32)
    return quality


def stretched(sounds: Iterable[Sound], stretch: float) -> Iterator[Sound]:
    """The pieces, so many times as long, and as much lower."""
    for sound in sounds:
        count = round(len(sound) * stretch)
        if count:
            yield cv2.resize(sound[np.newaxis], (count, 1), interpolation=cv2.INTER_LINEAR)[0]


def as_played(rows: Fingerprint, played: Played) -> Fingerprint:
    """Those rows of a query's, their spans in seconds of the query as it is made for them."""
    chosen = (rows.views >= played.views.start) & (rows.views < played.views.stop)
    return Fingerprint(
        rows.scheme,
        rows.descriptors[chosen],
        rows.spans[chosen] * played.stretch,
        rows.quality[chosen],
        rows.views[chosen],
    )


def padded(sounds: Iterable[Sound]) -> Iterator[Sound]:
    """The pieces, and silence after them if they are too short for one row, so that each sound has one."""
    length = 0
    for sound in sounds:
        length += len(sound)
        yield sound
    if 0 < length < ROW_SUPPORT:
        yield np.zeros(ROW_SUPPORT - length, np.float32)


def _rows(of_pitches: Codes, lively: Liveliness, starts: npt.NDArray[np.int64], views: range) -> Fingerprint:
    places = starts[:, np.newaxis] + np.arange(CODES)
    rows = of_pitches[places].transpose(0, 2, 1).reshape(-1, CODES)
    moving = lively[places].transpose(0, 2, 1).reshape(-1, CODES)
    begins = np.repeat(starts * STEP, len(views))
    return Fingerprint(
        CHROMAPRINT,
        np.ascontiguousarray(rows, ">u4").view(np.uint8),
        np.stack([begins, begins + ROW_SUPPORT / RATE], axis=1) / PACES[views.start],
        qualities(rows, moving),
        np.tile(np.array(views, np.uint8), len(starts)),
    )


def _folding(cents: tuple[int, ...]) -> tuple[int, int, npt.NDArray[np.float32]]:
    """Which bins of a spectrum matter, and to which note of which pitch each belongs.

    Returns:
        The first bin, the bin after the last, and (bins, pitches × notes) of zeros and ones.
    """
    bounds = []
    for shift in cents:
        ratio = 2 ** (shift / 1200)
        bounds.append([max(1, round(edge * ratio * FRAME / RATE)) for edge in (_LOWEST, _HIGHEST)])
    low, high = min(first for first, _ in bounds), max(end for _, end in bounds)
    folding = np.zeros((high - low, len(cents), _NOTES), np.float32)
    for pitch, (shift, (first, end)) in enumerate(zip(cents, bounds, strict=True)):
        bins = np.arange(first, end)
        octaves = np.log2(bins * RATE / FRAME / _NOTE_ZERO) - shift / 1200
        folding[bins - low, pitch, (_NOTES * (octaves % 1.0)).astype(int)] = 1.0
    return low, high, folding.reshape(high - low, -1)


def _energies(
    samples: Sound, count: int, low: int, high: int, folding: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Energy of each note, (count, pitches × notes), in the first spectra of some samples."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP][:count]
    powers = spectra.powers(frames, _WINDOW, low, high)
    return np.asarray((folding.T @ powers).T, np.float64)


def _codes(notes: npt.NDArray[np.float64]) -> tuple[Codes, Liveliness]:
    """Codes of consecutive spectra's notes, (n, pitches, 12), and how lively: (n - `_CONTEXT`, pitches)."""
    length = len(notes) - len(_SMOOTHING) + 1
    smooth = np.zeros((length, *notes.shape[1:]))
    for place, weight in enumerate(_SMOOTHING):
        smooth += weight * notes[place : place + length]
    norms = np.sqrt(np.square(smooth).sum(axis=2, keepdims=True))
    picture = np.divide(smooth, norms, out=np.zeros_like(smooth), where=norms >= _SILENCE)
    # Time last, for speed: sums over the corner from the origin.
    corners = np.zeros((notes.shape[1], _NOTES + 1, length + 1))
    corners[:, 1:, 1:] = picture.transpose(1, 2, 0).cumsum(axis=1).cumsum(axis=2)
    values = np.zeros((notes.shape[1], length - _WIDTH + 1), np.uint32)
    for kind, note, high, wide, thresholds in _FILTERS:
        ratio = _ratio(corners, values.shape[1], kind, slice(note, note + high), wide)
        level = sum((ratio >= threshold).astype(np.intp) for threshold in np.exp(thresholds))
        values = (values << 2) | _GRAY[level]
    return np.ascontiguousarray(values.T), _lively(picture)


def _lively(picture: npt.NDArray[np.float64]) -> Liveliness:
    """Standard deviation of the notes over the frames of each code, over all notes: (codes, pitches)."""
    sums, squares = (
        np.concatenate([np.zeros((1, *picture.shape[1:])), values.cumsum(axis=0)])
        for values in (picture, np.square(picture))
    )
    mean = (sums[_WIDTH:] - sums[:-_WIDTH]) / _WIDTH
    variance = (squares[_WIDTH:] - squares[:-_WIDTH]) / _WIDTH - np.square(mean)
    lively: Liveliness = np.sqrt(variance.clip(0).mean(axis=2)).astype(np.float32)
    return lively


def _ratio(
    corners: npt.NDArray[np.float64], count: int, kind: int, notes: slice, wide: int
) -> npt.NDArray[np.float64]:
    """What a filter compares, at each start: one area over another, with 1 added to both."""

    def area(from_frame: int, to_frame: int, from_note: int, to_note: int) -> npt.NDArray[np.float64]:
        late, early = slice(to_frame, to_frame + count), slice(from_frame, from_frame + count)
        total: npt.NDArray[np.float64] = (
            corners[:, to_note, late]
            - corners[:, from_note, late]
            - corners[:, to_note, early]
            + corners[:, from_note, early]
        )
        return total

    bottom, top = notes.start, notes.stop
    whole = area(0, wide, bottom, top)
    middle = bottom + (top - bottom) // 2
    third, third_wide = (top - bottom) // 3, wide // 3
    if kind == 0:
        return 1.0 + whole
    if kind == 1:
        marked = area(0, wide, middle, top)
    elif kind == 2:
        marked = area(wide // 2, wide, bottom, top)
    elif kind == 3:
        marked = area(0, wide // 2, middle, top) + area(wide // 2, wide, bottom, middle)
    elif kind == 4:
        marked = area(0, wide, bottom + third, bottom + 2 * third)
    else:
        marked = area(third_wide, 2 * third_wide, bottom, top)
    return (1.0 + marked) / (1.0 + whole - marked)
