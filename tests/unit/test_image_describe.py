"""Which pictures may be references: those whose copies could be told from other pictures."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from indexers.errors import FeaturelessMediaError
from indexers.image import ImageModality, describe
from indexers.image.decode import Picture
from indexers.image.windows import TILES
from indexers.modality import Role, Segment, described

_TILES = {
    tuple(map(float, np.array([one.left, one.top, one.right, one.bottom], np.float32))) for one in TILES
}


@pytest.fixture(scope="module")
def modality() -> ImageModality:
    modality = ImageModality()
    modality.prepare()
    return modality


def frames(*pictures: Picture) -> list[Segment[Picture]]:
    return [Segment(float(number), number + 1.0, picture) for number, picture in enumerate(pictures)]


def flat(grey: int = 255) -> Picture:
    return np.full((120, 160, 3), grey, np.uint8)


def paper() -> Picture:
    noise = np.random.default_rng(0).normal(235, 3, (300, 400, 3))
    return noise.clip(0, 255).astype(np.uint8)


def flag() -> Picture:
    picture = Image.new("RGB", (300, 200), "navy")
    ImageDraw.Draw(picture).rectangle((100, 0, 199, 199), fill="white")
    return np.asarray(picture)


def logo() -> Picture:
    picture = Image.new("RGB", (64, 64), "white")
    picture.paste("red", (16, 16, 48, 48))
    return np.asarray(picture)


@pytest.mark.parametrize("make", [flat, lambda: flat(0), paper])
def test_a_flat_picture_is_no_reference_and_may_be_asked_about(
    modality: ImageModality, make: Callable[[], Picture]
) -> None:
    with pytest.raises(FeaturelessMediaError, match="flat, or nearly"):
        described(modality, frames(make(), make()), Role.REFERENCE)
    assert described(modality, frames(make()), Role.QUERY)


@pytest.mark.parametrize("make", [flag, logo])
def test_a_plain_picture_is_a_reference(modality: ImageModality, make: Callable[[], Picture]) -> None:
    assert described(modality, frames(make()), Role.REFERENCE)


def test_of_an_animation_one_frame_that_shows_something_is_enough(modality: ImageModality) -> None:
    assert described(modality, frames(flat(), flag(), flat()), Role.REFERENCE)


def framed() -> Picture:
    picture = np.full((300, 400, 3), 120, np.uint8)
    picture[60:180, 100:260] = noise()[:120, :160]
    return picture


def noise() -> Picture:
    return np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8)


@pytest.mark.parametrize(("make", "all_tiles"), [(noise, True), (framed, False)])
def test_tiles_alone_are_described_at_fewer_pixels(make: Callable[[], Picture], all_tiles: bool) -> None:
    network = describe.loaded(describe.BuiltIn())
    query = frames(make())
    rough, fine = (
        list(describe.describe(query, Role.QUERY, one))[-1][0]
        for one in (network, replace(network, rough=None))
    )
    assert rough.regions is not None
    tiles = np.array([tuple(map(float, row)) in _TILES for row in rough.regions])
    assert tiles.all() == all_tiles
    alike = (rough.descriptors * fine.descriptors).sum(axis=1)
    assert ((alike < 1 - 1e-4) == tiles).all()
    assert (alike > 0.6).all()
