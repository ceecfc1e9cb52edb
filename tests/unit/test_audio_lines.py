import numpy as np
import pytest

from indexers.audio.lines import SLOPES, Hits, lines


def hits(query: list[float], work: list[float], layer: int = 0) -> Hits:
    count = len(query)
    return Hits(np.array(query), np.array(work), np.ones(count), np.full(count, layer, np.int64))


def joined(*some: Hits) -> Hits:
    return Hits(
        np.concatenate([one.query for one in some]),
        np.concatenate([one.work for one in some]),
        np.concatenate([one.weight for one in some]),
        np.concatenate([one.layer for one in some]),
    )


def scattered(count: int, seed: int) -> Hits:
    rng = np.random.default_rng(seed)
    return hits(rng.uniform(0, 10, count).tolist(), rng.uniform(0, 240, count).tolist())


@pytest.mark.parametrize("slope", [0.75, 0.9, 1.0, 1.05, 1.3])
def test_finds_a_line_among_chance_hits(slope: float) -> None:
    query = np.arange(0, 10, 1.0)
    found = lines(joined(hits(query.tolist(), (120 + slope * query).tolist()), scattered(200, 7)), 3)
    assert found[0].slope == pytest.approx(slope, abs=0.06)
    assert found[0].work == pytest.approx(120 + slope * found[0].query, abs=0.6)
    assert found[0].votes >= 6
    assert [line.votes for line in found] == sorted((line.votes for line in found), reverse=True)


def test_layers_do_not_vote_together() -> None:
    query = np.arange(0, 10, 1.0)
    place = (50 + query).tolist()
    found = lines(joined(hits(query[:7].tolist(), place[:7], 2), hits(query[7:].tolist(), place[7:], 5)), 1)
    assert found[0].layer == 2
    assert found[0].votes == 7


def test_finds_two_places() -> None:
    query = np.arange(0, 8, 1.0)
    found = lines(
        joined(
            hits(query.tolist(), (20 + query).tolist()), hits((query + 0.1).tolist(), (90 + query).tolist())
        ),
        8,
    )
    places = [line.work + line.slope * (4 - line.query) for line in found]  # of second 4 of the query
    assert any(abs(place - 24) < 0.6 for place in places)
    assert any(abs(place - 94) < 0.6 for place in places)


def test_hours_apart_is_no_matter() -> None:
    query = np.arange(7000, 7010, 1.0)
    (best,) = lines(hits(query.tolist(), (query - 6000).tolist()), 1)
    assert best.work - best.query == pytest.approx(-6000, abs=0.5)


def test_no_hits_no_lines() -> None:
    assert lines(hits([], []), 3) == []


def test_slopes_hold_the_speed_as_it_is() -> None:
    assert 1.0 in SLOPES
    assert min(SLOPES) < 0.72
    assert max(SLOPES) > 1.4
