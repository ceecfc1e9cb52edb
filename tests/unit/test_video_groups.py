"""Packets of films that are left out: the frames that are taken stay as they are."""

import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from typing import cast

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from indexers.modality import MediaLimits
from indexers.video import decode, groups
from indexers.video.decode import Frame
from tests import films

LIMITS = MediaLimits()

Taken = list[tuple[float, float, tuple[tuple[float, float], ...], bool, bytes]]


@cache
def film(container: str, codec: str, seconds: float = 2.6) -> bytes:
    """Of 25 pictures a second, in groups of 30, so that no group ends where a frame is taken."""
    scene = [films.shown("first", number / 25)[::2, ::2] for number in range(round(25 * seconds))]
    options = {
        "libx264": {"preset": "veryfast", "threads": "1", "x264-params": "keyint=30:scenecut=0:bframes=0"},
        "libvpx": {"g": "30", "keyint_min": "30", "deadline": "realtime", "cpu-used": "8"},
        "libvpx-vp9": {"g": "30", "keyint_min": "30", "deadline": "realtime", "cpu-used": "8"},
        "mpeg4": {"g": "30", "qscale": "3"},
    }
    return films.encoded(scene, container=container, codec=codec, fps=25, options=options[codec])


def taken(data: bytes) -> Taken:
    return [
        (one.start, one.end, one.lost, one.data.last, one.data.picture.tobytes())
        for one in decode.decode(io.BytesIO(data), LIMITS)
        if isinstance(one.data, Frame)
    ]


def decoded(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Filled with when the frames that are decoded are shown."""
    times: list[float] = []
    of = decode.Clock.of

    def watched(clock: decode.Clock, frame: VideoFrame) -> float:
        times.append(of(clock, frame))
        return times[-1]

    monkeypatch.setattr(decode.Clock, "of", watched)
    return times


@pytest.mark.parametrize(
    ("container", "codec"),
    [
        ("mp4", "libx264"),
        ("matroska", "libx264"),
        ("mpegts", "libx264"),
        ("webm", "libvpx"),
        ("webm", "libvpx-vp9"),
    ],
)
def test_what_comes_after_the_last_frame_of_a_group_is_not_decoded(
    container: str, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = film(container, codec)
    times = decoded(monkeypatch)
    some = taken(data)
    count = len(times)
    times.clear()
    monkeypatch.setattr(groups, "needed", lambda packets, *_: packets)
    assert taken(data) == some
    assert [round(one[0], 2) for one in some] == pytest.approx([0.0, 0.52, 1.0, 1.52, 2.0, 2.52], abs=0.1)
    assert not any(one[2] for one in some)
    assert count <= 0.9 * len(times)


def test_of_other_codecs_all_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    times = decoded(monkeypatch)
    assert len(taken(film("matroska", "mpeg4"))) == 6
    assert len(times) == 65


def test_what_was_left_out_is_not_told_as_lost() -> None:
    data = bytearray(film("mp4", "libx264"))
    with av.open(io.BytesIO(data), "r") as container:
        some = [packet for packet in container.demux(video=0) if packet.size]
    broken = next(packet for packet in some if packet.is_keyframe and (packet.pts or 0) > 0)
    start = float((broken.pts or 0) * broken.time_base)
    assert broken.pos is not None
    data[broken.pos + 40 : broken.pos + broken.size] = bytes(broken.size - 40)
    for begin, end in [span for one in decode.decode(io.BytesIO(data), LIMITS) for span in one.lost]:
        assert begin >= start - 0.05
        assert end <= start + 1.25


def packet(seconds: float, *, begins: bool = False, size: int = 10) -> "Packet[VideoStream]":
    one = cast("Packet[VideoStream]", Packet(bytes(size)))
    one.pts, one.time_base, one.is_keyframe = round(1000 * seconds), Fraction(1, 1000), begins
    return one


def group(start: float, *orders: int, size: int = 10) -> list["Packet[VideoStream]"]:
    """Pictures a tenth of a second apart, in the order in which they are decoded."""
    return [packet(start + order / 10, begins=not number, size=size) for number, order in enumerate(orders)]


def left(packets: Sequence["Packet[VideoStream]"], since: float) -> list[int]:
    """The time stamps of what is needed, in tenths of a second."""
    given: Iterable[tuple[Packet[VideoStream], bool]] = [(one, True) for one in packets]
    found = groups.needed(given, lambda _: True, groups.Wanted(since))
    return [round((one.pts or 0) / 100) for one, _ in found]


FIRST = group(0.0, 0, 2, 1, 4, 3)


def test_packets_are_needed_up_to_the_last_that_is_shown_late_enough() -> None:
    rest = group(1.0, 0, 1, 2)
    second = group(0.5, 0, 2, 1, 4, 3)
    assert left([*FIRST, *second, *rest], 0.7) == [5, 7, 6, 9, 8, 10, 11, 12]
    assert left([*FIRST, *second, *rest], 0.95) == [10, 11, 12]
    second = group(0.5, 0, 4, 1, 2, 3)
    assert left([*FIRST, *second, *rest], 0.85) == [5, 9, 10, 11, 12]
    assert left([*FIRST, *second], 0.95) == [5, 9, 6, 7, 8]


@pytest.mark.parametrize("jump", [-3.0, -0.2, 1.6, 700.0])
def test_where_time_stamps_jump_all_is_needed(jump: float) -> None:
    """A group before a jump, and one after it."""
    packets = [*FIRST, *group(0.5, 0, 1, 2), *group(0.8 + jump, 0, 1, 2), *group(1.1 + jump, 0, 1)]
    assert len(left([packet(-0.1), *packets], 1.0 + max(0.0, jump))) == len(packets) + 1


def test_what_is_wanted_long_after_may_be_of_another_clock() -> None:
    packets = [*FIRST, *group(0.5, 0, 1, 2), *group(0.8, 0, 1)]
    assert len(left(packets, 1.2)) == 2
    assert len(left(packets, 9.0)) == len(packets)


def test_large_groups_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "_MOST_BYTES", 100)
    packets = [*group(0.5, 0, 1, 2, size=40), *group(0.8, 0, 1)]
    assert len(left(packets, 1.2)) == len(packets)
    monkeypatch.setattr(groups, "_MOST_BYTES", 1000)
    monkeypatch.setattr(groups, "_MOST_PACKETS", 5)
    long = [*group(0.5, 0, 1, 2, 3, 4, 5), *group(1.1, 0, 1)]
    assert len(left(long, 1.3)) == len(long)


def test_vp9_tells_key_frames_by_its_first_byte() -> None:
    begins = groups.of_vp9(b"")

    def of(byte: int) -> bool:
        return begins(cast("Packet[VideoStream]", Packet(bytes([byte, 0, 0]))))

    assert of(0b1000_0010)
    assert of(0b1001_0010)
    assert not of(0b1000_0110)  # built from others
    assert not of(0b1000_1000)  # shows another
    assert not of(0b1011_0000)  # profile 3
    assert not of(0b0000_0010)


def test_a_film_whose_groups_are_shorter_than_a_step_loses_whole_groups() -> None:
    found = [packet for start in np.arange(0, 2, 0.2) for packet in group(float(start), 0, 1)]
    assert left(found, 1.0) == list(range(10, 20))
