"""Which parts of a film's pictures are looked at on their own."""

import cv2
import numpy as np
import pytest

from indexers.image.rectangles import overlap
from indexers.modality import Box
from indexers.video import views
from indexers.video.frames import Part, Taken

WIDTH, HEIGHT = 320, 180


def noise(seed: int, width: int, height: int) -> np.ndarray:
    """A picture of soft blots."""
    blots = np.random.default_rng(seed).integers(0, 255, (5, 8, 3), np.uint8)
    return np.asarray(cv2.resize(blots, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def inside(across: float, down: float) -> tuple[list[Taken], list[Box]]:
    """Twelve frames of two films, the one in the other, which moves by so many pixels from frame to frame."""
    taken, boxes = [], []
    for number in range(12):
        picture = noise(100 + number, WIDTH, HEIGHT)
        left, top = round(40 + across * number), round(30 + down * number)
        picture[top : top + 81, left : left + 144] = noise(200 + number, 144, 81)
        taken.append(Taken(0.5 * number, 0.5 * number + 0.5, picture, picture))
        boxes.append(Box(left / WIDTH, top / HEIGHT, (left + 144) / WIDTH, (top + 81) / HEIGHT))
    return taken, boxes


@pytest.mark.parametrize(("across", "down"), [(0.0, 0.0), (6.0, 0.0), (4.0, 3.0), (-2.0, 4.0)])
def test_a_film_inside_another_is_found_whether_it_holds_still_or_moves(across: float, down: float) -> None:
    taken, boxes = inside(across, down)
    found = views.parts(taken)
    least = [
        min(overlap(part.at(one.start), box) for one, box in zip(taken, boxes, strict=True)) for part in found
    ]
    assert max(least) > 0.9
    assert len({part.view for part in found}) == len(found) <= views.FOUND + views.SHAPED


def test_what_holds_still_does_not_move() -> None:
    still = [[Box(0.2, 0.2, 0.6, 0.6), Box(0.5, 0.1, 0.9, 0.4)]] * 8
    assert views.moving_box(range(8), still) is None


def test_what_few_frames_propose_does_not_move() -> None:
    on_its_way = [Box(0.1 + step, 0.2, 0.4 + step, 0.5) for step in np.arange(12) * 0.03]
    assert views.moving_box(range(12), [[box] for box in on_its_way]) is not None
    assert (
        views.moving_box(range(12), [[box] if number % 2 else [] for number, box in enumerate(on_its_way)])
        is None
    )
    assert views.moving_box(range(3), [[box] for box in on_its_way[:3]]) is None
    assert views.moving_box([], []) is None


def test_what_is_seen_for_a_while_is_looked_at_while_it_is() -> None:
    known, brief, again = Box(0.0, 0.0, 0.5, 1.0), Box(0.5, 0.5, 0.9, 0.9), Box(0.1, 0.1, 0.4, 0.4)
    proposed = [[known] for _ in range(10)]
    for number in (2, 3, 4):
        proposed[number].append(brief)
    for number in (1, 6, 8):  # never two after each other
        proposed[number].append(again)
    (part,) = views.brief_boxes([2.0 * number for number in range(10)], proposed, [known])
    assert part.brief
    assert (part.since, part.until) == (3.0, 9.0)
    assert overlap(part.box, brief) > 0.99
    assert part.view == views.VIEWS - views.BRIEF
    assert views.brief_boxes([], [], []) == []


def test_a_film_that_is_inside_a_long_one_for_a_while_is_found() -> None:
    taken, boxes = inside(0.0, 0.0)
    rest = [noise(300 + number, WIDTH, HEIGHT) for number in range(48)]
    pictures = [*rest[:20], *(one.picture for one in taken), *rest[20:]]
    long = [Taken(float(at), at + 1.0, picture, picture) for at, picture in enumerate(pictures)]
    brief = [part for part in views.parts(long) if part.brief]
    assert len({part.view for part in brief}) == len(brief) <= views.BRIEF
    found = max(brief, key=lambda part: overlap(part.box, boxes[0]))
    assert overlap(found.box, boxes[0]) > 0.9
    assert found.since == pytest.approx(20.0, abs=3.0)
    assert found.until == pytest.approx(32.0, abs=3.0)


def test_of_a_part_that_leaves_the_picture_what_is_left_is_told() -> None:
    part = Part(1, Box(0.5, 0.2, 0.9, 0.6), across=0.1, down=-0.1)
    assert part.at(0.0) == Box(0.5, 0.2, 0.9, 0.6)
    left = part.at(3.0)
    assert (left.left, left.top, left.right, left.bottom) == pytest.approx((0.8, 0.0, 1.0, 0.3))
