"""The speed benchmarks run on little data, count right, and their ratios are of the right order."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def smoke(name: str, folder: Path) -> dict[str, Any]:
    """What a benchmark measures on little data."""
    path = folder / f"{name}.json"
    command = [sys.executable, "-m", f"benchmarks.speed.bench_{name}", "--smoke", "--json", str(path)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["figures"]
    return figures


def test_match(tmp_path: Path) -> None:
    measured = smoke("match", tmp_path)
    assert measured.pop("idle")["ms_a_second"] >= 0
    for figures in measured.values():
        assert 0 < figures["ratio"] < 5  # below 1 where the service is sure before the last stage
        assert figures["of_it_workers_ms"] > 0
        assert min(figures["stages_ms"][stage] for stage in ("decode", "retrieve", "decide")) > 0


def test_register(tmp_path: Path) -> None:
    figures = smoke("register", tmp_path)
    assert figures["pictures"] == figures["registered"] == 24
    assert 0 < figures["ratio"] < 5
    assert figures["cpu_ms_a_picture"]["service_workers"] < 5 * figures["cpu_ms_a_picture"]["pool"]


def test_freshness(tmp_path: Path) -> None:
    figures = smoke("freshness", tmp_path)
    assert 0 < figures["quiet"]["registered"] <= 4  # as many as there is time for
    assert figures["load"]["registered"] > 0
    assert figures["quiet"]["missed_by_first_match"] == figures["load"]["missed_by_first_match"] == 0


def test_film(tmp_path: Path) -> None:
    figures = smoke("film", tmp_path)
    assert 0 < figures["cpu_of_decoding"] < 10
    assert min(figures["peak_mb"].values()) > 0


def test_start(tmp_path: Path) -> None:
    figures = smoke("start", tmp_path)
    assert (figures["works"], figures["descriptors"]) == (500, 1000)
    replayed, loaded = figures["start_by_replay"], figures["start_from_snapshots"]
    assert loaded["parent_cpu_seconds"] < 5 * replayed["parent_cpu_seconds"]
    assert figures["match"]["service_cpu_ms"] < 5 * figures["match_in_an_empty_catalogue"]["service_cpu_ms"]


def test_queue(tmp_path: Path) -> None:
    figures = smoke("queue", tmp_path)
    assert figures["cases"] == 2000
    assert figures["pages"]["first page"]["large_cases"] == 50
    assert figures["pages"]["an absent word"]["large_cases"] == 0
    assert all(one["ratio"] < 20 for one in figures["pages"].values())
