"""Pictures, still and animated: decoding, perceptual hashes, alignment."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import BinaryIO

from indexers.fingerprint import Fingerprint
from indexers.image import align, decode, hashes
from indexers.image.decode import Picture
from indexers.modality import Alignment, Channel, MediaLimits, Role, Segment

__all__ = ["ImageModality"]


class ImageModality:
    """`indexers.modality.Modality` of pictures. Frames are numbered from 0; a still is frame 0."""

    name = "image"
    formats: tuple[str, ...] = decode.FORMATS
    channels: tuple[Channel, ...] = (
        # Meta's rule for a match is 31 bits, and quality 50 of 100. Candidates may lie further apart, so that
        # scoring has something to weigh: among a million unrelated pictures, 7 come within 64 bits of a
        # query in one of its views, 58 within 76. In catalogues searched through tables, which are fast to 31
        # bits alone, Meta's rule decides who becomes a candidate too.
        Channel(hashes.PDQ, radius=64, narrow_radius=31, min_quality=0.5),
        # 42 of a million come within 8 bits, 175 within 10: too many to act on, so that scoring trusts pHash
        # little. Below 4 grey levels of contrast, saving as JPEG alone moves more bits than this.
        Channel(hashes.PHASH, radius=8, narrow_radius=8, min_quality=0.25),
    )
    views = len(hashes.TRANSFORMS)
    signal_units: Mapping[str, str] = MappingProxyType(
        {"pdq_distance": "bits", "pdq_quality": "", "phash_distance": "bits", "phash_quality": ""}
    )

    def recognises(self, head: bytes) -> bool:
        """Tell from the first bytes whether a file is a picture; see `decode.sniff`."""
        return decode.sniff(head) is not None

    def decode(self, source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[Picture]]:
        """Yield the frames; see `decode.decode`."""
        return decode.decode(source, limits)

    def fingerprint(self, segments: Iterable[Segment[Picture]], role: Role) -> list[Fingerprint]:
        """Hash the frames; see `hashes.fingerprint`."""
        return hashes.fingerprint(segments, role)

    def align(self, query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
        """Relate two fingerprints; see `align.align`."""
        return align.align(query, work)
