"""Frames of films from untrusted bytes, then their sound.

A film is read from its beginning to its end, once for its pictures and, where somebody asks for it, once
more for its sound; it never jumps, so that the time and the memory that it takes do not depend on key
frames. One frame a second is taken, of short films two (`SHORT_SECONDS`): the first that is due, under its
own time stamp, so that a frame is where it is shown even where the rate varies or an edit list cuts the
film. Frames that no other frame is built from are not decoded at all, which changes no pixel of the others;
nor are those of H.264 that no other is built from but such (`h264`).

Frames are turned upright as the file says, and are at most `WORKING_SIDE` pixels wide or high. Fields are not
taken apart and high dynamic range is not mapped: at this size, what describes frames hardly sees either.

Packets that cannot be decoded are left out, and what comes after them keeps its place. Where pictures are
missing or broken for `_LEAST_LOST` or longer, the next piece says so (`Segment.lost`).
"""

import math
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final, TypeAlias

import av
import numpy as np
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from indexers import demux
from indexers.audio import decode as audio
from indexers.audio.decode import Sides
from indexers.errors import DamagedMediaError, MediaError, MediaLimitError, UnsupportedMediaError
from indexers.image.decode import WORKING_SIDE, Picture
from indexers.modality import MediaLimits, Segment
from indexers.video import groups, h264

SHORT_SECONDS: Final = 40.0
"""Of a film up to so long, two frames a second are taken."""

STEP: Final = groups.STEP
"""Seconds from one frame to the next."""
SHORT_STEP: Final = 0.5
"""The same in a short film."""

FORMATS: Final = (
    "MP4", "MOV", "Matroska", "WebM", "AVI", "FLV", "MPEG-TS", "MPEG-PS", "WMV", "Ogg Theora", "3GP",
    "RealMedia", "MXF", "IVF",
)  # fmt: skip
"""What can be told from its first bytes, as users call it."""

_ADVICE: Final = (
    f"this is no film that can be read, or its beginning is missing, or the index that MP4 and MOV may "
    f"have at their end: send the whole file, as {', '.join(FORMATS)}"
)

_REMEDY: Final = "save it again as MP4"

_SIGNATURES = {
    "AVI": rb"RIFF....AVI ",
    "FLV": rb"FLV\x01",
    "MPEG-PS": rb"\x00\x00\x01[\xba\xb3]",
    "RealMedia": rb"\.RMF",
    "MXF": rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02",
    "IVF": rb"DKIF\x00\x00",
    # Every 188th byte, or of a disc every 192nd.
    "MPEG-TS": rb"G.{187}G.{187}G|.{4}G.{191}G.{191}G",
}
_PATTERNS = {kind: re.compile(signature, re.DOTALL) for kind, signature in _SIGNATURES.items()}
_PICTURE_BRANDS = {b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_SOUND_BRANDS = {b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "}
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
_EBML = b"\x1aE\xdf\xa3"
_OGG_VIDEO = (b"\x80theora", b"BBCD\0", b"\x01video", b"OVP80")
_QUICKTIME = {b"moov", b"mdat", b"wide", b"free", b"skip"}
"""What the oldest QuickTime files begin with."""

_LONGEST_GAP = 600.0
"""Seconds from which on a jump of time stamps is another clock: recordings are joined so."""
_BACK = 1.0
"""The same for a jump backwards: frames of one clock come in order."""
_LEAST_LOST = 0.5
"""Seconds of a film that must be lost to be told."""
_SHORT_OF = 1.5
"""Seconds by which a track's pictures may end before it does: the last may be shown for a while."""
_USUAL_RATE = 25.0
"""Frames a second where a file does not tell."""
_MOST_RATE = 1000.0


_BEGINS: Final[dict[str, Callable[[bytes], Callable[["Packet[VideoStream]"], bool]]]] = {
    "h264": h264.groups,
    "vp8": groups.of_vp8,
    "vp9": groups.of_vp9,
}
"""By codec, what makes of its parameters what tells the packets that begin a group."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture of a film.

    Attributes:
        picture: Upright, at most `WORKING_SIDE` wide and high.
        last: Whether it is known that no other follows; its sound may.
    """

    picture: Picture
    last: bool = False


Piece: TypeAlias = Frame | Sides
"""What a film decodes to: frames, then stretches of sound at `audio.RATE`."""


def sniff(head: bytes) -> str | None:
    """Tell from `demux.head` what kind of film a file is, as one of `FORMATS`; None: it is none.

    Of containers that hold sounds or pictures too, those count that have moving pictures or may have some, as
    far as the head tells.
    """
    if head[4:8] == b"ftyp":
        return _sniff_brands(head)
    if head[4:8] in _QUICKTIME:
        return "MOV"
    if head.startswith(_EBML):
        if b"V_" not in head and b"A_" in head:
            return None
        return "WebM" if b"webm" in head[:64] else "Matroska"
    if head.startswith(_ASF):
        return "WMV" if _ASF_VIDEO in head else None
    if head.startswith(b"OggS"):
        return "Ogg Theora" if any(mark in head for mark in _OGG_VIDEO) else None
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.match(head)), None)


def _sniff_brands(head: bytes) -> str | None:
    """Tell films among ISO base media files: all that have no other brand and no track of sound alone."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    if brands & _PICTURE_BRANDS or (brands & _SOUND_BRANDS and b"vide" not in head):
        return None
    if b"soun" in head and b"vide" not in head:
        return None
    if head[8:12] == b"qt  ":
        return "MOV"
    return "3GP" if head[8:10] == b"3g" else "MP4"


def decode(source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[Piece]]:
    """Yield the frames that are taken, in order, then the sound, if there is any, in pieces.

    A frame's segment reaches to the next one that is taken, that of the last to the end of the film. Times
    are counted from the start of the file's pictures and sounds, in seconds.

    Raises:
        UnsupportedMediaError: If the format is not known, or if there are no moving pictures in it.
        DamagedMediaError: If no frame can be decoded.
        MediaLimitError: If a frame has more than `limits.max_pixels`, or it is longer than
            `limits.max_seconds`.
    """
    source.seek(0)
    if not source.read(1):
        raise DamagedMediaError("the file is empty: send the whole file")
    source.seek(0)
    yield from _frames(source, limits)
    yield from _sound(source, limits)


def _sound(source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[Piece]]:
    """Yield the sound, if there is any; one that cannot be read is left out: pictures are what counts."""
    pieces = audio.decode(source, limits)
    while True:
        try:
            piece = next(pieces)
        except (StopIteration, MediaError):
            return
        yield Segment(piece.start, piece.end, piece.data)


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A film that is being read.

    Attributes:
        frames: From the first to the last; those that no other frame is built from are left out.
        clock: When each of them is shown.
        seconds: How long the file says that it is; None: it does not say.
        shown: How long its pictures last, as their own track says; None: that does not say.
        lost: What could not be read so far.
        wanted: From when on a frame is taken; what no such frame needs may be left out.
    """

    frames: Iterator[VideoFrame]
    clock: "Clock"
    seconds: float | None
    shown: float | None
    lost: demux.Lost
    wanted: groups.Wanted


@contextmanager
def opened(source: BinaryIO, limits: MediaLimits, *, sparse: bool = False) -> Iterator[Film]:
    """Open a film; see `decode` for what it and the frames raise.

    Args:
        source: The file, at its beginning.
        limits: What it may ask for.
        sparse: Leave out frames up to `h264.MOST_APART` from each other, too, where none of those that remain
            is built from them.
    """
    missing = demux.missing(source)
    lost = demux.Lost(cut=missing > 0)
    with (
        demux.media_errors("film", _REMEDY),
        closing(demux.opened(source, _ADVICE)) as container,
    ):
        stream = _moving(container)
        demux.check_codec(stream, _REMEDY)
        check_size(stream.codec_context.width, stream.codec_context.height, limits)
        length = _seconds(container, stream)
        if length is not None and length > limits.max_seconds:
            raise _too_long(limits)
        if missing and length is not None and container.format.name == "avi":  # of which it is what is there
            length /= 1.0 - missing
        context = stream.codec_context
        context.thread_count = 1
        context.skip_frame = "NONREF"
        context.flags |= Flags.output_corrupt
        begin = (container.start_time or 0) / av.time_base
        packets, wanted = demux.packets(container, stream, lost), groups.Wanted()
        if sparse:
            packets = _needed(packets, context, wanted)
        frames = demux.frames(packets, lost)
        shown = length if stream.duration else None
        yield Film(frames, Clock(begin, _rate(stream)), length, shown, lost, wanted)


def _needed(
    packets: Iterator["Packet[VideoStream]"], context: VideoCodecContext, wanted: groups.Wanted
) -> Iterator["Packet[VideoStream]"]:
    """Leave out packets that are not needed, and let their decoder leave out B pictures that are not."""
    begins = _BEGINS.get(context.name)
    if begins is None:
        yield from packets
        return
    parameters = context.extradata or b""
    sorted_out: Iterator[tuple[Packet[VideoStream], bool]] = ((packet, False) for packet in packets)
    if context.name == "h264" and context.has_b_frames:
        sorted_out = h264.sorted_out(packets, parameters)
    for packet, spare in groups.needed(sorted_out, begins(parameters), wanted):
        context.skip_frame = "BIDIR" if spare else "NONREF"
        yield packet


def _frames(source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[Piece]]:
    """Yield the frames that are taken."""
    with opened(source, limits, sparse=True) as film:
        yield from _taken(film, limits)


def _moving(container: InputContainer) -> VideoStream:
    """The track that players show; a cover picture is none."""
    best = container.streams.best("video")
    tracks = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    if not tracks:
        raise UnsupportedMediaError("there are no moving pictures in it: send a film, or name its kind")
    return best if isinstance(best, VideoStream) and best in tracks else tracks[0]


def _rate(stream: VideoStream) -> float:
    rate = float(stream.average_rate or _USUAL_RATE)
    return rate if 0 < rate <= _MOST_RATE else _USUAL_RATE


def _seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """How long the file says that the film is; None where it does not say."""
    if stream.duration is not None and stream.time_base is not None and stream.duration > 0:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and container.duration > 0:
        return container.duration / av.time_base
    return None


def check_size(width: int, height: int, limits: MediaLimits) -> None:
    """Refuse a frame that is too large.

    Raises:
        MediaLimitError: If it has more than `limits.max_pixels`.
    """
    if width * height > limits.max_pixels:
        raise MediaLimitError(
            f"a frame has {width} x {height} pixels, more than the limit of {limits.max_pixels}: "
            "send a smaller one"
        )


def _too_long(limits: MediaLimits) -> MediaLimitError:
    return MediaLimitError(
        f"the film is longer than the limit of {limits.max_seconds:g} seconds: send it in parts"
    )


class Clock:
    """Tells when a frame is shown, counted from the start of the media."""

    def __init__(self, begin: float, rate: float) -> None:
        """Count from a time stamp, in seconds; expect so many frames a second."""
        self._shift = -begin
        self.step = 1.0 / rate
        """How long a frame is shown, as a rule."""
        self._last: float | None = None

    def stamp(self, now: float) -> float:
        """The time stamp of a time, in seconds."""
        return now - self._shift

    def time(self, stamp: float) -> float:
        """The time of a time stamp, in seconds."""
        return stamp + self._shift

    def of(self, frame: VideoFrame) -> float:
        """Seconds; a jump of time stamps is another clock, which goes on from where the first one was."""
        if frame.pts is None:
            now = 0.0 if self._last is None else self._last + self.step
        else:
            now = frame.time + self._shift
            if self._last is not None and not -_BACK < now - self._last < _LONGEST_GAP:
                self._shift += self._last + self.step - now
                now = self._last + self.step
        now = round(max(0.0, now), 3)
        self._last = now if self._last is None else max(self._last, now)
        return now


def _taken(film: Film, limits: MediaLimits) -> Iterator[Segment[Piece]]:
    """Yield the first frame of each step; see `decode`."""
    waiting: tuple[float, Picture] | None = None
    scaler = VideoReformatter()  # keeps what it works out for a size
    due, last, losses = -math.inf, 0.0, _Losses(film)
    for frame in film.frames:
        now = film.clock.of(frame)
        last = max(last, now)
        losses.saw(now, broken=frame.is_corrupt)
        film.wanted.since = film.clock.stamp(due)
        if now < due:
            continue
        if now > limits.max_seconds:
            raise _too_long(limits)
        check_size(frame.width, frame.height, limits)
        length = now if film.seconds is None else film.seconds
        step = SHORT_STEP if length <= SHORT_SECONDS else STEP
        due = now + step if math.isinf(due) else due + step * (1 + math.floor((now - due) / step))
        film.wanted.since = film.clock.stamp(due)
        if waiting is not None:
            yield _segment(waiting, now, lost=losses.told())
        waiting = (now, _picture(frame, scaler))
    if waiting is None:
        raise DamagedMediaError("none of its frames can be decoded: send the whole file, or save it as MP4")
    losses.ended(last)
    yield _segment(waiting, last + film.clock.step, lost=losses.told(), last=True)


def _segment(
    waiting: tuple[float, Picture],
    until: float,
    *,
    lost: tuple[tuple[float, float], ...],
    last: bool = False,
) -> Segment[Piece]:
    start, picture = waiting
    return Segment(start, round(max(until, start + 1.0 / _MOST_RATE), 3), Frame(picture, last), lost)


class _Losses:
    """Tells from when to when a film could not be read: from one whole frame to the next."""

    def __init__(self, film: Film) -> None:
        self._film = film
        self._packets = 0
        self._broken = False
        self._whole = 0.0
        self._found: list[tuple[float, float]] = []

    def saw(self, now: float, *, broken: bool) -> None:
        """Take note of a frame, and of what was lost before it; nothing was of what was left out."""
        left_out = self._film.clock.time(self._film.wanted.left_out)
        if not self._broken and left_out < now:
            self._whole = max(self._whole, left_out)
        lost = self._film.lost.packets
        self._broken |= broken or lost > self._packets
        self._packets = lost
        if broken:
            return
        if self._broken:
            self._add(now)
        self._broken, self._whole = False, max(self._whole, now)

    def ended(self, last: float) -> None:
        """Take note that there are no more frames."""
        film = self._film
        cut = film.lost.cut or (film.shown is not None and film.shown - last > _SHORT_OF)
        if cut or self._broken or film.lost.packets > self._packets:
            self._add(max(last, film.seconds or last))

    def told(self) -> tuple[tuple[float, float], ...]:
        """What was found since this was asked last."""
        found, self._found = tuple(self._found), []
        return found

    def _add(self, until: float) -> None:
        if until - self._whole >= _LEAST_LOST:
            self._found.append((round(self._whole, 3), round(until, 3)))


def _picture(frame: VideoFrame, scaler: VideoReformatter) -> Picture:
    """A frame at working size, upright."""
    scale = min(1.0, WORKING_SIDE / max(frame.width, frame.height))
    width, height = (max(2, round(side * scale / 2) * 2) for side in (frame.width, frame.height))
    small = scaler.reformat(frame, width, height, "rgb24", interpolation="AREA", threads=1)
    picture = np.asarray(small.to_ndarray(), np.uint8)
    turns = round(frame.rotation / 90) % 4
    if turns:
        picture = np.ascontiguousarray(np.rot90(picture, turns))
    picture.flags.writeable = False
    return picture
