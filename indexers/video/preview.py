"""What people are shown of a film: a clip at few frames a second with its sound, and one of its frames."""

from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO, Final

import numpy as np
from av.container import OutputContainer
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from indexers import streams
from indexers.audio import preview as audio
from indexers.errors import DamagedMediaError, MediaError
from indexers.modality import MediaLimits
from indexers.previews import THUMBNAIL_SIDE, Budget, Facts, Files, Kind, write_picture
from indexers.video import decode

SIDE: Final = 320
"""Longest side of a clip, in pixels."""
STEP: Final = 0.2
"""Least seconds from one frame to the next, ..."""
SHORT_STEP: Final = 1 / 12
"""... and of a film of at most `SHORT_SECONDS`."""
SHORT_SECONDS: Final = 120.0
BIT_RATE: Final = 64_000
"""Of the pictures, on average."""

_KEY_SECONDS: Final = 5
"""Seconds between frames that a player can jump to."""
_LOOKS: Final = 20
"""Frames that are looked at for the one that stands for the film."""
_MILLISECOND: Final = Fraction(1, 1000)
_OPTIONS: Final = {
    "deadline": "realtime",
    "g": "1000",  # key frames are asked for by time
    "cpu-used": "8",
    "lag-in-frames": "0",
    "auto-alt-ref": "0",
    "error-resilient": "0",
    "qmin": "4",
    "qmax": "52",
}


def preview(source: BinaryIO, limits: MediaLimits, files: Files, budget: Budget) -> None:
    """Write the clip, a thumbnail, and of its sound, if it has any, the waveform and the spectrogram.

    Raises:
        MediaError: As `decode.decode`.
    """
    sound = _Sound(streams.own_place(source), limits)
    with decode.opened(streams.own_place(source), limits) as film:
        frames = _chosen(film, limits)
        first = next(frames, None)
        if first is None:
            raise DamagedMediaError("none of its frames can be decoded: send the whole file")
        whole, last = True, first[0]
        file = files.begin(Kind.CLIP)
        best = _Best(film.seconds)
        with audio.written(file) as output:
            pictures = _Pictures(output, first[1], film.seconds)
            sound.begin(output)
            for now, frame in _from(first, frames):
                sound.play(now)
                best.look(now, pictures.add(now, frame))
                last = now
                if budget.spent(pictures.byte_count + sound.byte_count):
                    whole = False
                    break
            if whole:
                whole = sound.play_out(budget, pictures.byte_count)
            pictures.end()
            sound.end()
    seconds = max(last + film.clock.step, sound.seconds)
    size = pictures.size
    files.end(Kind.CLIP, Facts(width=size[0], height=size[1], seconds=round(seconds, 3), whole=whole))
    write_picture(files, Kind.THUMBNAIL, np.asarray(best.image), side=THUMBNAIL_SIDE)
    sound.draw(files, whole=whole)


def _from(
    first: tuple[float, VideoFrame], rest: Iterator[tuple[float, VideoFrame]]
) -> Iterator[tuple[float, VideoFrame]]:
    yield first
    yield from rest


def _chosen(film: decode.Film, limits: MediaLimits) -> Iterator[tuple[float, VideoFrame]]:
    """The frames that are shown, and when; times rise."""
    due = 0.0
    last = -1.0
    for frame in film.frames:
        now = film.clock.of(frame)
        if now < due or now <= last:
            continue
        if now > limits.max_seconds:
            return
        decode.check_size(frame.width, frame.height, limits)
        length = now if film.seconds is None else film.seconds
        step = SHORT_STEP if length <= SHORT_SECONDS else STEP
        due = max(due + step, now)
        last = now
        yield now, frame


class _Pictures:
    """The clip's pictures."""

    def __init__(self, output: OutputContainer, first: VideoFrame, seconds: float | None) -> None:
        """Add a track of the shape of a frame."""
        self._output = output
        self._turns = round(first.rotation / 90) % 4
        short = seconds is not None and seconds <= SHORT_SECONDS
        rate = round(1 / (SHORT_STEP if short else STEP))
        stream = output.add_stream("libvpx", rate=rate, options=dict(_OPTIONS))
        if not isinstance(stream, VideoStream):
            raise AssertionError("VP8 is a codec of pictures")  # noqa: TRY004 - cannot be
        self._small = _size(first)
        self.size = self._small[::-1] if self._turns % 2 else self._small
        stream.width, stream.height = self.size
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = BIT_RATE
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = _MILLISECOND
        self._stream = stream
        self._key_due = 0.0
        self.byte_count = 0

    def add(self, now: float, frame: VideoFrame) -> VideoFrame:
        """Encode a frame; return it as it is shown."""
        width, height = self._small
        kind = "rgb24" if self._turns else "yuv420p"
        small = frame.reformat(width=width, height=height, format=kind, interpolation="AREA", threads=1)
        if self._turns:
            upright = np.asarray(small.to_ndarray(), np.uint8)
            turned = np.ascontiguousarray(np.rot90(upright, self._turns))
            small = VideoFrame.from_ndarray(turned, "rgb24").reformat(format="yuv420p", threads=1)
        small.pts, small.time_base = round(now * 1000), _MILLISECOND
        key = now >= self._key_due
        if key:
            self._key_due = now + _KEY_SECONDS
        small.pict_type = PictureType.I if key else PictureType.NONE
        self._mux(small)
        return small

    def end(self) -> None:
        """Encode what is left."""
        self._mux(None)

    def _mux(self, frame: VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self.byte_count += packet.size
            self._output.mux(packet)


def _size(frame: VideoFrame) -> tuple[int, int]:
    """Width and height of a frame as it is shown small, before it is turned."""
    aspect = float(frame.sample_aspect_ratio or 1) if hasattr(frame, "sample_aspect_ratio") else 1.0
    width = frame.width * (aspect if 0.1 <= aspect <= 10 else 1.0)
    scale = min(1.0, SIDE / max(width, frame.height))
    return max(2, round(width * scale / 2) * 2), max(2, round(frame.height * scale / 2) * 2)


class _Best:
    """The frame that stands for the film: of some, the one of the most contrast."""

    def __init__(self, seconds: float | None) -> None:
        self._step = (seconds or 60.0) / _LOOKS
        self._due = 0.0
        self._contrast = -1.0
        self._frame: VideoFrame | None = None

    def look(self, now: float, frame: VideoFrame) -> None:
        """Look at a frame, if it is time."""
        if now < self._due:
            return
        self._due = now + self._step
        contrast = float(frame.to_ndarray()[: frame.height].std())
        if contrast > self._contrast:
            self._contrast, self._frame = contrast, frame

    @property
    def image(self) -> Image.Image:
        """What was found."""
        if self._frame is None:
            raise AssertionError("the first frame is looked at")
        return Image.fromarray(self._frame.to_ndarray(format="rgb24"))


class _Sound:
    """The clip's sound; one that cannot be read is left out: pictures are what counts."""

    def __init__(self, source: BinaryIO, limits: MediaLimits) -> None:
        self._pieces = audio.sounds(source, limits)
        self._next = self._read()
        self._track: audio.Track | None = None
        self._drawing = audio.Drawing()

    def _read(self) -> audio.Sides | None:
        try:
            return next(self._pieces, None)
        except MediaError:
            return None

    def begin(self, output: OutputContainer) -> None:
        """Add a track, if there is any sound."""
        if self._next is not None:
            self._track = audio.Track(output)

    @property
    def byte_count(self) -> int:
        """What was written."""
        return 0 if self._track is None else self._track.byte_count

    @property
    def seconds(self) -> float:
        """How much of it was played."""
        return 0.0 if self._track is None else self._track.seconds

    def play(self, until: float) -> None:
        """Encode what belongs before a time."""
        while self._track is not None and self._next is not None and self._track.seconds <= until:
            self._drawing.add(self._next)
            self._track.add(self._next)
            self._next = self._read()

    def play_out(self, budget: Budget, byte_count: int) -> bool:
        """Encode the rest, as far as the budget goes; tell whether it went so far."""
        while self._next is not None:
            if budget.spent(byte_count + self.byte_count):
                return False
            self.play(self.seconds)
        return True

    def end(self) -> None:
        """Encode what is left."""
        if self._track is not None:
            self._track.end()

    def draw(self, files: Files, *, whole: bool) -> None:
        """Write waveform and spectrogram, if there is any sound."""
        if self._track is not None:
            self._drawing.write(files, whole=whole)
