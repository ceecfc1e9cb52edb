"""The quality benchmark runs on the photographs that ship with packages, and what must be found is found."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.quality import metrics
from benchmarks.quality.metrics import Asked, Found

ROOT = Path(__file__).parents[2]

FOUND = (
    *("jpeg_75", "jpeg_30", "webp", "half_size", "quarter_size", "blur", "grey", "saturation", "stretched"),
    *("flip", "flip_vertical", "turn_90", "turn_180", "turn_270", "transpose"),
)


def test_quality_benchmark_smoke(tmp_path: Path) -> None:
    path = tmp_path / "quality.json"
    command = [sys.executable, "-m", "benchmarks.quality.bench_images", "--smoke", "--json", str(path)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    results = json.loads(path.read_text(encoding="utf-8"))
    ours = results["images"]["systems"]["Copyhound"]
    for attack in FOUND:
        assert ours["at"]["review"]["recall_by_attack"][attack] >= 0.9, attack
        assert f"| {attack} | 1.00 |" in printed
    for rule in ("review", "action"):
        assert ours["at"][rule]["false_alarms"] == ours["at"][rule]["wrong_matches"] == 0
    assert results["images"]["false_alarms"] == []
    assert ours["micro_ap"] > results["images"]["systems"]["pHash"]["micro_ap"]
    for rule in ("review", "action"):
        alarms = results["plain"]["alarms"][f"Copyhound {rule}"]
        assert sum(alarms.values()) == 0, alarms


ANSWERS = [
    (Asked("a", "A", "jpeg"), [Found("A", 0.9), Found("B", 0.2)]),
    (Asked("b", "B", "crop"), [Found("A", 0.8)]),
    (Asked("c", "C", "crop"), [Found("C", 0.6)]),
    (Asked("x", None, ""), [Found("A", 0.7)]),
    (Asked("y", None, ""), []),
]


def test_a_ranking_is_measured_over_all_pairs() -> None:
    ranking = metrics.rank(ANSWERS, references=3)
    assert ranking.micro_ap == pytest.approx((1 + 2 / 4) / 3)
    assert ranking.recall_at_precision_90 == pytest.approx(1 / 3)
    assert ranking.recall_at_1_percent_alarms == pytest.approx(1 / 3)
    assert ranking.by_attack_at_1_percent_alarms == {"jpeg": 1.0, "crop": 0.0}


def test_one_false_pair_in_a_million_needs_a_million_pairs() -> None:
    assert metrics.rank(ANSWERS, references=3).recall_at_1_in_a_million == pytest.approx(1 / 3)
    assert metrics.rank(ANSWERS, references=200_000).recall_at_1_in_a_million == pytest.approx(1 / 3)
    assert metrics.rank(ANSWERS, references=400_000).recall_at_1_in_a_million == pytest.approx(2 / 3)


def test_ties_count_as_their_worst() -> None:
    tied = [(Asked("a", "A", "jpeg"), [Found("A", 0.5), Found("B", 0.5)])]
    assert metrics.rank(tied, references=2).micro_ap == pytest.approx(0.5)


def test_a_threshold_counts_copies_found_and_what_alarms_wrongly() -> None:
    counted = metrics.at(ANSWERS, 0.7)
    assert counted.recall == pytest.approx(1 / 3)
    assert counted.recall_by_attack == {"jpeg": 1.0, "crop": 0.0}
    assert (counted.false_alarms, counted.queries, counted.wrong_matches) == (1, 2, 2)
    assert [pair["query"] for pair in metrics.false_alarms(ANSWERS, 0.7)] == ["b", "x"]


def test_reliability_compares_probability_and_truth() -> None:
    scale = metrics.reliability(ANSWERS)
    assert scale.brier == pytest.approx((0.1**2 + 0.2**2 + 0.8**2 + 0.4**2 + 0.7**2) / 5)
    assert scale.calibration_error == pytest.approx((0.1 + 0.2 + 0.8 + 0.4 + 0.7) / 5)
    assert [one.count if one else 0 for one in scale.bins] == [0, 0, 1, 0, 0, 0, 1, 1, 1, 1]


def test_where_nothing_is_found_nothing_is_measured() -> None:
    nothing: metrics.Answers = [(Asked("a", "A", "jpeg"), []), (Asked("x", None, ""), [])]
    assert metrics.rank(nothing, 1) == metrics.Ranking(0.0, 0.0, 0.0, 0.0, {"jpeg": 0.0})
    assert metrics.reliability(nothing).bins == [None] * 10
