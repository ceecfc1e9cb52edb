"""Start of a service with a million works: time, memory, disk, and what a Match costs there.

    python -m benchmarks.speed.bench_start --count 1000000 --json start.json
    python -m benchmarks.speed.bench_start --smoke

The catalogue is planted (`planted`): works with one random 256-bit and one random 64-bit code, written
into the store's tables, without media. The service starts on it twice: without snapshots, when it
replays every change from the database, and with those that it has written. The Match calls ask about a
one-megapixel JPEG; beside them stands what bare FAISS, on the same codes and one thread, needs for the same
sixteen searches (eight views under two schemes).

Random codes lie farther apart than those of pictures: no query has accidental candidates here, while about
50 of a million real pictures come near enough to be verified.
"""

import io
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np

import copyhound
from benchmarks.speed import harness
from benchmarks.speed.harness import Service
from benchmarks.speed.media import megapixel_jpegs
from benchmarks.speed.planted import CHANNELS, plant, random_codes
from indexers import registry
from indexers.fingerprint import Fingerprint
from indexers.modality import MediaLimits, Role
from service.store import Store

_OWNER_LOOKUPS = 50


def queries_of(content: bytes) -> tuple[Fingerprint, ...]:
    """Hash a picture as the service does, with all views."""
    image = registry.by_name("image")
    segments = image.decode(io.BytesIO(content), MediaLimits())
    return tuple(next(image.fingerprint(segments, Role.QUERY)))


class BareIndex:
    """FAISS's flat indexes over random codes, one for each scheme, searched on one thread."""

    def __init__(self, count: int) -> None:
        """Make them."""
        faiss.omp_set_num_threads(1)
        generator = np.random.default_rng(8)
        self._indexes = []
        for channel in CHANNELS:
            index = faiss.IndexBinaryFlat(channel.scheme.dim)
            index.add(random_codes(generator, channel, count))
            self._indexes.append(index)

    def search(self, queries: Sequence[Fingerprint]) -> None:
        """Search all views under all schemes, at the radii that the service uses."""
        for channel, index, query in zip(CHANNELS, self._indexes, queries, strict=True):
            index.range_search(query.descriptors, int(channel.search.radius if channel.search else 0) + 1)


@contextmanager
def started(folder: Path, figures: dict[str, Any]) -> Iterator[Service]:
    """Start a service, and note what that took."""
    start = time.perf_counter()
    with harness.service(folder, settings=harness.FOLD_AT_ONCE) as service:
        figures["seconds"] = time.perf_counter() - start
        figures["parent_cpu_seconds"] = service.cpu().parent
        figures["resident_mb"] = {name: size / 1e6 for name, size in service.resident_bytes().items()}
        yield service


def match_costs(
    service: Service, client: copyhound.Client, pictures: Sequence[bytes], bare: BareIndex, rounds: int
) -> dict[str, Any]:
    """What a Match call costs here, and what FAISS alone needs for its searches; they take turns."""
    queries = [queries_of(content) for content in pictures]
    for content in pictures:  # the first calls load modules
        client.match(content)
    before = service.stage_seconds()
    latencies, ours, theirs = [], [], []
    for _ in range(rounds):
        start_cpu = service.cpu()
        for content in pictures:
            start = time.perf_counter()
            client.match(content)
            latencies.append(time.perf_counter() - start)
        ours.append((service.cpu() - start_cpu).total * 1000 / len(pictures))
        start_bare = time.thread_time()
        for query in queries:
            bare.search(query)
        theirs.append((time.thread_time() - start_bare) * 1000 / len(pictures))
    after = service.stage_seconds()
    return {
        "latency_p50_ms": statistics.median(latencies) * 1000,
        "latency_p99_ms": float(np.percentile(latencies, 99)) * 1000,
        "service_cpu_ms": statistics.median(ours),
        "retrieve_stage_ms": (after["retrieve"] - before.get("retrieve", 0.0)) * 1000 / len(latencies),
        "bare_faiss_cpu_ms": statistics.median(theirs),
    }


def owner_costs(folder: Path, count: int) -> dict[str, float]:
    """Milliseconds to look up whose some random descriptors are."""
    store = Store.open(f"sqlite:///{folder.resolve() / 'copyhound.db'}", registry.schemes())
    generator = np.random.default_rng(9)
    scheme = CHANNELS[0].scheme.id
    figures = {}
    try:
        for size in (1, 50, 800):
            times = []
            for _ in range(_OWNER_LOOKUPS):
                ids = generator.integers(0, count, size)
                start = time.thread_time()
                found = store.descriptor_owners(scheme, ids)
                times.append(time.thread_time() - start)
                if len(found) != len(set(ids.tolist())):
                    raise SystemExit(f"{len(found)} of {size} descriptors have an owner")
            figures[f"of_{size}_ms"] = statistics.median(times) * 1000
    finally:
        store.close()
    return figures


def measure(folder: Path, count: int, rounds: int, calls: int) -> dict[str, Any]:
    """Start without and with snapshots; ask in a small catalogue and in this one, so many times a round."""
    pictures = megapixel_jpegs(None, 2) * (calls // 2)
    bare = BareIndex(count)
    replay: dict[str, Any] = {}
    loaded: dict[str, Any] = {}
    with started(folder, replay) as service, copyhound.Client(service.target) as client:
        replayed = client.index_state()
        start = time.perf_counter()
        harness.wait_until_folded(client)
        replay["folded_after_seconds"] = time.perf_counter() - start
    with started(folder, loaded) as service, copyhound.Client(service.target) as client:
        costs = match_costs(service, client, pictures, bare, rounds)
        state = client.index_state()
        loaded["indexes_mb"] = sum(scheme.resident_bytes for scheme in state.schemes) / 1e6
        loaded["disk_mb"] = state.disk_bytes / 1e6
    with (
        tempfile.TemporaryDirectory() as name,
        harness.service(Path(name) / "data") as service,
        copyhound.Client(service.target) as client,
    ):
        empty = match_costs(service, client, pictures, bare, rounds)
    added = costs["service_cpu_ms"] - empty["service_cpu_ms"]
    return {
        "works": replayed.work_count,
        "descriptors": sum(scheme.descriptor_count for scheme in replayed.schemes),
        "start_by_replay": replay,
        "start_from_snapshots": loaded,
        "match": costs,
        "match_in_an_empty_catalogue": empty,
        "match_added_cpu_ms": added,
        "match_added_to_bare_faiss": added / costs["bare_faiss_cpu_ms"],
        "owner_lookups": owner_costs(folder, count),
    }


def main() -> int:
    """Run what the command line asks for."""
    parser = harness.options_parser(__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="works")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="keep the planted works here, or find them"
    )
    options = parser.parse_args()
    count, rounds, calls = (500, 1, 2) if options.smoke else (options.count, 5, 20)
    with tempfile.TemporaryDirectory() as name:
        folder = options.data or Path(name) / "data"
        if not (folder / "copyhound.db").exists():
            start = time.perf_counter()
            plant(folder, count)
            print(f"planted {count:,} works in {time.perf_counter() - start:.0f} s")
        figures = measure(folder, count, rounds, calls)
    if figures["works"] != count:
        raise SystemExit(f"the service found {figures['works']} works instead of {count}")
    return harness.finish(options, figures, [])


if __name__ == "__main__":
    raise SystemExit(main())
