"""How a film and a reference relate: which stretch is which, how fast, where in the picture; and the sound.

Frames that look alike vote for lines (`lines`), the best are fitted and followed as far as frames agree, and
what they explain is taken out before the next is looked for. The sound is related by itself, as sound is: it
has an offset of its own, and what the two say about place and speed is compared, not assumed.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from indexers.audio import align as audio
from indexers.fingerprint import Fingerprint, SpanUnit
from indexers.modality import WHOLE, AlignedSegment, Alignment, Box, covered
from indexers.video.bends import SPEEDS as BENDS
from indexers.video.bends import path
from indexers.video.decode import SHORT_SECONDS, SHORT_STEP, STEP
from indexers.video.frames import BITS, FRAMES
from indexers.video.lines import SPEEDS, Floats, Hits, Line, lines, unusual, usual
from indexers.video.motion import NONE, Motion, agreements, motion
from indexers.video.rows import Rows, Words, cosines, differing

SEGMENTS: Final = 24
"""Most stretches that are reported."""

COMMON: Final = 0.75
"""How much of a frame's likeness to pictures at large is taken off its likeness to a reference's: as SSCD
normalises scores (https://arxiv.org/abs/2202.10261, section 4.3)."""

BREAK_EVEN: Final = 0.14
"""Normalised likeness from which on a frame speaks for a copy."""

LEAST: Final = 0.5
"""Evidence that a stretch must have to be reported."""

SAME: Final = 1.5
"""Seconds of the work by which two stretches may differ that are parts of one copy."""

OVERLAP: Final = 0.5
"""Part of a stretch that may lie in a heavier one; what lies in it more is an echo of it."""

TOLERANCE: Final = 0.75
"""Steps from one frame of the work to the next by which a frame may lie off the line."""

AGREEING: Final = 0.75
"""Seconds by which sound and pictures may differ about the place, and still agree."""

PICTURE: Final = "picture"
SOUND: Final = "sound"
BOTH: Final = "picture and sound"
"""What of a film corresponds."""

_NEAREST = 8
"""Frames of the work that each frame of the query votes for, at most."""
_HIT = 0.10
"""Normalised likeness that a vote needs."""
_LONGEST_HIT = 16
"""Seconds of a frame that lasts which it votes for, at most."""
_MOST_GAIN, _MOST_LOSS = 0.6, -0.25
"""What one frame can say for a copy, and against one."""
_OUTSIDE = -0.5
"""What a frame says that would lie before the work's start or after its end."""
_ECHOES = 3
"""Stretches one after the other that lie in heavier ones, from which on no other is looked for."""
_TRIED = 8
_FITTED = 2
"""Lines that are looked at for each stretch, and of these the ones that are fitted."""
_MOST_PAIRS = 1 << 23
"""Pairs of frames that are compared to find hits; of longer media, every second frame of the query is left
out, or more."""
_AT_ONCE = 1 << 16
_WORDS = BITS // 64
_SHIFTS = (-13.0, -9.0, -6.0, -4.0, 4.0, 6.0, 9.0, 13.0)
"""Seconds off the line at which other moments of the scene are looked at."""
_AS_GOOD = 0.98
"""Part of the evidence that a line must have to be taken for a closer one."""
_AS_GOOD_MOVED = 0.9
"""The same for one at which what changes agrees more: frames alike say little about the place."""
_MOVES = 0.35
"""Agreement of what changes from which on the speed is taken to be right."""
_CLEARLY = 0.08
"""By how much it must be larger at another speed for that to be taken: below, it may be by chance."""
_CLOSEST = 0.5
_CLOSEST_OF = 0.9
"""Part of what the most alike tenth of a stretch's frames says that its closest part says on average."""
_FEWEST_CLOSEST = 3
"""Frames of such a part at least."""
_PART = 0.8
"""And of the stretch's frames, so large a part at most: else it is the stretch."""
_STILL = 0.1
"""Least agreement of what changes by which the evidence of stretches is weighed: the best one is judged."""
_BENT = 0.15
"""What changes of speed must gain to be reported, in frames that agree wholly (see `bends`)."""
_MAYBE_BENT = 0.02
"""The same for all frames of the query to be described."""
_WORTH_SPEEDS = 1.0
"""Evidence from which on other speeds are tried, which takes some milliseconds."""
_TRIED_SPEEDS = tuple(speed for speed in SPEEDS if 0.65 < speed < 1.55 and abs(speed - 1.0) > 0.05)
_AS_MUCH = 0.05
"""Agreement of what changes that may be less where the sound lies."""
_USUAL = 0.02
"""Part by which a speed may differ from the work's own, and be taken for it."""
_PROMISING = 0.08
"""What a frame of a view must say for a copy, on average, for the view to be worth a closer look."""
_BY_CHANCE = 0.03
_BY_CHANCE_LONG = 0.04
"""What the frames along a line must say together, for each frame of the view, on the line or not, of queries
up to `SHORT_SECONDS` and of twice as long ones or longer, and between them by the logarithm of their length:
of many frames some resemble something, and cost much."""
_PROMISING_LINES = 6
"""Lines by which that is judged."""
_STRAIGHT = 0.2
"""Seconds by which a line at the work's own speed may be off at an end, and still be taken for one."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of the query that may be a stretch of the work.

    Attributes:
        start: Where it starts in the query, seconds.
        end: Where it ends.
        line: Which times correspond.
        evidence: What its frames say together, above `BREAK_EVEN`.
        frames: How many of them speak for a copy.
        similarity: Their mean cosine.
        contrast: How much more alike they are to the work at their place than some seconds before and after.
        box: Where in the query.
        motion: How what changes agrees.
        level: What its frames must say for a copy to lie in it.
        knots: Where it changes its speed, and both its ends: times of the query and of the work, rising;
            empty: nowhere.
    """

    start: float
    end: float
    line: Line
    evidence: float
    frames: int
    similarity: float
    contrast: float
    box: Box
    motion: Motion = NONE
    level: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    @property
    def seconds(self) -> float:
        """Its length in the query."""
        return self.end - self.start

    def at(self, time: float) -> float:
        """The time of the work that a time of the query corresponds to."""
        return self.line.place + self.line.speed * time

    def same(self, other: "Stretch") -> bool:
        """Whether another one that overlaps it is a part of the same copy."""
        middle = (max(self.start, other.start) + min(self.end, other.end)) / 2
        return abs(self.at(middle) - other.at(middle)) <= SAME

    def segments(self) -> list[AlignedSegment]:
        """As it is reported: one for each of its speeds."""
        if not self.knots:
            ends = (self.start, self.at(self.start)), (self.end, self.at(self.end))
            return [self._segment(*ends, self.line.speed)]
        pairs = pairwise(self.knots)
        return [self._segment(one, other, (other[1] - one[1]) / (other[0] - one[0])) for one, other in pairs]

    def _segment(self, one: tuple[float, float], other: tuple[float, float], speed: float) -> AlignedSegment:
        first, last = sorted((one[1], other[1]))
        return AlignedSegment(
            query=(one[0], other[0]),
            work=(max(0.0, first), max(0.0, last)),
            speed=speed,
            unit=SpanUnit.SECOND,
            region=None if self.box == WHOLE else self.box,
        )


def align(query: Sequence[Fingerprint], work: Sequence[Fingerprint]) -> Alignment | None:
    """Relate a query in all its views to a reference; see `indexers.modality.Modality.align`.

    Signals, where both sides have frames: ``frames_evidence``, by how much frames are more alike than
    `BREAK_EVEN` along all stretches, in all; ``frames_count``, how many frames of the best stretch speak for
    a copy, ``frames_similarity``, their mean cosine, and ``frames_contrast``, how much less alike they are
    to the work some seconds before and after; ``frames_motion``, how well what changes from frame to frame
    agrees along it, and ``frames_lead``, how much better than at other places (see `motion`): these three
    are near 0 for other moments of one scene; ``frames_change``, how much changes along it: where hardly
    anything does, or there are too few frames to tell, those three say little; ``frames_speed``, how unusual
    its speed is (see `lines.unusual`): of many speeds one agrees by chance; ``frames_seconds``, how much of
    the query's time is reported.
    Where both have sound: its signals, see `indexers.audio.align`; and where they have both,
    ``sound_agreement``, the part of the pictures' time in which sound tells the same place.
    """
    theirs = {fingerprint.scheme.id: fingerprint for fingerprint in work}
    mine = {fingerprint.scheme.id: fingerprint for fingerprint in query if fingerprint.scheme.id in theirs}
    sound = audio.align(query, work)
    if FRAMES.id not in mine:
        return None if sound is None else replace(sound, segments=_tagged(sound.segments, SOUND))
    sides = _Sides.of(mine[FRAMES.id], theirs[FRAMES.id])
    hits = sides.hits()
    proposed = lines(hits, _TRIED, LEAST)
    found = _stretches(sides, hits, proposed, sound.segments if sound else ())
    best = max(found, key=lambda one: one.evidence * max(_STILL, one.motion.agreement), default=None)
    bent, uncertain = sides.bent(best) if best and best.evidence >= LEAST else (best, False)
    reported = [bent if one is best and bent else one for one in found if one.evidence >= LEAST]
    signals = {
        "frames_evidence": sum(one.evidence for one in reported or found[:1]),
        "frames_count": float(best.frames) if best else 0.0,
        "frames_similarity": best.similarity if best else 0.0,
        "frames_contrast": best.contrast if best else 0.0,
        "frames_motion": best.motion.agreement if best else 0.0,
        "frames_lead": best.motion.agreement - best.motion.elsewhere if best else 0.0,
        "frames_change": best.motion.change if best else 0.0,
        "frames_speed": unusual(best.line.speed) if best else 1.0,
        "frames_seconds": sum(one.seconds for one in reported),
    }
    pictures = [segment for one in reported for segment in one.segments()]
    sounds = list(sound.segments) if sound else []
    if sound is not None:
        signals |= {**sound.signals, "sound_agreement": _agreement(pictures, sounds)}
    counting = pictures or sounds
    return Alignment(
        signals,
        segments=_together(pictures, sounds),
        query_coverage=covered([one.query for one in counting], mine[FRAMES.id]),
        work_coverage=covered([one.work for one in counting], theirs[FRAMES.id]),
        views=sides.promising(proposed[:_PROMISING_LINES]),
        uncertain=uncertain,
    )


def _tagged(segments: Iterable[AlignedSegment], content: str) -> tuple[AlignedSegment, ...]:
    return tuple(replace(one, content=content) for one in segments)


def _common(one: AlignedSegment, other: AlignedSegment) -> float:
    """Seconds of the query in which two stretches tell the same place of the work."""
    start, end = max(one.query[0], other.query[0]), min(one.query[1], other.query[1])
    if end <= start:
        return 0.0
    middle = (start + end) / 2
    return end - start if abs(_at(one, middle) - _at(other, middle)) <= AGREEING else 0.0


def _at(segment: AlignedSegment, time: float) -> float:
    """The time of the work at a time of the query."""
    first = segment.work[0] if segment.speed > 0 else segment.work[1]
    return first + segment.speed * (time - segment.query[0])


def _agreement(pictures: Sequence[AlignedSegment], sounds: Sequence[AlignedSegment]) -> float:
    """Part of the pictures' time in which sound tells the same place, 0..1."""
    total = sum(one.query[1] - one.query[0] for one in pictures)
    if not total:
        return 0.0
    return min(1.0, sum(_common(one, other) for one in pictures for other in sounds) / total)


def _together(
    pictures: Sequence[AlignedSegment], sounds: Sequence[AlignedSegment]
) -> tuple[AlignedSegment, ...]:
    """Stretches of pictures, with sound or without, and those of sound that no pictures go with."""
    found = []
    heard = [0.0] * len(sounds)
    for one in pictures:
        common = [_common(one, other) for other in sounds]
        heard = [before + more for before, more in zip(heard, common, strict=True)]
        length = one.query[1] - one.query[0]
        found.append(replace(one, content=BOTH if sum(common) >= length / 2 else PICTURE))
    for other, seconds in zip(sounds, heard, strict=True):
        if seconds < (other.query[1] - other.query[0]) / 2:
            found.append(replace(other, content=SOUND))
    return tuple(sorted(found, key=lambda one: one.query))


def stretches(query: Fingerprint, work: Fingerprint, sounds: Sequence[AlignedSegment] = ()) -> list[Stretch]:
    """Find the stretches of a query that look like stretches of a work, heaviest first.

    Args:
        query: Frames.
        work: Frames.
        sounds: Where the sound lies: a scene that stands still fits there as well as elsewhere.
    """
    sides = _Sides.of(query, work)
    hits = sides.hits()
    return _stretches(sides, hits, lines(hits, _TRIED, LEAST), sounds)


def _stretches(
    sides: "_Sides", hits: Hits, proposed: Sequence[Line], sounds: Sequence[AlignedSegment]
) -> list[Stretch]:
    """As `stretches`, with the best lines through all hits."""
    found: list[Stretch] = []
    echoes = 0
    while len(hits) and len(found) < SEGMENTS:
        fitted = sorted(proposed, key=sides.worth, reverse=True)[:_FITTED]
        tried = [one for line in fitted if (one := sides.fitted(line)) is not None]
        best = max(tried, key=lambda one: one.evidence * usual(one.line.speed), default=None)
        if best is None or (found and best.evidence < LEAST):
            break
        if best.evidence < LEAST:
            found.append(best)
            break
        if any(one.evidence >= best.evidence and _lies_in(best, one) for one in found):
            echoes += 1
        else:
            best, echoes = sides.with_sound(sides.moved(best), sounds), 0
            closest = sides.closest(best)
            best = best if closest is None else sides.with_sound(closest, sounds)
        found.append(best)
        if echoes == _ECHOES:
            break
        on_line = np.abs(hits.work - best.line.at(hits.query)) <= 2 * SAME
        inside = (hits.query >= best.start) & (hits.query < best.end)
        hits = hits.where(~inside | (~on_line & (hits.view != best.line.view)))
        proposed = lines(hits, _TRIED, LEAST)
    return _merged(found)


def _lies_in(one: Stretch, other: Stretch) -> bool:
    """Whether most of one lies in the other, in the query's time."""
    return min(one.end, other.end) - max(one.start, other.start) > OVERLAP * one.seconds


def _merged(found: Iterable[Stretch]) -> list[Stretch]:
    """Stretches that share no more than a little of the query, heaviest first; parts of one copy as one."""
    kept: list[Stretch] = []
    for stretch in sorted(found, key=lambda one: -one.evidence):
        for number, other in enumerate(kept):
            overlap = min(stretch.end, other.end) - max(stretch.start, other.start)
            if overlap <= 0:
                continue
            if stretch.same(other):
                start, end = min(stretch.start, other.start), max(stretch.end, other.end)
                kept[number] = replace(other, start=start, end=end)
                break
            if _lies_in(stretch, other):
                break
        else:
            kept.append(stretch)
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """The frames of a query, by view: what is the same whatever it is related to."""

    views: dict[int, tuple[Rows, Floats, Box]]
    """Frames, what pictures at large have in common with each, and where in the query they are."""
    every: dict[int, Rows]
    """All frames, by view, also those that look like the one before."""
    codes: Words
    common: Floats
    starts: Floats
    view: npt.NDArray[np.int64]
    """The frames of `views`, one view after the other: bits, what is common, when each is shown, its view."""
    seconds: float
    """When the last frame ends."""


@lru_cache(maxsize=4)
def _asked(query: Fingerprint) -> _Asked:
    """Sort the frames of a query, once for all candidates."""
    views: dict[int, tuple[Rows, Floats, Box]] = {}
    every: dict[int, Rows] = {}
    moments = np.empty(0)
    for view in np.unique(query.views).tolist():
        rows = np.flatnonzero((query.views == view) & (query.quality > 0))
        if not len(rows):
            continue
        rows = rows[np.argsort(query.spans[rows, 0], kind="stable")]
        box = WHOLE if query.regions is None else Box(*map(float, query.regions[rows[len(rows) // 2]]))
        common = 1.0 - query.quality[rows].astype(np.float64)
        every[view] = Rows.of(query, rows).apart()
        if view == 0:
            firsts = differing(every[0])
            moments = every[0].starts[firsts]
        else:  # a part counts where the whole does
            of = np.searchsorted(moments, every[view].starts, side="right")
            firsts = np.unique(of, return_index=True)[1] if len(moments) else np.arange(len(rows))
        views[view] = (every[view].at(firsts), common[firsts], box)
    return _Asked(
        views,
        every,
        np.concatenate([np.empty((0, _WORDS), np.uint64), *(rows.codes for rows, *_ in views.values())]),
        np.concatenate([np.empty(0), *(common for _, common, _ in views.values())]),
        np.concatenate([np.empty(0), *(rows.starts for rows, *_ in views.values())]),
        np.repeat(np.fromiter(views, np.int64), [len(rows) for rows, *_ in views.values()]),
        float(query.spans[:, 1].max()),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """The frames of a query, and of a work."""

    asked: _Asked
    work: Rows
    length: float
    """When the work ends, seconds."""
    tolerance: float
    """Seconds by which a frame may lie off the line."""
    every_of_work: Rows
    runs: dict[tuple[Line, float], tuple[int, int, float]] = field(default_factory=dict)
    """What `_run` found of each line: the best lines are asked about several times."""

    @classmethod
    def of(cls, query: Fingerprint, work: Fingerprint) -> "_Sides":
        telling = np.flatnonzero(work.quality > 0)
        order = telling[np.argsort(work.spans[telling, 0], kind="stable")]
        step = float(np.clip(np.diff(work.spans, axis=1).min(), SHORT_STEP, STEP))
        theirs = Rows.of(work, order)
        length = float(work.spans[:, 1].max())
        return cls(_asked(query), theirs.at(differing(theirs)), length, TOLERANCE * step, theirs)

    @property
    def views(self) -> dict[int, tuple[Rows, Floats, Box]]:
        """See `_Asked`."""
        return self.asked.views

    def hits(self) -> Hits:
        """Frames that look alike, those of each view by itself."""
        asked, count = self.asked, len(self.work)
        stride = -(-len(asked.codes) * count // _MOST_PAIRS)
        some = np.arange(0, len(asked.codes) if count else 0, max(1, stride))
        none = np.empty(0, np.int64)
        found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]] = [(none, none, np.empty(0))]
        at_once = max(1, _AT_ONCE // max(1, count))
        for first in range(0, len(some), at_once):
            mine = some[first : first + at_once]
            common = COMMON * asked.common[mine, np.newaxis]
            alike = cosines(asked.codes[mine, np.newaxis], self.work.codes) - common
            if count > _NEAREST:
                columns = np.argpartition(-alike, _NEAREST, axis=1)[:, :_NEAREST]
            else:
                columns = np.broadcast_to(np.arange(count), alike.shape)
            worth = np.take_along_axis(alike, columns, axis=1)
            row, place = np.nonzero(worth >= _HIT)
            found.append((mine[row], columns[row, place], worth[row, place]))
        mine, theirs, worth = (np.concatenate([one[place] for one in found]) for place in range(3))
        # A frame that lasts may be hit at any of its seconds.
        lasting = np.clip(self.work.ends[theirs] - self.work.starts[theirs], 1.0, _LONGEST_HIT)
        lasting = lasting.astype(np.int64)
        again = np.repeat(np.arange(len(mine)), lasting)
        second = np.arange(len(again)) - np.repeat(np.cumsum(lasting) - lasting, lasting)
        return Hits(
            asked.starts[mine[again]],
            self.work.starts[theirs[again]] + second,
            worth[again].astype(np.float64) / np.sqrt(lasting[again]),
            asked.view[mine[again]],
        )

    def promising(self, proposed: Iterable[Line]) -> frozenset[int]:
        """Views in which frames along one of some lines look alike, and those that do no less there."""
        found: set[int] = set()
        seconds = max(SHORT_SECONDS, min(2 * SHORT_SECONDS, self.asked.seconds))
        by_chance = _BY_CHANCE + (_BY_CHANCE_LONG - _BY_CHANCE) * math.log2(seconds / SHORT_SECONDS)
        for line in proposed:
            rows = self.views[line.view][0]
            first, last, evidence = self._run(line)
            gain = evidence / max(1, last - first)
            if gain < _PROMISING or evidence < by_chance * len(rows):
                continue
            found.add(line.view)
            start, end = rows.starts[first], rows.starts[last - 1]
            for view, (others, theirs, _) in self.views.items():
                inside = (others.starts >= start) & (others.starts <= end)
                if inside.any() and float(self._gains(line, others, theirs)[inside].mean()) >= gain:
                    found.add(view)
        return frozenset(found)

    def worth(self, line: Line) -> float:
        """What the frames along a line say for a copy, less where its speed is unusual."""
        return self._run(line)[2] * usual(line.speed)

    def fitted(self, line: Line, level: float = 0.0) -> Stretch | None:
        """Fit a line closely, and follow it as far as frames agree; None where none does.

        Args:
            line: Near it.
            level: See `Stretch`.
        """
        rows, common, _ = self.views[line.view]
        first, last, evidence = self._run(line, level)
        for _ in range(4):
            if last - first < 2:
                break
            closer = self._closer(line, rows, common, first, last)
            run = self._run(closer, level)
            if run[2] < _AS_GOOD * evidence:
                break
            line, (first, last, evidence) = closer, run
        if last <= first or evidence <= 0:
            return None
        return self._stretch(_straight(line, rows, first, last), level)

    def _stretch(self, line: Line, level: float = 0.0) -> Stretch | None:
        """What lies along a line; None where nothing speaks for a copy."""
        rows, common, box = self.views[line.view]
        first, last, evidence = self._run(line, level)
        if last <= first or evidence <= 0:
            return None
        some = np.arange(first, last)
        on = self._along(line, rows, some)
        agreeing = on - COMMON * common[some] > BREAK_EVEN
        start, end = _ends(rows, first, last, self.asked.seconds)
        if not -self.tolerance <= float(line.at(np.array(end))) <= self.length + self.tolerance:
            end = min(end, float(rows.ends[last - 1]))
        return Stretch(
            start,
            end,
            line,
            evidence + level * (last - first),
            int(agreeing.sum()),
            float(on[agreeing].mean()),
            self._contrast(line, rows, some[agreeing], on[agreeing]),
            box,
            level=level,
        )

    def closest(self, stretch: Stretch) -> Stretch | None:
        """The part of a stretch that is much more alike than the rest, if what changes agrees better there.

        Films of one series look alike: what lies before and after a copy may follow it on one line.

        Args:
            stretch: Moved to where what changes agrees most.

        Returns:
            None where there is none.
        """
        if stretch.evidence < _WORTH_SPEEDS or stretch.motion.agreement >= _MOVES:
            return None
        rows, common, _ = self.views[stretch.line.view]
        first, last, _ = self._run(stretch.line, stretch.level)
        gains = self._gains(stretch.line, rows, common)[first:last]
        part = self.fitted(stretch.line, _CLOSEST * float(np.quantile(gains, _CLOSEST_OF)))
        if part is None or part.frames < _FEWEST_CLOSEST or part.frames > _PART * stretch.frames:
            return None
        part = self.moved(part)
        return part if part.motion.agreement >= stretch.motion.agreement + _CLEARLY else None

    def moved(self, stretch: Stretch) -> Stretch:
        """A stretch at the place where what changes agrees most: at its speed, or at the work's own."""
        tried = [self._measured(stretch)]
        if abs(stretch.line.speed - 1.0) > _USUAL:
            middle = (stretch.start + stretch.end) / 2
            usual = Line(1.0, stretch.at(middle) - middle, stretch.line.view, middle)
            tried.append(self._measured(replace(stretch, line=usual)))
        best = max(tried, key=lambda one: one.motion.agreement)
        if stretch.evidence >= _WORTH_SPEEDS and best.motion.agreement < _MOVES:
            best = self._at_other_speed(stretch, best.motion.agreement + _CLEARLY) or best
        if best.line == stretch.line:
            return best
        again = self._stretch(best.line, stretch.level)
        if again is None or again.evidence < _AS_GOOD_MOVED * stretch.evidence:
            return replace(stretch, motion=tried[0].motion)  # near the line all the same
        return replace(again, motion=best.motion)

    def _at_other_speed(self, stretch: Stretch, least: float) -> Stretch | None:
        """A stretch at the speed at which what changes agrees most: much alike, frames say little about it.

        Args:
            stretch: At a speed at which it agrees less.
            least: How much it must agree.
        """
        view, middle = stretch.line.view, (stretch.start + stretch.end) / 2
        tried = [Line(speed, stretch.at(middle) - speed * middle, view, middle) for speed in _TRIED_SPEEDS]
        sides = self.asked.every[view], self.every_of_work
        found = agreements(tried, (stretch.start, stretch.end), *sides, self.length)
        best = int(np.argmax(found))
        return self._measured(replace(stretch, line=tried[best])) if found[best] >= least else None

    def with_sound(self, stretch: Stretch, sounds: Sequence[AlignedSegment]) -> Stretch:
        """The same where the sound lies, if the pictures fit there as well."""
        for sound in sounds:
            middle = (max(stretch.start, sound.query[0]) + min(stretch.end, sound.query[1])) / 2
            if not sound.query[0] < middle < sound.query[1]:
                continue
            if abs(_at(sound, middle) - stretch.at(middle)) <= SAME:
                continue
            line = Line(sound.speed, _at(sound, 0.0), stretch.line.view, middle)
            there = self._stretch(line, stretch.level)
            if there is None or there.evidence < _AS_GOOD_MOVED * stretch.evidence:
                continue
            there = self._measured(there)
            if there.motion.agreement >= stretch.motion.agreement - _AS_MUCH:
                return there
        return stretch

    def bent(self, stretch: Stretch) -> tuple[Stretch, bool]:
        """A stretch of a short query with where its speed changes, and whether more frames may tell more."""
        line = stretch.line
        if self.asked.seconds > SHORT_SECONDS or not BENDS[0] <= line.speed <= BENDS[-1]:
            return stretch, False
        span = stretch.start, stretch.end
        found = path(line, span, self.asked.every[line.view], self.every_of_work, self.length)
        if found is None or found.gain < _BENT:
            return stretch, found is None or found.gain > _MAYBE_BENT
        ends = (stretch.start, found.start), (stretch.end, found.end)
        inner = zip(found.times, found.places, strict=True)
        return replace(stretch, knots=(ends[0], *inner, ends[1])), True

    def _measured(self, stretch: Stretch) -> Stretch:
        line, view = stretch.line, stretch.line.view
        span = stretch.start, stretch.end
        found = motion(line, span, self.asked.every[view], self.every_of_work, self.length)
        return replace(stretch, motion=found, line=replace(line, place=line.place + found.shift))

    def _gains(self, line: Line, rows: Rows, common: Floats) -> Floats:
        places = line.at(rows.starts)
        alike = self._along(line, rows, np.arange(len(rows)))
        gains = np.minimum(np.maximum(alike - COMMON * common - BREAK_EVEN, _MOST_LOSS), _MOST_GAIN)
        gains = np.where(np.isnan(gains), -0.02, gains)  # the work is flat there
        outside = (places < -self.tolerance) | (places > self.length + self.tolerance)
        result: Floats = np.where(outside, _OUTSIDE, gains)
        return result

    def _run(self, line: Line, level: float = 0.0) -> tuple[int, int, float]:
        """The stretch of frames along a line that says most for a copy: half-open, and what it says.

        Args:
            line: Tells the places.
            level: Taken off what each frame says.
        """
        if (known := self.runs.get((line, level))) is not None:
            return known
        rows, common, _ = self.views[line.view]
        sums = np.concatenate([[0.0], (self._gains(line, rows, common) - level).cumsum()])
        over = sums - np.minimum.accumulate(sums)
        last = int(np.argmax(over))
        first = int(np.argmin(sums[: last + 1])) if last else 0
        found = self.runs[line, level] = first, last, float(over[last])
        return found

    def _along(
        self, line: Line, rows: Rows, some: npt.NDArray[np.int64], shift: float | Floats = 0.0
    ) -> Floats:
        """Cosine of frames with what the work shows at their place, or `shift` seconds off; NaN: nothing.

        Args:
            line: Tells the places.
            rows: Frames of the query.
            some: Which of them, (n,).
            shift: One, or (m, 1).

        Returns:
            (n,) or (m, n).
        """
        places = line.at(rows.starts[some]) + shift
        after = np.searchsorted(self.work.starts, places, side="right")
        best = np.full(places.shape, -np.inf)
        for off in (-2, -1, 0):
            theirs = np.minimum(np.maximum(after + off, 0), len(self.work) - 1)
            near = (self.work.starts[theirs] - self.tolerance <= places) & (
                places < self.work.ends[theirs] + self.tolerance
            )
            alike = cosines(rows.codes[some], self.work.codes[theirs])
            best = np.maximum(best, np.where(near, alike, -np.inf))
        along: Floats = np.where(np.isinf(best), np.nan, best)
        return along

    def _closer(self, line: Line, rows: Rows, common: Floats, first: int, last: int) -> Line:
        """The line through what looks most alike near a line, by least squares."""
        some = np.arange(first, last)
        places = line.at(rows.starts[some])
        after = np.searchsorted(self.work.starts, places, side="right")
        weights, times = [], []
        for off in (-3, -2, -1, 0, 1, 2):
            theirs = np.minimum(np.maximum(after + off, 0), len(self.work) - 1)
            time = np.clip(
                places,
                self.work.starts[theirs],
                np.maximum(self.work.starts[theirs], self.work.ends[theirs] - 1.0),
            )
            alike = cosines(rows.codes[some], self.work.codes[theirs]) - COMMON * common[some] - BREAK_EVEN
            weights.append(np.where(np.abs(time - places) <= 2.0, np.maximum(alike, 0.0), 0.0) ** 4)
            times.append(time)
        weight, time = np.stack(weights), np.stack(times)
        total = weight.sum(axis=0)
        held = total > 0
        if not held.any():
            return line
        mean = (weight * time).sum(axis=0)[held] / total[held]
        asked, worth = rows.starts[some][held], np.sqrt(np.sqrt(total[held]))
        centre = float(np.average(asked, weights=worth))
        target = float(np.average(mean, weights=worth))
        spread = float(np.average((asked - centre) ** 2, weights=worth))
        speed = line.speed
        if held.sum() >= 5 and spread > 4.0:
            slope = float(np.average((asked - centre) * (mean - target), weights=worth)) / spread
            low, high = sorted((line.speed * 0.93, line.speed * 1.07))
            speed = min(max(slope, low), high)
        return Line(speed, target - speed * centre, line.view, centre)

    def _contrast(self, line: Line, rows: Rows, some: npt.NDArray[np.int64], on: Floats) -> float:
        """Mean over frames of how much less alike they are to other moments of the scene; see `Stretch`."""
        if not len(some):
            return 0.0
        others = self._along(line, rows, some, np.array(_SHIFTS)[:, np.newaxis])
        there = ~np.isnan(others).all(axis=0)
        if not there.any():
            return 0.0
        nearest = np.nanmax(others[:, there], axis=0)
        return float((on[there] - nearest).mean())


def _straight(line: Line, rows: Rows, first: int, last: int) -> Line:
    """A line at the work's own speed, where that is hardly another one."""
    usual = 1.0 if line.speed > 0 else -1.0
    middle = float(rows.starts[first] + rows.starts[last - 1]) / 2
    half = float(rows.starts[last - 1] - rows.starts[first]) / 2
    if abs(line.speed - usual) * half > _STRAIGHT:
        return line
    return Line(usual, line.place + line.speed * middle - usual * middle, line.view, middle)


def _ends(rows: Rows, first: int, last: int, seconds: float) -> tuple[float, float]:
    """Where a run of frames starts and ends: half-way to the frames that are not in it, a second off at most.

    Args:
        rows: All frames of the view.
        first: The first of the run.
        last: The first one after it.
        seconds: When the query ends.
    """
    start, end = float(rows.starts[first]), float(rows.ends[last - 1])
    if first == 0:
        start = 0.0 if start <= 1.0 else start
    else:
        before = max(float(rows.starts[first - 1]), min(float(rows.ends[first - 1]), start) - 1.0)
        start = max((before + start) / 2, start - 1.0)
    if last == len(rows):
        end = max(end, seconds) if seconds - end <= 1.0 else end
    elif end < float(rows.starts[last]):  # of parts, not all frames are described
        end = min((end + float(rows.starts[last])) / 2, end + 1.0)
    else:
        end = float(rows.starts[last])
        end -= min(1.0, end - float(rows.starts[last - 1])) / 2
    return start, max(end, start + 0.1)
