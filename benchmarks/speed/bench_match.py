"""CPU of one Match call for a one-megapixel JPEG, against decoding and fingerprinting it alone.

    python -m benchmarks.speed.bench_match --media FOLDER --json match.json
    python -m benchmarks.speed.bench_match --smoke

The service's side is the CPU of all its processes for calls that come one by one over gRPC; the other side
is the same decoder and the same hashes in this process, on one thread. The two take turns. Half of the
pictures are copies of registered works, half are strangers.
"""

import io
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import copyhound
from benchmarks.speed import harness
from benchmarks.speed.harness import Bound, Cpu, Service
from benchmarks.speed.media import megapixel_jpegs
from indexers import registry
from indexers.modality import MediaLimits, Role

IMAGE = registry.by_name("image")


def bare(pictures: Sequence[bytes]) -> float:
    """CPU seconds of decoding and fingerprinting the pictures here."""
    start = time.thread_time()
    for content in pictures:
        IMAGE.fingerprint(IMAGE.decode(io.BytesIO(content), MediaLimits()), Role.QUERY)
    return time.thread_time() - start


def served(service: Service, client: copyhound.Client, pictures: Sequence[bytes]) -> Cpu:
    """CPU seconds of the service while it answers for the pictures."""
    start = service.cpu()
    for content in pictures:
        client.match(content)
    return service.cpu() - start


def compare(
    service: Service, client: copyhound.Client, pictures: Sequence[bytes], rounds: int
) -> dict[str, Any]:
    """Milliseconds a picture on both sides: medians over rounds in which the two take turns to go first."""
    served(service, client, pictures)  # warm up
    bare(pictures)
    before = service.stage_seconds()
    ours, theirs = [], []
    for number in range(rounds):
        if number % 2:
            theirs.append(bare(pictures))
            ours.append(served(service, client, pictures))
        else:
            ours.append(served(service, client, pictures))
            theirs.append(bare(pictures))
    after = service.stage_seconds()
    per_call = 1000 / len(pictures)
    return {
        "ratio": statistics.median(one.total / other for one, other in zip(ours, theirs, strict=True)),
        "bare_ms": statistics.median(theirs) * per_call,
        "service_ms": statistics.median(one.total for one in ours) * per_call,
        "of_it_parent_ms": statistics.median(one.parent for one in ours) * per_call,
        "of_it_workers_ms": statistics.median(one.workers for one in ours) * per_call,
        "stages_ms": {
            name: (after[name] - before.get(name, 0.0)) * per_call / rounds
            for name in ("read", "decode", "fingerprint", "retrieve", "verify", "decide")
        },
    }


def main() -> int:
    """Run what the command line asks for."""
    parser = harness.options_parser(__doc__)
    parser.add_argument("--media", type=Path, metavar="FOLDER", help="pictures; none: shipped photographs")
    options = parser.parse_args()
    number, rounds, repeats = (4, 3, 2) if options.smoke else (16, 15, 3)
    pictures = megapixel_jpegs(options.media, number)
    harness.keep_memory()
    with (
        tempfile.TemporaryDirectory() as folder,
        harness.service(Path(folder) / "data") as service,
        copyhound.Client(service.target) as client,
    ):
        for content in pictures[::2]:
            client.register(content, owner="benchmark")
        strangers = compare(service, client, pictures[1::2] * repeats, rounds)
        copies = compare(service, client, pictures[::2] * repeats, rounds)
    bounds = [
        Bound.at_most(1.5, f"CPU of a call about {name}, of bare decoding and hashing", part["ratio"])
        for name, part in (("a stranger", strangers), ("a copy", copies))
    ]
    return harness.finish(options, {"strangers": strangers, "copies": copies}, bounds)


if __name__ == "__main__":
    raise SystemExit(main())
