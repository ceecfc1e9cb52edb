"""The changes that copies go through, drawn at random: what the network learns to see past.

Each change takes a picture and a `Hand` and returns a picture. They work on small pictures (`WORK` pixels),
so that a view costs a few milliseconds. `view` composes several; `mix` puts two pictures into one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from indexers.training.stickers import Stickers

Picture = npt.NDArray[np.uint8]
"""(height, width, 3) RGB."""

WORK = 256
"""Pixels of the longer side at which pictures are changed, before they are brought to the network's size."""


@dataclass(frozen=True, slots=True)
class Hand:
    """What a change draws from.

    Attributes:
        rng: Random numbers.
        other: Gives an unrelated picture.
        stickers: Texts and emoji to lay over.
    """

    rng: np.random.Generator
    other: Callable[[], Picture]
    stickers: Stickers

    def between(self, low: float, high: float) -> float:
        """Draw a number, uniformly."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Toss a biased coin."""
        return bool(self.rng.random() < probability)

    def colour(self) -> tuple[int, int, int]:
        """Draw a colour: black and white are the most frequent."""
        if self.chance(0.5):
            return (0, 0, 0) if self.chance(0.5) else (255, 255, 255)
        red, green, blue = self.rng.integers(0, 256, 3)
        return int(red), int(green), int(blue)


Change = Callable[[Picture, Hand], Picture]


def decode(data: npt.NDArray[np.uint8]) -> Picture:
    """Decode a picture's file.

    Raises:
        ValueError: If it is no picture that OpenCV reads.
    """
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise ValueError("a training picture is damaged: collect the sources again")
    return np.asarray(picture, np.uint8)


def resize(picture: Picture, width: int, height: int) -> Picture:
    """Resize, averaging where it shrinks. Aspect is not kept."""
    shrinks = width < picture.shape[1] or height < picture.shape[0]
    size = (max(width, 1), max(height, 1))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)  # type: ignore[return-value]


def fit(picture: Picture, longer: int) -> Picture:
    """Shrink to at most `longer` pixels on the longer side."""
    height, width = picture.shape[:2]
    scale = longer / max(height, width)
    return picture if scale >= 1 else resize(picture, round(width * scale), round(height * scale))


def anchor(picture: Picture, hand: Hand) -> Picture:
    """Make the clean side of a pair: as it is or a little cropped, saved again or recoloured."""
    if hand.chance(0.3):
        picture = _crop(picture, hand, hand.between(0.8, 1.0))
    picture = fit(picture, WORK)
    if hand.chance(0.15):
        picture = _colours(picture, hand)
    return picture


def view(picture: Picture, hand: Hand) -> Picture:
    """Make the changed side of a pair: none to six changes, two on average, geometry first, pasting later.

    A part of a picture is seldom pasted: too little would be left to recognise it by.
    """
    cropped = hand.chance(0.4)
    if cropped:
        picture = _any(_CROPS, picture, hand)
    picture = fit(picture, WORK)
    if hand.chance(0.4):
        picture = _any(_TURNS, picture, hand)
    if hand.chance(0.5):
        picture = _any(_TONES, picture, hand)
    if hand.chance(0.25):
        picture = _any(_OVERLAYS, picture, hand)
    if hand.chance(0.15 if cropped else 0.6):
        picture = fit(_any(_PASTES, picture, hand), WORK)
    if hand.chance(0.2):
        picture = _any(_SAVES, picture, hand)
    return picture


def mix(first: Picture, second: Picture, hand: Hand) -> Picture:
    """Put two pictures into one so that both can be recognised."""
    first = _any(_TURNS, fit(first, WORK), hand) if hand.chance(0.3) else fit(first, WORK)
    second = _any(_TONES, fit(second, WORK), hand) if hand.chance(0.3) else fit(second, WORK)
    kind = hand.rng.integers(3)
    if kind == 0:
        return fit(_side_by_side([first, second], hand), WORK)
    if kind == 1:
        return _put(first, second, hand.between(0.45, 0.7), hand)
    height, width = second.shape[:2]
    share = hand.between(0.4, 0.6)
    return cv2.addWeighted(resize(first, width, height), share, second, 1 - share, 0)  # type: ignore[return-value]


def _any(changes: tuple[tuple[float, Change], ...], picture: Picture, hand: Hand) -> Picture:
    """Apply one of the weighted changes."""
    weights = np.array([weight for weight, _ in changes])
    return changes[int(hand.rng.choice(len(changes), p=weights / weights.sum()))][1](picture, hand)


def _crop(picture: Picture, hand: Hand, area: float) -> Picture:
    """Keep a part of the area, anywhere, of an aspect up to 1.35 times the picture's."""
    height, width = picture.shape[:2]
    stretch = np.sqrt(hand.between(0.74, 1.35))
    tall, wide = int(height * min(np.sqrt(area) * stretch, 1)), int(width * min(np.sqrt(area) / stretch, 1))
    tall, wide = max(tall, 8), max(wide, 8)
    top, left = hand.rng.integers(0, height - tall + 1), hand.rng.integers(0, width - wide + 1)
    return picture[top : top + tall, left : left + wide]


def _wide_crop(picture: Picture, hand: Hand) -> Picture:
    return _crop(picture, hand, hand.between(0.4, 0.95))


def _middle_crop(picture: Picture, hand: Hand) -> Picture:
    return _crop(picture, hand, hand.between(0.15, 0.4))


def _small_crop(picture: Picture, hand: Hand) -> Picture:
    return _crop(picture, hand, hand.between(0.05, 0.15))


def _stretch(picture: Picture, hand: Hand) -> Picture:
    height, width = picture.shape[:2]
    return resize(picture, int(width * hand.between(0.6, 1.0)), int(height * hand.between(0.6, 1.0)))


def _flip(picture: Picture, hand: Hand) -> Picture:
    return picture[:, ::-1] if hand.chance(0.75) else picture[::-1]


def _right_angle(picture: Picture, hand: Hand) -> Picture:
    turned = np.rot90(picture, int(hand.rng.integers(1, 4)))
    return turned[:, ::-1] if hand.chance(0.2) else turned


def _rotate(picture: Picture, degrees: float, hand: Hand) -> Picture:
    """Turn by any angle; half of the time the canvas grows and the corners are filled."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    cosine, sine = abs(turn[0, 0]), abs(turn[0, 1])
    wide, tall = width, height
    if hand.chance(0.5):
        wide, tall = int(height * sine + width * cosine), int(height * cosine + width * sine)
        turn[:, 2] += (wide - width) / 2, (tall - height) / 2
    fill = cv2.BORDER_REFLECT if hand.chance(0.15) else cv2.BORDER_CONSTANT
    return cv2.warpAffine(picture, turn, (wide, tall), borderMode=fill, borderValue=hand.colour())  # type: ignore[return-value]


def _tilt(picture: Picture, hand: Hand) -> Picture:
    return _rotate(picture, hand.between(-20, 20), hand)


def _turn_far(picture: Picture, hand: Hand) -> Picture:
    return _rotate(picture, hand.between(-180, 180), hand)


def _perspective(picture: Picture, hand: Hand) -> Picture:
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + hand.rng.uniform(-0.18, 0.18, (4, 2)) * (width, height)
    warp = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    return cv2.warpPerspective(picture, warp, (width, height), borderValue=hand.colour())  # type: ignore[return-value]


def _invert(picture: Picture, _hand: Hand) -> Picture:
    return 255 - picture


def _grey(picture: Picture, hand: Hand) -> Picture:
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    tint = np.array([1.0, 1.0, 1.0]) if hand.chance(0.6) else hand.rng.uniform(0.6, 1.15, 3)
    return np.clip(grey * tint, 0, 255).astype(np.uint8)


def _colours(picture: Picture, hand: Hand) -> Picture:
    """Change contrast, brightness and gamma, of each channel a little otherwise."""
    levels = np.linspace(0, 1, 256)
    table = np.empty((1, 256, 3), np.uint8)
    gamma, contrast, shift = hand.between(0.5, 1.9), hand.between(0.5, 1.7), hand.between(-0.2, 0.2)
    for channel in range(3):
        cast = hand.between(-0.08, 0.08)
        curve = (levels**gamma - 0.5) * contrast + 0.5 + shift + cast
        table[0, :, channel] = np.clip(curve * 255, 0, 255)
    return cv2.LUT(np.ascontiguousarray(picture), table)  # type: ignore[return-value]


def _hue(picture: Picture, hand: Hand) -> Picture:
    hsv = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + int(hand.rng.integers(180))) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * hand.between(0.2, 2.2), 0, 255)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)  # type: ignore[return-value]


def _posterise(picture: Picture, hand: Hand) -> Picture:
    step = 256 // int(hand.rng.integers(2, 7))
    return picture // step * step


def _equalise(picture: Picture, _hand: Hand) -> Picture:
    return np.dstack([cv2.equalizeHist(np.ascontiguousarray(picture[..., c])) for c in range(3)])


def _blur(picture: Picture, hand: Hand) -> Picture:
    return cv2.GaussianBlur(picture, (0, 0), hand.between(0.6, 4.0))  # type: ignore[return-value]


def _sharpen(picture: Picture, hand: Hand) -> Picture:
    amount = hand.between(0.5, 2.5)
    soft = cv2.GaussianBlur(picture, (0, 0), 1.5)
    return cv2.addWeighted(picture, 1 + amount, soft, -amount, 0)  # type: ignore[return-value]


def _noise(picture: Picture, hand: Hand) -> Picture:
    noise = hand.rng.standard_normal(picture.shape, np.float32) * hand.between(6, 45)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def _pixelate(picture: Picture, hand: Hand) -> Picture:
    height, width = picture.shape[:2]
    factor = hand.between(3, 9)
    small = resize(picture, int(width / factor), int(height / factor))
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]


def _jpeg(picture: Picture, hand: Hand) -> Picture:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(hand.rng.integers(4, 50))]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture), quality)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)  # type: ignore[return-value]


def _shrink(picture: Picture, hand: Hand) -> Picture:
    return fit(picture, int(hand.between(32, 120)))


def _cover(picture: Picture, patch: Picture, coverage: npt.NDArray[np.uint8], left: int, top: int) -> None:
    """Paste a patch with coverage into a picture, in place, where it overlaps."""
    height, width = picture.shape[:2]
    x0, y0, x1, y1 = (
        max(left, 0),
        max(top, 0),
        min(left + patch.shape[1], width),
        min(top + patch.shape[0], height),
    )
    if x1 <= x0 or y1 <= y0:
        return
    part = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    alpha = coverage[part][..., None].astype(np.uint16)
    below = picture[y0:y1, x0:x1]
    below[...] = (patch[part] * alpha + below * (255 - alpha)) // 255


def _write(picture: Picture, hand: Hand, place: tuple[float, float], tall: int, opacity: float = 1.0) -> None:
    """Write a line of text into a picture, in place, from a relative place on."""
    mask = hand.stickers.texts[int(hand.rng.integers(len(hand.stickers.texts)))]
    wide = max(int(mask.shape[1] * tall / mask.shape[0]), 1)
    mask = cv2.resize(mask, (wide, max(tall, 1)), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    mask = (mask * opacity).astype(np.uint8)
    height, width = picture.shape[:2]
    ink = np.full((*mask.shape, 3), hand.colour(), np.uint8)
    _cover(picture, ink, mask, int(place[0] * width), int(place[1] * height))


def _caption(picture: Picture, hand: Hand) -> Picture:
    picture = picture.copy()
    for _ in range(int(hand.rng.integers(1, 4))):
        tall = int(picture.shape[0] * hand.between(0.06, 0.22))
        _write(picture, hand, (hand.between(-0.1, 0.5), hand.between(0, 0.85)), tall)
    return picture


def _watermark(picture: Picture, hand: Hand) -> Picture:
    picture = picture.copy()
    tall, opacity = int(picture.shape[0] * hand.between(0.05, 0.12)), hand.between(0.2, 0.6)
    for y in np.arange(0.02, 1, hand.between(0.15, 0.4)):
        for x in np.arange(-0.1, 1, hand.between(0.4, 0.8)):
            _write(picture, hand, (float(x), float(y)), tall, opacity)
    return picture


def _emoji(picture: Picture, hand: Hand) -> Picture:
    picture = picture.copy()
    height, width = picture.shape[:2]
    for _ in range(int(hand.rng.integers(1, 6))):
        sticker = hand.stickers.emoji[int(hand.rng.integers(len(hand.stickers.emoji)))]
        side = max(int(min(height, width) * hand.between(0.1, 0.45)), 4)
        sticker = cv2.resize(sticker, (side, side), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        left, top = int(hand.between(-0.1, 0.9) * width), int(hand.between(-0.1, 0.9) * height)
        _cover(picture, sticker[..., :3], sticker[..., 3], left, top)
    return picture


def _shapes(picture: Picture, hand: Hand) -> Picture:
    picture = picture.copy()
    height, width = picture.shape[:2]
    for _ in range(int(hand.rng.integers(1, 5))):
        centre = (int(hand.between(0, 1) * width), int(hand.between(0, 1) * height))
        radius = max(int(min(height, width) * hand.between(0.05, 0.2)), 2)
        if hand.chance(0.5):
            cv2.circle(picture, centre, radius, hand.colour(), -1 if hand.chance(0.7) else 3)
        else:
            corner = (centre[0] + radius * 2, centre[1] + radius)
            cv2.rectangle(picture, centre, corner, hand.colour(), -1 if hand.chance(0.7) else 3)
    return picture


def _covered(picture: Picture, hand: Hand) -> Picture:
    """Lay another picture over a part of it."""
    return _put(hand.other(), picture, hand.between(0.2, 0.5), hand)


def _blend(picture: Picture, hand: Hand) -> Picture:
    height, width = picture.shape[:2]
    share = hand.between(0.55, 0.85)
    return cv2.addWeighted(  # type: ignore[return-value]
        np.ascontiguousarray(picture), share, resize(hand.other(), width, height), 1 - share, 0
    )


def _letterbox(picture: Picture, hand: Hand) -> Picture:
    """Bars or a border, plain, or the picture itself blurred."""
    height, width = picture.shape[:2]
    kind = hand.rng.integers(3)
    x = int(width * hand.between(0.05, 0.5)) if kind != 0 else 0
    y = int(height * hand.between(0.05, 0.5)) if kind != 1 else 0
    if hand.chance(0.3):
        canvas = cv2.blur(resize(picture, width + 2 * x, height + 2 * y), (25, 25))
        canvas[y : y + height, x : x + width] = picture
        return canvas  # type: ignore[return-value]
    return cv2.copyMakeBorder(picture, y, y, x, x, cv2.BORDER_CONSTANT, value=hand.colour())  # type: ignore[return-value]


def _meme(picture: Picture, hand: Hand) -> Picture:
    """Bars above or below, with text."""
    bar = int(picture.shape[0] * hand.between(0.15, 0.5))
    above, below = (bar, bar) if hand.chance(0.4) else ((bar, 0) if hand.chance(0.6) else (0, bar))
    paper = (255, 255, 255) if hand.chance(0.7) else hand.colour()
    framed = cv2.copyMakeBorder(picture, above, below, 0, 0, cv2.BORDER_CONSTANT, value=paper)
    tall = framed.shape[0]
    lines = int(hand.rng.integers(1, 3))
    for line in range(lines):
        size = int(bar * 0.7 / lines)
        if above:
            _write(framed, hand, (hand.between(0, 0.2), (line * size + 0.1 * bar) / tall), size)  # type: ignore[arg-type]
        if below:
            start = (tall - bar + line * size + 0.1 * bar) / tall
            _write(framed, hand, (hand.between(0, 0.2), start), size)  # type: ignore[arg-type]
    return framed  # type: ignore[return-value]


def _screenshot(picture: Picture, hand: Hand) -> Picture:
    """Show the picture on a phone's or a browser's screen, with bars, text and buttons around it."""
    upright = hand.chance(0.7)
    wide, tall = (144, 256) if upright else (256, 176)
    paper = 255 - int(hand.rng.integers(0, 30)) if hand.chance(0.6) else int(hand.rng.integers(0, 45))
    screen = np.full((tall, wide, 3), paper, np.uint8)
    screen[: int(tall * hand.between(0.03, 0.1))] = hand.colour()
    for row in np.arange(0.04, 0.98, 0.07):
        if hand.chance(0.7):
            _write(screen, hand, (hand.between(0.02, 0.25), float(row)), int(tall * hand.between(0.02, 0.05)))
    for _ in range(int(hand.rng.integers(1, 5))):
        spot = (int(hand.between(0, 1) * wide), int(hand.between(0, 1) * tall))
        cv2.circle(screen, spot, int(hand.between(3, 10)), hand.colour(), -1)
    room = wide if hand.chance(0.6) else int(wide * hand.between(0.5, 1))
    shown = resize(picture, room, max(int(room * picture.shape[0] / picture.shape[1]), 8))
    shown = shown[: int(tall * 0.85)]
    left = int(hand.rng.integers(0, wide - room + 1))
    top = int(hand.rng.integers(0, tall - shown.shape[0] + 1))
    screen[top : top + shown.shape[0], left : left + room] = shown
    return screen


def _put(inner: Picture, outer: Picture, share: float, hand: Hand) -> Picture:
    """Paste one picture onto another, covering `share` of the limiting side."""
    outer = fit(outer, WORK).copy()
    height, width = outer.shape[:2]
    scale = share * min(height / inner.shape[0], width / inner.shape[1])
    if hand.chance(0.3):
        inner = resize(inner, int(width * share), int(height * share))
    else:
        inner = resize(inner, int(inner.shape[1] * scale), int(inner.shape[0] * scale))
    top = int(hand.rng.integers(0, height - inner.shape[0] + 1))
    left = int(hand.rng.integers(0, width - inner.shape[1] + 1))
    outer[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return outer


def _inside_small(picture: Picture, hand: Hand) -> Picture:
    return _put(picture, hand.other(), hand.between(0.25, 0.45), hand)


def _inside_blurred(picture: Picture, hand: Hand) -> Picture:
    """Paste into another picture, and blur all of it, or what is around: the copy's frame goes soft too."""
    outer = hand.other()
    if hand.chance(0.4):
        return _put(picture, _blur(outer, hand), hand.between(0.4, 0.75), hand)
    return _blur(_put(picture, outer, hand.between(0.45, 0.75), hand), hand)


def _inside_large(picture: Picture, hand: Hand) -> Picture:
    return _put(picture, hand.other(), hand.between(0.45, 0.75), hand)


def _side_by_side(pictures: list[Picture], hand: Hand) -> Picture:
    """Put pictures into one row or column, in any order, cropped or squeezed to one size."""
    order = hand.rng.permutation(len(pictures))
    height, width = pictures[0].shape[:2]
    gap = int(hand.between(0, 8)) if hand.chance(0.5) else 0
    paper = hand.colour()
    tiles = [
        cv2.copyMakeBorder(
            resize(pictures[index], width, height), 0, gap, 0, gap, cv2.BORDER_CONSTANT, value=paper
        )
        for index in order
    ]
    return np.concatenate(tiles, axis=int(hand.rng.integers(2)))


def _collage(picture: Picture, hand: Hand) -> Picture:
    """One tile of two, three, or two by two."""
    count = int(hand.rng.integers(2, 5))
    if count < 4:
        return _side_by_side([picture, *(hand.other() for _ in range(count - 1))], hand)
    height, width = picture.shape[:2]
    tiles = [picture, *(resize(hand.other(), width, height) for _ in range(3))]
    a, b, c, d = (tiles[index] for index in hand.rng.permutation(4))
    return np.concatenate([np.concatenate([a, b], axis=1), np.concatenate([c, d], axis=1)])


_CROPS: tuple[tuple[float, Change], ...] = (
    (3.0, _wide_crop),
    (2.5, _middle_crop),
    (2.5, _small_crop),
    (1.0, _stretch),
)
_TURNS: tuple[tuple[float, Change], ...] = (
    (3.0, _flip),
    (2.0, _right_angle),
    (2.0, _tilt),
    (1.5, _turn_far),
    (1.0, _perspective),
)
_TONES: tuple[tuple[float, Change], ...] = (
    (3.0, _invert),
    (3.0, _grey),
    (2.0, _colours),
    (2.5, _hue),
    (0.5, _posterise),
    (0.5, _equalise),
    (1.0, _blur),
    (0.5, _sharpen),
    (1.0, _noise),
    (1.0, _pixelate),
)
_OVERLAYS: tuple[tuple[float, Change], ...] = (
    (2.0, _caption),
    (1.0, _watermark),
    (1.5, _emoji),
    (1.0, _shapes),
    (1.5, _covered),
    (1.5, _blend),
)
_PASTES: tuple[tuple[float, Change], ...] = (
    (1.5, _letterbox),
    (1.0, _meme),
    (1.5, _screenshot),
    (2.5, _inside_small),
    (2.5, _inside_large),
    (1.5, _inside_blurred),
    (2.5, _collage),
)
_SAVES: tuple[tuple[float, Change], ...] = ((2.0, _jpeg), (1.0, _shrink), (0.5, _blur), (0.5, _noise))

KINDS: Mapping[str, Change] = {
    "jpeg": _jpeg,
    "shrunk": _shrink,
    "blur": _blur,
    "noise": _noise,
    "pixelated": _pixelate,
    "grey": _grey,
    "colours": _colours,
    "hue": _hue,
    "inverted": _invert,
    "flip": _flip,
    "right_angle": _right_angle,
    "tilt": _tilt,
    "any_angle": _turn_far,
    "perspective": _perspective,
    "crop_40_to_95": _wide_crop,
    "crop_15_to_40": _middle_crop,
    "crop_5_to_15": _small_crop,
    "letterbox": _letterbox,
    "meme": _meme,
    "caption": _caption,
    "watermark": _watermark,
    "emoji": _emoji,
    "covered": _covered,
    "blend": _blend,
    "screenshot": _screenshot,
    "collage": _collage,
    "inside_45_to_75": _inside_large,
    "inside_blurred": _inside_blurred,
    "inside_25_to_45": _inside_small,
    "several": view,
}
"""Kinds of copies by name, for evaluation; numbers are per cent of area (crops) or of sides (inside)."""
