"""Sound: decoding, Chromaprint's codes, peaks, and where a copy lies."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import BinaryIO, Final

import cv2
import numpy as np

from indexers.audio import align, chromaprint, decode, peaks, preview
from indexers.audio.chromaprint import AS_IT_IS, CENTS, PACES, PITCHES, SLOWED, SPED_UP, Described
from indexers.audio.decode import Sides, Sound
from indexers.fingerprint import Fingerprint, joined
from indexers.modality import Alignment, Channel, MediaLimits, Role, Search, Segment
from indexers.previews import Budget, Files

_PIECE_ROWS: Final = int(decode.PIECE_SECONDS * decode.RATE) // chromaprint.HOP + 1

NEAREST: Final = 64
"""Candidates that are compared by all that is known."""
_FARTHER: Final = 36
"""Candidates after these that only peaks are looked at of (`align.glimpse`)."""

_KEPT_SECONDS: Final = 600.0
"""Longest query that is kept, so that its later stage costs nothing where the first one settles it: 26 MB."""

_FIRST: Final = range(1)
_OTHERS: Final = range(1, len(PITCHES))


class AudioModality:
    """`indexers.modality.Modality` of sound: music, speech, the sound of films. Spans are in seconds."""

    name = "audio"
    formats: tuple[str, ...] = decode.FORMATS
    channels: tuple[Channel, ...] = (
        Channel(
            chromaprint.CHROMAPRINT,
            Search(
                align.RADIUS,
                align.RADIUS,
                min_quality=align.ASKED,
                nearest=20,
                votes=True,
                most=NEAREST + _FARTHER,
                step=chromaprint.CODES * chromaprint.STEP,
                paces=PACES,
            ),
            views=len(CENTS),
            query_rows=math.ceil(sum(PACES)) * _PIECE_ROWS,
            reference_rows=_PIECE_ROWS // chromaprint.CODES + 2,
        ),
        Channel(
            peaks.PEAKS,
            None,
            query_rows=peaks.most(peaks.GRAIN[Role.QUERY], decode.PIECE_SECONDS),
            reference_rows=peaks.most(peaks.GRAIN[Role.REFERENCE], decode.PIECE_SECONDS),
            compared=NEAREST,
            unsifted=True,
            promising=align.promising,
            glimpse=align.glimpse,
        ),
        Channel(
            peaks.SIDE,
            None,
            query_rows=peaks.most(peaks.SIDE_GRAIN, decode.PIECE_SECONDS),
            reference_rows=peaks.most(peaks.SIDE_GRAIN, decode.PIECE_SECONDS),
            beside=peaks.PEAKS,
        ),
    )
    stages: tuple[str, ...] = ("codes", "pitches", "speeds")
    fast_stages = 1
    scene_stages: frozenset[int] = frozenset()
    place_stages: frozenset[int] = frozenset()
    accompanying: frozenset[str] = frozenset()
    signal_units: Mapping[str, str] = MappingProxyType(
        {
            "chromaprint_seconds": "seconds",
            "chromaprint_error": "",
            "chromaprint_hits": "rows",
            "chromaprint_evidence": "bits",
            "peak_evidence": "",
            "peak_count": "peaks",
        }
    )

    def load(self) -> None:
        """Nothing: what describes sound comes with this module."""

    def prepare(self) -> None:
        """Keep OpenCV to one thread, and open what describing opens once: FFmpeg comes with the import."""
        cv2.setNumThreads(1)
        silence: Sound = np.zeros(decode.RATE, np.float32)
        for role in Role:
            list(self.fingerprint([Segment(0.0, 1.0, silence)], role))

    def pieces(self, limits: MediaLimits) -> int:
        """Most pieces of `decode.PIECE_SECONDS` of one sound."""
        return math.ceil(limits.max_seconds / decode.PIECE_SECONDS) + 1

    def recognises(self, head: bytes) -> bool:
        """Tell from the first bytes whether a file is sound alone; see `decode.sniff`."""
        return decode.sniff(head) is not None

    def decode(self, source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[Sides]]:
        """Yield the sound in pieces; see `decode.decode`."""
        return decode.decode(source, limits)

    def preview(
        self,
        source: BinaryIO,
        limits: MediaLimits,
        files: Files,
        budget: Budget,
        first: Segment[Sides] | None = None,
    ) -> None:
        """Write the sound, its waveform and its spectrogram; see `preview.preview`."""
        del first  # there is more to it
        preview.preview(source, limits, files, budget)

    def fingerprint(self, segments: Iterable[Segment[Sides]], role: Role) -> Iterator[list[Fingerprint]]:
        """Describe the pieces: a query as it is, then at other pitches and by its peaks, then at speeds.

        Of one that is too long to be kept, the last stage is of its beginning.

        Raises:
            FingerprintError: If there is no sound at all.
        """
        sounds = (segment.data for segment in segments)
        if role is Role.REFERENCE:
            codes, some = _in_one_pass(sounds, _FIRST, role)
            yield [codes.fingerprint(role), *some]
            return
        sounds = (np.array(_mean(sound)) for sound in sounds)  # the difference would be kept with a view
        kept = _begun(sounds)
        if _seconds(kept) <= _KEPT_SECONDS:
            yield [_codes(kept, _FIRST).fingerprint(role)]
            others = _codes(kept, _OTHERS)
            constellation = peaks.constellation(kept, peaks.GRAIN[role])
            some = peaks.written(constellation, peaks.PEAKS)
        else:
            every, some = _in_one_pass(chain(kept, sounds), AS_IT_IS.views, role)
            yield [every.of_views(_FIRST).fingerprint(role)]
            others = every.of_views(_OTHERS)
        yield [others.fingerprint(role), *some]
        yield list(joined(_codes(kept, one.views).fingerprint(role) for one in (SPED_UP, SLOWED)))

    def align(self, query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
        """Relate two fingerprints; see `align.align`."""
        return align.align(query, work)

    def identity(self, query: Sequence[Fingerprint]) -> Alignment | None:  # noqa: ARG002 - the protocol's
        """None: queries and references are not described alike."""
        return None


def _begun(sounds: Iterator[Sound]) -> list[Sound]:
    """The pieces up to the first that makes more than `_KEPT_SECONDS` of them."""
    kept: list[Sound] = []
    for sound in sounds:
        kept.append(sound)
        if _seconds(kept) > _KEPT_SECONDS:
            break
    return kept


def _seconds(sounds: Iterable[Sound]) -> float:
    return sum(map(len, sounds)) / decode.RATE


def _mean(sound: Sides) -> Sound:
    return sound if sound.ndim == 1 else sound[0]


def _difference(sound: Sides) -> Sound:
    return np.zeros(len(sound), np.float32) if sound.ndim == 1 else sound[1]


def _codes(sounds: Iterable[Sound], views: range) -> Described:
    cents, stretch = CENTS[views.start : views.stop], PACES[views.start]
    sounds = sounds if stretch == 1.0 else chromaprint.stretched(sounds, stretch)
    return Described.of(chromaprint.stream(chromaprint.padded(sounds), cents), views)


def _in_one_pass(sounds: Iterable[Sides], views: range, role: Role) -> tuple[Described, list[Fingerprint]]:
    """Codes and peaks of a sound of any length, of which a piece or two are held at a time."""
    means: deque[Sound] = deque()
    differences: deque[Sound] = deque()

    def first() -> Iterator[Sound]:
        for sound in sounds:
            means.append(_mean(sound))
            if role is Role.REFERENCE:
                differences.append(_difference(sound))
            yield means[-1]

    def again(waiting: deque[Sound]) -> Iterator[Sound]:
        while waiting:
            yield waiting.popleft()

    codes, found, others = [], [], []
    of_means = peaks.stream(again(means), peaks.GRAIN[role])
    of_differences = peaks.stream(again(differences), peaks.SIDE_GRAIN)
    for some in chromaprint.stream(chromaprint.padded(first()), CENTS[views.start : views.stop]):
        codes.append(some)
        while means:
            found.append(next(of_means))
        while differences:
            others.append(next(of_differences))
    found += of_means
    others += of_differences
    written = [
        *peaks.written(peaks.joined(found), peaks.PEAKS),
        *peaks.written(peaks.joined(others), peaks.SIDE),
    ]
    return Described.of(codes, views), written
