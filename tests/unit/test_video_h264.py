"""Pictures of H.264 that are left out: no pixel of the others changes, and nothing is held for long."""

import io
from collections.abc import Iterator
from itertools import pairwise
from typing import cast

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.stream import VideoStream

from indexers.modality import MediaLimits
from indexers.video import decode, h264
from tests import films

LIMITS = MediaLimits()
ONE = "ref=1:bframes=3:b-adapt=0:keyint=24:scenecut=0"
"""x264's pictures that are built from one other: P pictures never from B pictures."""


def film(parameters: str, container: str = "mp4", fps: int = 24, **options: str) -> bytes:
    scene = [films.shown("first", number / 24) for number in range(60)]
    options = {"preset": "veryfast", "threads": "1", "x264-params": parameters, **options}
    return films.encoded(scene, container=container, codec="libx264", fps=fps, options=options)


def shown(data: bytes, *, sparse: bool) -> dict[float, np.ndarray]:
    with decode.opened(io.BytesIO(data), LIMITS, sparse=sparse) as opened:
        return {opened.clock.of(frame): np.array(frame.to_ndarray()) for frame in opened.frames}


def check(data: bytes) -> tuple[int, int]:
    """How many frames are decoded otherwise, and of the same film sparsely, all of which are the same."""
    every, some = shown(data, sparse=False), shown(data, sparse=True)
    assert set(some) <= set(every)
    for time, pixels in some.items():
        assert np.array_equal(pixels, every[time])
    return len(every), len(some)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_pictures_that_no_other_needs_are_left_out_and_the_others_stay_as_they_are(container: str) -> None:
    data = film(ONE, container)
    every, some = check(data)
    assert some < 0.7 * every
    times = sorted(shown(data, sparse=True))
    assert max(later - one for one, later in pairwise(times)) <= h264.MOST_APART


@pytest.mark.parametrize(
    "parameters",
    [
        "ref=1:weightp=2:bframes=3:b-adapt=0:keyint=24",
        "ref=1:weightb=1:bframes=5:keyint=250",
        "ref=1:open-gop=1:bframes=3:keyint=12",
        "ref=1:slices=4:bframes=3:b-adapt=0:keyint=24",
        "ref=3:b-pyramid=strict:bframes=3:b-adapt=0:keyint=24",
        "ref=2:bframes=3:keyint=24",
        "ref=1:bframes=3:bff=1:keyint=24",
        "ref=1:bframes=3:cqm=jvt:keyint=24",
        "ref=1:bframes=0",
    ],
)
def test_no_pixel_changes_however_it_was_encoded(parameters: str) -> None:
    check(film(parameters))


def test_where_pictures_are_built_from_others_between_two_all_of_these_are_decoded() -> None:
    every, some = check(film("ref=4:bframes=3:b-adapt=0:keyint=24:mixed-refs=1", preset="medium"))
    assert some == every


def test_what_would_leave_frames_far_from_each_other_is_decoded() -> None:
    every, some = check(film(ONE, fps=8))
    assert some == every


def packets(data: bytes) -> tuple[list["Packet[VideoStream]"], bytes]:
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        return list(container.demux(stream)), stream.codec_context.extradata or b""


def test_a_group_is_held_until_it_is_known_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    some, parameters = packets(film(ONE))
    given: list[Packet[VideoStream]] = []

    def giving() -> Iterator["Packet[VideoStream]"]:
        for packet in some:
            given.append(packet)
            yield packet

    def held(*, spare: bool) -> int:
        given.clear()
        most = 0
        for number, one in enumerate(h264.sorted_out(giving(), parameters)):
            assert one == (some[number], spare)
            most = max(most, len(given) - number)
        assert given == some
        return most

    assert held(spare=True) == 25
    monkeypatch.setattr(h264, "_MOST_PACKETS", 10)
    assert held(spare=False) == 11


def test_a_film_in_which_nothing_is_left_out_is_soon_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    some, parameters = packets(film("ref=1:bframes=0:keyint=4:scenecut=0"))
    looked_at: list[bytes] = []
    slices = h264._Reader.slices

    def watched(reader: h264._Reader, packet: bytes) -> tuple[bool, list[h264._Slice]]:
        looked_at.append(packet)
        return slices(reader, packet)

    monkeypatch.setattr(h264._Reader, "slices", watched)
    assert not any(spare for _, spare in h264.sorted_out(some, parameters))
    assert len(looked_at) == 4 * 4 + 1


def broken(data: bytes, seed: int) -> bytes:
    random = np.random.default_rng(seed)
    content = np.frombuffer(data, np.uint8).copy()
    places = random.integers(len(content) // 20, len(content), 40)
    content[places] ^= random.integers(1, 255, 40).astype(np.uint8)
    return content.tobytes()


@pytest.mark.parametrize("seed", range(6))
def test_broken_bytes_lose_no_packet(seed: int) -> None:
    some, parameters = packets(film(ONE))
    random = np.random.default_rng(seed)
    changed: list[Packet[VideoStream]] = []
    for packet in some:
        content = np.frombuffer(bytes(packet), np.uint8).copy()
        if len(content):
            content[random.integers(0, min(20, len(content)), 2)] ^= np.uint8(random.integers(1, 255))
        one = cast("Packet[VideoStream]", Packet(content.tobytes()))
        one.pts, one.dts, one.time_base = packet.pts, packet.dts, packet.time_base
        one.is_keyframe = packet.is_keyframe
        changed.append(one)
    assert [packet for packet, _ in h264.sorted_out(changed, parameters)] == changed
    assert [packet for packet, _ in h264.sorted_out(changed, broken(parameters, seed))] == changed


def test_what_is_lost_of_a_broken_film_is_told() -> None:
    data = bytearray(film(ONE))
    with av.open(io.BytesIO(data), "r") as container:
        some = [packet for packet in container.demux(video=0) if packet.size]
    random = np.random.default_rng(1)
    for packet in some:
        assert packet.pts is not None
        assert packet.pos is not None
        if 1.2 <= packet.pts * packet.time_base < 1.9:
            data[packet.pos + 12 : packet.pos + packet.size] = random.bytes(packet.size - 12)
    lost = [one.lost for one in decode.decode(io.BytesIO(bytes(data)), LIMITS)]
    ((start, end),) = [span for some in lost for span in some]
    assert 1.0 <= start <= 1.5
    assert 1.8 <= end <= 2.1
