"""The search benchmarks run, and their sizes and ratios are of the right order."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_search_benchmark_smoke(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    command = [sys.executable, "-m", "benchmarks.speed.bench_search", "--smoke", "--json", str(path)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    flat, tables = json.loads(path.read_text(encoding="utf-8"))["results"]
    for result in (flat, tables):
        assert result["recall"] == result["recall_at_radius"] == 1
        assert f"{result['count']:,} codes" in printed
    assert flat["bytes_per_code_by_stats"] <= 48
    assert tables["bytes_per_code_by_stats"] <= 48 + 64 + 16 * 2**18 / tables["count"] + 1
    # A fixed cost of each call weighs heavily on indexes this small.
    assert max(one["ratio"] for one in flat["folded"]) < 10
    assert max(one["ratio"] for one in tables["folded"]) < 20


def test_float_search_benchmark_smoke(tmp_path: Path) -> None:
    path = tmp_path / "search.json"
    command = [sys.executable, "-m", "benchmarks.speed.bench_search_float", "--smoke", "--json", str(path)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    compared, lists = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert (compared["inverted"], lists["inverted"]) == (False, True)
    assert compared["recall_planted"] == compared["recall_new"] == compared["sources_found"] == 1
    assert min(lists["recall_planted"], lists["recall_new"], lists["sources_found"]) > 0.95
    assert lists["bytes_per_descriptor_by_stats"] < 400 < compared["bytes_per_descriptor_by_stats"]
    assert max(one["ratio"] for one in compared["folded"]) < 20  # a fixed cost of each call weighs heavily
    assert max(one["ratio"] for one in lists["folded"]) < 3
    for result in (compared, lists):
        assert f"{result['count']:,} descriptors" in printed
