"""Containers of sound and film from untrusted bytes: opened, told apart, read as far as they go.

Media are read from a file object alone. Playlists, and other formats that name further files or addresses,
are refused by name, and no protocol is open to the formats that remain.
"""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol, TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from indexers.errors import DamagedMediaError, MediaError, UnsupportedMediaError

S = TypeVar("S", AudioStream, VideoStream)
F = TypeVar("F")

HEAD_BYTES: Final = 4096
"""How much of a file is looked at to tell its kind."""

_DEMUXERS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf", "dsf", "dts", "eac3",
    "flac", "flv", "h264", "hevc", "ivf", "loas", "m4v", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "mp3",
    "mpc", "mpc8", "mpeg", "mpegts", "mpegvideo", "mxf", "nut", "ogg", "oma", "qcp", "rm", "tak", "tta",
    "voc", "w64", "wav", "wv", "yuv4mpegpipe",
)  # fmt: skip
"""FFmpeg's names of what is read: none of them opens another file."""

OPTIONS: Final = {
    "format_whitelist": ",".join(_DEMUXERS),
    "enable_drefs": "0",  # a QuickTime file may name others
    "max_streams": "64",
}
"""With which containers are opened; no protocol is needed beside what gives the file itself."""

PROBED: Final = "max_probe_packets"
"""The option that says how many packets are looked at to tell what a WAV file's samples really are: some hold
AC-3 or DTS. FFmpeg takes 2.5 MB, and as long for it as for decoding half a minute."""
_PROBED_PACKETS = "8"  # three quarters of a second

DECODERS: Final = "codec_whitelist"
"""The option that says what may be decoded: else FFmpeg decodes some pictures of a film when it opens it."""

_WAVES = {b"RIFF", b"RF64", b"BW64"}
"""What WAV files begin with; AVI files too."""

_UNKNOWN_LENGTH = 0x7FFF_0000
"""From here on a RIFF file's length says that it was not known when its header was written."""

_EBML: Final = bytes.fromhex("1a45dfa3")
_SEGMENT: Final = bytes.fromhex("18538067")

_BOX: Final = 8
"""Bytes of the header of an ISO base media box, and of a RIFF chunk: length and name, in either order."""
_MOST_BOXES: Final = 4096


def opened(source: BinaryIO, advice: str) -> InputContainer:
    """Open a container.

    Args:
        source: The file, at its beginning.
        advice: What to send instead, where it cannot be read.

    Raises:
        UnsupportedMediaError: If its format is not on the list, or its header makes no sense.
    """
    options = {**OPTIONS, "protocol_whitelist": "none"}
    if source.read(4) in _WAVES:
        options[PROBED] = _PROBED_PACKETS
    source.seek(0)
    try:
        return av.open(_Sought(source), "r", options=options, metadata_errors="ignore")
    except (av.error.ArgumentError, av.error.InvalidDataError, av.error.EOFError) as error:
        raise UnsupportedMediaError(advice) from error


class _Sought:
    """A file that may be sought at places that it has not, as damaged ones say, without a word from PyAV."""

    def __init__(self, source: BinaryIO) -> None:
        self.read = source.read
        self.tell = source.tell
        self._seek = source.seek

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move; return where to, or a negative number, as FFmpeg takes it."""
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):
            return -1


@contextmanager
def media_errors(what: str, remedy: str) -> Iterator[None]:
    """Turn what FFmpeg raises on broken bytes into a `MediaError`.

    Args:
        what: Such as ``sound``.
        remedy: What to do.
    """
    try:
        yield
    except (MediaError, MemoryError):
        raise
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise DamagedMediaError(
            f"the {what} is damaged or of an unusual variant ({error}): {remedy}"
        ) from error


def check_codec(stream: AudioStream | VideoStream, remedy: str) -> None:
    """Refuse a track of a kind that FFmpeg has no decoder for, or that its header does not name.

    Args:
        stream: The track.
        remedy: What to do.

    Raises:
        UnsupportedMediaError: If it is one.
    """
    context: object = stream.codec_context  # None then, which PyAV's types leave out
    if context is None:
        raise UnsupportedMediaError(f"its {stream.type} is encoded in a way that is not known: {remedy}")


@dataclass(slots=True)
class Lost:
    """What of a stream could not be read.

    Attributes:
        packets: How many packets so far.
        cut: Whether the container broke off.
    """

    packets: int = 0
    cut: bool = False


def packets(container: InputContainer, stream: S, lost: Lost | None = None) -> Iterator["Packet[S]"]:
    """Yield a stream's packets as far as the container can be read; write down what is lost."""
    found = container.demux(stream)
    while True:
        try:
            yield next(found)
        except StopIteration:
            return
        except IndexError:  # PyAV, at the end, where damage shows as a track that was not there at first
            return
        except MemoryError:
            raise
        except av.error.FFmpegError:  # cut off, or broken from here on
            if lost is not None:
                lost.cut = True
            return


class Decodable(Protocol[F]):
    """A packet of frames."""

    def decode(self) -> list[F]:
        """Decode it."""
        ...


def frames(some: Iterable[Decodable[F]], lost: Lost | None = None) -> Iterator[F]:
    """Yield the frames of packets that can be decoded; broken packets are skipped, and written down."""
    for packet in some:
        try:
            yield from packet.decode()
        except MemoryError:
            raise
        except (av.error.FFmpegError, ValueError):  # this packet is lost, the next one may be whole
            if lost is not None:
                lost.packets += 1


def missing(source: BinaryIO) -> float:
    """Which part of a file is missing, 0 to 1, where it tells how long it is; 0.0 where it does not.

    FFmpeg reads Matroska, WebM, WAV and AVI that were cut off as if they were whole. The file is left at its
    beginning.
    """
    source.seek(0)
    first = source.read(HEAD_BYTES)
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    told = _told_by_riff(first) if first[:4] in _WAVES else _told_by_segment(first)
    return 0.0 if told is None or told <= size else 1.0 - size / told


def _told_by_segment(first: bytes) -> int | None:
    """Bytes of a Matroska or WebM file. See RFC 8794 for the numbers in it, RFC 9559 for what they say."""
    at = 0
    for name in (_EBML, _SEGMENT):
        if not first.startswith(name, at):
            return None
        at += len(name)
        width = 9 - first[at].bit_length() if at < len(first) else 9
        length = int.from_bytes(first[at : at + width]) & ((1 << 7 * width) - 1)
        at += width
        if width > 8 or at > len(first):
            return None
        if name == _SEGMENT:
            return None if length == (1 << 7 * width) - 1 else at + length
        at += length
    return None


def _told_by_riff(first: bytes) -> int | None:
    """Bytes of a WAV or AVI file, at least: an AVI file may go on with another such part.

    Sizes of RF64 and BW64 stand in a chunk that comes first, see EBU Tech 3306.
    """
    length = int.from_bytes(first[4:8], "little")
    if first[:4] != b"RIFF":
        length = int.from_bytes(first[20:28], "little") if first[12:16] == b"ds64" else 0
    elif length >= _UNKNOWN_LENGTH:
        return None
    return _BOX + length if length else None


def head(source: BinaryIO) -> bytes:
    """Read what a file's kind is told by: its first bytes, and what tracks an ISO base media file has.

    Those may be listed anywhere in the file, and its first bytes alone tell no film from a song. The file is
    left at its beginning.
    """
    source.seek(0)
    first = source.read(HEAD_BYTES)
    if first[4:8] == b"ftyp":
        size = source.seek(0, os.SEEK_END)
        first += b"".join(b"hdlr" + kind for kind in _handlers(source, 0, size))
    source.seek(0)
    return first


def _handlers(source: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """Yield the four letters that name the kind of each track, such as ``vide``."""
    for moov in _boxes(source, start, end, b"moov"):
        for track in _boxes(source, *moov, b"trak"):
            for media in _boxes(source, *track, b"mdia"):
                for handler in _boxes(source, *media, b"hdlr"):
                    source.seek(handler[0] + _BOX)
                    yield source.read(4)


def _boxes(source: BinaryIO, start: int, end: int, name: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the contents of boxes of a name start and end, among those between two places."""
    for _ in range(_MOST_BOXES):
        source.seek(start)
        header = source.read(2 * _BOX)
        if start + _BOX > end or len(header) < _BOX:
            return
        length, begin = int.from_bytes(header[:4], "big"), start + _BOX
        if length == 1:  # 64 bits follow
            length, begin = int.from_bytes(header[8:], "big"), begin + _BOX
        if length == 0:
            length = end - start
        if length < begin - start:
            return
        if header[4:8] == name:
            yield begin, min(end, start + length)
        start += length


class InMemory(io.BytesIO):
    """A file's content, of which the file is known still."""

    def __init__(self, file: BinaryIO) -> None:
        """Read a file, which is at its beginning."""
        super().__init__(file.read())
        self.file = file


@contextmanager
def reopened(source: BinaryIO) -> Iterator[int | None]:
    """Open the file that `source` reads once more, at a place of its own, for FFmpeg to read by itself.

    Yields:
        A descriptor, closed in the end; None if there is no such file, but a part of one, or memory.
    """
    file = source.file if isinstance(source, InMemory) else source
    if isinstance(file, io.BufferedReader):
        file = file.raw
    descriptor = None
    if isinstance(file, io.FileIO):
        with suppress(OSError):  # a system without this folder, or none of its own
            descriptor = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)
