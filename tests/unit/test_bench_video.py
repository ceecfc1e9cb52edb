"""Attacks on films say where what they show is from, peers find it, and answers are judged rightly."""

import json
import random
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import bench_video, video_growth, video_media, video_peers
from benchmarks.quality.audio_peers import Hit
from benchmarks.quality.audio_peers import Part as Named
from benchmarks.quality.video_attacks import ATTACKS, RATE, Clip, Hand, Part
from benchmarks.quality.video_media import Amounts, Film, Plan, Question
from indexers.video.frames import FRAMES

SECONDS = 4.0


def _clip(film: str, seconds: float, height: int = 54) -> Clip:
    """A row of pictures whose first pixel says which it is."""
    pictures = [np.full((height, 96, 3), number, np.uint8) for number in range(round(seconds * RATE))]
    return Clip(pictures, None, film, 10.0)


@pytest.mark.parametrize("name", list(ATTACKS))
def test_an_attack_says_where_what_it_shows_is_from(name: str) -> None:
    hand = Hand(random.Random(2), lambda n: _clip("other", n, 70), lambda n: _clip("work", n, 60))
    made = ATTACKS[name].alter(_clip("film", SECONDS), hand)
    shapes = {picture.shape for picture in made.clip.pictures}
    assert len(shapes) == 1
    assert {picture.dtype for picture in made.clip.pictures} == {np.dtype(np.uint8)}
    assert "film" in {part.film for part in made.parts} <= {"film", "work"}
    for part in made.parts:
        assert 0 <= part.query[0] < part.query[1] <= made.clip.seconds + 1e-6
        assert 10.0 - 1e-6 <= part.work[0] < part.work[1] <= 10.0 + max(SECONDS, 9.0) + 1e-6


@pytest.mark.parametrize("name", ["excerpt", "faster", "slower", "reversed", "speed_ramp"])
def test_pictures_are_where_the_parts_say(name: str) -> None:
    hand = Hand(random.Random(2), lambda n: _clip("other", n), lambda n: _clip("work", n))
    made = ATTACKS[name].alter(_clip("film", SECONDS), hand)
    for part in made.parts:
        first = int(made.clip.pictures[round(part.query[0] * RATE)][0, 0, 0]) / RATE
        ends = sorted((first, int(made.clip.pictures[round(part.query[1] * RATE) - 1][0, 0, 0]) / RATE))
        assert ends == pytest.approx([part.work[0] - 10.0, part.work[1] - 10.0], abs=0.25)


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Film]:
    return video_media.made_up(3, 6.0, tmp_path_factory.mktemp("films"))


@pytest.mark.parametrize("name", ["vpdq", "hough", "videohash"])
def test_peers_find_what_is_unchanged(name: str, films: list[Film]) -> None:
    matcher = video_peers.PROGRAMS[name]()
    assert matcher.register({film.name: film.path for film in films[:2]}) > 0
    found, _ = matcher.ask([film.path for film in films])
    for film, hits in zip(films[:2], found, strict=False):
        assert hits[0].track == film.name
    if name != "videohash":
        assert found[0][0].parts[0].work == pytest.approx(0.0, abs=1.0)
    for rule in bench_video.rules(matcher.name).values():
        assert found[0][0].score >= rule
        assert all(hit.score < rule for hit in found[2])
    assert matcher.size().stored > 0


def test_queries_are_made_once_and_origins_stay_apart(films: list[Film], tmp_path: Path) -> None:
    amounts = Amounts(2, 1, 0, 1, ("excerpt", "joined"))
    sides = video_media.split(films, amounts, random.Random(1))
    assert not {one.origin for one in sides.registered} & {one.origin for one in sides.strange}
    plan = video_media.make(sides, amounts, 1, tmp_path)
    again = video_media.make(sides, amounts, 1, tmp_path)
    assert plan == again
    copies = [question for question in plan.questions if question.parts]
    assert [question.attack for question in copies] == ["excerpt", "joined"]
    assert len(copies[1].asked) == len({part.film for part in copies[1].parts})
    assert [one.target for question in plan.questions[2:] for one in question.asked] == [None]


def test_files_of_one_film_count_once(films: list[Film], tmp_path: Path) -> None:
    path = tmp_path / "again.mp4"
    pictures = [picture[:, ::-1] for _, picture in video_media.sampled(films[0].path, 1 / RATE, 160)]
    video_media.write(path, Clip(pictures[: 4 * RATE], None, "", 0.0), 30)
    again = Film("other/again", "other", path, 4.0)
    apart, same = video_media.apart([again, *films], tmp_path)
    assert same == [[films[0].name, again.name]]
    assert sorted(film.name for film in apart) == sorted(film.name for film in films)


def test_the_benchmark_runs_on_made_up_films(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "video.json"
    monkeypatch.setattr(
        sys, "argv", ["bench_video", "--smoke", "--only", "vpdq", "hough", "--json", str(path)]
    )
    assert bench_video.main() == 0
    results = json.loads(path.read_text(encoding="utf-8"))
    assert (results["about"]["references"], results["about"]["queries"]) == (2, 3)
    for system in results["systems"].values():
        assert system["recall_by_attack"]["excerpt"] == 1.0
        assert system["places"]["precision"] > 0.8
        assert system["cpu_of_decoding"] > 1
    assert "| excerpt | 1.00 | 1.00 |" in capsys.readouterr().out


def _parts(*spans: tuple[float, float, float, float]) -> list[Part]:
    return [Part("A", (a, b), (c, d)) for a, b, c, d in spans]


def test_stretches_are_compared_in_both_times() -> None:
    true = _parts((0, 10, 20, 30))
    assert bench_video.overlap(_parts((0, 10, 20, 30)), true) == (1.0, 1.0)
    assert bench_video.overlap(_parts((0, 5, 20, 25)), true) == pytest.approx((1.0, 0.25))
    assert bench_video.overlap(_parts((0, 20, 20, 40)), true) == pytest.approx((0.25, 1.0))
    assert bench_video.overlap(_parts((0, 10, 50, 60)), true) == (0.0, 0.0)
    twice = _parts((0, 10, 20, 30), (0, 10, 20, 30))
    assert bench_video.overlap(twice, true) == (1.0, 1.0)
    assert bench_video.overlap([], true) == (0.0, 0.0)


def test_ends_are_compared_with_the_nearest_in_each_time() -> None:
    true = _parts((0, 4, 20, 23), (4, 10, 23, 30))
    assert bench_video.ends_off(_parts((0, 4.2, 20, 23.1), (4.2, 10, 23.1, 30.5)), true) == pytest.approx(
        [0, 0.2, 0, 0, 0.1, 0.5]
    )
    assert bench_video.ends_off(_parts((0, 10, 20, 30)), true) == pytest.approx([0, 4, 0, 0, 3, 0])
    assert bench_video.ends_off([], true) == []


def _question(attack: str, parts: Mapping[str, tuple[float, float]], near: str = "") -> Question:
    made = tuple(Part(film, span, (0.0, span[1] - span[0])) for film, span in parts.items())
    return Question(f"q {attack}", attack, Path("q.mp4"), made, near)


def test_answers_are_judged_by_works() -> None:
    questions = [
        _question("joined", {"A": (0.0, 5.0), "B": (5.0, 9.0)}),
        _question("crop", {"A": (0.0, 8.0)}),
        _question("", {}),
        _question("moment", {}, near="B"),
    ]
    found = [
        [Hit("A", 0.95, (Named((0.0, 5.0), 0.0),), blocks=True), Hit("C", 0.2), Hit("B", 0.6)],
        [],
        [Hit("A", 0.1)],
        [Hit("B", 0.55)],
    ]
    plan = Plan(dict.fromkeys("ABC", Path()), dict.fromkeys("ABC", 60.0), questions)
    one = bench_video.judged("Copyhound", plan, found, (1.0, 2.0), 3.0, uploads={"small": 1.5})
    assert one.ranking.micro_ap == pytest.approx(2 / 3)
    assert one.ranking.recall_at_precision_90 == one.recall_at_precision_99 == pytest.approx(2 / 3)
    assert one.recall_by_attack == {"joined": 1.0, "crop": 0.0}
    assert one.ends_by_attack == {"joined": pytest.approx(0.0)}
    assert one.at["review"].recall == pytest.approx(2 / 3)
    assert (one.at["review"].false_alarms, one.at["action"].queries) == (0, 1)
    assert one.moments == {"review": (1, 1), "action": (0, 0), "blocked": (0, 0)}
    assert one.at["blocked"].recall == pytest.approx(1 / 3)
    assert one.places.recall == pytest.approx(1 / 3)
    assert one.missed == ["q crop: A"]
    assert (one.cpu_of_decoding, one.index_cpu_of_decoding) == (2.0, 1.0)


def test_the_search_finds_a_changed_frame_among_made_up_hours(films: list[Film]) -> None:
    few, more = video_growth.grown([films[0].path], [1, 2])
    assert few.rows * 2 == pytest.approx(more.rows, abs=1)
    assert few.bytes == few.rows * FRAMES.columns
    assert few.recall == more.recall == 1.0


def test_what_a_run_leaves_out_is_carried_over_from_one_of_the_same_queries() -> None:
    about = dict.fromkeys(
        ("references", "origins", "strange_origins", "queries", "copies", "strange_queries", "moments"), 3
    )
    earlier = {"about": {**about, "seed": 1}, "systems": {"ours": 1, "peer": 2}, "growth": [5]}
    results = {"about": {**about, "seed": 1}, "systems": {"ours": 7}, "growth": []}
    together = bench_video.carried(results, earlier)
    assert together["systems"] == {"ours": 7, "peer": 2}
    assert together["about"]["carried"] == ["peer"]
    assert together["growth"] == [5]
    with pytest.raises(ValueError, match="other queries"):
        bench_video.carried(results, {**earlier, "about": {**about, "seed": 2}})
