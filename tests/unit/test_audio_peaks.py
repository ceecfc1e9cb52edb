"""Constellations of peaks on synthetic sound: found, the same however it is cut, aligned, and no alarms."""

import numpy as np
import numpy.typing as npt
import pytest
import scipy.signal

from indexers.audio import coincide, peaks
from indexers.audio.decode import RATE
from indexers.audio.peaks import GRAIN, PEAKS, Constellation
from indexers.audio.triples import Table
from indexers.modality import Role

Sound = npt.NDArray[np.float32]


def melody(seed: int, seconds: float) -> Sound:
    """Plucked notes with harmonics, at random times and pitches."""
    rng = np.random.default_rng(seed)
    out = np.zeros(int(seconds * RATE), np.float32)
    for _ in range(int(seconds * 6)):
        start = int(rng.integers(len(out)))
        t = np.arange(min(len(out) - start, RATE)) / RATE
        pitch = 220 * 2 ** (rng.integers(0, 30) / 12)
        for harmonic in range(1, 4):
            wave = np.sin(2 * np.pi * pitch * harmonic * t) * np.exp(-5 * t)
            out[start : start + len(t)] += (rng.uniform(0.05, 0.2) / harmonic * wave).astype(np.float32)
    return out


def coinciding(query: Constellation, work: Constellation) -> list[coincide.Coincidence]:
    return coincide.Asked(query).align(work)


def found(sound: Sound, role: Role = Role.QUERY, pieces: int = 1) -> Constellation:
    cut = np.array_split(sound, pieces)
    return peaks.constellation(cut, GRAIN[role])


@pytest.fixture(scope="module")
def work() -> Sound:
    return melody(1, 60)


@pytest.fixture(scope="module")
def known(work: Sound) -> Constellation:
    return found(work, Role.REFERENCE)


def test_how_the_sound_is_cut_makes_no_difference(work: Sound, known: Constellation) -> None:
    for pieces in (2, 7, 211):
        other = found(work, Role.REFERENCE, pieces)
        assert np.array_equal(other.times, known.times)
        assert np.array_equal(other.cents, known.cents)
    assert (np.diff(known.times) >= 0).all()
    assert 5 * 60 < len(known) < 20 * 60


def test_an_excerpt_is_found_where_it_is(work: Sound, known: Constellation) -> None:
    (segment,) = coinciding(found(work[20 * RATE : 30 * RATE]), known)
    assert segment.speed == pytest.approx(1, abs=0.002)
    assert segment.cents == pytest.approx(0, abs=3)
    assert segment.work[0] - segment.query[0] == pytest.approx(20, abs=0.02)
    assert segment.query[1] - segment.query[0] > 7
    assert segment.evidence > 100


@pytest.mark.parametrize("speed", [0.92, 1.05])
def test_a_faster_or_slower_excerpt_tells_its_speed_and_pitch(
    work: Sound, known: Constellation, speed: float
) -> None:
    part = work[20 * RATE : 32 * RATE]
    played = scipy.signal.resample_poly(part, 100, round(100 * speed)).astype(np.float32)
    segment = coinciding(found(played[: 10 * RATE]), known)[0]
    assert segment.speed == pytest.approx(speed, rel=0.004)
    assert segment.cents == pytest.approx(1200 * np.log2(speed), abs=6)
    assert segment.work[0] - segment.speed * segment.query[0] == pytest.approx(20, abs=0.1)


def test_two_parts_in_one_query_are_two_segments(work: Sound, known: Constellation) -> None:
    query = np.concatenate([work[40 * RATE : 47 * RATE], work[5 * RATE : 12 * RATE]])
    first, second = sorted(coinciding(found(query), known)[:2], key=lambda one: one.query)
    assert first.work[0] - first.query[0] == pytest.approx(40, abs=0.1)
    assert second.work[0] - second.query[0] == pytest.approx(-2, abs=0.1)


def test_other_music_noise_and_tones_are_not_found(known: Constellation) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.2, 10 * RATE).astype(np.float32)
    tone = np.sin(2 * np.pi * 440 * np.arange(10 * RATE) / RATE).astype(np.float32)
    for other in (melody(2, 10), noise, tone, np.zeros(10 * RATE, np.float32)):
        assert coinciding(found(other), known) == []


def test_silence_and_steady_tones_have_hardly_any_peaks() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(10 * RATE) / RATE).astype(np.float32)
    assert len(found(np.zeros(10 * RATE, np.float32))) == 0
    assert len(found(tone)) <= 10
    assert len(found(tone[:100])) == 0
    assert peaks.written(found(np.zeros(RATE, np.float32)), PEAKS) == []


def test_peaks_too_far_apart_for_triples_are_found_nowhere(known: Constellation) -> None:
    few = Constellation(np.array([1.0, 9.0, 17.0, 25.0]), np.array([3000.0, 4000.0, 3500.0, 4200.0]))
    assert len(Table(few).pairs(few)) == 0
    assert coinciding(few, known) == []


def test_peaks_are_written_down_and_read_again(known: Constellation) -> None:
    (fingerprint,) = peaks.written(known, PEAKS)
    assert fingerprint.scheme == PEAKS
    again = peaks.read(fingerprint)
    assert np.array_equal(again.times, known.times)
    assert np.array_equal(again.cents, known.cents)


@pytest.mark.parametrize("role", list(Role))
def test_there_are_no_more_peaks_than_is_said(role: Role) -> None:
    noise = np.random.default_rng(3).normal(0, 0.2, 30 * RATE).astype(np.float32)
    assert 0 < len(found(noise, role)) <= peaks.most(GRAIN[role], 30.0)


def test_a_line_that_others_propose_is_judged(work: Sound, known: Constellation) -> None:
    query = found(work[20 * RATE : 30 * RATE])
    right = coincide.along(query, known, 1.01, 19.9, 10.0)
    assert right is not None
    assert right.evidence > 100
    assert right.work[0] - right.query[0] == pytest.approx(20, abs=0.02)
    wrong = coincide.along(query, known, 1.0, 33.0, 0.0)
    assert wrong is None or wrong.evidence < 20


def quantised(seed: int, seconds: float, spread: tuple[float, float] = (0.004, 3)) -> Constellation:
    """A tune as machines play it: two notes on every beat of one grid, all of one scale."""
    rng = np.random.default_rng(seed)
    beats = np.repeat(np.arange(0, seconds, 0.125), 2)
    times = np.sort(beats + rng.normal(0, spread[0], len(beats)))
    notes = rng.choice([0, 200, 400, 500, 700, 900, 1100], len(beats)) + 1200 * rng.integers(0, 3, len(beats))
    return Constellation(times, notes + rng.normal(0, spread[1], len(beats)))


@pytest.mark.parametrize("spread", [(0.004, 3), (0.0, 0)])
def test_strange_tunes_on_one_grid_of_beats_and_notes_are_no_copies(spread: tuple[float, float]) -> None:
    works = [quantised(100 + number, 20.0, spread) for number in range(8)]
    for number in range(6):
        asked = coincide.Asked(quantised(number, 10.0, spread))
        assert [asked.align(work) for work in works] == [[]] * len(works)


def test_a_stretch_of_a_tune_on_a_grid_is_found() -> None:
    work = quantised(100, 20.0)
    inside = (work.times > 5) & (work.times < 15)
    (found, *_) = coinciding(Constellation(work.times[inside] - 5, work.cents[inside]), work)
    assert found.evidence > 100
    assert found.work[0] == pytest.approx(5, abs=0.2)


def without(sound: Sound, cuts: list[tuple[float, float]]) -> Sound:
    """A sound of which stretches, in seconds, are cut out."""
    kept = np.ones(len(sound), np.bool_)
    for start, end in cuts:
        kept[int(start * RATE) : int(end * RATE)] = False
    return sound[kept]


def test_parts_between_which_some_is_cut_out_are_one_copy(work: Sound, known: Constellation) -> None:
    query = without(work[20 * RATE : 28 * RATE], [(1.8, 2.2), (4.0, 4.5), (6.2, 6.5)])
    noise = np.random.default_rng(5).normal(0, 0.05, len(query)).astype(np.float32)
    parts = sorted(coinciding(found(query + noise), known), key=lambda one: one.query)
    assert len({part.copy for part in parts}) == 1
    places = [part.work[0] - part.query[0] for part in parts]
    assert places == pytest.approx([20, 20.4, 20.9, 21.2], abs=0.1)
    assert sum(part.evidence for part in parts) > 60


def test_what_lies_a_jump_away_from_a_copy_is_no_part_of_it(work: Sound, known: Constellation) -> None:
    query = np.concatenate([work[20 * RATE : 23 * RATE], melody(7, 4)])
    parts = coinciding(found(query), known)
    assert max(part.query[1] for part in parts) < 3.3
