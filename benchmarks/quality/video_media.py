"""Films for the benchmark of films: what is registered, what is asked, and which files hold the same film.

Files lie in a folder of origin each (a repository, a package). Origins are registered or strange as a
whole. Of some strange films the first two fifths are registered and the last two fifths asked about: another
moment of the same scene, which is no copy.

Files that share `_SHARED` of their seconds count as one film, and only the longest is used: seconds are the
same where Meta's PDQ differs by at most `_ALIKE` bits, mirrored or not.
"""

import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame

from benchmarks.quality import audio_attacks
from benchmarks.quality.audio_attacks import Sound
from benchmarks.quality.metrics import Asked
from benchmarks.quality.video_attacks import ATTACKS, RATE, SIDE, Clip, Hand, Part, Picture, after
from indexers.image import hashes
from indexers.modality import Role

_SUFFIXES: Final = {".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".ogv", ".webm", ".wmv"}
_SHORTEST: Final = 4.0
"""Seconds that a film lasts at least."""
_MOMENTS: Final = 10.0
"""Seconds that a film lasts at least of which one moment is registered and another asked about."""
_MUTE: Final = 0.35
"""Part of the copies whose sound is taken away."""
_ALIKE: Final = 50
_SHARED: Final = 0.2

Hashes = npt.NDArray[np.uint8]
"""(n, 32) PDQ, packed."""


@dataclass(frozen=True, slots=True)
class Film:
    """A file.

    Attributes:
        name: Origin and file.
        origin: The folder that it is from.
        path: Where it is.
        seconds: How long its pictures last, as its container says.
    """

    name: str
    origin: str
    path: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class Question:
    """A query.

    Attributes:
        name: For people.
        attack: What was done to it; ``moment``: no copy, another moment of a registered scene.
        path: An MP4 file.
        parts: What it holds of registered films; empty: nothing.
        near: The registered film that shows another moment; empty: none.
    """

    name: str
    attack: str
    path: Path
    parts: tuple[Part, ...]
    near: str = ""

    @property
    def asked(self) -> list[Asked]:
        """One for each film that it holds, or one without a target."""
        films = sorted({part.film for part in self.parts})
        return [Asked(self.name, film, self.attack) for film in films] or [
            Asked(self.name, None, self.attack)
        ]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is registered and asked.

    Attributes:
        references: Files by name.
        seconds: How long each is.
        questions: Queries.
    """

    references: Mapping[str, Path]
    seconds: Mapping[str, float]
    questions: Sequence[Question]


@dataclass(frozen=True, slots=True)
class Sides:
    """Films, by what becomes of them.

    Attributes:
        registered: Are registered.
        strange: Are never registered; of other origins.
        moments: Strange ones too, of which one part is registered and another asked about.
    """

    registered: Sequence[Film]
    strange: Sequence[Film]
    moments: Sequence[Film]


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much is used.

    Attributes:
        references: Films to register.
        strangers: Films that are asked about and not registered.
        moments: Films of which other moments are asked about.
        per_attack: Copies by each attack.
        attacks: Names of attacks.
    """

    references: int = 60
    strangers: int = 60
    moments: int = 20
    per_attack: int = 6
    attacks: Sequence[str] = tuple(ATTACKS)


def load(folders: Iterable[Path]) -> list[Film]:
    """All films below the folders; an origin is a folder in them, or itself.

    Raises:
        ValueError: If there are none.
    """
    films = []
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES):
            inside = path.relative_to(folder).parts
            origin = inside[0] if len(inside) > 1 else folder.name
            if (seconds := _seconds(path)) >= _SHORTEST:
                films.append(Film(f"{origin}/{path.name}", origin, path, seconds))
    if not films:
        raise ValueError("no films found: name folders of video files")
    return films


def _seconds(path: Path) -> float:
    """How long a file says that its pictures last; 0 if it cannot be opened."""
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            if not container.streams.video:
                return 0.0
            whole, pictures = (container.duration or 0) / 1e6, container.streams.video[0]
            shown = float((pictures.duration or 0) * (pictures.time_base or 0))
            return shown if 0 < shown < whole - 1 else whole  # the sound may last longer
    except (av.error.FFmpegError, OSError):
        return 0.0


def apart(films: Sequence[Film], folder: Path) -> tuple[list[Film], list[list[str]]]:
    """Of files that hold the same film the longest alone; and the names of those that are one.

    What was seen of each file is kept in the folder.
    """
    codes = [_kept(film.path, folder) for film in films]
    group = list(range(len(films)))
    for one in range(len(films)):
        for other in range(one):
            if group[one] != group[other] and _one_film(codes[one], codes[other]):
                old, new = group[one], group[other]
                group = [new if of == old else of for of in group]
    by_group: dict[int, list[Film]] = defaultdict(list)
    for film, of in zip(films, group, strict=True):
        by_group[of].append(film)
    several = [sorted(some, key=lambda film: -film.seconds) for some in by_group.values()]
    return [some[0] for some in several], [[film.name for film in some] for some in several if len(some) > 1]


def _kept(path: Path, folder: Path) -> Hashes:
    kept = folder / "seen" / f"{_key(path, path.stat().st_size)}.npy"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, _seen(path))
    return np.asarray(np.load(kept), np.uint8)


def _one_film(mine: Hashes, theirs: Hashes) -> bool:
    if min(len(mine), len(theirs)) == 0:
        return False
    same = distances(mine[:, :32], theirs[:, :32]) <= _ALIKE
    same |= distances(mine[:, 32:], theirs[:, :32]) <= _ALIKE
    shorter = same.any(axis=1) if len(mine) <= len(theirs) else same.any(axis=0)
    return bool(shorter.mean() >= _SHARED)


def distances(mine: Hashes, theirs: Hashes) -> npt.NDArray[np.int64]:
    """Bits that differ, (n, m)."""
    return np.asarray(np.bitwise_count(mine[:, None] ^ theirs[None]).sum(axis=2), np.int64)


def _seen(path: Path) -> Hashes:
    """PDQ of each second and of its mirror image, (n, 64), where they say something."""
    rows = []
    for _, picture in sampled(path, 1.0, 256):
        codes, quality = zip(*(pdq(one) for one in (picture, picture[:, ::-1])), strict=True)
        if min(quality) >= 0.5:
            rows.append(np.concatenate(codes))
    return np.stack(rows) if rows else np.zeros((0, 64), np.uint8)


def pdq(picture: Picture) -> tuple[npt.NDArray[np.uint8], float]:
    """PDQ, (32,), and its quality, 0..1, as Meta defines both."""
    views, quality = hashes.pdq_views(hashes.square(np.ascontiguousarray(picture)), Role.REFERENCE)
    return views[0], quality


def sampled(
    path: Path, step: float, side: int, start: float = 0.0, end: float = float("inf")
) -> list[tuple[float, Picture]]:
    """The picture that is shown every so many seconds, with the time.

    Args:
        path: Of the file.
        step: Seconds.
        side: The longer side of the pictures at most, pixels.
        start: Where to begin, seconds.
        end: Where to stop.
    """
    found: list[tuple[float, Picture]] = []
    due = start
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        if start > 2:
            container.seek(int((start - 1) * 1e6))
        first = float((stream.start_time or 0) * (stream.time_base or 0))
        for packet in container.demux(stream):
            frames: Sequence[VideoFrame] = []
            with suppress(av.error.FFmpegError):
                frames = packet.decode()
            for frame in frames:
                time = (frame.time or 0.0) - first
                if time >= end:
                    return found
                if time < due - 1e-4:
                    continue
                picture = _picture(frame, side)
                while due <= time + 1e-4 and due < end:
                    found.append((due, picture))
                    due = start + len(found) * step
    return found


def _picture(frame: VideoFrame, side: int) -> Picture:
    factor = min(1.0, side / max(frame.width, frame.height))
    width, height = (max(16, round(one * factor) // 2 * 2) for one in (frame.width, frame.height))
    return np.asarray(frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray(), np.uint8)


@cache
def sound_of(path: Path) -> Sound | None:
    """All of a file's sound; None: it has none that can be read."""
    with av.open(str(path), metadata_errors="ignore") as container:
        if not container.streams.audio:
            return None
    try:
        with path.open("rb") as file:
            sound = audio_attacks.decoded(file)
    except (av.error.FFmpegError, ValueError):
        return None
    return sound if sound.shape[1] else None


def clip(film: Film, start: float, seconds: float) -> Clip:
    """A stretch of a film, or as much as there is of it.

    Raises:
        ValueError: If there is no picture in it.
    """
    pictures = [picture for _, picture in sampled(film.path, 1 / RATE, SIDE, start, start + seconds)]
    if not pictures:
        raise ValueError(f"{film.name} has no pictures from {start:.1f} s on: leave it out")
    sound = sound_of(film.path)
    if sound is not None:
        first = round(start * audio_attacks.RATE)
        sound = sound[:, first : first + round(len(pictures) / RATE * audio_attacks.RATE)]
    return Clip(pictures, sound, film.name, start)


def excerpt(film: Film, seconds: float, rng: random.Random) -> Clip:
    """So much of a film from anywhere, or all of it."""
    return clip(film, rng.uniform(0, max(0.0, film.seconds - seconds - 0.2)), seconds)


def write(path: Path, made: Clip, quality: int) -> None:
    """Write H.264 and AAC, MP4."""
    height, width = (one // 2 * 2 for one in made.pictures[0].shape[:2])
    part = path.with_suffix(".part")
    with av.open(str(part), "w", "mp4") as output:
        options = {"preset": "ultrafast", "crf": str(quality), "threads": "1"}
        stream = output.add_stream("libx264", rate=made.rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        sound = None
        if made.sound is not None:
            sound = output.add_stream("aac", rate=audio_attacks.RATE)
            assert isinstance(sound, AudioStream)  # noqa: S101 - a codec of sound
            sound.bit_rate, sound.layout = 64_000, "stereo"
        for number, picture in enumerate(made.pictures):
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, made.rate)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None and made.sound is not None:
            for first in range(0, made.sound.shape[1], 1024):
                samples = np.ascontiguousarray(made.sound[:, first : first + 1024], np.float32)
                heard = AudioFrame.from_ndarray(samples, "fltp", "stereo")
                heard.sample_rate, heard.pts = audio_attacks.RATE, first
                output.mux(sound.encode(heard))
            output.mux(sound.encode(None))
    part.rename(path)


def split(films: Sequence[Film], amounts: Amounts, rng: random.Random) -> Sides:
    """Give whole origins to either side, and of each side's origins in turn so many films.

    The strange side gives the moments first: its longest films.
    """
    by_origin: dict[str, list[Film]] = defaultdict(list)
    for film in films:
        by_origin[film.origin].append(film)
    origins = rng.sample(sorted(by_origin), len(by_origin))
    wanted = amounts.references, amounts.strangers + amounts.moments
    sides: tuple[list[list[Film]], list[list[Film]]] = ([], [])
    for origin in sorted(origins, key=lambda one: -len(by_origin[one])):
        held = [sum(map(len, side)) / most for side, most in zip(sides, wanted, strict=True)]
        some = by_origin[origin]
        sides[int(held[1] < held[0])].append(rng.sample(some, len(some)))
    strange = _in_turn(sides[1], len(films))
    long = sorted(strange, key=lambda film: -film.seconds)[: amounts.moments]
    moments = [film for film in long if film.seconds >= _MOMENTS]
    rest = [film for film in strange if film not in moments]
    return Sides(_in_turn(sides[0], amounts.references), rest[: amounts.strangers], moments)


def _in_turn(lists: Sequence[Sequence[Film]], most: int) -> list[Film]:
    turns = range(max(map(len, lists), default=0))
    return [some[turn] for turn in turns for some in lists if turn < len(some)][:most]


def make(sides: Sides, amounts: Amounts, seed: int, folder: Path) -> Plan:
    """Draw and write the queries; what lies in the folder from an earlier run with the same films stays.

    Args:
        sides: What is registered and what is not.
        amounts: How much.
        seed: Of all that is drawn.
        folder: Where files are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    references = {film.name: film.path for film in sides.registered}
    seconds = {film.name: film.seconds for film in sides.registered}
    questions = []
    longest = sorted(sides.registered, key=lambda film: -film.seconds)
    for attack in amounts.attacks:
        # Five seconds are hard to find in long works alone.
        asked = longest[: len(longest) // 3 + 1] if attack == "five_seconds" else sides.registered
        drawn = _rng(seed, attack).sample(asked, len(asked))[: amounts.per_attack]
        questions += [_copied(sides, film, attack, seed, folder) for film in drawn]
    for number, film in enumerate(sides.strange):
        attack = _rng(seed, film.name).choice(sorted(ATTACKS)) if number % 2 else ""
        asked_of = replace(sides, registered=[one for one in sides.strange if one != film])
        question = _copied(asked_of, film, attack or "excerpt", seed, folder)
        questions.append(replace(question, attack=attack, parts=()))
    for number, film in enumerate(sides.moments):
        first, last = 0.4 * film.seconds, 0.6 * film.seconds
        name = f"first part of {film.name}"
        references[name] = _cut(film, 0.0, first, folder)
        seconds[name] = first
        attack = _rng(seed, film.name).choice(sorted(set(ATTACKS) - {"compilation", "joined"}))
        question = _copied(sides, film, attack if number % 2 else "excerpt", seed, folder, earliest=last)
        questions.append(replace(question, attack="moment", parts=(), near=name))
    return Plan(references, seconds, questions)


def _rng(seed: int, *names: object) -> random.Random:
    return random.Random(f"{seed} {' '.join(map(str, names))}")


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:20]


def _cut(film: Film, start: float, seconds: float, folder: Path) -> Path:
    path = folder / f"{_key(film.path, start, seconds)}.mp4"
    if not path.exists():
        write(path, clip(film, start, seconds), 20)
    return path


def _copied(
    sides: Sides, film: Film, attack: str, seed: int, folder: Path, *, earliest: float = 0.0
) -> Question:
    """Attack an excerpt of a film, unless it lies in the folder."""
    fillers = [one for one in sides.strange if one != film]
    works = [one for one in sides.registered if one != film]
    drawn = [[one.name for one in some] for some in (fillers, works)]
    path = folder / f"{_key(_VERSION, film.path, film.seconds, attack, seed, earliest, drawn)}.mp4"
    about = path.with_suffix(".json")
    name = f"{film.name} {attack}"
    if path.exists() and about.exists():
        return Question(name, attack, path, tuple(map(_part, json.loads(about.read_text()))))
    rng, left = _rng(seed, attack, film.name), list[Film]()

    def other(seconds: float) -> Clip:
        return excerpt(rng.choice(fillers), seconds, rng)

    def work(seconds: float) -> Clip:
        if not left:
            left.extend(rng.sample(works, len(works)))
        return excerpt(left.pop(), seconds, rng)

    low, high = ATTACKS[attack].seconds
    seconds = rng.uniform(low, high)
    start = rng.uniform(earliest, max(earliest, film.seconds - seconds - 0.2))
    taken = clip(film, start, seconds)
    if rng.random() < _MUTE:
        taken = replace(taken, sound=None)
    made = ATTACKS[attack].alter(taken, Hand(rng, other, work))
    write(path, made.clip, made.quality)
    about.write_text(json.dumps([asdict(part) for part in made.parts]))
    return Question(name, attack, path, made.parts)


_VERSION: Final = 1
"""Of the attacks: a change of theirs makes all queries anew."""


def long_film(films: Sequence[Film], seconds: float, folder: Path) -> Film:
    """A film of about so many seconds, or less: what these films show, one after the other, small."""
    clips, total = [], 0.0
    for film in films:
        if total >= seconds:
            break
        taken = clip(film, 0.0, min(film.seconds, _LONGEST_SCENE))
        pictures = [np.ascontiguousarray(one[::2, ::2]) for one in taken.pictures[:: RATE // _SLOW]]
        clips.append(replace(taken, pictures=pictures, rate=_SLOW))
        total += clips[-1].seconds
    path = folder / f"{_key(seconds, *(film.path for film in films))}.mp4"
    if not path.exists():
        write(path, after(clips, [True] * len(clips)).clip, 26)
    return Film("a long film", "", path, total)


_SLOW: Final = 5
"""Pictures a second of a long film."""
_LONGEST_SCENE: Final = 60.0


def _part(values: Mapping[str, Any]) -> Part:
    query, work = (tuple(values[name]) for name in ("query", "work"))
    return Part(values["film"], (query[0], query[1]), (work[0], work[1]))


def made_up(count: int, seconds: float, folder: Path) -> list[Film]:
    """Films of a few scenes each, in which shapes move over a ground, to show that it works."""
    folder.mkdir(parents=True, exist_ok=True)
    films = []
    for number in range(count):
        path = folder / f"{number}.mp4"
        pictures = [_drawn(number, place / RATE) for place in range(round(seconds * RATE))]
        write(path, Clip(pictures, None, "", 0.0), 20)
        films.append(Film(f"made up {number % 2}/{number}", f"made up {number % 2}", path, seconds))
    return films


_SCENE: Final = 3.0


@cache
def _scene(number: int, scene: int) -> tuple[Picture, npt.NDArray[np.float64]]:
    """A ground of soft blots, and six shapes: place, way, size, colour of each."""
    generator = np.random.default_rng([number, scene])
    blots = generator.integers(0, 255, (4, 6, 3), np.uint8)
    return np.asarray(
        cv2.resize(blots, (240, 136), interpolation=cv2.INTER_CUBIC), np.uint8
    ), generator.random((6, 8))


def _drawn(number: int, time: float) -> Picture:
    ground, shapes = _scene(number, int(time / _SCENE))
    picture = ground.copy()
    passed = time % _SCENE / _SCENE
    for x, y, right, down, size, *colour in shapes:
        at = int(240 * (x + (right - 0.5) * passed * 0.6)), int(136 * (y + (down - 0.5) * passed * 0.6))
        ink = tuple(int(255 * one) for one in colour)
        if size < 0.5:
            cv2.circle(picture, at, int(8 + 30 * size), ink, -1)
        else:
            half = int(25 * size)
            cv2.rectangle(picture, (at[0] - half, at[1] - half), (at[0] + half, at[1] + half), ink, -1)
    return picture
