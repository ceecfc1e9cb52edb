"""What a usual upload or film costs: 1280 × 720 pixels at 25 pictures a second, with sound.

Films follow each other until the upload, of a minute, is full, each as large as it fits, on black; written
as H.264 by x264's preset ``veryfast`` and AAC. Of strange films, none of them is found; of registered ones,
each is copied.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame

from benchmarks.quality import audio_attacks, video_media
from benchmarks.quality.video_attacks import Picture
from benchmarks.quality.video_media import Film

SECONDS: Final = 60.0
WIDTH: Final = 1280
HEIGHT: Final = 720
RATE: Final = 25
_BETWEEN: Final = 0.2
"""Seconds between two repetitions: the first pictures are decoded before they are shown."""


def upload(films: Sequence[Film], path: Path, length: float = SECONDS) -> Path:
    """Write an upload of films, the longest first, unless it is there.

    Args:
        films: What is in it.
        path: MP4.
        length: Of the upload, seconds.

    Raises:
        ValueError: If they are shorter than the upload.
    """
    if path.exists():
        return path
    chosen, total = [], 0.0
    for film in sorted(films, key=lambda film: (-film.seconds, film.name)):
        seconds = min(film.seconds, length - total)
        if seconds > 1.0:
            chosen.append((film, seconds))
            total += seconds
    if total < length - 1.0:
        raise ValueError(f"{total:.0f} s of films make no upload of {length:.0f} s: name more of them")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    with av.open(str(part), "w", "mp4") as output:
        options = {"preset": "veryfast", "crf": "23", "threads": "1"}
        stream = output.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = output.add_stream("aac", rate=audio_attacks.RATE)
        assert isinstance(sound, AudioStream)  # noqa: S101 - a codec of sound
        sound.bit_rate, sound.layout = 128_000, "stereo"
        number = 0
        for film, seconds in chosen:
            for picture in _pictures(film, seconds):
                frame = VideoFrame.from_ndarray(picture, "rgb24")
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                output.mux(stream.encode(frame))
                number += 1
        output.mux(stream.encode(None))
        heard = np.concatenate([_sound(film, seconds) for film, seconds in chosen], axis=1)
        for first in range(0, heard.shape[1], 1024):
            samples = AudioFrame.from_ndarray(
                np.ascontiguousarray(heard[:, first : first + 1024]), "fltp", "stereo"
            )
            samples.sample_rate, samples.pts = audio_attacks.RATE, first
            output.mux(sound.encode(samples))
        output.mux(sound.encode(None))
    part.rename(path)
    return path


def repeated(once: Path, seconds: float, path: Path) -> Path:
    """Write what an upload holds again and again, as it is encoded, unless it is there.

    Both tracks begin anew a moment after the longer of them ended.

    Args:
        once: The upload.
        seconds: Least length of what is written.
        path: MP4.
    """
    if path.exists():
        return path
    part = path.with_suffix(".part")
    with av.open(str(part), "w", "mp4") as output:
        tracks = None
        begin = 0.0
        while begin < seconds:
            with av.open(str(once)) as source:
                if tracks is None:
                    tracks = {one.index: output.add_stream_from_template(one) for one in source.streams}
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round(begin / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = tracks[packet.stream_index]
                    output.mux(packet)
                begin += (source.duration or 0) / av.time_base + _BETWEEN
    part.rename(path)
    return path


def _pictures(film: Film, seconds: float) -> Iterator[Picture]:
    """Of a film, as the upload has them; a second at a time, since they are large."""
    for second in range(round(seconds)):
        for _, picture in video_media.sampled(film.path, 1 / RATE, WIDTH, second, second + 1):
            height, width = picture.shape[:2]
            scale = min(WIDTH / width, HEIGHT / height)
            size = min(WIDTH, round(width * scale)), min(HEIGHT, round(height * scale))
            canvas = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            left, top = (WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2
            canvas[top : top + size[1], left : left + size[0]] = cv2.resize(
                picture, size, interpolation=cv2.INTER_CUBIC
            )
            yield canvas


def _sound(film: Film, seconds: float) -> audio_attacks.Sound:
    """Of a film; silence where it has none."""
    length = round(round(seconds) * audio_attacks.RATE)
    found = video_media.sound_of(film.path)
    heard = np.zeros((2, length), np.float32)
    if found is not None:
        some = found[:, :length]
        heard[:, : some.shape[1]] = some
    return heard
