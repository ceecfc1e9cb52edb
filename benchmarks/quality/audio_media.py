"""Tracks for the benchmarks of sound, excerpts of them under attack, and which of them are one recording.

Files lie in a folder of origin each (an album, a game's package). An origin is registered or strange as a
whole, so that what was never registered comes from other people. Files of at least `LONG` seconds are tracks;
shorter ones (speech, effects) are joined to tracks of about a minute, one after the other by name.
"""

import hashlib
import random
import re
import wave
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import av
import numpy as np
import scipy.signal

from benchmarks.quality.audio_attacks import ALL, ATTACKS, FAR, RATE, Altered, Hand, Place, Sound, decoded
from benchmarks.quality.metrics import Asked
from indexers.audio import chromaprint
from indexers.audio.chromaprint import STEP, SUPPORT
from indexers.audio.decode import RATE as CODES_RATE

LONG: Final = 30.0
"""Seconds from which on a file is a track by itself: the longest excerpt, and what attacks need beyond."""
LONGEST: Final = 375.0
"""Seconds above which files are left out: they take time, and one peer counts no further than 380."""
_CLIP: Final = 0.5
_JOINED: Final = 60.0
_JOINED_TRACKS: Final = 6
"""Tracks joined of short files, of one origin at most."""
_SUFFIXES: Final = {".aac", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav", ".wma"}
_VERSION: Final = re.compile(r"^\d+-|[-_ ](?:f|fast|slow|old|short|sd|enhanced)$")
"""In a file's name: a number, and what versions of one piece are told apart by."""
_STEMS: Final = 0.02
"""Seconds within which two tracks of an origin are equally long: the instruments of one piece."""

_DRAWN_AGAIN: Final = 4
"""How often an excerpt is drawn of which nothing can be heard after the attack."""
_SILENT: Final = 0.003
"""Root mean square below which nothing is heard: such an excerpt is no query."""
_BACKDROPS: Final = 24
_BACKDROP: Final = 30.0
"""Pieces of music and of speech that attacks mix in, and how many seconds each has."""

_CODE_RUN: Final = 40
_CODE_ERROR: Final = 0.12
_CODE_HITS: Final = 8
_CODE_COMMON: Final = 64
"""Tracks are one recording where `_CODE_RUN` codes (5 s) differ in less than this part of their bits and that
many distinct codes are equal, of those that no more than so many pairs of their places have."""


@dataclass(frozen=True, slots=True)
class Track:
    """Sound from one file, or from several short ones.

    Attributes:
        name: Origin and file.
        origin: The folder that it is from.
        paths: Its files, one after the other.
        seconds: How long they are together, as their containers say.
        make: Gives the sound where there is no file.
    """

    name: str
    origin: str
    paths: tuple[Path, ...]
    seconds: float
    make: Callable[[], Sound] | None = None

    def sound(self) -> Sound:
        """Decode all of it."""
        if self.make is not None:
            return self.make()
        return np.concatenate([_decoded(path) for path in self.paths], axis=1)

    def file(self, folder: Path) -> Path:
        """A file of it: its own, or one that is written into a folder."""
        if self.make is None and len(self.paths) == 1:
            return self.paths[0]
        path = folder / f"{hashlib.sha256(self.name.encode()).hexdigest()[:16]}.wav"
        if not path.exists():
            write_wav(path, self.sound())
        return path


@dataclass(frozen=True, slots=True)
class Question:
    """A query.

    Attributes:
        asked: Its name, the registered piece that it holds, and the attack.
        length: Seconds that were asked for.
        path: WAV, 16 bits, stereo, at `RATE`.
        places: Where parts of it come from; ``work`` counts from the start of the track.
        reference: The track that it was taken from, if that is registered.
    """

    asked: Asked
    length: int
    path: Path
    places: tuple[Place, ...]
    reference: str | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is registered and asked.

    Attributes:
        references: Files by name.
        pieces: Of each reference, the piece of which it is a version: what counts as right.
        seconds: Of each reference.
        questions: Queries, in the order of tracks.
        one_recording: Pairs of names that were found to be one recording; strangers among them are not asked.
        crowd: Files of tracks that nothing is asked about.
    """

    references: Mapping[str, Path]
    pieces: Mapping[str, str]
    seconds: Mapping[str, float]
    questions: Sequence[Question]
    one_recording: Sequence[tuple[str, str]]
    crowd: Sequence[Path]


@dataclass(frozen=True, slots=True)
class Sides:
    """Tracks, by what becomes of them.

    Attributes:
        registered: Are registered.
        strange: Are never registered; of other origins.
        crowd: Are neither registered nor asked about; of other origins again. Larger catalogues are made up
            of them.
    """

    registered: Sequence[Track]
    strange: Sequence[Track]
    crowd: Sequence[Track] = ()


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is asked.

    Attributes:
        lengths: Seconds of excerpts.
        per_attack: Excerpts of registered tracks under each attack, of each length.
        negatives: Excerpts of strange tracks of each length; half of them are attacked.
        attacks: Names of attacks.
    """

    lengths: Sequence[int] = (5, 10, 20)
    per_attack: int = 3
    negatives: int = 500
    attacks: Sequence[str] = tuple(ATTACKS)


def load(folders: Iterable[Path]) -> list[Track]:
    """All tracks below the folders, without equal files; an origin is a folder in them, or itself.

    Raises:
        ValueError: If there are none.
    """
    by_origin: dict[str, list[tuple[Path, float]]] = defaultdict(list)
    seen: set[bytes] = set()
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES):
            seconds = _seconds(path)
            digest = hashlib.sha256(path.read_bytes()).digest()
            if seconds >= _CLIP and digest not in seen:
                seen.add(digest)
                inside = path.relative_to(folder).parts
                by_origin[inside[0] if len(inside) > 1 else folder.name].append((path, seconds))
    tracks = [track for origin, files in by_origin.items() for track in _tracks(origin, files)]
    if not tracks:
        raise ValueError("no sound found: name folders of audio files")
    return tracks


def _seconds(path: Path) -> float:
    """How long a file says it is; 0 if it cannot be opened."""
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            return (container.duration or 0) / 1e6 if container.streams.audio else 0.0
    except (av.error.FFmpegError, OSError):
        return 0.0


def _tracks(origin: str, files: Sequence[tuple[Path, float]]) -> Iterator[Track]:
    """The long files of an origin, and tracks joined of its short ones."""
    for path, seconds in files:
        if LONG <= seconds <= LONGEST:
            yield Track(f"{origin}/{path.name}", origin, (path,), seconds)
    made, paths, total = 0, [], 0.0
    for path, seconds in files:
        if seconds < LONG and made < _JOINED_TRACKS:
            paths.append(path)
            total += seconds
            if total >= _JOINED:
                made += 1
                yield Track(f"{origin}/joined {made}", origin, tuple(paths), total)
                paths, total = [], 0.0


def split(
    tracks: Sequence[Track], references: int, strangers: int, rng: random.Random, crowd: int = 0
) -> Sides:
    """Give whole origins to each side, and of each side's origins in turn so many tracks."""
    by_origin: dict[str, list[Track]] = defaultdict(list)
    for track in tracks:
        by_origin[track.origin].append(track)
    origins = rng.sample(sorted(by_origin), len(by_origin))
    wanted = (references, strangers, crowd) if crowd else (references, strangers)
    sides: tuple[list[list[Track]], ...] = ([], [], [])
    for origin in sorted(origins, key=lambda one: -len(by_origin[one])):
        held = [sum(map(len, side)) / most for side, most in zip(sides, wanted, strict=False)]
        some = by_origin[origin]
        sides[held.index(min(held))].append(rng.sample(some, len(some)))
    return Sides(*(_in_turn(side, most) for side, most in zip(sides, wanted, strict=False)))


def _in_turn(lists: Sequence[Sequence[Track]], most: int) -> list[Track]:
    turns = range(max(map(len, lists), default=0))
    return [some[turn] for turn in turns for some in lists if turn < len(some)][:most]


@dataclass(frozen=True, slots=True)
class _Order:
    """An excerpt to be made."""

    attack: str
    length: int
    seed: int


@dataclass(frozen=True, slots=True)
class _Backdrops:
    """What attacks mix in."""

    voices: Sequence[Sound]
    music: Sequence[tuple[str, Sound]]


def make(sides: Sides, voices: Sequence[Track], amounts: Amounts, seed: int, folder: Path) -> Plan:
    """Draw and write the queries; each track is decoded once.

    Args:
        sides: What is registered and what is not.
        voices: Speech to mix in.
        amounts: How much.
        seed: Of all that is drawn.
        folder: Where WAV files are written.
    """
    rng = random.Random(seed)
    backdrops = _Backdrops(
        [sound for _, sound in _bank(voices, rng)],
        _bank(rng.sample(sides.strange, min(_BACKDROPS, len(sides.strange))), rng),
    )
    recordings = Recordings()
    taken: list[tuple[str | None, Question]] = []
    pairs: list[tuple[str, str]] = []
    attacks = [attack for attack in amounts.attacks for _ in range(amounts.per_attack)]
    left = _orders(attacks, amounts.lengths, rng)
    for number, track in enumerate(sides.registered):
        sound = track.sound()
        codes = _codes(sound)
        pairs += recordings.same(track.name, codes)
        recordings.add(track.name, codes)
        for _ in range(-(-len(left) // (len(sides.registered) - number))):
            question = _question(track, sound, left.pop(), backdrops, folder / f"{len(taken):05}.wav")
            taken.append((track.name, question))
    pieces = _pieces(sides.registered, pairs)
    attacks = [rng.choice(amounts.attacks) if number % 2 else "" for number in range(amounts.negatives)]
    left = _orders(attacks, amounts.lengths, rng)
    for number, track in enumerate(sides.strange):
        sound = track.sound()
        same = recordings.same(track.name, _codes(sound))
        if same:
            pairs += same
            continue
        for _ in range(-(-len(left) // (len(sides.strange) - number))):
            question = _question(track, sound, left.pop(), backdrops, folder / f"{len(taken):05}.wav")
            taken.append((None, question))
    return Plan(
        {track.name: track.file(folder) for track in sides.registered},
        pieces,
        recordings.seconds(),
        [
            replace(question, asked=replace(question.asked, target=pieces[name] if name else None))
            for name, question in taken
        ],
        pairs,
        [track.file(folder) for track in sides.crowd],
    )


def _orders(attacks: Sequence[str], lengths: Sequence[int], rng: random.Random) -> list[_Order]:
    orders = [_Order(attack, length, rng.getrandbits(32)) for attack in attacks for length in lengths]
    rng.shuffle(orders)
    return orders


def _question(track: Track, sound: Sound, order: _Order, backdrops: _Backdrops, path: Path) -> Question:
    """Attack an excerpt of a track and write it down; the target is not yet known."""
    rng = random.Random(order.seed)
    samples = order.length * RATE
    needed = samples * (6 if order.attack in FAR else 5) // 4 + RATE

    def voice(count: int) -> Sound:
        return _piece(rng.choice(backdrops.voices), count, rng)

    def other(count: int) -> Sound:
        strange = [music for origin, music in backdrops.music if origin != track.origin]
        return _piece(rng.choice(strange), count, rng)

    for _ in range(_DRAWN_AGAIN):
        start = _audible(sound, needed, rng)
        excerpt = sound[:, start : start + needed]
        if order.attack:
            altered = ALL[order.attack](excerpt, Hand(rng, voice, other), samples)
        else:
            altered = Altered(excerpt[:, :samples], (Place((0.0, float(order.length)), 0.0),))
        if _loudness(altered.sound) >= _SILENT:  # what a loop repeats may be a pause
            break
    write_wav(path, altered.sound)
    places = [replace(one, work=one.work + start / RATE) for one in altered.places]
    name = f"{track.name} from {start / RATE:.1f} s"
    return Question(Asked(name, None, order.attack), order.length, path, tuple(places), track.name)


def _loudness(sound: Sound) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))


def _audible(sound: Sound, samples: int, rng: random.Random) -> int:
    """Where an excerpt starts that can be heard; the loudest of several places, if none can."""
    last = sound.shape[1] - samples
    if last <= 0:
        return 0
    starts = [rng.randrange(last) for _ in range(8)]
    levels = [_loudness(sound[:, one : one + samples]) for one in starts]
    heard = [one for one, level in zip(starts, levels, strict=True) if level >= _SILENT]
    return heard[0] if heard else starts[int(np.argmax(levels))]


def _bank(tracks: Sequence[Track], rng: random.Random) -> list[tuple[str, Sound]]:
    """An audible piece of each of some tracks, with its origin."""
    chosen = rng.sample(tracks, min(_BACKDROPS, len(tracks)))
    pieces = []
    for track in chosen:
        sound = track.sound()
        start = _audible(sound, int(_BACKDROP * RATE), rng)
        pieces.append((track.origin, sound[:, start : start + int(_BACKDROP * RATE)].copy()))
    return pieces


def _piece(sound: Sound, samples: int, rng: random.Random) -> Sound:
    """So much of a backdrop, which is repeated where it is too short."""
    if sound.shape[1] <= samples:
        return np.tile(sound, (1, samples // sound.shape[1] + 1))[:, :samples]
    start = rng.randrange(sound.shape[1] - samples)
    return sound[:, start : start + samples]


class Recordings:
    """Finds which tracks are one recording, by equal codes at one distance and few bits that differ there.

    It is far stricter than any matcher here, so that what it calls one recording is no copy in dispute.
    """

    def __init__(self) -> None:
        """Without tracks."""
        self._codes: dict[str, chromaprint.Codes] = {}

    def add(self, name: str, codes: chromaprint.Codes) -> None:
        """Compare later tracks with this one."""
        self._codes[name] = codes

    def seconds(self) -> dict[str, float]:
        """How long each track is."""
        return {name: (len(codes) - 1) * STEP + SUPPORT / CODES_RATE for name, codes in self._codes.items()}

    def same(self, name: str, codes: chromaprint.Codes) -> list[tuple[str, str]]:
        """Pairs of a track and each of those added that shares five seconds with it."""
        return [(name, other) for other, theirs in self._codes.items() if _one_recording(codes, theirs)]


def _one_recording(mine: chromaprint.Codes, theirs: chromaprint.Codes) -> bool:
    shared = np.intersect1d(mine, theirs)
    if len(shared) < _CODE_HITS:
        return False
    # Every place of a shared code, unless it is a common one.
    distances = [
        np.subtract.outer(np.flatnonzero(mine == code), np.flatnonzero(theirs == code)).ravel()
        for code in shared
        if (mine == code).sum() * (theirs == code).sum() <= _CODE_COMMON
    ]
    counts = Counter(int(one) for some in distances for one in np.unique(some))
    return any(
        _least_error(mine, theirs, distance) < _CODE_ERROR
        for distance, count in counts.most_common(4)
        if count >= _CODE_HITS
    )


def _least_error(mine: chromaprint.Codes, theirs: chromaprint.Codes, distance: int) -> float:
    """Part of the bits that differ in the best run of `_CODE_RUN` codes, at a distance in codes."""
    mine, theirs = mine[max(0, distance) :], theirs[max(0, -distance) :]
    length = min(len(mine), len(theirs))
    if length < _CODE_RUN:
        return 1.0
    errors = np.bitwise_count(mine[:length] ^ theirs[:length]).astype(np.int64)
    sums = np.concatenate([[0], errors.cumsum()])
    return float((sums[_CODE_RUN:] - sums[:-_CODE_RUN]).min()) / (32 * _CODE_RUN)


def _pieces(tracks: Sequence[Track], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The piece of each track: itself, or the first of those that are one with it.

    Tracks are one piece if they are one recording, versions of one name in one origin, or equally long there.
    """
    piece = {track.name: track.name for track in tracks}

    def join(one: str, other: str) -> None:
        old, new = piece[one], piece[other]
        for name, of in piece.items():
            if of == old:
                piece[name] = new

    for one, other in pairs:
        join(one, other)
    for number, track in enumerate(tracks):
        for earlier in tracks[:number]:
            alone = len(track.paths) == len(earlier.paths) == 1 and track.origin == earlier.origin
            if alone and (_title(track) == _title(earlier) or abs(track.seconds - earlier.seconds) < _STEMS):
                join(track.name, earlier.name)
    return piece


def _title(track: Track) -> str:
    return _VERSION.sub("", track.paths[0].stem)


def _codes(sound: Sound) -> chromaprint.Codes:
    half = scipy.signal.resample_poly(sound.mean(axis=0), 1, RATE // CODES_RATE)
    return chromaprint.codes(np.asarray(half, np.float32))


def _decoded(path: Path) -> Sound:
    with path.open("rb") as file:
        return decoded(file)


def write_wav(path: Path, sound: Sound) -> None:
    """Write 16 bits, stereo, at `RATE`."""
    samples = np.rint(np.clip(sound, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.ascontiguousarray(samples.T).tobytes())


def made_up(count: int, seconds: float, origins: int = 2) -> list[Track]:
    """Melodies over chords of a few harmonics each, which no two tracks share: to show that it works."""
    return [
        Track(
            f"made up {number % origins}/{number}",
            f"made up {number % origins}",
            (),
            seconds,
            partial(_melody, number, seconds),
        )
        for number in range(count)
    ]


def _melody(seed: int, seconds: float) -> Sound:
    generator = np.random.default_rng(seed)
    out = np.zeros((2, int(seconds * RATE)), np.float32)
    base = 110.0 * 2 ** (generator.integers(0, 12) / 12)
    beat = generator.uniform(0.2, 0.4)
    scale = np.sort(generator.choice(24, 10, replace=False))
    for place in np.arange(0.0, seconds, beat):
        first = int(place * RATE)
        length = min(int(beat * generator.integers(1, 5) * RATE), out.shape[1] - first)
        t = np.arange(length) / RATE
        for _ in range(2):
            tone = base * 2 ** (generator.choice(scale) / 12)
            wave_form = sum(np.sin(2 * np.pi * tone * k * t) / k for k in range(1, 5))
            note = wave_form * np.exp(-3 * t) * generator.uniform(0.03, 0.1)
            out[:, first : first + length] += note * generator.uniform(0.5, 1.0, (2, 1))
    return out
