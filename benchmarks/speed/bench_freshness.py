"""Seconds from the acknowledgement of a registration until a copy is found, in quiet and under load.

    python -m benchmarks.speed.bench_freshness --media FOLDER --json freshness.json
    python -m benchmarks.speed.bench_freshness --smoke

As soon as CreateWork has answered, a copy of the picture, saved anew as JPEG, is asked about with Match. The
figures are seconds until that Match has answered with the work: decoding, hashing and the network are in
them. Meta's Hasher-Matcher-Actioner, by its documentation, rebuilds its index every 60 seconds and looks
for the new one every 30: about 90 seconds.
"""

import asyncio
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed import harness
from benchmarks.speed.harness import Bound
from benchmarks.speed.load import Picture, Tally, load
from benchmarks.speed.media import write_pictures

PEER_SECONDS = 90.0


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile, in milliseconds."""
    return {"p50_ms": statistics.median(seconds) * 1000, "p99_ms": float(np.percentile(seconds, 99)) * 1000}


def figures_of(tally: Tally, seconds: float) -> dict[str, Any]:
    """What the callers saw, in numbers."""
    figures: dict[str, Any] = {
        "registered": len(tally.found_after),
        "missed_by_first_match": tally.missed,
        "acknowledged_to_found": percentiles(tally.found_after),
    }
    if tally.match_seconds:
        figures["match"] = percentiles(tally.match_seconds)
        figures["calls_per_second"] = (len(tally.match_seconds) + 2 * len(tally.found_after)) / seconds
    return figures


def main() -> int:
    """Run what the command line asks for."""
    parser = harness.options_parser(__doc__)
    parser.add_argument("--media", type=Path, metavar="FOLDER", help="pictures; none: shipped photographs")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the load lasts")
    parser.add_argument("--registering", type=int, default=4, help="callers that register at a time")
    parser.add_argument("--asking", type=int, default=4, help="callers that ask at a time")
    options = parser.parse_args()
    quiet, loaded, seconds = (4, 12, 2.0) if options.smoke else (60, 1500, options.seconds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pictures"
        folder.mkdir()
        write_pictures(options.media, quiet + loaded, folder)
        pictures = [Picture.of(path.read_bytes()) for path in sorted(folder.iterdir())]
        with harness.service(Path(name) / "data") as service:

            def run(some: Sequence[Picture], registering: int, asking: int) -> Tally:
                return asyncio.run(
                    load(service.target, some, registering=registering, asking=asking, seconds=seconds)
                )

            alone = run(pictures[:quiet], 1, 0)
            idle = run(pictures[:quiet], 0, 1)
            busy = run(pictures[quiet:], options.registering, options.asking)
    idle_match = percentiles(idle.match_seconds)
    figures = {
        "quiet": {**figures_of(alone, seconds), "match": idle_match},
        "load": {
            "seconds": seconds,
            "registering": options.registering,
            "asking": options.asking,
            **figures_of(busy, seconds),
            "match_p99_to_quiet": percentiles(busy.match_seconds)["p99_ms"] / idle_match["p99_ms"],
        },
        "hma_documented_seconds": PEER_SECONDS,
    }
    bounds = [
        Bound.at_most(
            0, "works that the first Match after the acknowledgement misses", alone.missed + busy.missed
        ),
        Bound.at_most(
            1000, "acknowledged to found under load, p99 ms", percentiles(busy.found_after)["p99_ms"]
        ),
    ]
    return harness.finish(options, figures, bounds)


if __name__ == "__main__":
    raise SystemExit(main())
