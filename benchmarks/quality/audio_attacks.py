"""What pirates, platforms and rooms do to sound, with strengths drawn by a seed.

Twenty-seven common changes (codecs, channels, noise, what is mixed in, pitch, speed, tempo), and ten that are
made of several or cut the sound up. All work on stereo at 22,050 Hz, with NumPy, SciPy and the encoders and
filters of PyAV's FFmpeg. Tempo is changed by its ``atempo`` (overlapping and adding), pitch by that and
resampling.
"""

import io
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Final

import av
import numpy as np
import numpy.typing as npt
import scipy.ndimage
import scipy.signal
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.filter import Graph

Sound = npt.NDArray[np.float32]
"""(2, n) stereo in -1..1, at `RATE`."""

RATE: Final = 22_050


@dataclass(frozen=True, slots=True)
class Place:
    """A part of an altered sound, and where it comes from.

    Attributes:
        query: Seconds in the altered sound, half-open.
        work: Where that begins in the original, seconds.
        speed: Seconds of the original that a second of the altered sound holds.
    """

    query: tuple[float, float]
    work: float
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Altered:
    """An altered sound, and all parts of the original that it holds."""

    sound: Sound
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Hand:
    """What an attack draws from.

    Attributes:
        rng: Gives the strengths and places.
        voice: Gives so many samples of speech.
        other: Gives so many samples of music that has nothing to do with the attacked one.
    """

    rng: random.Random
    voice: Callable[[int], Sound]
    other: Callable[[int], Sound]

    def noise(self, samples: int) -> Sound:
        """White noise, independent in both channels."""
        generator = np.random.default_rng(self.rng.getrandbits(32))
        return generator.standard_normal((2, samples), np.float32)


Alter = Callable[[Sound, Hand, int], Altered]
"""Gets the original, which is a quarter and a second longer than asked, and how many samples are asked."""


def _kept(change: Callable[[Sound, Hand], Sound]) -> Alter:
    """Change what is heard and leave everything in its place."""

    def alter(sound: Sound, hand: Hand, samples: int) -> Altered:
        changed = change(sound[:, :samples], hand)[:, :samples]
        return Altered(changed, (Place((0.0, changed.shape[1] / RATE), 0.0),))

    return alter


def _played(change: Callable[[Sound], Sound], speed: float) -> Alter:
    """Change what takes time, at a constant speed."""

    def alter(sound: Sound, _hand: Hand, samples: int) -> Altered:
        changed = change(sound)[:, :samples]
        return Altered(changed, (Place((0.0, changed.shape[1] / RATE), 0.0, speed),))

    return alter


def _level(sound: Sound) -> float:
    """Root mean square; never 0."""
    return max(float(np.sqrt(np.mean(np.square(sound)))), 1e-6)


def _fitted(sound: Sound) -> Sound:
    """Turned down where it would clip."""
    return (sound / max(1.0, float(np.abs(sound).max(initial=0.0)))).astype(np.float32)


def _mixed(sound: Sound, added: Sound, decibels: float) -> Sound:
    """Add something; the sound is so many dB louder than that."""
    gain = _level(sound) / _level(added) * 10 ** (-decibels / 20)
    return _fitted(sound + added * np.float32(gain))


def _filtered(sound: Sound, kind: str, hertz: float | tuple[float, float], order: int = 4) -> Sound:
    sections = scipy.signal.butter(order, hertz, kind, fs=RATE, output="sos")
    return np.asarray(scipy.signal.sosfilt(sections, sound), np.float32)


def coded(sound: Sound, container: str, codec: str, bit_rate: int, rate: int = RATE) -> Sound:
    """Encode and decode again, at the sample rate that the codec wants."""
    return decoded(encoded(sound, container, codec, bit_rate, rate))


def encoded(sound: Sound, container: str, codec: str, bit_rate: int, rate: int = RATE) -> BinaryIO:
    """Encode at the sample rate that the codec wants, into a file in memory, at its beginning."""
    file = io.BytesIO()
    with av.open(file, "w", container) as output:
        stream = output.add_stream(codec, rate=rate)
        assert isinstance(stream, AudioStream)  # noqa: S101 - a codec of sound
        stream.bit_rate, stream.layout = bit_rate, "stereo"
        resampler = AudioResampler(
            stream.format.name, "stereo", rate, frame_size=stream.codec_context.frame_size or None
        )
        for frame in (*resampler.resample(_frame(sound)), *resampler.resample(None)):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    file.seek(0)
    return file


_AT_ONCE: Final = 1 << 16
"""Samples that are resampled at a time: many frames are tiny."""


def decoded(file: BinaryIO, layout: str = "stereo", rate: int = RATE) -> Sound:
    """Decode a sound file at so many samples a second, without packets that cannot be decoded."""
    with av.open(file, "r", metadata_errors="ignore") as container:
        resampler, gathered = AudioResampler("fltp", layout, rate), AudioFifo()
        frames: list[AudioFrame] = []
        for packet in container.demux(audio=0):
            with suppress(av.error.FFmpegError):
                for frame in packet.decode():
                    frame.pts = None
                    gathered.write(frame)
            if gathered.samples >= _AT_ONCE:
                frames += resampler.resample(gathered.read())
        if gathered.samples:
            frames += resampler.resample(gathered.read())
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1, dtype=np.float32)


def _frame(sound: Sound) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound), "fltp", "stereo")
    frame.sample_rate = RATE
    return frame


def _codec(container: str, codec: str, kilobits: int, rate: int = RATE) -> Alter:
    return _kept(lambda sound, _: coded(sound, container, codec, kilobits * 1000, rate))


def _tempo(sound: Sound, factor: float) -> Sound:
    """Play faster by a factor, at the same pitch."""
    graph = Graph()
    source = graph.add_abuffer(sample_rate=RATE, format="fltp", layout="stereo", time_base=None)
    tempo = graph.add("atempo", f"{factor:.6f}")
    planar = graph.add("aformat", "sample_fmts=fltp")  # atempo gives interleaved channels
    sink = graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(planar)
    planar.link_to(sink)
    graph.configure()
    graph.push(_frame(sound))
    graph.push(None)
    pieces: list[Sound] = []
    while True:
        try:
            frame = graph.pull()
        except (av.error.EOFError, av.error.BlockingIOError):
            return np.concatenate(pieces, axis=1, dtype=np.float32)
        assert isinstance(frame, AudioFrame)  # noqa: S101 - the sink is one of sound
        pieces.append(np.asarray(frame.to_ndarray(), np.float32))


def _speed(sound: Sound, factor: float) -> Sound:
    """Play faster by a factor, and higher by the same."""
    return np.asarray(scipy.signal.resample(sound, round(sound.shape[1] / factor), axis=1), np.float32)


def _pitch(sound: Sound, factor: float) -> Sound:
    """Play higher by a factor, in the same time."""
    return _tempo(_speed(sound, factor), 1 / factor)


def _telephone(sound: Sound, _hand: Hand) -> Sound:
    """300 to 3,400 Hz, 8 kHz, 8 bits by the µ-law, one channel."""
    band = _filtered(np.repeat(sound.mean(axis=0, keepdims=True), 2, axis=0), "bandpass", (300, 3400))
    band /= max(float(np.abs(band).max()), 1e-6)
    bent = np.round(np.sign(band) * np.log1p(255 * np.abs(band)) / np.log(256) * 127) / 127
    return np.asarray(np.sign(bent) * np.expm1(np.abs(bent) * np.log(256)) / 255, np.float32)


def _equalised(sound: Sound, hand: Hand) -> Sound:
    """Bass, middle and treble turned up or down by up to 10 dB."""
    low, high = _filtered(sound, "lowpass", 300, 2), _filtered(sound, "highpass", 2500, 2)
    gains = [10 ** (hand.rng.uniform(-10, 10) / 20) for _ in range(3)]
    return _fitted(gains[0] * low + gains[1] * (sound - low - high) + gains[2] * high)


def _room(sound: Sound, hand: Hand, seconds: float) -> Sound:
    """Reverberation: noise that decays by 60 dB in so many seconds, as loud as the direct sound."""
    length = int(seconds * RATE)
    tail = hand.noise(length) * np.float32(10) ** (-3 * np.arange(length, dtype=np.float32) / length)
    wet = scipy.signal.fftconvolve(sound, tail, axes=1)[:, : sound.shape[1]]
    return _mixed(sound, np.asarray(wet, np.float32), 0.0)


def _envelope(sound: Sound, seconds: float) -> npt.NDArray[np.float32]:
    """How loud it is around each sample, (n,)."""
    width = max(1, round(seconds * RATE))
    power = scipy.ndimage.uniform_filter1d(np.square(sound).mean(axis=0), width)
    return np.asarray(np.sqrt(np.maximum(power, 1e-10)), np.float32)


def _compressed(sound: Sound, strength: float, seconds: float = 0.05) -> Sound:
    """Dynamic range made smaller: level to the power of 1 - strength."""
    gain = (_envelope(sound, seconds) / np.float32(_level(sound))) ** np.float32(-strength)
    return _fitted(np.asarray(sound * gain, np.float32))


def _loudness_war(sound: Sound, _hand: Hand) -> Sound:
    """Squeezed, turned up by 12 dB, and clipped."""
    loud = _compressed(sound, 0.6, 0.02)
    return np.asarray(np.tanh(loud / np.float32(_level(loud))), np.float32)


def _without_voice(sound: Sound, _hand: Hand) -> Sound:
    """What both channels share taken away above 150 Hz; with one channel, most of 250 to 3,000 Hz."""
    middle, side = sound.mean(axis=0), (sound[0] - sound[1]) / 2
    if np.std(side) < 0.02 * np.std(middle):
        return _fitted(sound - np.float32(0.9) * _filtered(sound, "bandpass", (250, 3000), 2))
    bass = _filtered(np.stack([middle, middle]), "lowpass", 150)
    return _fitted(bass + np.stack([side, side]))


def _game(sound: Sound, hand: Hand) -> Sound:
    """Shots, beeps and a streamer's voice over it, all together as loud as the sound."""
    effects = np.zeros_like(sound)
    for _ in range(max(3, sound.shape[1] // RATE * 2)):
        length = int(hand.rng.uniform(0.05, 0.6) * RATE)
        at = hand.rng.randrange(max(1, sound.shape[1] - length))
        decay = np.exp(-6 * np.arange(length, dtype=np.float32) / length)
        if hand.rng.random() < 0.5:
            hit = hand.noise(length)
        else:
            sweep = np.linspace(1.0, hand.rng.uniform(0.5, 2.0), length) * hand.rng.uniform(200, 2000)
            hit = np.tile(np.sin(2 * np.pi * np.cumsum(sweep) / RATE).astype(np.float32), (2, 1))
        effects[:, at : at + length] += (hit * decay)[:, : sound.shape[1] - at]
    voice = hand.voice(sound.shape[1])
    return coded(_mixed(sound, _mixed(effects, voice, 0.0), 0.0), "mp4", "aac", 96_000)


def _cinema(sound: Sound, hand: Hand) -> Sound:
    """A phone's microphone in a hall: reverberation, people, a narrow band, automatic gain, Opus."""
    heard = _mixed(_room(sound, hand, 1.2), hand.noise(sound.shape[1]), 15.0)
    heard = _mixed(heard, hand.voice(sound.shape[1]), 15.0)
    heard = _compressed(_filtered(heard, "bandpass", (200, 6000), 2), 0.5, 0.3)
    return coded(heard, "ogg", "libopus", 32_000, 48_000)


def _radio(sound: Sound, hand: Hand) -> Sound:
    """Three bands compressed apart, treble cut at 10 kHz, squeezed, two and a half per cent too fast."""
    low, high = _filtered(sound, "lowpass", 250, 2), _filtered(sound, "highpass", 3000, 2)
    bands = [_compressed(band, 0.6) for band in (low, sound - low - high, high)]
    joined = sum((band / np.float32(_level(band)) for band in bands), np.zeros_like(sound))
    quiet = _fitted(joined * np.float32(0.25))
    return coded(_loudness_war(_filtered(quiet, "lowpass", 10_000), hand), "mp3", "libmp3lame", 96_000)


def _radio_played(sound: Sound, hand: Hand, samples: int) -> Altered:
    speed = 1.025
    changed = _radio(_speed(sound, speed)[:, :samples], hand)[:, :samples]
    return Altered(changed, (Place((0.0, samples / RATE), 0.0, speed),))


def _vinyl(sound: Sound, hand: Hand, samples: int) -> Altered:
    """Up to 8 % too slow or too fast, with crackle, rumble and a cut treble."""
    speed = hand.rng.choice((1, -1)) * hand.rng.uniform(0.04, 0.08) + 1
    played = _filtered(_speed(sound, speed)[:, :samples], "lowpass", 8_000)
    crackle = hand.noise(samples) ** 9
    played = _mixed(_mixed(played, crackle[:, : played.shape[1]], 15.0), _rumble(hand, played.shape[1]), 15.0)
    return Altered(played, (Place((0.0, samples / RATE), 0.0, speed),))


def _rumble(hand: Hand, samples: int) -> Sound:
    return _filtered(hand.noise(samples), "lowpass", 60)


def _inserted(sound: Sound, hand: Hand, samples: int) -> Altered:
    """The middle three fifths are the sound, before and after it is other music."""
    first, last = samples // 5, samples * 4 // 5
    out = hand.other(samples).copy()
    out *= np.float32(_level(sound) / _level(out))
    out[:, first:last] = sound[:, : last - first]
    return Altered(_fitted(out), (Place((first / RATE, last / RATE), 0.0),))


def _gaps(sound: Sound, hand: Hand, samples: int) -> Altered:
    """Every 1.5 to 2.5 seconds, 0.2 to 0.5 seconds are cut out."""
    pieces, places, read, written = [], [], 0, 0
    while written < samples:
        length = min(int(hand.rng.uniform(1.5, 2.5) * RATE), samples - written, sound.shape[1] - read)
        if length <= 0:
            break
        pieces.append(sound[:, read : read + length])
        places.append(Place((written / RATE, (written + length) / RATE), read / RATE))
        written += length
        read += length + int(hand.rng.uniform(0.2, 0.5) * RATE)
    return Altered(np.concatenate(pieces, axis=1), tuple(places))


def _reversed(sound: Sound, _hand: Hand, samples: int) -> Altered:
    """Every second piece of two seconds runs backwards."""
    out, step = sound[:, :samples].copy(), 2 * RATE
    for at in range(step, samples, 2 * step):
        out[:, at : at + step] = out[:, at : at + step][:, ::-1]
    kept = [
        Place((at / RATE, min(at + step, samples) / RATE), at / RATE) for at in range(0, samples, 2 * step)
    ]
    return Altered(out, tuple(kept))


def _looped(sound: Sound, _hand: Hand, samples: int) -> Altered:
    """Three seconds, over and over."""
    step = 3 * RATE
    out = np.tile(sound[:, :step], (1, samples // step + 1))[:, :samples]
    places = [Place((at / RATE, min(at + step, samples) / RATE), 0.0) for at in range(0, samples, step)]
    return Altered(out, tuple(places))


def _faded(sound: Sound, hand: Hand, samples: int) -> Altered:
    """Another track takes over: both are heard in the middle half."""
    fade = np.clip(np.linspace(1.5, -0.5, samples, dtype=np.float32), 0, 1)
    other = hand.other(samples)
    other = other * np.float32(_level(sound) / _level(other))
    out = sound[:, :samples] * np.sqrt(fade) + other * np.sqrt(1 - fade)
    return Altered(_fitted(out), (Place((0.0, samples / RATE * 0.75), 0.0),))


def _per_cent(name: str, change: Callable[[Sound, float], Sound], *values: int) -> dict[str, Alter]:
    """A change by so many per cent up or down; that of pitch leaves the speed."""

    def by(factor: float) -> Alter:
        return _played(lambda sound: change(sound, factor), 1.0 if name == "pitch" else factor)

    return {f"{name}_{'up' if value > 0 else 'down'}_{abs(value)}": by(1 + value / 100) for value in values}


COMMON: Final[Mapping[str, Alter]] = {
    "as_it_is": _kept(lambda sound, _: sound),
    "mp3_64": _codec("mp3", "libmp3lame", 64),
    "opus_24": _codec("ogg", "libopus", 24, 48_000),
    "aac_48": _codec("mp4", "aac", 48),
    "telephone": _kept(_telephone),
    "equalised": _kept(_equalised),
    "noise_10": _kept(lambda sound, hand: _mixed(sound, hand.noise(sound.shape[1]), 10.0)),
    "noise_0": _kept(lambda sound, hand: _mixed(sound, hand.noise(sound.shape[1]), 0.0)),
    "speech_over": _kept(lambda sound, hand: _mixed(sound, hand.voice(sound.shape[1]), 0.0)),
    "music_mixed": _kept(lambda sound, hand: _mixed(sound, hand.other(sound.shape[1]), 0.0)),
    "reverberation": _kept(lambda sound, hand: _room(sound, hand, 1.5)),
    "compression": _kept(lambda sound, _: _compressed(sound, 0.7)),
    "insertion": _inserted,
    **_per_cent("pitch", _pitch, 2, -2, 5, -5),
    **_per_cent("speed", _speed, 2, -2, 5, -5),
    **_per_cent("tempo", _tempo, 3, -3, 5, -5, 10, -10),
}
"""By name: twenty-seven changes that audio fingerprints are usually asked to survive."""

OWN: Final[Mapping[str, Alter]] = {
    "vinyl": _vinyl,
    "game_stream": _kept(_game),
    "cinema_phone": _kept(_cinema),
    "loudness_war": _kept(_loudness_war),
    "voice_removed": _kept(_without_voice),
    "time_gaps": _gaps,
    "reversed_parts": _reversed,
    "loop_3": _looped,
    "cross_faded": _faded,
    "radio": _radio_played,
}
"""By name: ten ways in which music is reused and hidden."""

FAR: Final[Mapping[str, Alter]] = {
    **_per_cent("speed", _speed, 15, -13, 33, -25),
    **_per_cent("tempo", _tempo, 25, -20, 45, -33),
    **_per_cent("pitch", _pitch, 12, -11, 26, -21),
}
"""By name: changes of speed and pitch that everybody hears; they need up to half as much sound again."""

ATTACKS: Final[Mapping[str, Alter]] = {**COMMON, **OWN}
ALL: Final[Mapping[str, Alter]] = {**ATTACKS, **FAR}
