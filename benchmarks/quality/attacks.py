"""What pirates and platforms do to pictures, with strengths drawn by a seed.

The kinds follow DISC21 (https://arxiv.org/abs/2106.09672): saving again, colours, geometry, crops, overlays,
pictures inside others, and two of these in turn. All is done with Pillow and NumPy, on sRGB.
"""

import io
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from benchmarks.quality.media import Picture

_CAPTIONS: Final = ("when it is Monday again", "SHARE THIS NOW", "link in bio", "nobody: / me:", "so true")
_TURNS: Final = {
    "turn_90": Image.Transpose.ROTATE_90,
    "turn_180": Image.Transpose.ROTATE_180,
    "turn_270": Image.Transpose.ROTATE_270,
    "flip": Image.Transpose.FLIP_LEFT_RIGHT,
    "flip_vertical": Image.Transpose.FLIP_TOP_BOTTOM,
    "transpose": Image.Transpose.TRANSPOSE,
}


@dataclass(frozen=True, slots=True)
class Hand:
    """What an attack draws from.

    Attributes:
        rng: Gives the strengths and places.
        backdrops: Endless pictures that have nothing to do with the attacked one.
    """

    rng: random.Random
    backdrops: Iterator[Picture]


Alter = Callable[[Picture, Hand], Picture]


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of change.

    Attributes:
        family: Which kinds belong together.
        alter: Changes the picture.
        kind: Format in which it is saved.
        quality: Range of the format's quality, 1 to 100.
    """

    family: str
    alter: Alter
    kind: str = "JPEG"
    quality: tuple[int, int] = (80, 92)

    def __call__(self, picture: Picture, hand: Hand) -> bytes:
        """Return the changed picture as a file."""
        out = io.BytesIO()
        self.alter(picture, hand).convert("RGB").save(out, self.kind, quality=hand.rng.randint(*self.quality))
        return out.getvalue()


def _same(picture: Picture, _hand: Hand) -> Picture:
    return picture


def _resized(picture: Picture, width: float, height: float) -> Picture:
    size = max(16, round(width)), max(16, round(height))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _scaled(factor: float) -> Alter:
    return lambda picture, _: _resized(picture, picture.width * factor, picture.height * factor)


def _crop(low: float, high: float) -> Alter:
    """Keep that part of the area, anywhere."""

    def alter(picture: Picture, hand: Hand) -> Picture:
        side = hand.rng.uniform(low, high) ** 0.5
        width, height = round(picture.width * side), round(picture.height * side)
        left = hand.rng.randint(0, picture.width - width)
        top = hand.rng.randint(0, picture.height - height)
        return picture.crop((left, top, left + width, top + height))

    return alter


def _blur(picture: Picture, hand: Hand) -> Picture:
    return picture.filter(ImageFilter.GaussianBlur(max(picture.size) * hand.rng.uniform(0.002, 0.01)))


def _noise(picture: Picture, hand: Hand) -> Picture:
    strength = hand.rng.uniform(8, 30)
    pixels = np.asarray(picture, np.float32)
    noise = np.random.default_rng(hand.rng.getrandbits(32)).normal(0.0, strength, pixels.shape)
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


class _Enhancer(Protocol):
    def enhance(self, factor: float) -> Picture: ...


def _enhanced(enhancer: Callable[[Picture], _Enhancer], *ranges: tuple[float, float]) -> Alter:
    return lambda picture, hand: enhancer(picture).enhance(hand.rng.uniform(*hand.rng.choice(ranges)))


def _hue(picture: Picture, hand: Hand) -> Picture:
    hue, saturation, value = picture.convert("HSV").split()
    shift = hand.rng.randint(30, 225)
    turned = hue.point([(level + shift) % 256 for level in range(256)])
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def _gamma(picture: Picture, hand: Hand) -> Picture:
    power = hand.rng.choice((hand.rng.uniform(0.5, 0.8), hand.rng.uniform(1.3, 2.2)))
    return picture.point([round(255 * (level / 255) ** power) for level in range(256)] * 3)


def _sepia(picture: Picture, _hand: Hand) -> Picture:
    return ImageOps.colorize(picture.convert("L"), "#20140a", "#fff2d8")


def _rotated(degrees: float) -> Alter:
    """Turn, up to a tenth more or less, with the corners filled: the canvas grows."""

    def alter(picture: Picture, hand: Hand) -> Picture:
        angle = hand.rng.choice((-1, 1)) * degrees * hand.rng.uniform(0.9, 1.1)
        fill = hand.rng.choice(("black", "white"))
        return picture.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)

    return alter


def _tilted(picture: Picture, hand: Hand) -> Picture:
    """Turn by 1 to 5 degrees and crop the corners away."""
    angle = hand.rng.choice((-1, 1)) * hand.rng.uniform(1, 5)
    turned = picture.rotate(angle, Image.Resampling.BICUBIC)
    cut = abs(np.tan(np.radians(angle))) / 2
    across, down = round(picture.height * cut), round(picture.width * cut)
    return ImageOps.crop(turned, (across, down, across, down))


def _perspective(picture: Picture, hand: Hand) -> Picture:
    width, height = picture.size

    def off(side: float) -> float:
        return side * hand.rng.uniform(0.0, 0.08)

    corners = (
        *(off(width), off(height)),
        *(off(width), height - off(height)),
        *(width - off(width), height - off(height)),
        *(width - off(width), off(height)),
    )
    return picture.transform(picture.size, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)


def _stretched(picture: Picture, hand: Hand) -> Picture:
    factor = hand.rng.choice((hand.rng.uniform(0.5, 0.8), hand.rng.uniform(1.25, 2.0)))
    return _resized(picture, picture.width * factor, picture.height)


def _letterboxed(picture: Picture, hand: Hand) -> Picture:
    """Bars above and below, or left and right, of 10 to 30 % each."""
    share = hand.rng.uniform(0.1, 0.3)
    upright = hand.rng.random() < 0.5
    border = (0, round(picture.height * share)) if upright else (round(picture.width * share), 0)
    return ImageOps.expand(picture, border, hand.rng.choice(("black", "white")))


def _bordered(picture: Picture, hand: Hand) -> Picture:
    border = round(min(picture.size) * hand.rng.uniform(0.02, 0.1))
    return ImageOps.expand(picture, border, hand.rng.choice(("black", "white", "#c02020", "#e8e0d0")))


def _lettering(draw: ImageDraw.ImageDraw, hand: Hand, place: tuple[float, float], size: float) -> None:
    draw.text(
        place,
        hand.rng.choice(_CAPTIONS),
        fill="white",
        font=ImageFont.load_default(max(8, size)),
        anchor="mm",
        stroke_width=max(1, round(size / 12)),
        stroke_fill="black",
    )


def _captioned(picture: Picture, hand: Hand) -> Picture:
    """Large text on the picture, one to three lines."""
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    for _ in range(hand.rng.randint(1, 3)):
        place = picture.width / 2, picture.height * hand.rng.uniform(0.1, 0.9)
        _lettering(draw, hand, place, picture.width * hand.rng.uniform(0.05, 0.09))
    return picture


def _meme(picture: Picture, hand: Hand) -> Picture:
    """White bars with text above, and half of the time below."""
    bar = round(picture.height * hand.rng.uniform(0.12, 0.25))
    below = bar if hand.rng.random() < 0.5 else 0
    canvas = Image.new("RGB", (picture.width, picture.height + bar + below), "white")
    canvas.paste(picture, (0, bar))
    draw = ImageDraw.Draw(canvas)
    _lettering(draw, hand, (canvas.width / 2, bar / 2), bar * 0.35)
    if below:
        _lettering(draw, hand, (canvas.width / 2, canvas.height - bar / 2), bar * 0.35)
    return canvas


def _watermarked(picture: Picture, hand: Hand) -> Picture:
    """Half-transparent text all over."""
    layer = Image.new("RGBA", picture.size)
    draw = ImageDraw.Draw(layer)
    size = max(picture.width * hand.rng.uniform(0.04, 0.08), 8)
    font = ImageFont.load_default(size)
    colour = (255, 255, 255, hand.rng.randint(70, 140))
    for row in range(int(picture.height / size / 3) + 1):
        for column in range(4):
            place = picture.width * (column + row % 2 / 2) / 4, row * size * 3
            draw.text(place, "preview", fill=colour, font=font)
    return Image.alpha_composite(picture.convert("RGBA"), layer)


def _logo(picture: Picture, hand: Hand) -> Picture:
    """A disc with letters in a corner, of 12 to 25 % of the shorter side."""
    picture = picture.copy()
    side = min(picture.size) * hand.rng.uniform(0.12, 0.25)
    left = hand.rng.choice((side * 0.2, picture.width - side * 1.2))
    top = hand.rng.choice((side * 0.2, picture.height - side * 1.2))
    draw = ImageDraw.Draw(picture)
    draw.ellipse(
        (left, top, left + side, top + side), fill=hand.rng.choice(("#d02030", "#2050c0", "#f0c020"))
    )
    _lettering(draw, hand, (left + side / 2, top + side / 2), side / 8)
    return picture


def _stickers(picture: Picture, hand: Hand) -> Picture:
    """Two to five coloured shapes of 8 to 20 % of the width."""
    picture = picture.copy()
    draw = ImageDraw.Draw(picture)
    for _ in range(hand.rng.randint(2, 5)):
        side = picture.width * hand.rng.uniform(0.08, 0.2)
        left = hand.rng.uniform(0, picture.width - side)
        top = hand.rng.uniform(0, max(0.0, picture.height - side))
        colour = hand.rng.choice(("#ffd030", "#ff5070", "#40c060", "#4080ff"))
        shape = hand.rng.choice((draw.ellipse, draw.rectangle))
        shape((left, top, left + side, top + side), fill=colour)
    return picture


def _screenshot(picture: Picture, hand: Hand) -> Picture:
    """A phone's screen: status bar, avatar and name, the picture, buttons, comments."""
    width = 400
    shown = _resized(picture, width, width * picture.height / picture.width)
    dark = hand.rng.random() < 0.5
    ground, ink = ("#101014", "#e0e0e0") if dark else ("#ffffff", "#202020")
    top, bottom = hand.rng.randint(70, 130), hand.rng.randint(80, 260)
    screen = Image.new("RGB", (width, shown.height + top + bottom), ground)
    screen.paste(shown, (0, top))
    draw = ImageDraw.Draw(screen)
    font = ImageFont.load_default(14)
    draw.text((12, 6), "12:41", fill=ink, font=font)
    draw.rectangle((360, 8, 388, 20), outline=ink)
    draw.ellipse((12, top - 44, 48, top - 8), fill="#8080c0")
    draw.text((60, top - 34), "somebody", fill=ink, font=font)
    for column in range(3):
        draw.ellipse(
            (14 + 40 * column, top + shown.height + 10, 38 + 40 * column, top + shown.height + 34),
            outline=ink,
        )
    for row, text in enumerate(hand.rng.sample(_CAPTIONS, 3)):
        draw.text((14, top + shown.height + 44 + 22 * row), text, fill=ink, font=font)
    return screen


def _collage(picture: Picture, hand: Hand) -> Picture:
    """One of four tiles."""
    side = 300
    canvas = Image.new("RGB", (2 * side, 2 * side))
    tiles = [picture, *islice(hand.backdrops, 3)]
    hand.rng.shuffle(tiles)
    for number, tile in enumerate(tiles):
        place = number % 2 * side, number // 2 * side
        canvas.paste(ImageOps.fit(tile, (side, side), Image.Resampling.BICUBIC), place)
    return canvas


def _beside(picture: Picture, hand: Hand) -> Picture:
    """Beside another picture of the same height."""
    other = next(hand.backdrops)
    other = _resized(other, picture.height * other.width / other.height, picture.height)
    pair = [picture, other]
    hand.rng.shuffle(pair)
    canvas = Image.new("RGB", (picture.width + other.width, picture.height))
    canvas.paste(pair[0], (0, 0))
    canvas.paste(pair[1], (pair[0].width, 0))
    return canvas


def _inside(share: float) -> Alter:
    """Inside another picture, whose sides it covers by `share`, a tenth more or less."""

    def alter(picture: Picture, hand: Hand) -> Picture:
        canvas = next(hand.backdrops).copy()
        room = share * hand.rng.uniform(0.9, 1.1)
        inner = ImageOps.contain(picture, (round(canvas.width * room), round(canvas.height * room)))
        left = hand.rng.randint(0, canvas.width - inner.width)
        top = hand.rng.randint(0, canvas.height - inner.height)
        canvas.paste(inner, (left, top))
        return canvas

    return alter


def _overlaid(picture: Picture, hand: Hand) -> Picture:
    """Another picture over a part of it, of 25 to 45 % of the sides."""
    picture = picture.copy()
    share = hand.rng.uniform(0.25, 0.45)
    patch = ImageOps.fit(next(hand.backdrops), (round(picture.width * share), round(picture.height * share)))
    left = hand.rng.randint(0, picture.width - patch.width)
    top = hand.rng.randint(0, picture.height - patch.height)
    picture.paste(patch, (left, top))
    return picture


def _blended(picture: Picture, hand: Hand) -> Picture:
    other = ImageOps.fit(next(hand.backdrops), picture.size)
    return Image.blend(picture, other, hand.rng.uniform(0.15, 0.35))


def _pixelated(picture: Picture, hand: Hand) -> Picture:
    cells = hand.rng.randint(40, 80)
    small = picture.resize(
        (cells, max(1, round(cells * picture.height / picture.width))), Image.Resampling.BOX
    )
    return small.resize(picture.size, Image.Resampling.NEAREST)


def _in_turn(first: Alter, second: Alter) -> Alter:
    return lambda picture, hand: second(first(picture, hand).convert("RGB"), hand)


def _turned(way: Image.Transpose) -> Alter:
    return lambda picture, _: picture.transpose(way)


ATTACKS: Final[Mapping[str, Attack]] = {
    "jpeg_75": Attack("saved again", _same, quality=(75, 75)),
    "jpeg_30": Attack("saved again", _same, quality=(30, 30)),
    "jpeg_10": Attack("saved again", _same, quality=(10, 10)),
    "webp": Attack("saved again", _same, "WEBP", quality=(20, 80)),
    "half_size": Attack("saved again", _scaled(0.5)),
    "quarter_size": Attack("saved again", _scaled(0.25)),
    "blur": Attack("saved again", _blur),
    "sharpen": Attack("saved again", _enhanced(ImageEnhance.Sharpness, (2.0, 6.0))),
    "noise": Attack("saved again", _noise),
    "pixelated": Attack("saved again", _pixelated),
    "grey": Attack("colours", lambda picture, _: picture.convert("L")),
    "sepia": Attack("colours", _sepia),
    "brightness": Attack("colours", _enhanced(ImageEnhance.Brightness, (0.5, 0.8), (1.2, 1.6))),
    "contrast": Attack("colours", _enhanced(ImageEnhance.Contrast, (0.5, 0.8), (1.2, 1.8))),
    "saturation": Attack("colours", _enhanced(ImageEnhance.Color, (0.0, 0.6), (1.5, 2.5))),
    "hue": Attack("colours", _hue),
    "gamma": Attack("colours", _gamma),
    "posterised": Attack(
        "colours", lambda picture, hand: ImageOps.posterize(picture, hand.rng.randint(2, 4))
    ),
    "equalised": Attack("colours", lambda picture, _: ImageOps.equalize(picture)),
    "inverted": Attack("colours", lambda picture, _: ImageOps.invert(picture)),
    **{name: Attack("flips and turns", _turned(way)) for name, way in _TURNS.items()},
    "tilt_1_to_5": Attack("rotations", _tilted),
    "rotate_5": Attack("rotations", _rotated(5)),
    "rotate_15": Attack("rotations", _rotated(15)),
    "rotate_45": Attack("rotations", _rotated(45)),
    "perspective": Attack("rotations", _perspective),
    "stretched": Attack("saved again", _stretched),
    "crop_90": Attack("crops", _crop(0.85, 0.95)),
    "crop_50": Attack("crops", _crop(0.45, 0.55)),
    "crop_25": Attack("crops", _crop(0.22, 0.28)),
    "crop_10": Attack("crops", _crop(0.09, 0.11)),
    "crop_5": Attack("crops", _crop(0.045, 0.055)),
    "letterbox": Attack("frames", _letterboxed),
    "border": Attack("frames", _bordered),
    "meme_bars": Attack("frames", _meme),
    "screenshot": Attack("frames", _screenshot),
    "caption": Attack("overlays", _captioned),
    "watermark": Attack("overlays", _watermarked),
    "logo": Attack("overlays", _logo),
    "stickers": Attack("overlays", _stickers),
    "overlay_picture": Attack("overlays", _overlaid),
    "blend": Attack("overlays", _blended),
    "collage": Attack("inside others", _collage),
    "beside": Attack("inside others", _beside),
    "inside_60": Attack("inside others", _inside(0.6)),
    "inside_35": Attack("inside others", _inside(0.35)),
    "flip_crop_90": Attack("two in turn", _in_turn(_turned(_TURNS["flip"]), _crop(0.85, 0.95))),
    "turn_caption": Attack("two in turn", _in_turn(_turned(_TURNS["turn_90"]), _captioned)),
    "crop_50_hue": Attack("two in turn", _in_turn(_crop(0.45, 0.55), _hue)),
    "meme_jpeg_10": Attack("two in turn", _meme, quality=(10, 10)),
    "grey_border": Attack("two in turn", _in_turn(lambda picture, _: picture.convert("L"), _bordered)),
    "flip_quarter": Attack("two in turn", _in_turn(_turned(_TURNS["flip"]), _scaled(0.25))),
    "gamma_watermark": Attack("two in turn", _in_turn(_gamma, _watermarked)),
    "inside_60_blur": Attack("two in turn", _in_turn(_inside(0.6), _blur)),
}
"""By name."""
