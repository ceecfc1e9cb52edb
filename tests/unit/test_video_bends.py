"""Where along a copy the speed changes, on made-up descriptors of films in which something moves."""

from itertools import pairwise

import numpy as np
import pytest

from indexers.fingerprint import Fingerprint
from indexers.video import align
from indexers.video.bends import Path, path
from indexers.video.frames import FRAMES, codes
from indexers.video.lines import Line
from indexers.video.rows import Rows

STEP = 0.5
SECONDS = 40.0
FINE = 20
"""Moments a second that the film is drawn at."""


def film() -> np.ndarray:
    """Descriptors of a film that changes smoothly, `FINE` a second."""
    rng = np.random.default_rng(4)
    knots = rng.normal(size=(int(SECONDS) + 3, 256))
    times = np.arange(0.0, SECONDS, 1 / FINE)
    at = np.stack([np.interp(times, np.arange(len(knots)), column) for column in knots.T], axis=1)
    shown: np.ndarray = (at / np.linalg.norm(at, axis=1, keepdims=True)).astype(np.float32)
    return shown


FILM = film()


def shown(places: np.ndarray) -> Fingerprint:
    """What the film shows at some places, a frame each `STEP`."""
    starts = np.arange(len(places)) * STEP
    return Fingerprint(
        FRAMES,
        codes(FILM[np.rint(places * FINE).astype(int)]),
        np.stack([starts, starts + STEP], axis=1),
        np.full(len(places), 0.55, np.float32),
        np.zeros(len(places), np.uint8),
    )


WORK = shown(np.arange(0.0, SECONDS - 1.0, STEP))


def ramp(*speeds: float) -> np.ndarray:
    """Places of a query from 5 s of the work on, 5 s at each speed."""
    steps = np.repeat(speeds, int(5.0 / STEP)) * STEP
    return 5.0 + np.concatenate([[0.0], np.cumsum(steps)[:-1]])


def followed(places: np.ndarray, line: Line, span: tuple[float, float]) -> Path | None:
    query, work = (Rows.of(one, np.arange(len(one))) for one in (shown(places), WORK))
    return path(line, span, query, work, float(WORK.spans[-1, 1]))


def test_a_change_of_speed_is_told_with_its_place() -> None:
    found = followed(ramp(0.8, 1.25), Line(1.0, 4.8, 0, 5.0), (0.0, 10.0))
    assert found is not None
    assert found.gain > 0.5
    assert found.times == pytest.approx([5.0], abs=0.5)
    assert found.places == pytest.approx([9.0], abs=0.5)
    assert (found.start, found.end) == pytest.approx((5.0, 15.25), abs=0.15)


@pytest.mark.parametrize("speed", [0.8, 0.97, 1.0, 1.25])
def test_what_runs_evenly_gains_nothing_by_changes(speed: float) -> None:
    found = followed(ramp(speed, speed), Line(speed, 5.0, 0, 5.0), (0.0, 10.0))
    assert found is not None
    assert found.gain < 0.05


def test_few_frames_tell_nothing() -> None:
    assert followed(ramp(0.8, 1.25), Line(1.0, 4.8, 0, 1.0), (0.0, 3.0)) is None


def test_a_work_that_is_shorter_at_every_speed_tells_nothing() -> None:
    query, work = (Rows.of(one, np.arange(len(one))) for one in (shown(ramp(1.0, 1.0)), shown(ramp(1.0)[:6])))
    assert path(Line(0.5, 0.0, 0, 5.0), (0.0, 10.0), query, work, 3.0) is None


def test_stretches_of_one_copy_at_several_speeds_join() -> None:
    alignment = align.align([shown(ramp(0.8, 1.25, 1.0))], [WORK])
    assert alignment is not None
    segments = alignment.segments
    assert [one.speed for one in segments] == pytest.approx([0.8, 1.25, 1.0], abs=0.08)
    for before, after in pairwise(segments):
        assert (before.query[1], before.work[1]) == (after.query[0], after.work[0])
    assert segments[0].work[1] == pytest.approx(9.0, abs=0.5)
    assert segments[1].work[1] == pytest.approx(15.25, abs=0.5)
    assert alignment.uncertain
    assert alignment.query_coverage == pytest.approx(1.0, abs=0.05)


def test_an_even_copy_is_certain() -> None:
    alignment = align.align([shown(ramp(1.0, 1.0, 1.0))], [WORK])
    assert alignment is not None
    assert len(alignment.segments) == 1
    assert not alignment.uncertain
