"""Pairs of films, copies and others, with the signals of each: what the score of films is fitted on.

Of every film the first part is registered. Copies are clips of it, changed by `ATTACKS`; clips of the rest
are other moments of the same scene, which are no copies; and all clips are strangers to all other films.
Clips are described as queries are: in stages, each of which looks closer where the one before saw something,
until one is sure by the coefficients that ship (`service.inquiry`). Frames are taken from the files once and
changed as pictures, since describing them is what the signals depend on; JPEG stands for what encoding does
to them. Sound is left out: the terms of sound are those that were fitted on sounds.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias
from uuid import UUID

import av
import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.quality.pairs import Pairs
from indexers.fingerprint import Fingerprint, joined
from indexers.image.decode import Picture
from indexers.index import Hits
from indexers.index.faiss import FaissIndex
from indexers.modality import Alignment, Channel, Role, Segment, described
from indexers.video import VideoModality
from indexers.video.decode import SHORT_SECONDS, SHORT_STEP, STEP, Frame, Piece
from indexers.video.frames import FRAMES
from service.domain import DescriptorOwner
from service.inquiry import LATER, PLAUSIBLE, SURE, WHOLE
from service.matching.retrieve import retrieve
from service.matching.score import Scorer

SIGNALS: Final = (
    "frames_evidence", "frames_count", "frames_similarity", "frames_contrast", "frames_motion",
    "frames_lead", "frames_change", "frames_speed", "frames_seconds",
)  # fmt: skip

_RATE: Final = 4
"""Frames a second that are taken from a file."""
_LONGEST: Final = 90.0
"""Seconds of a film that are used."""
_SIDE: Final = 448
_REGISTERED: Final = 0.6
"""Part of a film that is registered, where the rest is long enough to take clips from."""
_CLIP: Final = (5.0, 25.0)
_REST: Final = 3.0
"""Shortest rest to take clips from, seconds: films in which little changes are short ones here, and other
moments of theirs count too."""
_PIECE: Final = (3.0, 5.0)
"""Seconds of a clip that are asked about by themselves too."""
_RELATIVES: Final = 0.1
"""Films of one series that a query is alike to on average: as often as it is a copy (`fit_score.PRIOR`)."""
_SEEN: Final = 0.5
"""Evidence from which on two films look like one scene."""
_KEPT: Final = ("descriptors", "spans", "quality", "views", "regions")
"""What a cache keeps of a query."""
_SUFFIXES: Final = {".mp4", ".webm", ".avi", ".mkv", ".mov", ".ogv", ".mpg", ".flv", ".m4v"}

Generator: TypeAlias = np.random.Generator
Change: TypeAlias = Callable[[Picture, Picture, float], Picture]
"""(frame, frame of another film, strength 0..1) to frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """Frames of a film, `_RATE` a second, as JPEG files.

    Attributes:
        name: Of its file.
        collection: The folder that it came from: films of one have style and scenes in common.
        frames: See above.
    """

    name: str
    collection: str
    frames: tuple[npt.NDArray[np.uint8], ...]

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.frames) / _RATE

    def at(self, time: float) -> Picture:
        """The frame that is shown at a time; the last one after the end."""
        frame = cv2.imdecode(self.frames[min(len(self.frames) - 1, max(0, int(time * _RATE)))], 1)
        return np.asarray(frame, np.uint8)[:, :, ::-1]


def load(folders: Sequence[Path]) -> list[Film]:
    """Read the films in folders: one of each family, by the beginnings of their names."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in _SUFFIXES:
                family = re.split(r"[^a-z]", path.stem.rsplit("__", 1)[-1].lower().lstrip("_-"))[0]
                found.setdefault(family or path.stem, path)
    films = (_film(path) for path in found.values())
    return [film for film in films if film.seconds >= _CLIP[0]]


def _film(path: Path) -> Film:
    frames: list[npt.NDArray[np.uint8]] = []
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        begin = None
        for frame in container.decode(stream):
            begin = frame.time if begin is None else begin
            now = (frame.time or 0.0) - (begin or 0.0)
            if now > _LONGEST:
                break
            if now * _RATE < len(frames):
                continue
            scale = min(1.0, _SIDE / max(frame.width, frame.height))
            size = (round(frame.width * scale / 2) * 2, round(frame.height * scale / 2) * 2)
            small = frame.reformat(*size, format="bgr24", interpolation="AREA").to_ndarray()
            frames.append(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 92])[1])
    return Film(path.name, str(path.resolve().parent), tuple(frames))


def _same(frame: Picture, _other: Picture, _strength: float) -> Picture:
    return frame


def _mirrored(frame: Picture, _other: Picture, _strength: float) -> Picture:
    return frame[:, ::-1]


def _cropped(frame: Picture, _other: Picture, strength: float) -> Picture:
    height, width = frame.shape[:2]
    part = 0.85 - 0.3 * strength
    top, left = round(height * (1 - part) * strength), round(width * (1 - part) * (1 - strength))
    return frame[top : top + round(height * part), left : left + round(width * part)]


def _inside(frame: Picture, other: Picture, strength: float) -> Picture:
    """Picture in picture."""
    height, width = 252, 448
    canvas = cv2.resize(other, (width, height), interpolation=cv2.INTER_AREA)
    part = 0.6 - 0.25 * strength
    small = cv2.resize(frame, (round(width * part), round(height * part)), interpolation=cv2.INTER_AREA)
    top = round((height - small.shape[0]) * (0.05 if strength < 0.5 else 0.95))
    left = round((width - small.shape[1]) * (0.05 if int(strength * 10) % 2 else 0.95))
    canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
    return np.asarray(canvas, np.uint8)


def _reaction(frame: Picture, other: Picture, strength: float) -> Picture:
    """Another film in a corner of this one."""
    return _inside(other, frame, 0.5 + strength / 2)


def _upright(frame: Picture, _other: Picture, strength: float) -> Picture:
    """A vertical short between blurred bars, with a caption."""
    width, height = 252, 448
    canvas = cv2.GaussianBlur(cv2.resize(frame, (width, height)), (0, 0), 12)
    if strength > 0.5:  # the middle square of it
        side = min(frame.shape[:2])
        left = (frame.shape[1] - side) // 2
        frame = frame[:side, left : left + side]
    part = cv2.resize(
        frame, (width, round(width * frame.shape[0] / frame.shape[1])), interpolation=cv2.INTER_AREA
    )
    top = max(0, (height - part.shape[0]) // 2)
    canvas[top : top + part.shape[0]] = part[:height]
    cv2.putText(canvas, "WAIT FOR IT", (20, 60), cv2.FONT_HERSHEY_DUPLEX, 1.0, (255, 255, 255), 3)
    return np.asarray(canvas, np.uint8)


def _boxed(frame: Picture, _other: Picture, strength: float) -> Picture:
    bars = round(frame.shape[0] * (0.1 + 0.15 * strength))
    return np.pad(frame, ((bars, bars), (0, 0), (0, 0)))


def _beside(frame: Picture, other: Picture, strength: float) -> Picture:
    """Two films side by side."""
    one, two = (cv2.resize(each, (224, 252), interpolation=cv2.INTER_AREA) for each in (frame, other))
    return np.asarray(np.hstack([one, two] if strength < 0.5 else [two, one]), np.uint8)


def _captioned(frame: Picture, _other: Picture, _strength: float) -> Picture:
    changed = np.ascontiguousarray(frame)
    height, width = changed.shape[:2]
    cv2.rectangle(changed, (0, round(height * 0.78)), (width, height), (20, 20, 20), -1)
    cv2.putText(changed, "subtitles here", (8, round(height * 0.9)), 0, 0.8, (255, 255, 255), 2)
    cv2.circle(changed, (round(width * 0.85), round(height * 0.15)), round(height * 0.1), (250, 40, 40), -1)
    return np.asarray(changed, np.uint8)


def _coloured(frame: Picture, _other: Picture, strength: float) -> Picture:
    bright: npt.NDArray[np.float64] = 255 * np.power(frame / 255.0, 0.6 + strength)
    return np.asarray(bright.mean(axis=2, keepdims=True).repeat(3, axis=2), np.uint8)


def _poor(frame: Picture, _other: Picture, strength: float) -> Picture:
    """Small, noisy, and a little turned: filmed off a screen."""
    height, width = frame.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 6 * strength - 3, 0.9)
    turned = cv2.warpAffine(frame, turn, (width, height), borderValue=(30, 30, 35))
    shrunk = cv2.resize(turned, (160, 90), interpolation=cv2.INTER_AREA)
    small = np.asarray(shrunk, np.int16)
    noise = np.random.default_rng(int(strength * 1e6)).normal(0, 9, small.shape)
    return np.asarray((small + noise).clip(0, 255), np.uint8)


ATTACKS: Final[dict[str, tuple[Change, tuple[float, ...]]]] = {
    "plain": (_same, (1.0,)),
    "mirrored": (_mirrored, (1.0,)),
    "cropped": (_cropped, (1.0,)),
    "inside": (_inside, (1.0,)),
    "reaction": (_reaction, (1.0,)),
    "upright": (_upright, (1.0,)),
    "boxed": (_boxed, (1.0,)),
    "beside": (_beside, (1.0,)),
    "captioned": (_captioned, (1.0,)),
    "coloured": (_coloured, (1.0,)),
    "poor": (_poor, (1.0,)),
    "speed": (_same, (0.8, 1.25, 1.5)),
    "backwards": (_same, (-1.0,)),
    "inserted": (_same, (1.0,)),
}
"""What is done to frames, and the speeds at which clips are played."""

_WITH_OTHER: Final = {"inside", "reaction", "beside", "inserted"}
"""Those that need another film."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A query.

    Attributes:
        film: Number of the film that it was taken from.
        other: Number of the film that is in it too; None: there is none.
        copy: Whether it was taken from what is registered.
        attack: What was done to it.
        start: Where in the film, seconds.
        seconds: How long, in the film.
        speed: Of playing.
        query: Its fingerprints.
    """

    film: int
    other: int | None
    copy: bool
    attack: str
    start: float
    seconds: float
    speed: float
    query: tuple[Fingerprint, ...]


class Registered:
    """What is registered, as a query finds it."""

    def __init__(self, works: Sequence[tuple[Fingerprint, ...]], modality: VideoModality) -> None:
        """Index frames."""
        self._works, self._modality, self._scorer = works, modality, Scorer.load()
        self._frames = tuple(one for one in modality.channels if one.scheme == FRAMES)
        codes = [next(one for one in work if one.scheme == FRAMES).descriptors for work in works]
        firsts = np.cumsum([0, *map(len, codes)]).tolist()
        self._owners = {
            row: DescriptorOwner(UUID(int=number), UUID(int=number), firsts[number], len(rows))
            for number, rows in enumerate(codes)
            for row in range(firsts[number], firsts[number + 1])
        }
        self._index = FaissIndex(FRAMES)
        self._index.add(np.arange(firsts[-1]), np.concatenate(codes))

    def asked(
        self, segments: Iterable[Segment[Piece]], without: int | None = None
    ) -> tuple[Fingerprint, ...]:
        """Describe a query in stages, as `service.inquiry` wants them.

        Args:
            segments: The query.
            without: Number of the work that it shows too, as if it were not registered: were it found, the
                service would look no further.
        """
        stages = self._modality.fingerprint(segments, Role.QUERY)
        query: tuple[Fingerprint, ...] = ()
        found: dict[int, Alignment] = {}
        looked_at: Sequence[int] = ()
        for number in range(1, len(self._modality.stages) + 1):
            closer = frozenset[int]().union(*(found[one].views for one in looked_at))
            fresh = stages.send(closer) if number > 1 else next(stages)
            query = joined((*query, *fresh))
            if fresh:
                near = [one for one in self._near(fresh, later=number > 1) if one != without]
                again = (one for one, known in found.items() if self._sure(known) >= PLAUSIBLE)
                naming = (one for one in looked_at if found[one].views)
                compared = {
                    one: self._compared(query, one) for one in dict.fromkeys((*near, *again, *naming))
                }
                looked_at = [one for one, alignment in compared.items() if alignment is not None]
                found |= {one: alignment for one, alignment in compared.items() if alignment is not None}
            scene = number in self._modality.scene_stages
            uncertain = number in self._modality.place_stages
            if any(
                one.query_coverage >= WHOLE
                and not (uncertain and one.uncertain)
                and self._sure(one, scene=scene) >= SURE
                for one in found.values()
            ):
                break
        return query

    def _near(self, fresh: Sequence[Fingerprint], *, later: bool) -> list[int]:
        """The works that a stage brings near, nearest first; of a later stage those that are compared."""
        most = len(self._works)
        near = retrieve(fresh, self._frames, self._find, self._owned, most, in_time=lambda: True)
        kept = (one for rank, one in enumerate(near.found) if not later or rank < LATER or one.leads)
        return [one.work_id.int for one in kept]

    def _find(self, channel: Channel, queries: npt.NDArray[Any], limit: int) -> Hits:
        if channel.search is None:
            raise ValueError("frames are searched")
        return self._index.search(queries, radius=channel.search.radius, limit=limit)

    def _owned(self, _scheme: str, ids: npt.NDArray[np.int64]) -> dict[int, DescriptorOwner]:
        return {one: self._owners[one] for one in ids.tolist()}

    def _compared(self, query: Sequence[Fingerprint], number: int) -> Alignment | None:
        return self._modality.align(query, self._works[number])

    def _sure(self, alignment: Alignment, *, scene: bool = False) -> float:
        of = self._scorer.scene if scene else self._scorer.probability
        return of(self._modality.name, alignment.signals, len(self._index))


def registered_seconds(film: Film) -> float:
    """How much of a film is registered."""
    return film.seconds * _REGISTERED if film.seconds * (1 - _REGISTERED) >= _REST else film.seconds


def references(films: Sequence[Film], modality: VideoModality) -> list[tuple[Fingerprint, ...]]:
    """Describe what of each film is registered."""
    found = []
    for film in films:
        seconds = registered_seconds(film)
        step = SHORT_STEP if seconds <= SHORT_SECONDS else STEP
        times = np.arange(0.0, seconds, step)
        segments: list[Segment[Piece]] = [
            Segment(float(time), float(time + step), Frame(film.at(time))) for time in times
        ]
        found.append(described(modality, segments, Role.REFERENCE))
    return found


def clips(
    films: Sequence[Film], seed: int, per_attack: int, registered: Registered, cache: Path | None = None
) -> Iterator[Clip]:
    """Make clips: of each attack so many copies, and as many other moments of the same scenes.

    Args:
        films: What they are made of.
        seed: Of all that is drawn.
        per_attack: How many copies.
        registered: What they are asked about.
        cache: Folder that keeps what was described: a run that was stopped goes on from there.
    """
    for attack in ATTACKS:
        for number in range(2 * per_attack):
            rng = np.random.default_rng([seed, list(ATTACKS).index(attack), number])
            kept = None if cache is None else cache / f"{seed}-{attack}-{number}.npz"
            made = _clip(films, attack, rng, registered, kept, copy=number % 2 == 0)
            if made is not None:
                yield made


def _clip(
    films: Sequence[Film],
    attack: str,
    rng: Generator,
    registered: Registered,
    kept: Path | None,
    *,
    copy: bool,
) -> Clip | None:
    change, speeds = ATTACKS[attack]
    number, other = map(int, rng.choice(len(films), 2, replace=False))
    film, elsewhere = films[number], films[other]
    cut = registered_seconds(film)
    low, high = (0.0, cut) if copy else (cut, film.seconds)
    seconds = float(min(rng.uniform(*_CLIP), high - low))
    start = float(rng.uniform(low, high - seconds))
    speed, strength, phase = (
        float(rng.choice(speeds)),
        float(rng.uniform()),
        float(rng.uniform(0, SHORT_STEP)),
    )
    if seconds < _REST:
        return None
    with_other = other if attack in _WITH_OTHER else None
    about = number, with_other, copy, attack, start, seconds, speed
    if kept is not None and kept.exists():
        with np.load(kept) as file:
            return Clip(*about, (Fingerprint(FRAMES, *(file[name] for name in _KEPT)),))
    shown = []
    for time in np.arange(0.0, seconds / abs(speed), SHORT_STEP):
        place = start + (time + phase) * speed if speed > 0 else start + seconds + (time + phase) * speed
        shown.append((film.at(min(place, high)), elsewhere.at(time % elsewhere.seconds)))
    pictures = [change(one, two, strength) for one, two in shown]
    if attack == "inserted":
        pad = [elsewhere.at(0.5 * step) for step in range(8)]
        pictures = [*pad, *pictures, *pad]
    segments: list[Segment[Piece]] = [
        Segment(SHORT_STEP * step, SHORT_STEP * (step + 1), Frame(_encoded(picture)))
        for step, picture in enumerate(pictures)
    ]
    query = registered.asked(segments, with_other)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **{name: getattr(query[0], name) for name in _KEPT})
    return Clip(*about, query)


def _encoded(picture: Picture) -> Picture:
    data = cv2.imencode(".jpg", np.ascontiguousarray(picture), [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    return np.asarray(cv2.imdecode(data, 1), np.uint8)


@dataclass(frozen=True, slots=True)
class Sample:
    """What is fitted.

    Attributes:
        scenes: Copies, and pairs that do not show one scene: strangers, and films of one collection, which
            may look alike.
        moments: Copies, and pairs of which that is likely: other moments of a registered scene, and films of
            one collection that look alike. Copies weigh as much as the others together.
        films: Names of the films.
    """

    scenes: Pairs
    moments: Pairs
    films: Sequence[str]


def make(folders: Sequence[Path], seed: int, per_attack: int, cache: Path | None = None) -> Sample:
    """Make clips, and compare each with all that is registered; see `clips` for the cache."""
    modality = VideoModality()
    modality.load()
    modality.prepare()
    films = load(folders)
    works = references(films, modality)
    made = list(clips(films, seed, per_attack, Registered(works, modality), cache))
    return compared(films, works, [*made, *pieces(made, seed)], modality)


def pieces(some: Sequence[Clip], seed: int) -> list[Clip]:
    """A few seconds of each clip, as compilations show them: of every other one a frame a second.

    Args:
        some: Clips; those between others' pictures are left out.
        seed: Of all that is drawn.
    """
    rng = np.random.default_rng([seed, len(ATTACKS)])
    found = []
    for number, clip in enumerate(one for one in some if one.attack != "inserted"):
        frames = clip.query[0]
        seconds = float(rng.uniform(*_PIECE))
        steps = max(0.0, float(frames.spans[:, 1].max()) - seconds) / SHORT_STEP
        start = int(rng.integers(0, int(steps) + 1)) * SHORT_STEP
        times = frames.spans[:, 0] - start
        chosen = (times > -SHORT_STEP / 2) & (times < seconds)
        if number % 2:
            chosen &= np.abs(times - np.rint(times / STEP) * STEP) < SHORT_STEP / 2
        if chosen.any():
            found.append(replace(clip, query=(_some(frames, chosen, start),)))
    return found


def _some(frames: Fingerprint, chosen: npt.NDArray[np.bool_], start: float) -> Fingerprint:
    """Some rows of frames, as if they began then, seconds."""
    values = {name: value[chosen] for name in _KEPT if (value := getattr(frames, name)) is not None}
    return Fingerprint(FRAMES, **(values | {"spans": np.maximum(values["spans"] - start, 0.0)}))


def compared(
    films: Sequence[Film],
    works: Sequence[tuple[Fingerprint, ...]],
    made: Iterable[Clip],
    modality: VideoModality,
) -> Sample:
    """Compare clips with all that is registered; but a clip with the other film that it shows."""
    rows, copies, own, alike, attacks, names = [], [], [], [], [], []
    for clip in made:
        shown = {films[one].collection for one in (clip.film, clip.other) if one is not None}
        for number, work in enumerate(works):
            found = None if number == clip.other else modality.align(clip.query, work)
            if found is None:
                continue
            rows.append([found.signals[name] for name in SIGNALS])
            copies.append(clip.copy and number == clip.film)
            own.append(number == clip.film)
            alike.append(films[number].collection in shown)
            attacks.append(clip.attack)
            names.append((films[clip.film].name, films[number].name))
    signals = np.array(rows, np.float64)
    are_copies, of_own = np.array(copies), np.array(own)
    relatives = np.array(alike) & ~are_copies
    seen = signals[:, SIGNALS.index("frames_evidence")] >= _SEEN

    def pairs(chosen: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]) -> Pairs:
        return Pairs(
            signals=signals[chosen],
            copies=are_copies[chosen],
            weights=weights[chosen],
            attacks=np.array(attacks)[chosen],
            names=np.array(names)[chosen],
            alike=relatives[chosen],
            references=len(works),
            unrelated=int((~are_copies & chosen).sum()),
            columns=SIGNALS,
        )

    scenes = are_copies | ~of_own
    related, strange = relatives & scenes, ~relatives & ~are_copies
    weights = np.select(
        [are_copies, related],
        [1.0 / are_copies.sum(), _RELATIVES / len(works) / max(1, related.sum())],
        1.0 / max(1, strange.sum()),
    )
    moments = (are_copies | relatives) & seen
    equal = np.where(
        are_copies,
        1.0 / max(1, (are_copies & moments).sum()),
        1.0 / max(1, (moments & ~are_copies).sum()),
    )
    return Sample(pairs(scenes, weights), pairs(moments, equal), [film.name for film in films])
