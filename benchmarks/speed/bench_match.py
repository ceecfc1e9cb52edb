"""CPU of one Match call for a one-megapixel JPEG: against describing it alone, and against one PDQ hash.

    python -m benchmarks.speed.bench_match --media FOLDER --json match.json
    python -m benchmarks.speed.bench_match --works 100000      # how it grows
    python -m benchmarks.speed.bench_match --smoke

The service's side is the CPU of all its processes for calls that come one by one over gRPC; the other side
is the same decoder and the same stages of describing in this process, on one thread. The two take turns. Half
of the pictures are registered; asked is about these very files (copies), about the others (strangers), and
about crops of the registered ones and other pictures that hold them (hard copies).

What the service spends while nobody asks (looking for jobs) is measured before, and taken off by the time
that passes: on a busy machine calls take long.

What a call costs is also given in PDQ hashes: pdqhash's, of the same pictures at 640 pixels, in the same run.
"""

import contextlib
import io
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

import copyhound
from benchmarks.quality.attacks import ATTACKS, Hand
from benchmarks.quality.media import Medium
from benchmarks.speed import harness
from benchmarks.speed.harness import Bound, Cpu, Service
from benchmarks.speed.media import megapixel_jpegs
from benchmarks.speed.planted import plant
from indexers import registry
from indexers.modality import MediaLimits, Role

IMAGE = registry.by_name("image")
HARD: Final = ("crop_25", "inside_35")
"""Attacks that hashes of the whole do not see through."""
_IDLE_SECONDS: Final = 20.0


def bare(pictures: Sequence[bytes], stages: int) -> float:
    """CPU seconds of decoding and describing the pictures here, in so many stages."""
    start = time.thread_time()
    for content in pictures:
        segments = IMAGE.decode(io.BytesIO(content), MediaLimits())
        for _ in islice(IMAGE.fingerprint(segments, Role.QUERY), stages):
            pass
    return time.thread_time() - start


def pdq_arrays(pictures: Sequence[bytes]) -> list[npt.NDArray[np.uint8]]:
    """The pictures as Meta's own program hashes them; none where pdqhash is not installed."""
    if find_spec("pdqhash") is None:
        return []
    arrays = []
    for content in pictures:
        with Image.open(io.BytesIO(content)) as image:
            image.thumbnail((640, 640))
            arrays.append(np.asarray(image.convert("RGB")))
    return arrays


def pdq_seconds(arrays: Sequence[npt.NDArray[np.uint8]]) -> float:
    """CPU seconds of one PDQ hash by Meta's own program."""
    compute = import_module("pdqhash").compute
    start = time.thread_time()
    for array in arrays:
        compute(array)
    return (time.thread_time() - start) / len(arrays)


def hard_copies(pictures: Sequence[bytes], backdrops: Sequence[bytes]) -> list[bytes]:
    """Copies of the pictures by the attacks in turn."""
    rng = random.Random(1)
    others = cycle([Medium("", content).picture() for content in backdrops])
    return [
        ATTACKS[attack](Medium("", content).picture(), Hand(rng, others))
        for attack, content in zip(cycle(HARD), pictures, strict=False)
    ]


@dataclass(frozen=True, slots=True)
class Asked:
    """A service that is asked.

    Attributes:
        idle: CPU seconds that it spends in each second anyway.
    """

    service: Service
    client: copyhound.Client
    idle: float

    def about(self, pictures: Sequence[bytes], *, fast: bool) -> Cpu:
        """CPU seconds that it takes to answer for the pictures."""
        start, before = time.monotonic(), self.service.cpu()
        for content in pictures:
            self.client.match(content, fast=fast)
        return self.service.cpu() - before - Cpu(self.idle * (time.monotonic() - start), 0.0)


def compare(
    asked: Asked,
    pictures: Sequence[bytes],
    hashed: Sequence[npt.NDArray[np.uint8]],
    rounds: int,
    *,
    stages: int,
    fast: bool = False,
) -> dict[str, Any]:
    """Milliseconds a picture on both sides: medians over rounds in which the two take turns to go first.

    PDQ hashes are made in every round too, since how fast either is changes with what else the machine does.

    Args:
        asked: Is asked.
        pictures: About these.
        hashed: What PDQ hashes are made of; none: they are not.
        rounds: How often.
        stages: In how many stages the other side describes them.
        fast: Whether to ask for a fast answer.
    """
    asked.about(pictures, fast=fast)  # warm up
    bare(pictures, stages)
    before = asked.service.stage_seconds()
    ours, theirs, hashes = [], [], []
    for number in range(rounds):
        if hashed:
            hashes.append(pdq_seconds(hashed))
        if number % 2:
            theirs.append(bare(pictures, stages))
            ours.append(asked.about(pictures, fast=fast))
        else:
            ours.append(asked.about(pictures, fast=fast))
            theirs.append(bare(pictures, stages))
    after = asked.service.stage_seconds()
    per_call = 1000 / len(pictures)
    figures = {
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
    if hashes:
        each = [one.total / len(pictures) / pdq for one, pdq in zip(ours, hashes, strict=True)]
        figures["in_pdq_hashes"] = statistics.median(each)
        figures["pdq_ms"] = statistics.median(hashes) * 1000
    return figures


def main() -> int:
    """Run what the command line asks for."""
    parser = harness.options_parser(__doc__)
    parser.add_argument("--media", type=Path, metavar="FOLDER", help="pictures; none: shipped photographs")
    parser.add_argument("--rounds", type=int, default=15, help="in which the two sides take turns")
    parser.add_argument("--works", type=int, default=0, help="so many works more, of random fingerprints")
    options = parser.parse_args()
    number, rounds, repeats = (3, 2, 1) if options.smoke else (16, options.rounds, 3)
    pictures = megapixel_jpegs(options.media, number)
    harness.keep_memory()
    with contextlib.ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "data"
        if options.works:
            plant(data, options.works, embedded=True)
        service = stack.enter_context(harness.service(data))
        client = stack.enter_context(copyhound.Client(service.target))
        for content in pictures[::2]:
            client.register(content, owner="benchmark")
        registered, others = pictures[::2], pictures[1::2]
        hard = hard_copies(registered, others)
        asked = Asked(service, client, service.idle(1.0 if options.smoke else _IDLE_SECONDS))
        every, fast = len(IMAGE.stages), IMAGE.fast_stages - 1  # its last stage is for likely copies
        hashed = pdq_arrays(pictures)
        figures: dict[str, dict[str, Any]] = {
            "idle": {"ms_a_second": asked.idle * 1000, "more_works": options.works},
            "strangers": compare(asked, others * repeats, hashed, rounds, stages=every),
            "strangers_fast": compare(asked, others * repeats, hashed, rounds, stages=fast, fast=True),
            "copies": compare(asked, registered * repeats, hashed, rounds, stages=1),
            "hard_copies": compare(asked, hard * repeats, hashed, rounds, stages=every),
        }
    bounds = [
        Bound.at_most(
            1.5, f"CPU of a call about {name}, of bare decoding and describing", figures[name]["ratio"]
        )
        for name in ("strangers", "copies")
    ]
    if hashed:
        bounds += [
            Bound.at_most(most, f"CPU of a call about {name}, in PDQ hashes", figures[name]["in_pdq_hashes"])
            for name, most in (("strangers", 25), ("strangers_fast", 8), ("hard_copies", 70))
        ]
    return harness.finish(options, figures, bounds)


if __name__ == "__main__":
    raise SystemExit(main())
