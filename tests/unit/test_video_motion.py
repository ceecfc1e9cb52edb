"""Another take of a scene is told from a copy by what changes, on made-up descriptors of a still camera."""

import numpy as np
import pytest

from indexers.fingerprint import Fingerprint
from indexers.video import align
from indexers.video.frames import FRAMES, codes, descriptors
from indexers.video.lines import Line, unusual
from indexers.video.motion import Motion, motion
from indexers.video.rows import LIKE, Rows, differing

DIM = 256
STEP = 0.5


def unit(rows: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def take(seed: int, seconds: float = 30.0, *, change: float = 0.4, scene: int = 1) -> np.ndarray:
    """Descriptors of a scene in which something moves at random, but not by jumps: one each `STEP`."""
    ground = unit(np.random.default_rng(scene).normal(size=(1, DIM)))
    rng = np.random.default_rng([seed, scene])
    steps = rng.normal(size=(int(seconds / STEP) + 4, DIM))
    smooth = sum(steps[lag : len(steps) - 4 + lag] for lag in range(3))
    return unit(ground + change * unit(np.asarray(smooth)))


def altered(rows: np.ndarray, seed: int = 5, strength: float = 0.5) -> np.ndarray:
    """The same change in all frames, as a crop or a caption is, and some noise."""
    rng = np.random.default_rng(seed)
    shift = strength * unit(rng.normal(size=(1, DIM)))
    return unit(rows + shift + 0.15 * unit(rng.normal(size=rows.shape)))


def fingerprint(rows: np.ndarray) -> Fingerprint:
    starts = np.arange(len(rows)) * STEP
    return Fingerprint(
        FRAMES,
        codes(rows),
        np.stack([starts, starts + STEP], axis=1),
        np.full(len(rows), 0.55, np.float32),
        np.zeros(len(rows), np.uint8),
    )


def rows_of(descriptors_of_frames: np.ndarray) -> Rows:
    return Rows.of(fingerprint(descriptors_of_frames), np.arange(len(descriptors_of_frames)))


def signals(query: np.ndarray, work: np.ndarray) -> dict[str, float]:
    alignment = align.align([fingerprint(query)], [fingerprint(work)])
    assert alignment is not None
    return dict(alignment.signals)


def test_descriptors_are_estimated_from_their_bits() -> None:
    rows = take(3)
    assert (rows * descriptors(codes(rows))).sum(axis=1).min() > 0.9


@pytest.mark.parametrize("change", [0.2, 0.4, 0.8])
def test_a_copy_moves_as_the_work_does_and_another_take_does_not(change: float) -> None:
    work = take(1, change=change)
    copy = signals(altered(work[12:44]), work)
    other = signals(altered(take(2, change=change)[12:44]), work)
    assert copy["frames_motion"] > 0.25
    assert copy["frames_lead"] > 0.15
    assert abs(other["frames_motion"]) < 0.15
    assert other["frames_lead"] < 0.1


def test_how_much_changes_is_by_how_much_two_frames_differ() -> None:
    found = []
    for change in (0.2, 0.4, 0.8):
        work = take(1, change=change)
        query, estimates = work[12:44], descriptors(codes(work[12:44]))
        expected = np.median(1 - (estimates @ estimates.T)[np.triu_indices(len(estimates), 1)])
        assert signals(query, work)["frames_change"] == pytest.approx(expected, abs=0.02)
        found.append(float(expected))
    assert found[0] < 0.1
    assert found[2] > 0.3


def test_a_frame_of_something_else_does_not_count_as_change() -> None:
    work = take(1, change=0.2)
    line, span = Line(1.0, 0.0, 0, 4.0), (0.0, 8.0)
    alone = motion(line, span, rows_of(work[:16]), rows_of(work), 30.0).change
    shown = np.concatenate([work[:15], take(9)[:1]])
    assert motion(line, span, rows_of(shown), rows_of(work), 30.0).change == pytest.approx(alone, abs=0.02)


def test_how_unusual_a_speed_is_backwards_is_told() -> None:
    work = take(1, change=0.8)
    assert signals(work[12:44], work)["frames_speed"] < 0.02
    assert signals(work[12:44][::-1], work)["frames_speed"] == 1.0
    assert unusual(1.25) == pytest.approx(unusual(0.8)) == pytest.approx(0.223, abs=0.001)


def test_the_place_in_a_still_scene_is_found_by_what_moves() -> None:
    work = take(1, change=0.4)
    alignment = align.align([fingerprint(altered(work[20:44]))], [fingerprint(work)])
    assert alignment is not None
    (segment,) = alignment.segments
    assert segment.speed == pytest.approx(1.0)
    assert segment.work[0] - segment.query[0] == pytest.approx(10.0, abs=0.3)


@pytest.mark.parametrize(("speed", "change"), [(0.75, 0.25), (1.25, 0.25), (1.25, 0.4)])
def test_the_speed_in_a_still_scene_is_found_by_what_moves(speed: float, change: float) -> None:
    work = take(1, 40.0, change=change)
    places = (8.0 + np.arange(0, 16, STEP) * speed) / STEP
    part = (places % 1)[:, np.newaxis]
    shown = unit((1 - part) * work[places.astype(int)] + part * work[places.astype(int) + 1])
    alignment = align.align([fingerprint(altered(shown))], [fingerprint(work)])
    assert alignment is not None
    (segment,) = alignment.segments
    assert segment.speed == pytest.approx(speed, rel=0.05)
    assert segment.work[0] == pytest.approx(8.0, abs=1.0)
    assert alignment.signals["frames_motion"] > 0.25


def test_a_line_beside_the_place_is_moved_to_it() -> None:
    work = take(1)
    found = motion(Line(1.0, 6.0, 0, 6.0), (0.0, 12.0), rows_of(work[10:34]), rows_of(work), 30.0)
    assert found.shift == pytest.approx(-1.0)
    assert found.agreement > 0.6
    assert found.elsewhere < 0.3


def test_a_scene_in_which_nothing_moves_tells_no_place() -> None:
    still = np.repeat(take(1)[:1], 40, axis=0)
    found = motion(Line(1.0, 0.0, 0, 6.0), (0.0, 12.0), rows_of(still[:24]), rows_of(still), 20.0)
    assert found.agreement == found.elsewhere == found.shift == 0.0
    assert found.change == pytest.approx(0.0, abs=1e-6)


def test_few_frames_tell_no_place_and_do_not_deny_one() -> None:
    work = take(1)
    found = motion(Line(1.0, 0.0, 0, 0.5), (0.0, 1.5), rows_of(work[:3]), rows_of(work), 30.0)
    assert found == Motion()


def test_frames_that_look_alike_count_once() -> None:
    first, second = take(1, scene=1)[:1], take(1, scene=2)[:1]
    rows = rows_of(np.concatenate([first, first, first, second, second, first]))
    firsts = differing(rows)
    assert firsts.tolist() == [0, 3, 5]
    assert rows.at(firsts).ends.tolist() == [1.5, 2.5, 3.0]
    assert LIKE < 100


def test_no_frames_differ_from_none() -> None:
    none = Rows.of(fingerprint(take(1)), np.arange(0))
    assert len(none.at(differing(none))) == 0


def test_a_copy_is_told_apart_from_what_looks_like_its_series_on_one_line() -> None:
    work, query = take(3, change=0.8), take(9, change=0.8)
    query[20:32] = altered(work[20:32], strength=0.1)
    alignment = align.align([fingerprint(query)], [fingerprint(work)])
    assert alignment is not None
    assert alignment.signals["frames_motion"] > 0.3
    assert any(
        one.query == pytest.approx((10.0, 16.0), abs=1.1) and one.work == pytest.approx((10.0, 16.0), abs=1.1)
        for one in alignment.segments
    )
