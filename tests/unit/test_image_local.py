from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import skimage
from PIL import Image

from indexers.image import local
from indexers.image.decode import Picture
from indexers.modality import Role, Segment

PHOTOS = Path(skimage.__file__).parent / "data"


def photo(name: str) -> Picture:
    with Image.open(PHOTOS / name) as image:
        return np.asarray(image.convert("RGB"))


def centres(squares: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    middle: npt.NDArray[np.float32] = squares.reshape(-1, 2, 2).mean(axis=1)
    return middle


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", ["astronaut.png", "coins.png", "rocket.jpg"])
def test_rows_fit_the_scheme(name: str, role: Role) -> None:
    descriptors, squares = local.describe(photo(name), role)
    local.LOCAL.check(descriptors)
    twice = 2 if role is Role.QUERY else 1
    assert 100 <= len(descriptors) <= twice * local.KEYPOINTS[role]
    assert squares.dtype == np.float32
    assert squares.shape == (len(descriptors), 4)
    assert ((squares >= 0) & (squares <= 1)).all()
    assert (squares[:, 2:] > squares[:, :2]).all()


def test_squares_are_square_in_pixels() -> None:
    picture = photo("rocket.jpg")
    height, width = picture.shape[:2]
    _, squares = local.describe(picture, Role.REFERENCE)
    sides = (squares[:, 2:] - squares[:, :2]) * (width, height)
    np.testing.assert_allclose(sides[:, 0], sides[:, 1], rtol=0.02)


def test_bits_are_balanced() -> None:
    descriptors, _ = local.describe(photo("astronaut.png"), Role.QUERY)
    share = np.unpackbits(descriptors, axis=1).mean(axis=0)
    assert 0.45 < share.mean() < 0.55
    assert np.median(np.abs(share - 0.5)) < 0.2


def test_keypoints_are_spread_over_the_picture() -> None:
    """Texture in one corner does not take them all."""
    rng = np.random.default_rng(0)
    picture = photo("astronaut.png").copy()
    picture[:128, :128] = rng.integers(0, 256, (128, 128, 3))
    _, squares = local.describe(picture, Role.REFERENCE)
    in_corner = (centres(squares) < 0.25).all(axis=1).mean()
    assert in_corner < 0.25


@pytest.mark.parametrize(
    ("appearance", "changed"),
    [
        (local.APPEARANCES[1], lambda picture: picture[:, ::-1]),
        (local.APPEARANCES[2], lambda picture: 255 - picture),
        (local.APPEARANCES[3], lambda picture: 255 - picture[:, ::-1]),
    ],
)
def test_mirror_and_negative_flip_known_bits(appearance: local.Appearance, changed: object) -> None:
    """The changed picture's descriptors, with those bits flipped back, are the picture's own."""
    assert callable(changed)
    picture = photo("astronaut.png")
    mask = np.repeat(np.array(appearance.flipped), local.PARTS // 8).astype(np.uint8) * 255
    descriptors, squares = local.describe(picture, Role.REFERENCE)
    others, other_squares = local.describe(np.ascontiguousarray(changed(picture)), Role.QUERY)
    places = centres(other_squares)
    if appearance.mirrored:
        places[:, 0] = 1 - places[:, 0]
    apart = np.abs(centres(squares)[:, np.newaxis] - places).max(axis=2)
    row, column = np.nonzero(apart < 0.5 / 512)
    assert len(np.unique(row)) > 0.7 * len(descriptors)
    bits = np.bitwise_count(descriptors[row] ^ others[column] ^ mask).sum(axis=1)
    assert np.median(bits) < 16
    unmasked = np.bitwise_count(descriptors[row] ^ others[column]).sum(axis=1)
    assert np.median(unmasked) > 100


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((400, 300, 3), np.uint8),
        np.full((64, 64, 3), 255, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((1, 5000, 3), np.uint8),
        np.random.default_rng(1).integers(0, 256, (3, 4000, 3), np.uint8),
        np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3).repeat(200, axis=0),
    ],
    ids=["black", "white", "one pixel", "flat strip", "strip of noise", "gradient"],
)
def test_pictures_without_keypoints(picture: Picture, role: Role) -> None:
    descriptors, squares = local.describe(picture, role)
    assert descriptors.shape == (0, 32)
    assert descriptors.dtype == np.uint8
    assert squares.shape == (0, 4)
    assert local.fingerprint([Segment(0.0, 1.0, picture)], role) == []


@pytest.mark.parametrize("shape", [(17, 900), (900, 17), (40, 40), (2000, 60)])
def test_odd_shapes_of_noise(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (*shape, 3), np.uint8)
    descriptors, squares = local.describe(picture, Role.QUERY)
    assert len(descriptors) == len(squares) <= 2 * local.KEYPOINTS[Role.QUERY]


def test_a_fingerprint_keeps_frames_apart() -> None:
    frames = [photo("astronaut.png"), np.zeros((64, 64, 3), np.uint8), photo("coffee.png")]
    segments = [Segment(float(number), number + 1.0, frame) for number, frame in enumerate(frames)]
    (fingerprint,) = local.fingerprint(segments, Role.REFERENCE)
    assert fingerprint.scheme is local.LOCAL
    assert not fingerprint.views.any()
    assert (fingerprint.quality == 1).all()
    starts, counts = np.unique(fingerprint.spans[:, 0], return_counts=True)
    assert starts.tolist() == [0.0, 2.0]
    for start, count in zip((0, 2), counts, strict=True):
        descriptors, squares = local.describe(frames[start], Role.REFERENCE)
        rows = fingerprint.spans[:, 0] == start
        assert count == len(descriptors)
        np.testing.assert_array_equal(fingerprint.descriptors[rows], descriptors)
        assert fingerprint.regions is not None
        np.testing.assert_array_equal(fingerprint.regions[rows], squares)
