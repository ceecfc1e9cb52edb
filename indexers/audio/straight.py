"""Sound that is whole and without gaps, read, decoded and resampled inside FFmpeg, half a second at a time.

Decoders give dozens of frames a second, and a call for each of them costs as much as decoding it. So the
file is handed to FFmpeg, whose filters gather what it decodes. That tells less: where a packet is broken, or
time stamps leave a gap, `InterruptedSoundError` says so, and `decode` reads on frame by frame. The samples
are the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.filter import Graph
from av.filter.context import FilterContext

JITTER: Final = 0.1
"""Seconds by which time stamps may be off without a gap: containers round them."""

LONGEST_GAP: Final = 600.0
"""Seconds from which on a jump of time stamps is another clock, not a gap: recordings are joined so."""

LAYOUTS: Final = {"mono": "mono", "1 channels": "mono", "stereo": "stereo", "2 channels": "stereo"}
"""What is read so, and how FFmpeg takes it: one of two channels whose places are not told is the left one."""

_GATHERED_SECONDS = 0.5
"""Sound that goes through the filters at a time; only a gap within the last such piece is not seen."""


class InterruptedSoundError(Exception):
    """From here on it has to be read frame by frame."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file that FFmpeg opens by itself.

    Attributes:
        descriptor: Of the file, at a place of its own.
        options: With which it is opened.
        track: Number of its sound among all that it holds.
        begin: Time stamp at which the media starts, in seconds.
        sample_rate: Of its sound.
        layout: ``mono`` or ``stereo``.
    """

    descriptor: int
    options: dict[str, str]
    track: int
    begin: float
    sample_rate: int
    layout: str


def resampling(graph: Graph, rate: int, layout: str) -> list[FilterContext]:
    """Add the filters that bring sound to a rate and one or two channels, as floating point.

    Args:
        graph: What they are added to.
        rate: Samples a second.
        layout: ``mono`` or ``stereo``.
    """
    return [
        graph.add(
            "aresample",
            osr=str(rate),
            ochl=layout,
            osf="fltp",
            filter_size="16",  # as Chromaprint has it; half as long as FFmpeg's own, and half the time
            phase_shift="8",
            linear_interp="0",
        ),
        graph.add("aformat", sample_rates=str(rate), sample_fmts="fltp", channel_layouts=layout),
    ]


def pieces(source: Source, rate: int) -> Iterator[npt.NDArray[np.float32]]:
    """Yield the sound, (channels, samples), of half a second each.

    A piece is given once the next one's time stamp says that there is no gap in it.

    Raises:
        InterruptedSoundError: If a packet cannot be decoded, if there is a gap before the next piece, if the
            sound changes its kind, or if FFmpeg cannot open it by itself.
    """
    _graph, sink = _opened(source, rate)  # which ends with its graph
    count, waiting = 0, None
    while (frame := _next(sink)) is not None:
        late = 0.0 if frame.time is None else frame.time - source.begin - count / rate
        if not -LONGEST_GAP <= late <= JITTER:
            raise InterruptedSoundError
        if waiting is not None:
            yield waiting
        waiting = np.asarray(frame.to_ndarray(), np.float32)
        count += waiting.shape[1]
    if waiting is None:
        raise InterruptedSoundError
    yield waiting


def _opened(source: Source, rate: int) -> tuple[Graph, FilterContext]:
    """The filters, and the last of them."""
    graph = Graph()
    graph.threads = 1
    options = {"fd": str(source.descriptor), "protocol_whitelist": "fd", **source.options}
    try:
        steps = [
            graph.add(
                "amovie",
                filename="fd:",
                format_opts=":".join(f"{name}={value}" for name, value in options.items()),
                stream_index=str(source.track),
                dec_threads="1",
            ),
            graph.add("asetnsamples", n=str(round(_GATHERED_SECONDS * source.sample_rate)), p="0"),
            *resampling(graph, rate, source.layout),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*steps).configure()
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise InterruptedSoundError from error
    return graph, steps[-1]


def _next(sink: FilterContext) -> AudioFrame | None:
    """The next frame; None where the sound ends."""
    try:
        frame = sink.pull()
    except av.error.EOFError:
        return None
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError, OSError) as error:  # also where a packet holds several frames
        raise InterruptedSoundError from error
    if not isinstance(frame, AudioFrame):
        raise InterruptedSoundError
    return frame
