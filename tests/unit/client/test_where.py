import pytest

from copyhound import Action, Box, Comparison, Match, PartMatch, PartsFound, Region, Segment
from copyhound.where import describe_parts, describe_place

WHOLE = Box(0.0, 0.0, 1.0, 1.0)
PART = Box(0.1, 0.0, 0.6, 0.5)


def place(*, regions: tuple[Region, ...] = (), segments: tuple[Segment, ...] = ()) -> str:
    return describe_place(Comparison(1.0, {}, segments, regions, 1.0, 1.0, ()))


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (Region(WHOLE, WHOLE, "identity"), "whole picture"),
        (Region(WHOLE, Box(0.01, 0.0, 0.99, 1.0), "identity"), "whole picture"),
        (Region(WHOLE, WHOLE, "rotate_90"), "whole picture, turned 90° left"),
        (Region(WHOLE, WHOLE, "warp"), "whole picture, warp"),
        (Region(PART, WHOLE, "identity"), "10-60 % across, 0-50 % down shows the whole work"),
        (
            Region(WHOLE, PART, "flip_horizontal"),
            "whole picture shows 10-60 % across, 0-50 % down of the work, mirrored",
        ),
    ],
)
def test_regions_in_words(region: Region, words: str) -> None:
    assert place(regions=(region,)) == words


@pytest.mark.parametrize(
    ("segment", "words"),
    [
        (Segment(5, 65, 3600, 3660, 1, "second"), "0:05-1:05 is 1:00:00-1:01:00 of the work"),
        (Segment(0, 2, 0, 4, -2, "second"), "0:00-0:02 is 0:00-0:04 of the work, backwards, at 2x speed"),
        (Segment(0, 12, 3, 15, 1, "frame"), "frame 0-12 is frame 3-15 of the work"),
    ],
)
def test_segments_in_words(segment: Segment, words: str) -> None:
    assert place(segments=(segment,)) == words


def test_nothing_located_is_a_dash() -> None:
    assert place() == "-"


def test_parts_in_words() -> None:
    regions = (Region(WHOLE, WHOLE, "flip_horizontal"),)
    parts = [PartMatch(f"{n}", "image", "", f"game!{n}", 0.9, 1.0, 1.0, (), regions) for n in range(4)]
    counts = (PartsFound("image", 214, 300, 200, 280), PartsFound("audio", 1, 1, 1, 9))
    match = Match(
        "works/1", "", "studio", None, "", 0.9, {}, (), (), 0.7, 0.7, Action.BLOCK, None, tuple(parts), counts
    )
    assert describe_place(match) == (
        "214 of 300 pictures and 1 of 1 sound; 0 is game!0 (whole picture, mirrored); "
        "1 is game!1 (whole picture, mirrored); 2 is game!2 (whole picture, mirrored); 212 more"
    )
    assert describe_parts({"image": 1_000, "audio": 1, "smell": 2}) == "1,000 pictures, 1 sound and 2 smell"
    assert describe_parts({}) == ""
