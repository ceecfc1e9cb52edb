"""What is laid over pictures in training: lines of text in several scripts, and emoji."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_EMOJI_FONT_SIZE = 109  # the one size of Noto Color Emoji's bitmaps
_TEXT_HEIGHT = 40
_LATIN = "etaoinshrdlucmfwypvbgkqjxzETAOINSHRDLU"


@dataclass(frozen=True, slots=True)
class Stickers:
    """Overlays, ready to be scaled and pasted.

    Attributes:
        texts: Coverage masks of one line of text each, (height, width) uint8.
        emoji: Pictures with coverage, (height, width, 4) uint8.
    """

    texts: tuple[npt.NDArray[np.uint8], ...]
    emoji: tuple[npt.NDArray[np.uint8], ...]


def draw(fonts: Path, rng: np.random.Generator, *, texts: int = 400, emoji: int = 200) -> Stickers:
    """Draw stickers with the fonts (.ttf, .ttc) found under a folder.

    Fonts whose file name has "CJK" write Chinese, one whose name has "ColorEmoji" draws the emoji.

    Raises:
        FileNotFoundError: If the folder holds no font for text, or none for emoji.
    """
    paths = sorted(path for path in fonts.rglob("*") if path.suffix in {".ttf", ".ttc"})
    coloured = [path for path in paths if "ColorEmoji" in path.name]
    chinese = [path for path in paths if "CJK" in path.name]
    latin = [path for path in paths if path not in coloured and path not in chinese]
    if not coloured or not latin:
        raise FileNotFoundError(f"{fonts} needs a .ttf font and NotoColorEmoji.ttf")
    lines = []
    for _ in range(texts):
        in_chinese = bool(chinese) and rng.random() < 0.3
        path = str(rng.choice([str(font) for font in (chinese if in_chinese else latin)]))
        lines.append(_line(path, _words(rng, in_chinese=in_chinese)))
    codes = rng.integers(0x1F300, 0x1F64F, emoji)
    drawn = (_emoji(coloured[0], chr(code)) for code in codes)
    return Stickers(
        tuple(line for line in lines if line.size), tuple(picture for picture in drawn if picture.size)
    )


def _words(rng: np.random.Generator, *, in_chinese: bool) -> str:
    if in_chinese:
        return "".join(chr(code) for code in rng.integers(0x4E00, 0x8000, int(rng.integers(3, 14))))
    lengths = rng.integers(1, 9, int(rng.integers(1, 6)))
    return " ".join("".join(rng.choice(list(_LATIN), length)) for length in lengths)


def _line(path: str, text: str) -> npt.NDArray[np.uint8]:
    font = ImageFont.truetype(path, _TEXT_HEIGHT)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(text))
    canvas = Image.new("L", (max(right - left, 1), max(bottom - top, 1)))
    ImageDraw.Draw(canvas).text((-left, -top), text, fill=255, font=font)
    return _trimmed(np.asarray(canvas))


def _emoji(path: Path, character: str) -> npt.NDArray[np.uint8]:
    font = ImageFont.truetype(str(path), _EMOJI_FONT_SIZE)
    canvas = Image.new("RGBA", (136, 128))
    ImageDraw.Draw(canvas).text((0, 0), character, font=font, embedded_color=True)
    return _trimmed(np.asarray(canvas))


def _trimmed(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Cut empty edges off; an empty drawing becomes an empty array."""
    coverage = pixels if pixels.ndim == 2 else pixels[..., 3]
    rows, columns = np.nonzero(coverage)
    if rows.size == 0:
        return pixels[:0, :0]
    return pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
