"""Tunes that are made up, cut, and saved as files."""

import io

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from indexers.audio.decode import RATE, Sound


def tune(seed: int, seconds: float = 60.0, *, tempo: float = 1.0, cents: float = 0.0) -> Sound:
    """A tune of plucked notes, which can be played faster, or higher, exactly."""
    rng = np.random.default_rng(seed)
    total = np.zeros(round(seconds * RATE / tempo))
    beats = rng.choice([0.15, 0.2, 0.3, 0.45], size=int(seconds / 0.15)).cumsum()
    for beat in beats[beats < seconds - 0.1]:
        start = round(beat / tempo * RATE)
        time = np.arange(min(round(0.8 * RATE), len(total) - start)) / RATE
        for note in rng.integers(0, 48, 3):
            pitch = 110.0 * 2 ** ((note + 0.5) / 12 + cents / 1200)
            tone = sum(np.sin(2 * np.pi * pitch * part * time) / part for part in (1, 2, 3))
            total[start : start + len(time)] += tone * np.exp(-time * tempo / 0.3)
    return (total / 12).clip(-1, 1).astype(np.float32)


def cut(sound: Sound, start: float, end: float) -> Sound:
    """A part, in seconds."""
    return sound[round(start * RATE) : round(end * RATE)]


def encoded(
    sound: Sound, container: str = "wav", codec: str = "pcm_s16le", rate: int = RATE, layout: str = "mono"
) -> bytes:
    """The sound as a file."""
    file = io.BytesIO()
    with av.open(file, "w", container) as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, AudioStream)
        stream.layout = layout
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound[np.newaxis]), "fltp", "mono")
        frame.sample_rate = RATE
        resampler = AudioResampler(
            stream.format.name, layout, rate, frame_size=stream.codec_context.frame_size or None
        )
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return file.getvalue()


def film(sound: Sound | None) -> bytes:
    """A film of grey frames, with a sound track or without."""
    file = io.BytesIO()
    with av.open(file, "w", "matroska") as output:
        picture = output.add_stream("mpeg4", rate=5)
        picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        track = output.add_stream("aac", rate=22_050) if sound is not None else None
        seconds = 10 if sound is None else len(sound) // RATE
        for _ in range(5 * seconds):
            grey = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 128, np.uint8), "rgb24")
            output.mux(picture.encode(grey))
        output.mux(picture.encode(None))
        if sound is not None and isinstance(track, AudioStream):
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound[np.newaxis]), "fltp", "mono")
            frame.sample_rate = RATE
            resampler = AudioResampler("fltp", "stereo", 22_050, frame_size=1024)
            for part in (*resampler.resample(frame), *resampler.resample(None)):
                output.mux(track.encode(part))
            output.mux(track.encode(None))
    return file.getvalue()
