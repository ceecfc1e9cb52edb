"""Pairs of a query and a registered sound with the service's signals, for fitting the score of sounds.

Two sides, of other origins each (albums, games), are registered in turn while the other side is strange;
excerpts are drawn and attacked as for the benchmark (`audio_media`). Each query goes through retrieval as in
the service, and what that brings first is aligned. What comes from one origin may share recordings, in part
or at another speed, so an excerpt and another track of its origin are neither a copy nor unrelated: they are
left out by where they come from, never by what was measured. Melodies that are made up on exact beats and
notes, which coincide by chance more often than other sounds, are aligned with each other.
"""

import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import numpy as np
import numpy.typing as npt

from benchmarks.quality import audio_attacks, audio_media
from benchmarks.quality.audio_media import Amounts, Plan, Question, Sides, Track
from benchmarks.quality.pairs import Pairs
from indexers.audio import AudioModality, decode
from indexers.audio.chromaprint import CHROMAPRINT
from indexers.fingerprint import Fingerprint
from indexers.index.faiss import FaissIndex
from indexers.modality import Channel, MediaLimits, Role, Segment, described
from service.domain import DescriptorOwner
from service.matching import retrieve

SIGNALS: Final = ("chromaprint_evidence", "peak_evidence")
"""Columns of the pairs, as `indexers.audio.align` names and measures them."""
_CANDIDATES: Final = 100
_STRANGE: Final = 16
_OTHERS: Final = 4
"""How many of the candidates of a strange excerpt are aligned, and of a copy beside the right one."""
_MELODIES: Final = 24
_MELODY: Final = 40.0
_OF_MELODY: Final = (5.0, 15.0)
"""Made-up melodies, their seconds, and the part of each that is aligned with the others."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A query and a registered track.

    Attributes:
        signals: As `SIGNALS`; NaN where there is none.
        copy: Whether the query was cut from it; otherwise they have nothing in common.
        attack: What was done to the query; empty: nothing.
    """

    signals: tuple[float, ...]
    copy: bool
    attack: str


def make(
    sides: tuple[Sequence[Track], Sequence[Track]], voices: Sequence[Track], amounts: Amounts, seed: int
) -> tuple[Pairs, dict[str, int]]:
    """Register each side in turn, and ask.

    Args:
        sides: Tracks of different origins.
        voices: Speech to mix in, of others.
        amounts: How much is asked of each side.
        seed: Of what is drawn with the first side registered; the next one is of the second.

    Returns:
        The pairs, and how many tracks and excerpts there were.
    """
    pairs: list[Pair] = []
    registered = copies = strange = 0
    for turn, (mine, others) in enumerate((sides, sides[::-1])):
        rng = random.Random(seed + turn)
        known, unknown = list(mine), list(others)
        rng.shuffle(known)
        rng.shuffle(unknown)
        with tempfile.TemporaryDirectory(prefix="audio-pairs-") as folder:
            plan = audio_media.make(Sides(known, unknown), voices, amounts, seed + turn, Path(folder))
            pairs += _pairs(plan)
        registered += len(plan.references)
        copies += sum(one.asked.target is not None for one in plan.questions)
        strange += sum(one.asked.target is None for one in plan.questions)
    melodies = list(_melodies())
    pairs += melodies
    is_copy = np.array([pair.copy for pair in pairs])
    # A stranger has nothing in common with half of what is registered in both turns.
    unrelated = strange * registered // 2 + len(melodies)
    return (
        Pairs(
            np.array([pair.signals for pair in pairs]),
            is_copy,
            np.where(is_copy, 1 / copies, 1 / unrelated),
            np.array([pair.attack for pair in pairs]),
            np.full((len(pairs), 2), ""),
            np.zeros(len(pairs), np.bool_),
            registered,
            unrelated,
            SIGNALS,
        ),
        {
            "registered": registered,
            "copies": copies,
            "unrelated excerpts": strange,
            "pairs of made-up melodies": len(melodies),
        },
    )


def _pairs(plan: Plan) -> Iterator[Pair]:
    audio = AudioModality()
    names = list(plan.references)
    references = [_described(audio, path, Role.REFERENCE) for path in plan.references.values()]
    index, owners = _index(references)
    for question in plan.questions:
        query = _described(audio, question.path, Role.QUERY)
        found = retrieve.retrieve(
            query,
            audio.channels,
            lambda channel, asked, limit: index.search(asked, radius=_radius(channel), limit=limit),
            lambda _, ids: owners(ids),
            _CANDIDATES,
            in_time=lambda: True,
        ).found
        near = [names[candidate.reference_id.int] for candidate in found]
        for name in _compared(question, near):
            aligned = audio.align(query, references[names.index(name)])
            if aligned is not None:
                signals = tuple(aligned.signals.get(one, np.nan) for one in SIGNALS)
                yield Pair(signals, name == question.reference, question.asked.attack)


def _melodies() -> Iterator[Pair]:
    """Made-up melodies, each with a part of each other one."""
    audio = AudioModality()
    audio.load()
    step = audio_attacks.RATE // decode.RATE
    sounds = [decode.apart(track.sound()[:, ::step]) for track in audio_media.made_up(_MELODIES, _MELODY)]
    first, last = (round(seconds * decode.RATE) for seconds in _OF_MELODY)
    registered = [_of_piece(audio, sound, Role.REFERENCE) for sound in sounds]
    asked = [_of_piece(audio, sound[..., first:last], Role.QUERY) for sound in sounds]
    for one, query in enumerate(asked):
        for other, work in enumerate(registered):
            aligned = audio.align(query, work)
            if one != other and aligned is not None:
                yield Pair(
                    tuple(aligned.signals.get(name, np.nan) for name in SIGNALS), copy=False, attack=""
                )


def _of_piece(audio: AudioModality, sound: decode.Sides, role: Role) -> tuple[Fingerprint, ...]:
    return described(audio, [Segment(0.0, sound.shape[-1] / decode.RATE, sound)], role)


def _compared(question: Question, near: Sequence[str]) -> list[str]:
    """Of which tracks a query is a copy, or which have nothing in common with it: those that came first."""
    if question.asked.target is None or question.reference is None:
        return list(near[:_STRANGE])
    origin = question.reference.split("/")[0]
    return [question.reference, *(one for one in near[:_OTHERS] if one.split("/")[0] != origin)]


def _described(audio: AudioModality, path: Path, role: Role) -> tuple[Fingerprint, ...]:
    with path.open("rb") as file:
        return described(audio, audio.decode(file, MediaLimits()), role)


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
