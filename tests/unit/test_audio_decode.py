import contextlib
import io
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.audio.stream import AudioStream

from indexers import demux, streams
from indexers.audio import AudioModality, decode
from indexers.audio.decode import RATE, Sides, Sound
from indexers.errors import DamagedMediaError, MediaLimitError, UnsupportedMediaError
from indexers.modality import MediaLimits, Segment

LIMITS = MediaLimits()
SECONDS = 3.0


def tones(seconds: float = SECONDS, rate: int = 44_100) -> npt.NDArray[np.float32]:
    """Three tones one after the other, which tell the place."""
    time = np.arange(round(seconds * rate)) / rate
    pitch = np.select([time < seconds / 3, time < 2 * seconds / 3], [300.0, 700.0], 1500.0)
    return (0.4 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)


def encoded(
    channels: Iterable[npt.NDArray[np.float32]], kind: str, codec: str, *, layout: str, rate: int
) -> bytes:
    samples = np.stack(list(channels), axis=1)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, AudioStream)
        if codec == "wmav2":
            stream.bit_rate = 128_000  # it has no default
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        resampler = av.AudioResampler(
            stream.format.name, layout, rate, frame_size=stream.codec_context.frame_size or 1024
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def mono(kind: str, codec: str, rate: int = 44_100, seconds: float = SECONDS) -> bytes:
    return encoded([tones(seconds, rate)], kind, codec, layout="mono", rate=rate)


def wav(samples: npt.NDArray[Any], rate: int, code: int = 1) -> bytes:
    """A WAV file as it stands in the book, without a word on where the channels are."""
    raw = samples.tobytes()
    width = samples.dtype.itemsize * samples.shape[1]
    form = struct.pack(
        "<HHIIHH", code, samples.shape[1], rate, rate * width, width, 8 * samples.dtype.itemsize
    )
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(raw)) + raw
    return b"RIFF" + struct.pack("<I", len(body)) + body


def segments(content: bytes, limits: MediaLimits = LIMITS) -> list[Segment[Sides]]:
    return list(decode.decode(io.BytesIO(content), limits))


def sound(content: bytes) -> Sound:
    return np.concatenate([np.atleast_2d(segment.data)[0] for segment in segments(content)])


def pitch_at(samples: Sound, second: float) -> float:
    part = samples[round((second - 0.2) * RATE) : round((second + 0.2) * RATE)]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    return float(spectrum.argmax()) * RATE / len(part)


def is_tones(samples: Sound, seconds: float = SECONDS) -> bool:
    wanted = zip((1 / 6, 3 / 6, 5 / 6), (300.0, 700.0, 1500.0), strict=True)
    return all(abs(pitch_at(samples, place * seconds) - pitch) < 8 for place, pitch in wanted)


@pytest.mark.parametrize(
    ("kind", "codec", "rate", "name"),
    [
        ("wav", "pcm_s16le", 44_100, "WAV"),
        ("wav", "pcm_f32le", 48_000, "WAV"),
        ("w64", "pcm_s16le", 44_100, "WAV"),
        ("wav", "pcm_u8", 8_000, "WAV"),
        ("flac", "flac", 96_000, "FLAC"),
        ("mp3", "libmp3lame", 44_100, "MP3"),
        ("ogg", "libopus", 48_000, "Ogg"),
        ("ogg", "flac", 44_100, "Ogg"),
        ("adts", "aac", 44_100, "AAC"),
        ("ipod", "aac", 44_100, "M4A"),
        ("ipod", "alac", 44_100, "M4A"),
        ("aiff", "pcm_s16be", 44_100, "AIFF"),
        ("asf", "wmav2", 44_100, "WMA"),
        ("matroska", "flac", 44_100, "Matroska"),
        ("webm", "libopus", 48_000, "Matroska"),
        ("caf", "pcm_s16le", 44_100, "CAF"),
        ("ac3", "ac3", 48_000, "AC-3"),
        ("au", "pcm_s16be", 44_100, "AU"),
        ("wv", "wavpack", 44_100, "WavPack"),
        ("tta", "tta", 44_100, "True Audio"),
        ("amr", "libopencore_amrnb", 8_000, "AMR"),
        ("mpegts", "mp2", 44_100, None),
    ],
)
def test_reads_each_format(kind: str, codec: str, rate: int, name: str | None) -> None:
    content = mono(kind, codec, rate)
    samples = sound(content)
    assert samples.dtype == np.float32
    assert len(samples) / RATE == pytest.approx(SECONDS, abs=0.15)
    assert is_tones(samples)
    assert decode.sniff(content[: demux.HEAD_BYTES]) == name
    assert name is None or name in decode.FORMATS


def test_reads_mp3_with_and_without_a_tag() -> None:
    content = mono("mp3", "libmp3lame")
    assert content.startswith(b"ID3")
    length = 10 + sum(byte << shift for byte, shift in zip(content[6:10], (21, 14, 7, 0), strict=True))
    assert decode.sniff(content[length : length + demux.HEAD_BYTES]) == "MP3"
    assert is_tones(sound(content[length:]))


@pytest.mark.parametrize(
    "head",
    [
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(100),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"RIFF\x00\x10\x00\x00WEBPVP8 ",
        b"RIFF\x00\x10\x00\x00AVI LIST",
        b"GIF89a" + bytes(100),
        b"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00avifmif1miaf" + bytes(100),
        b"\x00\x00\x00\x20ftypmif1\x00\x00\x00\x00mif1heic\x00\x00\x00\x00" + b"soun" * 10,
        b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41" + b"....vide....soun",
        b"OggS\x00\x02" + bytes(22) + b"\x80theora",
        b"#EXTM3U\n",
        b"ffconcat version 1.0\n",
        b"\xff\xfb" + bytes(200),
        b"words",
        b"",
    ],
)
def test_what_is_no_sound_is_not_recognised(head: bytes) -> None:
    assert not AudioModality().recognises(head)


@pytest.mark.parametrize(
    "content",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '/etc/hostname'\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static'></MPD>",
        b"words that are no sound" * 50,
    ],
)
def test_playlists_and_text_are_refused(content: bytes) -> None:
    with pytest.raises(UnsupportedMediaError, match="send "):
        segments(content)


def test_an_empty_file_is_damaged() -> None:
    with pytest.raises(DamagedMediaError, match="empty"):
        segments(b"")


def test_a_film_without_sound_is_refused() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))
    with pytest.raises(UnsupportedMediaError, match="no sound in it"):
        segments(buffer.getvalue())


def test_too_short_a_sound_is_refused() -> None:
    with pytest.raises(UnsupportedMediaError, match=r"holds 0\.20 s"):
        segments(mono("wav", "pcm_s16le", seconds=0.2))


def test_too_long_a_sound_is_refused() -> None:
    content = mono("flac", "flac", 11_025, seconds=91)
    read = decode.decode(io.BytesIO(content), MediaLimits(max_seconds=75))
    assert next(read).end == 30.0
    with pytest.raises(MediaLimitError, match="75 seconds"):
        next(read)


def test_pieces_follow_one_another() -> None:
    read = segments(mono("flac", "flac", 16_000, seconds=70))
    assert [segment.start for segment in read] == [0.0, 30.0, 60.0]
    assert [segment.end for segment in read] == [30.0, 60.0, pytest.approx(70, abs=0.01)]
    for segment in read:
        assert len(segment.data) == round((segment.end - segment.start) * RATE)
        assert not segment.data.flags.writeable


def test_left_and_right_that_differ_by_their_sign_do_not_vanish() -> None:
    left = tones()
    samples = sound(encoded([left, -left], "wav", "pcm_s16le", layout="stereo", rate=44_100))
    assert is_tones(samples)
    assert np.abs(samples).max() > 0.3


def test_left_and_right_are_averaged() -> None:
    samples = sound(encoded([tones(), 0 * tones()], "wav", "pcm_s16le", layout="stereo", rate=44_100))
    assert np.abs(samples[RATE // 2 : 2 * RATE]).max() == pytest.approx(0.2, abs=0.02)


def test_what_left_and_right_differ_by_is_given_where_they_do() -> None:
    left, right = tones(), np.roll(tones(), 4_000) / np.float32(4)
    for one, other, sign in ((left, right, 1), (left, right - left, -1)):
        for segment in segments(encoded([one, other], "wav", "pcm_f32le", layout="stereo", rate=RATE)):
            mean, difference = segment.data
            assert mean == pytest.approx((one + sign * other) / 2, abs=1e-4)
            assert difference == pytest.approx((one - sign * other) / 2, abs=1e-4)


def test_where_left_and_right_are_alike_there_is_no_difference() -> None:
    for codec, container in (("pcm_s16le", "wav"), ("libmp3lame", "mp3")):
        (segment,) = segments(encoded([tones(), tones()], container, codec, layout="stereo", rate=44_100))
        assert segment.data.ndim == 1


@pytest.mark.parametrize("speaker", [0, 1, 2, 4, 5, 6, 7])
def test_each_speaker_of_a_film_is_heard(speaker: int) -> None:
    silent = np.zeros_like(tones(1.5, 192_000))
    channels = [tones(1.5, 192_000) if number == speaker else silent for number in range(8)]
    samples = sound(encoded(channels, "matroska", "pcm_s16le", layout="7.1", rate=192_000))
    assert is_tones(samples, 1.5)
    assert np.abs(samples).max() > 0.02


@pytest.mark.parametrize("channel", [0, 11])
def test_channels_whose_place_is_not_known_are_heard(channel: int) -> None:
    samples = np.zeros((3 * 44_100, 12), np.int16)
    samples[:, channel] = tones() * 32767
    assert is_tones(sound(wav(samples, 44_100)))


def test_numbers_that_are_no_samples_do_no_harm() -> None:
    samples = tones()[:, np.newaxis].copy()
    samples[1000:1003] = [[np.nan], [np.inf], [-1e30]]
    read = sound(wav(samples, 44_100, code=3))
    assert np.isfinite(read).all()
    assert np.abs(read).max() <= 1.0
    assert is_tones(read)


def test_broken_packets_are_left_out_and_the_rest_keeps_its_place() -> None:
    content = bytearray(mono("matroska", "aac", 44_100, seconds=12))
    rng = np.random.default_rng(1)
    for at in rng.integers(len(content) // 3, len(content) // 2, 60):
        content[at] ^= 0xFF
    samples = sound(bytes(content))
    assert len(samples) / RATE == pytest.approx(12, abs=1.0)
    assert abs(pitch_at(samples, 1) - 300) < 8
    assert abs(pitch_at(samples, 11) - 1500) < 8


def lost(content: bytes) -> list[tuple[float, float]]:
    return [stretch for piece in segments(content) for stretch in piece.lost]


def test_what_broken_packets_held_is_said_to_be_lost() -> None:
    content = bytearray(mono("matroska", "aac", 44_100, seconds=40))
    assert lost(bytes(content)) == []
    content[len(content) // 2 : len(content) // 2 + 9000] = bytes(9000)
    ((start, end),) = lost(
        bytes(content)
    )  # of a container's group of packets that begins in it, nothing is read
    assert 15 < start < end < 26


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("flac", "flac"),
        ("matroska", "flac"),
        ("wav", "pcm_s16le"),
        ("aiff", "pcm_s16be"),
        ("au", "pcm_s16be"),
        ("mp3", "libmp3lame"),
        ("wv", "wavpack"),
        ("tta", "tta"),
    ],
)
def test_the_end_of_a_sound_that_was_cut_off_is_said_to_be_lost(kind: str, codec: str) -> None:
    content = mono(kind, codec, 44_100, seconds=12)
    assert lost(content) == []
    ((start, end),) = lost(content[: len(content) * 2 // 3])
    assert start == pytest.approx(8, abs=1.0)
    assert end == pytest.approx(12, abs=0.1)


def test_where_mp3_does_not_count_its_frames_nothing_is_guessed() -> None:
    whole = mono("mp3", "libmp3lame", 44_100, seconds=12)
    counts = max(whole.find(b"Xing"), whole.find(b"Info"))
    content = whole[:counts] + b"____" + whole[counts + 4 :]
    assert lost(content[: len(content) * 2 // 3]) == []


def test_where_mp3_counts_its_frames_is_found_behind_a_tag() -> None:
    whole = mono("mp3", "libmp3lame", 44_100, seconds=12)
    tagged = b"ID3\x04\0\0\0\0\x02\x2c" + bytes(300) + whole[whole.index(b"\xff\xfb") :]
    assert lost(tagged) == []
    ((start, end),) = lost(tagged[: len(tagged) * 2 // 3])
    assert start == pytest.approx(8, abs=0.5)
    assert end == pytest.approx(12, abs=0.1)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("1a45dfa3 83 000000 18538067 84 00000000", 0),
        ("1a45dfa3 83 000000 18538067 94 00000000", 16 / 33),
        ("1a45dfa3 83 000000 18538067 ff 00000000", 0),  # nobody knew how long it would be
        ("1a45dfa3 83 000000 18538067 01ffffffffffffff 00", 0),
        ("1a45dfa3 83 000000 18538067 4005 00000000", 1 / 19),
        ("1a45dfa3 83 000000 18538067", 0),
        ("1a45dfa3 83 000000 18538067 00", 0),
        ("1a45dfa3 8f 000000 18538067 85", 0),
        ("1a45dfa3", 0),
        ("", 0),
        ("52494646", 0),
        ("52494646 04000000 57415645", 0),
        ("52494646 10000000 57415645", 1 / 2),
        ("52494646 02000000 57415645", 0),
        ("52494646 00000000 57415645", 0),
        ("52494646 ffffffff 57415645", 0),  # nobody knew
        ("52494646 24f0ff7f 57415645", 0),
        ("52463634 ffffffff 57415645 64733634 1c000000 3000000000000000", 1 / 2),
        ("52463634 ffffffff 57415645 4a554e4b 1c000000 3000000000000000", 0),
    ],
)
def test_of_a_file_that_ends_before_it_says_so_is_told_how_much_is_missing(content: str, part: float) -> None:
    with io.BytesIO(bytes.fromhex(content)) as file:
        assert demux.missing(file) == pytest.approx(part)
        assert file.tell() == 0


def test_a_gap_in_the_time_stamps_becomes_silence() -> None:
    buffer = io.BytesIO()
    rate = 8_000
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        assert isinstance(stream, AudioStream)
        for start in (0.0, 5.0):
            frame = av.AudioFrame.from_ndarray(
                (tones(1.0, rate)[np.newaxis] * 32767).astype(np.int16), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = rate, round(start * rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    samples = sound(buffer.getvalue())
    assert len(samples) / RATE == pytest.approx(6.0, abs=0.02)
    assert np.abs(samples[:RATE]).max() > 0.3
    assert np.abs(samples[round(1.1 * RATE) : round(4.9 * RATE)]).max() < 1e-3
    assert np.abs(samples[round(5.1 * RATE) :]).max() > 0.3
    assert lost(buffer.getvalue()) == [(1.0, 5.0)]


def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes() -> None:
    content = mono("mp3", "libmp3lame", seconds=9)
    samples = sound(content[: len(content) * 2 // 3])
    assert len(samples) / RATE == pytest.approx(6, abs=0.3)
    assert abs(pitch_at(samples, 1.5) - 300) < 8


def test_a_header_alone_is_no_sound() -> None:
    content = mono("flac", "flac")
    with pytest.raises((DamagedMediaError, UnsupportedMediaError), match=r"send|save"):
        segments(content[:200])


@pytest.mark.parametrize("seed", range(6))
def test_any_bytes_are_read_or_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind, codec = [("mp3", "libmp3lame"), ("ogg", "flac"), ("ipod", "aac")][seed % 3]
    content = bytearray(mono(kind, codec))
    for at in rng.integers(0, len(content), 200):
        content[at] = rng.integers(256)
    refused = (DamagedMediaError, UnsupportedMediaError, MediaLimitError)
    with contextlib.suppress(*refused):
        assert np.isfinite(sound(bytes(content))).all()


def whole(source: BinaryIO) -> npt.NDArray[np.float32]:
    """Both sides, as far as it can be read."""
    pieces = [np.broadcast_to(piece, (2, piece.shape[1])) for piece in decode.sides(source, RATE)]
    return np.concatenate(pieces, axis=1)


@pytest.mark.parametrize(
    ("kind", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 44_100),
        ("flac", "flac", 48_000),
        ("mp3", "libmp3lame", 44_100),
        ("ogg", "libopus", 48_000),
        ("ipod", "aac", 32_000),
        ("matroska", "ac3", 48_000),
    ],
)
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_a_whole_file_is_read_by_ffmpeg_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kind: str, codec: str, rate: int, layout: str
) -> None:
    sides = [tones(rate=rate), 0.5 * tones(rate=rate)[::-1]]
    content = encoded(sides[: 1 if layout == "mono" else 2], kind, codec, layout=layout, rate=rate)
    by_frames = whole(io.BytesIO(content))
    path = tmp_path / "sound"
    path.write_bytes(content)
    monkeypatch.setattr(demux, "frames", None)  # nothing asks for them
    with path.open("rb") as file:
        assert np.array_equal(whole(file), by_frames)


def test_a_sound_that_goes_on_with_fewer_channels_is_read_on() -> None:
    two = encoded([tones(), tones()], "mp3", "libmp3lame", layout="stereo", rate=44_100)
    content = two + mono("mp3", "libmp3lame")
    samples = sound(content)
    assert len(samples) / RATE == pytest.approx(2 * SECONDS, abs=0.2)
    assert is_tones(samples[: len(samples) // 2])
    assert is_tones(samples[len(samples) // 2 :])


def test_a_codec_that_nobody_knows_is_refused() -> None:
    content = mono("matroska", "flac").replace(b"A_FLAC", b"A_ZZZZ")
    with pytest.raises(UnsupportedMediaError, match="audio is encoded in a way that is not known"):
        sound(content)


@pytest.mark.parametrize("seed", range(6))
def test_of_a_broken_file_as_much_is_read_as_frame_by_frame(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind, codec = [("mp3", "libmp3lame"), ("matroska", "aac")][seed % 2]
    content = bytearray(mono(kind, codec, seconds=9))
    for at in rng.integers(len(content) // 4, len(content), 3 * seed):
        content[at] ^= 0xFF
    if seed > 3:
        del content[len(content) // 3 : len(content) // 2]
    path = tmp_path / "sound"
    path.write_bytes(content)
    with path.open("rb") as file:
        assert np.array_equal(whole(file), whole(io.BytesIO(content)))


def test_a_gap_in_a_file_becomes_silence(tmp_path: Path) -> None:
    path = tmp_path / "sound"
    rate = 8_000
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        assert isinstance(stream, AudioStream)
        for start in range(0, 9, 3):  # 3 s late from the second on
            frame = av.AudioFrame.from_ndarray(
                (tones(3.0, rate)[np.newaxis] * 32767).astype(np.int16), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts = rate, round((start + (3 if start else 0)) * rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with path.open("rb") as file:
        sound = whole(file)
    assert np.array_equal(sound, whole(io.BytesIO(path.read_bytes())))
    assert sound.shape[1] / RATE == pytest.approx(12.0, abs=0.02)
    assert np.abs(sound[:, round(3.1 * RATE) : round(5.9 * RATE)]).max() < 1e-3
    assert np.abs(sound[:, round(6.1 * RATE) :]).max() > 0.3


def test_only_what_is_a_file_is_opened_once_more(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(200)))
    with path.open("rb") as file:
        file.seek(7)
        for source in (file, demux.InMemory(file)):
            with demux.reopened(source) as descriptor:
                assert descriptor is not None
                assert os.pread(descriptor, 3, 0) == bytes(range(3))
                assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0
        for other in (io.BytesIO(b"memory"), streams.window(file, 50, 100), streams.own_place(file)):
            with demux.reopened(other) as descriptor:
                assert descriptor is None
