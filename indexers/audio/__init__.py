"""Sound: decoding, Chromaprint's codes, and where a copy lies."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import BinaryIO

from indexers.audio import align, chromaprint, decode
from indexers.audio.decode import Sound
from indexers.fingerprint import Fingerprint
from indexers.modality import Alignment, Channel, MediaLimits, Role, Search, Segment

_PIECE_ROWS = int(decode.PIECE_SECONDS * decode.RATE) // chromaprint.HOP + 1


class AudioModality:
    """`indexers.modality.Modality` of sound: music, speech, the sound of films. Spans are in seconds."""

    name = "audio"
    formats: tuple[str, ...] = decode.FORMATS
    channels: tuple[Channel, ...] = (
        Channel(
            chromaprint.CHROMAPRINT,
            Search(align.RADIUS, align.RADIUS, min_quality=align.TELLING, nearest=20),
            views=len(chromaprint.PITCHES),
            query_rows=len(chromaprint.PITCHES) * _PIECE_ROWS,
            reference_rows=_PIECE_ROWS // chromaprint.CODES + 1,
        ),
    )
    stages: tuple[str, ...] = ("codes", "pitches")
    fast_stages = 1
    signal_units: Mapping[str, str] = MappingProxyType(
        {
            "chromaprint_seconds": "seconds",
            "chromaprint_error": "",
            "chromaprint_hits": "rows",
            "chromaprint_evidence": "bits",
        }
    )

    def prepare(self) -> None:
        """Nothing is loaded late: FFmpeg's libraries come with the import."""

    def recognises(self, head: bytes) -> bool:
        """Tell from the first bytes whether a file is sound alone; see `decode.sniff`."""
        return decode.sniff(head) is not None

    def decode(self, source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[Sound]]:
        """Yield the sound in pieces; see `decode.decode`."""
        return decode.decode(source, limits)

    def fingerprint(self, segments: Iterable[Segment[Sound]], role: Role) -> Iterator[list[Fingerprint]]:
        """Describe the pieces; see `chromaprint.fingerprint`."""
        return ([fingerprint] for fingerprint in chromaprint.fingerprint(segments, role))

    def align(self, query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
        """Relate two fingerprints; see `align.align`."""
        return align.align(query, work)
