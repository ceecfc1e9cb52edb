"""The changes that the network learns to see past."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage

from indexers.training import augment
from indexers.training.augment import KINDS, Hand, Picture
from indexers.training.stickers import Stickers

PHOTOS = Path(skimage.__file__).parent / "data"


def photograph(name: str) -> Picture:
    return augment.decode(np.fromfile(PHOTOS / name, np.uint8))


@pytest.fixture(scope="module")
def picture() -> Picture:
    return augment.fit(photograph("astronaut.png"), 240)


@pytest.fixture(scope="module")
def stickers() -> Stickers:
    text = np.zeros((40, 200), np.uint8)
    cv2.putText(text, "so true", (5, 30), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 3)
    smile = np.zeros((64, 64, 4), np.uint8)
    cv2.circle(smile, (32, 32), 30, (255, 220, 0, 255), -1)
    return Stickers((text,), (smile,))


def hand(stickers: Stickers, seed: int) -> Hand:
    other = augment.fit(photograph("coffee.png"), 200)
    return Hand(np.random.default_rng(seed), lambda: other, stickers)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_a_picture_and_leaves_its_source_alone(
    kind: str, picture: Picture, stickers: Stickers
) -> None:
    before = picture.copy()
    for seed in range(8):
        changed = KINDS[kind](picture, hand(stickers, seed))
        assert changed.dtype == np.uint8
        assert changed.ndim == 3
        assert changed.shape[2] == 3
        assert min(changed.shape) > 0
        np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"several"}))
def test_every_kind_changes_something(kind: str, picture: Picture, stickers: Stickers) -> None:
    changed = [KINDS[kind](picture, hand(stickers, seed)) for seed in range(3)]
    assert any(one.shape != picture.shape or not np.array_equal(one, picture) for one in changed)


@pytest.mark.parametrize("shape", [(16, 300), (300, 16), (9, 9)])
def test_odd_shapes_pass_through_any_chain(shape: tuple[int, int], stickers: Stickers) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    for seed in range(60):
        drawn = hand(stickers, seed)
        for result in (
            augment.view(picture, drawn),
            augment.anchor(picture, drawn),
            augment.mix(picture, picture, drawn),
        ):
            assert max(result.shape) <= augment.WORK * 2
            assert min(result.shape) > 0


def test_the_same_seed_draws_the_same_view(picture: Picture, stickers: Stickers) -> None:
    first, second = (augment.view(picture, hand(stickers, 3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_mix_shows_both(stickers: Stickers) -> None:
    white, black = np.full((120, 160, 3), 255, np.uint8), np.zeros((120, 160, 3), np.uint8)
    drawn = hand(stickers, 0)
    shares = [float((augment.mix(white, black, drawn) > 127).mean()) for _ in range(60)]
    assert np.mean([0.05 < share < 0.95 for share in shares]) > 0.5
