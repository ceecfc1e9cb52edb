"""Films that are made up of photographs, panned and zoomed, and saved as files."""

import io
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import skimage
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from PIL import Image

from indexers.audio.decode import RATE, Sound
from indexers.image.decode import Picture

WIDTH, HEIGHT, FPS = 256, 144, 4
SHOT = 3.0
"""Seconds of a shot."""

PHOTOS = {
    "first": ("astronaut.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "coins.png"),
    "second": ("hubble_deep_field.jpg", "retina.jpg", "page.png", "ihc.png", "camera.png", "moon.png"),
    "other": ("brick.png", "grass.png", "cell.png", "text.png", "gravel.png", "clock_motion.png"),
}
"""What films show, shot after shot."""


@cache
def photo(name: str) -> Picture:
    """A photograph of scikit-image, at most 512 wide and high."""
    with Image.open(Path(skimage.__file__).parent / "data" / name) as image:
        image.thumbnail((512, 512))
        return np.asarray(image.convert("RGB"))


def shown(film: str, time: float) -> Picture:
    """What a film shows at a time: each photograph for `SHOT` seconds, from a corner to its middle."""
    names = PHOTOS[film]
    shot, rest = divmod(max(0.0, time), SHOT)
    name, round_ = names[int(shot) % len(names)], int(shot) // len(names)
    picture = photo(name)
    height, width = picture.shape[:2]
    part = 0.9 - 0.12 * rest - 0.05 * round_
    left, top = (round(side * (1 - part) * rest / SHOT) for side in (width, height))
    window = picture[top : top + round(height * part), left : left + round(width * part)]
    return np.asarray(cv2.resize(window, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


def frames(film: str, start: float, end: float, speed: float = 1.0) -> list[Picture]:
    """The frames from one time to another, `FPS` a second; backwards where the speed is negative."""
    times = np.arange(0.0, (end - start) / abs(speed), 1 / FPS)
    return [shown(film, start + time * speed if speed > 0 else end - 0.01 + time * speed) for time in times]


def changed(pictures: Iterable[Picture], change: Callable[[Picture], Picture]) -> list[Picture]:
    """All of them, changed in the same way."""
    return [np.ascontiguousarray(change(picture)) for picture in pictures]


def inside(picture: Picture, other: Picture) -> Picture:
    """A picture in a corner of another."""
    canvas = np.array(cv2.resize(other, (WIDTH * 2, HEIGHT * 2)), np.uint8)
    small = cv2.resize(picture, (round(WIDTH * 0.9), round(HEIGHT * 0.9)))
    canvas[20 : 20 + small.shape[0], 250 : 250 + small.shape[1]] = small
    return canvas


def encoded(
    pictures: Sequence[Picture],
    sound: Sound | None = None,
    *,
    container: str = "matroska",
    codec: str = "mpeg4",
    fps: int = FPS,
    stamps: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    pixels: str = "yuv420p",
) -> bytes:
    """A film as a file.

    Args:
        pictures: Its frames, of one size.
        sound: Its sound; None: it has none.
        container: FFmpeg's name.
        codec: FFmpeg's name.
        fps: Frames a second.
        stamps: When each frame is shown, in frames; None: one after the other.
        options: Of the encoder.
        pixels: FFmpeg's name of their format.
    """
    file = io.BytesIO()
    with av.open(file, "w", container) as output:
        stream = output.add_stream(codec, rate=fps, options=options or {"qscale": "3"})
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        track = output.add_stream("aac", rate=22_050) if sound is not None else None
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            frame.time_base = Fraction(1, fps)
            frame.pts = number if stamps is None else stamps[number]
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            assert isinstance(track, AudioStream)
            whole = AudioFrame.from_ndarray(np.ascontiguousarray(sound[np.newaxis]), "fltp", "mono")
            whole.sample_rate = RATE
            resampler = AudioResampler("fltp", "stereo", 22_050, frame_size=1024)
            for part in (*resampler.resample(whole), *resampler.resample(None)):
                output.mux(track.encode(part))
            output.mux(track.encode(None))
    return file.getvalue()
