"""Aligning pictures by their hashes: many frames, and a picture with itself."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image

from indexers.fingerprint import Fingerprint
from indexers.image import hashes
from indexers.image.align import align, identity
from indexers.image.decode import Picture
from indexers.image.hashes import PDQ
from indexers.modality import Role, Segment

ASTRONAUT = np.asarray(Image.open(Path(skimage.__file__).parent / "data" / "astronaut.png").convert("RGB"))


def frames(count: int, seed: int) -> Fingerprint:
    descriptors = np.random.default_rng(seed).integers(0, 256, (count, 32), dtype=np.uint8)
    spans = np.array([[i, i + 1] for i in range(count)], np.float64)
    return Fingerprint(PDQ, descriptors, spans, np.ones(count, np.float32), np.zeros(count, np.uint8))


def test_the_closest_pair_is_found_however_many_there_are() -> None:
    query, work = frames(700, 1), frames(900, 2)
    planted = work.descriptors.copy()
    planted[555] = query.descriptors[666]
    planted[555, 0] ^= 0b101
    closest = Fingerprint(PDQ, planted, work.spans, work.quality, work.views)
    found = align([query], [closest])
    assert found is not None
    assert found.signals["pdq_distance"] == 2
    (segment,) = found.segments
    assert [*segment.query, *segment.work] == [666, 667, 555, 556]


def test_memory_is_bounded() -> None:
    query, work = frames(1000, 1), frames(1000, 2)
    tracemalloc.start()
    align([query], [work])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 1024 * 1024  # all differences at once: 36 MB


@pytest.mark.parametrize("picture", [ASTRONAUT, np.full((64, 96, 3), 255, np.uint8)], ids=["it", "blank"])
def test_a_picture_relates_to_itself_as_its_hashes_do(picture: Picture) -> None:
    frame = Segment(0.0, 1.0, picture)
    query = hashes.fingerprint([frame], Role.QUERY)
    assert identity(query) == align(query, hashes.fingerprint([frame], Role.REFERENCE))


def test_an_animation_has_to_be_aligned_with_itself() -> None:
    turned = [Segment(float(turn), turn + 1.0, np.rot90(ASTRONAUT, turn)) for turn in range(2)]
    assert identity(hashes.fingerprint(turned, Role.QUERY)) is None
