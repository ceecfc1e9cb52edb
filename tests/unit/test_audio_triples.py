"""Triples of peaks: found by a table as by comparing all with all, and what many of them agree on."""

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest

from indexers.audio import triples
from indexers.audio.peaks import Constellation
from indexers.audio.triples import FASTEST, MOST_CENTS, SLOWEST, Pairs, Table, fullest


def constellation(seed: int, count: int) -> Constellation:
    """Peaks at random times and pitches, 20 in a second."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, count / 20, count)).round(3)
    return Constellation(times, rng.integers(0, 5700, count).astype(np.float64))


def without_table(peaks: Constellation, fan: int) -> list[tuple[int, float, float, float, int]]:
    """Of each triple the first peak, both intervals, the ratio of times in steps, and ms in all."""
    at = np.rint(peaks.times * 1000).astype(int).tolist()
    cents = peaks.cents.tolist()
    found = []
    for first in range(len(at)):
        after = [
            other
            for other in range(first + 1, min(len(at), first + 3 * fan + 1))
            if 60 <= at[other] - at[first] <= 2000 and abs(cents[other] - cents[first]) <= 1400
        ]
        for second, third in itertools.combinations(after[:fan], 2):
            near, span = at[second] - at[first], at[third] - at[first]
            steps = [(cents[other] - cents[first] + 1400) / 30 for other in (second, third)]
            found.append((first, *steps, 24 * near / span, span))
    return found


def alike(asked: float, known: float) -> bool:
    """Whether a measure lies in the step of another one, or in the one that this is nearer to."""
    step = math.floor(asked)
    return math.floor(known) in (step, step + 1 if asked - step >= 0.5 else step - 1)


def test_a_table_finds_what_comparing_all_with_all_finds() -> None:
    query = constellation(1, 50)
    work = Constellation((query.times * 1.07).round(3), query.cents - 90)  # some lie across borders
    expected = set()
    mine, theirs = without_table(query, 7), without_table(work, 4)
    for (asked, *a, ratio, span), (known, *b, other, length) in itertools.product(mine, theirs):
        cents = float(query.cents[asked] - work.cents[known])
        if not SLOWEST < length / span < FASTEST or abs(cents) > MOST_CENTS:
            continue
        if all(map(alike, (*a, ratio), (*b, other))):
            expected.add((query.times[asked], work.times[known], round(math.log(length / span), 9), cents))
    pairs = Table(query).pairs(work)
    found = set(zip(pairs.query, pairs.work, pairs.speed.round(9), pairs.cents, strict=True))
    assert found == expected
    assert len(found) > 60


def test_nothing_is_found_of_nothing() -> None:
    nothing = Constellation(np.zeros(0), np.zeros(0))
    some = constellation(3, 40)
    for query, work in ((nothing, some), (some, nothing), (nothing, nothing)):
        pairs = Table(query).pairs(work)
        assert len(pairs) == 0
        assert fullest(pairs) == []


def test_the_triples_of_a_copy_agree_about_speed_place_and_pitch() -> None:
    work = constellation(4, 600)
    part = work.between(10.0, 18.0)
    query = Constellation(((part.times - 10.0) / 1.1).round(3), part.cents + 160)
    (speed, place, cents), *_ = fullest(Table(query).pairs(work))
    assert speed == pytest.approx(1.1, rel=0.04)
    assert place == pytest.approx(10.0, abs=0.4)
    assert cents == pytest.approx(160, abs=30)


def planted(seed: int) -> tuple[Pairs, npt.NDArray[np.bool_]]:
    """Pairs at random, and ten that agree: which these are."""
    rng = np.random.default_rng(seed)
    query, work = rng.uniform(0, 10, 200), rng.uniform(0, 200, 200)
    speed, cents = rng.uniform(-0.2, 0.2, 200), rng.uniform(-250, 250, 200)
    slope, begin = rng.uniform(-0.15, 0.15), rng.uniform(0, 180)
    speed[:10] = slope + rng.uniform(-0.02, 0.02, 10)
    work[:10] = begin + math.exp(slope) * query[:10] + rng.uniform(-0.05, 0.05, 10)
    cents[:10] = rng.uniform(-200, 200) + rng.uniform(-5, 5, 10)
    return Pairs(query, work, speed, cents), np.arange(200) < 10


@pytest.mark.parametrize("seed", range(5))
def test_pairs_that_agree_are_never_left_out_of_the_count(seed: int) -> None:
    pairs, agreeing = planted(seed)
    middle = float(pairs.query.min() + pairs.query.max()) / 2
    kept = triples._agreeing(pairs, middle)
    assert kept[agreeing].all()
    assert kept.sum() < 60
    (speed, place, cents), *_ = fullest(pairs)
    there = place + speed * pairs.query[agreeing]
    assert np.abs(there - pairs.work[agreeing]).max() < 1.0
    assert cents == pytest.approx(pairs.cents[agreeing].mean(), abs=40)
