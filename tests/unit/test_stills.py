"""Pictures out of clips: those that are shown at the times that were asked for."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from PIL import Image

from indexers.previews import Facts
from service.evidence import clips
from service.evidence.sheet import Extras, Picture, Still, lay_out
from service.language import words
from service.previewed import Kind, PreviewFile
from service.previews.reading import OpenPreview
from tests.unit.evidence_values import document

BRIGHTNESS = (20, 90, 160, 230)
"""Of each second."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of four seconds, each of another grey."""
    path = tmp_path_factory.mktemp("clip") / "clip"
    with av.open(str(path), "w", "webm") as output:
        stream = output.add_stream("libvpx", rate=5, options={"deadline": "realtime", "cpu-used": "8"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 36, "yuv420p", 10
        for number in range(20):
            grey = np.full((36, 64, 3), BRIGHTNESS[number // 5], np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "rgb24")
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def opened(path: Path) -> OpenPreview:
    return OpenPreview(PreviewFile(Kind.CLIP, bytes(32), path.stat().st_size, Facts()), path.open("rb"))


def test_pictures_are_those_of_the_times(film: Path) -> None:
    with opened(film) as clip:
        found = clips.take(clip, [2.5, 0.5, 3.5, 1.5, 99.0])
    greys = [np.asarray(Image.open(io.BytesIO(one)).convert("L")).mean() for one in found]
    expected = [BRIGHTNESS[one] for one in (2, 0, 3, 1, 3)]  # beyond its end, the last one
    assert greys == pytest.approx(expected, abs=6)


def test_what_is_no_clip_gives_no_pictures(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(b"\x1aE\xdf\xa3 and nothing else")
    with opened(path) as clip:
        assert clips.take(clip, [0.0, 1.0]) == [b"", b""]


def test_what_takes_too_long_gives_no_pictures(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "_SECONDS", 0.0)
    with opened(film) as clip:
        assert clips.take(clip, [0.0]) == [b""]


def test_segments_are_shown_with_the_region_of_the_suspect() -> None:
    said = words("en", "report")
    values = document(said)
    segments = values["match"]["segments"]
    segments[0]["region"] = [0.25, 0.0, 0.75, 0.5]
    stills = tuple(
        Still(
            place, 12.5, Picture(f"{of_work}{place}.jpg", "image/jpeg", b"", 320, 180, of_work, not of_work)
        )
        for of_work in (False, True)
        for place in range(2)
    )
    extras = Extras(stills=stills)
    blocks = [one for one in lay_out(values, said, extras)["blocks"] if one["kind"] == "pictures"]
    assert [[item["file"] for item in one["items"]] for one in blocks] == [
        [f"False{place}.jpg", f"True{place}.jpg"] for place in range(2)
    ]
    assert blocks[0]["items"][0]["shapes"] == [[[0.25, 0.0], [0.75, 0.0], [0.75, 0.5], [0.25, 0.5]]]
    assert [item["shapes"] for item in (blocks[0]["items"][1], *blocks[1]["items"][1:])] == [[], []]
    assert blocks[0]["items"][1]["caption"] == "The work at 0:00:12.50"
    assert extras.every_picture == tuple(one.picture for one in stills)
