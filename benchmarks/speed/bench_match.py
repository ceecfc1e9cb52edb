"""CPU of one Match call for a one-megapixel JPEG: against describing it alone, and against one PDQ hash.

    python -m benchmarks.speed.bench_match --media FOLDER --json match.json
    python -m benchmarks.speed.bench_match --smoke

The service's side is the CPU of all its processes for calls that come one by one over gRPC; the other side
is the same decoder and the same stages of describing in this process, on one thread. The two take turns. Half
of the pictures are registered; asked is about these very files (copies), about the others (strangers), and
about crops of the registered ones and other pictures that hold them (hard copies).

What a call costs is also given in PDQ hashes: pdqhash's, of the same pictures at 640 pixels, in the same run.
"""

import io
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

import copyhound
from benchmarks.quality.attacks import ATTACKS, Hand
from benchmarks.quality.media import Medium
from benchmarks.speed import harness
from benchmarks.speed.harness import Bound, Cpu, Service
from benchmarks.speed.media import megapixel_jpegs
from indexers import registry
from indexers.modality import MediaLimits, Role

IMAGE = registry.by_name("image")
HARD: Final = ("crop_25", "inside_35")
"""Attacks that hashes of the whole do not see through."""


def bare(pictures: Sequence[bytes], stages: int) -> float:
    """CPU seconds of decoding and describing the pictures here, in so many stages."""
    start = time.thread_time()
    for content in pictures:
        segments = IMAGE.decode(io.BytesIO(content), MediaLimits())
        for _ in islice(IMAGE.fingerprint(segments, Role.QUERY), stages):
            pass
    return time.thread_time() - start


def pdq_seconds(pictures: Sequence[bytes]) -> float | None:
    """CPU seconds of one PDQ hash by Meta's own program; None where pdqhash is not installed."""
    if find_spec("pdqhash") is None:
        return None
    compute = import_module("pdqhash").compute
    arrays = []
    for content in pictures:
        with Image.open(io.BytesIO(content)) as image:
            image.thumbnail((640, 640))
            arrays.append(np.asarray(image.convert("RGB")))
    times = []
    for _ in range(5):
        start = time.thread_time()
        for array in arrays:
            compute(array)
        times.append((time.thread_time() - start) / len(arrays))
    return statistics.median(times)


def hard_copies(pictures: Sequence[bytes], backdrops: Sequence[bytes]) -> list[bytes]:
    """Copies of the pictures by the attacks in turn."""
    rng = random.Random(1)
    others = cycle([Medium("", content).picture() for content in backdrops])
    return [
        ATTACKS[attack](Medium("", content).picture(), Hand(rng, others))
        for attack, content in zip(cycle(HARD), pictures, strict=False)
    ]


def served(service: Service, client: copyhound.Client, pictures: Sequence[bytes], *, fast: bool) -> Cpu:
    """CPU seconds of the service while it answers for the pictures."""
    start = service.cpu()
    for content in pictures:
        client.match(content, fast=fast)
    return service.cpu() - start


def compare(
    service: Service,
    client: copyhound.Client,
    pictures: Sequence[bytes],
    rounds: int,
    *,
    stages: int,
    fast: bool = False,
) -> dict[str, Any]:
    """Milliseconds a picture on both sides: medians over rounds in which the two take turns to go first.

    Args:
        service: Asked.
        client: Asks.
        pictures: About these.
        rounds: How often.
        stages: In how many stages the other side describes them.
        fast: Whether to ask for a fast answer.
    """
    served(service, client, pictures, fast=fast)  # warm up
    bare(pictures, stages)
    before = service.stage_seconds()
    ours, theirs = [], []
    for number in range(rounds):
        if number % 2:
            theirs.append(bare(pictures, stages))
            ours.append(served(service, client, pictures, fast=fast))
        else:
            ours.append(served(service, client, pictures, fast=fast))
            theirs.append(bare(pictures, stages))
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
    number, rounds, repeats = (3, 2, 1) if options.smoke else (16, 15, 3)
    pictures = megapixel_jpegs(options.media, number)
    harness.keep_memory()
    with (
        tempfile.TemporaryDirectory() as folder,
        harness.service(Path(folder) / "data") as service,
        copyhound.Client(service.target) as client,
    ):
        for content in pictures[::2]:
            client.register(content, owner="benchmark")
        registered, others = pictures[::2], pictures[1::2]
        hard = hard_copies(registered, others)
        every, fast = len(IMAGE.stages), IMAGE.fast_stages - 1  # its last stage is for likely copies
        figures: dict[str, dict[str, Any]] = {
            "strangers": compare(service, client, others * repeats, rounds, stages=every),
            "strangers_fast": compare(service, client, others * repeats, rounds, stages=fast, fast=True),
            "copies": compare(service, client, registered * repeats, rounds, stages=1),
            "hard_copies": compare(service, client, hard * repeats, rounds, stages=every),
        }
    bounds = [
        Bound.at_most(
            1.5, f"CPU of a call about {name}, of bare decoding and describing", figures[name]["ratio"]
        )
        for name in ("strangers", "copies")
    ]
    pdq = pdq_seconds(pictures)
    if pdq is not None:
        for part in figures.values():
            part["in_pdq_hashes"] = part["service_ms"] / 1000 / pdq
        bounds += [
            Bound.at_most(most, f"CPU of a call about {name}, in PDQ hashes", figures[name]["in_pdq_hashes"])
            for name, most in (("strangers", 25), ("strangers_fast", 8), ("hard_copies", 70))
        ]
    return harness.finish(options, figures, bounds)


if __name__ == "__main__":
    raise SystemExit(main())
