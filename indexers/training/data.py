"""Batches of pairs: a clean anchor and a changed view of each of a few dozen pictures."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from indexers.training import augment, stickers
from indexers.training.augment import Hand, Picture

MIXED = 0.15
"""Share of the views that hold a second picture of the batch, which counts as a positive too."""

_NO_SECOND = -1


@dataclass(frozen=True, slots=True)
class Recipe:
    """What batches are made of.

    Attributes:
        pictures: The JPEGs.
        fonts: Folder of fonts for captions; see `stickers.draw`.
        pairs: Pictures in a batch.
        pixels: Side of the network's input.
        seed: Of every random choice, together with the worker's number.
    """

    pictures: tuple[Path, ...]
    fonts: Path
    pairs: int
    pixels: int
    seed: tuple[int, ...]


class Pairs(IterableDataset[tuple[Tensor, Tensor]]):
    """Endless batches: pictures (2 n, s, s, 3) uint8, anchors first, and the anchors in each view, (n, 2).

    The second column of the latter is -1 for a view of one picture alone.
    """

    def __init__(self, recipe: Recipe) -> None:
        """Keep the recipe; nothing is read before the first batch."""
        self.recipe = recipe

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches, other ones in each worker."""
        cv2.setNumThreads(1)
        info = get_worker_info()
        rng = np.random.default_rng([*self.recipe.seed, 0 if info is None else info.id])
        overlays = stickers.draw(self.recipe.fonts, rng)
        files = tuple(np.fromfile(path, np.uint8) for path in self.recipe.pictures)
        hand = Hand(rng, _draw_from(files, rng), overlays)
        order = np.empty(0, np.int64)
        while True:
            if len(order) < self.recipe.pairs:
                order = rng.permutation(len(files))
            chosen, order = order[: self.recipe.pairs], order[self.recipe.pairs :]
            yield self._batch([augment.decode(files[index]) for index in chosen], hand)

    def _batch(self, pictures: list[Picture], hand: Hand) -> tuple[Tensor, Tensor]:
        anchors, views, shown = [], [], []
        for index, picture in enumerate(pictures):
            second = _NO_SECOND
            if hand.chance(MIXED):
                second = (index + 1) % len(pictures)
                changed = augment.mix(picture, pictures[second], hand)
            else:
                changed = augment.view(picture, hand)
            anchors.append(self._square(augment.anchor(picture, hand)))
            views.append(self._square(changed))
            shown.append((index, second))
        return torch.from_numpy(np.stack(anchors + views)), torch.tensor(shown)

    def _square(self, picture: Picture) -> Picture:
        return augment.resize(picture, self.recipe.pixels, self.recipe.pixels)


def _draw_from(files: tuple[np.ndarray, ...], rng: np.random.Generator) -> Callable[[], Picture]:
    def draw() -> Picture:
        return augment.fit(augment.decode(files[int(rng.integers(len(files)))]), augment.WORK)

    return draw
