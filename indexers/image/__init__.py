"""Pictures, still and animated: decoding, fingerprints, alignment."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import BinaryIO

import cv2

from indexers.fingerprint import Fingerprint
from indexers.image import align, decode, describe, hashes, local, preview
from indexers.image.decode import Picture
from indexers.modality import Alignment, Channel, MediaLimits, Role, Search, Segment
from indexers.previews import Budget, Files

__all__ = ["ImageModality"]

_VIEWS = len(hashes.TRANSFORMS)
_BUILT_IN = describe.BuiltIn()


def _channels(network: describe.NetworkSource) -> tuple[Channel, ...]:
    return (
        # Meta's rule for a match is 31 bits, and quality 50 of 100. Candidates may lie further apart, so that
        # scoring has something to weigh: among a million unrelated pictures, 7 come within 64 bits of a
        # query in one of its views, 58 within 76. In catalogues searched through tables, which are fast to 31
        # bits alone, Meta's rule decides who becomes a candidate too.
        Channel(hashes.PDQ, Search(64, 31, min_quality=0.5), views=_VIEWS, query_rows=_VIEWS),
        # 42 of a million come within 8 bits, 175 within 10: too many to act on, so that scoring trusts pHash
        # little. Below 4 grey levels of contrast, saving as JPEG alone moves more bits than this.
        Channel(hashes.PHASH, Search(8, 8, min_quality=0.25), views=_VIEWS, query_rows=_VIEWS),
        # How alike two unrelated pictures look to the CNN depends on what they show: the nearest few are
        # looked at, however near.
        Channel(
            network.scheme,
            Search(network.radius, network.radius, nearest=6),
            query_rows=1 + describe.WINDOWS,
        ),
        # A keypoint that points two ways gives two rows.
        Channel(
            local.LOCAL,
            None,
            query_rows=2 * local.KEYPOINTS[Role.QUERY],
            reference_rows=local.KEYPOINTS[Role.REFERENCE],
        ),
    )


class ImageModality:
    """`indexers.modality.Modality` of pictures. Frames are numbered from 0; a still is frame 0."""

    name = "image"
    formats: tuple[str, ...] = decode.FORMATS
    stages: tuple[str, ...] = describe.STAGES
    fast_stages = 3
    scene_stages: frozenset[int] = frozenset()
    place_stages: frozenset[int] = frozenset()
    accompanying: frozenset[str] = frozenset()
    signal_units: Mapping[str, str] = MappingProxyType(
        {
            "pdq_distance": "bits",
            "pdq_quality": "",
            "phash_distance": "bits",
            "phash_quality": "",
            "cnn_similarity": "",
            "cnn_quality": "",
            "network_similarity": "",
            "network_quality": "",
            "local_inliers": "keypoints",
            "local_spread": "cells",
            "local_agreement": "",
        }
    )

    def __init__(self, network: describe.NetworkSource = _BUILT_IN) -> None:
        """Describe by this network, beside hashes and local features."""
        self._network = network
        self.channels: tuple[Channel, ...] = _channels(network)

    def load(self) -> None:
        """Import what hashes are computed with."""
        hashes.load()

    def prepare(self) -> None:
        """Load the CNN, and keep OpenCV to one thread."""
        cv2.setNumThreads(1)
        describe.loaded(self._network)

    def pieces(self, limits: MediaLimits) -> int:
        """Frames."""
        return limits.max_frames

    def recognises(self, head: bytes) -> bool:
        """Tell from the first bytes whether a file is a picture; see `decode.sniff`."""
        return decode.sniff(head) is not None

    def decode(self, source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[Picture]]:
        """Yield the frames; see `decode.decode`."""
        return decode.decode(source, limits)

    def preview(
        self,
        source: BinaryIO,
        limits: MediaLimits,
        files: Files,
        budget: Budget,
        first: Segment[Picture] | None = None,
    ) -> None:
        """Write a picture, and of a large one a thumbnail; see `preview.preview`."""
        del budget  # it takes no longer than reading
        preview.preview(source, limits, files, None if first is None else first.data)

    def fingerprint(self, segments: Iterable[Segment[Picture]], role: Role) -> Iterator[list[Fingerprint]]:
        """Describe the frames; see `describe.describe`."""
        return describe.describe(segments, role, describe.loaded(self._network))

    def align(self, query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
        """Relate two fingerprints; see `align.align`."""
        return align.align(query, work, self._network.scheme)

    def identity(self, query: Sequence[Fingerprint]) -> Alignment | None:
        """Relate a still picture's hashes to themselves; see `align.identity`."""
        return align.identity(query)
