"""Search of float descriptors in the service's index, against bare FAISS Flat in the same process.

    python -m benchmarks.speed.bench_search_float --count 50000 --count 150000
    python -m benchmarks.speed.bench_search_float --count 1000000 --json float.json    # minutes, 5 GB
    python -m benchmarks.speed.bench_search_float --smoke                              # seconds

The descriptors are synthetic, 256 numbers of length 1, in clusters of 300 on average, some much larger, that
overlap: within a cluster they spread over 96 directions as much as the clusters themselves do, which makes
neighbours harder to find than among real pictures. Half of the queries are planted, a registered descriptor
with noise that moves it by 0.15 to 0.25; half are new ones of the same clusters, whose ten nearest are no
copies. Exact neighbours are FAISS Flat's. What is compared is CPU time of one thread, in rounds that
alternate.

The exit status is 1 if a target is missed (without --smoke: the sizes are too small to tell).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before faiss is loaded

import faiss
import numpy as np
import numpy.typing as npt

from benchmarks.speed.bench_search import compare, conclude
from indexers.fingerprint import Metric, Scheme, SpanUnit
from indexers.index import Hits, snapshot
from indexers.index.live import Change, LiveIndex
from indexers.index.snapshot import Snapshot

SCHEME = Scheme("benchmark.floats", 1, 256, Metric.COSINE, SpanUnit.FRAME)
NEAREST = 10
RADIUS = 0.5
PAGE = 800
"""Most hits asked for, as the service does."""
_DIRECTIONS = 96
_BLOCK = 50_000
_ROUNDS = 3

Floats = npt.NDArray[np.float32]


def unit(rows: Floats) -> Floats:
    """The rows at length 1."""
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def sampler(count: int) -> Callable[[int, np.random.Generator], Floats]:
    """What draws descriptors of the clusters that `count` descriptors have."""
    rng = np.random.default_rng(30)
    scale = (1 / np.sqrt(1 + np.arange(_DIRECTIONS))).astype(np.float32)
    plane = scale[:, None] * rng.normal(size=(_DIRECTIONS, 256)).astype(np.float32) / 16
    centres = rng.normal(size=(max(1, count // 300), _DIRECTIONS)).astype(np.float32)

    def sample(number: int, rng: np.random.Generator) -> Floats:
        chosen = (len(centres) * rng.random(number) ** 2).astype(np.int64)
        inner = centres[chosen] + rng.normal(size=(number, _DIRECTIONS)).astype(np.float32)
        return unit(inner @ plane + 0.02 * rng.normal(size=(number, 256)).astype(np.float32))

    return sample


def plant(folder: Path, count: int, query_count: int) -> None:
    """Write a snapshot of `count` descriptors, queries, and the ids that the planted half was made from."""
    rng = np.random.default_rng(31)
    sample = sampler(count)
    rows = np.concatenate([sample(min(_BLOCK, count - at), rng) for at in range(0, count, _BLOCK)])
    ids = np.arange(count, dtype=np.int64) * 3
    (folder / "index").mkdir()
    snapshot.write(folder / "index", SCHEME, Snapshot(1, ids, rows), source="")
    sources = rng.integers(0, count, query_count // 2)
    noise = rng.normal(size=(len(sources), 256)).astype(np.float32)
    noise *= rng.uniform(0.62, 0.88, (len(sources), 1)).astype(np.float32) / 16
    np.savez(
        folder / "queries.npz",
        planted=unit(rows[sources] + noise),
        sources=ids[sources],
        new=sample(query_count // 2, rng),
        added=sample(max(1, count // 100), rng),
    )


def memory() -> dict[str, int]:
    """Bytes of this process: its own, those of files that are mapped, and the most of both."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    names = {"own": "RssAnon", "of_files": "RssFile", "peak": "VmHWM"}
    return {name: int(fields[field].split()[0]) * 1024 for name, field in names.items()}


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Run it; return its result and how long it took."""
    start, start_cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - start_cpu,
    }


def recall(hits: Hits, exact: npt.NDArray[np.int64]) -> float:
    """Part of the exact neighbours, (queries, neighbours), that is found."""
    found = [len(np.intersect1d(hits.of(number)[0], true)) for number, true in enumerate(exact)]
    return sum(found) / exact.size


def bare(folder: Path) -> faiss.IndexFlatIP:
    """The peer, with what the snapshot holds."""
    flat = faiss.IndexFlatIP(256)
    flat.add(snapshot.read(snapshot.snapshots(folder / "index")[0], SCHEME, source="").descriptors[:])
    return flat


def measure(folder: Path, lists_from: int) -> dict[str, Any]:
    """Load what `plant` wrote, in a process that has done nothing else, and search it."""
    before = memory()

    def load() -> LiveIndex:
        return LiveIndex.open(SCHEME, folder / "index", float_approximate_from=lists_from)

    index, start = timed(load)
    after = memory()
    count = len(index)
    result: dict[str, Any] = {
        "count": count,
        "inverted": count >= lists_from,
        "start": start,
        "own_bytes_per_descriptor": (after["own"] - before["own"]) / count,
        "mapped_bytes_per_descriptor": (after["of_files"] - before["of_files"]) / count,
        "peak_bytes_per_descriptor": (after["peak"] - before["peak"]) / count,
        "bytes_per_descriptor_by_stats": index.stats().resident_bytes / count,
    }
    queries = np.load(folder / "queries.npz")
    planted, new = queries["planted"], queries["new"]
    every = np.concatenate([planted, new])
    flat = bare(folder)
    for name, some in (("planted", planted), ("new", new)):
        exact = 3 * flat.search(some, NEAREST)[1]
        result[f"recall_{name}"] = recall(index.search(some, radius=2.0, limit=NEAREST), exact)
    sources = index.search(planted, radius=RADIUS, limit=1)
    result["sources_found"] = recall(sources, queries["sources"][:, None])

    def ours(limit: int) -> Callable[[Floats], object]:
        return lambda some: index.search(some, radius=RADIUS, limit=limit)

    def theirs(limit: int) -> Callable[[Floats], object]:
        return lambda some: flat.search(some, limit)

    result["folded"] = [
        {"limit": limit, **compare(ours(limit), theirs(limit), every, batch, _ROUNDS)}
        for limit, batch in ((NEAREST, 1), (NEAREST, 8), (PAGE, 1))
    ]
    result["mapped_bytes_per_descriptor_after_searches"] = (memory()["of_files"] - before["of_files"]) / count
    added = queries["added"]
    index.apply([Change(2, np.arange(len(added)) * 3 + 1, added)])
    index.apply([Change(3, np.arange(0, count, 1000) * 3, None)])
    result["unfolded"] = {
        "delta": index.stats().delta,
        "tombstones": index.stats().tombstones,
        "limit": NEAREST,
        **compare(ours(NEAREST), theirs(NEAREST), every, 1, _ROUNDS),
    }
    result["fold"] = timed(index.fold)[1]
    return result


def build(folder: Path, lists_from: int) -> dict[str, float]:
    """Start without lists, which trains and keeps them: what the fold takes that first makes some."""
    return timed(lambda: LiveIndex.open(SCHEME, folder / "index", float_approximate_from=lists_from))[1]


def run(count: int, queries: int, lists_from: int) -> dict[str, Any]:
    """Plant in this process, build in a second, measure in a third."""
    with tempfile.TemporaryDirectory() as name:
        plant(Path(name), count, queries)
        program = [sys.executable, "-m", "benchmarks.speed.bench_search_float"]
        answers = [
            subprocess.run(
                [*program, step, name, str(lists_from)], check=True, stdout=subprocess.PIPE, text=True
            )
            for step in ("--build", "--measure")
        ]
    built, measured = (json.loads(answer.stdout) for answer in answers)
    return {**measured, "build": built}


def targets(result: dict[str, Any]) -> dict[str, bool]:
    """What must hold of a result."""
    ratio = max(one["ratio"] for one in result["folded"] if one["limit"] == NEAREST)
    if not result["inverted"]:
        recalls = result["recall_planted"], result["recall_new"], result["sources_found"]
        return {"recall = 1": min(recalls) == 1, "CPU ≤ 1.3 of Flat": ratio <= 1.3}
    part = 8 if result["count"] >= 150_000 else 5
    return {
        "recall of the ten nearest ≥ .98": min(result["recall_planted"], result["recall_new"]) >= 0.98,
        "sources found ≥ .995": result["sources_found"] >= 0.995,
        f"CPU ≤ 1/{part} of Flat": ratio <= 1 / part,
        "≤ 320 bytes a descriptor": result["bytes_per_descriptor_by_stats"] <= 320,
    }


def table(result: dict[str, Any]) -> str:
    """A result for people."""
    kind = "inverted lists" if result["inverted"] else "all compared"
    lines = [f"{result['count']:,} descriptors, {kind}", ""]
    for name, part in [("folded", one) for one in result["folded"]] + [("unfolded", result["unfolded"])]:
        lines.append(
            f"  {name:9} {part['queries_per_call']} a call, limit {part['limit']:3}  live"
            f" {part['live_ms']:7.3f} ms  FAISS Flat {part['flat_ms']:7.3f} ms  ratio {part['ratio']:.3f}"
        )
    recalls = [result[name] for name in ("recall_planted", "recall_new", "sources_found")]
    lines.append("  recall    planted {:.4f}, new {:.4f}, sources {:.4f}".format(*recalls))
    times = [(name, result[name]) for name in ("build", "start", "fold")]
    lines += [f"  {name:9} {one['seconds']:.2f} s, of CPU {one['cpu_seconds']:.2f} s" for name, one in times]
    kinds = ("own", "peak", "mapped")
    of_one = [result[f"{kind}_bytes_per_descriptor"] for kind in kinds]
    lines += [
        "  bytes     {:.0f} a descriptor, at the start up to {:.0f}, of the file {:.0f}".format(*of_one),
        f"  by count  {result['bytes_per_descriptor_by_stats']:.0f} bytes a descriptor",
        *(f"  {'met' if met else 'MISSED':9} {name}" for name, met in targets(result).items()),
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--count", type=int, action="append", help="descriptors; may be repeated")
    parser.add_argument("--smoke", action="store_true", help="small sizes, seconds")
    parser.add_argument("--json", type=Path, help="where to write the results")
    for step in ("--build", "--measure"):
        parser.add_argument(step, nargs=2, metavar=("FOLDER", "FROM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    for arguments, work in ((options.build, build), (options.measure, measure)):
        if arguments:
            print(json.dumps(work(Path(arguments[0]), int(arguments[1]))))
            return 0
    if options.smoke:
        results = [run(4000, 64, 5000), run(20_000, 64, 5000)]
    else:
        counts = options.count or [50_000, 150_000]
        results = [run(min(counts), 128, min(counts) + 1)]
        results += [run(count, min(128, 64_000_000 // count), 50_000) for count in counts]
    return conclude(results, table, targets, options)


if __name__ == "__main__":
    raise SystemExit(main())
