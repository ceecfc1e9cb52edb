"""What is said of a picture, stage by stage, from hashes of the whole to descriptors of its parts.

1. ``hashes`` of every frame: near copies of the whole, also mirrored, turned or inverted.
2. ``whole``: CNN descriptors of the whole picture and of what a frame or a caption leaves of it: what was
   changed more.
3. ``local``: local features, by which the most probable candidates are confirmed, and located.
4. ``windows``: CNN descriptors of the parts in which another picture may lie.

A reference is hashed, gets one CNN descriptor and its local features. Of animations, all but the hashes
describe some frames only (`QUERY_FRAMES`, `REFERENCE_FRAMES`), spread evenly.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from indexers.errors import FeaturelessMediaError
from indexers.fingerprint import Fingerprint, Scheme, joined
from indexers.image import background, hashes, local
from indexers.image.align import TELLING
from indexers.image.background import Background
from indexers.image.decode import Picture
from indexers.image.embed import CNN, Descriptors, Embedder, OnnxEmbedder
from indexers.image.windows import TILES, Windows
from indexers.modality import WHOLE, Box, Role, Segment

STAGES: Final = ("hashes", "whole", "local", "windows")
QUERY_FRAMES: Final = 3
"""Frames of an animated query that the dear stages look at."""
REFERENCE_FRAMES: Final = 8
"""Frames of an animated reference that are described by more than hashes."""
WINDOWS: Final = 4
"""Parts of a query's picture that are described by themselves, the trimmed picture among them: the
four quarters of a collage. Six found no more copies than three (of 237 that local features confirm), and each
costs as much as 1.4 PDQ hashes."""
ROUGH_PIXELS: Final = 128
"""Side of the squares at which our CNN describes tiles, instead of 160: two thirds of the time. Of 144 copies
of 12 attacks on development pictures, as many have their reference among the nearest."""
LEAST_KEYPOINTS: Final = 10
"""A reference with fewer, and with no hash that is `align.TELLING`, is refused: neither hashes nor local
features, whose score begins at ten cells, would ever confirm a copy, and to the CNN all such look alike."""


@dataclass(frozen=True, slots=True)
class Network:
    """The CNN, and what tells how common a picture looks to it.

    Attributes:
        embedder: Describes pictures.
        background: None where it is not known.
        rough: Describes tiles, in which another picture would lie only by chance, so that less will do;
            None: `embedder` does.
    """

    embedder: Embedder
    background: Background | None
    rough: Embedder | None = None

    def quality(self, descriptors: Descriptors) -> npt.NDArray[np.float32]:
        """How little pictures at large resemble each of these, (n, dim), 0..1: (n,); 1 if none are known."""
        if self.background is None:
            return np.ones(len(descriptors), np.float32)
        return (1.0 - self.background.similarity(descriptors)).clip(0.0, 1.0)


class NetworkSource(Protocol):
    """Where a network comes from. Equal ones are loaded once in a process."""

    def __hash__(self) -> int:
        """As that of what is equal."""
        ...

    @property
    def scheme(self) -> Scheme:
        """The scheme of its descriptors."""
        ...

    @property
    def radius(self) -> float:
        """Cosine distance beyond which no picture becomes a candidate, 0..2."""
        ...

    def load(self) -> Network:
        """Load it.

        Raises:
            ModelError: If a file is missing or was changed.
        """
        ...


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """The network that ships with the package."""

    scheme: Scheme = CNN
    radius: float = 0.8
    """Beyond it no copy was ever confirmed by local features."""

    def load(self) -> Network:
        """Load it; see `NetworkSource.load`."""
        embedder = OnnxEmbedder()
        return Network(embedder, background.load(), embedder.at(ROUGH_PIXELS))


@cache
def loaded(source: NetworkSource) -> Network:
    """The network from a source: one in a process, however many describe by it.

    Raises:
        ModelError: If a file is missing or was changed.
    """
    return source.load()


def describe(
    segments: Iterable[Segment[Picture]], role: Role, network: Network
) -> Iterator[list[Fingerprint]]:
    """Describe frames; see `indexers.modality.Modality.fingerprint`.

    Raises:
        FeaturelessMediaError: If a reference is flat, or nearly, in all of its frames.
    """
    frames = list(segments)
    hashed = hashes.fingerprint(frames, role)
    if role is Role.REFERENCE:
        some = _spread(frames, REFERENCE_FRAMES)
        keypoints = local.fingerprint(some, role)
        _check_features(hashed, keypoints)
        yield [*hashed, *_embedded(some, [[WHOLE]] * len(some), network), *keypoints]
        return
    yield hashed
    some = _spread(frames, QUERY_FRAMES)
    parts = [Windows.of(frame.data) for frame in some]
    wholes = [[WHOLE] if one.trimmed is None else [WHOLE, one.trimmed] for one in parts]
    yield _embedded(some, wholes, network)
    yield local.fingerprint(some, role)
    others = [one.others(WINDOWS) for one in parts]
    enclosed = [[box for box in boxes if box not in TILES] for boxes in others]
    chance = [[box for box in boxes if box in TILES] for boxes in others]
    rough = replace(network, embedder=network.rough or network.embedder)
    yield list(joined([*_embedded(some, enclosed, network), *_embedded(some, chance, rough)]))


def _check_features(hashed: Sequence[Fingerprint], keypoints: Sequence[Fingerprint]) -> None:
    telling = any((one.quality >= TELLING[one.scheme.id]).any() for one in hashed)
    if not telling and sum(map(len, keypoints)) < LEAST_KEYPOINTS:
        raise FeaturelessMediaError(
            "the picture is flat, or nearly, and would match every such picture: register one that shows more"
        )


def _spread(frames: Sequence[Segment[Picture]], most: int) -> list[Segment[Picture]]:
    """At most so many frames, from the first to the last."""
    places = np.unique(np.linspace(0, len(frames) - 1, min(most, len(frames))).round().astype(int))
    return [frames[place] for place in places]


def _embedded(
    frames: Sequence[Segment[Picture]], boxes: Sequence[Sequence[Box]], network: Network
) -> list[Fingerprint]:
    """CNN descriptors of regions of frames; no fingerprint if there are none."""
    regions = [(frame, box) for frame, some in zip(frames, boxes, strict=True) for box in some]
    if not regions:
        return []
    descriptors = network.embedder.embed([_cut(frame.data, box) for frame, box in regions])
    return [
        Fingerprint(
            network.embedder.scheme,
            descriptors,
            np.array([(frame.start, frame.end) for frame, _ in regions], np.float64),
            network.quality(descriptors),
            np.zeros(len(regions), np.uint8),
            np.array([(box.left, box.top, box.right, box.bottom) for _, box in regions], np.float32),
        )
    ]


def _cut(picture: Picture, box: Box) -> Picture:
    """The part of a picture that lies in a box: at least one pixel."""
    height, width = picture.shape[:2]
    left, top = int(box.left * width), int(box.top * height)
    right, bottom = max(left + 1, round(box.right * width)), max(top + 1, round(box.bottom * height))
    return picture[top:bottom, left:right]
