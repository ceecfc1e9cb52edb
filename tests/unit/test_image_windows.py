from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import skimage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw, ImageFont, ImageOps

from indexers.image.lines import straight_edges
from indexers.image.rectangles import SAME, enclosed, overlap
from indexers.image.windows import Windows, tiles
from indexers.modality import Box

PHOTOS = Path(skimage.__file__).parent / "data"
NAMES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
ODD = {
    "one pixel": np.zeros((1, 1, 3), np.uint8),
    "a line": np.full((1, 5000, 3), 90, np.uint8),
    "a standing line": np.full((5000, 1, 3), 90, np.uint8),
    "an icon": np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8),
    "flat": np.full((480, 640, 3), 200, np.uint8),
    "noise": np.random.default_rng(2).integers(0, 256, (480, 640, 3), np.uint8),
    "a checkerboard": np.kron(np.indices((60, 80)).sum(0) % 2, np.ones((8, 8)))[..., None].repeat(3, 2) * 255,
    "stripes": np.arange(480)[:, None, None].repeat(640, 1).repeat(3, 2) % 7 * 36,
}


def photo(name: str) -> Image.Image:
    with Image.open(PHOTOS / name) as image:
        return image.convert("RGB")


def pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(image, np.uint8)


def trimmed(picture: npt.NDArray[np.uint8]) -> Box | None:
    return Windows.of(picture).trimmed


def rectangles(picture: npt.NDArray[np.uint8], limit: int) -> list[Box]:
    edges = straight_edges(picture)
    return [] if edges is None else enclosed(edges, limit)


def windows(picture: npt.NDArray[np.uint8], limit: int) -> list[Box]:
    found = Windows.of(picture)
    return [*([found.trimmed] if found.trimmed else []), *found.others(limit)]


def normalised(image: Image.Image, left: int, top: int, width: int, height: int) -> Box:
    return Box(
        left / image.width, top / image.height, (left + width) / image.width, (top + height) / image.height
    )


def assert_near(found: Box | None, expected: Box) -> None:
    assert found is not None
    sides = [(found.left, expected.left), (found.top, expected.top)]
    sides += [(found.right, expected.right), (found.bottom, expected.bottom)]
    assert max(abs(side - other) for side, other in sides) <= 0.02, f"{found} is not {expected}"


def best_overlap(found: list[Box], expected: Box) -> float:
    return max((overlap(box, expected) for box in found), default=0.0)


def write(canvas: Image.Image, place: tuple[float, float], ink: str) -> None:
    font = ImageFont.load_default(canvas.width / 18)
    ImageDraw.Draw(canvas).text(place, "when it is Monday again", ink, font, anchor="mm")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("colour", ["black", "white", "#305080"])
def test_letterbox_is_trimmed(name: str, colour: str) -> None:
    inner = photo(name)
    bar = inner.height // 6
    canvas = ImageOps.expand(inner, (0, bar), colour)
    assert_near(trimmed(pixels(canvas)), normalised(canvas, 0, bar, *inner.size))


def test_border_on_all_sides_is_trimmed() -> None:
    inner = photo("coffee.png")
    canvas = ImageOps.expand(inner, 24, "white")
    assert_near(trimmed(pixels(canvas)), normalised(canvas, 24, 24, *inner.size))


def test_meme_bars_are_trimmed_with_their_text() -> None:
    inner = photo("chelsea.png")
    bar = inner.height // 4
    canvas = ImageOps.expand(inner, (0, bar), "white")
    write(canvas, (canvas.width / 2, bar / 2), "black")
    write(canvas, (canvas.width / 2, canvas.height - bar / 2), "black")
    assert_near(trimmed(pixels(canvas)), normalised(canvas, 0, bar, *inner.size))


def test_blurred_fill_is_trimmed() -> None:
    inner = photo("coffee.png")
    canvas = ImageOps.fit(inner.resize((40, 27)), (600, 900))
    canvas.paste(inner, (0, 250))
    assert_near(trimmed(pixels(canvas)), normalised(canvas, 0, 250, *inner.size))


def test_chrome_of_a_phone_is_trimmed() -> None:
    inner = photo("chelsea.png").resize((400, 266))
    screen = Image.new("RGB", (400, 640), "#101014")
    screen.paste(inner, (0, 120))
    draw = ImageDraw.Draw(screen)
    draw.text((12, 6), "12:41", "white")
    draw.ellipse((12, 70, 48, 106), "#8080c0")
    draw.text((60, 80), "somebody", "white")
    for row in range(4):
        draw.text((14, 420 + 30 * row), "so true, link in bio", "white")
    assert_near(trimmed(pixels(screen)), normalised(screen, 0, 120, *inner.size))


@pytest.mark.parametrize("name", [*NAMES, "camera.png", "coins.png", "moon.png", "grass.png"])
def test_untouched_photographs_are_not_trimmed(name: str) -> None:
    assert trimmed(pixels(photo(name))) is None


def test_picture_on_white_ground_keeps_its_ground() -> None:
    canvas = Image.new("RGB", (500, 400), "white")
    ImageDraw.Draw(canvas).ellipse((150, 80, 360, 330), "#704020")
    assert trimmed(pixels(canvas)) is None


@pytest.mark.parametrize("share", [0.35, 0.6])
@pytest.mark.parametrize(("inside", "around"), [("coffee.png", "chelsea.png"), ("chelsea.png", "coffee.png")])
def test_picture_in_a_picture_is_found(share: float, inside: str, around: str) -> None:
    canvas = photo(around)
    inner = ImageOps.contain(photo(inside), (round(canvas.width * share), round(canvas.height * share)))
    left, top = round(canvas.width * 0.22), round(canvas.height * 0.31)
    canvas.paste(inner, (left, top))
    assert best_overlap(rectangles(pixels(canvas), 3), normalised(canvas, left, top, *inner.size)) >= 0.9


def test_all_tiles_of_a_collage_with_gutters_are_found() -> None:
    canvas = Image.new("RGB", (600, 600), "white")
    places = [(5, 5), (305, 5), (5, 305), (305, 305)]
    for name, place in zip(NAMES, places, strict=True):
        canvas.paste(ImageOps.fit(photo(name), (290, 290)), place)
    found = rectangles(pixels(canvas), 8)
    for place in places:
        assert best_overlap(found, normalised(canvas, *place, 290, 290)) >= 0.9


def test_both_halves_of_a_split_screen_are_found() -> None:
    canvas = Image.new("RGB", (800, 400))
    for name, left in (("astronaut.png", 0), ("coffee.png", 400)):
        canvas.paste(ImageOps.fit(photo(name), (400, 400)), (left, 0))
    found = rectangles(pixels(canvas), 2)
    for left in (0, 400):
        assert best_overlap(found, normalised(canvas, left, 0, 400, 400)) >= 0.9


def test_picture_in_a_browser_is_found() -> None:
    screen = Image.new("RGB", (1024, 640), "white")
    draw = ImageDraw.Draw(screen)
    draw.rectangle((0, 0, 1024, 70), "#dee1e6")
    draw.rounded_rectangle((90, 38, 960, 62), 12, "white")
    for row in range(24):
        draw.text((20, 100 + 22 * row), "of the picture a market in copy street new year", "#222222")
    inner = ImageOps.contain(photo("rocket.jpg"), (560, 480))
    screen.paste(inner, (400, 120))
    assert best_overlap(windows(pixels(screen), 4), normalised(screen, 400, 120, *inner.size)) >= 0.9


def test_windows_begin_with_what_trimming_leaves_and_end_with_tiles() -> None:
    canvas = pixels(ImageOps.expand(photo("coffee.png"), (0, 60), "black"))
    found = windows(canvas, 20)
    assert found[0] == trimmed(canvas)
    assert found[-1] == tiles(canvas)[-1]


@pytest.mark.parametrize("limit", [1, 3])
def test_limit_is_kept(limit: int) -> None:
    canvas = pixels(ImageOps.expand(photo("coffee.png"), 24, "white"))
    assert len(windows(canvas, limit)) == limit
    assert rectangles(canvas, limit) == rectangles(canvas, 10)[:limit]


@pytest.mark.parametrize("name", ODD)
def test_odd_pictures(name: str) -> None:
    picture = np.ascontiguousarray(ODD[name], np.uint8)
    assert_valid(picture, 6)


def test_text_alone_gives_no_more_than_the_limit() -> None:
    page = Image.new("RGB", (512, 512), "white")
    for row in range(30):
        ImageDraw.Draw(page).text(
            (10, 6 + 17 * row), "of the picture a market in copy street new year " * 2, "black"
        )
    assert_valid(pixels(page), 6)


@settings(max_examples=60, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 90), st.just(3))), st.integers(1, 12))
def test_any_array_gives_valid_boxes(picture: npt.NDArray[np.uint8], limit: int) -> None:
    assert_valid(picture, limit)


def assert_valid(picture: npt.NDArray[np.uint8], limit: int) -> None:
    found = windows(picture, limit)
    assert len(found) <= limit
    inner = trimmed(picture)
    for box in [*found, *rectangles(picture, limit), *tiles(picture), *([inner] if inner else [])]:
        assert 0 <= box.left < box.right <= 1
        assert 0 <= box.top < box.bottom <= 1
    for number, box in enumerate(found):
        assert all(overlap(box, other) <= SAME for other in found[:number])


def test_a_strong_edge_at_the_border_hides_no_other() -> None:
    picture = np.full((180, 320, 3), 90, np.uint8)
    picture[1:] = 30
    picture[60:120, 100:200] = 160
    edges = straight_edges(picture)
    assert edges is not None
    assert {1, 60, 120} <= set(edges.rows.cells.tolist())
    assert {100, 200} <= set(edges.columns.cells.tolist())


def test_of_edges_next_to_each_other_the_best_is_one() -> None:
    picture = photo("astronaut.png")
    edges = straight_edges(pixels(picture))
    assert edges is not None
    for lines in (edges.rows, edges.columns):
        assert np.diff(lines.cells[1:-1]).min() > 1
