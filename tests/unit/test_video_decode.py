"""Frames of films: which are taken, when they are shown, and what happens with odd and broken files."""

import io
import struct

import av
import numpy as np
import pytest

from indexers import demux, registry
from indexers.errors import DamagedMediaError, MediaError, MediaLimitError, UnsupportedMediaError
from indexers.image.decode import Picture
from indexers.modality import MediaLimits, Segment
from indexers.video import decode
from indexers.video.decode import Frame, Piece
from tests import films, sounds

LIMITS = MediaLimits()
SCENE = films.frames("first", 0, 6)


def read(data: bytes, limits: MediaLimits = LIMITS) -> list[Segment[Piece]]:
    return list(decode.decode(io.BytesIO(data), limits))


def pictures(data: bytes) -> list[tuple[float, float, Picture]]:
    return [(one.start, one.end, one.data.picture) for one in read(data) if isinstance(one.data, Frame)]


def kind(data: bytes) -> str:
    return registry.detect(demux.head(io.BytesIO(data))).name


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "mpeg4"), ("matroska", "ffv1"), ("webm", "libvpx"), ("avi", "mpeg4"), ("mpegts", "mpeg2video")],
)
def test_two_frames_a_second_are_taken_of_a_short_film(container: str, codec: str) -> None:
    data = films.encoded(SCENE, container=container, codec=codec, fps=25 if codec == "mpeg2video" else 4)
    taken = pictures(data)
    seconds = len(SCENE) / (25 if codec == "mpeg2video" else 4)
    assert kind(data) == "video"
    assert [start for start, _, _ in taken] == pytest.approx(np.arange(0, seconds, 0.5), abs=0.05)
    assert taken[-1][1] == pytest.approx(seconds, abs=0.1)
    for start, _, picture in taken:
        wanted = SCENE[min(len(SCENE) - 1, round(start * len(SCENE) / seconds))]
        assert np.abs(picture.astype(int) - wanted).mean() < 12


def test_one_frame_a_second_is_taken_of_a_longer_film() -> None:
    data = films.encoded([SCENE[0]] * 180)
    assert [start for start, _, _ in pictures(data)] == pytest.approx(range(45), abs=0.01)


def test_frames_are_where_their_time_stamps_say() -> None:
    data = films.encoded(SCENE[:4], stamps=[0, 1, 20, 23])
    assert [(start, end) for start, end, _ in pictures(data)] == [(0.0, 5.0), (5.0, 5.75), (5.75, 6.0)]


def test_a_film_of_many_frames_a_second_gives_no_more() -> None:
    data = films.encoded([SCENE[0], SCENE[12]] * 120, fps=240)
    assert len(pictures(data)) == 2


def test_one_frame_is_a_film() -> None:
    ((start, end, _),) = pictures(films.encoded(SCENE[:1]))
    assert (start, end) == (0.0, 0.25)


def turned(data: bytes, matrix: tuple[int, ...]) -> bytes:
    """An MP4 file with another display matrix in its track."""
    one = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    other = struct.pack(">9I", *(value & 0xFFFFFFFF for value in matrix))
    at = data.rindex(one)
    return data[:at] + other + data[at + len(one) :]


def test_a_film_is_turned_upright_as_its_file_says() -> None:
    quarter = (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)  # players turn it right
    data = turned(films.encoded(SCENE[:4], container="mp4"), quarter)
    picture = pictures(data)[0][2]
    assert picture.shape == (films.WIDTH, films.HEIGHT, 3)
    assert np.abs(picture.astype(int) - np.rot90(SCENE[0], -1)).mean() < 12


def test_large_frames_are_made_small() -> None:
    large = np.kron(SCENE[0], np.ones((5, 5, 1), np.uint8))
    assert pictures(films.encoded([large]))[0][2].shape == (288, 512, 3)


def test_a_frame_of_8k_is_made_small() -> None:
    frame = np.full((4320, 7680, 3), 128, np.uint8)
    frame[:, 3840:] = 30
    ((_, _, picture),) = pictures(films.encoded([frame], codec="mjpeg", pixels="yuvj420p"))
    assert picture.shape == (288, 512, 3)
    assert np.abs(picture[:, [10, -10]].astype(int) - [[[128] * 3, [30] * 3]]).max() < 6


@pytest.mark.parametrize(
    ("codec", "pixels", "options"),
    [
        ("ffv1", "yuv420p10le", {"color_trc": "smpte2084", "color_primaries": "bt2020"}),
        ("mpeg2video", "yuv420p", {"flags": "+ildct+ilme", "top": "1", "qscale": "3"}),
    ],
)
def test_high_dynamic_range_and_fields_are_read_as_they_are(
    codec: str, pixels: str, options: dict[str, str]
) -> None:
    data = films.encoded(SCENE[:8], codec=codec, pixels=pixels, options=options, fps=25)
    found = pictures(data)
    assert len(found) == 1
    assert np.abs(found[0][2].astype(int) - SCENE[0]).mean() < 12


def test_sound_follows_the_frames() -> None:
    pieces = read(films.encoded(SCENE, sounds.tune(4, 6)))
    kinds = [isinstance(one.data, Frame) for one in pieces]
    assert kinds == sorted(kinds, reverse=True)
    assert sum(one.end - one.start for one in pieces if not isinstance(one.data, Frame)) == pytest.approx(
        6, abs=0.2
    )


def lost(data: bytes) -> list[tuple[float, float]]:
    return [span for one in read(data) for span in one.lost]


@pytest.mark.parametrize("container", ["mp4", "matroska", "avi", "mpegts"])
def test_of_a_whole_film_nothing_is_said_to_be_lost(container: str) -> None:
    codec = "mpeg2video" if container == "mpegts" else "mpeg4"
    assert lost(films.encoded(SCENE, container=container, codec=codec, fps=25)) == []


def test_what_broken_packets_held_is_said_to_be_lost() -> None:
    data = bytearray(films.encoded(films.frames("first", 0, 12), container="mp4"))
    with av.open(io.BytesIO(bytes(data)), "r") as container:
        packets = [one for one in container.demux(video=0) if one.size and one.pos is not None]
    for packet in packets:
        assert packet.pts is not None
        assert packet.pos is not None
        if 4.0 <= float(packet.pts * packet.time_base) < 7.0:
            data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    ((start, end),) = lost(bytes(data))
    assert start == pytest.approx(4.0, abs=0.3)
    assert 7.0 <= end < 12.0


@pytest.mark.parametrize("container", ["avi", "matroska"])
def test_the_end_of_a_film_that_was_cut_off_is_said_to_be_lost(container: str) -> None:
    data = films.encoded(films.frames("first", 0, 12), container=container)
    short = data[: len(data) * 2 // 3]
    ((start, end),) = lost(short)
    assert start == pytest.approx(pictures(short)[-1][1], abs=0.6)
    assert end == pytest.approx(12, abs=0.3)


def test_what_comes_after_broken_packets_keeps_its_place() -> None:
    data = bytearray(
        films.encoded(films.frames("first", 0, 24), container="mpegts", codec="mpeg2video", fps=25)
    )
    whole = pictures(bytes(data))
    rng = np.random.default_rng(3)
    for at in rng.integers(len(data) // 3, len(data) // 2, 60).tolist():
        data[at] ^= 0xFF
    damaged = pictures(bytes(data))
    assert damaged[-1][0] == pytest.approx(whole[-1][0], abs=0.6)
    assert np.abs(damaged[-1][2].astype(int) - whole[-1][2]).mean() < 12


def test_a_film_that_ends_early_is_read_as_far_as_it_goes() -> None:
    data = films.encoded(films.frames("first", 0, 24))
    taken = pictures(data[: len(data) // 2])
    assert 12 <= len(taken) < 40


def test_a_song_in_a_container_for_films_is_sound() -> None:
    tune = sounds.encoded(sounds.tune(1, 8), "mp4", "aac", 22_050)
    assert tune.index(b"moov") > demux.HEAD_BYTES
    assert kind(tune) == "audio"


@pytest.mark.parametrize(
    ("data", "error", "problem"),
    [
        (b"", DamagedMediaError, "empty"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 64, UnsupportedMediaError, "no film"),
        (
            sounds.encoded(sounds.tune(1, 3), "mp4", "aac", 22_050),
            UnsupportedMediaError,
            "no moving pictures",
        ),
        (films.encoded(SCENE)[:600], DamagedMediaError, "none of its frames"),
    ],
)
def test_what_is_no_film_is_refused(data: bytes, error: type[Exception], problem: str) -> None:
    with pytest.raises(error, match=problem):
        read(data)


def test_a_codec_that_nobody_knows_is_refused() -> None:
    data = films.encoded(SCENE).replace(b"V_MPEG4", b"V_ZZZZZ")
    with pytest.raises(UnsupportedMediaError, match="video is encoded in a way that is not known"):
        read(data)


def test_a_track_that_appears_in_the_middle_does_no_harm() -> None:
    data = bytearray(films.encoded(films.frames("first", 0, 12), container="flv", codec="flv1"))
    tags = []
    at = 13  # behind the header, and the size of the tag that there is not before the first
    while at < len(data):
        tags.append(at)
        at += 15 + int.from_bytes(data[at + 1 : at + 4])
    data[tags[len(tags) // 2]] = 8  # sound
    assert pictures(bytes(data))[-1][0] == pytest.approx(11.5, abs=0.6)


@pytest.mark.parametrize("seed", range(12))
def test_any_bytes_are_read_or_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    container, codec = [("mp4", "mpeg4"), ("avi", "mpeg4"), ("flv", "flv1"), ("mpegts", "mpeg2video")][
        seed % 4
    ]
    data = bytearray(films.encoded(SCENE, container=container, codec=codec, fps=25))
    for at in rng.integers(0, min(len(data), 4000) if seed < 8 else len(data), 40):
        data[at] = rng.integers(256)
    try:
        taken = pictures(bytes(data))
    except MediaError:
        return
    assert taken
    assert all(start < end for start, end, _ in taken)


def test_limits_hold() -> None:
    data = films.encoded(SCENE)
    with pytest.raises(MediaLimitError, match="pixels"):
        read(data, MediaLimits(max_pixels=films.WIDTH * films.HEIGHT - 1))
    with pytest.raises(MediaLimitError, match="longer than the limit of 4 seconds"):
        read(data, MediaLimits(max_seconds=4))


def test_pictures_and_sounds_are_no_films() -> None:
    for head in (
        b"\0\0\0\x18ftypavif",
        b"\0\0\0\x18ftypheic",
        b"\0\0\0\x18ftypM4A ",
        b"RIFF\0\0\0\0WAVE",
        b"GIF89a",
    ):
        assert decode.sniff(head + b"\0" * 64) is None
