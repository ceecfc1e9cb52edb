"""Sound from untrusted bytes: one channel at 11,025 samples a second, as all audio schemes take it.

Whatever the container and the codec, and be it the sound of a film: of several tracks the one that players
choose is read. More than two channels are folded to two as ITU-R BS.775 says, without the low-frequency
channel; channels whose places are not known are taken as left and right in turn. Left and right are then
averaged, the right one turned over where it runs against the left (`_AGAINST`), piece by piece: else what
differs by its sign alone would vanish. What the average leaves out, half of their difference, is given too
where there is any to speak of.

What cannot be decoded is left out. Time stamps decide where the rest belongs: a gap becomes silence, so that
what comes after it keeps its place. A piece says what was lost in it (`Segment.lost`).
"""

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import BinaryIO, Final, TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter import Graph

from indexers import demux
from indexers.audio import straight
from indexers.errors import DamagedMediaError, MediaLimitError, UnsupportedMediaError
from indexers.modality import MediaLimits, Segment

Sound: TypeAlias = npt.NDArray[np.float32]
"""(samples,) -1..1 at `RATE`, read-only."""

Sides: TypeAlias = npt.NDArray[np.float32]
"""(samples,) or, where left and right differ, (2, samples): their mean and half of their difference."""

Stretches: TypeAlias = list[tuple[float, float]]
"""From and to, in seconds."""

RATE: Final = 11025
"""Samples a second: what Chromaprint is defined on."""

PIECE_SECONDS: Final = 30.0
"""Longest stretch of sound that is decoded at a time."""

MIN_SECONDS: Final = 0.5
"""Sound that is shorter says too little to tell a copy by."""

FORMATS: Final = (
    "MP3", "AAC", "M4A", "FLAC", "Ogg", "WAV", "AIFF", "WMA", "Matroska", "CAF", "AMR", "AC-3", "AU",
    "WavPack", "Monkey's Audio", "True Audio", "DSF",
)  # fmt: skip
"""What can be told from its first bytes, as users call it."""

_ADVICE: Final = (
    f"this is no sound that can be read, or its beginning is missing, or the index that MP4 and MOV may "
    f"have at their end: send the whole file, as {', '.join(FORMATS)}"
)

_REMEDY: Final = "save it again as FLAC or MP3"

_AGAINST = -0.5
"""Correlation of left and right from which down they run against each other; in music it is above 0."""

_DIFFERS = 0.02
"""Level of half the difference, in that of the mean, up to which it is what codecs make of one channel."""

_LEAST_LOST = 0.5
"""Seconds of sound that must be missing to be told."""

_SHORT_OF = 1.0
"""Seconds by which a sound may end before its file says so; codecs and containers round."""

_TELL_LENGTHS = {"mov", "matroska", "flac", "aiff", "au", "tta", "wv"}
"""FFmpeg's names of containers that tell how long their sound is; of others it counts or guesses that."""

_KEEP_LENGTHS = {"matroska"}
"""The same of those that were cut off; of WAV it gives what is there."""

_GATHERED_SECONDS = 2.0
"""Sound that is resampled at a time."""

_SIGNATURES = {
    "FLAC": rb"fLaC",
    "WAV": rb"(RIFF|RF64|BW64)....WAVE|riff\x2e\x91\xcf\x11",
    "AIFF": rb"FORM....AIF[FC]",
    "CAF": rb"caff\x00\x01",
    "AMR": rb"#!AMR",
    "AC-3": rb"\x0b\x77..[\x00-\x24\x40-\x64\x80-\xa4]",
    "AU": rb"\.snd\x00\x00",
    "WavPack": rb"wvpk",
    "Monkey's Audio": rb"MAC ",
    "True Audio": rb"TTA1",
    "DSF": rb"DSD ",
    "MP3": rb"ID3[\x02-\x04]",
}
_PATTERNS = {kind: re.compile(signature, re.DOTALL) for kind, signature in _SIGNATURES.items()}

_AUDIO_BRANDS = {b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "}
_PICTURE_BRANDS = {b"avif", b"avis", b"mif1", b"msf1", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")
_ASF_VIDEO = bytes.fromhex("c0ef19bc4d5bcf11a8fd00805f5c442b")
_EBML = b"\x1aE\xdf\xa3"
_OGG_VIDEO = (b"\x80theora", b"BBCD\0", b"\x01video", b"OVP80")

_MPEG_RATES = ((44100, 48000, 32000), (22050, 24000, 16000), (11025, 12000, 8000))
_MPEG_KBITS = {
    # (MPEG 1, layer): kbit/s by index
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def sniff(head: bytes) -> str | None:
    """Tell from a file's first bytes what kind of audio file it is, as one of `FORMATS`; None: it is none.

    Of containers that hold films too, those count that have sound and no picture, as far as the head tells.
    """
    if head[4:8] == b"ftyp":
        return "M4A" if _sounds_alone(head) else None
    if head.startswith(_EBML):
        return "Matroska" if b"A_" in head and b"V_" not in head else None
    if head.startswith(_ASF):
        return "WMA" if _ASF_AUDIO in head and _ASF_VIDEO not in head else None
    if head.startswith(b"OggS"):
        return None if any(mark in head for mark in _OGG_VIDEO) else "Ogg"
    found = next((kind for kind, pattern in _PATTERNS.items() if pattern.match(head)), None)
    return found or _sniff_frames(head)


def _sounds_alone(head: bytes) -> bool:
    """Tell whether an ISO base media file holds sound alone."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    if brands & _PICTURE_BRANDS:
        return False
    return bool(brands & _AUDIO_BRANDS) or (b"soun" in head and b"vide" not in head)


def _sniff_frames(head: bytes) -> str | None:
    """Tell MP3 and AAC without any file header: two frames follow one another."""
    for kind, length_of in (("MP3", _mpeg_frame), ("AAC", _adts_frame)):
        length = length_of(head[:6])
        if length and length_of(head[length : length + 6]):
            return kind
    return None


def _mpeg_frame(header: bytes) -> int:
    """Length of an MPEG audio frame in bytes; 0 if this is not its header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bits, frequency, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or frequency == 3 or bits in {0, 15}:
        return 0
    first = version == 3
    rate = _MPEG_RATES[{3: 0, 2: 1, 0: 2}[version]][frequency]
    bitrate = _MPEG_KBITS[first, layer][bits] * 1000
    if layer == 1:
        return (12 * bitrate // rate + padding) * 4
    return (72 if layer == 3 and not first else 144) * bitrate // rate + padding


def _counts_frames(source: BinaryIO) -> bool:
    """Whether an MP3 file says how many frames it has, in its first one: then its length is no guess.

    Xing's header stands behind what a frame begins with (up to 36 bytes), as does Fraunhofer's. The file is
    left at its beginning.
    """
    tag = source.read(10)
    start = 0
    if tag.startswith(b"ID3") and len(tag) == 10:
        start = 10 + sum((byte & 127) << 7 * place for place, byte in enumerate(tag[:5:-1]))
    source.seek(start)
    first = source.read(64)
    source.seek(0)
    return bool(_mpeg_frame(first[:6])) and any(name in first for name in (b"Xing", b"Info", b"VBRI"))


def _adts_frame(header: bytes) -> int:
    """Length of an ADTS frame in bytes; 0 if this is not its header."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0


def decode(source: BinaryIO, limits: MediaLimits) -> Iterator[Segment[Sides]]:
    """Yield the sound in pieces of at most `PIECE_SECONDS`, in order and without gaps, from 0 s.

    Raises:
        UnsupportedMediaError: If the format is not known, if there is no sound in it, or less than
            `MIN_SECONDS`.
        DamagedMediaError: If nothing can be decoded.
        MediaLimitError: If there is more than `limits.max_seconds`.
    """
    source.seek(0)
    if not source.read(1):
        raise DamagedMediaError("the file is empty: send the whole file")
    source.seek(0)
    most = round(limits.max_seconds * RATE)
    count = 0
    lost: Stretches = []
    waiting: Segment[Sides] | None = None  # until it is known whether what comes next is there
    for sound in map(apart, _regular(sides(source, RATE, lost), round(PIECE_SECONDS * RATE))):
        start, count = count, count + sound.shape[-1]
        if count > most:
            raise MediaLimitError(
                f"the sound is longer than the limit of {limits.max_seconds:g} seconds: send it in parts"
            )
        if not start and count < MIN_SECONDS * RATE:
            raise UnsupportedMediaError(
                f"it holds {count / RATE:.2f} s of sound, too little to tell a copy by: "
                f"send {MIN_SECONDS} s or more"
            )
        sound.flags.writeable = False
        if waiting is not None:
            yield waiting
        waiting = Segment(start / RATE, count / RATE, sound, tuple(lost))
        lost.clear()
    if waiting is not None:
        yield replace(waiting, lost=(*waiting.lost, *lost))


def _regular(pieces: Iterable[npt.NDArray[np.float32]], length: int) -> Iterator[npt.NDArray[np.float32]]:
    """Cut a sound that comes in pieces of any length into pieces of one length; the last may be shorter.

    Args:
        pieces: (channels, samples), one or two channels.
        length: In samples.

    Yields:
        (2, samples): one channel is given twice.
    """
    waiting: list[npt.NDArray[np.float32]] = []
    count = 0
    for piece in pieces:
        rest = np.broadcast_to(piece, (2, piece.shape[1]))
        while count + rest.shape[1] >= length:
            waiting.append(rest[:, : length - count])
            yield np.concatenate(waiting, axis=1)
            rest = rest[:, length - count :]
            waiting, count = [], 0
        waiting.append(rest)
        count += rest.shape[1]
    if count:
        yield np.concatenate(waiting, axis=1)


def mono(sides: npt.NDArray[np.float32]) -> Sound:
    """Average left and right, (2, samples); see the module's docstring."""
    left, right = _bounded(sides)
    return _half(left - right if _runs_against(*_powers(left, right)) else left + right)


def apart(sides: npt.NDArray[np.float32]) -> Sides:
    """Average left and right, (2, samples), and take their difference, if there is any."""
    left, right = _bounded(sides)
    powers = _powers(left, right)
    both, crossed = powers[0] + powers[1], 2 * powers[2]
    against = _runs_against(*powers)
    mean, difference = (both - crossed, both + crossed) if against else (both + crossed, both - crossed)
    if difference <= _DIFFERS**2 * mean:
        return _half(left - right if against else left + right)
    two = np.empty_like(sides)
    np.add(left, right, out=two[1 if against else 0])
    np.subtract(left, right, out=two[0 if against else 1])
    return _half(two)


def _bounded(sides: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Without samples that are no number or too loud: those in floating point may be anything."""
    if -1.0 <= float(sides.min()) <= float(sides.max()) <= 1.0:
        return sides
    return np.nan_to_num(sides, nan=0.0, posinf=1.0, neginf=-1.0).clip(-1.0, 1.0)


def _powers(left: Sound, right: Sound) -> tuple[float, float, float]:
    """Of each, and of what they have in common."""
    return float(left @ left), float(right @ right), float(left @ right)


def _runs_against(left: float, right: float, common: float) -> bool:
    power = math.sqrt(left * right)
    return bool(power) and common / power < _AGAINST


def _half(sound: Sides) -> Sides:
    sound *= np.float32(0.5)
    return sound


def sides(source: BinaryIO, rate: int, lost: Stretches | None = None) -> Iterator[npt.NDArray[np.float32]]:
    """Yield stretches of sound, (channels, samples), one or two channels, with gaps filled, from 0 s.

    Args:
        source: The file, at its beginning.
        rate: Samples a second of what is yielded.
        lost: What is missing or broken for half a second or longer is added to it, before what comes next is
            yielded, or at the end.

    Raises:
        UnsupportedMediaError, DamagedMediaError: See `decode`.
    """
    missing = demux.missing(source)
    counted = _counts_frames(source)
    with (
        demux.media_errors("sound", _REMEDY),
        closing(demux.opened(source, _ADVICE)) as container,
    ):
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            raise UnsupportedMediaError("there is no sound in it: send a file that has an audio track")
        demux.check_codec(stream, _REMEDY)
        stream.codec_context.thread_count = 1
        begin = (container.start_time or 0) / av.time_base
        length = _length(container, stream, missing, counted=counted)
        lost = [] if lost is None else lost
        given = 0
        if stream.layout.name in straight.LAYOUTS and stream.sample_rate:
            with suppress(straight.InterruptedSoundError):
                for piece in _straight(source, stream, begin, rate):
                    given += piece.shape[1]
                    yield piece
                _end(lost, given / rate, length)
                return
        clock = _Clock(begin)
        frames = demux.frames(demux.packets(container, stream))
        yield from _after(given, _resampled(frames, clock, rate, lost))
        _end(lost, clock.read, length)


def _straight(
    source: BinaryIO, stream: AudioStream, begin: float, rate: int
) -> Iterator[npt.NDArray[np.float32]]:
    """Let FFmpeg read the file by itself; see `straight.pieces`."""
    with demux.reopened(source) as descriptor:
        if descriptor is None:
            raise straight.InterruptedSoundError
        options = {**demux.OPTIONS, demux.DECODERS: stream.codec_context.name}
        if stream.codec_context.name.startswith("pcm_"):  # it was looked into already
            options[demux.PROBED] = "1"
        layout = straight.LAYOUTS[stream.layout.name]
        file = straight.Source(descriptor, options, stream.index, begin, stream.sample_rate, layout)
        yield from straight.pieces(file, rate)


def _after(given: int, pieces: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
    """Leave out as many samples as were given before."""
    for piece in pieces:
        left_out = min(given, piece.shape[1])
        given -= left_out
        if left_out < piece.shape[1]:
            yield piece[:, left_out:]


def _length(container: InputContainer, stream: AudioStream, missing: float, *, counted: bool) -> float | None:
    """How many seconds of sound the file says that it holds; None where it does not say.

    Args:
        container: The file.
        stream: Its sound.
        missing: Which part of the file is missing.
        counted: Whether it is an MP3 file that counts its frames.
    """
    names = set(container.format.name.split(","))
    if missing and container.duration is not None:
        there = 1.0 if names & _KEEP_LENGTHS else 1.0 - missing
        return container.duration / av.time_base / there
    if stream.duration is None or stream.time_base is None:
        return None
    told = names & _TELL_LENGTHS or (counted and "mp3" in names)
    return float(stream.duration * stream.time_base) if told else None


def _end(lost: Stretches, read: float, length: float | None) -> None:
    """Take note of what is missing at the end."""
    if length is not None and length - read > _SHORT_OF:
        lost.append((round(read, 3), round(length, 3)))


def _resampled(
    frames: Iterable[AudioFrame], clock: "_Clock", rate: int, lost: Stretches
) -> Iterator[npt.NDArray[np.float32]]:
    """Bring frames to one rate and two channels (one stays one).

    Args:
        frames: As decoded.
        clock: At the start of the media; afterwards at its end.
        rate: Samples a second of what is yielded.
        lost: See `sides`.

    Raises:
        DamagedMediaError: If there is no frame.
    """
    resampler: _Resampler | None = None
    for frame in frames:  # dozens a second: what most of them need comes first
        if resampler is not None and clock.goes_on(frame.time) and resampler.takes(frame):
            clock.now += frame.samples * resampler.period
        elif frame.samples and frame.sample_rate:
            read = clock.read
            gap = clock.gap_before(frame)
            if gap >= _LEAST_LOST:
                lost.append((round(read, 3), round(read + gap, 3)))
            if resampler is not None and (gap or not resampler.takes(frame)):
                yield from resampler.end()
                resampler = None
            if resampler is None:
                yield from _silence(gap, rate)
                resampler = _Resampler(frame, rate)
                resampler.takes(frame)
        if resampler is not None and resampler.full:
            yield from resampler.flush()
    if resampler is None:
        raise DamagedMediaError("none of its sound can be decoded: send the whole file, or save it as FLAC")
    yield from resampler.end()


def _silence(seconds: float, rate: int) -> Iterator[npt.NDArray[np.float32]]:
    left = round(seconds * rate)
    while left > 0:
        length = min(left, round(PIECE_SECONDS * rate))
        yield np.zeros((1, length), np.float32)
        left -= length


class _Clock:
    """Tells gaps by frames' time stamps."""

    def __init__(self, begin: float) -> None:
        self._begin = begin
        self.now = begin
        """Where the sound so far ends, by time stamps."""

    @property
    def read(self) -> float:
        """Seconds of sound so far."""
        return self.now - self._begin

    def goes_on(self, stamp: float | None) -> bool:
        """Whether a frame of this time stamp follows on."""
        return stamp is None or -straight.LONGEST_GAP <= stamp - self.now <= straight.JITTER

    def gap_before(self, frame: AudioFrame) -> float:
        """Seconds that are missing before a frame; 0.0 if it follows on, or by another clock."""
        stamp = self.now if frame.time is None else frame.time
        gap = stamp - self.now
        length = frame.samples / frame.sample_rate
        if gap > straight.LONGEST_GAP or gap < -straight.LONGEST_GAP:
            self._begin += gap
            self.now = stamp + length
            return 0.0
        if gap > straight.JITTER:
            self.now = stamp + length
            return gap
        self.now += length
        return 0.0


class _Resampler:
    """FFmpeg's resampler, on one thread, for frames of one kind. Frames are gathered first, for speed."""

    def __init__(self, frame: AudioFrame, rate: int) -> None:
        self.period = 1.0 / frame.sample_rate
        """Seconds from one of its samples to the next."""
        self._left = self._at_once = round(_GATHERED_SECONDS * frame.sample_rate)
        self._fifo = av.AudioFifo()
        self._channels = channels = frame.layout.nb_channels
        self._graph = Graph()
        self._graph.threads = 1
        steps = [
            self._graph.add(
                "abuffer",
                sample_rate=str(frame.sample_rate),
                sample_fmt=frame.format.name,
                channel_layout=frame.layout.name,
                time_base=f"1/{frame.sample_rate}",
            )
        ]
        if channels > 1 and frame.layout.name.endswith("channels"):  # whose places are not known
            steps.append(self._graph.add("pan", _in_turn(channels)))
        layout = "mono" if channels == 1 else "stereo"
        steps += [*straight.resampling(self._graph, rate, layout), self._graph.add("abuffersink")]
        self._graph.link_nodes(*steps).configure()

    def takes(self, frame: AudioFrame) -> bool:
        """Take a frame, if it is of the kind that this one was made for. There are dozens a second."""
        frame.pts = None
        if frame.layout.nb_channels != self._channels:  # which PyAV does not look at: it would read past them
            return False
        try:
            self._fifo.write(frame)
        except ValueError:  # of another format, layout or rate than the first
            return False
        self._left -= frame.samples
        return True

    @property
    def full(self) -> bool:
        """Whether enough was gathered to be resampled."""
        return self._left <= 0

    def flush(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield what was gathered."""
        self._left = self._at_once
        yield from self._push(self._fifo.read())

    def end(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield what is left."""
        if self._fifo.samples:
            yield from self._push(self._fifo.read())
        yield from self._push(None)

    def _push(self, frame: AudioFrame | None) -> Iterator[npt.NDArray[np.float32]]:
        if frame is not None:
            frame.pts = None
        self._graph.push(frame)
        while True:
            try:
                sound = self._graph.pull()
            except (BlockingIOError, av.error.EOFError):
                return
            if isinstance(sound, AudioFrame):
                yield np.asarray(sound.to_ndarray(), np.float32)


def _in_turn(channels: int) -> str:
    """What `pan` does with channels whose places are not known: left and right in turn."""
    sides = (range(0, channels, 2), range(1, channels, 2))
    left, right = ("+".join(f"{1 / len(side):.6f}*c{number}" for number in side) for side in sides)
    return f"stereo|FL={left}|FR={right}"
