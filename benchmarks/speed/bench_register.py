"""Rate of registering a folder of pictures, against decoding and hashing it on all cores without a service.

    python -m benchmarks.speed.bench_register --media FOLDER --json register.json
    python -m benchmarks.speed.bench_register --smoke

One side is `copyhound register FOLDER` against a running service, until all of it is acknowledged: durable
and searchable. The other is a pool of as many processes as there are cores that read, decode and hash the
same files for reference, and keep nothing. The two take turns; the pool's processes and the service are
started before, the command line's own start counts. Beside the ratio of the rates stands that of the CPU that
the two sides spend: on a machine that others use, the side with more processes gets more of it.
"""

import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before anything with threads is loaded: a core for each process

import cv2

import copyhound
from benchmarks.speed import harness
from benchmarks.speed.harness import Bound, Service
from benchmarks.speed.media import write_pictures
from copyhound.service_process import service_environment
from indexers import registry
from indexers.modality import MediaLimits, Role, described

_CHUNK = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """What it took to get through the folder.

    Attributes:
        seconds: By the clock.
        cpu: CPU seconds, by who spent them.
    """

    seconds: float
    cpu: Mapping[str, float]


def _begin() -> None:
    """Prepare a process of the pool as the service prepares a worker."""
    harness.keep_memory()
    cv2.setNumThreads(1)


def hash_one(path: Path) -> float:
    """Fingerprint a file for reference; return the CPU seconds that it took."""
    start = time.process_time()
    image = registry.by_name("image")
    with path.open("rb") as file:
        described(image, image.decode(file, MediaLimits()), Role.REFERENCE)
    return time.process_time() - start


def bare(pool: Pool, paths: Sequence[Path]) -> Cost:
    """Hash the files."""
    start = time.perf_counter()
    cpu = sum(pool.imap_unordered(hash_one, paths, chunksize=_CHUNK))
    return Cost(time.perf_counter() - start, {"pool": cpu})


def register(service: Service, folder: Path, owner: str) -> Cost:
    """Register the files of the folder."""
    command = [sys.executable, "-P", "-m", "copyhound", "register", str(folder), "--owner", owner]
    start, service_before, client_before = time.perf_counter(), service.cpu(), _children_cpu()
    subprocess.run(
        [*command, "--server", service.target],
        env=service_environment(),
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    spent = service.cpu() - service_before
    cpu = {
        "service_parent": spent.parent,
        "service_workers": spent.workers,
        "command_line": _children_cpu() - client_before,
    }
    return Cost(time.perf_counter() - start, cpu)


def _children_cpu() -> float:
    """CPU seconds of the child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(folder: Path, scratch: Path, rounds: int) -> dict[str, Any]:
    """Pictures a second on both sides, medians over rounds in which the two take turns to go first."""
    paths = sorted(folder.iterdir())
    cores = len(os.sched_getaffinity(0))
    ours: list[Cost] = []
    theirs: list[Cost] = []
    with (
        multiprocessing.get_context("spawn").Pool(cores, _begin) as pool,
        harness.service(scratch / "data") as service,
    ):
        bare(pool, paths[: _CHUNK * cores])  # the processes start
        for number in range(rounds):
            if number % 2:
                theirs.append(bare(pool, paths))
            ours.append(register(service, folder, f"owner-{number}"))
            if not number % 2:
                theirs.append(bare(pool, paths))
        with copyhound.Client(service.target) as client:
            registered = client.index_state().work_count
    return {
        "pictures": len(paths),
        "cores": cores,
        "rounds": rounds,
        "registered": registered,
        "ratio": statistics.median(
            other.seconds / one.seconds for one, other in zip(ours, theirs, strict=True)
        ),
        "cpu_ratio": statistics.median(
            sum(other.cpu.values()) / sum(one.cpu.values()) for one, other in zip(ours, theirs, strict=True)
        ),
        "bare_pictures_per_second": len(paths) / statistics.median(one.seconds for one in theirs),
        "registered_per_second": len(paths) / statistics.median(one.seconds for one in ours),
        "cpu_ms_a_picture": {
            name: statistics.median(one.cpu[name] for one in costs) * 1000 / len(paths)
            for costs in (theirs, ours)
            for name in costs[0].cpu
        },
    }


def main() -> int:
    """Run what the command line asks for."""
    parser = harness.options_parser(__doc__)
    parser.add_argument("--media", type=Path, metavar="FOLDER", help="pictures; none: shipped photographs")
    parser.add_argument("--count", type=int, default=2000, help="pictures in the folder")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    count, rounds = (24, 1) if options.smoke else (options.count, options.rounds)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        (scratch / "pictures").mkdir()
        write_pictures(options.media, count, scratch / "pictures")
        figures = measure(scratch / "pictures", scratch, rounds)
    if figures["registered"] != count * rounds:
        raise SystemExit(f"{figures['registered']} works are registered instead of {count * rounds}")
    return harness.finish(options, figures, [Bound.at_least(0.8, "rate of bare hashing", figures["ratio"])])


if __name__ == "__main__":
    raise SystemExit(main())
