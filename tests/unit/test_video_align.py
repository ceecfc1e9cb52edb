"""Where films correspond, by codes that are made up: speeds, several stretches, parts of the picture."""

from dataclasses import replace

import numpy as np
import pytest

from indexers.fingerprint import Fingerprint, joined
from indexers.modality import AlignedSegment, Box
from indexers.video import align
from indexers.video.frames import BITS, FRAMES

NOISE = 0.22
"""Part of a copy's bits that differ: a cosine of 0.77."""


def bits(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (count, BITS), np.uint8)


def fingerprint(
    rows: np.ndarray, step: float, *, view: int = 0, box: Box | None = None, quality: float = 0.55
) -> Fingerprint:
    count = len(rows)
    starts = np.arange(count) * step
    region = np.array([box.left, box.top, box.right, box.bottom] if box else [0, 0, 1, 1], np.float32)
    return Fingerprint(
        FRAMES,
        np.packbits(rows, axis=1),
        np.stack([starts, starts + step], axis=1),
        np.full(count, quality, np.float32),
        np.full(count, view, np.uint8),
        np.tile(region, (count, 1)),
    )


def noisy(rows: np.ndarray, seed: int = 9) -> np.ndarray:
    flips = np.random.default_rng(seed).random(rows.shape) < NOISE
    return np.where(flips, 1 - rows, rows).astype(np.uint8)


WORK = bits(1, 300)
REFERENCE = fingerprint(WORK, 1.0)


def query(parts: list[tuple[float, float, float]], step: float = 0.5) -> np.ndarray:
    """Frames of stretches of the work: (start, seconds of the query, speed); a start below 0 is no copy."""
    rows = []
    for number, (start, seconds, speed) in enumerate(parts):
        times = np.arange(0, seconds, step)
        if start < 0:
            rows.append(bits(50 + number, len(times)))
        else:
            rows.append(noisy(WORK[(start + times * speed).astype(int)], number))
    return np.concatenate(rows)


def found(rows: np.ndarray, step: float = 0.5) -> tuple[AlignedSegment, ...]:
    alignment = align.align([fingerprint(rows, step)], [REFERENCE])
    assert alignment is not None
    return alignment.segments


@pytest.mark.parametrize("speed", [0.5, 0.8, 0.96, 1.0, 1.04, 1.25, 1.5, 2.0, -1.0])
def test_a_clip_is_found_at_any_speed(speed: float) -> None:
    start = 100.0 if speed > 0 else 150.0
    (segment,) = found(query([(-1, 6, 1), (start, 20, speed), (-1, 6, 1)]))
    assert segment.speed == pytest.approx(speed, abs=0.03)
    assert segment.query == pytest.approx((6, 26), abs=1.0)
    assert segment.work == pytest.approx(sorted((start, start + 20 * speed)), abs=1.5)


def test_several_clips_are_told_apart() -> None:
    segments = found(query([(40, 8, 1), (-1, 4, 1), (200, 8, 1.25), (10, 8, 1)]))
    assert [round(one.query[0]) for one in segments] == [0, 12, 20]
    assert [one.work[0] for one in segments] == pytest.approx([40, 200, 10], abs=1.2)


def test_a_long_copy_that_runs_a_little_faster_is_one_stretch() -> None:
    (segment,) = found(query([(2, 260, 1.043)], 1.0), 1.0)
    assert segment.query == pytest.approx((0, 260), abs=2)
    assert segment.speed == pytest.approx(1.043, abs=0.004)


def test_strangers_have_nothing_in_common() -> None:
    alignment = align.align([fingerprint(bits(7, 60), 0.5)], [REFERENCE])
    assert alignment is not None
    assert alignment.segments == ()
    assert alignment.signals["frames_evidence"] < align.LEAST
    assert alignment.query_coverage == alignment.work_coverage == 0.0


def test_the_part_of_the_picture_is_told() -> None:
    corner = Box(0.5, 0.5, 1.0, 1.0)
    rows = query([(60, 12, 1)])
    whole = fingerprint(bits(8, len(rows)), 0.5)
    inner = fingerprint(rows, 0.5, view=4, box=corner)
    together = Fingerprint(
        FRAMES,
        *(
            np.concatenate([getattr(whole, name), getattr(inner, name)])
            for name in ("descriptors", "spans", "quality", "views", "regions")
        ),
    )
    alignment = align.align([together], [REFERENCE])
    assert alignment is not None
    (segment,) = alignment.segments
    assert segment.region == corner


def test_a_part_of_which_some_frames_are_described_lasts_until_the_film_ends() -> None:
    box = Box(0.5, 0.5, 0.9, 0.9)
    frames = fingerprint(bits(3, 60), 0.5)
    some = np.arange(1, 60, 3)
    inside = fingerprint(noisy(WORK[(40 + 0.5 * some).astype(int)]), 0.5, view=1, box=box)
    sparse = replace(inside, spans=np.stack([0.5 * some, 0.5 * some + 0.5], axis=1))
    (query,) = joined([frames, sparse])
    alignment = align.align([query], [REFERENCE])
    assert alignment is not None
    (segment,) = alignment.segments
    assert segment.query == pytest.approx((0.0, 30.0))
    assert segment.work[1] == pytest.approx(70.0, abs=0.5)


def test_a_still_scene_has_no_contrast_and_a_moving_one_has() -> None:
    scene = WORK.copy()
    for number in range(100, 160):
        scene[number] = np.where(
            np.random.default_rng(number).random(BITS) < 0.05, 1 - scene[100], scene[100]
        )
    work = fingerprint(scene, 1.0)
    contrasts = []
    for start in (20, 120):
        alignment = align.align([fingerprint(noisy(scene[start : start + 20]), 1.0)], [work])
        assert alignment is not None
        contrasts.append(alignment.signals["frames_contrast"])
    assert contrasts[0] > 0.5
    assert contrasts[1] < 0.1


def test_frames_that_last_are_found_at_any_of_their_seconds() -> None:
    lasting = Fingerprint(
        FRAMES,
        np.packbits(WORK[:6], axis=1),
        np.array([(8.0 * number, 8.0 * number + 8) for number in range(6)]),
        np.full(6, 0.55, np.float32),
        np.zeros(6, np.uint8),
    )
    rows = noisy(np.repeat(WORK[1:5], 8, axis=0)[5:])
    alignment = align.align([fingerprint(rows, 1.0)], [lasting])
    assert alignment is not None
    (segment,) = alignment.segments
    assert segment.speed == pytest.approx(1.0, abs=0.06)
    assert segment.work[0] - segment.query[0] == pytest.approx(13, abs=1.5)


def test_without_a_scheme_in_common_there_is_nothing_to_say() -> None:
    assert align.align([], [REFERENCE]) is None
