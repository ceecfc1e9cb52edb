"""Who is asked for films: the service, and others' rules, behind `audio_peers.Matcher`.

The peers see one picture a second of every file, decoded by PyAV, and their PDQ is ours, which agrees with
Meta's golden vectors.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import av
import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

import copyhound
from benchmarks.quality import audio_peers
from benchmarks.quality.audio_peers import Hit, Matcher, Part, Size
from benchmarks.quality.video_attacks import Picture
from benchmarks.quality.video_media import Hashes, distances, pdq, sampled
from benchmarks.speed import harness

Times = npt.NDArray[np.float64]

VPDQ_RULE: Final = 80.0
"""Per cent of the query's hashes that Meta's index wants to be matched."""
VIDEOHASH_RULE: Final = 10
"""Bits up to which videohash takes two films for one: 15 % of 64, rounded up."""

_PATIENCE: Final = 900.0
"""Seconds by the clock that registering or matching a film may take."""
_IDLE_SECONDS: Final = 5.0
"""For which an idle service is watched: what it spends then is no query's."""
_AT_ONCE: Final = 2
_QUALITY: Final = 0.5
_MATCH: Final = 31
"""PDQ's quality and distance by Meta's rule."""
_VOTE: Final = 90
_SPEEDS: Final = (-1.0, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4)
_SEGMENTS: Final = 3
_HITS: Final = 3
_OFF: Final = 1.0
"""Bits that vote, speeds and most stretches of one work that are tried, fewest votes of a stretch, and
seconds by which votes of one stretch may be off."""
_SIDE: Final = 512


class Copyhound(audio_peers.Copyhound):
    """The service as it ships, through its client, asked for two films at a time.

    What is measured is processor time, so the limits by the clock are wide: a busy machine would leave stages
    out.
    """

    def _start(self, settings: Mapping[str, str] | None = None) -> None:
        limits = {"COPYHOUND_WORKER_SECONDS": str(_PATIENCE), **(settings or {})}
        self._context = harness.service(self._folder / "data", settings=limits)
        self._service = self._context.__enter__()
        self._client = copyhound.Client(self._service.target, timeout=_PATIENCE)

    def ask(self, queries: Sequence[Path]) -> tuple[list[list[Hit]], float]:
        """Match, with all that was found however unlikely; the cost is without what it spends idle."""
        idle = self._service.idle(_IDLE_SECONDS)
        began, before = time.monotonic(), self._service.cpu()
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            found = list(threads.map(self._asked, queries))
        spent = (self._service.cpu() - before).total
        return found, spent - idle * (time.monotonic() - began)


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """PDQ of a film where it says something.

    Attributes:
        times: Seconds, (n,).
        codes: (n, 32).
    """

    times: Times
    codes: Hashes


@lru_cache(maxsize=2048)
def described(path: Path) -> tuple[Described, float]:
    """PDQ of a picture a second, and the CPU seconds that it takes with decoding."""
    began = time.process_time()
    rows = [(at, *pdq(picture)) for at, picture in sampled(path, 1.0, _SIDE)]
    kept = [(at, code) for at, code, quality in rows if quality >= _QUALITY]
    times = np.array([at for at, _ in kept], np.float64)
    codes = np.stack([code for _, code in kept]) if kept else np.zeros((0, 32), np.uint8)
    return Described(times, codes), time.process_time() - began


class _OfPdq:
    """Holds PDQ of every film; how films are compared is up to the subclass."""

    name = ""

    def __init__(self) -> None:
        """Without films."""
        self._films: dict[str, Described] = {}

    def register(self, tracks: Mapping[str, Path]) -> float:
        """Describe files."""
        spent = 0.0
        for name, path in tracks.items():
            self._films[name], cost = described(path)
            spent += cost
        return spent

    def ask(self, queries: Sequence[Path]) -> tuple[list[list[Hit]], float]:
        """Describe files, and compare each with every film."""
        spent, found = 0.0, []
        for path in queries:
            query, cost = described(path)
            began = time.process_time()
            hits = [hit for name, film in self._films.items() if (hit := self._hit(name, query, film))]
            found.append(sorted(hits, key=lambda hit: -hit.score))
            spent += cost + time.process_time() - began
        return found, spent

    def _hit(self, name: str, query: Described, film: Described) -> Hit | None:
        raise NotImplementedError

    def size(self) -> Size:
        """Hashes with a time each, all in memory."""
        held = sum(film.codes.nbytes + 4 * len(film.times) for film in self._films.values())
        return Size(held, held)

    def close(self) -> None:
        """Nothing is held."""


class Vpdq(_OfPdq):
    """Meta's vPDQ as ThreatExchange's ``VPDQIndex`` matches it: a bag of hashes.

    Equal hashes of a film count once. Hashes match from quality 50 on within 31 bits; a film matches if 80 %
    of the query's do, whatever part of the film's (its defaults). Films are ranked by the larger of the two
    parts, which is kinder than the rule; the stretches are from the first to the last hash that matches.
    """

    name = "vPDQ (Meta)"

    def _hit(self, name: str, query: Described, film: Described) -> Hit | None:
        if not len(query.times) or not len(film.times):
            return None
        same = distances(query.codes, film.codes) <= _MATCH
        if not same.any():
            return None
        mine, theirs = (np.asarray(same.any(axis=axis), np.bool_) for axis in (1, 0))
        shares = _share(query.codes, mine), _share(film.codes, theirs)
        asked, held = query.times[mine], film.times[theirs]
        # The rule is about the query's part: the film's never reaches it.
        score = max(shares[0], min(shares[1], math.nextafter(VPDQ_RULE, 0)))
        return Hit(name, score, (_stretch((asked.min(), asked.max() + 1), (held.min(), held.max() + 1)),))


def _share(codes: Hashes, matched: npt.NDArray[np.bool_]) -> float:
    """Per cent of the distinct hashes that match."""
    return 100.0 * len(np.unique(codes[matched], axis=0)) / len(np.unique(codes, axis=0))


def _stretch(query: tuple[float, float], work: tuple[float, float]) -> Part:
    return Part(query, work[0], (work[1] - work[0]) / (query[1] - query[0]))


class Hough(_OfPdq):
    """PDQ within 90 bits, and votes for an offset at one of several speeds.

    A hash of the query votes once for an offset, the more the nearer its neighbour is; the best
    offset's votes are taken out, and up to two more are looked for. The score is the sum of all.
    """

    name = "PDQ ≤ 90 bits, Hough"

    def _hit(self, name: str, query: Described, film: Described) -> Hit | None:
        if not len(query.times) or not len(film.times):
            return None
        apart = distances(query.codes, film.codes)
        here, there = np.nonzero(apart <= _VOTE)
        weights = 1 - apart[here, there] / 128
        score, parts = 0.0, []
        for _ in range(_SEGMENTS):
            best, chosen = self._best(query.times[here], film.times[there], weights)
            if len(np.unique(here[chosen])) < _HITS:
                break
            score += best
            asked, held = query.times[here[chosen]], film.times[there[chosen]]
            parts.append(_stretch((asked.min(), asked.max() + 1), (held.min(), held.max() + 1)))
            keep = ~np.isin(here, here[chosen])
            here, there, weights = here[keep], there[keep], weights[keep]
        return Hit(name, score, tuple(parts)) if parts else None

    def _best(self, here: Times, there: Times, weights: Times) -> tuple[float, npt.NDArray[np.int64]]:
        best, chosen = 0.0, np.zeros(0, np.int64)
        for speed in _SPEEDS:
            offsets = there - speed * here
            for centre in np.unique(np.rint(offsets)):
                near = np.flatnonzero(np.abs(offsets - centre) <= _OFF)
                by_time: dict[float, float] = defaultdict(float)
                for at, weight in zip(here[near], weights[near], strict=True):
                    by_time[at] = max(by_time[at], weight)
                total = sum(by_time.values())
                if total > best:
                    best, chosen = total, near
        return best, chosen


class Videohash:
    """64 bits of a whole film, as videohash 3 has them (MIT, Akash Mahanty), in our words.

    Pictures of one a second make a square collage; the bits are its wavelet hash, each turned over where the
    tile of a grid of 8 × 8 has most of the colour that its place stands for (two rows each of red, green,
    blue, and lightness). A film matches within 10 bits. The package itself needs ffmpeg's program and fetches
    with yt-dlp.
    """

    name = "videohash"

    def __init__(self) -> None:
        """Without films."""
        self._films: dict[str, npt.NDArray[np.bool_]] = {}

    def register(self, tracks: Mapping[str, Path]) -> float:
        """Hash files."""
        began = time.process_time()
        self._films.update({name: videohash(path) for name, path in tracks.items()})
        return time.process_time() - began

    def ask(self, queries: Sequence[Path]) -> tuple[list[list[Hit]], float]:
        """Hash files, and compare each with every film; a score is minus the bits that differ."""
        began = time.process_time()
        found = []
        for path in queries:
            bits = videohash(path)
            hits = [Hit(name, -float((bits != film).sum())) for name, film in self._films.items()]
            found.append(sorted(hits, key=lambda hit: -hit.score))
        return found, time.process_time() - began

    def size(self) -> Size:
        """Eight bytes a film."""
        return Size(8 * len(self._films), 8 * len(self._films))

    def close(self) -> None:
        """Nothing is held."""


_TILE: Final = 144


def videohash(path: Path) -> npt.NDArray[np.bool_]:
    """64 bits; see `Videohash`."""
    tiles = [_square(picture) for _, picture in sampled(path, 1.0, 2 * _TILE)]
    across = math.ceil(math.sqrt(len(tiles)))
    tiles += [np.zeros((_TILE, _TILE, 3), np.uint8)] * (-len(tiles) % across)
    rows = [np.concatenate(tiles[at : at + across], axis=1) for at in range(0, len(tiles), across)]
    collage = Image.fromarray(np.concatenate(rows)).resize((1024, 1024))
    wavelet: npt.NDArray[np.bool_] = imagehash.whash(collage).hash.ravel()
    levels = np.asarray(collage, np.int64).reshape(8, 128, 8, 128, 3).mean(axis=(1, 3)).reshape(64, 3)
    coloured = levels.max(axis=1) - levels.min(axis=1) > 8
    main = np.where(coloured, levels.argmax(axis=1), 3)
    return np.asarray(wavelet ^ (main == np.arange(64) // 16), np.bool_)


def _square(picture: Picture) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((_TILE, _TILE)), np.uint8)


PROGRAMS: Final[dict[str, Callable[[], Matcher]]] = {
    "copyhound": Copyhound,
    "vpdq": Vpdq,
    "hough": Hough,
    "videohash": Videohash,
}
"""Start the matchers, by their names on the command line."""


def decoding(paths: Sequence[Path]) -> float:
    """CPU seconds of decoding every picture of files once, on one thread, and doing nothing with them."""
    began = time.process_time()
    for path in paths:
        with av.open(str(path), metadata_errors="ignore") as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            for _ in container.decode(stream):
                pass
    return time.process_time() - began
