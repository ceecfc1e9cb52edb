"""What pirates and platforms do to films, with strengths drawn by a seed.

The kinds follow the Video Similarity Challenge (https://arxiv.org/abs/2306.09489), and what short videos are
made of: upright ones with blurred bars and captions, reactions, pans over the picture, speed that changes,
five seconds, compilations, split screens. Pictures are RGB, `RATE` a second; sound is stereo, at
`audio_attacks.RATE`, and is played at the speed of the pictures, pitch and all. OpenCV and NumPy alone.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.quality import audio_attacks
from benchmarks.quality.audio_attacks import Sound

Picture = npt.NDArray[np.uint8]
"""(h, w, 3) RGB."""
Numbers = npt.NDArray[np.float64]

RATE: Final = 15
"""Pictures a second."""
SIDE: Final = 480
"""The longer side of pictures that are attacked, pixels."""

_CAPTIONS: Final = (
    "WAIT FOR THE END",
    "he did it again",
    "POV: it is Monday",
    "follow for part 2",
    "no way...",
)
_QUALITY: Final = 26
"""Constant rate factor of x264 where an attack has none of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """A stretch of a film.

    Attributes:
        pictures: One for each 1 / `rate` seconds, of one size.
        sound: As long; None: silent.
        film: Name of the film that it is from.
        start: Where it begins in that, seconds.
        rate: Pictures a second.
    """

    pictures: Sequence[Picture]
    sound: Sound | None
    film: str
    start: float
    rate: int = RATE

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.pictures) / self.rate


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an attacked film, and where it comes from.

    Attributes:
        film: Name of the original.
        query: Seconds in the attacked film, half-open.
        work: Where the same is in the original; the first is earlier, also where it is played backwards.
    """

    film: str
    query: tuple[float, float]
    work: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """An attacked film.

    Attributes:
        clip: What is shown; its `film` and `start` say nothing.
        parts: All that it holds of the attacked film, and of other registered ones.
        quality: Constant rate factor of x264 with which it is written, 0 (best) to 51.
    """

    clip: Clip
    parts: tuple[Part, ...]
    quality: int = _QUALITY


@dataclass(frozen=True, slots=True)
class Hand:
    """What an attack draws from.

    Attributes:
        rng: Gives the strengths and places.
        other: Gives about so many seconds of a film that is not registered.
        work: Gives at most so many seconds of another registered film, another each time if there are.
    """

    rng: random.Random
    other: Callable[[float], Clip]
    work: Callable[[float], Clip]


Alter = Callable[[Clip, Hand], Made]
Paint = Callable[[Picture, float], Picture]
"""Changes a picture, given how much of the clip has passed, 0..1."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of change.

    Attributes:
        alter: Changes a clip.
        seconds: How long the clip is that it is given, at least and at most.
    """

    alter: Alter
    seconds: tuple[float, float] = (8.0, 16.0)


def _part(clip: Clip, at: float = 0.0) -> Part:
    """All of a clip, shown as it is from a time on."""
    return Part(clip.film, (at, at + clip.seconds), (clip.start, clip.start + clip.seconds))


def _painted(draw: Callable[[Hand, Picture], Paint], quality: int = _QUALITY) -> Alter:
    """Change every picture, and leave the time as it is."""

    def alter(clip: Clip, hand: Hand) -> Made:
        paint, last = draw(hand, clip.pictures[0]), max(1, len(clip.pictures) - 1)
        pictures = [paint(picture, place / last) for place, picture in enumerate(clip.pictures)]
        return Made(replace(clip, pictures=pictures), (_part(clip),), quality)

    return alter


def _resized(picture: Picture, width: float, height: float) -> Picture:
    size = max(2, round(width)), max(2, round(height))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _covering(picture: Picture, width: int, height: int) -> Picture:
    """Scaled and cut in the middle, so that it fills a rectangle."""
    h, w = picture.shape[:2]
    factor = max(width / w, height / h)
    scaled = _resized(picture, max(width, w * factor), max(height, h * factor))
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[top : top + height, left : left + width]


def _levels(picture: npt.NDArray[np.float32]) -> Picture:
    return picture.clip(0, 255).astype(np.uint8)


def _put(under: Picture, over: Picture, left: float, top: float) -> Picture:
    """Lay a picture on another, which it lies within."""
    out = under.copy()
    y, x = round(top), round(left)
    height, width = min(over.shape[0], out.shape[0] - y), min(over.shape[1], out.shape[1] - x)
    out[y : y + height, x : x + width] = over[:height, :width]
    return out


def _written(picture: Picture, text: str, top: float, share: float) -> Picture:
    """Write a line of text on a dark band, its middle at that part of the height."""
    out, (height, width) = picture.copy(), picture.shape[:2]
    (long, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 1.0, 2)
    scale = share * width / long
    left, base = round(width * (1 - share) / 2), round(height * top + high * scale / 2)
    margin = round(high * scale * 0.4)
    above = max(0, base - round(high * scale) - margin)
    out[
        above : base + margin, left - margin if left > margin else 0 : left + round(long * scale) + margin
    ] //= 4
    font = cv2.FONT_HERSHEY_DUPLEX
    cv2.putText(out, text, (left, base), font, scale, (255, 255, 255), max(1, round(2 * scale)), cv2.LINE_AA)
    return out


def _crop(hand: Hand, first: Picture) -> Paint:
    height, width = first.shape[:2]
    side = hand.rng.uniform(0.5, 0.8) ** 0.5
    high, wide = int(height * side), int(width * side)
    top, left = hand.rng.randint(0, height - high), hand.rng.randint(0, width - wide)
    return lambda picture, _: picture[top : top + high, left : left + wide]


def _mirror(_hand: Hand, _first: Picture) -> Paint:
    return lambda picture, _: picture[:, ::-1]


def _letterbox(hand: Hand, first: Picture) -> Paint:
    height, width = first.shape[:2]
    flat, share = hand.rng.random() < 0.5, hand.rng.uniform(0.15, 0.35)
    high, wide = (round(height * share), 0) if flat else (0, round(width * share))
    grey = hand.rng.choice((0, 0, 255))

    def paint(picture: Picture, _: float) -> Picture:
        framed = cv2.copyMakeBorder(
            picture, high, high, wide, wide, cv2.BORDER_CONSTANT, value=(grey, grey, grey)
        )
        return np.asarray(framed, np.uint8)

    return paint


def _caption(hand: Hand, _first: Picture) -> Paint:
    texts = hand.rng.sample(_CAPTIONS, 2)
    top, share = hand.rng.choice((0.12, 0.85)), hand.rng.uniform(0.6, 0.9)
    return lambda picture, passed: _written(picture, texts[int(passed >= 0.5)], top, share)


def _colour(hand: Hand, _first: Picture) -> Paint:
    turn = hand.rng.randint(-25, 25)
    strength, contrast = hand.rng.choice((0.0, 0.5, 1.6)), hand.rng.uniform(0.7, 1.4)
    light = hand.rng.uniform(-35, 35)

    def paint(picture: Picture, _: float) -> Picture:
        tones = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV).astype(np.float32)
        tones[..., 0] = (tones[..., 0] + turn) % 180
        tones[..., 1] *= strength
        back = cv2.cvtColor(_levels(tones), cv2.COLOR_HSV2RGB).astype(np.float32)
        return _levels((back - 128) * contrast + 128 + light)

    return paint


def _blur(hand: Hand, first: Picture) -> Paint:
    sigma = max(first.shape) * hand.rng.uniform(0.004, 0.012)
    return lambda picture, _: np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)


def _grain(hand: Hand, first: Picture, strength: float) -> Callable[[Picture], Picture]:
    generator = np.random.default_rng(hand.rng.getrandbits(32))
    grains = [generator.normal(0, strength, first.shape).astype(np.float32) for _ in range(6)]
    return lambda picture: _levels(picture + hand.rng.choice(grains))


def _noise(hand: Hand, first: Picture) -> Paint:
    grain = _grain(hand, first, hand.rng.uniform(10, 28))
    return lambda picture, _: grain(picture)


def _rotate(hand: Hand, first: Picture) -> Paint:
    height, width = first.shape[:2]
    degrees = hand.rng.choice((-1, 1)) * hand.rng.uniform(4, 15)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return lambda picture, _: np.asarray(cv2.warpAffine(picture, matrix, (width, height)), np.uint8)


def _camcorder(hand: Hand, first: Picture) -> Paint:
    """A screen filmed from the side, by a hand that shakes, darker and with grain."""
    height, width = first.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inward = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float32)
    shares = np.array([[hand.rng.uniform(0.02, 0.16) for _ in range(2)] for _ in range(4)], np.float32)
    seen = corners + inward * shares * np.array([width, height], np.float32)
    grain, light = _grain(hand, first, 8.0), hand.rng.uniform(0.65, 0.9)
    steps = np.array([hand.rng.uniform(0, 6.28) for _ in range(2)])

    def paint(picture: Picture, passed: float) -> Picture:
        shake = (0.006 * width * np.sin(40 * passed + steps)).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(corners, seen + shake)
        filmed = cv2.warpPerspective(picture, matrix, (width, height), borderValue=(14, 12, 12))
        return grain(_levels(filmed.astype(np.float32) * light))

    return paint


def _logo(hand: Hand, first: Picture) -> Paint:
    height, width = first.shape[:2]
    size = hand.rng.uniform(0.12, 0.22) * min(height, width)
    left = round(hand.rng.choice((size, width - size)))
    top = round(hand.rng.choice((size, height - size)))
    colour = tuple(hand.rng.randint(60, 255) for _ in range(3))

    def paint(picture: Picture, _: float) -> Picture:
        over = picture.copy()
        cv2.circle(over, (left, top), round(size * 0.8), colour, -1, cv2.LINE_AA)
        cv2.circle(
            over, (left, top), round(size * 0.4), (255, 255, 255), max(2, round(size / 8)), cv2.LINE_AA
        )
        return np.asarray(cv2.addWeighted(over, 0.85, picture, 0.15, 0), np.uint8)

    return paint


def _zoom_pan(hand: Hand, first: Picture) -> Paint:
    """A window over the picture that moves and narrows, or widens."""
    height, width = first.shape[:2]
    sides = hand.rng.sample([hand.rng.uniform(0.55, 0.65), hand.rng.uniform(0.75, 0.95)], 2)
    ways = [[hand.rng.random() for _ in range(2)] for _ in range(2)]

    def paint(picture: Picture, passed: float) -> Picture:
        side = sides[0] + (sides[1] - sides[0]) * passed
        high, wide = int(height * side), int(width * side)
        down, right = (one + (two - one) * passed for one, two in zip(*ways, strict=True))
        top, left = int((height - high) * down), int((width - wide) * right)
        return _resized(picture[top : top + high, left : left + wide], width, height)

    return paint


def _short(hand: Hand, _first: Picture) -> Paint:
    """An upright video: the picture across, itself blurred behind, captions above and below."""
    wide, high = 288, 512
    texts = hand.rng.sample(_CAPTIONS, 2)
    zoom = hand.rng.uniform(1.0, 1.35)

    def paint(picture: Picture, _: float) -> Picture:
        behind = cv2.GaussianBlur(_covering(picture, wide // 4, high // 4), (0, 0), 4)
        under = np.asarray(cv2.resize(behind, (wide, high)), np.uint8)
        height = min(high * 0.75, wide * picture.shape[0] / picture.shape[1] * zoom)
        shown = _put(under, _covering(picture, wide, round(height)), 0, (high - height) / 2)
        return _written(_written(shown, texts[0], 0.12, 0.8), texts[1], 0.86, 0.7)

    return paint


def _as_it_is(_hand: Hand, _first: Picture) -> Paint:
    return lambda picture, _: picture


def _looped(clip: Clip, count: int) -> list[Picture]:
    """So many pictures of a clip, forwards and backwards in turn."""
    swing = [*clip.pictures, *clip.pictures[::-1]]
    return [swing[place % len(swing)] for place in range(count)]


def _inside(share: float) -> Alter:
    """Picture in picture: a part of another film's width and height, which holds still."""

    def alter(clip: Clip, hand: Hand) -> Made:
        other = hand.other(clip.seconds)
        width, height = SIDE, SIDE * 9 // 16
        h, w = clip.pictures[0].shape[:2]
        factor = min(width * share / w, height * share / h)
        left = hand.rng.uniform(0, width - w * factor - 1)
        top = hand.rng.uniform(0, height - h * factor - 1)
        pictures = [
            _put(_covering(under, width, height), _resized(picture, w * factor, h * factor), left, top)
            for picture, under in zip(clip.pictures, _looped(other, len(clip.pictures)), strict=True)
        ]
        return Made(replace(clip, pictures=pictures), (_part(clip),))

    return alter


def _reaction(clip: Clip, hand: Hand) -> Made:
    """The film at about three quarters of the width on a plain ground, a face over a corner, which speaks."""
    other = hand.other(clip.seconds)
    width, height = SIDE, SIDE * 9 // 16
    share, small = hand.rng.uniform(0.68, 0.82), round(height * hand.rng.uniform(0.35, 0.45))
    h, w = clip.pictures[0].shape[:2]
    factor = min(width * share / w, height * share / h)
    ground = np.full((height, width, 3), [hand.rng.randint(20, 200) for _ in range(3)], np.uint8)
    at_right = hand.rng.random() < 0.5
    pictures = []
    for picture, face in zip(clip.pictures, _looped(other, len(clip.pictures)), strict=True):
        shown = _resized(picture, w * factor, h * factor)
        under = _put(ground, shown, 8 if at_right else width - 8 - shown.shape[1], 8)
        left = width - small - 6 if at_right else 6
        pictures.append(_put(under, _covering(face, small, small), left, height - small - 6))
    return Made(replace(clip, pictures=pictures, sound=_mixed(clip, other)), (_part(clip),))


def _mixed(clip: Clip, other: Clip) -> Sound | None:
    """The clip's sound, half as loud, with the other's."""
    if clip.sound is None or other.sound is None:
        return clip.sound
    length = clip.sound.shape[1]
    added = np.tile(other.sound, (1, -(-length // max(1, other.sound.shape[1]))))[:, :length]
    return np.asarray((clip.sound * 0.5 + added).clip(-1, 1), np.float32)


def _split_screen(clip: Clip, hand: Hand) -> Made:
    """The middle of the film in one half, the middle of another in the other."""
    other, half, height = hand.other(clip.seconds), SIDE // 2, SIDE * 9 // 16
    first = hand.rng.random() < 0.5
    pictures = []
    for picture, beside in zip(clip.pictures, _looped(other, len(clip.pictures)), strict=True):
        halves = [_covering(picture, half, height), _covering(beside, half, height)]
        pictures.append(np.concatenate(halves if first else halves[::-1], axis=1))
    return Made(replace(clip, pictures=pictures), (_part(clip),))


def _sound_of(clip: Clip) -> Sound:
    """A clip's sound, or silence."""
    samples = round(clip.seconds * audio_attacks.RATE)
    if clip.sound is None:
        return np.zeros((2, samples), np.float32)
    return np.pad(clip.sound[:, :samples], ((0, 0), (0, max(0, samples - clip.sound.shape[1]))))


def _within(picture: Picture, width: int, height: int) -> Picture:
    """Scaled to lie in a rectangle, the rest black."""
    h, w = picture.shape[:2]
    factor = min(width / w, height / h)
    scaled = _resized(picture, min(width, w * factor), min(height, h * factor))
    black = np.zeros((height, width, 3), np.uint8)
    return _put(black, scaled, (width - scaled.shape[1]) / 2, (height - scaled.shape[0]) / 2)


def after(clips: Sequence[Clip], copies: Sequence[bool]) -> Made:
    """Clips one after the other, in the size and rate of the first copy; copies are seen whole.

    Args:
        clips: Of one rate.
        copies: Which of them the result's parts name.
    """
    first = clips[copies.index(True)]
    height, width = first.pictures[0].shape[:2]
    pictures = [
        (_within if copy else _covering)(picture, width, height)
        for clip, copy in zip(clips, copies, strict=True)
        for picture in clip.pictures
    ]
    starts = np.cumsum([0.0, *(clip.seconds for clip in clips)])
    parts = tuple(
        _part(clip, float(start))
        for clip, start, copy in zip(clips, starts[:-1], copies, strict=True)
        if copy
    )
    sound = None
    if any(clip.sound is not None for clip in clips):
        sound = np.concatenate([_sound_of(clip) for clip in clips], axis=1)
    return Made(replace(first, pictures=pictures, sound=sound), parts)


def _inserted(clip: Clip, hand: Hand) -> Made:
    before, behind = (hand.other(hand.rng.uniform(4, 8)) for _ in range(2))
    return after([before, clip, behind], [False, True, False])


def _joined(clip: Clip, hand: Hand) -> Made:
    return after([clip, hand.work(hand.rng.uniform(5, 9))], [True, True])


def _compilation(clip: Clip, hand: Hand) -> Made:
    """Ten works, three to five seconds of each."""
    clips = [clip, *(hand.work(hand.rng.uniform(3, 5)) for _ in range(9))]
    return after(clips, [True] * len(clips))


def _timed(clip: Clip, times: Numbers) -> Clip:
    """What is shown at each time of a clip, seconds, one for each picture of the result."""
    places = np.clip(np.rint(times * clip.rate).astype(int), 0, len(clip.pictures) - 1)
    sound = None
    if clip.sound is not None and clip.sound.shape[1] > 1:
        samples = np.arange(round(len(times) / clip.rate * audio_attacks.RATE)) / audio_attacks.RATE
        at = np.interp(samples, np.arange(len(times)) / clip.rate, times) * audio_attacks.RATE
        known = np.arange(clip.sound.shape[1])
        sound = np.stack([np.interp(at, known, channel) for channel in clip.sound]).astype(np.float32)
    return replace(clip, pictures=[clip.pictures[place] for place in places], sound=sound)


def _played(low: float, high: float) -> Alter:
    def alter(clip: Clip, hand: Hand) -> Made:
        speed = hand.rng.uniform(low, high)
        count = int(len(clip.pictures) / speed)
        played = _timed(clip, np.arange(count) / clip.rate * speed)
        end = clip.start + min(clip.seconds, played.seconds * speed)
        return Made(played, (Part(clip.film, (0.0, played.seconds), (clip.start, end)),))

    return alter


def _reversed(clip: Clip, _hand: Hand) -> Made:
    return Made(_timed(clip, np.arange(len(clip.pictures))[::-1] / clip.rate), (_part(clip),))


def _ramp(clip: Clip, hand: Hand) -> Made:
    """Three stretches of different speeds."""
    speeds = [hand.rng.uniform(0.75, 0.9), 1.0, hand.rng.uniform(1.15, 1.35)]
    hand.rng.shuffle(speeds)
    third, times, parts = clip.seconds / 3, list[float](), list[Part]()
    for number, speed in enumerate(speeds):
        first = len(times)
        times += [number * third + step / clip.rate * speed for step in range(int(third / speed * clip.rate))]
        query = first / clip.rate, len(times) / clip.rate
        parts.append(Part(clip.film, query, (clip.start + number * third, clip.start + (number + 1) * third)))
    return Made(_timed(clip, np.array(times)), tuple(parts))


def _dropped(clip: Clip, hand: Hand) -> Made:
    """A third to two thirds of the pictures are gone; the one before stays instead."""
    share = hand.rng.uniform(0.33, 0.66)
    pictures = list(clip.pictures)
    for place in range(1, len(pictures)):
        if hand.rng.random() < share:
            pictures[place] = pictures[place - 1]
    return Made(replace(clip, pictures=pictures), (_part(clip),))


def _frame_rate(clip: Clip, hand: Hand) -> Made:
    """Eight, ten or twelve pictures a second, mixed of those around them."""
    rate = hand.rng.choice((8, 10, 12))
    pictures = []
    for place in range(int(clip.seconds * rate)):
        at = place / rate * clip.rate
        low, share = int(at), at - int(at)
        pair = clip.pictures[low], clip.pictures[min(low + 1, len(clip.pictures) - 1)]
        pictures.append(np.asarray(cv2.addWeighted(pair[0], 1 - share, pair[1], share, 0), np.uint8))
    return Made(replace(clip, pictures=pictures, rate=rate), (_part(clip),))


def _low_bit_rate(clip: Clip, _hand: Hand) -> Made:
    height, width = clip.pictures[0].shape[:2]
    pictures = [_resized(picture, width / 2, height / 2) for picture in clip.pictures]
    return Made(replace(clip, pictures=pictures), (_part(clip),), 40)


def _other_sound(clip: Clip, hand: Hand) -> Made:
    """As it is, with the sound of another film; one of them is drawn until it has any."""
    others = (hand.other(clip.seconds) for _ in range(8))
    sound = next((_sound_of(one) for one in others if one.sound is not None), None)
    if sound is not None:
        length = round(clip.seconds * audio_attacks.RATE)
        sound = np.tile(sound, (1, length // sound.shape[1] + 1))[:, :length]
    return Made(replace(clip, sound=sound), (_part(clip),))


ATTACKS: Final[dict[str, Attack]] = {
    "excerpt": Attack(_painted(_as_it_is)),
    "inserted": Attack(_inserted, (6.0, 10.0)),
    "crop": Attack(_painted(_crop)),
    "mirror": Attack(_painted(_mirror)),
    "letterbox": Attack(_painted(_letterbox)),
    "caption": Attack(_painted(_caption)),
    "faster": Attack(_played(1.15, 1.4)),
    "slower": Attack(_played(0.7, 0.87)),
    "low_bit_rate": Attack(_low_bit_rate),
    "reversed": Attack(_reversed),
    "inside_60": Attack(_inside(0.6)),
    "inside_35": Attack(_inside(0.35)),
    "camcorder": Attack(_painted(_camcorder)),
    "colour": Attack(_painted(_colour)),
    "blur": Attack(_painted(_blur)),
    "noise": Attack(_painted(_noise, 30)),
    "rotate": Attack(_painted(_rotate)),
    "frames_dropped": Attack(_dropped),
    "logo": Attack(_painted(_logo)),
    "joined": Attack(_joined, (5.0, 9.0)),
    "short": Attack(_painted(_short)),
    "reaction": Attack(_reaction),
    "zoom_pan": Attack(_painted(_zoom_pan)),
    "frame_rate": Attack(_frame_rate),
    "speed_ramp": Attack(_ramp),
    "five_seconds": Attack(_painted(_as_it_is, 30), (5.0, 5.0)),
    "compilation": Attack(_compilation, (3.0, 5.0)),
    "split_screen": Attack(_split_screen),
    "other_sound": Attack(_other_sound),
}
"""All attacks by name."""
