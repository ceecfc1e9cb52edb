"""Pairs of a query and a registered sound with the service's signals, for fitting the score of sounds.

Most of the music that is found is registered, and speech beside it; excerpts of registered music are
attacked, as are excerpts of what is not registered. Each query goes through retrieval as in the service, and
what that brings is aligned.
"""

import io
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import av
import numpy as np
import numpy.typing as npt
import scipy.signal

from benchmarks.quality import audio_attacks
from benchmarks.quality.audio_attacks import ATTACKS, RATE, Hand, Place, Sound
from benchmarks.quality.audio_media import Recordings
from benchmarks.quality.pairs import Pairs
from indexers.audio import AudioModality, chromaprint, decode
from indexers.audio.chromaprint import CHROMAPRINT
from indexers.errors import MediaError
from indexers.fingerprint import Fingerprint
from indexers.index.faiss import FaissIndex
from indexers.modality import Channel, MediaLimits, Role, Segment, described
from service.domain import DescriptorOwner
from service.matching import retrieve

SIGNALS: Final = ("chromaprint_evidence", "peak_evidence")
"""Columns of the pairs, as `indexers.audio.align` names and measures them."""
_CANDIDATES: Final = 30

REGISTERED_SHARE: Final = 0.72
"""Part of the tracks that are registered."""
LENGTHS: Final = (5, 10, 20)
"""Seconds of an excerpt."""
_SHORTEST: Final = 30.0
"""Seconds that a track lasts at least."""
_REMIX: Final = "fast"
"""In the name of a file that plays another one faster: neither a stranger nor a copy that an attack made."""
_TALK_FILES: Final = 24
"""Files of words that make a registered talk."""


@dataclass(frozen=True, slots=True, eq=False)
class Excerpt:
    """A query.

    Attributes:
        sound: (n,) as the service decodes it.
        attack: What was done to it.
        track: Number of the registered sound that it was taken from; None: not registered.
        start: Where in that, seconds.
        places: Which of its parts are which of the sound from `start` on.
    """

    sound: decode.Sound
    attack: str
    track: int | None
    start: float
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Collection:
    """Sounds to measure on.

    Attributes:
        registered: As the service decodes them.
        excerpts: Copies and others.
        one_recording: Numbers of two registered sounds that hold the same stretch: neither is unrelated to
            what was cut from the other.
    """

    registered: tuple[decode.Sound, ...]
    excerpts: tuple[Excerpt, ...]
    one_recording: frozenset[tuple[int, int]]


def make(music: Path, speech: Path, seed: int, per_attack: int, unrelated: int) -> Collection:
    """Cut and attack excerpts.

    Args:
        music: Folder with tracks.
        speech: Folder with two folders of short spoken files or more: one is registered, the others are
            mixed into what is attacked.
        seed: Of all that is drawn.
        per_attack: Copies of each length that each attack makes.
        unrelated: Queries of each length that are no copies.
    """
    rng = random.Random(seed)
    found = (path for path in sorted(music.rglob("*")) if path.is_file() and _REMIX not in path.stem.lower())
    tracks = [path for path in found if _seconds(path) >= _SHORTEST]
    rng.shuffle(tracks)
    cut = round(REGISTERED_SHARE * len(tracks))
    talks, voices = _spoken(speech, rng)
    registered = [*map(_read, tracks[:cut]), *talks]
    recordings = Recordings()
    one_recording = set()
    for number, sound in enumerate(registered):
        codes = chromaprint.codes(sound)
        one_recording |= {(number, int(other)) for _, other in recordings.same("", codes)}
        recordings.add(str(number), codes)
    apart = [path for path in tracks[cut:] if not recordings.same("", chromaprint.codes(_read(path)))]
    strangers = [_stereo(path) for path in apart]
    excerpts: list[Excerpt] = []
    for number, sound in _drawn([_Lazy(path) for path in tracks[:cut]], rng, len(ATTACKS) * per_attack):
        attack = tuple(ATTACKS)[len(excerpts) // len(LENGTHS) % len(ATTACKS)]
        hand = _hand(rng, voices, strangers)
        excerpts += [_excerpt(sound, attack, hand, length, number) for length in LENGTHS]
    for turn in range(unrelated):
        number = rng.randrange(len(strangers))
        others = [one for place, one in enumerate(strangers) if place != number]
        hand = _hand(rng, voices, others)
        attack = rng.choice(tuple(ATTACKS)) if turn % 2 else "as_it_is"
        excerpts += [_excerpt(strangers[number], attack, hand, length, None) for length in LENGTHS]
    both_ways = one_recording | {(other, one) for one, other in one_recording}
    return Collection(tuple(registered), tuple(excerpts), frozenset(both_ways))


def _hand(rng: random.Random, voice: Sound, others: Sequence[Sound]) -> Hand:
    return Hand(rng, lambda n: _part(voice, n, rng), lambda n: _part(rng.choice(others), n, rng))


class _Lazy:
    """A track that is read when it is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sound: Sound | None = None

    def read(self) -> Sound:
        if self._sound is None:
            self._sound = _stereo(self._path)
        return self._sound


def _drawn(tracks: Sequence[_Lazy], rng: random.Random, count: int) -> Iterator[tuple[int, Sound]]:
    for _ in range(count):
        number = rng.randrange(len(tracks))
        yield number, tracks[number].read()


def _excerpt(sound: Sound, attack: str, hand: Hand, length: int, track: int | None) -> Excerpt:
    samples = length * RATE
    needed = int(samples * 1.25) + RATE
    start = hand.rng.randrange(max(1, sound.shape[1] - needed))
    altered = ATTACKS[attack](sound[:, start : start + needed], hand, samples)
    mono = scipy.signal.resample_poly(altered.sound.mean(axis=0), 1, 2).astype(np.float32)
    return Excerpt(mono.clip(-1, 1), attack, track, start / RATE, altered.places)


def _part(sound: Sound, samples: int, rng: random.Random) -> Sound:
    start = rng.randrange(max(1, sound.shape[1] - samples))
    part = sound[:, start : start + samples]
    return np.pad(part, ((0, 0), (0, samples - part.shape[1])))


def _seconds(path: Path) -> float:
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            return (container.duration or 0) / av.time_base
    except av.error.FFmpegError:
        return 0.0


def _stereo(path: Path) -> Sound:
    try:  # the attacks want two channels
        return audio_attacks.decoded(io.BytesIO(path.read_bytes()))
    except av.error.FFmpegError:  # damaged: as much as the service reads, in one channel
        mono = scipy.signal.resample_poly(_read(path), 2, 1)
        return np.asarray(np.stack([mono, mono]), np.float32)


def _read(path: Path) -> decode.Sound:
    with path.open("rb") as file:
        return np.concatenate([piece.data for piece in decode.decode(file, MediaLimits())])


def _spoken(speech: Path, rng: random.Random) -> tuple[list[decode.Sound], Sound]:
    """Talks to be registered, and a voice to be mixed in."""
    first, *rest = sorted(folder for folder in speech.iterdir() if folder.is_dir())
    voices = sorted(path for folder in rest for path in folder.iterdir())
    rng.shuffle(voices)
    said: list[npt.NDArray[np.float32]] = []
    for path in voices:
        if len(said) < 30 * _TALK_FILES:
            try:
                said.append(_read(path))
            except MediaError:
                continue
    talks = [
        np.concatenate(said[at : at + _TALK_FILES]) for at in range(0, len(said) - _TALK_FILES, _TALK_FILES)
    ]
    words = sorted(first.iterdir())
    rng.shuffle(words)
    voice = np.concatenate([_stereo(path) for path in words if _seconds(path) > 1][:120], axis=1)
    return talks, np.asarray(voice / np.abs(voice).max(), np.float32)


def compare(collection: Collection) -> Pairs:
    """Look every excerpt up among what is registered, and align what that brings."""
    audio = AudioModality()
    channels = {channel.scheme.id: channel for channel in audio.channels}
    references = [_described(audio, sound, Role.REFERENCE) for sound in collection.registered]
    index, owners = _index(references)
    rows: list[list[float]] = []
    copies: list[bool] = []
    attacks: list[str] = []
    made = sum(excerpt.track is not None for excerpt in collection.excerpts)
    for excerpt in collection.excerpts:
        query = _described(audio, excerpt.sound, Role.QUERY)
        found = retrieve.retrieve(
            query,
            audio.channels,
            lambda channel, asked, limit: index.search(asked, radius=_radius(channel), limit=limit),
            lambda _, ids: owners(ids),
            _CANDIDATES,
            in_time=lambda: True,
        ).found
        for place, candidate in enumerate(found):
            if (excerpt.track, candidate.reference_id.int) in collection.one_recording:
                continue
            work = references[candidate.reference_id.int]
            seen = {one: channel for one, channel in channels.items() if channel.search}
            if place < min(channel.compared for channel in audio.channels if channel.search is None):
                seen = channels
            alignment = audio.align(query, [one for one in work if one.scheme.id in seen])
            if alignment is not None:
                rows.append([alignment.signals.get(name, np.nan) for name in SIGNALS])
                copies.append(candidate.reference_id.int == excerpt.track)
                attacks.append(excerpt.attack)
    unrelated = len(collection.excerpts) * len(references) - made
    is_copy = np.array(copies)
    return Pairs(
        np.array(rows),
        is_copy,
        np.where(is_copy, 1 / made, 1 / unrelated),
        np.array(attacks),
        np.full((len(rows), 2), ""),
        np.zeros(len(rows), np.bool_),
        len(references),
        unrelated,
        SIGNALS,
    )


def _described(audio: AudioModality, sound: decode.Sound, role: Role) -> tuple[Fingerprint, ...]:
    return described(audio, [Segment(0.0, len(sound) / decode.RATE, sound)], role)


def _radius(channel: Channel) -> float:
    assert channel.search is not None  # noqa: S101 - those without are not looked up
    return channel.search.radius


def _index(
    references: Sequence[Sequence[Fingerprint]],
) -> tuple[FaissIndex, Callable[[npt.NDArray[np.int64]], dict[int, DescriptorOwner]]]:
    """All rows that are searched, and whose they are; the number of a reference is its id."""
    index = FaissIndex(CHROMAPRINT)
    owners, starts, start = [], [], 1
    for number, fingerprints in enumerate(references):
        rows = next(one for one in fingerprints if one.scheme == CHROMAPRINT).descriptors
        index.add(np.arange(start, start + len(rows)), rows)
        owners.append(DescriptorOwner(UUID(int=number), UUID(int=number), start, len(rows)))
        starts.append(start)
        start += len(rows)

    def of(ids: npt.NDArray[np.int64]) -> dict[int, DescriptorOwner]:
        places = np.searchsorted(starts, ids, side="right") - 1
        return {int(one): owners[place] for one, place in zip(ids, places, strict=True)}

    return index, of
