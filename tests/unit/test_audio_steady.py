"""Single peaks that say where a copy lies that is as fast and as high, where hardly a triple is left."""

import numpy as np
import pytest

from indexers.audio import coincide
from indexers.audio.peaks import Constellation
from indexers.audio.steady import Bands
from indexers.audio.triples import Table, fullest


def scattered(seed: int, seconds: float, each_second: float) -> Constellation:
    """Peaks anywhere, in the order of time."""
    rng = np.random.default_rng(seed)
    count = int(seconds * each_second)
    return Constellation(np.sort(rng.uniform(0, seconds, count)), rng.uniform(0, 5700, count))


def copied(
    work: Constellation,
    start: float,
    share: float,
    seconds: float = 10.0,
    spread: tuple[float, float] = (0.006, 3),
) -> Constellation:
    """A share of the peaks of some seconds of a work, a little elsewhere, among many of other sound."""
    rng = np.random.default_rng(7)
    part = work.between(start, start + seconds)
    kept = rng.random(len(part)) < share
    added = scattered(8, seconds, 45.0)
    times = np.concatenate([part.times[kept] - start + rng.normal(0, spread[0], kept.sum()), added.times])
    cents = np.concatenate([part.cents[kept] + rng.normal(0, spread[1], kept.sum()), added.cents])
    order = np.argsort(times)
    return Constellation(times[order], cents[order])


@pytest.mark.parametrize("start", [0.0, 31.4, 110.0])
def test_a_copy_of_which_hardly_a_triple_is_left_is_found_where_it_is(start: float) -> None:
    work = scattered(1, 120.0, 15.0)
    query = copied(work, start, 0.25)
    assert fullest(Table(query).pairs(work)) == []
    asked = coincide.Asked(query)
    assert asked.lies_in(work)
    assert asked.coincides(work)
    (one,) = asked.align(work)
    assert one.speed == pytest.approx(1, abs=0.003)
    assert one.work[0] - one.query[0] == pytest.approx(start, abs=0.05)
    assert abs(one.cents) < 4


def test_where_a_tenth_is_left_it_counts_how_closely_peaks_coincide() -> None:
    work = scattered(1, 120.0, 15.0)
    (one,) = coincide.Asked(copied(work, 31.4, 0.13, 20.0, (0.005, 3))).align(work)
    assert one.work[0] - one.query[0] == pytest.approx(31.4, abs=0.02)
    assert one.evidence > 20
    loosely = copied(work, 31.4, 0.13, 20.0, (0.025, 15))
    assert coincide.Asked(loosely).align(work) == []


def test_places_are_told_surest_first() -> None:
    work = scattered(1, 120.0, 15.0)
    query = copied(work, 20.0, 0.6)
    (place,) = Bands(query).offsets(work).places()
    assert place == pytest.approx(20, abs=0.04)
    twice = Constellation(np.concatenate([work.times, work.times + 200]), np.tile(work.cents, 2))
    assert sorted(Bands(query).offsets(twice).places()) == pytest.approx([20, 220], abs=0.04)


def test_what_is_explained_proposes_nothing_more() -> None:
    work = scattered(1, 120.0, 15.0)
    offsets = Bands(copied(work, 20.0, 0.6)).offsets(work)
    rest = offsets.of(np.abs(offsets.place - 20) > 0.1)
    assert 0 < len(rest.place) < len(offsets.place)
    assert rest.places() == []


@pytest.mark.parametrize("seed", range(2, 8))
def test_other_peaks_lie_nowhere(seed: int) -> None:
    query = scattered(seed, 10.0, 45.0)
    assert Bands(query).offsets(scattered(1, 120.0, 15.0)).places() == []


def test_without_peaks_there_is_no_place() -> None:
    none = Constellation(np.zeros(0), np.zeros(0))
    some = scattered(1, 10.0, 15.0)
    assert Bands(none).offsets(some).places() == []
    assert Bands(some).offsets(none).places() == []
    assert Bands(some).offsets(Constellation(np.array([1.0]), np.array([9000.0]))).places() == []
