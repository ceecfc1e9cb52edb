"""Who is asked for excerpts of sound: the service, and others' programs, behind one interface."""

import json
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median_low
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
from scipy.io import wavfile

import copyhound
from benchmarks.quality.audio_attacks import decoded
from benchmarks.speed import harness
from indexers.audio import decode
from indexers.audio.chromaprint import STEP
from indexers.modality import MediaLimits

Codes = npt.NDArray[np.uint32]

_STARTS: Final = 5
"""How often the service is started to see what memory it takes, which varies by some 450 kB."""
_IDLE_SECONDS: Final = 5.0
"""For which it is watched what the service spends while nobody asks it anything."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a query that corresponds to one of a track, from start to start.

    Attributes:
        query: Seconds, half-open.
        work: Where it begins in the track, seconds.
        speed: Seconds of the track that a second of the query holds.
    """

    query: tuple[float, float]
    work: float
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Hit:
    """A track that was named for a query; a larger score is surer.

    Attributes:
        track: Its name.
        score: See above.
        parts: Where.
        blocks: Whether the matcher asks to block the query for it.
    """

    track: str
    score: float
    parts: tuple[Part, ...] = ()
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes that the registered tracks take, in all and in memory."""

    stored: int
    resident: int


class Matcher(Protocol):
    """Registers tracks, then answers."""

    name: str

    def register(self, tracks: Mapping[str, Path]) -> float:
        """Add files by name; returns the CPU seconds that took."""
        ...

    def ask(self, queries: Sequence[Path]) -> tuple[list[list[Hit]], float]:
        """What each query holds, best first, and the CPU seconds of all."""
        ...

    def size(self) -> Size:
        """What is taken by the tracks."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Copyhound:
    """The service as it ships, in processes of its own, through its client."""

    name = "Copyhound"

    def __init__(self) -> None:
        """Start it on an empty folder."""
        self._folder = Path(tempfile.mkdtemp(prefix="bench-audio-"))
        self._start()
        self._empty = self._resident()

    def _start(self, settings: Mapping[str, str] | None = None) -> None:
        self._context = harness.service(self._folder / "data", settings=settings)
        self._service = self._context.__enter__()
        self._client = copyhound.Client(self._service.target)

    def _stop(self) -> None:
        self._client.close()
        self._context.__exit__(None, None, None)

    def _resident(self) -> int:
        """Memory of the serving process after it started again: of `_STARTS` the median.

        The first start on an empty folder makes the database, which takes more than an hour of sound does.
        """
        taken = []
        for _ in range(_STARTS):
            self._stop()
            self._start()
            list(self._client.works())
            taken.append(self._service.resident_bytes()["parent"])
        return median_low(taken)

    def register(self, tracks: Mapping[str, Path]) -> float:
        """Add files, one after the other, without previews: these would be made meanwhile.

        The cost is without what the service spends idle, as in `harness.Service.idle`.
        """
        idle = self._service.idle(_IDLE_SECONDS)
        began, before = time.monotonic(), self._service.cpu()
        policy = copyhound.Policy(previews=False)
        for name, path in tracks.items():
            self._client.register(path, owner="benchmark", external_id=name, policy=policy)
        return (self._service.cpu() - before).total - idle * (time.monotonic() - began)

    def ask(self, queries: Sequence[Path]) -> tuple[list[list[Hit]], float]:
        """Match, with all that was found however unlikely."""
        before = self._service.cpu()
        found = [self._asked(path) for path in queries]
        return found, (self._service.cpu() - before).total

    def _asked(self, path: Path) -> list[Hit]:
        answer = self._client.match(path, min_probability=0.0, page_size=100)
        return [_hit(match) for match in answer.matches]

    def size(self) -> Size:
        """The data folder, and the memory that the service, started again, takes beyond an empty one.

        Both once all is folded into snapshots, as it is some minutes after the last change.
        """
        self._stop()
        self._start(harness.FOLD_AT_ONCE)
        harness.wait_until_folded(self._client)
        self._stop()
        stored = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        self._start()
        return Size(stored, max(0, self._resident() - self._empty))

    def close(self) -> None:
        """Stop and remove its folder."""
        self._stop()
        shutil.rmtree(self._folder)


def _hit(match: copyhound.Match) -> Hit:
    parts = tuple(
        Part(
            (one.query_start, one.query_end),
            one.work_start,
            (one.work_end - one.work_start) / (one.query_end - one.query_start),
        )
        for one in match.segments
        if one.query_end > one.query_start
    )
    blocks = match.action is copyhound.Action.BLOCK
    return Hit(match.external_id or "", match.probability, parts, blocks=blocks)


class AcoustId:
    """AcoustID's rule, without what it says of whole files, on the codes of its own program ``fpcalc``.

    By acoustid-server's ``FingerprintSearcher`` and pg_acoustid's ``acoustid_compare2`` (both MIT, Lukáš
    Lalinský): codes of 28 bits are looked up; tracks with more than a tenth of the best one's hits are
    candidates. Their place is where most codes of 14 bits agree; if that are less than 2 % of the distinct
    codes of 16 bits there, it is none. The score is the part of the query that lies inside, times 1 less
    twice the part of bits that differ; where codes repeat, to the power of 8 - 7 d (d: how diverse they are).
    AcoustID counts a score above 0.4 as a match.

    What it does besides is for whole files of one length, and would find no excerpt at all: only codes 80 to
    200 are looked up, the place may be 80 codes off at most, and lengths may differ by 7 s. So here all codes
    of tracks and queries are looked up, at any place, and shares are those of the overlapping part.
    """

    name = "AcoustID's rule"
    _SILENCE: Final = np.uint32(627_964_279)

    def __init__(self) -> None:
        """Without tracks."""
        self._tracks: list[tuple[str, Codes]] = []
        self._postings: dict[int, list[int]] = defaultdict(list)
        self.program_register = self.program_ask = 0.0
        """CPU seconds of fpcalc alone."""

    def register(self, tracks: Mapping[str, Path]) -> float:
        """Run fpcalc on each file."""
        began, children = time.process_time(), _children()
        for name, path in tracks.items():
            codes = _fpcalc(path)
            number = len(self._tracks)
            self._tracks.append((name, codes))
            for key in np.unique(codes[codes != self._SILENCE] >> 4).tolist():
                self._postings[key].append(number)
        self.program_register = _children() - children
        return time.process_time() - began + self.program_register

    def ask(self, queries: Sequence[Path]) -> tuple[list[list[Hit]], float]:
        """Run fpcalc on each file, and compare."""
        began, children = time.process_time(), _children()
        found = [self._found(_fpcalc(path)) for path in queries]
        self.program_ask = _children() - children
        return found, time.process_time() - began + self.program_ask

    def _found(self, codes: Codes) -> list[Hit]:
        hits: Counter[int] = Counter()
        for key in np.unique(codes[codes != self._SILENCE] >> 4).tolist():
            hits.update(self._postings.get(key, ()))
        least = max(hits.values(), default=0) * 0.1
        compared = [_compared(*self._tracks[number], codes) for number, n in hits.items() if n > least]
        return sorted((one for one in compared if one.score > 0), key=lambda one: -one.score)

    def size(self) -> Size:
        """Codes in the database and, four bytes a code with its track, in the index, which is in memory."""
        codes = sum(len(codes) for _, codes in self._tracks)
        return Size(4 * codes + 8 * codes, 8 * codes)

    def close(self) -> None:
        """Nothing is held."""


def _compared(name: str, theirs: Codes, mine: Codes) -> Hit:
    """Score a candidate; see `AcoustId`."""
    last = {key: place for place, key in enumerate((mine >> 18).tolist())}
    counts = Counter(place - last[key] for place, key in enumerate((theirs >> 18).tolist()) if key in last)
    if not counts:
        return Hit(name, 0.0)
    offset, agreeing = counts.most_common(1)[0]
    here, there = mine[max(0, -offset) :], theirs[max(0, offset) :]
    length = min(len(here), len(there))
    here, there = here[:length], there[:length]
    distinct = len(np.unique(here >> 16)), len(np.unique(there >> 16))
    if not length or agreeing < 0.02 * max(distinct):
        return Hit(name, 0.0)
    diversity = min(1.0, (min(distinct) + 10) / length + 0.5)
    error = float(np.bitwise_count(here ^ there).mean()) / 32
    score = max(0.0, length / len(mine) * (1 - 2 * error)) ** (8 - 7 * diversity)
    start = max(0, -offset) * STEP
    return Hit(name, score, (Part((start, start + length * STEP), max(0, offset) * STEP),))


def _fpcalc(path: Path) -> Codes:
    """Codes of the whole file; none if it is too short."""
    command = ["fpcalc", "-raw", "-length", "0", "-json", str(path)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    if not done.stdout.strip():
        return np.zeros(0, np.uint32)
    return np.array(json.loads(done.stdout)["fingerprint"], np.int64).astype(np.uint32)


def fpcalc_seconds(paths: Iterable[Path]) -> float:
    """CPU seconds that fpcalc takes for some files, as a program for each."""
    before = _children()
    for path in paths:
        _fpcalc(path)
    return _children() - before


def _children() -> float:
    """CPU seconds of the programs that were run."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


class Audfprint:
    """Dan Ellis's landmarks, as ``audfprint2`` ships them, with the defaults: queries at four shifts.

    It gets samples at 11,025 a second, which are decoded beforehand and not counted.
    """

    name = "audfprint"
    _SHIFTS: Final = 4
    _RETURNS: Final = 20

    def __init__(self) -> None:
        """Without tracks."""
        from audfprint2.core.analyzer import Analyzer  # noqa: PLC0415 - not always installed
        from audfprint2.core.hash_table import HashTable  # noqa: PLC0415
        from audfprint2.core.matcher import Matcher as Theirs  # noqa: PLC0415
        from audfprint2.utils import audio  # noqa: PLC0415

        audio.HAVE_FFMPEG = False  # reads WAV by itself instead of starting ffmpeg
        self._folder = Path(tempfile.mkdtemp(prefix="bench-audio-"))
        self._analyzer: Any = Analyzer()
        self._table: Any = HashTable()
        self._matcher: Any = Theirs()
        self._matcher.max_returns = self._RETURNS
        self._matcher.window = 2
        self._matcher.find_time_range = True

    def register(self, tracks: Mapping[str, Path]) -> float:
        """Find landmarks and store them."""
        spent, self._analyzer.shifts = 0.0, 1
        for name, path in tracks.items():
            wav = self._decoded(path)
            began = time.process_time()
            pairs = self._analyzer.wavfile2hashes(str(wav))
            self._table.store(name, [(int(at), int(key)) for at, key in pairs.tolist()])
            spent += time.process_time() - began
        return spent

    def ask(self, queries: Sequence[Path]) -> tuple[list[list[Hit]], float]:
        """Find landmarks and look them up; a score is the number of landmarks that agree."""
        found, spent, self._analyzer.shifts = [], 0.0, self._SHIFTS
        for path in queries:
            wav = self._decoded(path)
            began = time.process_time()
            rows, _, _ = self._matcher.match_file(self._analyzer, self._table, str(wav))
            spent += time.process_time() - began
            found.append([self._hit(row) for row in rows])
        return found, spent

    def _hit(self, row: npt.NDArray[np.int64]) -> Hit:
        track, agreeing, offset, _, _, first, last = (int(one) for one in row)
        hop = self._analyzer.n_hop / self._analyzer.target_sr
        part = Part((first * hop, last * hop), (first + offset) * hop)
        return Hit(self._table.names[track], float(agreeing), (part,))

    def _decoded(self, path: Path) -> Path:
        out = self._folder / "sound.wav"
        with path.open("rb") as file:
            pieces = decode.decode(file, MediaLimits())
            sound = np.concatenate([np.atleast_2d(piece.data)[0] for piece in pieces])
        wavfile.write(out, decode.RATE, np.rint(sound.clip(-1, 1) * 32767).astype(np.int16))
        return out

    def size(self) -> Size:
        """Four bytes a landmark, all in memory."""
        stored = 4 * int(self._table.counts.clip(max=self._table.depth).sum())
        return Size(stored, stored)

    def close(self) -> None:
        """Remove its folder."""
        shutil.rmtree(self._folder)


class Olaf:
    """Joren Six's Olaf, as a program of its own (AGPL; built by ``make compile_core``), with its defaults.

    It combines peaks of a spectrum and names a track from six combinations that agree on a place. It gets
    float samples at 16,000 a second, which are decoded beforehand and not counted.
    """

    name = "Olaf"
    _RATE: Final = 16_000

    def __init__(self) -> None:
        """Without tracks."""
        self._folder = Path(tempfile.mkdtemp(prefix="bench-audio-"))
        (self._folder / ".olaf" / "db").mkdir(parents=True)
        self._environment = {**os.environ, "HOME": str(self._folder)}  # where it keeps its database

    def register(self, tracks: Mapping[str, Path]) -> float:
        """Find combinations and store them."""
        spent = 0.0
        for name, path in tracks.items():
            spent += self._run("store", path, name)[1]
        return spent

    def ask(self, queries: Sequence[Path]) -> tuple[list[list[Hit]], float]:
        """Find combinations and look them up; a score is how many agree."""
        answers = [self._run("query", path, "query") for path in queries]
        found = [[olaf_hit(line) for line in text.splitlines() if line.strip()] for text, _ in answers]
        ranked = [sorted(hits, key=lambda hit: -hit.score) for hits in found]
        return ranked, sum(spent for _, spent in answers)

    def _run(self, command: str, path: Path, name: str) -> tuple[str, float]:
        raw = self._folder / "sound.raw"
        with path.open("rb") as file:
            raw.write_bytes(decoded(file, "mono", self._RATE).tobytes())
        before = _children()
        done = subprocess.run(
            ["olaf_core", command, str(raw), name],
            capture_output=True,
            check=True,
            text=True,
            env=self._environment,
        )
        return done.stdout, _children() - before

    def size(self) -> Size:
        """Its database, which it reads from disk."""
        stored = sum(path.stat().st_size for path in self._folder.rglob("*.mdb"))
        return Size(stored, 0)

    def close(self) -> None:
        """Remove its folder."""
        shutil.rmtree(self._folder)


def olaf_hit(line: str) -> Hit:
    """What a line of Olaf's names: how many agree, where in the query, the track, its number, where in it."""
    agreeing, first, last, rest = line.split(", ", 3)
    name, _, start, end = rest.rsplit(", ", 3)
    length = float(last) - float(first)
    speed = (float(end) - float(start)) / length if length > 0 else 1.0
    return Hit(name, float(agreeing), (Part((float(first), float(last)), float(start), speed),))


PROGRAMS: Final[Mapping[str, Callable[[], Matcher]]] = {
    "acoustid": AcoustId,
    "audfprint": Audfprint,
    "olaf": Olaf,
    "copyhound": Copyhound,
}
"""By name."""


def missing(name: str) -> str | None:
    """What to do before a matcher can run; None: nothing."""
    if name == "acoustid" and not shutil.which("fpcalc"):
        return "AcoustID's rule is left out: there is no fpcalc; apt install libchromaprint-tools"
    if name == "audfprint" and not find_spec("audfprint2"):
        return "audfprint is left out: pip install audfprint2"
    if name == "olaf" and not shutil.which("olaf_core"):
        return "Olaf is left out: there is no olaf_core; make compile_core in github.com/JorenSix/Olaf"
    return None
