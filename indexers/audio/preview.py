"""What people are shown of a sound: all of it at a low rate, its waveform, and its spectrogram."""

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from typing import BinaryIO, Final

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer

from indexers.audio import decode
from indexers.modality import MediaLimits
from indexers.previews import WAVEFORM_RATE, Budget, Facts, Files, Kind, write_picture

RATE: Final = 24_000
"""Samples a second that are shown: up to 12 kHz can be heard."""
BIT_RATE: Final = 32_000
"""Of Opus, in stereo: 14 MB an hour."""

MOST_COLUMNS: Final = 12_000
"""Of a spectrogram: 8 minutes at full length; of longer sounds several columns become one."""
_COLUMNS_A_SECOND: Final = 25
_ROWS: Final = 96
_WINDOW: Final = 1024
_LOWEST, _HIGHEST = 60.0, 11_000.0
"""Hertz, at the bottom and at the top, spaced by the logarithm between."""
_RANGE_DB: Final = 80.0
"""From black to white."""
_FRAME: Final = RATE * 60 // 1000
"""Samples of a frame of Opus: the longest that there is, since nobody waits for it."""

Sides = npt.NDArray[np.float32]
"""(2, samples) at `RATE`, -1..1."""


def sounds(source: BinaryIO, limits: MediaLimits) -> Iterator[Sides]:
    """Yield a sound from 0 s on in pieces, up to `limits.max_seconds`.

    Raises:
        MediaError: As `decode.sides`.
    """
    left = round(limits.max_seconds * RATE)
    for piece in decode.sides(source, RATE):
        some = np.nan_to_num(piece[:, :left], nan=0.0, posinf=1.0, neginf=-1.0).clip(-1.0, 1.0)
        yield np.broadcast_to(some, (2, some.shape[1]))
        left -= some.shape[1]
        if not left:
            return


@contextmanager
def written(file: BinaryIO) -> Iterator[OutputContainer]:
    """A WebM file that is being written, without dates and names of software."""
    with closing(av.open(file, "w", "webm", options={"fflags": "+bitexact"})) as output:
        yield output


class Track:
    """Sound that is encoded as Opus into a container."""

    def __init__(self, output: OutputContainer) -> None:
        """Add a track; the container's other tracks are added before anything is written."""
        self._output = output
        options = {"application": "audio", "frame_duration": "60", "compression_level": "0"}
        stream = output.add_stream("libopus", rate=RATE, layout="stereo", options=options)
        if not isinstance(stream, AudioStream):
            raise AssertionError("Opus is a codec of sound")  # noqa: TRY004 - cannot be
        stream.bit_rate = BIT_RATE
        stream.codec_context.thread_count = 1
        self._stream = stream
        self._waiting: Sides = np.zeros((2, 0), np.float32)
        self._count = 0
        self.byte_count = 0
        """What was written."""

    @property
    def seconds(self) -> float:
        """How much sound it was given."""
        return float(self._count + self._waiting.shape[1]) / RATE

    def add(self, piece: Sides) -> None:
        """Encode what comes next."""
        self._waiting = np.concatenate([self._waiting, piece], axis=1)
        whole = self._waiting.shape[1] // _FRAME * _FRAME
        for start in range(0, whole, _FRAME):
            self._encode(self._waiting[:, start : start + _FRAME])
        self._waiting = self._waiting[:, whole:]

    def end(self) -> None:
        """Encode the rest."""
        if self._waiting.shape[1]:
            self._encode(self._waiting)
            self._waiting = self._waiting[:, :0]
        self._mux(None)

    def _encode(self, sides: Sides) -> None:
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(sides.T).reshape(1, -1), "flt", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._count, Fraction(1, RATE)
        self._count += sides.shape[1]
        self._mux(frame)

    def _mux(self, frame: AudioFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self.byte_count += packet.size
            self._output.mux(packet)


class Drawing:
    """A waveform and a spectrogram of a sound that comes in pieces."""

    def __init__(self) -> None:
        """Draw nothing yet."""
        self._levels: list[npt.NDArray[np.int8]] = []
        self._columns: list[npt.NDArray[np.uint8]] = []
        self._loose: Sides = np.zeros((2, 0), np.float32)
        self._past = np.zeros(_WINDOW // 2, np.float32)
        self._rows = _pooling()
        self._window = np.hanning(_WINDOW).astype(np.float32)
        self._samples = 0

    def add(self, piece: Sides) -> None:
        """Draw what comes next."""
        self._samples += piece.shape[1]
        step = RATE // WAVEFORM_RATE
        self._loose = np.concatenate([self._loose, piece], axis=1)
        whole = self._loose.shape[1] // step * step
        if whole:
            self._levels.append(_levels(self._loose[:, :whole], step))
            self._spectra(decode.mono(self._loose[:, :whole]))
            self._loose = self._loose[:, whole:]

    def write(self, files: Files, *, whole: bool) -> None:
        """Write both."""
        rest = self._loose.shape[1]
        if rest:
            self._levels.append(_levels(self._loose, rest))
        self._spectra(np.zeros(_WINDOW, np.float32))
        levels = np.concatenate(self._levels)
        files.begin(Kind.WAVEFORM).write(levels.tobytes())
        files.end(Kind.WAVEFORM, Facts(seconds=self._samples / RATE, whole=whole))
        every = np.concatenate(self._columns)[: math.ceil(self._samples * _COLUMNS_A_SECOND / RATE)]
        at_once = math.ceil(len(every) / MOST_COLUMNS)
        groups = math.ceil(len(every) / at_once)
        padded = np.zeros((groups * at_once, _ROWS), np.uint8)
        padded[: len(every)] = every
        columns = padded.reshape(groups, at_once, _ROWS).max(axis=1)
        facts = Facts(seconds=groups * at_once / _COLUMNS_A_SECOND, whole=whole)
        write_picture(
            files,
            Kind.SPECTROGRAM,
            np.ascontiguousarray(columns.T[::-1]),
            side=MOST_COLUMNS,
            facts=facts,
        )

    def _spectra(self, sound: npt.NDArray[np.float32]) -> None:
        """Columns of the windows that lie in what is there; a column's window has its time in the middle."""
        sound = np.concatenate([self._past, sound])
        step = RATE // _COLUMNS_A_SECOND
        count = max(0, (len(sound) - _WINDOW) // step + 1)
        if count:
            windows = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::step][:count]
            power = np.abs(np.fft.rfft(windows * self._window, axis=1)).astype(np.float32) ** 2 @ self._rows
            decibels = 10 * np.log10(power + np.float32(1e-9)) - 20 * math.log10(_WINDOW / 4)
            shade = (decibels / _RANGE_DB + 1).clip(0, 1) * 255
            self._columns.append(shade.round().astype(np.uint8))
        self._past = sound[count * step :]


def _levels(sides: Sides, step: int) -> npt.NDArray[np.int8]:
    """(n, 2): smallest and largest sample of each `step`, of both sides."""
    parts = sides.reshape(2, -1, step)
    both = np.stack([parts.min(axis=(0, 2)), parts.max(axis=(0, 2))], axis=1)
    return np.asarray((both * 127).round(), np.int8)


def _pooling() -> npt.NDArray[np.float32]:
    """(bins, rows): which bins of a spectrum make each row, lowest first; each row is a mean."""
    edges = np.geomspace(_LOWEST, _HIGHEST, _ROWS + 1) * _WINDOW / RATE
    bins = np.arange(_WINDOW // 2 + 1)[:, np.newaxis]
    weights = np.maximum(0, np.minimum(bins + 0.5, edges[1:]) - np.maximum(bins - 0.5, edges[:-1]))
    pooling: npt.NDArray[np.float32] = (weights / weights.sum(axis=0)).astype(np.float32)
    return pooling


def preview(source: BinaryIO, limits: MediaLimits, files: Files, budget: Budget) -> None:
    """Write the sound, its waveform and its spectrogram.

    Raises:
        MediaError: As `decode.decode`.
    """
    file, drawing, whole = files.begin(Kind.SOUND), Drawing(), True
    with written(file) as output:
        track = Track(output)
        for piece in sounds(source, limits):
            drawing.add(piece)
            track.add(piece)
            if budget.spent(track.byte_count):
                whole = False
                break
        track.end()
    files.end(Kind.SOUND, Facts(seconds=track.seconds, whole=whole))
    drawing.write(files, whole=whole)
