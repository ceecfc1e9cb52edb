"""What it costs to register a film of two hours: processor time, of decoding it once, and memory.

    python -m benchmarks.speed.bench_film --media FOLDER --cache CACHE --json film.json
    python -m benchmarks.speed.bench_film --smoke

The film is 1280 × 720 pixels at 25 pictures a second, x264's `veryfast`, with sound (`video_uploads`): the
media folder's films one after the other, a quarter of an hour of them, repeated as they are encoded until two
hours are full. Films are described as they are read: what was seen before is described as often as it comes.

The service's side is the processor time of all its processes, without what it spends idle, and the largest
memory that they had; previews, which would be made afterwards, are left out. The other side is PyAV decoding
all pictures of the file once, on one thread, before and after.
"""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import copyhound
from benchmarks.quality import video_media, video_peers, video_uploads
from benchmarks.speed import harness
from benchmarks.speed.harness import Bound, Service

HOURS: Final = 2.0
_ONCE: Final = 900.0
"""Seconds of the film that differ."""
_PATIENCE: Final = 7200.0
_IDLE_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.5


@dataclass(slots=True)
class Peak:
    """The largest memory that a service's processes had, bytes."""

    parent: int = 0
    workers: int = 0


@contextmanager
def watched(service: Service) -> Iterator[Peak]:
    """Look at a service's memory again and again."""
    peak, ended = Peak(), threading.Event()

    def look() -> None:
        while True:
            now = service.resident_bytes()
            peak.parent, peak.workers = max(peak.parent, now["parent"]), max(peak.workers, now["workers"])
            if ended.wait(_LOOK_SECONDS):
                return

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def film(media: Path | None, cache: Path, seconds: float) -> Path:
    """A film of so many seconds, of a folder's films or of made-up ones."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"film of {seconds:.0f} s.mp4"
    if path.exists():
        return path
    if media is None:
        films = video_media.made_up(2, 6.0, cache / "films")
    else:
        films, _ = video_media.apart(video_media.load([media]), cache)
    length = min(_ONCE, seconds, sum(round(one.seconds) for one in films))
    once = video_uploads.upload(films, cache / f"film of {length:.0f} s, once.mp4", length)
    return video_uploads.repeated(once, seconds, path)


def register(path: Path, folder: Path, idle_seconds: float) -> dict[str, Any]:
    """Register a film with a service of its own, watched idle for so long before; what that costs."""
    settings = {"COPYHOUND_WORKER_SECONDS": str(_PATIENCE)}
    with (
        harness.service(folder, settings=settings) as service,
        copyhound.Client(service.target, timeout=_PATIENCE) as client,
    ):
        idle = service.idle(idle_seconds)
        with watched(service) as peak:
            began, before = time.monotonic(), service.cpu()
            client.register(path, owner="studio", policy=copyhound.Policy(previews=False))
            spent = (service.cpu() - before).total
            seconds = time.monotonic() - began
    return {
        "cpu_seconds": spent - idle * seconds,
        "seconds": seconds,
        "peak_mb": {"parent": peak.parent / 1e6, "workers": peak.workers / 1e6},
    }


def measure(path: Path, idle_seconds: float = _IDLE_SECONDS) -> dict[str, Any]:
    """Register a film, and decode it before and after."""
    decoding = [video_peers.decoding([path])]
    with tempfile.TemporaryDirectory(prefix="bench-film-") as scratch:
        figures = register(path, Path(scratch) / "data", idle_seconds)
    decoding.append(video_peers.decoding([path]))
    figures["decoding_cpu_seconds"] = decoding
    figures["cpu_of_decoding"] = figures["cpu_seconds"] / (sum(decoding) / len(decoding))
    return figures


def main() -> int:
    """Run what the command line asks for."""
    parser = harness.options_parser(__doc__)
    parser.add_argument("--media", type=Path, help="folder of origins, as for bench_video")
    parser.add_argument("--cache", type=Path, help="folder outside the repository where films stay")
    parser.add_argument("--hours", type=float, default=HOURS, help="length of the film")
    options = parser.parse_args()
    seconds = 12.0 if options.smoke else options.hours * 3600
    with tempfile.TemporaryDirectory(prefix="bench-film-") as scratch:
        path = film(options.media, options.cache or Path(scratch), seconds)
        measured = measure(path, 1.0 if options.smoke else _IDLE_SECONDS)
        figures = {"hours": seconds / 3600, "mb": path.stat().st_size / 1e6, **measured}
    bounds = [
        Bound.at_most(1 / 0.7, "CPU of registering, of decoding", figures["cpu_of_decoding"]),
        Bound.at_most(1500, "MB of the serving process", figures["peak_mb"]["parent"]),
        Bound.at_most(1500, "MB of its workers together", figures["peak_mb"]["workers"]),
    ]
    return harness.finish(options, figures, bounds)


if __name__ == "__main__":
    raise SystemExit(main())
