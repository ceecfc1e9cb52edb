"""Films: their frames, their sound, and where a copy lies."""

import math
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from types import MappingProxyType
from typing import BinaryIO, Final

import cv2
import numpy as np

from indexers.audio import NEAREST, AudioModality
from indexers.audio import decode as audio
from indexers.audio.decode import Sides
from indexers.fingerprint import Fingerprint, joined
from indexers.image import describe
from indexers.image.describe import Network
from indexers.modality import Alignment, Channel, MediaLimits, Role, Search, Segment
from indexers.previews import Budget, Files
from indexers.video import align, decode, preview, views
from indexers.video.decode import Frame, Piece
from indexers.video.frames import FRAMES, Describer, Part, Taken, bits_of, of_parts, split

_SOUND: Final = AudioModality()
_BUILT_IN: Final = describe.BuiltIn()
_KEPT: Final = 120
_PUT_OFF: Final = 120
"""Frames of a query that are kept, so that more of them, and parts, can be described: 106 MB at most."""
_SOUND_STAGES: Final = 2
"""Of sound's: films that were sped up by more are found by their frames."""
_GROUP: Final = 2
"""Frames that vote by themselves too: of ten works in one query, each for 3 to 5 s, the ten references with
most votes of all hold nine."""
_RADIUS: Final = bits_of(0.38)
"""Bits: copies are farther only where other views of them are nearer."""


def _of_film(channel: Channel) -> Channel:
    """A channel of sound, of which a piece is a second instead of `audio.decode.PIECE_SECONDS`."""
    seconds = int(audio.PIECE_SECONDS)
    return replace(
        channel,
        query_rows=-(-channel.query_rows // seconds) + 1,
        reference_rows=-(-channel.reference_rows // seconds) + 1,
        promising=None,  # pictures speak too
        glimpse=None,
        search=channel.search and replace(channel.search, most=NEAREST),
    )


class VideoModality:
    """`indexers.modality.Modality` of films. Spans are in seconds.

    Its sound is described by the schemes of sound, so that a song finds the film that it is in.
    """

    name = "video"
    formats: tuple[str, ...] = decode.FORMATS
    channels: tuple[Channel, ...] = (
        Channel(
            FRAMES,
            Search(_RADIUS, _RADIUS, min_quality=0.05, nearest=24, votes=True, most=10, group=_GROUP),
            views=views.VIEWS,
            query_rows=views.VIEWS,
        ),
        *(_of_film(channel) for channel in _SOUND.channels),
    )
    stages: tuple[str, ...] = (
        "frames", "more frames", "sound",
        "parts", "more of parts", "rest of parts",
        "tiles", "more of tiles", "rest of tiles",
    )  # fmt: skip
    fast_stages = 6
    scene_stages = frozenset({3, 6})
    place_stages = frozenset({1})
    signal_units: Mapping[str, str] = MappingProxyType(
        {
            "frames_evidence": "",
            "frames_count": "frames",
            "frames_similarity": "",
            "frames_contrast": "",
            "frames_motion": "",
            "frames_lead": "",
            "frames_change": "",
            "frames_speed": "",
            "frames_seconds": "seconds",
            "sound_agreement": "",
            **_SOUND.signal_units,
        }
    )
    accompanying: frozenset[str] = frozenset(_SOUND.signal_units)

    def load(self) -> None:
        """Import what describes sound."""
        _SOUND.load()

    def prepare(self) -> None:
        """Load the network, keep OpenCV to one thread, and open what FFmpeg opens once."""
        cv2.setNumThreads(1)
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        for role in Role:
            list(self.fingerprint([Segment(0.0, 1.0, Frame(noise))], role))

    def pieces(self, limits: MediaLimits) -> int:
        """Most frames of one film: one a second, and as many again of a short one."""
        return math.ceil(limits.max_seconds + decode.SHORT_SECONDS) + 2

    def recognises(self, head: bytes) -> bool:
        """Tell from the first bytes whether a file is a film; see `decode.sniff`."""
        return decode.sniff(head) is not None

    def decode(self, source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[Piece]]:
        """Yield frames, then the sound; see `decode.decode`."""
        return decode.decode(source, limits)

    def preview(
        self,
        source: BinaryIO,
        limits: MediaLimits,
        files: Files,
        budget: Budget,
        first: Segment[Piece] | None = None,
    ) -> None:
        """Write a clip, a thumbnail and what draws its sound; see `preview.preview`."""
        del first  # there is more to it
        preview.preview(source, limits, files, budget)

    def fingerprint(
        self, segments: Iterable[Segment[Piece]], role: Role
    ) -> Generator[list[Fingerprint], Collection[int] | None, None]:
        """Describe the frames, then the sound; of a query then parts of its frames.

        Of a query, every second frame is described at first, and parts of a few; the rest where it is worth a
        closer look.

        Raises:
            FingerprintError: If there is no frame.
        """
        network = describe.loaded(_BUILT_IN)
        if role is Role.REFERENCE:
            describer = Describer(network)
            sounds = split(segments, describer)
            yield [describer.fingerprint(regions=False), *_sound(sounds, role)]
            return
        describer = Describer(network, _KEPT, _PUT_OFF)
        sounds = split(segments, describer)
        closer = yield [describer.fingerprint(regions=True)]
        yield describer.rest() if closer is None or 0 in closer else []
        yield _sound(sounds, role)
        taken = describer.pictures
        few, of_tiles = (
            max(views.GLANCE, len(taken) // every) for every in (views.GLANCE_EVERY, views.TILES_EVERY)
        )
        yield from _looked_at(taken, views.parts(taken), few, network)
        yield from _looked_at(taken, views.tiles(), of_tiles - 1, network)

    def align(self, query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
        """Relate two fingerprints; see `align.align`."""
        return align.align(query, work)

    def identity(self, query: Sequence[Fingerprint]) -> Alignment | None:  # noqa: ARG002 - the protocol's
        """None: queries and references are not described alike."""
        return None


def _looked_at(
    taken: Sequence[Taken], parts: Sequence[Part], few: int, network: Network
) -> Generator[list[Fingerprint], Collection[int] | None, None]:
    """Describe parts of a few frames, of as many others those that are worth a closer look, then the rest.

    What a few frames resemble by chance, as many others do not: of a long film the rest are many.
    """
    left = {part: [one for one in taken if part.since <= one.start < part.until] for part in parts}

    def spread(part: Part, most: int) -> tuple[Part, list[Taken]]:
        chosen = views.spread(left[part], most)
        left[part] = [one for one in left[part] if one not in chosen]
        return part, chosen

    glances = {part: min(few, views.GLANCE) if part.brief else few for part in parts}
    closer = yield of_parts([spread(part, glances[part]) for part in parts], network)
    wanted = _wanted(parts, closer)
    most = max(views.CLOSER, len(taken)) // max(1, len(wanted))
    closer = yield of_parts([spread(part, min(glances[part], most)) for part in wanted], network)
    seen = {part: min(glances[part], most) for part in wanted}
    wanted = _wanted(wanted, closer)
    most = max(views.CLOSER, len(taken)) // max(1, len(wanted))
    yield of_parts([spread(part, most - seen[part]) for part in wanted], network)


def _wanted(parts: Sequence[Part], closer: Collection[int] | None) -> list[Part]:
    return [one for one in parts if closer is None or one.view in closer]


def _sound(sounds: Iterator[Segment[Sides]], role: Role) -> list[Fingerprint]:
    """Describe a film's sound, but for other speeds, in one stage: it costs little beside its frames."""
    first = next(sounds, None)
    if first is None:
        return []
    stages = islice(_SOUND.fingerprint(chain([first], sounds), role), _SOUND_STAGES)
    return list(joined(fingerprint for stage in stages for fingerprint in stage))
