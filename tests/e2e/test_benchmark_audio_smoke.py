"""The benchmark of sound runs on made-up tracks, and what must be found is found."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from benchmarks.quality import audio_crowd, audio_media, audio_peers, bench_audio
from benchmarks.quality.audio_attacks import RATE, Place
from benchmarks.quality.audio_media import Plan, Question, Recordings, Track
from benchmarks.quality.audio_peers import Hit, Part
from benchmarks.quality.metrics import Asked
from indexers.audio import chromaprint

ROOT = Path(__file__).parents[2]

FOUND = ("as_it_is", "equalised", "compression", "insertion")


def test_audio_benchmark_smoke(tmp_path: Path) -> None:
    path = tmp_path / "audio.json"
    command = [sys.executable, "-m", "benchmarks.quality.bench_audio", "--smoke"]
    command += ["--only", "copyhound", "--json", str(path)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    results = json.loads(path.read_text(encoding="utf-8"))
    ours = results["systems"]["Copyhound"]
    (one,) = ours["lengths"].values()
    for attack in FOUND:
        assert one["recall_by_attack"][attack] == 1, attack
        assert f"| {attack} | " in printed
    assert one["at"]["action"]["false_alarms"] == one["at"]["action"]["wrong_matches"] == 0
    assert one["place_error"] < 0.2
    assert ours["stored_per_hour"] > 0


def _track(name: str, seconds: float = 40.0) -> Track:
    return Track(name, name.partition("/")[0], (Path(name),), seconds)


def test_an_origin_is_registered_or_strange_as_a_whole() -> None:
    tracks = [_track(f"{origin}/{number}.ogg") for origin in "abcdef" for number in range(5)]
    sides = audio_media.split(tracks, 10, 10, random.Random(3))
    registered, strange = ({track.origin for track in side} for side in (sides.registered, sides.strange))
    assert len(sides.registered) == len(sides.strange) == 10
    assert registered
    assert strange
    assert not registered & strange


def test_larger_catalogues_are_made_up_of_what_nothing_is_asked_about() -> None:
    tracks = [_track(f"{origin}/{number}.ogg") for origin in "abcdef" for number in range(5)]
    sides = audio_media.split(tracks, 10, 10, random.Random(3), 10)
    origins = [{track.origin for track in side} for side in (sides.registered, sides.strange, sides.crowd)]
    assert list(map(len, origins)) == [2, 2, 2]
    assert len(set.union(*origins)) == 6


def test_a_track_is_found_among_made_up_works(tmp_path: Path) -> None:
    known, other = audio_media.made_up(2, 20.0)
    query = tmp_path / "query.wav"
    audio_media.write_wav(query, known.sound()[:, 4 * RATE : 14 * RATE])
    plan = Plan({known.name: known.file(tmp_path)}, {}, {}, [], [], [other.file(tmp_path)])
    alone, among = audio_crowd.grown(plan, [query], [4], tmp_path / "index")
    assert (alone.works, among.works) == (1, 4)
    assert among.rows > alone.rows > 0
    for grown in (alone, among):
        best, *others = grown.found[0]
        assert best.track == known.name
        assert best.score > 0.9
        assert best.parts[0].work == pytest.approx(4, abs=0.5)
        assert all(hit.score < 0.5 for hit in others)
        assert grown.cpu_seconds > 0


def test_short_files_are_joined_to_tracks(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    for number in range(5):
        noise = generator.standard_normal((2, 20 * RATE)).astype(np.float32) * np.float32(0.1)
        audio_media.write_wav(tmp_path / f"{number}.wav", noise)
    (tmp_path / "same.wav").write_bytes((tmp_path / "0.wav").read_bytes())
    (track,) = audio_media.load([tmp_path])
    assert (track.origin, len(track.paths)) == (tmp_path.name, 3)
    assert track.seconds == pytest.approx(60.0)
    assert track.sound().shape == (2, 60 * RATE)


def test_one_recording_is_told_from_another() -> None:
    one, other = (audio_media.made_up(2, 30.0)[number].sound()[0, ::2] for number in range(2))
    recordings = Recordings()
    recordings.add("one", chromaprint.codes(one))
    assert recordings.same("cut", chromaprint.codes(one[3000:] * np.float32(0.5))) == [("cut", "one")]
    assert recordings.same("other", chromaprint.codes(other)) == []


def _question(target: str | None, attack: str = "", reference: str | None = None) -> Question:
    places = (Place((1.0, 9.0), 30.0, 1.1),)
    return Question(Asked("q", target, attack), 10, Path("q.wav"), places, reference)


def test_what_olaf_prints_is_read() -> None:
    hit = audio_peers.olaf_hit("189, 0.09, 9.60, a game/one, two.ogg, 2793496711, 5.09, 14.60")
    assert (hit.track, hit.score) == ("a game/one, two.ogg", 189)
    (part,) = hit.parts
    assert (part.query, part.work) == ((0.09, 9.6), 5.09)
    assert part.speed == pytest.approx(1.0)


def test_recall_counts_what_scores_above_every_strange_excerpt() -> None:
    part = Part((2.0, 9.0), 31.2, 1.1)
    questions = [
        _question("A", "mp3", "A/fast"),
        _question("B", "noise", "B"),
        _question(None),
    ]
    found = [[Hit("A/fast", 0.9, (part,)), Hit("A", 0.8), Hit("B", 0.7)], [Hit("A", 0.4)], [Hit("B", 0.6)]]
    pieces = {"A": "A", "A/fast": "A", "B": "B"}
    one = bench_audio.at_length(questions, found, pieces, {"review": 0.5}, (6.0, 3.0))
    assert (one.top_1, one.recall, one.threshold, one.wrong_tracks) == (0.5, 0.5, 0.6, 1)
    assert one.recall_by_attack == {"mp3": 1.0, "noise": 0.0}
    assert (one.at["review"].false_alarms, one.at["review"].wrong_matches) == (1, 2)
    assert one.place_error == pytest.approx(0.1)
    assert one.start_error == pytest.approx(1.0)
    assert (one.cpu_seconds, one.cpu_of_fpcalc) == (2.0, 2.0)


def _results(length: int, seed: int = 7) -> dict[str, object]:
    about = {
        "seed": seed,
        "references": 2,
        "origins": {"a": 2},
        "strange_tracks": 1,
        "strange_origins": {"b": 1},
    }
    about |= {"lengths": [length], "copies": 3, "strange_queries": 4}
    return {
        "about": about,
        "systems": {"Copyhound": {"stored_per_hour": 5.0, "lengths": {str(length): length}}},
    }


def test_results_for_several_lengths_are_put_together() -> None:
    merged = bench_audio.merged([_results(20), _results(5)])
    assert merged["about"]["lengths"] == [5, 20]
    assert (merged["about"]["copies"], merged["about"]["strange_queries"]) == (6, 8)
    assert merged["systems"]["Copyhound"] == {"stored_per_hour": 5.0, "lengths": {"5": 5, "20": 20}}
    with pytest.raises(ValueError, match="share a length"):
        bench_audio.merged([_results(5), _results(5)])
    with pytest.raises(ValueError, match="different tracks"):
        bench_audio.merged([_results(5), _results(10, seed=8)])


def test_what_cannot_be_heard_after_an_attack_is_drawn_again(tmp_path: Path) -> None:
    (other,) = audio_media.made_up(2, 40.0)[1:]
    sound = other.sound()[:, : 40 * RATE].copy()
    for second in range(0, 40, 8):
        sound[:, second * RATE : (second + 5) * RATE] = 0.0
    track = Track("a/paused", "a", (), 40.0, lambda: sound)
    amounts = audio_media.Amounts((20,), 6, 0, ("loop_3",))
    plan = audio_media.make(audio_media.Sides([track], [other]), [other], amounts, 3, tmp_path)
    assert len(plan.questions) == 6
    for question in plan.questions:
        _, samples = wavfile.read(question.path)
        assert np.sqrt(np.mean(np.square(samples / 32768.0))) > 0.002
