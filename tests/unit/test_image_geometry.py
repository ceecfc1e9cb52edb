from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import skimage
from PIL import Image, ImageDraw, ImageFont

from indexers.image import geometry, local
from indexers.image.decode import Picture
from indexers.image.geometry import Geometry
from indexers.image.hashes import TRANSFORMS
from indexers.modality import Box, Role

PHOTOS = Path(skimage.__file__).parent / "data"
NAMES = ("astronaut.png", "chelsea.png", "motorcycle_left.png")
TURNS = {
    "flip_horizontal": Image.Transpose.FLIP_LEFT_RIGHT,
    "flip_vertical": Image.Transpose.FLIP_TOP_BOTTOM,
    "rotate_90": Image.Transpose.ROTATE_90,
    "rotate_180": Image.Transpose.ROTATE_180,
    "rotate_270": Image.Transpose.ROTATE_270,
    "transpose": Image.Transpose.TRANSPOSE,
    "transverse": Image.Transpose.TRANSVERSE,
}


def photo(name: str) -> Image.Image:
    with Image.open(PHOTOS / name) as image:
        return image.convert("RGB")


def features(
    image: Image.Image | Picture, role: Role
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    return local.describe(np.asarray(image), role)


def related(query: Image.Image | Picture, work: Image.Image | Picture) -> Geometry | None:
    return geometry.relate(*features(query, Role.QUERY), *features(work, Role.REFERENCE))


def found(query: Image.Image | Picture, work: Image.Image | Picture) -> Geometry:
    relation = related(query, work)
    assert relation is not None
    return relation


def iou(first: Box, second: Box) -> float:
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    common = max(0.0, width) * max(0.0, height)
    areas = sum((box.right - box.left) * (box.bottom - box.top) for box in (first, second))
    return common / (areas - common)


def moved(transform: npt.NDArray[np.float64], x: float, y: float) -> tuple[float, float]:
    across, down, depth = transform @ (x, y, 1.0)
    return across / depth, down / depth


@pytest.mark.parametrize("name", NAMES)
def test_the_same_picture(name: str) -> None:
    image = photo(name)
    relation = found(image, image)
    assert relation.name == "identity"
    assert not relation.mirrored
    assert not relation.inverted
    assert relation.inliers > 200
    assert relation.agreement > 0.95
    assert relation.inlier_ratio > 0.9
    assert iou(relation.query, Box(0, 0, 1, 1)) > 0.99
    assert iou(relation.work, Box(0, 0, 1, 1)) > 0.99
    np.testing.assert_allclose(relation.transform, np.eye(3), atol=0.005)


@pytest.mark.parametrize("name", NAMES)
def test_a_crop_is_located_in_the_reference(name: str) -> None:
    image = photo(name)
    box = Box(0.3, 0.2, 0.8, 0.7)
    edges = (
        box.left * image.width,
        box.top * image.height,
        box.right * image.width,
        box.bottom * image.height,
    )
    left, top, right, bottom = map(round, edges)
    relation = found(image.crop((left, top, right, bottom)), image)
    assert relation.name == "identity"
    assert iou(relation.work, box) > 0.9
    assert iou(relation.query, Box(0, 0, 1, 1)) > 0.8
    assert relation.work_coverage == pytest.approx(0.25, abs=0.05)
    assert relation.query_coverage > 0.8
    assert relation.agreement > 0.7


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_inside_another_is_located_in_the_query(name: str) -> None:
    image = photo(name)
    canvas = photo("coffee.png").resize((900, 600))
    inner = image.resize((315, round(315 * image.height / image.width)))
    canvas.paste(inner, (400, 150))
    box = Box(400 / 900, 150 / 600, 715 / 900, (150 + inner.height) / 600)
    relation = found(canvas, image)
    assert relation.name == "identity"
    assert iou(relation.query, box) > 0.8
    assert iou(relation.work, Box(0, 0, 1, 1)) > 0.8
    assert relation.query_coverage == pytest.approx(inner.width * inner.height / 540_000, rel=0.15)
    assert relation.work_coverage > 0.85


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("way", TURNS)
def test_flips_turns_and_negatives_are_named(way: str, inverted: bool) -> None:
    image = photo("astronaut.png").crop((0, 0, 512, 400))
    query = np.asarray(image.transpose(TURNS[way]))
    relation = found(255 - query if inverted else query, image)
    assert relation.name == way
    assert relation.inverted is inverted
    assert relation.mirrored is (way.startswith(("flip", "trans")))
    assert relation.inliers > 150
    assert relation.work_coverage > 0.95


def test_names_are_those_of_the_hashes() -> None:
    assert {"identity", *TURNS, "invert"} == set(TRANSFORMS)


@pytest.mark.parametrize("degrees", [-45, 12, 30])
def test_a_turn_by_any_angle(degrees: int) -> None:
    image = photo("chelsea.png")
    turned = image.rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    relation = found(turned, image)
    assert relation.name == "affine"
    assert not relation.mirrored
    assert relation.inliers > 60
    assert relation.work_coverage > 0.85
    assert relation.query_coverage == pytest.approx(
        image.width * image.height / (turned.width * turned.height), rel=0.15
    )
    x, y = moved(relation.transform, 0.5, 0.5)
    assert (x, y) == pytest.approx((0.5, 0.5), abs=0.01)


def test_perspective() -> None:
    image = photo("motorcycle_left.png")
    size = np.diag((*image.size, 1.0))
    back = np.array([(0.9, 0.05, 20.0), (0.03, 0.92, 10.0), (3e-4, 2e-4, 1.0)])  # in pixels, query to work
    query = image.transform(
        image.size, Image.Transform.PERSPECTIVE, tuple(back.ravel()[:8]), Image.Resampling.BICUBIC
    )
    relation = found(query, image)
    assert relation.name == "perspective"
    assert relation.inliers > 60
    there = np.linalg.inv(size) @ back @ size
    for corner in ((0, 0), (1, 0), (1, 1), (0, 1)):
        assert moved(relation.transform, *moved(there, *corner)) == pytest.approx(corner, abs=0.015)


@pytest.mark.parametrize("factor", [0.6, 1.6])
def test_a_stretch(factor: float) -> None:
    image = photo("astronaut.png")
    relation = found(image.resize((round(512 * factor), 512)), image)
    assert relation.name == "identity"
    assert relation.inliers > 40
    np.testing.assert_allclose(relation.transform, np.eye(3), atol=0.02)


@pytest.mark.parametrize("first", range(6))
def test_unrelated_pictures_have_few_inliers(first: int) -> None:
    names = ("astronaut.png", "chelsea.png", "coffee.png", "coins.png", "rocket.jpg", "camera.png")
    query = features(photo(names[first]), Role.QUERY)
    for name in names:
        if name != names[first]:
            relation = geometry.relate(*query, *features(photo(name), Role.REFERENCE))
            assert relation is None or relation.inliers * relation.agreement < 3


def test_a_shared_caption_is_told_from_a_copy() -> None:
    """Both agree where the text is; only the copy agrees elsewhere."""

    def captioned(name: str) -> Image.Image:
        image = photo(name).resize((600, 500))
        draw = ImageDraw.Draw(image)
        font = ImageFont.load_default(52)
        for y, text in ((60, "WHEN IT IS MONDAY"), (440, "AND YOU FORGOT WHY")):
            draw.text((300, y), text, "white", font, anchor="mm", stroke_width=4, stroke_fill="black")
        return image

    copy = found(captioned("astronaut.png"), photo("astronaut.png").resize((600, 500)))
    sharing = found(captioned("astronaut.png"), captioned("chelsea.png"))
    assert copy.agreement > 0.8
    assert sharing.agreement < 0.5


def rows(count: int, seed: int = 0) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    corner = generator.uniform(0, 0.9, (count, 2))
    squares = np.concatenate([corner, corner + generator.uniform(0.01, 0.1, (count, 1))], axis=1)
    return generator.integers(0, 256, (count, 32), np.uint8), squares.astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_too_few_points(count: int) -> None:
    assert geometry.relate(*rows(count), *rows(count)) is None
    assert geometry.relate(*rows(count), *rows(200)) is None
    assert geometry.relate(*rows(200), *rows(count)) is None


def test_random_bits() -> None:
    relation = geometry.relate(*rows(1500, 1), *rows(300, 2))
    assert relation is None or relation.agreement < 0.3


def test_identical_descriptors() -> None:
    descriptors = np.full((1500, 32), 0xA5, np.uint8)
    _, squares = rows(1500)
    assert geometry.relate(descriptors, squares, descriptors[:300], squares[:300]) is None


def test_keypoints_beyond_the_limit_are_left_out() -> None:
    descriptors, squares = rows(geometry.MAX_KEYPOINTS + 100)
    late = slice(geometry.MAX_KEYPOINTS, None)
    assert geometry.relate(descriptors[late], squares[late], descriptors[late], squares[late]) is not None
    assert geometry.relate(descriptors, squares, descriptors[late], squares[late]) is None


def test_all_points_at_one_place() -> None:
    descriptors, _ = rows(300)
    squares = np.tile(np.array([0.4, 0.4, 0.5, 0.5], np.float32), (300, 1))
    assert geometry.relate(descriptors, squares, descriptors, squares) is None
    _, scattered = rows(300)
    assert geometry.relate(descriptors, squares, descriptors, scattered) is None
    assert geometry.relate(descriptors, scattered, descriptors, squares) is None


def test_points_on_one_line() -> None:
    descriptors, squares = rows(100)
    squares[:, 1], squares[:, 3] = 0.5, 0.5 + squares[:, 2] - squares[:, 0]
    relation = geometry.relate(descriptors, squares, descriptors, squares)
    assert relation is None or np.isfinite(relation.transform).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, 1e38, -1.0, 1e-30])
def test_squares_that_are_none(value: float) -> None:
    descriptors, squares = rows(100)
    broken = np.full_like(squares, value)
    assert geometry.relate(descriptors, broken, descriptors, squares) is None
    assert geometry.relate(descriptors, squares, descriptors, broken) is None
    partly = squares.copy()
    partly[::2] = value
    relation = geometry.relate(descriptors, partly, descriptors, squares)
    assert relation is not None
    assert relation.inliers >= 40


def test_a_collapsed_copy_is_refused() -> None:
    """All of the query's points lie in a hundredth of the picture, or in a sliver."""
    descriptors, squares = rows(200)
    for scale in ((0.01, 0.01), (1.0, 0.1)):
        small = (squares.reshape(-1, 2, 2) * scale).reshape(-1, 4).astype(np.float32)
        small[:, 2:] = small[:, :2] + (squares[:, 2:] - squares[:, :2]) * min(scale)
        relation = geometry.relate(descriptors, small, descriptors, squares)
        assert relation is None or relation.agreement < 0.2
