"""Matrices of matches: they put a point of the reference where the query shows it."""

import io
import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from indexers.fingerprint import Fingerprint
from indexers.image import decode, hashes, local
from indexers.image.align import align
from indexers.image.decode import Picture
from indexers.image.hashes import TURNS
from indexers.modality import WHOLE, AlignedRegion, Box, MediaLimits, Role, Segment
from indexers.transforms import Matrix

Point = tuple[float, float]

TURNED: Mapping[str, Callable[[Picture], Picture]] = {
    "identity": lambda p: p,
    "flip_horizontal": lambda p: p[:, ::-1],
    "flip_vertical": lambda p: p[::-1],
    "rotate_90": np.rot90,
    "rotate_180": lambda p: np.rot90(p, 2),
    "rotate_270": lambda p: np.rot90(p, 3),
    "transpose": lambda p: p.transpose(1, 0, 2),
    "transverse": lambda p: np.rot90(p, 2).transpose(1, 0, 2),
}


def moved(matrix: Matrix, x: float, y: float) -> Point:
    u, v, w = np.array(matrix).reshape(3, 3) @ (x, y, 1.0)
    return float(u / w), float(v / w)


def landmark(size: tuple[int, int], at: Point) -> Picture:
    """A picture that is black but for a spot at a place in fractions of width and height."""
    width, height = size
    down, across = np.mgrid[0:height, 0:width]
    squared = (across + 0.5 - at[0] * width) ** 2 + (down + 0.5 - at[1] * height) ** 2
    return np.repeat((255 * np.exp(-squared / 8)).astype(np.uint8)[..., np.newaxis], 3, axis=2)


def found(picture: Picture) -> Point:
    """Where the spot is."""
    light = picture[..., 0].astype(np.float64)
    down, across = np.mgrid[0 : light.shape[0], 0 : light.shape[1]] + 0.5
    total = light.sum()
    return float((light * across).sum() / total / light.shape[1]), float(
        (light * down).sum() / total / light.shape[0]
    )


def related(reference: Picture, query: Picture, *, hashes_alone: bool = False) -> AlignedRegion:
    """The region that a match of two pictures reports, by hashes and local features."""

    def fingerprints(picture: Picture, role: Role) -> list[Fingerprint]:
        segments = [Segment(0.0, 1.0, np.ascontiguousarray(picture))]
        hashed = hashes.fingerprint(segments, role)
        return hashed if hashes_alone else [*hashed, *local.fingerprint(segments, role)]

    alignment = align(fingerprints(query, Role.QUERY), fingerprints(reference, Role.REFERENCE))
    assert alignment is not None
    (region,) = alignment.regions
    return region


@pytest.fixture(scope="module")
def photo(photographs: dict[str, bytes]) -> Picture:
    segment = next(decode.decode(io.BytesIO(photographs["coffee"]), MediaLimits()))
    return segment.data


@pytest.mark.parametrize("name", TURNS)
def test_a_named_transform_alone_gives_the_matrix(name: str) -> None:
    region = AlignedRegion(WHOLE, WHOLE, name)
    for spot in ((0.3, 0.2), (0.5, 0.5), (0.8, 0.6)):
        shown = found(TURNED[name](landmark((160, 100), spot)))
        assert moved(region.matrix, *spot) == pytest.approx(shown, abs=1e-3)


def test_boxes_alone_give_the_matrix() -> None:
    region = AlignedRegion(Box(0.5, 0.0, 1.0, 0.5), Box(0.2, 0.2, 0.6, 0.8), "flip_horizontal")
    assert moved(region.matrix, 0.2, 0.2) == pytest.approx((1.0, 0.0))
    assert moved(region.matrix, 0.6, 0.8) == pytest.approx((0.5, 0.5))
    assert AlignedRegion(WHOLE, WHOLE, "perspective").matrix == (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("name", "hashes_alone"), [*((name, True) for name in TURNS), ("rotate_90", False), ("transverse", False)]
)
def test_turned_pictures_have_the_matrix_of_their_turn(
    photo: Picture, name: str, *, hashes_alone: bool
) -> None:
    region = related(photo, TURNED[name](photo), hashes_alone=hashes_alone)
    assert region.transform == name
    height, width = photo.shape[:2]
    for spot in ((0.3, 0.2), (0.8, 0.6)):
        shown = found(TURNED[name](landmark((width, height), spot)))
        assert moved(region.matrix, *spot) == pytest.approx(shown, abs=0.004)


def warped(picture: Picture, matrix: npt.NDArray[np.float64], size: tuple[int, int]) -> Picture:
    """A picture as a matrix in pixels puts it into another of a size."""
    return np.asarray(cv2.warpPerspective(picture, matrix, size, flags=cv2.INTER_AREA), np.uint8)


def warp(width: int, height: int, *, mirrored: bool, degrees: float, lean: float) -> npt.NDArray[np.float64]:
    """Mirrored or not, turned about the middle, shrunk, moved, and seen from the side."""
    middle = np.array([[1.0, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    mirror = np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    cosine, sine = 0.8 * math.cos(math.radians(degrees)), 0.8 * math.sin(math.radians(degrees))
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [lean / width, 0, 1]])
    back = np.array([[1.0, 0, width / 2 + 12], [0, 1, height / 2 - 7], [0, 0, 1]])
    matrix: npt.NDArray[np.float64] = back @ turn @ mirror @ middle
    return matrix


@pytest.mark.parametrize(
    ("mirrored", "degrees", "lean"),
    [(False, 0.0, 0.0), (False, 17.0, 0.0), (True, 0.0, 0.0), (True, -31.0, 0.0), (False, 5.0, 0.25)],
)
def test_warped_pictures_have_the_matrix_of_the_warp(
    photo: Picture, *, mirrored: bool, degrees: float, lean: float
) -> None:
    height, width = photo.shape[:2]
    matrix = warp(width, height, mirrored=mirrored, degrees=degrees, lean=lean)
    region = related(photo, warped(photo, matrix, (width, height)))
    for x, y in ((0.5, 0.5), (0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)):
        u, v, w = matrix @ (x * width, y * height, 1.0)
        assert moved(region.matrix, x, y) == pytest.approx((u / w / width, v / w / height), abs=0.006)


@pytest.mark.parametrize("orientation", [3, 5, 6, 8])
def test_the_matrix_holds_in_pictures_as_viewers_show_them(photo: Picture, orientation: int) -> None:
    """A copy whose file says how to turn it: what counts is how it is shown, upright here."""
    stored = {
        3: np.rot90(photo, 2),
        5: photo.transpose(1, 0, 2),
        6: np.rot90(photo),
        8: np.rot90(photo, 3),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(stored)).save(file, "JPEG", quality=95, exif=exif)
    query = next(decode.decode(file, MediaLimits())).data
    assert query.shape == photo.shape
    region = related(photo, query)
    assert region.transform == "identity"
    for corner in ((0.1, 0.1), (0.9, 0.2), (0.4, 0.8)):
        assert moved(region.matrix, *corner) == pytest.approx(corner, abs=0.004)


def test_a_slight_crop_is_placed_exactly_though_hashes_match(photo: Picture) -> None:
    height, width = photo.shape[:2]
    left, top = round(width * 0.03), round(height * 0.02)
    region = related(photo, photo[top:, left:])
    assert region.work == WHOLE
    x, y = 0.5, 0.5
    expected = (x * width - left) / (width - left), (y * height - top) / (height - top)
    assert moved(region.matrix, x, y) == pytest.approx(expected, abs=0.004)
