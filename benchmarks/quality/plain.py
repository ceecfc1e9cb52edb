"""Pictures that look alike by nature: flat ones, gradients, icons, pages of text, line art, QR codes.

No two that a kind gives are copies of each other, yet a hash of the whole may see little difference: a
service that alarms on these drowns its reviewers. All are made from a seed.
"""

import random
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.quality.media import Picture

Make = Callable[[random.Random], Picture]

_SYLLABLES: Final = ("ta", "re", "mon", "li", "ca", "der", "so", "vi", "pre", "qua", "ent", "is", "o", "bra")
_QR_SIDE: Final = 33
"""Modules of a QR code of version 4."""


def _colour(rng: random.Random) -> tuple[int, int, int]:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _flat(rng: random.Random) -> Picture:
    return Image.new("RGB", (rng.randint(64, 800), rng.randint(64, 800)), _colour(rng))


def _nearly_flat(rng: random.Random) -> Picture:
    pixels = np.random.default_rng(rng.getrandbits(32)).normal(
        rng.randint(20, 235), rng.uniform(1, 4), (300, 400, 3)
    )
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _gradient(rng: random.Random) -> Picture:
    """From one colour to another, at any angle."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    slope = np.cos(angle) * x + np.sin(angle) * y
    weight = (slope - slope.min()) / np.ptp(slope)
    one, other = np.array(_colour(rng)), np.array(_colour(rng))
    return Image.fromarray((one + weight[..., None] * (other - one)).astype(np.uint8))


def _vignette(rng: random.Random) -> Picture:
    """A glow around the middle."""
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    radius = np.hypot(x - rng.uniform(-0.1, 0.1), y - rng.uniform(-0.1, 0.1))
    weight = np.exp(-((radius / rng.uniform(0.4, 0.9)) ** 2))
    one, other = np.array(_colour(rng)), np.array(_colour(rng))
    return Image.fromarray((one + weight[..., None] * (other - one)).astype(np.uint8))


def _icon(rng: random.Random) -> Picture:
    """16 × 16 pixels: a symmetrical pattern on a ground."""
    half = np.random.default_rng(rng.getrandbits(32)).random((16, 8)) < 0.4
    mask = np.concatenate([half, half[:, ::-1]], axis=1)
    pixels = np.where(mask[..., None], _colour(rng), _colour(rng))
    return Image.fromarray(pixels.astype(np.uint8))


def _button(rng: random.Random) -> Picture:
    """A rounded square with three letters."""
    picture = Image.new("RGB", (128, 128), "white")
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((8, 8, 120, 120), radius=24, fill=_colour(rng))
    letters = "".join(rng.sample("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 3))
    draw.text((64, 64), letters, fill="white", font=ImageFont.load_default(44), anchor="mm")
    return picture


def _words(rng: random.Random, count: int) -> str:
    return " ".join("".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in range(count))


def _lines(draw: ImageDraw.ImageDraw, rng: random.Random, box: tuple[int, int, int, int], size: int) -> None:
    """Fill a box with paragraphs."""
    left, top, right, bottom = box
    font = ImageFont.load_default(size)
    y = top
    while y + size < bottom:
        for _ in range(rng.randint(3, 9)):
            if y + size >= bottom:
                return
            text = _words(rng, 40)
            while draw.textlength(text, font=font) > right - left:
                text = text.rpartition(" ")[0]
            draw.text((left, y), text, fill="black", font=font)
            y += round(size * 1.4)
        y += size


def _text_page(rng: random.Random) -> Picture:
    """A page of paragraphs; all pages have the same margins and size of type."""
    picture = Image.new("RGB", (496, 702), "white")
    _lines(ImageDraw.Draw(picture), rng, (50, 60, 446, 642), 12)
    return picture


def _chat(rng: random.Random) -> Picture:
    """A short message on a phone's screen."""
    picture = Image.new("RGB", (360, 640), "white")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 360, 60), fill="#075e54")
    draw.text((60, 20), _words(rng, 1), fill="white", font=ImageFont.load_default(18))
    y = 80
    for _ in range(rng.randint(2, 7)):
        mine = rng.random() < 0.5
        left, colour = (110, "#dcf8c6") if mine else (10, "#eeeeee")
        height = rng.choice((36, 58, 80))
        draw.rounded_rectangle((left, y, left + 240, y + height), 8, fill=colour)
        _lines(draw, rng, (left + 10, y + 8, left + 230, y + height), 14)
        y += height + 10
    return picture


def _blank_document(rng: random.Random) -> Picture:
    """A word processor's window with an empty page, or a few words on it."""
    picture = Image.new("RGB", (800, 600), "#e8e8e8")
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, 800, 70), fill="#2b579a")
    font = ImageFont.load_default(13)
    for column in range(8):
        draw.text((14 + 90 * column, 40), _words(rng, 1), fill="white", font=font)
    draw.rectangle((150, 90, 650, 600), fill="white")
    if rng.random() < 0.7:
        draw.text((200, 140), _words(rng, rng.randint(1, 4)), fill="black", font=font)
    return picture


def _line_art(rng: random.Random) -> Picture:
    """A few thin strokes on white."""
    picture = Image.new("RGB", (400, 400), "white")
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randint(3, 8)):
        points = [(rng.randint(20, 380), rng.randint(20, 380)) for _ in range(rng.randint(2, 6))]
        draw.line(points, fill="black", width=rng.randint(1, 3), joint="curve")
    return picture


def _qr_code(rng: random.Random) -> Picture:
    """Random modules with a QR code's three finders, timing and quiet zone."""
    modules = np.random.default_rng(rng.getrandbits(32)).random((_QR_SIDE, _QR_SIDE)) < 0.5
    finder = np.pad(np.pad(np.ones((3, 3), bool), 1), 1, constant_values=True)
    cornered = np.pad(finder, ((0, 1), (0, 1)))
    modules[6, :] = modules[:, 6] = np.arange(_QR_SIDE) % 2 == 0
    modules[:8, :8] = cornered
    modules[:8, -8:] = cornered[:, ::-1]
    modules[-8:, :8] = cornered[::-1]
    quiet = np.pad(modules, 4)
    return Image.fromarray(np.where(quiet, 0, 255).astype(np.uint8)).convert("RGB").resize((410, 410), 0)


def _chart(rng: random.Random) -> Picture:
    """Bars on axes."""
    picture = Image.new("RGB", (480, 320), "white")
    draw = ImageDraw.Draw(picture)
    draw.line(((40, 20), (40, 290), (460, 290)), fill="black", width=2)
    for bar in range(7):
        left = 60 + 56 * bar
        draw.rectangle((left, 290 - rng.randint(20, 250), left + 36, 289), fill="#4472c4")
    return picture


def _flag(rng: random.Random) -> Picture:
    """Three stripes."""
    picture = Image.new("RGB", (450, 300))
    draw = ImageDraw.Draw(picture)
    upright = rng.random() < 0.5
    for stripe in range(3):
        box = (
            (stripe * 150, 0, stripe * 150 + 150, 300)
            if upright
            else (0, stripe * 100, 450, stripe * 100 + 100)
        )
        draw.rectangle(box, fill=_colour(rng))
    return picture


PLAIN: Final[Mapping[str, Make]] = {
    "flat": _flat,
    "nearly_flat": _nearly_flat,
    "gradient": _gradient,
    "vignette": _vignette,
    "icon_16": _icon,
    "button": _button,
    "text_page": _text_page,
    "chat": _chat,
    "blank_document": _blank_document,
    "line_art": _line_art,
    "qr_code": _qr_code,
    "chart": _chart,
    "flag": _flag,
}
"""By kind."""
